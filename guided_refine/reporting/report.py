"""`report.md`: what a run gained, against what, how sure that is, and what the scores look like.

It reads the run folder and nothing else, and can be written while a run is in progress: what is not there yet
is said at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.files import write_text
from guided_refine.reporting.claims import headline, judge
from guided_refine.reporting.curves import plot_distributions, plot_training, plot_tuning
from guided_refine.reporting.evaluation_sections import baseline_section, evaluation_sections
from guided_refine.reporting.markdown import escape, interval, number, p_value, signed, table
from guided_refine.reporting.plots import plot_deciles, plot_gains, plot_recovery
from guided_refine.reporting.runfiles import RunFiles, read_run
from guided_refine.reporting.score_sections import attribute_section, scorer_section, truth_section
from guided_refine.reporting.strata_plot import plot_strata
from guided_refine.reporting.style import in_order, label, metric_label
from guided_refine.reporting.tuning_section import plot_change, tuning_section


def write_report(root: Path | str) -> list[Path]:
    """Write `report.md` and `plots/*.png` of a run, finished or not; returns the files written.

    Raises `InputError` when the folder is no run or one of its files is damaged.
    """
    run = read_run(root)
    plots = _draw(run)
    references = run.details.get("baselines", {}).get("rows", [])
    lines = [f"# {escape(run.config.name)}", ""]
    lines += _headlines(run, references)
    lines += _protocol(run)
    lines += _results(run)
    lines += _picture(plots, "gains", "Change of each variant against the base, with intervals")
    lines += _popularity(plots)
    lines += evaluation_sections(run, plots)
    if run.scores is not None or run.summary:
        lines += scorer_section(run)
        lines += attribute_section(run)
        lines += _picture(plots, "distributions", "Distribution of item and user scores per attribute")
        lines += tuning_section(run)
        lines += _picture(
            plots, "change", "Drift, spread and redundancy of every attribute, before and after tuning"
        )
    lines += truth_section(run)
    lines += _picture(plots, "recovery", "Recovery of the truth per attribute and source")
    lines += _training(plots)
    lines += _dropped(run)
    lines += _missing(run)
    report = run.root / "report.md"
    write_text(report, "\n".join(lines).rstrip() + "\n")
    return [report, *plots.values()]


def _draw(run: RunFiles) -> dict[str, Path]:
    folder = run.root / "plots"
    drawn: dict[str, Path | None] = {"gains": plot_gains(run.differences, folder / "gains.png")}
    if run.per_user is not None and run.dataset is not None:
        metric = headline_metrics([str(c) for c in run.per_user.columns])[0]
        drawn["deciles"] = plot_deciles(
            run.per_user, _popularity_of_targets(run), metric, folder / "deciles.png"
        )
    if "strata" in run.details:
        drawn["strata"] = plot_strata(run.details["strata"], folder / "strata.png")
    if run.scores is not None:
        drawn["distributions"] = plot_distributions(run.scores, folder / "distributions.png")
        drawn["change"] = plot_change(run.scores, folder / "change.png")
    if run.truth is not None:
        drawn["recovery"] = plot_recovery(run.truth, folder / "recovery.png")
    drawn["training"] = plot_training(run.curves, folder / "training.png")
    if run.tuning is not None:
        drawn["tuning"] = plot_tuning(run.tuning, folder / "tuning.png")
    return {name: path for name, path in drawn.items() if path is not None}


def _popularity_of_targets(run: RunFiles) -> pd.Series:
    assert run.dataset is not None
    users, targets = run.dataset.targets("test")
    counts = run.dataset.train_counts()[targets - 1]
    return pd.Series(counts, index=np.asarray(run.dataset.user_ids, dtype=object)[users])


def _picture(plots: dict[str, Path], name: str, words: str) -> list[str]:
    return [f"![{words}](plots/{plots[name].name})", ""] if name in plots else []


def _headlines(run: RunFiles, references: list[dict[str, Any]]) -> list[str]:
    options = run.config.evaluate
    lines = []
    for backbone in run.config.backbones:
        sentences = headline(
            backbone,
            run.rows,
            run.differences,
            run.per_user,
            confidence=options.confidence,
            samples=options.bootstrap,
            references=references,
        )
        lines += [" ".join(sentences), ""] if sentences else []
    if run.missing:
        pieces = "1 piece is" if len(run.missing) == 1 else f"{len(run.missing)} pieces are"
        lines += [f"**This run is not complete: {pieces} missing, see the end.**", ""]
    return lines or ["No refined variant has been compared with a base, so there is no gain to report.", ""]


def _protocol(run: RunFiles) -> list[str]:
    lines = ["## How it was measured", ""]
    if run.dataset is not None:
        data = run.dataset
        events = sum(len(s) for s in data.sequences)
        lines.append(
            f"- Data: {escape(data.name)}, {data.n_users:,} users, {data.n_items:,} items, {events:,} interactions; "
            f"split {label(data.split.kind)}, hash `{data.split.sha256[:16]}`."
        )
    confidence = f"{100 * run.config.evaluate.confidence:g} %"
    lines += [
        "- Full ranking of the catalog; items that a user has seen are filtered (the target itself stays if it was "
        "seen before); ties count as the mean over all their orders.",
        f"- Differences are paired by user (values averaged over seeds first), {confidence} percentile bootstrap, "
        f"{run.config.evaluate.bootstrap:,} samples; p corrected (Holm) over all comparisons of the headline metrics.",
        "- All variants of a backbone train with the same schedule and stopping rule; the best epoch is chosen on "
        "validation, the test part is read once.",
        "",
    ]
    return lines


def _results(run: RunFiles) -> list[str]:
    if not run.rows:
        return []
    lines = ["## Results", ""]
    metrics = headline_metrics([m for m in run.rows[0] if "@" in m or m == "mrr"])
    changes = {(d["backbone"], d["variant"], d["metric"]): d for d in run.differences}
    head = ["variant"]
    for metric in metrics:
        head += [metric_label(metric), "against base"]
    head += ["p, corrected", "users", "seeds", "converged", "steps", "seconds"]
    for backbone in dict.fromkeys(r["backbone"] for r in run.rows):
        own = [r for r in run.rows if r["backbone"] == backbone]
        body = [
            _result_cells(run, variant, [r for r in own if r["variant"] == variant], metrics, changes)
            for variant in in_order([r["variant"] for r in own])
        ]
        lines += [f"### {label(backbone)}", "", *table(head, body)]
    lines += [
        "Bold: the interval leaves zero out and the corrected p is below the level. Seconds of training, summed.",
        "",
    ]
    return lines + baseline_section(run, metrics)


def _result_cells(
    run: RunFiles,
    variant: str,
    rows: list[dict[str, Any]],
    metrics: list[str],
    changes: dict[tuple[str, str, str], dict[str, Any]],
) -> list[str]:
    cells = [escape(label(variant, 80))]
    backbone = rows[0]["backbone"]
    for metric in metrics:
        cells.append(number(float(np.mean([r[metric] for r in rows]))))
        gain = changes.get((backbone, variant, metric))
        if gain is None:
            cells.append("–")
            continue
        text = f"{signed(gain['mean'])} {interval(gain['lower'], gain['upper'])}"
        cells.append(text if judge(gain, run.config.evaluate.confidence) == "nothing" else f"**{text}**")
    gain = changes.get((backbone, variant, metrics[0]))
    rising = sum(not r["converged"] for r in rows)
    converged = (
        "yes"
        if not rising
        else "**no**"
        if rising == len(rows)
        else f"**{len(rows) - rising} of {len(rows)}**"
    )
    return [
        *cells,
        p_value(gain.get("p_corrected")) if gain else "–",
        f"{rows[0]['n_users']:,}",
        str(len(rows)),
        converged,
        f"{round(float(np.mean([r['steps'] for r in rows]))):,}",
        f"{sum(r['seconds'] for r in rows):,.0f}",
    ]


def _popularity(plots: dict[str, Path]) -> list[str]:
    if "deciles" not in plots:
        return []
    words = "Where the gain lies, by how often the item to be predicted occurs in training:"
    return [words, "", *_picture(plots, "deciles", "Gain by popularity of the target item")]


def _training(plots: dict[str, Path]) -> list[str]:
    lines = _picture(plots, "training", "Training loss and validation NDCG per variant")
    lines += _picture(plots, "tuning", "Losses of tuning the language model")
    return ["## Training", "", *lines] if lines else []


def _dropped(run: RunFiles) -> list[str]:
    """What the readers dropped, by reason."""
    if run.dataset is None:
        return []
    info = run.dataset.info
    rows = []
    for key in ("dropped", "noted"):
        for reason, entry in (info.get(key) or {}).items():
            count = entry.get("rows", 0) if isinstance(entry, dict) else entry
            rows.append([f"{key}: {escape(reason)}", f"{count:,}"])
    for kind, count in (info.get("removed_by_core") or {}).items():
        rows.append([f"removed by k-core: {escape(kind)}", f"{count:,}"])
    silent = sum(not text for text in run.dataset.texts)
    rows.append(["items without text (no score from it)", f"{silent:,}"])
    return ["## What was left out of the data", "", *table(["what", "count"], rows)]


def _missing(run: RunFiles) -> list[str]:
    if not run.missing:
        return []
    return ["## Not there yet", "", *(f"- {piece}" for piece in run.missing), ""]
