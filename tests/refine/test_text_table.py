"""Tables from whole text vectors: what they compute, what trains in them, and that padding stays apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from guided_refine.backbones.tables import IdTable
from guided_refine.refine.summed_table import fresh_sum
from guided_refine.refine.text_table import standardised, text_start

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((300, 24)) @ RNG.standard_normal((24, 24)) + 5.0


@pytest.mark.parametrize("ids", [True, False])
def test_a_row_is_the_map_of_its_own_text(ids: bool) -> None:
    table = fresh_sum(standardised(VECTORS), width=8, seed=3, free=ids)
    texts = StandardScaler().fit_transform(VECTORS)
    wanted = texts @ table.adapter.detach().numpy()
    if table.free is not None:
        wanted = wanted + table.free.detach().numpy()
    np.testing.assert_allclose(table.matrix().detach().numpy(), wanted, atol=1e-5)
    looked_up = table.lookup(torch.tensor([0, 1, 300])).detach()
    assert not looked_up[0].any(), "padding has no text"
    np.testing.assert_allclose(looked_up[1:].numpy(), wanted[[0, 299]], atol=1e-5)


def test_it_starts_as_wide_as_free_vectors_do() -> None:
    free = IdTable(300, 8).matrix().std().item()
    assert fresh_sum(standardised(VECTORS), 8, seed=0, free=False).matrix().std().item() == pytest.approx(
        free, rel=0.25
    )
    start = text_start(VECTORS, 8, 0.02).matrix()
    assert start.square().sum(1).mean().sqrt().item() == pytest.approx(0.02 * 8**0.5, rel=1e-5)


def test_only_ids_and_the_map_train() -> None:
    table = fresh_sum(standardised(VECTORS), 8, seed=0, free=True)
    table.matrix().sum().backward()
    assert {n for n, p in table.named_parameters() if p.grad is not None} == {"free", "adapter"}
    assert not table.guided.requires_grad


def test_the_start_is_scikit_learns_principal_components() -> None:
    texts = StandardScaler().fit_transform(VECTORS)
    wanted = PCA(8).fit_transform(texts)
    start = text_start(VECTORS, 8, 0.02).matrix().detach().numpy()
    factor = np.abs(start).sum() / np.abs(wanted).sum()
    np.testing.assert_allclose(np.abs(start), np.abs(wanted) * factor, atol=1e-6)


def test_items_without_a_text_lie_at_the_mean() -> None:
    vectors = VECTORS.copy()
    vectors[7] = np.nan
    rest = np.delete(vectors, 7, axis=0)
    np.testing.assert_allclose(
        np.delete(standardised(vectors).numpy(), 7, axis=0), StandardScaler().fit_transform(rest), atol=1e-5
    )
    assert not standardised(vectors)[7].any()
    assert not standardised(np.full((2, 3), np.nan)).any()


def test_the_seed_decides() -> None:
    first, same, other = (fresh_sum(standardised(VECTORS), 8, seed=s, free=True) for s in (1, 1, 2))
    assert torch.equal(first.matrix(), same.matrix()) and not torch.equal(first.matrix(), other.matrix())
