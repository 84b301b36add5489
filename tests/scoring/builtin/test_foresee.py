"""Ridge regression from the scores of some items to all: against scikit-learn, and literally leaving one out."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from toy_catalog import attributes, catalog

from guided_refine.scoring.builtin import foresee as module
from guided_refine.scoring.builtin.foresee import foresee, text_features


def noisy(seed: int = 0) -> tuple[csr_matrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 6))
    y = x @ rng.standard_normal((6, 3)) + rng.standard_normal((40, 3))
    y[rng.random((40, 3)) < 0.3] = np.nan
    y[:, 2] = np.where(np.isnan(y[:, 1]), np.nan, y[:, 2])
    y[:, 1] = np.where(np.isnan(y[:, 2]), np.nan, y[:, 1])
    return csr_matrix(x), y


def test_it_is_ridge_regression_and_its_error_is_that_of_items_left_out() -> None:
    x, y = noisy()
    found = foresee(x, y, seed=0)
    dense = x.toarray()
    for column in range(3):
        rows = np.flatnonzero(np.isfinite(y[:, column]))
        target = y[rows, column] - y[rows, column].mean()
        best = (np.inf, np.zeros(0), np.zeros(0))
        for decay in module._DECAYS:
            ridge = Ridge(alpha=decay, fit_intercept=False)
            left = np.array(
                [
                    ridge.fit(np.delete(dense[rows], i, 0), np.delete(target, i)).predict(dense[rows[[i]]])[0]
                    for i in range(len(rows))
                ]
            )
            error = float(np.sqrt(np.mean((target - left) ** 2)))
            if error < best[0]:
                best = error, ridge.fit(dense[rows], target).predict(dense), left
        np.testing.assert_allclose(found.error[column], best[0], rtol=1e-8)
        np.testing.assert_allclose(
            found.value[:, column], y[rows, column].mean() + best[1], rtol=1e-7, atol=1e-9
        )
        np.testing.assert_allclose(found.correlation[column], np.corrcoef(best[2], target)[0, 1], rtol=1e-7)


def test_texts_with_the_same_company_are_foreseen_alike() -> None:
    texts, funny = catalog(n=120)
    known = np.full((120, 2), np.nan)
    known[:60] = np.stack([funny, ~funny], axis=1)[:60]
    found = foresee(text_features(texts, attributes(), seed=0), known, seed=0)
    assert (found.correlation > 0.7).all()
    assert found.value[60:][funny[60:], 0].min() > found.value[60:][~funny[60:], 0].max()


def test_a_constant_score_is_foreseen_as_itself_and_earns_no_trust() -> None:
    x, y = noisy()
    y[:, 0] = np.where(np.isnan(y[:, 0]), np.nan, 0.25)
    found = foresee(x, y, seed=0)
    np.testing.assert_allclose(found.value[:, 0], 0.25)
    assert found.correlation[0] == 0
