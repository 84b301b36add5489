"""The report's sections on attribute scores: who scored, what looks suspicious, how well a truth is recovered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.evaluation.scores_alone import CHANGE
from guided_refine.evaluation.truth import SOURCES
from guided_refine.reporting.markdown import escape, interval, listed, number, signed, table
from guided_refine.reporting.runfiles import RunFiles
from guided_refine.reporting.spread_section import spread_lines
from guided_refine.reporting.style import SOURCE_NAMES, label
from guided_refine.scoring.summary import FLAT, REDUNDANT, redundant_pairs

GOOD_AREA = 0.65
SHOWN_TITLES = 3


def scorer_section(run: RunFiles) -> list[str]:
    """Which language model scored, what it knows, how many texts were cut or missing."""
    llm = run.config.llm
    name = escape(run.summary.get("model", llm))
    if llm == "builtin":
        knows = (
            f"The scores come from **{name}**, the small language model that was pre-trained for this run on the "
            "catalog's texts and weak labels. It has **no knowledge of the world**: it can only find in a text what "
            "the text says, it does not know a film or a product beyond that, and it will not follow instructions "
            "that it was not trained on. Judge the method by it, not what a language model can know."
        )
    else:
        knows = (
            f"The scores come from **{name}**. What it knows beyond the texts stems from its own pre-training and "
            "is not controlled here: it may know well-known items, and even their ratings, by name. The untuned "
            "and shuffled variants say how much of a gain depends on the scores."
        )
    if run.config.llm_options.digits == "hard":
        knows += " A score is the **most probable digit**, not the mean."
    if run.config.llm_options.calibration == "content_free":
        knows += " Distributions are **calibrated** by what the model says of texts that say nothing."
    lines = ["## Attribute scores", "", knows, ""]
    counts = list(_flatten(run.summary.get("counts", {})))
    if counts:
        lines += table(["counted while scoring", "count"], [[escape(k), escape(v)] for k, v in counts])
    return [*lines, *_alone(run.scores_alone)]


def _alone(rows: dict[str, dict[str, float]]) -> list[str]:
    """What scores are worth without a recommender; nothing for runs of before this was measured."""
    if not rows:
        return []
    body = [
        [
            SOURCE_NAMES.get(name, name),
            (signed if name == CHANGE else number)(row["ndcg@10"]),
            interval(row["low"], row["high"], sign=name == CHANGE),
            (signed if name == CHANGE else number)(row["recall@10"]),
        ]
        for name, row in rows.items()
    ]
    return [
        "By scores alone: the catalog ranked for every user by the product of his normalised scores and the items', "
        "without a recommender, on **validation**. By chance all items tie.",
        "",
        *table(["ranked by", "NDCG@10", "95 %", "recall@10"], body),
    ]


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}, {label(str(key), 80)}" if prefix else label(str(key), 80))
    elif isinstance(value, bool | int | float | str):
        yield prefix, f"{value:,}" if isinstance(value, int) else str(value)


def attribute_section(run: RunFiles) -> list[str]:
    """Mean and deviation of every attribute, flat and redundant ones flagged, and the items at both ends."""
    if run.scores is None:
        return []
    items = run.scores[run.scores["kind"] == "item"]
    tables = {
        s: items[items["source"] == s].pivot(index="id", columns="attribute", values="value")
        for s in ("untuned", "tuned")
        if (items["source"] == s).any()
    }
    names = list(dict.fromkeys(items["attribute"]))
    lines = _warnings(tables, names)
    head = ["attribute", *(f"{s}: mean ± sd" for s in tables)]
    if len(tables) == 2:
        head.append("rank correlation, before and after")
    body = []
    for name in names:
        cells = [f"{number(t[name].mean(), 2)} ± {number(t[name].std(ddof=0), 2)}" for t in tables.values()]
        if len(tables) == 2:
            cells.append(number(_rank_correlation(tables["untuned"][name], tables["tuned"][name]), 2))
        body.append([escape(label(name, 80)), *cells])
    lines += table(head, body)
    return lines + _extremes(run, next(reversed(tables.values())), names, list(tables)[-1])


def _rank_correlation(a: pd.Series, b: pd.Series) -> float:
    both = pd.concat([a, b], axis=1).dropna().rank()
    if len(both) < 3 or (both.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(both.to_numpy(), rowvar=False)[0, 1])


def _warnings(tables: dict[str, pd.DataFrame], names: list[str]) -> list[str]:
    lines = []
    for source, values in tables.items():
        flat = [n for n in names if not values[n].std(ddof=0) >= FLAT]
        if flat:
            lines.append(
                f"- **Flat ({source}): {listed([escape(label(n, 80)) for n in flat])}** — hardly vary over the catalog "
                f"(standard deviation below {FLAT}), so they tell items apart hardly or not at all."
            )
        pairs = redundant_pairs(values[names].to_numpy(), names, skip=set(flat))
        if pairs:
            shown = [
                f"{' and '.join(escape(label(a, 80)) for a in p['attributes'])} ({p['correlation']:+.2f})"
                for p in pairs
            ]
            lines.append(
                f"- **Redundant ({source}): {'; '.join(shown)}** — correlate at {REDUNDANT} or more over the catalog, "
                "so they carry nearly the same information."
            )
    if not lines:
        return [f"No attribute is flat and no two correlate at {REDUNDANT} or more.", ""]
    return [*lines, ""]


def _extremes(run: RunFiles, values: pd.DataFrame, names: list[str], source: str) -> list[str]:
    if run.dataset is None:
        return []
    titles = dict(zip(run.dataset.item_ids.astype(str), run.dataset.titles, strict=True))

    def shown(ids: pd.Index) -> str:
        return "; ".join(escape(_short(titles.get(str(i)) or str(i))) for i in ids)

    rows = []
    for name in names:
        ranked = values[name].dropna().sort_values(kind="stable").index
        if len(ranked) >= 2 * SHOWN_TITLES and values[name].std(ddof=0) >= FLAT:
            low, high = ranked[:SHOWN_TITLES], ranked[::-1][:SHOWN_TITLES]
            rows.append([escape(label(name, 80)), shown(low), shown(high)])
    if not rows:
        return []
    head = ["attribute", "lowest", "highest"]
    return [
        f"Items at both ends of each scale ({source} scores), to be read with one's own eyes:",
        "",
        *table(head, rows),
    ]


def _short(title: str, most: int = 48) -> str:
    return title if len(title) <= most else title[: most - 1].rstrip() + "…"


def truth_section(run: RunFiles) -> list[str]:
    """Recovery of a known truth: a row per attribute, and in words where it fails."""
    if run.truth is None:
        return []
    rows, changes = run.truth["rows"], run.truth["differences"]
    sources = [s for s in SOURCES if any(r["source"] == s for r in rows)]
    sources += sorted({r["source"] for r in rows} - set(sources))
    lines = [
        "## Do the scores mean what they say?",
        "",
        f"Item scores against {escape(run.truth.get('file', 'a truth table'))}, {_confidence(run)} intervals from "
        "resampled items; differences are paired, on the same items.",
        "",
    ]
    for measure, title in (("auc", "Area under the curve"), ("spearman", "Spearman correlation")):
        known = {(r["attribute"], r["source"]): r for r in rows if r.get(measure) is not None}
        names = list(dict.fromkeys(a for a, _ in known))
        if not names or (measure == "spearman" and all(r.get("auc") is not None for r in known.values())):
            continue
        gains = {
            d["attribute"]: d
            for d in changes
            if (d["measure"], d["source"], d["against"]) == (measure, "tuned", "untuned")
        }
        head = [title, "items", *(SOURCE_NAMES.get(s, escape(s)) for s in sources), "tuned − untuned"]
        body = [[escape(label(n, 80)), *_truth_cells(known, gains, n, sources, measure)] for n in names]
        lines += table(head, body)
        lines += _truth_words(known, gains, changes, names, measure)
    unknown = sorted({r["attribute"] for r in rows if r.get("spearman") is None and r.get("auc") is None})
    if unknown:
        shown = listed([escape(label(n, 80)) for n in unknown])
        lines += [
            f"Without a number for some source (too few items, one value only, or flat scores): {shown}.",
            "",
        ]
    lines += spread_lines(run.truth)
    dropped = run.truth.get("dropped") or {}
    if dropped:
        lines += [
            "Rows of the truth left out: "
            + ", ".join(f"{n:,} {escape(r)}" for r, n in dropped.items())
            + ".",
            "",
        ]
    return lines


def _confidence(run: RunFiles) -> str:
    return f"{100 * run.config.evaluate.confidence:g} %"


def _truth_cells(
    known: dict[tuple[str, str], dict[str, Any]],
    gains: dict[str, dict[str, Any]],
    name: str,
    sources: list[str],
    measure: str,
) -> list[str]:
    first = next(r for (a, _), r in known.items() if a == name)
    count = f"{first['n']:,}" if first.get("n") is not None else "–"
    if first.get("positives") is not None:
        count = f"{first['positives']:,} of {count}"
    cells = [count]
    for source in sources:
        row = known.get((name, source))
        if row is None:
            cells.append("–")
        else:
            bounds = interval(row[f"{measure}_lower"], row[f"{measure}_upper"], 2, sign=False)
            cells.append(f"{number(row[measure], 2)} {bounds}")
    gain = gains.get(name)
    cells.append(f"{signed(gain['mean'], 2)} {interval(gain['lower'], gain['upper'], 2)}" if gain else "–")
    return cells


def _truth_words(
    known: dict[tuple[str, str], dict[str, Any]],
    gains: dict[str, dict[str, Any]],
    changes: list[dict[str, Any]],
    names: list[str],
    measure: str,
) -> list[str]:
    single = [n for n in names if n != "mean of all"]
    last = "tuned" if any(s == "tuned" for _, s in known) else "untuned"
    words = []
    if measure == "auc":
        weak = [n for n in single if (row := known.get((n, last))) and row["auc"] < GOOD_AREA]
        words.append(
            _named(weak, f"below {GOOD_AREA} with {last} scores", f"all reach {GOOD_AREA} with {last} scores")
        )
    else:
        weak = [n for n in single if (row := known.get((n, last))) and not (row["spearman_lower"] or 0) > 0]
        words.append(
            _named(
                weak, f"not told apart from chance with {last} scores", f"all above chance with {last} scores"
            )
        )
    if gains:
        lost = [n for n in single if n in gains and (gains[n]["upper"] or 0) < 0]
        words.append(
            _named(lost, "lower after tuning, beyond chance", "none is lower after tuning beyond chance")
        )
    for source in ("untuned", "tuned"):
        own = [
            d
            for d in changes
            if (d["measure"], d["source"], d["against"]) == (measure, source, "bag_of_words")
        ]
        if own:
            better = sum(d["attribute"] in single and (d["lower"] or 0) > 0 for d in own)
            worse = sum(d["attribute"] in single and (d["upper"] or 0) < 0 for d in own)
            words.append(
                f"{source} scores beat the bag of words on {better} of {len(single)}, lose on {worse}"
            )
    return [f"Read as: {'; '.join(words)}.", ""]


def _named(names: list[str], if_any: str, if_none: str) -> str:
    return f"**{listed([escape(label(n, 80)) for n in names])} {if_any}**" if names else if_none
