"""The chunked top-k against a full stable sort of every row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.topk import stable_top, top_items
from guided_refine.errors import InputError


def by_sorting(
    states: Tensor, vectors: Tensor, k: int, seen: list[list[int]] | None
) -> tuple[Tensor, Tensor]:
    scores = states @ vectors.T
    for row, items in enumerate(seen or []):
        scores[row, [item - 1 for item in items]] = -torch.inf
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places[:, :k]


@given(
    seed=st.integers(0, 10_000),
    users=st.integers(0, 7),
    n_items=st.integers(1, 40),
    levels=st.integers(1, 4),
    k=st.integers(1, 50),
    rows=st.integers(1, 5),
    items=st.one_of(st.none(), st.integers(1, 45)),
    filtered=st.booleans(),
)
def test_equals_a_full_stable_sort(
    seed: int, users: int, n_items: int, levels: int, k: int, rows: int, items: int | None, filtered: bool
) -> None:
    draw = np.random.default_rng(seed)
    # Small whole numbers: many ties, and no rounding that could depend on how the product is cut.
    states = torch.from_numpy(draw.integers(-levels, levels + 1, (users, 2)).astype(np.float32))
    vectors = torch.from_numpy(draw.integers(-levels, levels + 1, (n_items, 2)).astype(np.float32))
    seen = [draw.integers(1, n_items + 1, draw.integers(0, n_items + 3)).tolist() for _ in range(users)]
    histories = Histories.stack([np.array(s, dtype=np.int64) for s in seen])
    values, places = top_items(states, vectors, k, histories if filtered else None, rows=rows, items=items)
    right, at = by_sorting(states, vectors, k, seen if filtered else None)
    assert torch.equal(values, right)
    assert torch.equal(places, at)


@given(
    seed=st.integers(0, 10_000), columns=st.integers(1, 30), k=st.integers(1, 35), levels=st.integers(1, 6)
)
def test_stable_top_with_infinities_and_ties(seed: int, columns: int, k: int, levels: int) -> None:
    draw = np.random.default_rng(seed)
    scores = torch.from_numpy(draw.integers(0, levels, (4, columns)).astype(np.float32))
    scores[torch.from_numpy(draw.random((4, columns)) < 0.3)] = -torch.inf
    values, places = scores.sort(dim=1, descending=True, stable=True)
    found = stable_top(scores, k)
    assert torch.equal(found[0], values[:, :k]) and torch.equal(found[1], places[:, :k])


def test_order_of_the_catalog_does_not_matter_for_what_is_found() -> None:
    """The worst order for passing over chunks, scores that rise along the catalog, and the best one."""
    states = torch.ones(3, 1)
    rising = torch.arange(5000.0)[:, None]
    for vectors in (rising, rising.flip(0)):
        values, places = top_items(states, vectors, 10, rows=2, items=64)
        assert values[0].tolist() == list(range(4999, 4989, -1))
        assert torch.equal(values, vectors[places, 0])


def test_a_constant_scorer_gives_the_catalog_in_order() -> None:
    values, places = top_items(torch.zeros(2, 4), torch.randn(9000, 4), 5)
    assert places.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert not values.any()


@pytest.mark.parametrize("place", [0, 70, 99])
def test_scores_that_are_not_numbers_are_refused(place: int) -> None:
    vectors = torch.arange(100.0).flip(0)[:, None].clone()
    vectors[place] = torch.nan
    with pytest.raises(InputError, match="not numbers"):
        top_items(torch.ones(2, 1), vectors, 3, items=10)
