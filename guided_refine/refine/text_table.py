"""Item vectors from whole text vectors: the rivals that show how much of a text's worth a few readable columns keep.

RecXplore (https://arxiv.org/abs/2509.14979) calls the linear map an adapter and the table "replace"; starting free vectors
from principal components of text is LLM2BERT4Rec's way (https://arxiv.org/abs/2309.09261).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from guided_refine.backbones.randomness import ITEM_TABLE, derived_seed
from guided_refine.backbones.tables import ItemTable, VectorTable
from guided_refine.refine.pca import fit_pca
from guided_refine.refine.summed_table import fresh_sum


def text_table(variant: str, texts: np.ndarray, width: int, seed: int, *, std: float) -> ItemTable:
    """The table of `text_linear`, `text_pca` or `id_plus_text`; `texts` (n_items, dims) hold NaN where there is none.

    `std`: spread of the base's free vectors before the first step, which these start with, too.

    >>> text_table("id_plus_text", np.ones((5, 3)), width=4, seed=0, std=0.02).matrix().shape
    torch.Size([5, 4])
    """
    if variant == "text_pca":
        return text_start(texts, width, std)
    drawn = derived_seed(seed, ITEM_TABLE)
    return fresh_sum(standardised(texts), width, seed=drawn, free=variant == "id_plus_text", std=std)


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


def text_start(vectors: np.ndarray, width: int, std: float) -> VectorTable:
    """Free vectors that start from the text vectors' principal components, as long on average as fresh ones of `std`."""
    texts = standardised(vectors).numpy()
    reduced = fit_pca(texts, width).project(texts)
    norm = float(np.sqrt((reduced**2).sum(axis=1).mean()))
    return VectorTable(torch.from_numpy(reduced * (std * width**0.5 / (norm or 1.0))))
