"""Sentences of case studies: plain words, each with the number that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guided_refine.explain.cells import cells, clip
from guided_refine.explain.words import MATTERS

TITLE = 80


def item_name(item: Mapping[str, Any], width: int = TITLE) -> str:
    """An item's title, or its id where it has none; clean and clipped."""
    return clip(item["title"] or item["item_id"], width) or clip(item["item_id"], width)


def item_with_id(item: Mapping[str, Any], width: int = TITLE) -> str:
    """An item's title and, in brackets, its id, which is what one asks about it with.

    >>> item_with_id({"title": "Heat", "item_id": "i7"}), item_with_id({"title": "", "item_id": "i7"})
    ('Heat [i7]', 'i7')
    """
    tail = f" [{clip(item['item_id'], 40)}]"
    title = clip(item["title"], max(width - cells(tail), 8))
    return title + tail if title else clip(item["item_id"], width)


def percent(share: float) -> str:
    """A share in percent, with a digit more where it is small; never 0 for what is not.

    >>> percent(0.25), percent(0.004), percent(0.0), percent(0.00001)
    ('25 %', '0.4 %', '0 %', 'less than 0.1 %')
    """
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{share:.1%}".replace("%", " %") if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def parts_told(parts: Sequence[Mapping[str, Any]], shown: int = 3) -> str:
    """The largest parts of a sum and the rest, so that the numbers told add up.

    >>> parts = [{"name": n, "label": n, "value": v} for n, v in (("humour", 0.5), ("gore", -0.25), ("pace", 0.001))]
    >>> parts_told(parts)
    '+0.500 from humour, -0.250 from gore, +0.001 from all else'
    """
    ordered = sorted(parts, key=lambda part: (-abs(part["value"]), part["name"]))
    least = MATTERS * max((abs(part["value"]) for part in parts), default=0.0)
    named = [part for part in ordered if abs(part["value"]) > least][:shown]
    told = [f"{part['value']:+.3f} from {part['label']}" for part in named]
    rest = sum(part["value"] for part in parts) - sum(part["value"] for part in named)
    if len(named) < len(parts):
        told.append(f"{rest:+.3f} from all else")
    return ", ".join(told)


def taste_sentence(profile: Sequence[Mapping[str, Any]], estimated: bool) -> str:
    """What a profile holds more and less of than the catalog.

    >>> row = {"label": "humour", "score": 0.8, "percentile": 93.0}
    >>> taste_sentence([row, {"label": "gore", "score": 0.1, "percentile": 4.0}], False)
    'Taste: most of humour (score 0.80, more than 93 % of the catalog), least of gore (0.10, more than 4 %).'
    """
    most = max(profile, key=lambda row: row["percentile"])
    least = min(profile, key=lambda row: row["percentile"])
    told = f"most of {most['label']} (score {most['score']:.2f}, more than {most['percentile']:.0f} % of the catalog)"
    if len(profile) > 1:
        told += f", least of {least['label']} ({least['score']:.2f}, more than {least['percentile']:.0f} %)"
    source = ", estimated from the history" if estimated else ""
    return f"Taste{source}: {told}."


def provenance_rows(case: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where a case comes from, as names and values for people."""
    model, origin = case["model"], case["provenance"]
    trained = "unknown" if origin["trained"] is None else str(origin["trained"])[:10]
    return [
        ("run", origin["run"]),
        ("config", origin["config_sha256"][:16]),
        (
            "data",
            f"{case['dataset']}: {origin['users']} users, {origin['items']} items, {origin['interactions']} events",
        ),
        ("split", f"{origin['split']}, {origin['split_sha256'][:16]}"),
        (
            "model",
            f"{model['backbone']} {model['variant']}, seed {model['seed']} (the run's seeds: "
            f"{', '.join(map(str, origin['seeds']))})",
        ),
        ("trained", f"{trained}, guided-refine {origin['trained_with']}"),
        ("attributes", f"{len(origin['attributes'])}, scored by {model['scorer']} ({model['source']})"),
        ("written by", f"guided-refine {origin['written_with']}"),
    ]
