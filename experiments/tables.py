"""Write the tables of docs/results.md anew from the committed results.

python experiments/tables.py            # between `<!-- table NAME -->` and `<!-- end -->`, from experiments/guided/results;
                                        # `<!-- cold NAME -->`: users by training interactions of the item to predict
python experiments/tables.py --check    # ends with 1 where the page and the results differ
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from guided_refine.files import atomic_path, read_json
from guided_refine.reporting.markdown import interval, number, p_value, signed, table
from guided_refine.reporting.style import label

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
RESULTS = ROOT / "experiments" / "guided" / "results"
BETWEEN = re.compile(r"(<!-- (?P<what>table|cold) (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def lines_of(found: dict[str, Any]) -> Iterator[str]:
    """One table per backbone: every variant against the base, what refined has beyond it, then simple recommenders."""
    rows = pd.DataFrame(found["rows"])
    for backbone, own in rows.groupby("backbone", sort=False):
        seeds = own["seed"].nunique()
        yield f"{label(str(backbone))}, {own['n_users'].iloc[0]:,} users, {seeds} {'seed' if seeds == 1 else 'seeds'}:"
        yield ""
        yield from table(
            [
                "test",
                "NDCG@10",
                "recall@10",
                "MRR",
                "NDCG@10 minus base",
                "p over seeds",
                f"{label(found.get('refined', 'refined'))} minus it",
                "minutes a model",
            ],
            [_line(found, str(backbone), str(v), part) for v, part in own.groupby("variant", sort=False)]
            + [
                [
                    row["scorer"],
                    number(row["ndcg@10"]),
                    number(row["recall@10"]),
                    number(row["mrr"]),
                    "",
                    "",
                    "",
                    "",
                ]
                for row in found.get("baselines", {}).get("rows", [])
            ],
        )


def cold_lines(found: dict[str, Any]) -> Iterator[str]:
    """Recall@10 and NDCG@10 where the item to predict is new or rare, every variant and simple recommender."""
    rows = [row for row in found["strata"] if row["kind"] == "cold"]
    groups = {row["stratum"]: row for row in rows}
    values = {
        (
            row["stratum"],
            row["variant"],
            row["metric"],
        ): f"{number(row['mean'])} {interval(row['lower'], row['upper'], sign=False)}"
        for row in rows
    }
    names = list(dict.fromkeys(row["variant"] for row in rows))
    metrics = {"recall@10": "recall@10", "ndcg@10": "NDCG@10"}
    heads = [
        f"{shown}, {_span(group)} ({group['n_users']:,} users)"
        for group in groups.values()
        for shown in metrics.values()
    ]
    simple = {row["name"]: row["scorer"] for row in found["baselines"]["rows"]}
    body = [
        [simple.get(n) or label(n), *(values.get((group, n, m), "") for group in groups for m in metrics)]
        for n in names
    ]
    yield from table(["test", *heads], body)


def _span(group: dict[str, Any]) -> str:
    return f"{group['low']} to {group['high']}" if group["high"] else "none"


def _line(found: dict[str, Any], backbone: str, variant: str, rows: pd.DataFrame) -> list[str]:
    ours = found.get("refined", "refined")
    gain = _difference(found["differences"], backbone, variant, "base")
    if variant == "base":
        rest = _difference(found["differences"], backbone, ours, "base")
    else:
        rest = _difference(found["refined_against"], backbone, ours, variant)
    return [
        label(variant),
        *(number(rows[m].mean()) for m in ("ndcg@10", "recall@10", "mrr")),
        _shown(gain),
        p_value(gain["seeds_p"]) if gain else "",
        _shown(rest),
        f"{rows['seconds'].mean() / 60:.1f}",
    ]


def _difference(
    found: list[dict[str, Any]], backbone: str, variant: str, against: str
) -> dict[str, Any] | None:
    for row in found:
        if (row["backbone"], row["variant"], row["against"], row["metric"]) == (
            backbone,
            variant,
            against,
            "ndcg@10",
        ):
            return row
    return None


def _shown(row: dict[str, Any] | None) -> str:
    return f"{signed(row['mean'])} {interval(row['lower'], row['upper'])}" if row else ""


def filled(page: str, results: Path = RESULTS) -> str:
    """The page with each of its tables made anew."""

    def made(place: re.Match[str]) -> str:
        kind = {"table": lines_of, "cold": cold_lines}[place["what"]]
        lines = kind(read_json(results / f"{place['name']}.json"))
        return place[1] + "\n".join(lines).strip() + "\n" + place["end"]

    return BETWEEN.sub(made, page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before)
    if args.check:
        sys.exit(
            f"{PAGE.name} is not what {RESULTS.name} says; run this without --check" if after != before else 0
        )
    with atomic_path(PAGE) as path:
        path.write_text(after, encoding="utf-8")
