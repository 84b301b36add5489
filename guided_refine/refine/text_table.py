"""Item vectors from whole text vectors: the rivals that show how much of a text's worth a few readable columns keep.

RecXplore (https://arxiv.org/abs/2509.14979) calls the linear map an adapter and the table "replace"; starting free vectors
from principal components of text is LLM2BERT4Rec's way (https://arxiv.org/abs/2309.09261).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from guided_refine.backbones.tables import ItemTable, VectorTable
from guided_refine.refine.pca import fit_pca

# What the free vectors of an `IdTable` start from.
START_STD = 0.02


class TextTable(ItemTable):
    """e_i = A x_i, or id_i + A x_i with `ids`: x (n_items, dims) are frozen, A and the ids (n_items, width) train.

    All columns start with the spread that free vectors start with. Served vectors have `width` columns, whatever `dims`.

    >>> table = TextTable(torch.randn(5, 12), width=4, seed=0, ids=True)
    >>> table.matrix().shape, sorted(name for name, _ in table.named_parameters())
    (torch.Size([5, 4]), ['adapter', 'ids'])
    """

    texts: Tensor

    def __init__(self, texts: Tensor, width: int, *, seed: int, ids: bool) -> None:
        super().__init__()
        self.n_items, self.dims, self.width = len(texts), texts.shape[1], width
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int, std: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * std)

        self.ids = drawn(self.n_items, width, std=START_STD) if ids else None
        self.adapter = drawn(self.dims, width, std=START_STD / max(1, self.dims) ** 0.5)
        self.register_buffer("texts", texts.detach().float())

    def matrix(self) -> Tensor:
        """Vectors of all items, shape (n_items, width)."""
        mapped = self.texts @ self.adapter
        return mapped if self.ids is None else self.ids + mapped

    def options(self) -> dict[str, Any]:
        """Sizes, and whether there are free vectors."""
        return {"n_items": self.n_items, "dims": self.dims, "width": self.width, "ids": self.ids is not None}

    @classmethod
    def blank(cls, **options: Any) -> TextTable:
        """A table whose values are loaded next."""
        texts = torch.zeros(options["n_items"], options["dims"])
        return cls(texts, options["width"], seed=0, ids=options["ids"])


def standardised(vectors: np.ndarray) -> Tensor:
    """Each column with mean 0 and standard deviation 1 over the catalog; a text that is missing (NaN) is the mean.

    >>> standardised(np.array([[1.0], [3.0], [np.nan]])).flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    known = vectors[~np.isnan(vectors).any(axis=1)].astype(np.float64)
    if not len(known):
        return torch.zeros(vectors.shape)
    std = known.std(axis=0)
    scaled = (vectors - known.mean(axis=0)) / np.where(std > 0, std, 1.0)
    return torch.from_numpy(np.nan_to_num(scaled).astype(np.float32))


def text_start(vectors: np.ndarray, width: int) -> VectorTable:
    """Free vectors that start from the text vectors' principal components, as long on average as fresh ones start."""
    texts = standardised(vectors).numpy()
    reduced = fit_pca(texts, width).project(texts)
    norm = float(np.sqrt((reduced**2).sum(axis=1).mean()))
    return VectorTable(torch.from_numpy(reduced * (START_STD * width**0.5 / (norm or 1.0))))
