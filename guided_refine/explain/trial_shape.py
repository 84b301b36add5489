"""What a trial's file must hold for those who read it: a damaged one is told in a sentence instead of failing somewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OrNull:
    """A shape, or null in its place."""

    shape: Any


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_entry(value: Any) -> bool:
    """A mean with both ends of its interval, or all three unknown."""
    if not isinstance(value, dict):
        return False
    numbers = [value.get(key, "") for key in ("mean", "lower", "upper")]
    return all(map(_is_number, numbers)) or numbers == [None] * 3


def _is_held(value: Any) -> bool:
    return _is_entry(value) and isinstance(value.get("holds"), bool)


def _is_share(value: Any) -> bool:
    return _is_entry(value) and _is_number(value.get("share"))


def _is_share_of_group(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict) and _is_number(one.get("share")) for one in value.values()
    )


_CURVES = {"deletion": _is_held, "insertion": _is_held}
_VALUES = [[_is_number]]

SHAPE: dict[str, Any] = {
    "weights": str,
    "sample": {"users": int, "of": int},
    "background": str,
    "exact": bool,
    "curves": {"direct": _CURVES, "encoder": _CURVES},
    "agreement": _is_entry,
    "stability": {
        "direct": _is_entry,
        "encoder": _is_entry,
        "seeds": OrNull({"seeds": [int], "direct": _is_entry, "encoder": _is_entry}),
    },
    "metadata": OrNull({"links": [{"attribute": str, "label": str, "auc": _is_number}], "mean": dict}),
    "monotone": [_is_held],
    "importance": [{"attribute": str, "direct": _is_share, "encoder": _is_share}],
    "segments": [
        {
            "kind": str,
            "name": str,
            "users": int,
            "direct": OrNull(_is_share_of_group),
            "encoder": OrNull(_is_share_of_group),
        }
    ],
    "interactions": OrNull([{"attributes": [str], "mean": OrNull(_is_number)}]),
    "points": {"direct": _VALUES, "encoder": _VALUES, "item_score": [[OrNull(_is_number)]]},
    "curve_means": {
        f"{kind}_{name}": [_is_number]
        for kind in ("deletion", "insertion")
        for name in ("direct", "encoder", "random")
    },
}


def trial_fault(found: Any) -> str | None:
    """Where the content of a trial's file is not what a trial writes, None where it is.

    >>> trial_fault([]), trial_fault({"weights": "ab", "sample": {"users": 3}})
    ('the whole', 'background')
    """
    place = misfit(found, SHAPE)
    if place is not None:
        return place or "the whole"
    names = [row["attribute"] for row in found["importance"]]
    if [row.get("attribute") for row in found["monotone"]] != names:
        return "monotone"
    if not all(_is_held(entry) for entry in (found["metadata"] or {}).get("mean", {}).values()):
        return "metadata.mean"
    if not all(_is_entry(row) and len(row["attributes"]) == 2 for row in found["interactions"] or []):
        return "interactions"
    for key, rows in found["points"].items():
        if any(len(row) != len(names) for row in rows):
            return f"points.{key}"
    return None


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """The first place at which a JSON value does not have a shape, None where it has.

    A shape is a type, a predicate, a dict of keys that must be there, a list of one shape for all entries, or `OrNull`.

    >>> misfit({"a": [{"b": 1}, {"b": "x"}]}, {"a": [{"b": int}]})
    'a.1.b'
    """
    if isinstance(shape, OrNull):
        return None if value is None else misfit(value, shape.shape, place)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return place
        inner = ((f"{place}.{key}".lstrip("."), value.get(key), child) for key, child in shape.items())
        missing = next((key for key in shape if key not in value), None)
        if missing is not None:
            return f"{place}.{missing}".lstrip(".")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return place
        inner = ((f"{place}.{number}".lstrip("."), child, shape[0]) for number, child in enumerate(value))
    else:
        return None if _fits(value, shape) else place
    return next(
        (found for where, child, its in inner if (found := misfit(child, its, where)) is not None), None
    )


def _fits(value: Any, shape: type | Callable[[Any], bool]) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    return shape(value)
