"""Item-kNN against dense formulas; what it may learn from; that the choice never sees the test part."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from synthetic import make_dataset, random_dataset, ring

from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.baselines.item_knn import item_knn, similarities
from guided_refine.evaluation.matrix import history_matrix, training_matrix
from guided_refine.evaluation.ranking import rank_targets


def dense(dataset: Dataset, part: str = "train") -> np.ndarray:
    met = np.zeros((dataset.n_users, dataset.n_items))
    for user in range(dataset.n_users):
        met[user, dataset.visible(user, part) - 1] = 1  # type: ignore[arg-type]
    return met


def test_matrix_of_ones() -> None:
    dataset = random_dataset()
    assert (training_matrix(dataset).toarray() == dense(dataset)).all()
    assert (history_matrix(dataset, [4, 2], "test").toarray() == dense(dataset, "test")[[4, 2]]).all()


@pytest.mark.parametrize("shrinkage", [0.0, 10.0])
@pytest.mark.parametrize("neighbours", [3, 100])
def test_similarities_against_the_dense_formula(
    shrinkage: float, neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks of one or two items, so that their borders are crossed.
    monkeypatch.setattr(sys.modules[item_knn.__module__], "_PAIRS", 50)
    dataset = random_dataset(users=40, n_items=25, seed=1)
    met = dense(dataset)
    shared = met.T @ met
    norm = np.sqrt(np.diag(shared))
    expected = shared / (np.outer(norm, norm) + shrinkage + 1e-300)
    np.fill_diagonal(expected, 0)
    for item in range(25):
        order = np.lexsort((np.arange(25), -expected[item]))
        expected[item, order[neighbours:]] = 0
    found = similarities(training_matrix(dataset), neighbours, shrinkage)
    assert found.toarray() == pytest.approx(expected, abs=1e-6)
    assert (np.diff(found.indptr) <= neighbours).all() and (found.data > 0).all()


def test_scores_and_the_plain_cosine() -> None:
    dataset = random_dataset(users=40, n_items=25, seed=1)
    baseline = item_knn(dataset, neighbours=[1000], shrinkage=[0.0])
    cosine = cosine_similarity(dense(dataset).T)
    np.fill_diagonal(cosine, 0)
    users = np.array([7, 0, 3])
    for part in ("valid", "test"):
        expected = dense(dataset, part)[users] @ cosine
        assert baseline.score(users, part) == pytest.approx(expected, abs=1e-5)  # type: ignore[arg-type]


def test_chosen_on_validation_and_the_test_part_changes_nothing() -> None:
    dataset = ring(n_items=24, walks=4)
    baseline = item_knn(dataset)
    assert len(baseline.searched) == 12
    assert max(s["ndcg@10"] for s in baseline.searched) == next(
        s["ndcg@10"] for s in baseline.searched if {k: s[k] for k in baseline.settings} == baseline.settings
    )
    # Other test targets: nothing that was learned or chosen may move.
    spoiled = [s.copy() for s in dataset.sequences]
    for user in range(dataset.n_users):
        spoiled[user][dataset.split.test[user]] = 1 + user % 24
    other = item_knn(dataclasses.replace(dataset, sequences=spoiled))
    assert other.settings == baseline.settings and other.searched == baseline.searched
    users = np.arange(10)
    assert (other.score(users, "test") == baseline.score(users, "test")).all()


def test_it_finds_what_goes_together() -> None:
    """Two kinds of users, each with its own items: the target is among the own kind's unseen items."""
    rng = np.random.default_rng(0)
    draws = [(rng.permutation(12)[:9] + 1 + 12 * (u % 2)).tolist() for u in range(60)]
    dataset = make_dataset(draws, 24)
    baseline = item_knn(dataset, neighbours=[20], shrinkage=[0.0])
    ranks = rank_targets(lambda users: baseline.score(users, "test"), dataset, "test")
    assert (ranks["greater"] + ranks["equal"]).max() <= 12 - 8 - 1
