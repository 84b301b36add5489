"""Do explanations agree with what the catalog says about its items?

An explanation says how strongly a user is drawn by an attribute. Catalogs have labels, such as genres; each attribute is
linked to the label that goes best with it. The language model may have read the labels, but not who took which item: users
with more of the label in their history should be those whom the attribute draws more towards items of the label. Random
explanations would have a correlation of 0.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from guided_refine.evaluation.agreement import WeightedRanks, spearman
from guided_refine.evaluation.statistics import resampling_weights, summarise
from guided_refine.explain.encoder_view import AttributeGame, shares
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.labels import Link

SAMPLES = 2000


def pulls(explainer: Explainer, user: int, game: AttributeGame, links: list[Link]) -> dict[str, np.ndarray]:
    """How much each link's attribute raises items with its label over items without, for a user; (links,) each.

    `pull_direct` and `pull_encoder` in the two views, `held` the share of the label in the history.
    """
    if not links:
        return dict.fromkeys(("pull_direct", "pull_encoder", "held"), np.zeros(0))
    names = list(explainer.scores.attributes)
    places = np.array([names.index(link.attribute) for link in links])
    members = np.stack([link.members for link in links]).astype(np.float64)
    # Scores are products with item vectors, so a mean over items is one product with the mean vector.
    apart = members @ explainer.vectors / members.sum(axis=1, keepdims=True) - (
        1 - members
    ) @ explainer.vectors / (1 - members).sum(axis=1, keepdims=True)
    ends = apart[:, len(apart[0]) - len(names) :]
    rows = np.arange(len(links))
    seen = explainer.seen(user)
    return {
        "pull_direct": game.state()[-len(names) :][places] * ends[rows, places],
        "pull_encoder": shares(game.beside(torch.from_numpy(apart).float()))[rows, places],
        "held": members[:, seen - 1].mean(axis=1) if len(seen) else np.full(len(links), np.nan),
    }


def agreement(columns: dict[str, np.ndarray], links: list[Link], seed: int) -> dict[str, Any] | None:
    """Rank correlations over users of pull and history: per link and, for both views, the mean over links.

    `columns`: what `pulls` gave, (users, links) each. Intervals are of resampled users. None without links.
    """
    if not links or len(columns["held"]) < 2:
        return None
    rows: list[dict[str, Any]] = [
        {"attribute": link.attribute, "label": link.label, "auc": link.auc} for link in links
    ]
    means: dict[str, Any] = {}
    for view in ("direct", "encoder"):
        drawn = np.stack(
            [
                _correlations(columns[f"pull_{view}"][:, column], columns["held"][:, column], seed)
                for column in range(len(links))
            ]
        )
        for row, samples in zip(rows, drawn, strict=True):
            row[view] = _entry(samples, len(columns["held"]))
        usable = drawn[~np.isnan(drawn[:, 0])]
        if len(usable):
            means[view] = _entry(np.nanmean(usable, axis=0), len(columns["held"]))
    return {"links": rows, "mean": means} if means else None


def _correlations(pull: np.ndarray, held: np.ndarray, seed: int) -> np.ndarray:
    """Spearman's correlation of the users as they are (first), then of bootstrap samples of them."""
    known = np.isfinite(pull) & np.isfinite(held)
    if known.sum() < 3:
        return np.full(SAMPLES + 1, np.nan)
    x, y = WeightedRanks(pull[known]), WeightedRanks(held[known])
    n = int(known.sum())
    found = [spearman(x, y, np.ones((1, n)))]
    found += [spearman(x, y, weights) for weights in resampling_weights(n, SAMPLES, seed)]
    return np.concatenate(found)


def _entry(samples: np.ndarray, users: int) -> dict[str, Any]:
    """JSON-ready; `samples` has the observed value first."""
    if np.isnan(samples[0]):
        return {"mean": None, "lower": None, "upper": None, "p": None, "holds": False}
    interval = summarise(float(samples[0]), samples[1:], users)
    return {**asdict(interval), "holds": interval.lower > 0}
