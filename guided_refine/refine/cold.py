"""Items that occur in no training interaction: the place of others with like scores instead of none.

A free vector that is never a target learns one thing, never to be the next item, however well its attributes fit: in full
softmax training all such items end up last. Once training is over their free columns are borrowed, as those of an item
that is added later are (`extend.borrowed`).
"""

from __future__ import annotations

import numpy as np
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.refine.extend import LENGTH, borrowed
from guided_refine.refine.table import GuidedTable


def lend_to_cold(model: Backbone, counts: np.ndarray, *, length: float = LENGTH) -> int:
    """Give free columns to the items of a trained model with `counts` (n_items,) of 0; returns how many there were.

    `counts` are training interactions, `length` as `borrowed` has it. Columns of attributes and vectors of all other
    items stay what they are. Nothing is done, and 0 returned, where a model has no attributes or no free columns, or
    where all or no items are cold.

    >>> from guided_refine.config import TrainConfig
    >>> from guided_refine.refine.table import RefinedTable
    >>> table = RefinedTable(torch.tensor([[1.0], [1.0], [-9.0]]), torch.tensor([[0.5], [0.6], [0.5]]), scale=1.0)
    >>> lend_to_cold(Backbone("gru4rec", table, None, TrainConfig(), 0), np.array([4, 2, 0]))
    1
    >>> table.reduced.flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    table = model.table
    cold = counts == 0
    if not isinstance(table, GuidedTable) or cold.all() or not cold.any():
        return 0
    columns = table.columns().detach().numpy()
    kept = columns.shape[1] - table.attributes
    if not kept:
        return 0
    free, guided = columns[:, :kept], columns[:, kept:]
    lent = borrowed(free[~cold], guided[~cold], guided[cold], length=length)
    table.put_free(torch.from_numpy(np.flatnonzero(cold)), torch.from_numpy(lent))
    return int(cold.sum())
