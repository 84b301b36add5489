"""How sure the language model was of its scores, and whether that means anything in this run.

Spread may be put into words only for an attribute whose spread tracks error against the run's truth, and that is known of
items only. So words are said of items' scores; a user's spread stays a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guided_refine.evaluation.spread import spread_tracks_error
from guided_refine.explain.cases.words import item_name
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.words import COLLABORATIVE

#: A spread below that of this share of the catalog is fairly sure; above that of this share, unsure.
CLEAR = 2 / 3

#: Of so many recommendations it is said how sure their largest score is.
TOLD = 5


def sure_word(wider: float) -> str:
    """How sure a score is, from the share of the catalog whose spread for the attribute is wider.

    >>> sure_word(0.9), sure_word(0.5), sure_word(0.1)
    ('fairly sure', 'half sure', 'unsure')
    """
    if wider >= CLEAR:
        return "fairly sure"
    return "unsure" if wider <= 1 - CLEAR else "half sure"


class Confidence:
    """The spreads of an explainer's scores beside what the run's truth says of them (`truth`: None where it has none)."""

    def __init__(self, explainer: Explainer, truth: Mapping[str, Any] | None) -> None:
        self.explainer, self.truth = explainer, truth
        self.source = explainer.scores.source
        rows = ((truth or {}).get("spread") or {}).get("rows", [])
        self.found = {row["attribute"]: row for row in rows if row["source"] == self.source}
        self.tracks = {
            name: spread_tracks_error(truth, self.source, name) for name in explainer.scores.attributes
        }

    def of_item(self, item: int, attribute: str) -> dict[str, Any]:
        """`item_spread` of an item number, and `sure`: a word where spread is shown to track error, else None."""
        column = self.explainer.scores.attributes.index(attribute)
        catalog = self.explainer.scores.item_spread[:, column]
        spread = float(catalog[item - 1])
        if not np.isfinite(spread):
            return {"item_spread": None, "sure": None}
        return {
            "item_spread": spread,
            "sure": sure_word(self.wider(spread, attribute)) if self.tracks[attribute] else None,
        }

    def wider(self, spread: float, attribute: str) -> float:
        """Share of the catalog whose spread for the attribute is wider; equal ones count half."""
        catalog = self.explainer.scores.item_spread[:, self.explainer.scores.attributes.index(attribute)]
        catalog = catalog[np.isfinite(catalog)]
        return float(np.mean(catalog > spread) + np.mean(catalog == spread) / 2) if len(catalog) else 0.0

    def section(
        self, profile: Sequence[Mapping[str, Any]], items: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """What a case says of confidence: `sentence`, `attributes` (one row each), and `items`: words on the score that
        gives each of the first `items` (described) the most, where its spread may be put into words."""
        rows = []
        for row in profile:
            known = self.found.get(row["attribute"], {})
            numbers = {key: known.get(key) for key in ("correlation", "lower", "upper")}
            rows.append(
                {
                    "attribute": row["attribute"],
                    "label": row["label"],
                    "n": int(known.get("n", 0)),
                    **numbers,
                    "tracks_error": self.tracks[row["attribute"]],
                    "user_spread": row["spread"],
                }
            )
        told = [self._words(item) for item in items[:TOLD]]
        return {
            "source": self.source,
            "sentence": self._sentence(),
            "attributes": rows,
            "items": [one for one in told if one is not None],
        }

    def _sentence(self) -> str:
        count, good = len(self.tracks), sum(self.tracks.values())
        if not any(row.get("lower") is not None for row in self.found.values()):
            return (
                f"How sure the language model was (spread) is shown as a number only: the run knows the truth of 0 of "
                f"{count} attributes to hold it against, so it has not been shown to mean anything."
            )
        return (
            f"For {good} of {count} attributes the spread of {self.source} item scores tracks their error (rank "
            "correlation with an interval above 0); only there it is put into words. For users' scores this has not been "
            "tried, so theirs stay numbers."
        )

    def _words(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        known = [
            part
            for part in item["parts"]
            if part["name"] != COLLABORATIVE and part["sure"] and part["item_score"] is not None
        ]
        if not known:
            return None
        part = max(known, key=lambda part: (abs(part["lift"]), part["name"]))
        wider = self.wider(part["item_spread"], part["name"])
        found = self.found[part["name"]]
        return {
            "item_id": item["item_id"],
            "title": item["title"],
            "attribute": part["name"],
            "label": part["label"],
            "score": part["item_score"],
            "spread": part["item_spread"],
            "wider": wider,
            "sure": part["sure"],
            "sentence": (
                f"{item_name(item)}: {part['sure']} of {part['label']} {part['item_score']:.2f} (spread "
                f"{part['item_spread']:.2f}; {100 * wider:.0f} % of the catalog have a wider one; spread goes with error, "
                f"rank correlation {found['correlation']:+.2f} [{found['lower']:+.2f}, {found['upper']:+.2f}])."
            ),
        }


def with_confidence(item: dict[str, Any], number: int, confidence: Confidence) -> dict[str, Any]:
    """A described item with every key of its parts there: confidence, and None where the model has no user term."""
    parts = []
    for part in item["parts"]:
        extra: dict[str, Any] = {"item_spread": None, "sure": None}
        if part["name"] != COLLABORATIVE:
            extra = confidence.of_item(number, part["name"])
        parts.append({"from_encoder": None, "from_user_term": None, "item_score": None} | part | extra)
    return item | {"parts": parts}
