"""Attribute sets, the language model that reads them as slots, and the scores it gives."""
