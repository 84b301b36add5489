"""LoRA tuning: scores that also predict what comes next, stay well-formed and keep their meaning."""

TUNING_VERSION = 3
"""Of what a step computes. 2: whole answers are held to digits where digits stand."""
