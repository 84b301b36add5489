"""Scores from a model behind an OpenAI-compatible address: asked, paced, paid from a budget, kept in the store."""
