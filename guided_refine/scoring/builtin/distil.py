"""The builtin model as the pupil of a better one: a few items are scored by that, all by the pupil.

(Hinton, Vinyals and Dean, 2015, "Distilling the knowledge in a neural network": the pupil learns the teacher's whole
distribution, here the bell that its value and spread describe.) What it says of the scored items is learned as it is.
The others get labels too, foreseen from their texts, that weigh as much as items left out could be foreseen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin.foresee import foresee, text_features
from guided_refine.scoring.builtin.given_scores import fingerprint, read_given
from guided_refine.scoring.builtin.teacher import WeakLabels

_WIDTHS = (0.5, 2.5)
_USUAL_WIDTH = 0.75
_LEAST = 0.05


class Distilled:
    """A teacher whose labels are the scores at `where`: a run folder, or a table of item_id, attribute, value[, spread]."""

    def __init__(self, where: Path) -> None:
        self.where = where

    @property
    def recipe(self) -> dict[str, Any]:
        """What the labels depend on beside texts and attributes. Raises `InputError` where there are no scores."""
        return {"teacher": "distil", "scores": fingerprint(self.where)}

    @property
    def sentence(self) -> str:
        """Who taught, for the model's card."""
        return f"It learned to score as another model does, from that model's scores in `{self.where.name}`."

    def check(self, attributes: AttributeSet) -> None:
        """Raise `InputError` for scores that cannot be read or are of other attributes."""
        read_given(self.where).check(attributes)

    def labels(
        self, dataset: Dataset, attributes: AttributeSet, *, seed: int, progress: Progress
    ) -> WeakLabels:
        """The teacher's scores where there are any, else what the texts let one foresee of them.

        Values keep the teacher's own scale. Raises `InputError` as `check` does, and for too few scored items.
        """
        given = read_given(self.where)
        given.check(attributes)
        # A score whose text is not here has nothing that could be learned from.
        with_text = np.array([bool(text.strip()) for text in dataset.texts])
        ids = [str(i) for i in dataset.item_ids]
        read = [i for i, known in zip(ids, with_text, strict=True) if known]
        known = np.full((2, dataset.n_items, len(attributes.names)), np.nan)
        known[:, with_text] = given.on(read, attributes)
        value, spread = known
        found = foresee(text_features(dataset.texts, attributes, seed=seed), value, seed=seed)
        scored = np.isfinite(value)
        progress.log(
            f"teacher: {given.model} has scored {int(scored.any(axis=1).sum()):,} of {len(read):,} items; the others' "
            f"scores are foreseen from their texts (items left out: {_range(found.correlation)})"
        )
        sure = np.clip(found.correlation, _LEAST, 1.0)
        confidence = np.where(scored, 1.0, sure) * with_text[:, None]
        width = np.where(np.isfinite(spread), 8 * spread, _USUAL_WIDTH)
        width = np.where(scored, width, 8 * found.error)
        filled = np.clip(np.where(scored, value, found.value), 0.0, 1.0)
        return WeakLabels(filled, confidence, np.clip(width, *_WIDTHS))


def _range(correlation: np.ndarray) -> str:
    return f"correlation {correlation.min():.2f} to {correlation.max():.2f}"
