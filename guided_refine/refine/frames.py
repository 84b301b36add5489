"""Refined embeddings as tables that anybody can read: ids and named columns, no need of this package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from guided_refine.backbones.backbone import Backbone
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.refine.table import RefinedTable


def refined_items(backbone: Backbone, dataset: Dataset, attributes: Sequence[str]) -> pd.DataFrame:
    """One row per item: item_id, pc_1.., then one column per attribute (normalised score times one scale).

    Raises `InputError` when the backbone's table holds no such columns.
    """
    names = _columns(backbone, attributes)
    frame = pd.DataFrame(backbone.item_vectors(), columns=names)
    frame.insert(0, "item_id", dataset.item_ids)
    return frame


def item_rows(backbone: Backbone, item_ids: Sequence[str], attributes: Sequence[str]) -> pd.DataFrame:
    """The rows of `refined_items` for some of the items that a trained or loaded backbone knows, in this order.

    Raises `InputError` when the backbone's table holds no such columns.
    """
    names = _columns(backbone, attributes)
    place = {name: row for row, name in enumerate(backbone.item_ids)}
    frame = pd.DataFrame(backbone.item_vectors()[[place[name] for name in item_ids]], columns=names)
    frame.insert(0, "item_id", np.array(item_ids, dtype=object))
    return frame


def refined_users(backbone: Backbone, dataset: Dataset, attributes: Sequence[str]) -> pd.DataFrame:
    """One row per user: user_id and the same columns as the items.

    A row is the state (user term included) after all events the test split allows, so the dot product of a
    user's row and an item's row is the score that the test ranks by.
    """
    names = _columns(backbone, attributes)
    states = backbone.states(np.arange(dataset.n_users), "test", dataset)
    frame = pd.DataFrame(states, columns=names)
    frame.insert(0, "user_id", np.array(dataset.user_ids, dtype=object))
    return frame


def _columns(backbone: Backbone, attributes: Sequence[str]) -> list[str]:
    table = backbone.table
    if not isinstance(table, RefinedTable) or table.attributes != len(attributes):
        raise InputError(
            f"this {backbone.kind} has no columns for {len(attributes)} attributes; train the refined variant"
        )
    kept = table.width - table.attributes
    return [*(f"pc_{i}" for i in range(1, kept + 1)), *attributes]
