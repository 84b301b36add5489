"""The base's frozen part against its own scoring, and what it may see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import random_dataset

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import RefineConfig, TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.refine.kept_base import KeptBase


@pytest.fixture(scope="module", params=["sasrec", "gru4rec", "bert4rec"])
def trained(request: pytest.FixtureRequest) -> tuple[Dataset, Backbone]:
    dataset = random_dataset()
    base = Backbone.new(request.param, dataset, TrainConfig(width=8, max_length=10, max_epochs=1, threads=1))
    base.fit(dataset)
    return dataset, base


def value(dataset: Dataset, m: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(dataset.n_items, m))


def test_with_all_components_it_ranks_as_the_base(trained: tuple[Dataset, Backbone]) -> None:
    """Only a constant per user is lost, which the centring of the items takes away."""
    dataset, base = trained
    users = np.arange(20)
    # Of the base's 8 columns all are kept, as the refined vectors are wider.
    kept = KeptBase(base, dataset, value(dataset, 2), RefineConfig(width=10))
    # States for the validation target have read the training part; so has a position at its end.
    ours = kept(users, dataset.split.n_train[users], np.arange(1, dataset.n_items + 1))
    own = base.score(users, "valid", dataset)
    difference = ours - own
    np.testing.assert_allclose(difference, difference.mean(axis=1, keepdims=True) + 0 * ours, atol=2e-4)


def test_fewer_components_are_the_best_approximation(trained: tuple[Dataset, Backbone]) -> None:
    dataset, base = trained
    users, items = np.arange(5), np.arange(1, dataset.n_items + 1)
    positions = dataset.split.n_train[users]
    kept = KeptBase(base, dataset, value(dataset, 3), RefineConfig())(users, positions, items)
    vectors = base.item_vectors().astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    states = base.states(users, "valid", dataset)
    naive = np.array([[sum((h @ d) * (e @ d) for d in directions[:5]) for e in centred] for h in states])
    np.testing.assert_allclose(kept, naive, atol=2e-4)


def test_later_events_change_nothing(trained: tuple[Dataset, Backbone]) -> None:
    dataset, base = trained
    users, positions, items = np.arange(5), np.full(5, 2), np.arange(1, dataset.n_items + 1)
    kept = KeptBase(base, dataset, value(dataset, 3), RefineConfig())
    other = [s.copy() for s in dataset.sequences]
    for sequence in other:
        sequence[2:] = sequence[2:] % dataset.n_items + 1
    changed = KeptBase(base, replace(dataset, sequences=other), value(dataset, 3), RefineConfig())
    np.testing.assert_array_equal(kept(users, positions, items), changed(users, positions, items))
    assert kept.fingerprint == changed.fingerprint and kept.weight > 0
