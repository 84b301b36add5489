"""The trial of explanations: planted games with a known answer, numbers by hand, and no praise for random orders."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from guided_refine.explain import trial
from guided_refine.explain.encoder_view import AttributeGame, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial import deletion_curve, insertion_curve, rank_correlation, try_explanations
from guided_refine.explain.what_if import WhatIf
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def explainer(finished: RunFolder) -> Explainer:
    return Explainer.open(finished.root)


@pytest.fixture(scope="module")
def found(explainer: Explainer) -> dict[str, object]:
    return try_explanations(explainer, users=12, seed=1)


class Additive(AttributeGame):
    """Every attribute adds its own, whatever else is known."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights, self.attributes, self.items = weights, len(weights), np.array([1])

    def __call__(self, known: np.ndarray) -> np.ndarray:
        return 5.0 + (np.asarray(known) @ self.weights)[:, None]


def test_curves_of_a_game_with_a_known_answer() -> None:
    game = Additive(np.array([2.0, -1.0, 0.5]))
    order = np.array([0, 2, 1])
    assert deletion_curve(game, order).tolist() == [6.5, 4.5, 4.0, 5.0]
    assert insertion_curve(game, order).tolist() == [5.0, 7.0, 7.5, 6.5]


def test_the_true_order_falls_fastest() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.normal(size=6)
        game = Additive(weights)
        best = deletion_curve(game, np.argsort(-weights)).mean()
        assert all(deletion_curve(game, rng.permutation(6)).mean() >= best - 1e-9 for _ in range(30))


def test_the_answer_can_be_written_and_names_its_sample(
    found: dict[str, object], explainer: Explainer
) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["sample"] == {"users": 12, "of": explainer.dataset.n_users, "seed": 1}
    assert [row["attribute"] for row in found["importance"]] == explainer.scores.attributes
    for view in ("direct", "encoder"):
        assert sum(row[view]["share"] for row in found["importance"]) == pytest.approx(1)
        for kind in ("deletion", "insertion"):
            entry = found["curves"][view][kind]
            assert entry["lower"] <= entry["mean"] <= entry["upper"]
            assert entry["holds"] is (entry["lower"] > 0)


def test_the_view_through_the_encoder_beats_random_orders(found: dict[str, object]) -> None:
    """It is made of the same runs of the model, so if it did not there would be a fault."""
    assert found["curves"]["encoder"]["deletion"]["holds"]
    assert found["curves"]["encoder"]["insertion"]["holds"]


def test_random_attributions_do_not(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    monkeypatch.setattr(trial, "_lifts", lambda values, item: rng.normal(size=values.shape[1] - 1))
    found = try_explanations(explainer, users=25, seed=1)
    assert not found["curves"]["direct"]["deletion"]["holds"]
    assert not found["curves"]["direct"]["insertion"]["holds"]
    assert abs(found["stability"]["direct"]["mean"]) < 0.3 and abs(found["agreement"]["mean"]) < 0.3


def test_importance_and_response_by_hand(found: dict[str, object], explainer: Explainer) -> None:
    users = trial._sample(explainer, 12, 1)
    sizes, responses = [], []
    for user in users.tolist():
        what_if = WhatIf(explainer, user)
        seen = explainer.seen(user)
        item = explainer.contributions(user).top(1, seen)
        sizes.append(np.abs(through_encoder(explainer, user, item).values[0]))
        held = explainer.vectors[:, -len(what_if.attributes) + 3]
        lists = [
            what_if.shifted(np.eye(len(what_if.attributes))[3] * what_if.spread * t).top(10, seen)
            for t in (0, 1)
        ]
        responses.append((held[lists[1] - 1].mean() - held[lists[0] - 1].mean()) / held.std())
    for a, row in enumerate(found["importance"]):
        assert row["encoder"]["mean"] == pytest.approx(np.mean(sizes, axis=0)[a], rel=1e-3)
    assert found["monotone"][3]["mean"] == pytest.approx(np.mean(responses), abs=1e-6)


def test_the_same_seed_gives_the_same_answer(explainer: Explainer) -> None:
    one, two = (try_explanations(explainer, users=4, seed=5) for _ in range(2))
    assert one == two
    assert one != try_explanations(explainer, users=4, seed=6)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 20).astype(float), rng.normal(size=20)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(a, np.ones(20)))


def test_a_model_of_another_seed_is_held_against_the_first(explainer: Explainer) -> None:
    """The same model once more explains alike to the last digit; interactions name every pair once."""
    found = try_explanations(explainer, users=4, seed=5, others=[explainer])
    for view in ("direct", "encoder"):
        assert found["stability"]["seeds"][view]["mean"] == pytest.approx(1)
    assert found["stability"]["seeds"]["seeds"] == [explainer.seed, explainer.seed]
    m = len(explainer.scores.attributes)
    assert len({tuple(sorted(row["attributes"])) for row in found["interactions"]}) == m * (m - 1) // 2
    assert try_explanations(explainer, users=4, seed=5)["stability"]["seeds"] is None
