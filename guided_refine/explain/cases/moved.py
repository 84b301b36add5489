"""How far a refined list has moved from the base's: of one user in detail, of all users as one number each.

The measure is one less the average overlap: the share of the first d items that two lists have in common, averaged over
d = 1..k (see Webber, Moffat and Zobel, "A Similarity Measure for Indefinite Rankings", ACM TOIS 28(4), 2010). It is 0 for
the same list, 1 for lists without a common item, and moves at the top weigh more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine.errors import InputError
from guided_refine.explain.cases.shared import CONTROL, Shared
from guided_refine.explain.cases.words import item_name, parts_told
from guided_refine.explain.contributions import Contributions
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone

# Users whose lists are made at once, and elements of one comparison.
BATCH, ELEMENTS = 1024, 1 << 24


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One less the average overlap of ranked lists; both (users, k) item numbers, best first, 0 behind a list's end.

    Two lists of a user are equally long. Returns (users,), in [0, 1]; 0 where both are empty.

    >>> distance(np.array([[1, 2], [1, 2], [1, 2]]), np.array([[1, 2], [2, 1], [3, 4]])).tolist()
    [0.0, 0.5, 1.0]
    """
    users, k = first.shape
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, k + 1))])
    # A common item at places i and j (from 0) counts in every depth from max(i, j) + 1 on.
    later = np.maximum(np.arange(k)[:, None], np.arange(k)[None])
    out = np.zeros(users)
    size = max(1, ELEMENTS // max(1, k * k))
    for start in range(0, users, size):
        a, b = first[start : start + size], second[start : start + size]
        length = (a > 0).sum(axis=1)
        same = (a[:, :, None] == b[:, None, :]) & (a > 0)[:, :, None]
        weight = harmonic[length][:, None, None] - harmonic[later][None]
        overlap = np.where(same, weight, 0.0).sum(axis=(1, 2))
        out[start : start + size] = np.where(length > 0, 1.0 - overlap / np.maximum(length, 1), 0.0)
    return np.clip(out, 0.0, 1.0)


def distances(shared: Shared, k: int, progress: Progress | None = None) -> np.ndarray:
    """How far each user's refined top `k` is from the base's, (users,); NaN for users without history.

    Raises `InputError` where the base is not trained.
    """
    base, data = shared.base, shared.explainer.dataset
    if base is None:
        raise InputError(
            f"{shared.explainer.folder.root} has no trained base of {shared.explainer.backbone}, so nobody's list can be "
            "said to have moved; finish the run, or name users with --users"
        )
    out = np.full(data.n_users, np.nan)
    users = np.array([u for u in range(data.n_users) if len(shared.explainer.seen(u))], dtype=np.int64)
    progress = progress or Progress(quiet=True)
    with progress.bar("compare lists", total=len(users)) as task:
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            lists = [top_of(model, shared, some, k) for model in (base, shared.explainer.model)]
            out[some] = distance(*lists)
            task.advance(len(some))
    return out


def top_of(model: Backbone, shared: Shared, users: np.ndarray, k: int) -> np.ndarray:
    """The best `k` unseen items of each user number, (users, min(k, n_items)) item numbers, 0 behind the last."""
    import torch

    from guided_refine.backbones.histories import Histories
    from guided_refine.backbones.topk import top_items

    data = shared.explainer.dataset
    seen = Histories.stack([shared.explainer.seen(int(u)) for u in users])
    states = torch.from_numpy(model.states(users, "test", data))
    values, found = top_items(states, torch.from_numpy(model.item_vectors()), k, seen)
    return np.where(np.isfinite(values.numpy()), found.numpy() + 1, 0)


def most_moved(moved: np.ndarray, count: int) -> list[int]:
    """The `count` user numbers whose lists moved most, most first; equal ones in the order of the data.

    >>> most_moved(np.array([0.2, np.nan, 0.5, 0.5]), 3)
    [2, 3, 0]
    """
    order = np.argsort(-np.nan_to_num(moved, nan=-1.0), kind="stable")
    return [int(u) for u in order[:count] if not np.isnan(moved[u])]


# ------------------------------------------------------------------------------------------------ one user


def moved_of(
    shared: Shared, user: int, refined: Contributions, base: Contributions, k: int
) -> dict[str, Any]:
    """What came into the list and what left it, with both ranks, and the parts that carry what came (direct view).

    What came is set against what left, in the order of their ranks: the first against the first, and so on. The parts of
    each margin sum to it.
    """
    explainer = shared.explainer
    seen = explainer.seen(user)
    now, before = refined.top(k, seen), base.top(k, seen)
    ranks, base_ranks = refined.ranks(seen), base.ranks(seen)

    def item(number: int) -> dict[str, Any]:
        return {
            **explainer.named(number),
            "rank": int(ranks[number - 1]),
            "base_rank": int(base_ranks[number - 1]),
        }

    came = [int(i) for i in now if i not in before]
    left = [int(i) for i in before if i not in now]
    control = None
    if shared.control is not None:
        other = shared.ranked(shared.control, user).top(k, seen)
        control = {
            "variant": CONTROL,
            "new": int((~np.isin(other, before)).sum()),
            "measure": float(distance(before[None], other[None])[0]),
        }
    found: dict[str, Any] = {
        "view": "direct",
        "measure": float(distance(before[None], now[None])[0]),
        "new": len(came),
        "of": len(now),
        "came": [
            _against(item(mine), item(other), refined.margin(mine, other), explainer.labels)
            for mine, other in zip(came, left, strict=True)
        ],
        "left": [item(number) for number in left],
        "control": control,
    }
    return found | {"sentence": _sentence(found)}


def _against(
    mine: dict[str, Any], other: dict[str, Any], margin: dict[str, float], labels: dict[str, str]
) -> dict[str, Any]:
    parts = [{"name": name, "label": labels[name], "value": value} for name, value in margin.items()]
    lead = float(sum(margin.values()))
    sentence = (
        f"{item_name(mine)} came from rank {mine['base_rank']} to {mine['rank']}, {item_name(other)} went from "
        f"{other['base_rank']} to {other['rank']}. In the refined model the first is {lead:.3f} ahead (direct view): "
        f"{parts_told(parts)}."
    )
    return mine | {"instead_of": other, "margin": lead, "parts": parts, "sentence": sentence}


def _sentence(found: dict[str, Any]) -> str:
    told = (
        f"{found['new']} of {found['of']} items {'is' if found['new'] == 1 else 'are'} not in the base's list; it moved by "
        f"{found['measure']:.2f} (0: the same list, 1: no common item)."
    )
    if found["control"] is not None:
        told += (
            f" With scores shuffled between items, a control that means nothing, {found['control']['new']} would be "
            f"new and it would move by {found['control']['measure']:.2f}."
        )
    return told
