"""Attributes added to free vectors: what they compute, what trains, where they start, what a score is made of."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import random_dataset, random_scores

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import TEXT_VARIANTS, VARIANTS, Config
from guided_refine.data.dataset import Dataset
from guided_refine.refine.extend import extended
from guided_refine.refine.frames import refined_items, refined_users
from guided_refine.refine.normalise import Normaliser
from guided_refine.refine.pca import fit_pca
from guided_refine.refine.summed_table import SummedTable
from guided_refine.refine.variants import build_base, build_variant
from guided_refine.scoring.scores import AttributeScores

M, WIDTH = 10, 8
NAMES = [f"a{i}" for i in range(M)]
TRAIN = {"width": WIDTH, "max_length": 6, "batch_size": 16, "max_epochs": 2, "threads": 1}


def config(**refine: object) -> Config:
    return Config(name="t", train=TRAIN, refine={"fuse": "sum", **refine})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return random_dataset()


@pytest.fixture(scope="module")
def scores(dataset: Dataset) -> dict[str, AttributeScores]:
    return {s: random_scores(dataset, M, source=s, seed=i) for i, s in enumerate(("untuned", "tuned"))}


@pytest.fixture(scope="module")
def base(dataset: Dataset) -> Backbone:
    backbone = build_base("sasrec", dataset, config(), 0)
    backbone.fit(dataset)
    return backbone


def build(
    variant: str, dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores], **refine: object
) -> Backbone:
    texts = np.random.default_rng(5).standard_normal((dataset.n_items, 12))
    return build_variant(variant, dataset, base, scores, config(**refine), 0, attributes=NAMES, texts=texts)


@pytest.mark.parametrize("variant", ["base", "refined", "trainable_columns", "id_plus_text", "text_pca"])
def test_all_that_starts_anew_starts_as_far_out_as_the_base(
    variant: str, dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    def spread(std: float) -> float:
        own = Config(
            name="t",
            train={**TRAIN, "item_std": std},
            refine={"fuse": "sum", "start": "fresh", "users": False},
        )
        texts = np.random.default_rng(5).standard_normal((dataset.n_items, 12))
        made = build_variant(variant, dataset, base, scores, own, 0, attributes=NAMES, texts=texts)
        return made.table.matrix().std().item()

    assert spread(0.3) == pytest.approx(3 * spread(0.1), rel=1e-4)
    plain = Config(name="t", train={**TRAIN, "item_std": 0.3})
    first = build_base("sasrec", dataset, plain, 0).table.matrix()
    assert first.std().item() == pytest.approx(0.3, rel=0.15)
    assert torch.equal(first, Backbone.new("sasrec", dataset, plain.train, seed=0).table.matrix())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", ["warm", "fresh"])
def test_more_attributes_than_columns_train_and_survive_a_round_trip(
    variant: str,
    start: str,
    dataset: Dataset,
    base: Backbone,
    scores: dict[str, AttributeScores],
    tmp_path: Path,
) -> None:
    model = build(variant, dataset, base, scores, start=start)
    assert model.table.width == WIDTH, "what is served is as wide as the base"
    assert (model.term is None) == (variant in ("base", "warm_restart", "pca_only", *TEXT_VARIANTS))
    model.fit(dataset)
    model.save(tmp_path)
    users = np.arange(dataset.n_users)
    got = model.score(users, "test", dataset)
    assert np.isfinite(got).all()
    assert np.array_equal(Backbone.load(tmp_path).score(users, "test", dataset), got)


def test_vectors_are_the_bases_plus_the_scores_directions(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    table = build("refined", dataset, base, scores, scale=0.5).table
    tuned = Normaliser.fit(scores["tuned"].item_value, "zscore", 3.0).apply(scores["tuned"].item_value)
    added = tuned @ table.adapter.detach().numpy()
    np.testing.assert_allclose(table.matrix().detach().numpy(), base.item_vectors() + added, atol=1e-5)
    # refine.scale: spread of what is added relative to that of the free vectors, up to the draw.
    ratio = added.std(axis=0).mean() / base.item_vectors().std(axis=0).mean()
    assert ratio == pytest.approx(0.5, rel=0.3)
    fresh = build("refined", dataset, base, scores, start="fresh").table
    assert fresh.free.std().item() == pytest.approx(0.02, rel=0.1)


def test_another_width_starts_from_the_bases_principal_components(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    table = build("refined", dataset, base, scores, width=5).table
    vectors = base.item_vectors()
    np.testing.assert_allclose(table.free.detach().numpy(), fit_pca(vectors, 5).apply(vectors), rtol=1e-5)


def test_scores_stay_and_all_else_trains(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    parts = {"free", "adapter"}
    before = {name: p.detach().clone() for name, p in model.model.named_parameters()}
    model.fit(dataset)
    after = dict(model.model.named_parameters())
    assert torch.equal(after["table.guided"], before["table.guided"])
    for name in [*(f"table.{p}" for p in parts), "term.weight", "term.directions", "term.residual"]:
        assert not torch.equal(after[name], before[name]), name
    control = build("trainable_columns", dataset, base, scores)
    start = control.table.guided.detach().clone()
    control.fit(dataset)
    assert not torch.equal(control.table.guided, start), "the control trains what stands for the scores"
    assert not control.term.value.any()


def test_what_the_controls_change_is_the_scores_alone(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    refined, shuffled, alone = (
        build(v, dataset, base, scores).table for v in ("refined", "shuffled", "guided_only")
    )
    assert torch.equal(refined.free, shuffled.free) and torch.equal(refined.adapter, shuffled.adapter)
    a, b = refined.guided.detach().numpy(), shuffled.guided.detach().numpy()
    assert (a != b).any(axis=1).mean() > 0.8
    np.testing.assert_allclose(np.sort(a, axis=0), np.sort(b, axis=0), rtol=1e-5)
    assert alone.free is None and torch.equal(alone.guided, refined.guided)


def test_users_are_added_along_the_same_directions(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores, user_weight=0.7)
    users, seen = torch.tensor([0, 1]), torch.tensor([[9], [9]])
    with torch.no_grad():
        added = model.term(users, seen)[:, 0].numpy()
        wanted = 0.7 * model.term.scores(users, seen)[:, 0].numpy() @ model.table.adapter.numpy()
    assert np.abs(added).max() > 0
    np.testing.assert_allclose(added, wanted, atol=1e-6)


@pytest.mark.parametrize("variant", ["refined", "guided_only"])
def test_columns_and_read_states_multiply_to_the_scores(
    variant: str, dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build(variant, dataset, base, scores)
    model.fit(dataset)
    items, users = refined_items(model, dataset, NAMES), refined_users(model, dataset, NAMES)
    free = [f"free_{i + 1}" for i in range(WIDTH)] if variant == "refined" else []
    assert items.columns.tolist() == ["item_id", *free, *NAMES]
    found = users[[*free, *NAMES]].to_numpy() @ items[[*free, *NAMES]].to_numpy().T
    np.testing.assert_allclose(
        found, model.score(np.arange(dataset.n_users), "test", dataset), rtol=1e-4, atol=1e-5
    )
    folded = model.table.folded(torch.from_numpy(items[[*free, *NAMES]].to_numpy()))
    np.testing.assert_allclose(folded.detach().numpy(), model.item_vectors(), atol=1e-5)


def test_new_items_stand_where_their_scores_point(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    model.fit(dataset)
    raw = np.random.default_rng(3).random((2, M))
    more = extended(model, ["n1", "n2"], raw)
    assert isinstance(more.table, SummedTable)
    np.testing.assert_allclose(more.item_vectors()[:-2], model.item_vectors(), atol=1e-6)
    np.testing.assert_allclose(
        more.table.guided[-2:].detach().numpy(), model.term.normaliser.apply(raw), rtol=1e-6
    )
    assert len(more.recommend_for_history(["n1", "i3"], k=5)) == 5


def test_what_is_served_is_one_matrix_and_recommends_the_same(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores], tmp_path: Path
) -> None:
    model = build("refined", dataset, base, scores)
    model.fit(dataset)
    model.served().save(tmp_path)
    served = Backbone.load(tmp_path)
    assert [name for name in served.model.state_dict() if name.startswith("table.")] == ["table.weight"]
    assert served.model.table.weight.shape == base.model.table.weight.shape
    pd.testing.assert_frame_equal(
        served.recommend(model.user_ids, k=5), model.recommend(model.user_ids, k=5), rtol=1e-5
    )
    new = [m.recommend_for_history(["i1", "i4"], k=5) for m in (served, model)]
    pd.testing.assert_frame_equal(*new, rtol=1e-5)


@pytest.mark.parametrize("fuse", ["columns", "sum"])
def test_without_the_users_scores_only_the_history_says_who_somebody_is(
    fuse: str, dataset: Dataset, scores: dict[str, AttributeScores], tmp_path: Path
) -> None:
    wide = Config(name="t", train=TRAIN | {"width": 16}, refine={"fuse": fuse, "users": False})
    base = build_base("sasrec", dataset, wide, 0)
    base.fit(dataset)
    model = build_variant("refined", dataset, base, scores, wide, 0, attributes=NAMES)
    model.fit(dataset)
    assert not [name for name, p in model.model.term.named_parameters() if p.requires_grad]
    other = copy.deepcopy(model.term.value)
    model.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    loaded.model.term.value.copy_(torch.randn_like(other))
    users = np.arange(dataset.n_users)
    assert np.array_equal(loaded.score(users, "test", dataset), model.score(users, "test", dataset))
    raw = np.random.default_rng(3).random((1, M))
    guided = extended(model, ["n1"], raw).table.guided[-1].detach().numpy()
    wanted = model.term.normaliser.apply(raw)[0] * model.table.scale
    np.testing.assert_allclose(guided, wanted, rtol=1e-6)


def test_columns_beside_a_pca_as_wide_as_the_base_are_principal_components_still(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    wide = Config(name="t", train=TRAIN, refine={"width": WIDTH + M})
    table = build_variant("refined", dataset, base, scores, wide, 0, attributes=NAMES).table
    vectors = base.item_vectors()
    free = table.reduced.detach().numpy()
    np.testing.assert_allclose(free, fit_pca(vectors, WIDTH).apply(vectors), rtol=1e-5)
    np.testing.assert_allclose(np.corrcoef(free.T), np.eye(WIDTH), atol=1e-4)


def test_a_sum_is_not_tuned_as_if_it_had_columns() -> None:
    with pytest.raises(ValueError, match="base_recommender tunes scores that are columns"):
        Config(name="t", refine={"fuse": "sum"}, tune={"task": "base_recommender"})
