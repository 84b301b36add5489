"""Appending items to a refined model: what moves (nothing old) and where a new item comes to stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import random_dataset, random_scores

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import Config
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.refine.extend import LENGTH, NEIGHBOURS, borrowed, extended
from guided_refine.refine.normalise import Normaliser
from guided_refine.refine.variants import build_base, build_variant

M = 3
CONFIG = Config(
    name="t", train={"width": 8, "max_length": 6, "batch_size": 16, "max_epochs": 2, "threads": 1}
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return random_dataset()


def refined(dataset: Dataset, kind: str = "sasrec", variant: str = "refined") -> Backbone:
    base = build_base(kind, dataset, CONFIG, 0)
    base.fit(dataset)
    scores = {"untuned": random_scores(dataset, M)}
    model = build_variant(variant, dataset, base, scores, CONFIG, 0, attributes=[f"a{i}" for i in range(M)])
    model.fit(dataset)
    return model


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> Backbone:
    return refined(dataset)


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec", "gru4rec", "gru4rec_parallel"])
def test_every_backbone_takes_new_items_and_keeps_the_old(
    kind: str, dataset: Dataset, tmp_path: Path
) -> None:
    model = refined(dataset, kind)
    raw = np.array([[0.0, 0.5, 1.0], [0.9, 0.9, 0.1]])
    more = extended(model, ["n1", "n2"], raw)
    vectors, old = more.item_vectors(), model.item_vectors()
    assert np.array_equal(vectors[: len(old)], old)
    # The catalog's own statistics, not statistics of the new items.
    fitted = Normaliser.fit(random_scores(dataset, M).item_value, "zscore", 3.0)
    np.testing.assert_allclose(vectors[-2:, -M:], fitted.apply(raw) * model.table.scale, rtol=1e-6)
    assert torch.equal(more.term.residual, model.term.residual) and torch.equal(more.term.key, model.term.key)
    more.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    assert loaded.item_ids == [*model.item_ids, "n1", "n2"]
    everything = len(loaded.item_ids)
    table = loaded.recommend(["u1", "u2"], k=everything, filter_viewed=False)
    assert table.equals(more.recommend(["u1", "u2"], k=everything, filter_viewed=False))
    before = model.recommend(["u1", "u2"], k=everything, filter_viewed=False)
    both = before.merge(table, on=["user_id", "item_id"])
    assert len(both) == len(before)
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-5)
    assert len(loaded.recommend_for_history(["n1", "i3", "n2"], k=5)) == 5
    assert not set(model.item_ids) & {"n1", "n2"}


def test_items_added_one_by_one_keep_their_guided_columns(model: Backbone) -> None:
    """Guided columns depend on the item alone; neighbours added before may lend their place to later ones."""
    raw = np.random.default_rng(0).random((3, M))
    together = extended(model, ["a", "b", "c"], raw).item_vectors()
    one = model
    for name, row in zip("abc", raw, strict=True):
        one = extended(one, [name], row[None])
    apart = one.item_vectors()
    assert np.array_equal(together[:, -M:], apart[:, -M:])
    assert np.array_equal(together[: len(model.item_ids) + 1], apart[: len(model.item_ids) + 1])


def test_items_that_nobody_took_lend_nothing(model: Backbone, dataset: Dataset) -> None:
    """A twin of an item without interactions gets the place of others, not that one's."""
    counts = np.ones(dataset.n_items, dtype=np.int64)
    counts[::2] = 0
    raw = np.random.default_rng(0).random((2, M))
    columns = model.table.columns().detach().numpy()
    more = extended(model, ["a", "b"], raw, counts=counts).table.columns().detach().numpy()
    wanted = borrowed(columns[1::2, :-M], columns[1::2, -M:], more[-2:, -M:])
    assert np.array_equal(more[-2:, :-M], wanted)
    assert not np.allclose(wanted, extended(model, ["a", "b"], raw).table.columns().detach()[-2:, :-M])


def test_guided_columns_alone_can_be_extended(dataset: Dataset) -> None:
    more = extended(refined(dataset, variant="guided_only"), ["n"], np.full((1, M), 0.5))
    assert more.item_vectors().shape == (dataset.n_items + 1, M)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 1000), st.sampled_from([0.2, LENGTH, 1.0]))
def test_borrowed_columns_are_as_long_as_asked_and_point_where_the_neighbours_do(
    items: int, kept: int, seed: int, length: float
) -> None:
    draw = np.random.default_rng(seed)
    reduced, guided, new = draw.random((items, kept)), draw.random((items, M)), draw.random((4, M))
    got = borrowed(reduced, guided, new, length=length)
    offsets = reduced - reduced.mean(axis=0)
    for row, own in enumerate(new):
        near = np.argsort(((guided - own) ** 2).sum(axis=1), kind="stable")[:NEIGHBOURS]
        offset = got[row] - reduced.mean(axis=0)
        lengths = np.linalg.norm(offsets[near], axis=1)
        assert np.linalg.norm(offset) == pytest.approx(length * lengths.mean(), abs=1e-5)
        assert (offsets[near] @ offset).max() >= -1e-6
    # The order in which the catalog lists its items says nothing.
    order = draw.permutation(items)
    np.testing.assert_allclose(borrowed(reduced[order], guided[order], new, length=length), got, atol=1e-4)


def test_borrowing_reads_near_items_only() -> None:
    guided = np.repeat([[0.0], [100.0]], NEIGHBOURS, axis=0)
    reduced = np.repeat([[1.0], [9.0]], NEIGHBOURS, axis=0)
    near = borrowed(reduced, guided, np.array([[1.0], [99.0]]), length=1)
    assert near.tolist() == [[1.0], [9.0]]
    assert borrowed(reduced, np.zeros_like(guided), np.zeros((1, 1)), length=1).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("ids", "scores", "said"),
    [
        (["i3"], np.zeros((1, M)), "'i3' is in the catalog already"),
        (["n", "n"], np.zeros((2, M)), "'n' is in the catalog already"),
        (["n"], np.zeros((1, M + 1)), "expected"),
        (["n"], np.full((1, M), np.nan), "finite"),
    ],
)
def test_one_sentence_for_what_cannot_be_added(
    model: Backbone, ids: list[str], scores: np.ndarray, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        extended(model, ids, scores)


def test_only_a_trained_refined_model_takes_items_from_text(dataset: Dataset) -> None:
    base = build_base("sasrec", dataset, CONFIG, 0)
    base.fit(dataset)
    with pytest.raises(InputError, match="no trained refined model"):
        extended(base, ["n"], np.zeros((1, M)))
