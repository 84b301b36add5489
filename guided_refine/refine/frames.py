"""Refined embeddings as tables that anybody can read: ids and named columns, no need of this package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.refine.table import GuidedTable, RefinedTable


def refined_items(backbone: Backbone, dataset: Dataset, attributes: Sequence[str]) -> pd.DataFrame:
    """One row per item: item_id, pc_1.., then one column per attribute (normalised score times one scale).

    Where attributes are added to free vectors (`SummedTable`) the free columns are called free_1.. and there are as many as
    the served vectors (`backbone.item_vectors()`) have; each served vector is their sum with the attributes' directions.

    Raises `InputError` when the backbone's table holds no such columns.
    """
    names = _columns(backbone, attributes)
    frame = pd.DataFrame(_item_columns(backbone), columns=names)
    frame.insert(0, "item_id", dataset.item_ids)
    return frame


def item_rows(backbone: Backbone, item_ids: Sequence[str], attributes: Sequence[str]) -> pd.DataFrame:
    """The rows of `refined_items` for some of the items that a trained or loaded backbone knows, in this order.

    Raises `InputError` when the backbone's table holds no such columns.
    """
    names = _columns(backbone, attributes)
    place = {name: row for row, name in enumerate(backbone.item_ids)}
    frame = pd.DataFrame(_item_columns(backbone)[[place[name] for name in item_ids]], columns=names)
    frame.insert(0, "item_id", np.array(item_ids, dtype=object))
    return frame


def refined_users(backbone: Backbone, dataset: Dataset, attributes: Sequence[str]) -> pd.DataFrame:
    """One row per user: user_id and the same columns as the items.

    A row is the state (user term included) after all events the test split allows, so the dot product of a
    user's row and an item's row is the score that the test ranks by.
    """
    names = _columns(backbone, attributes)
    states = backbone.states(np.arange(dataset.n_users), "test", dataset)
    assert isinstance(backbone.table, GuidedTable)
    with torch.no_grad():
        weights = backbone.table.read(torch.from_numpy(states)).numpy()
    frame = pd.DataFrame(weights, columns=names)
    frame.insert(0, "user_id", np.array(dataset.user_ids, dtype=object))
    return frame


def _item_columns(backbone: Backbone) -> np.ndarray:
    assert isinstance(backbone.table, GuidedTable)
    columns: np.ndarray = backbone.table.columns().detach().numpy()
    return columns


def _columns(backbone: Backbone, attributes: Sequence[str]) -> list[str]:
    table = backbone.table
    if not isinstance(table, GuidedTable) or table.attributes != len(attributes):
        raise InputError(
            f"this {backbone.kind} has no columns for {len(attributes)} attributes; train the refined variant"
        )
    free = table.columns().shape[1] - table.attributes
    name = "pc" if isinstance(table, RefinedTable) else "free"
    return [*(f"{name}_{i}" for i in range(1, free + 1)), *attributes]
