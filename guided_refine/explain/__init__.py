"""Why an item is recommended: exact contributions of attributes to a score, in words, as one file."""
