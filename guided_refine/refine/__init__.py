"""Refined embeddings: base embeddings reduced by PCA, joined with attribute scores, on both sides of the product."""
