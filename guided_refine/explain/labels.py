"""What the catalog itself says about its items (genres, categories), and which of it goes with which attribute.

The language model may have read these labels in an item's text; what people did with the items it has not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from guided_refine.evaluation.agreement import WeightedRanks, area_under_curve

#: A label on fewer items says too little.
FEWEST = 20
#: Labels of a column must stand on this share of the items; else it holds names or sentences.
COVERED = 0.25
#: Longer ones are sentences.
LONGEST = 40
_APART = re.compile(r"[,|;]")


@dataclass(frozen=True)
class Link:
    """The label that goes best with an attribute: it was chosen on half of the items, `auc` is of the other half.

    `auc` is the chance that an item with the label scores above one without it; `members` (n_items,) booleans.
    """

    attribute: str
    label: str
    auc: float
    members: np.ndarray


def item_labels(items: pd.DataFrame) -> dict[str, np.ndarray]:
    """Labels in the catalog's further columns, as "column: label", with (n_items,) booleans; commonest first.

    A cell may hold several, apart by commas, semicolons or bars. Numbers, sentences and labels on fewer than 20 or more than
    half of the items are none.

    >>> genres = ["Comedy, Crime"] * 20 + ["Drama"] * 40
    >>> frame = pd.DataFrame({"item_id": range(60), "title": "", "text": "", "genres": genres, "year": "1999"})
    >>> {name: int(members.sum()) for name, members in item_labels(frame).items()}
    {'genres: Comedy': 20, 'genres: Crime': 20}
    """
    found: dict[str, np.ndarray] = {}
    for column in items.columns.difference(["item_id", "title", "text"], sort=False):
        held: dict[str, list[int]] = {}
        for row, cell in enumerate(items[column].fillna("").astype(str)):
            for label in {part.strip() for part in _APART.split(cell)}:
                if label and len(label) <= LONGEST and not _number(label):
                    held.setdefault(label, []).append(row)
        usable = {name: rows for name, rows in held.items() if FEWEST <= len(rows) <= len(items) / 2}
        if len({row for rows in usable.values() for row in rows}) < COVERED * len(items):
            continue
        for name, rows in usable.items():
            members = np.zeros(len(items), dtype=bool)
            members[rows] = True
            found[f"{column}: {name}"] = members
    return dict(sorted(found.items(), key=lambda pair: (-int(pair[1].sum()), pair[0])))


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def linked_labels(
    attributes: list[str], values: np.ndarray, labels: dict[str, np.ndarray], *, seed: int = 0
) -> list[Link]:
    """For every attribute the label whose items score highest on it; `values` (n_items, attributes), NaN unknown.

    An attribute without variation, or without a label that has five items with and without it in both halves, has none.

    >>> values = np.linspace(0, 1, 80)[:, None]
    >>> labels = {"genres: Noir": values[:, 0] > 0.5, "genres: Odd": np.arange(80) % 2 == 0}
    >>> link = linked_labels(["dark"], values, labels)[0]
    >>> link.label, link.auc
    ('genres: Noir', 1.0)
    """
    half = np.random.default_rng(seed).permutation(len(values)) < len(values) // 2
    links = []
    for attribute, column in zip(attributes, values.T, strict=True):
        known = np.isfinite(column)
        best: tuple[float, str] | None = None
        for name, members in labels.items():
            sides = [members[known & part] for part in (half, ~half)]
            if any(min(side.sum(), (~side).sum()) < 5 for side in sides):
                continue
            chosen = _auc(column[known & half], sides[0])
            if best is None or chosen > best[0]:
                best = chosen, name
        if best is not None and np.ptp(column[known]) > 0:
            members = labels[best[1]]
            other = known & ~half
            links.append(Link(attribute, best[1], _auc(column[other], members[other]), members))
    return links


def _auc(values: np.ndarray, members: np.ndarray) -> float:
    return float(area_under_curve(WeightedRanks(values), members, np.ones((1, len(values))))[0])
