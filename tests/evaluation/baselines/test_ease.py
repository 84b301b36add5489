"""EASE against the textbook inverse, its own optimality conditions, and limits of its regularisation."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.sparse import csr_array
from synthetic import make_dataset, random_dataset

from guided_refine.evaluation.baselines.ease import MOST_ITEMS, ease, weights
from guided_refine.evaluation.matrix import training_matrix


@pytest.mark.parametrize("block", [3, 1024])
def test_against_the_textbook_inverse(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[ease.__module__], "_BLOCK", block)
    matrix = training_matrix(random_dataset(users=40, n_items=25))
    met = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(met.T @ met + 7 * np.eye(25))
    expected = -inverse / np.diag(inverse)[None]
    np.fill_diagonal(expected, 0)
    assert weights(matrix, 7.0) == pytest.approx(expected, abs=1e-10)


def test_it_is_the_best_item_to_item_model() -> None:
    """Column j is ridge regression of item j on all others: the gradient off the diagonal is zero."""
    matrix = training_matrix(random_dataset(users=60, n_items=15, seed=4))
    met = matrix.toarray().astype(np.float64)
    found = weights(matrix, 3.0)
    gradient = met.T @ (met @ found - met) + 3.0 * found
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-9 and (np.diag(found) == 0).all()


def test_strong_regularisation_counts_users_in_common() -> None:
    matrix = training_matrix(random_dataset(users=60, n_items=15, seed=4))
    shared = (matrix.T @ matrix).toarray().astype(np.float64)
    np.fill_diagonal(shared, 0)
    assert 1e9 * weights(matrix, 1e9) == pytest.approx(shared, rel=1e-5)


def test_scores_are_the_history_times_the_weights() -> None:
    dataset = random_dataset(users=40, n_items=25)
    baseline = ease(dataset, regularisation=[5.0])
    met = np.zeros((40, 25))
    for user in range(40):
        met[user, dataset.visible(user, "test") - 1] = 1
    users = np.array([5, 1])
    expected = met[users] @ weights(training_matrix(dataset), 5.0)
    assert baseline.score(users, "test") == pytest.approx(expected, abs=1e-9)
    assert baseline.settings == {"regularisation": 5.0} and len(baseline.searched) == 1


def test_an_item_that_nobody_met_and_no_regularisation() -> None:
    matrix = training_matrix(make_dataset([[1, 2, 3, 4]], 5))
    found = weights(matrix, 1.0)
    assert np.isfinite(found).all() and (found[:, 4] == 0).all() and (found[4] == 0).all()
    with pytest.raises(ValueError, match="regularisation must be above 0"):
        weights(csr_array(np.array([[1.0, 0.0]])), 0.0)
    assert MOST_ITEMS == 20_000
