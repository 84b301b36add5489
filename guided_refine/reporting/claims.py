"""What a run may claim: the gain with its interval, whether controls gain as much, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.evaluation.rows import compare
from guided_refine.evaluation.strata import FEWEST_USERS
from guided_refine.reporting.markdown import interval, listed, number, p_value, signed
from guided_refine.reporting.style import in_order, label, metric_label

CONTROLS = ("shuffled", "random_columns", "trainable_columns", "warm_restart", "pca_only")


def headline(
    backbone: str,
    rows: list[dict[str, Any]],
    differences: list[dict[str, Any]],
    per_user: pd.DataFrame | None,
    *,
    confidence: float = 0.95,
    samples: int = 2000,
    references: Sequence[dict[str, Any]] = (),
) -> list[str]:
    """Sentences about the refined variant of one backbone, the claim first and in bold.

    `references`: rows of scorers that learn nothing; a base that does not beat them is said to be weak.
    Empty when the refined variant was not compared with the base.
    """
    own = {(d["variant"], d["metric"]): d for d in differences if d["backbone"] == backbone}
    if not own:
        return []
    metric = headline_metrics([m for _, m in own])[0]
    gain = own.get(("refined", metric))
    if gain is None:
        return []
    verdict = judge(gain, confidence)
    sentences = [f"**{label(backbone)}: {_claim(gain, verdict, confidence)}**"]
    if per_user is not None:
        sentences += _against_controls(
            backbone, metric, verdict, per_user, own.get(("shuffled", metric)), confidence, samples
        )
    sentences += _weak_base(gain, references)
    sentences += caveats(backbone, rows, gain)
    return sentences


def judge(gain: dict[str, Any], confidence: float = 0.95) -> str:
    """`gain`, `loss` or `nothing`: the interval must leave zero out and the corrected p must be below the level.

    Of fewer than 20 users nothing is claimed: intervals from so few are too narrow.

    >>> judge({"lower": 0.1, "upper": 0.2, "p_corrected": 0.01}), judge({"lower": 0.1, "upper": 0.2, "p_corrected": 0.2})
    ('gain', 'nothing')
    """
    if gain.get("n_users", FEWEST_USERS) < FEWEST_USERS:
        return "nothing"
    p = gain.get("p_corrected")
    if p is not None and p > 1 - confidence:
        return "nothing"
    return "gain" if gain["lower"] > 0 else "loss" if gain["upper"] < 0 else "nothing"


def _claim(gain: dict[str, Any], verdict: str, confidence: float) -> str:
    name = metric_label(gain["metric"])
    after = gain["base"] + gain["mean"]
    relative = "" if gain["relative"] is None else f" ({100 * gain['relative']:+.1f} %)"
    numbers = (
        f"{number(gain['base'])} → {number(after)}{relative}, difference {signed(gain['mean'])}, "
        f"{100 * confidence:g} % interval {interval(gain['lower'], gain['upper'])}, corrected p {_equals(gain)}, "
        f"{gain['n_users']:,} users, {len(gain['seeds'])} {'seed' if len(gain['seeds']) == 1 else 'seeds'}"
    )
    words = {
        "gain": f"refined embeddings raise {name} over the base",
        "loss": f"refined embeddings LOWER {name} against the base",
        "nothing": f"no change of {name} by refined embeddings can be claimed",
    }
    return f"{words[verdict]}: {numbers}."


def _equals(gain: dict[str, Any]) -> str:
    shown = p_value(gain.get("p_corrected"))
    return shown if shown.startswith("<") else f"= {shown}"


def _against_controls(
    backbone: str,
    metric: str,
    verdict: str,
    per_user: pd.DataFrame,
    shuffled: dict[str, Any] | None,
    confidence: float,
    samples: int,
) -> list[str]:
    """Refined minus each control, paired; the controls decide whether the gain is due to what the scores say."""
    there = set(per_user.loc[per_user["backbone"] == backbone, "variant"])
    tested = [c for c in CONTROLS if c in there]
    if not tested:
        return ["No control was run beside it, so the cause of any difference is open."]
    beaten: list[tuple[str, str]] = []
    level: list[tuple[str, str]] = []
    worse: list[tuple[str, str]] = []
    for control in tested:
        found = compare(
            per_user, backbone, "refined", control, metrics=[metric], samples=samples, confidence=confidence
        )
        if not found:
            continue
        text = (
            f"{label(control)} by {signed(found[0]['mean'])} {interval(found[0]['lower'], found[0]['upper'])}"
        )
        (beaten if found[0]["lower"] > 0 else worse if found[0]["upper"] < 0 else level).append(
            (control, text)
        )
    sentences = []
    if beaten:
        sentences.append(f"Refined beats {listed([t for _, t in beaten])}.")
    if level:
        sentences.append(f"Refined is not told apart from {listed([_difference(t) for _, t in level])}.")
    if worse:
        sentences.append(f"Refined is WORSE than {listed([t for _, t in worse])}.")
    doubtful = [label(c) for c, _ in level + worse]
    if verdict == "gain" and doubtful:
        sentences.append(
            f"Because {listed(doubtful)} {'reaches' if len(doubtful) == 1 else 'reach'} as much, "
            "the gain cannot be credited to what the scores say."
        )
    elif verdict == "gain" and "shuffled" in [c for c, _ in beaten]:
        sentences.append(_credit(shuffled))
    if "shuffled" not in tested:
        sentences.append("Shuffled scores were not run, so what the scores say was not tested.")
    return sentences


def _credit(shuffled: dict[str, Any] | None) -> str:
    """How much of a gain is due to what the scores say, when refined beats shuffled scores."""
    if shuffled is None or shuffled["lower"] <= 0:
        return "Scores given to the wrong items do not do it: the gain comes from what the scores say."
    return (
        f"Scores given to the wrong items stand {signed(shuffled['mean'])} "
        f"{interval(shuffled['lower'], shuffled['upper'])} over the base too, which is due to how refined models start and "
        "train: only what refined has beyond that comes from what the scores say."
    )


def _difference(text: str) -> str:
    name, _, rest = text.partition(" by ")
    return f"{name} (difference {rest})"


def _weak_base(gain: dict[str, Any], references: Sequence[dict[str, Any]]) -> list[str]:
    better = [r for r in references if r[gain["metric"]] >= gain["base"]]
    if not better:
        return []
    shown = listed([f"{r['scorer']} ({number(r[gain['metric']])})" for r in better])
    return [f"**The base does not beat {shown}, so a gain over it says little.**"]


def caveats(backbone: str, rows: list[dict[str, Any]], gain: dict[str, Any]) -> list[str]:
    """What weakens the claim: rows still rising when training stopped, a single seed."""
    sentences = []
    rising = in_order([r["variant"] for r in rows if r["backbone"] == backbone and not r["converged"]])
    if rising:
        sentences.append(
            f"**Not converged: {listed([label(v) for v in rising])} still rose when training stopped**, "
            "so this comparison is not final."
        )
    if gain["n_users"] < FEWEST_USERS:
        sentences.append(f"Fewer than {FEWEST_USERS} users were tested, too few for any claim.")
    if len(gain["seeds"]) == 1:
        sentences.append("One seed: the interval covers the draw of users, not the luck of training.")
    return sentences
