"""Sections of the report on how the numbers hold up: simple baselines, seeds, strata, lists, sampled candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.evaluation.metrics import headline_metrics, impossible_pairs
from guided_refine.evaluation.rows import GROUP
from guided_refine.evaluation.strata import FEWEST_USERS
from guided_refine.reporting.markdown import escape, interval, number, p_value, signed, table
from guided_refine.reporting.runfiles import RunFiles
from guided_refine.reporting.strata_plot import compared, first_backbone, span
from guided_refine.reporting.style import in_order, label, metric_label

_SETTINGS = {"neighbours": "{:g} neighbours", "shrinkage": "shrinkage {:g}", "regularisation": "λ = {:g}"}


def baseline_section(run: RunFiles, metrics: list[str]) -> list[str]:
    """Table of the simple recommenders, what they lack, and the base of the first backbone minus each of them."""
    found = run.details.get("baselines")
    if not found:
        return []
    lines = []
    metric = metrics[0]
    backbone = run.rows[0]["backbone"]
    gaps = {
        d["against"]: d for d in found["differences"] if (d["backbone"], d["metric"]) == (backbone, metric)
    }
    head = ["for reference", *(metric_label(m) for m in metrics)]
    if gaps:
        head.append(f"{metric_label(metric)} of {label(backbone)}'s base minus it")
    body = []
    for row in found["rows"]:
        cells = [escape(scorer_name(row)), *(number(row[m]) for m in metrics)]
        gap = gaps.get(row["name"])
        if gaps:
            cells.append(f"{signed(gap['mean'])} {interval(gap['lower'], gap['upper'])}" if gap else "–")
        body.append(cells)
    if body:
        lines += table(head, body)
    if any(row["searched"] for row in found["rows"]):
        lines += ["Settings in brackets were chosen on validation from a small grid.", ""]
    return lines + [line for reason in found["skipped"] for line in (f"{escape(reason)}.", "")]


def scorer_name(row: dict[str, Any]) -> str:
    """A baseline with the settings that were chosen for it.

    >>> scorer_name({"scorer": "EASE", "settings": {"regularisation": 200.0}})
    'EASE (λ = 200)'
    """
    chosen = ", ".join(_SETTINGS[name].format(value) for name, value in row["settings"].items())
    return row["scorer"] + (f" ({chosen})" if chosen else "")


def evaluation_sections(run: RunFiles, plots: dict[str, Path]) -> list[str]:
    """Everything here but the baselines, which stand with the results."""
    if not run.rows:
        return []
    return [
        *_strata(run, plots),
        *_beyond(run),
        *_sampled(run),
        *_seeds(run),
        *_convergence(run),
        *_consistency(run),
    ]


def _strata(run: RunFiles, plots: dict[str, Path]) -> list[str]:
    rows = [row for row in first_backbone(run.details.get("strata", [])) if row["n_users"]]
    if not rows:
        return []
    variants = compared(rows)
    cells = {(r["kind"], r["stratum"], r["variant"]): r for r in rows}
    name = metric_label(rows[0]["metric"])
    body = []
    for row in (r for r in rows if r["variant"] == "base"):
        own = [cells[row["kind"], row["stratum"], v] for v in variants]
        items = "–" if row["n_items"] is None else f"{row['n_items']:,}"
        body.append([f"{row['kind']}, {span(row)}", f"{row['n_users']:,}", items, _level(row)])
        body[-1] += [f"{signed(r['gain'])} {_bounds(r['gain_lower'], r['gain_upper'])}".strip() for r in own]
    head = ["group", "users", "items", f"base, {name}", *(f"{label(v)} against base" for v in variants)]
    backbone = label(rows[0]["backbone"])
    lines = [f"## For whom: {backbone} by popularity of the item and length of the history", ""]
    lines += table(head, body)
    lines += [
        "Popularity and cold: by training interactions of the item to predict. Head: the most popular items that together "
        "hold a third of all; mid: the next third; tail: the rest, cold items with it. History: by events before the one "
        "to predict. Intervals are not corrected for the number of rows: they show where to look and claim nothing. "
        f"Groups of fewer than {FEWEST_USERS} users have none.",
        "",
    ]
    if "strata" in plots:
        lines += [f"![Gain over the base by stratum, with intervals](plots/{plots['strata'].name})", ""]
    return lines


def _level(row: dict[str, Any]) -> str:
    bounds = "" if row["lower"] is None else f" {interval(row['lower'], row['upper'], sign=False)}"
    return number(row["mean"]) + bounds


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None else interval(low, high)


def _beyond(run: RunFiles) -> list[str]:
    found = run.details.get("beyond_accuracy", {"rows": []})
    if not found["rows"]:
        return []
    k = headline_metrics(list(run.rows[0]))[0].partition("@")[2]
    digits = {"coverage": 3, "novelty": 2, "popularity": 1, "gini": 3, "diversity": 3}
    names = {row["name"]: row["scorer"] for row in run.details.get("baselines", {}).get("rows", [])}
    body = []
    for backbone in dict.fromkeys(row["backbone"] for row in found["rows"]):
        own = [row for row in found["rows"] if row["backbone"] == backbone]
        order = [row["variant"] for row in own]
        for variant in list(dict.fromkeys(order)) if backbone == GROUP else in_order(order):
            same = [row for row in own if row["variant"] == variant]
            who = (
                names.get(variant, variant)
                if backbone == GROUP
                else f"{label(backbone)}, {label(variant, 80)}"
            )
            body.append([escape(who), *(number(_mean(same, f"{n}@{k}"), d) for n, d in digits.items())])
    return [
        "## Beyond accuracy",
        "",
        *table([f"lists of {k}", "coverage", "novelty", "popularity", "Gini", "diversity"], body),
        "Coverage: share of the catalog in somebody's list. Novelty: mean log2(users / users who met the item), in bits. "
        "Popularity: mean training interactions of what is recommended. Gini: 0 when every item is shown equally often, "
        "towards 1 when few are shown to all. Diversity: mean 1 - cosine of the pairs in a list, by "
        f"{found['diversity_of']}. Interactions of the training part only; lists hold unseen items, ties in an order that "
        "is random and the same for all models.",
        "",
    ]


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(np.mean(values)) if values else None


def _sampled(run: RunFiles) -> list[str]:
    found = run.details.get("sampled")
    if not found or not found["rows"]:
        return []
    metrics = headline_metrics(list(found["rows"][0]))
    full = {
        (r["backbone"], r["variant"]): r
        for r in [
            *run.rows,
            *({**b, "backbone": GROUP, "variant": b["name"]} for b in run.details["baselines"]["rows"]),
        ]
    }
    body = []
    for key in dict.fromkeys((row["backbone"], row["variant"]) for row in found["rows"]):
        same = [row for row in found["rows"] if (row["backbone"], row["variant"]) == key]
        who = full[key]["scorer"] if key[0] == GROUP else f"{label(key[0])}, {label(key[1], 80)}"
        body.append(
            [escape(who), *(number(_mean(same, m)) for m in metrics), f"{same[0]['candidates']:,.0f}"]
        )
    return [
        f"## Among {found['negatives']} sampled negatives",
        "",
        f"**{escape(found['warning'])}** Nothing else in this report uses them.",
        "",
        *table(["sampled", *(metric_label(m) for m in metrics), "candidates"], body),
        "Negatives are drawn once per user from the items he never met, fixed by the run's seed, the same for all models.",
        "",
    ]


def _seeds(run: RunFiles) -> list[str]:
    """Student's paired t over seeds, beside the bootstrap over users: it covers the luck of training."""
    metric = headline_metrics([d["metric"] for d in run.differences])[0] if run.differences else None
    rows = [d for d in run.differences if d["metric"] == metric and d.get("seeds_p") is not None]
    if not rows:
        return []
    body = [
        [
            f"{label(d['backbone'])}, {escape(label(d['variant'], 80))}",
            signed(d["mean"]),
            "–" if d["seeds_t"] is None else f"{d['seeds_t']:.2f}",
            str(len(d["seeds"]) - 1),
            p_value(d["seeds_p"]),
            p_value(d.get("seeds_p_corrected")),
        ]
        for d in rows
    ]
    head = [f"{metric_label(rows[0]['metric'])} against base", "difference", "t", "df", "p", "p, corrected"]
    return [
        "## Over seeds",
        "",
        *table(head, body),
        "Paired t over the seeds' mean differences: whether the gain outlasts the luck of training. The intervals above "
        "cover the draw of users. Corrected (Holm) over all comparisons of the headline metrics.",
        "",
    ]


def _convergence(run: RunFiles) -> list[str]:
    found = run.details.get("convergence")
    if not found:
        return []
    body = [
        [
            f"{label(r['backbone'])}, {escape(label(r['variant'], 80))}, seed {r['seed']}",
            f"{r['epochs']:,}",
            number(r["before"]),
            number(r["after"]),
            f"{signed(r['mean'])} {interval(r['lower'], r['upper'])}",
            "–" if r["relative"] is None else f"{r['relative']:+.1%}",
            "yes" if r["holds"] else f"**{r.get('verdict', 'no')}**",
        ]
        for r in found
    ]
    head = ["restarted", "epochs more", "validation NDCG@10", "after", "change", "relative", "converged"]
    return [
        "## Would more training have helped?",
        "",
        *table(head, body),
        "From the trained weights with a fresh optimiser, for up to a third of the epochs more; the best of them counts. "
        "Converged: less than 2 % gained on validation, nothing of it surely (paired bootstrap over users); one that "
        "ends surely below its start, by 2 % or more, gives no answer. The restart serves this check only; all other "
        "numbers are of the first training.",
        "",
    ]


def _consistency(run: RunFiles) -> list[str]:
    """Recall bounds NDCG from both sides where each user has one target; a row outside was computed wrongly."""
    rows = [(f"{r['backbone']}, {r['variant']}, seed {r['seed']}", r) for r in run.rows]
    rows += [(r["scorer"], r) for r in run.details.get("baselines", {}).get("rows", [])]
    rows += [
        (f"sampled, {r['backbone']}, {r['variant']}, seed {r['seed']}", r)
        for r in run.details.get("sampled", {}).get("rows", [])
    ]
    failed = [(who, problem) for who, row in rows for problem in impossible_pairs(_at_k(row))]
    if not failed:
        return [
            f"Checked: in all {len(rows)} rows NDCG lies between the bounds that recall sets for one target per user.",
            "",
        ]
    return [line for who, problem in failed for line in (f"**Check failed: {escape(who)}: {problem}.**", "")]


def _at_k(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if "@" in name}
