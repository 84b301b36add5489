"""LoRA tuning: scores that also predict what comes next, stay well-formed and keep their meaning."""
