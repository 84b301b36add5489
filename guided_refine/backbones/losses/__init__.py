"""Training objectives, one file each: how well states name their targets among item vectors."""
