"""Agreement with labels: a model that follows them agrees, random explanations do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from guided_refine.explain.encoder_view import AttributeGame, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.labels import Link
from guided_refine.explain.trial_metadata import agreement, pulls
from guided_refine.runfolder import RunFolder


def links(n: int, items: int = 10) -> list[Link]:
    return [Link(f"a{i}", f"g: {i}", 0.8, np.arange(items) % 2 == 0) for i in range(n)]


def test_correlations_are_spearmans_and_random_ones_hold_zero() -> None:
    rng = np.random.default_rng(0)
    held = rng.random((80, 2))
    follows = held + 0.1 * rng.normal(size=held.shape)
    columns = {"held": held, "pull_direct": follows, "pull_encoder": rng.normal(size=held.shape)}
    found = agreement(columns, links(2), seed=0)
    expected = [spearmanr(held[:, a], follows[:, a]).statistic for a in range(2)]
    assert [row["direct"]["mean"] for row in found["links"]] == pytest.approx(expected)
    assert found["mean"]["direct"]["mean"] == pytest.approx(np.mean(expected))
    assert found["mean"]["direct"]["holds"] and not found["mean"]["encoder"]["holds"]
    assert (
        found["mean"]["direct"]["lower"] < found["mean"]["direct"]["mean"] < found["mean"]["direct"]["upper"]
    )


def test_a_label_that_nobody_has_says_nothing() -> None:
    columns = {
        name: np.random.default_rng(1).normal(size=(30, 2)) for name in ("pull_direct", "pull_encoder")
    }
    columns["held"] = np.column_stack([np.zeros(30), np.arange(30)])
    found = agreement(columns, links(2), seed=0)
    assert found["links"][0]["direct"]["mean"] is None
    assert found["mean"]["direct"]["mean"] == pytest.approx(found["links"][1]["direct"]["mean"])
    columns["held"] = np.zeros((30, 2))
    assert agreement(columns, links(2), seed=0) is None
    assert agreement(columns, [], seed=0) is None


def test_pulls_are_means_over_items(either: RunFolder) -> None:
    """The short way over mean vectors equals taking every item apart."""
    explainer = Explainer.open(either.root)
    n, user = explainer.dataset.n_items, 4
    members = np.random.default_rng(0).random(n) < 0.3
    link = Link(explainer.scores.attributes[1], "g: x", 0.7, members)
    game = AttributeGame(explainer, user, np.array([1]))
    found = pulls(explainer, user, game, [link])
    direct = explainer.contributions(user).values[:, 2]
    assert found["pull_direct"][0] == pytest.approx(
        direct[members].mean() - direct[~members].mean(), abs=1e-4
    )
    encoder = through_encoder(explainer, user, np.arange(1, n + 1)).values[:, 1]
    assert found["pull_encoder"][0] == pytest.approx(
        encoder[members].mean() - encoder[~members].mean(), abs=1e-4
    )
    assert found["held"][0] == pytest.approx(members[explainer.seen(user) - 1].mean())
