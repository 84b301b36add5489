"""Intervals on cases whose answer is known, Student's t of the worked example, Holm by hand."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guided_refine.evaluation.rows import compare, differences
from guided_refine.evaluation.statistics import (
    FEW,
    bootstrap_means,
    holm,
    paired_t,
    resampling_weights,
    summarise,
)


def test_worked_example_of_the_paired_t() -> None:
    result = paired_t(np.array([0.02, 0.01, 0.03, 0.02, 0.02]))
    assert result.mean == pytest.approx(0.020)
    assert result.sd == pytest.approx(0.00707, abs=5e-6)
    assert result.standard_error == pytest.approx(0.00316, abs=5e-6)
    assert result.t == pytest.approx(6.3, abs=0.05)
    assert result.df == 4
    assert result.p == pytest.approx(0.003, abs=5e-4)


def test_worked_example_as_it_is_printed(shared: Path) -> None:
    """The numbers of the text, through the comparison that a run makes."""
    text = (shared / "papers" / "generating-features-with-llms.txt").read_text(encoding="utf-8")

    def printed(start: str) -> list[float]:
        line = next(line for line in text.splitlines() if line.startswith(start))
        return [float(v) for v in re.findall(r"0\.\d\d", line)[:5]]

    arms = {"base": printed("- no feature:"), "refined": printed("- + LLM feature:")}
    per_user = pd.DataFrame(
        {"backbone": "lightgcn", "variant": v, "seed": s, "user_id": u, "rank": 1.0, "ndcg@10": value + shift}
        for v, values in arms.items()
        for s, value in enumerate(values)
        for u, shift in (("a", -0.1), ("b", 0.1))
    )
    row = compare(per_user, "lightgcn", "refined")[0]
    assert f"{row['base']:.3f}" == "0.300" and f"{row['mean']:.3f}" == "0.020"
    assert f"{row['seeds_t']:.1f}" == "6.3" and f"{row['seeds_p']:.3f}" == "0.003"
    assert "t=0.020/0.00316=6.3" in text and "p=0.003" in text
    theirs = stats.ttest_rel(arms["refined"], arms["base"])
    assert (row["seeds_t"], row["seeds_p"]) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_paired_t_against_scipy_and_its_edges() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8))
    theirs = stats.ttest_rel(a, b)
    ours = paired_t(a - b)
    assert (ours.t, ours.p) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))
    assert np.isnan(paired_t(np.array([0.1])).p)
    assert paired_t(np.zeros(3)).p == 1


@pytest.mark.parametrize("value", [0.01, -0.1, 0.3])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_equal_seeds_prove_nothing_and_are_no_comparison(n: int, value: float) -> None:
    """Three times 0.1 has a deviation of 1.7e-17: rounding is no deviation either."""
    found = paired_t(np.full(n, value))
    assert found.mean == pytest.approx(value) and np.isnan(found.t) and np.isnan(found.p)
    corrected = holm(np.array([0.01, found.p, 0.04]))
    assert corrected[[0, 2]].tolist() == holm(np.array([0.01, 0.04])).tolist() and np.isnan(corrected[1])


def test_equal_seeds_in_a_comparison_have_no_p() -> None:
    per_user = pd.DataFrame(
        {"backbone": "sasrec", "variant": v, "seed": s, "user_id": u, "rank": 1.0, "ndcg@10": value}
        for v, value in (("base", 0.3), ("refined", 0.31))
        for s in (0, 1)
        for u in "abc"
    )
    (row,) = differences(per_user)
    assert row["mean"] == pytest.approx(0.01) and row["seeds"] == [0, 1]
    assert row["seeds_t"] is None and row["seeds_p"] is None and row["seeds_p_corrected"] is None


def test_bootstrap_agrees_with_the_normal_approximation() -> None:
    deltas = np.random.default_rng(1).normal(0.1, 1, 4000)
    found = bootstrap_means(deltas[:, None], samples=4000)[0]
    error = deltas.std() / len(deltas) ** 0.5
    assert found.mean == pytest.approx(deltas.mean())
    assert found.lower == pytest.approx(deltas.mean() - 1.96 * error, abs=0.1 * error)
    assert found.upper == pytest.approx(deltas.mean() + 1.96 * error, abs=0.1 * error)
    assert found.p == pytest.approx(2 * stats.norm.sf(deltas.mean() / error), abs=0.01)


def test_sign_and_direction() -> None:
    better = np.random.default_rng(2).normal(0.5, 0.1, (50, 1))
    up, down = bootstrap_means(better)[0], bootstrap_means(-better)[0]
    assert up.lower > 0 and up.p < 0.01
    assert down.upper < 0 and down.p < 0.01
    assert bootstrap_means(np.zeros((9, 1)))[0].p == 1


def test_coverage_is_near_nominal() -> None:
    rng = np.random.default_rng(3)
    hit = 0
    for trial in range(200):
        found = bootstrap_means(rng.normal(0.3, 1, (80, 1)), samples=300, seed=trial)[0]
        hit += found.lower <= 0.3 <= found.upper
    assert 0.89 <= hit / 200 <= 0.99


def test_columns_share_the_drawn_users_and_seeds_repeat() -> None:
    values = np.random.default_rng(4).normal(size=(30, 1))
    twice = bootstrap_means(np.hstack([values, values]), seed=7)
    alone = bootstrap_means(values, seed=7)[0]
    assert alone == bootstrap_means(values, seed=7)[0]
    for column in twice:  # summed in another order, so equal but for the last bits
        assert astuple(column) == pytest.approx(astuple(alone), rel=1e-12)
    assert bootstrap_means(values, seed=8)[0].lower != twice[0].lower
    with pytest.raises(ValueError, match="no users"):
        bootstrap_means(np.zeros((0, 1)))


def test_a_column_and_its_double_meet_the_same_users() -> None:
    values = np.random.default_rng(4).normal(size=(30, 1))
    one, two = bootstrap_means(np.hstack([values, 2 * values]), seed=7)
    assert (two.lower, two.upper) == pytest.approx((2 * one.lower, 2 * one.upper), rel=1e-9)


def test_weights_are_whole_samples() -> None:
    weights = np.concatenate(list(resampling_weights(5000, 2000, seed=0)))
    assert weights.shape == (2000, 5000)
    assert (weights.sum(axis=1) == 5000).all()
    assert weights.mean(axis=0).std() < 0.05


def test_samples_without_a_value_are_left_out() -> None:
    found = summarise(0.5, np.array([np.nan, 0.4, 0.6]), n=9)
    assert 0.4 <= found.lower <= found.upper <= 0.6
    assert np.isnan(summarise(0.5, np.array([np.nan]), n=9).lower)


def test_p_is_not_limited_by_the_number_of_samples() -> None:
    """Else nothing could be claimed among many comparisons, however clear it is."""
    clear = np.random.default_rng(5).normal(1, 1, (400, 1))
    assert bootstrap_means(clear, samples=100)[0].p < 1e-6
    assert 0 < bootstrap_means(np.ones((400, 1)), samples=100)[0].p <= 2 / 101


def test_holm_by_hand() -> None:
    # 0.01 * 4 = 0.04; 0.02 * 3 = 0.06; 0.03 * 2 = 0.06; 0.04 * 1 = 0.04, lifted to the step before.
    found = holm(np.array([0.02, np.nan, 0.01, 0.04, 0.03]))
    assert found[[0, 2, 3, 4]].tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert np.isnan(found[1])
    assert holm(np.array([0.6, 0.9])).tolist() == [1, 1]
    assert holm(np.zeros(0)).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_p_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    raw = np.array(p)
    found = holm(raw)
    assert (found >= raw).all() and (found <= np.minimum(1, raw * len(raw)) + 1e-12).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_few_users_that_agree_are_no_proof(n: int) -> None:
    """Where no resample crosses zero p is that of Student's t, whose few degrees of freedom know how few there are."""
    rng = np.random.default_rng(n)
    values = 1 + 0.1 * rng.normal(size=(n, 1))
    found = bootstrap_means(values, samples=4000)[0]
    assert found.p == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, rel=0.5)


@given(
    st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=2, max_size=30).filter(
        lambda v: np.std(v) > 1e-3
    ),
    st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_p_of_few_users_is_never_much_below_that_of_t(values: list[float], seed: int) -> None:
    """Also where some resample crosses zero. The slack is the chance in the deviation of 1,000 samples."""
    found = bootstrap_means(np.array(values)[:, None], samples=1000, seed=seed)[0]
    theirs = stats.ttest_1samp(values, 0)
    slack = 2 * stats.t.sf(1.12 * abs(theirs.statistic), len(values) - 1)
    assert slack <= found.p <= 1


@pytest.mark.parametrize("seed", range(8))
def test_one_user_on_the_other_side_does_not_make_the_rest_surer(seed: int) -> None:
    values = np.array([-0.01, 1.02, 1.04, 1.06, 1.08])
    assert bootstrap_means(values[:, None], seed=seed)[0].p == pytest.approx(0.0173, rel=0.15)


@given(st.integers(2, FEW - 1), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_weaker_evidence_of_few_users_never_has_the_smaller_p(n: int, share: float, seed: int) -> None:
    values = 1 + np.random.default_rng(seed).normal(size=(n, 1))
    weaker = values - share * values.mean()
    strong, weak = (
        bootstrap_means(v * np.sign(values.mean()), samples=300, seed=seed)[0] for v in (values, weaker)
    )
    # Where the resampled means lie about half and half, a skewed sample tips them over: p is near 1 then in any case.
    assert weak.p >= min(strong.p, 0.5) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("beyond", "outside", "p"), [(49, True, 0.04998), (50, True, 0.05097), (51, False, 0.05197)]
)
def test_the_edge_between_the_interval_and_p(beyond: int, outside: bool, p: float) -> None:
    """Of 2,000 samples the interval may end beside zero with 50 beyond it, and p is then just above the level."""
    samples = np.concatenate([np.full(beyond, -0.001), np.linspace(0.1, 1, 2000 - beyond)])
    for sign in (1, -1):
        found = summarise(sign * 0.5, sign * samples, n=6040)
        assert (found.lower > 0 or found.upper < 0) == outside
        assert found.p == pytest.approx(p, abs=5e-6)


@given(
    st.integers(20, 400),
    st.integers(1, 20),
    st.sampled_from([0.8, 0.9, 0.95]),
    st.sampled_from([50, FEW, 6040]),
)
def test_p_and_interval_part_at_the_edge_only(samples: int, beyond: int, confidence: float, n: int) -> None:
    resampled = np.random.default_rng(samples + beyond).uniform(0.01, 1, samples)
    resampled[:beyond] *= -1
    found = summarise(float(resampled.mean()), resampled, n, confidence)
    level = 1 - confidence
    if found.lower <= 0 <= found.upper:
        assert found.p >= level - 1e-12
    elif n >= FEW:
        assert found.p < level + 4 / (samples + 1)


@pytest.mark.parametrize(("n", "p"), [(2, 0.5), (3, 0.25), (7, 2.0**-6), (40, 2 / 501)])
def test_few_users_with_one_value_count_as_in_a_sign_test(n: int, p: float) -> None:
    assert bootstrap_means(np.full((n, 1), 0.1), samples=500)[0].p == pytest.approx(p)
    if n < 40:
        assert p == pytest.approx(stats.binomtest(n, n).pvalue)


def test_one_user_has_no_p() -> None:
    assert np.isnan(bootstrap_means(np.array([[0.1]]))[0].p)
