"""How much work a training epoch needs at least, and how fast this machine multiplies matrices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.config import TrainConfig

if TYPE_CHECKING:
    import torch

FORMULA = """FLOP of an epoch = 3 x (encoder + catalog), summed over users with n inputs (no padding), width d, b layers:
  catalog: 2 d N per trained place, N items
  SASRec:  b n (8 d^2 + 4 d f) + 2 b d n (n + 1), f = d;  BERT4Rec: b n (8 d^2 + 4 d f) + 4 b d n^2, f = 4 d;
  GRU4Rec: 12 b n d^2 + 2 n d^2.  3: forward once, backward twice as much."""

_SIZES = (256, 512, 1024, 2048)
_SECONDS = 0.3


def epoch_flop(kind: str, lengths: np.ndarray, n_items: int, config: TrainConfig) -> tuple[float, float]:
    """Floating-point operations one epoch needs: in the encoder, and in the products with the whole catalog.

    `lengths` (users,) are training events per user. The formula is `FORMULA`; element-wise work, lookups and padding
    are not counted. BERT4Rec's masks are counted by their expectation.

    >>> encoder, catalog = epoch_flop("sasrec", np.array([3]), 10, TrainConfig(width=2, layers=1, max_length=5))
    >>> catalog == 3 * 2 * 2 * 10 * 2, encoder == 3 * (2 * (8 * 4 + 4 * 4) + 2 * 2 * 2 * 3)
    (True, True)
    """
    d, b = config.width, config.layers
    places = trained_places(kind, lengths, config).astype(np.float64)
    n = inputs(kind, lengths, config).astype(np.float64)
    if kind == "sasrec":
        encoder = b * n * (8 * d * d + 4 * d * d) + 2 * b * d * n * (n + 1)
    elif kind == "bert4rec":
        encoder = b * n * (8 * d * d + 4 * d * 4 * d) + 4 * b * d * n * n
    elif kind == "gru4rec":
        encoder = 12 * b * n * d * d + 2 * n * d * d
    else:
        raise ValueError(f"no formula for {kind}")
    return 3 * float(encoder.sum()), 3 * 2 * d * n_items * float(places.sum())


def inputs(kind: str, lengths: np.ndarray, config: TrainConfig) -> np.ndarray:
    """How many events of each user the encoder reads in an epoch, shape (users,); users with one event do not train."""
    read = np.minimum(lengths, config.max_length + (kind != "bert4rec")) - (kind != "bert4rec")
    return np.where(lengths >= 2, read, 0)


def trained_places(kind: str, lengths: np.ndarray, config: TrainConfig) -> np.ndarray:
    """At how many places of each user the model is trained to name an item (expected, for BERT4Rec), shape (users,)."""
    n = inputs(kind, lengths, config)
    if kind != "bert4rec":
        return n
    from guided_refine.backbones.bert4rec import LAST_ONLY

    # At least one place is masked: where the draw gives none, the last one is.
    share = config.mask_share
    return np.where(n > 0, LAST_ONLY + (1 - LAST_ONLY) * (share * n + (1 - share) ** n), 0.0)


def matmul_rate(dtype: torch.dtype, device: str = "cpu", seconds: float = _SECONDS) -> float:
    """FLOP per second of square matrix products in `dtype`, at the best of several sizes and repetitions.

    `seconds`: how long each size is tried.

    >>> import torch
    >>> matmul_rate(torch.float32, seconds=0.01) > 1e8
    True
    """
    import torch

    best = 0.0
    for size in _SIZES:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.mm(left, right)
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop:
            started = time.perf_counter()
            torch.mm(left, right, out=out)
            if device != "cpu":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best
