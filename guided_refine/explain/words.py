"""Numbers put into plain words: what a user leans to, and why an item stands where it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLLABORATIVE = "collaborative"
MATTERS = 0.02
LENT = "Nobody took it in training: its part from similar histories is that of items with like attributes."


def stance(weight: float, typical: float) -> str:
    """What the model makes of a taste: the sign and size of the user's weight against the typical size.

    >>> stance(1.2, 1.0), stance(-0.1, 1.0), stance(-3.0, 1.0)
    ('wants it', 'hardly matters', 'strongly avoids it')
    """
    size = abs(weight) / typical if typical else 0.0
    # Where all weights are as good as nothing, a large one among them is nothing too.
    if size < 0.25 or abs(weight) < 0.005:
        return "hardly matters"
    return f"{'strongly ' if size > 2 else ''}{'wants' if weight > 0 else 'avoids'} it"


def weight_told(weight: float) -> str:
    """A weight with its sign, without one where it is told as nothing.

    >>> weight_told(-0.174), weight_told(-0.001)
    ('-0.17', '0.00')
    """
    return "0.00" if abs(weight) < 0.005 else f"{weight:+.2f}"


def reason(parts: Sequence[Mapping[str, Any]], weights: Mapping[str, float], *, lent: bool = False) -> str:
    """One sentence on an item: its lead over the average item of the catalog, and what makes the lead.

    `parts` as in `explain_user`: `lift` is a part's value less its mean over the catalog, so the lifts sum to the
    lead. `weights` holds the user's weight of every attribute; with the sign of the lift it tells much from little.
    `lent`: nobody took the item in training, so what similar histories give is that of items with like scores.

    >>> parts = [{"name": "collaborative", "label": "similar histories", "lift": 2.0},
    ...          {"name": "humour", "label": "humour", "lift": 1.0}, {"name": "gore", "label": "gore", "lift": 0.5}]
    >>> reason(parts, {"humour": 0.4, "gore": -0.2})
    '3.50 above the average item: 2.00 from similar histories, 1.00 from much humour, 0.50 from little gore.'
    """
    lead = sum(p["lift"] for p in parts)
    threshold = MATTERS * max((abs(p["lift"]) for p in parts), default=0.0)
    ordered = sorted(parts, key=lambda p: (-abs(p["lift"]), p["name"]))
    gains = [p for p in ordered if p["lift"] > threshold]
    losses = [p for p in ordered if p["lift"] < -threshold]
    won = [f"{p['lift']:.2f} from {_what(p, weights)}" for p in gains]
    lost = [f"{-p['lift']:.2f} lost to {_what(p, weights)}" for p in losses]
    kept = (3, 1) if lead >= 0 else (1, 3)
    named = gains[: kept[0]] + losses[: kept[1]]
    words = won[: kept[0]] + lost[: kept[1]] if lead >= 0 else lost[: kept[1]] + won[: kept[0]]
    rest = lead - sum(p["lift"] for p in named)
    if words and abs(rest) >= 0.005:
        words.append(f"{rest:+.2f} from all else")
    side = "above" if lead >= 0 else "below"
    told = f"{abs(lead):.2f} {side} the average item: {', '.join(words) or 'no part stands out'}."
    return f"{told} {LENT}" if lent else told


def _what(part: Mapping[str, Any], weights: Mapping[str, float]) -> str:
    if part["name"] == COLLABORATIVE:
        return str(part["label"])
    much = part["lift"] * weights.get(part["name"], 0.0) > 0
    return f"{'much' if much else 'little'} {part['label']}"
