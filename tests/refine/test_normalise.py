"""Normalisation against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from guided_refine.refine.normalise import Method, Normaliser, flat_attributes

DRAW = np.random.default_rng(0)
ITEMS = np.round(DRAW.random((200, 4)) ** 2, 2)
USERS = DRAW.random((50, 3, 4))


def test_zscore_equals_the_standard_scaler_clipped() -> None:
    scaler = StandardScaler().fit(ITEMS)
    normaliser = Normaliser.fit(ITEMS, "zscore", clip=1.5)
    np.testing.assert_allclose(
        normaliser.apply(ITEMS), np.clip(scaler.transform(ITEMS), -1.5, 1.5), atol=1e-6
    )
    flat = scaler.transform(USERS.reshape(-1, 4)).reshape(USERS.shape)
    np.testing.assert_allclose(normaliser.apply(USERS), np.clip(flat, -1.5, 1.5), atol=1e-6)


def test_minmax_equals_the_minmax_scaler_and_keeps_users_inside() -> None:
    scaler = MinMaxScaler((-1, 1)).fit(ITEMS)
    normaliser = Normaliser.fit(ITEMS, "minmax")
    np.testing.assert_allclose(normaliser.apply(ITEMS), scaler.transform(ITEMS), atol=1e-6)
    assert np.abs(normaliser.apply(USERS * 9 - 4)).max() <= 1


def test_quantile_equals_average_ranks() -> None:
    ranks = np.stack([rankdata(c) for c in ITEMS.T], axis=1)
    np.testing.assert_allclose(
        Normaliser.fit(ITEMS, "quantile").apply(ITEMS), (2 * ranks - 1) / len(ITEMS) - 1, atol=1e-6
    )


@pytest.mark.parametrize("method", ["zscore", "minmax", "quantile"])
def test_order_is_kept_missing_is_the_mean_and_constants_are_zero(method: Method) -> None:
    items = ITEMS.copy()
    items[:, 3] = 0.4
    items[:20, 0] = np.nan
    normaliser = Normaliser.fit(items, method)
    out = normaliser.apply(items)
    assert np.isfinite(out).all() and (out[:, 3] == 0).all()
    mean = np.nanmean(items[:, 0])
    assert np.allclose(out[:20, 0], normaliser.apply(np.full((1, 4), mean))[0, 0])
    order = np.argsort(items[20:, 1])
    assert (np.diff(out[20:, 1][order]) >= 0).all()
    assert (Normaliser.fit(np.full((3, 2), np.nan), method).apply(items[:, :2]) == 0).all()


def test_flat_attributes() -> None:
    varied = np.linspace(0, 1, 100)
    narrow = 0.5 + 0.01 * np.sin(np.arange(100))
    spiky = np.where(np.arange(100) < 97, 0.25, 0.9)
    items = np.stack([varied, narrow, spiky, np.full(100, np.nan)], axis=1)
    assert flat_attributes(items).tolist() == [False, True, True, True]
