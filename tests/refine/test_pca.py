"""PCA against the singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from guided_refine.errors import InputError
from guided_refine.refine.pca import fit_pca, kept_columns

VECTORS = np.random.default_rng(0).standard_normal((60, 8)) * np.arange(1, 9) + 5


def test_equals_svd_up_to_sign() -> None:
    reduction = fit_pca(VECTORS, 5)
    u, s, vt = np.linalg.svd(VECTORS - VECTORS.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs((reduction.components * vt[:5]).sum(axis=1)), 1)
    np.testing.assert_allclose(np.abs(reduction.apply(VECTORS)), np.abs(u[:, :5] * s[:5]), atol=1e-4)
    np.testing.assert_allclose(reduction.explained, s[:5] ** 2 / (s**2).sum())


def test_signs_do_not_depend_on_the_sign_of_the_input() -> None:
    a, b = fit_pca(VECTORS, 5), fit_pca(-VECTORS, 5)
    np.testing.assert_allclose(a.components, b.components, atol=1e-8)
    assert (a.components[np.arange(5), np.abs(a.components).argmax(axis=1)] > 0).all()


def test_full_rank_keeps_all_distances() -> None:
    reduced = fit_pca(VECTORS, 8).apply(VECTORS)
    np.testing.assert_allclose(
        np.linalg.norm(reduced[0] - reduced, axis=1),
        np.linalg.norm(VECTORS[0] - VECTORS, axis=1),
        rtol=1e-4,
    )


def test_a_small_catalog_gives_zero_columns() -> None:
    reduced = fit_pca(VECTORS[:3], 6).apply(VECTORS[:3])
    assert reduced.shape == (3, 6) and (reduced[:, 3:] == 0).all() and np.isfinite(reduced).all()


def test_too_many_attributes_are_said_with_what_is_needed() -> None:
    assert kept_columns(9, 8) == 1
    with pytest.raises(InputError, match="at least 9 columns are needed"):
        kept_columns(8, 8)
