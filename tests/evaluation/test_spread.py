"""What spread is worth: the error against naive counting, and cases where spread tells what is wrong or does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import roc_auc_score

from guided_refine.evaluation.spread import misplacement, spread_tracks_error, verdict, worth_of_spread
from guided_refine.evaluation.truth import compare_with_truth, format_truth
from guided_refine.evaluation.truth_table import AVERAGE, Truth

N = 300
ITEMS = [f"i{i}" for i in range(N)]


def naive(score: list[float], truth: list[float]) -> list[float]:
    errors = []
    for s, t in zip(score, truth, strict=True):
        others = [(a, b) for a, b in zip(score, truth, strict=True) if b != t]
        wrong = [0.5 if a == s else float((a > s) != (b > t)) for a, b in others]
        errors.append(sum(wrong) / len(wrong) if wrong else float("nan"))
    return errors


@given(st.lists(st.tuples(st.integers(-3, 8), st.integers(0, 4)), min_size=1, max_size=40))
def test_misplacement_equals_naive_counting(pairs: list[tuple[int, int]]) -> None:
    score, truth = [a / 7 for a, _ in pairs], [float(b) for _, b in pairs]
    np.testing.assert_allclose(misplacement(np.array(score), np.array(truth)), naive(score, truth))


def test_misplacement_is_the_items_part_in_known_measures() -> None:
    rng = np.random.default_rng(0)
    score, graded = rng.normal(size=N), rng.random(N)
    positive = rng.random(N) < 0.1
    error = misplacement(score, positive.astype(float))
    for members in (positive, ~positive):
        assert error[members].mean() == pytest.approx(1 - roc_auc_score(positive, score))
    assert misplacement(score, graded).mean() == pytest.approx((1 - kendalltau(score, graded).statistic) / 2)
    # Only the order counts, on either side.
    np.testing.assert_array_equal(
        misplacement(score, graded), misplacement(np.exp(5 * score), 100 * graded**3 - 7)
    )
    assert misplacement(graded, graded).max() == 0 and misplacement(-graded, graded).min() == 1


def planted(honest: bool, binary: bool, seed: int = 0) -> tuple[Truth, pd.DataFrame, pd.DataFrame]:
    """Scores that are guessed with a chance of each item's own; an `honest` spread is that chance, else it is drawn anew."""
    rng = np.random.default_rng(seed)
    true = rng.random((N, 2))
    known = (true > 0.7).astype(float) if binary else 5 * true**2
    chance = rng.random((N, 2))
    guess = rng.permutation(known)
    seen = np.where(rng.random((N, 2)) < chance, guess, known)
    value = 1 / (1 + np.exp(-(seen + 0.1 * rng.normal(size=(N, 2)))))
    spread = 0.3 * (chance if honest else rng.random((N, 2)))
    frames = [pd.DataFrame(x, index=ITEMS, columns=["humour", "pace"]) for x in (known, value, spread)]
    return Truth(frames[0]), frames[1], frames[2]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("honest", [True, False])
def test_a_planted_spread_is_told_from_an_idle_one(honest: bool, binary: bool) -> None:
    truth, value, spread = planted(honest, binary)
    found = worth_of_spread(truth, {"untuned": value}, {"untuned": spread}, bootstrap=300)
    rows = {row["attribute"]: row for row in found["rows"]}
    assert set(rows) == {"humour", "pace", AVERAGE}
    for name in ("humour", "pace"):
        error = misplacement(value[name].to_numpy(), truth.table[name].to_numpy())
        expected = spearmanr(spread[name], error).statistic
        assert rows[name]["correlation"] == pytest.approx(expected)
        assert rows[name]["lower"] < expected < rows[name]["upper"] and rows[name]["n"] == N
        assert spread_tracks_error({"spread": found}, "untuned", name) is honest
    mean = (rows["humour"]["correlation"] + rows["pace"]["correlation"]) / 2
    assert rows[AVERAGE]["correlation"] == pytest.approx(mean)
    assert (rows[AVERAGE]["lower"] > 0) is honest
    assert found["tracks_error"] == {"untuned": honest}


def test_an_idle_spread_is_rarely_taken_for_confidence() -> None:
    """The interval's lower end is above zero by chance in about one case of forty."""
    taken = 0
    for seed in range(40):
        truth, value, spread = planted(False, binary=False, seed=seed)
        found = worth_of_spread(truth, {"tuned": value}, {"tuned": spread}, bootstrap=100)
        taken += spread_tracks_error({"spread": found}, "tuned")
    assert taken <= 4


def test_a_flat_spread_is_worth_nothing_and_a_missing_one_unknown() -> None:
    truth, value, spread = planted(True, binary=False)
    spread["pace"] = 0.1
    found = worth_of_spread(truth, {"tuned": value}, {"tuned": spread}, bootstrap=200)
    humour, pace, mean = found["rows"]
    assert pace["correlation"] is None and mean["correlation"] == pytest.approx(humour["correlation"] / 2)
    spread[:] = np.nan
    nothing = worth_of_spread(truth, {"tuned": value, "bag_of_words": value}, {"tuned": spread})
    assert nothing["tracks_error"] == {"tuned": None}
    assert {row["source"] for row in nothing["rows"]} == {"tuned"}
    assert not spread_tracks_error({"spread": nothing}, "tuned")
    assert "cannot be held against" in verdict({"spread": nothing}, "tuned")
    json.dumps([found, nothing], allow_nan=False)


def test_items_without_a_truth_or_a_spread_take_no_part() -> None:
    truth, value, spread = planted(True, binary=False)
    truth.table.loc[ITEMS[:100], "humour"] = np.nan
    spread.loc[ITEMS[100:130], "humour"] = np.nan
    found = worth_of_spread(truth, {"untuned": value}, {"untuned": spread}, bootstrap=200)
    rest = ITEMS[130:]
    error = misplacement(value.loc[rest, "humour"].to_numpy(), truth.table.loc[rest, "humour"].to_numpy())
    row = found["rows"][0]
    assert row["n"] == 170
    assert row["correlation"] == pytest.approx(spearmanr(spread.loc[rest, "humour"], error).statistic)


def test_a_runs_truth_holds_the_verdict_of_each_source(tmp_path: Path) -> None:
    """Tuned scores know what they do not know, untuned ones do not; the artefact and the terminal say so."""
    parts: list[Any] = []
    for source, honest in (("untuned", False), ("tuned", True)):
        truth, value, spread = planted(honest, binary=False)
        for name in value:
            frame = pd.DataFrame({"id": ITEMS, "value": value[name].to_numpy()}).assign(
                spread=spread[name].to_numpy(), kind="item", position=-1, attribute=name, source=source
            )
            parts.append(frame)
    pd.concat(parts).to_parquet(tmp_path / "scores.parquet", index=False)
    table = truth.table.melt(ignore_index=False, var_name="attribute").rename_axis("item_id")
    table.to_csv(tmp_path / "t.csv")
    answer = compare_with_truth(tmp_path, tmp_path / "t.csv", bootstrap=300)
    assert answer["spread"]["tracks_error"] == {"untuned": False, "tuned": True}
    again = json.loads(json.dumps(answer, allow_nan=False))
    assert spread_tracks_error(again, "tuned") and not spread_tracks_error(again, "untuned")
    assert not spread_tracks_error({k: v for k, v in again.items() if k != "spread"}, "tuned")
    written = format_truth(answer)
    assert "The spread of untuned scores does not track their error" in written
    assert "The spread of tuned scores tracks their error" in written
