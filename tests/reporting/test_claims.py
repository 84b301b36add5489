"""The headline: what it claims, what it refuses to claim, and what it warns of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from guided_refine.evaluation.rows import differences
from guided_refine.reporting.claims import headline

USERS = [f"u{i}" for i in range(200)]


def claim(gains: dict[str, float], *, converged: bool = True, seeds: int = 1, **options: Any) -> str:
    """The headline of a run whose variants stand `gains` above (or below) the base, give or take noise."""
    rng = np.random.default_rng(0)
    level = rng.random(len(USERS)) / 2
    parts, rows = [], []
    for variant, gain in {"base": 0.0, **gains}.items():
        for seed in range(seeds):
            value = level + gain + 0.05 * rng.normal(size=len(USERS))
            frame = pd.DataFrame(
                {"backbone": "sasrec", "variant": variant, "seed": seed, "user_id": USERS, "rank": 1}
            )
            parts.append(frame.assign(**{"recall@10": value, "ndcg@10": value, "mrr": value}))
            rows.append({"backbone": "sasrec", "variant": variant, "converged": converged})
    per_user = pd.concat(parts)
    found = differences(per_user, samples=300)
    return " ".join(headline("sasrec", rows, found, per_user, samples=300, **options))


def test_a_gain_that_shuffled_scores_do_not_share() -> None:
    text = claim({"refined": 0.1, "shuffled": 0.0, "warm_restart": 0.02}, seeds=2)
    assert text.startswith("**SASRec: refined embeddings raise NDCG@10 over the base: 0.2")
    assert "Refined beats shuffled by +0.0" in text and "warm restart by +0.0" in text
    assert "the gain comes from what the scores say" in text
    assert "Not converged" not in text and "One seed" not in text


@pytest.mark.parametrize("control", ["shuffled", "random_columns", "trainable_columns", "warm_restart"])
def test_a_gain_that_a_control_shares_is_not_credited(control: str) -> None:
    text = claim({"refined": 0.1, control: 0.1})
    assert "raise NDCG@10" in text and "Refined is not told apart from" in text
    assert "cannot be credited to what the scores say" in text
    assert "the gain comes from" not in text


def test_what_shuffled_scores_gain_too_is_taken_off() -> None:
    text = claim({"refined": 0.1, "shuffled": 0.05})
    assert "Refined beats shuffled by +0.0" in text
    assert "Scores given to the wrong items stand +0.0" in text and "over the base too" in text
    assert "only what refined has beyond that comes from what the scores say" in text
    assert "do not do it" not in text


def test_a_control_that_is_better() -> None:
    text = claim({"refined": 0.05, "shuffled": 0.15})
    assert "Refined is WORSE than shuffled by -0." in text and "cannot be credited" in text


def test_no_gain_and_a_loss() -> None:
    assert "no change of NDCG@10 by refined embeddings can be claimed" in claim(
        {"refined": 0.0, "shuffled": 0.0}
    )
    text = claim({"refined": -0.1})
    assert "LOWER NDCG@10" in text and "No control was run" in text


def test_what_weakens_a_claim_is_said() -> None:
    text = claim({"refined": 0.1, "random_columns": 0.0}, converged=False)
    assert "**Not converged: base, refined and random columns still rose" in text
    assert "One seed" in text
    assert "Shuffled scores were not run" in text
    weak = claim(
        {"refined": 0.1}, references=[{"scorer": "popularity", "ndcg@10": 0.9}, {"scorer": "x", "ndcg@10": 0}]
    )
    assert "**The base does not beat popularity (0.9000)" in weak


def test_nothing_compared_is_nothing_said() -> None:
    assert headline("sasrec", [], [], None) == []
    assert claim({"shuffled": 0.0}) == ""
