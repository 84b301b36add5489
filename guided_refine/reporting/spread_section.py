"""The report's lines on what the spread of scores is worth: its correlation with the error, and the verdict in words."""

from __future__ import annotations

from typing import Any

from guided_refine.evaluation.spread import verdict
from guided_refine.reporting.markdown import escape, interval, number, table
from guided_refine.reporting.style import SOURCE_NAMES, label


def spread_lines(truth: dict[str, Any]) -> list[str]:
    """A table of rank correlations and a sentence per source; `truth` is what `truth.json` holds, of any version."""
    found = truth.get("spread")
    if not found or not found["rows"]:
        return []
    cells = {
        (row["attribute"], row["source"]): f"{number(row['correlation'], 2)} "
        f"{interval(row['lower'], row['upper'], 2, sign=False)}"
        for row in found["rows"]
        if row["lower"] is not None
    }
    lines = [
        "**Is the spread worth anything?** Its rank correlation with the error, which is the share of items of another true "
        "value that a score orders wrongly against an item:",
        "",
    ]
    names = list(dict.fromkeys(name for name, _ in cells))
    if names:
        sources = list(found["tracks_error"])
        lines += table(
            ["Spread with error, Spearman", *(SOURCE_NAMES.get(s, escape(s)) for s in sources)],
            [[escape(label(n, 80)), *(cells.get((n, s), "–") for s in sources)] for n in names],
        )
    return [*lines, " ".join(verdict(truth, source) for source in found["tracks_error"]), ""]
