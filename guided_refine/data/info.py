"""What a prepared dataset holds: counted from its tables, with what was dropped and why from info.json."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.data.dataset import read_prepared

_QUANTILES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}


def describe(folder: Path) -> dict[str, Any]:
    """Facts about a prepared dataset, JSON-ready; raises `InputError` when `folder` is not one or is damaged.

    `density` is the share of user-item pairs with an event; `text_coverage` the share of items, and of
    interactions, whose item has a text; `text_chars` are quantiles over items.
    """
    info, items, rows = read_prepared(folder)
    lengths = rows["user_id"].value_counts().to_numpy()
    popularity = rows["item_id"].value_counts().to_numpy()
    told = items["text"].astype(str).str.len().to_numpy() > 0
    with_text = set(items["item_id"][told])
    pairs = int((~rows[["user_id", "item_id"]].duplicated()).sum())
    facts: dict[str, Any] = {
        **{key: info[key] for key in ("name", "reader", "source") if key in info},
        "users": len(lengths),
        "items": len(items),
        "interactions": len(rows),
        "density": pairs / (len(lengths) * len(items)),
        "history_length": _quantiles(lengths),
        "item_popularity": _quantiles(popularity),
        "text_coverage": {
            "items": float(told.mean()),
            "interactions": float(rows["item_id"].isin(with_text).mean()),
        },
        "text_chars": _quantiles(items["text"].astype(str).str.len().to_numpy()),
        "times": _times(rows["timestamp"].to_numpy()) if "timestamp" in rows else None,
        "ratings": _quantiles(rows["rating"].dropna().to_numpy()) if "rating" in rows else None,
    }
    kept = (
        "order",
        "rows_read",
        "dropped",
        "noted",
        "catalog",
        "duplicates",
        "repeats",
        "removed_by_core",
        "splits",
    )
    facts.update({key: info[key] for key in kept if key in info})
    return facts


def _quantiles(values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values.astype(float), list(_QUANTILES.values()))
    return {name: float(value) for name, value in zip(_QUANTILES, found, strict=True)}


def _times(times: np.ndarray) -> dict[str, str]:
    first, last = (_day(float(t)) for t in (times.min(), times.max()))
    return {"first": first, "last": last}


def _day(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, tz=timezone.utc).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"


def format_info(facts: dict[str, Any]) -> str:
    """The facts of `describe` as lines for a terminal.

    >>> print(format_info({"name": "tiny", "users": 2, "items": 3, "interactions": 4, "density": 0.5}))
    tiny
      users                2
      items                3
      interactions         4
      density              50 %
    """
    lines = [str(facts["name"]) + (f" (reader {facts['reader']})" if "reader" in facts else "")]

    def put(label: str, text: str) -> None:
        lines.append(f"  {label:20} {text}")

    for key in ("users", "items", "interactions"):
        put(key, f"{facts[key]:,}")
    put("density", f"{100 * facts['density']:.3g} %")
    for key in ("history_length", "item_popularity", "text_chars", "ratings"):
        if facts.get(key):
            put(key.replace("_", " "), ", ".join(f"{name} {value:g}" for name, value in facts[key].items()))
    if "text_coverage" in facts:
        share = facts["text_coverage"]
        text = f"{100 * share['items']:.1f} % of items, {100 * share['interactions']:.1f} % of interactions"
        put("with text", text)
    if "times" in facts:
        times = facts["times"]
        put("times", f"{times['first']} .. {times['last']}" if times else "no, an order only")
        put("ordered by", str(facts.get("order", "unknown")))
    lines += _format_drops(facts)
    for kind, split in facts.get("splits", {}).items():
        shown = split["sha256"][:16] if split["sha256"] else f"not possible: {split['reason']}"
        users = f", {split['valid_users']:,} / {split['test_users']:,} users" if split["sha256"] else ""
        put(f"split {kind}", shown + (f"{users} to validate / test" if users else ""))
    return "\n".join(lines)


def _format_drops(facts: dict[str, Any]) -> list[str]:
    if "rows_read" not in facts:
        return []
    lost = facts["rows_read"] - facts["interactions"]
    lines = [f"  {'rows read':20} {facts['rows_read']:,}, of which {lost:,} dropped"]
    for reason, entry in facts["dropped"].items():
        first = f" (first: {entry['first']})" if entry["first"] else ""
        lines.append(f"    {reason}: {entry['rows']:,}{first}")
    for reason, entry in facts["noted"].items():
        lines.append(f"    noted: {reason}: {entry['rows']:,} (first: {entry['first']})")
    core = facts["removed_by_core"]
    if core["users"] or core["items"]:
        lines.append(f"    k_core removed {core['users']:,} users and {core['items']:,} items")
    catalog = facts["catalog"]
    if catalog["without_interactions"]:
        lines.append(
            f"    catalog items without interactions left out: {catalog['without_interactions']:,} "
            f"of {catalog['listed']:,}"
        )
    lines.append(f"  {'duplicates':20} {facts['duplicates']:,} exact (dropped)")
    lines.append(f"  {'repeats':20} {facts['repeats']:,} later events of a user with the same item")
    return lines
