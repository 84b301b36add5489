"""Every variant: what its columns are, what trains, and that it survives a round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import random_dataset, random_scores

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import TEXT_VARIANTS, VARIANTS, Config
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.refine.frames import refined_items, refined_users
from guided_refine.refine.normalise import Normaliser
from guided_refine.refine.pca import fit_pca
from guided_refine.refine.table import RefinedTable
from guided_refine.refine.users import GuidedUserTerm
from guided_refine.refine.variants import build_base, build_variant
from guided_refine.scoring.scores import AttributeScores

M = 3
NAMES = [f"a{i}" for i in range(M)]
CONFIG = Config(
    name="t",
    train={"width": 8, "max_length": 6, "batch_size": 16, "max_epochs": 2},
    refine={"scale": 0.5, "clip": 1.5},
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return random_dataset()


@pytest.fixture(scope="module")
def scores(dataset: Dataset) -> dict[str, AttributeScores]:
    return {s: random_scores(dataset, M, source=s, seed=i) for i, s in enumerate(("untuned", "tuned"))}


@pytest.fixture(scope="module")
def base(dataset: Dataset) -> Backbone:
    backbone = build_base("sasrec", dataset, CONFIG, 0)
    backbone.fit(dataset)
    return backbone


def build(
    variant: str, dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores], seed: int = 0
) -> Backbone:
    texts = np.random.default_rng(5).standard_normal((dataset.n_items, 12))
    texts[3] = np.nan
    return build_variant(variant, dataset, base, scores, CONFIG, seed, attributes=NAMES, texts=texts)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_scores_and_survives_a_round_trip(
    variant: str, dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores], tmp_path: Path
) -> None:
    model = build(variant, dataset, base, scores)
    assert model.table.width == {"pca_only": 8 - M, "guided_only": M}.get(variant, 8)
    assert (model.term is None) == (variant in ("base", "warm_restart", "pca_only", *TEXT_VARIANTS))
    model.fit(dataset)
    model.save(tmp_path)
    loaded = Backbone.load(tmp_path)
    users = np.arange(dataset.n_users)
    got = model.score(users, "test", dataset)
    assert np.isfinite(got).all() and np.array_equal(loaded.score(users, "test", dataset), got)
    lists = [m.recommend_for_history(["i1"]) for m in (loaded, model)]
    # Products of a single row are rounded otherwise where its memory begins at another place, on some processors.
    pd.testing.assert_frame_equal(*lists, rtol=1e-5)


@pytest.mark.parametrize("kind", ["gru4rec", "gru4rec_parallel", "bert4rec"])
def test_other_backbones_refine_too(kind: str, dataset: Dataset, scores: dict[str, AttributeScores]) -> None:
    base = build_base(kind, dataset, CONFIG, 0)
    base.fit(dataset)
    for variant in ("refined", "guided_only"):
        assert build(variant, dataset, base, scores).fit(dataset).epochs == 2


def test_refined_columns_are_what_they_are_called(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    start = model.item_vectors()
    vectors = base.item_vectors()
    np.testing.assert_allclose(start[:, :-M], fit_pca(vectors, 8 - M).apply(vectors))
    tuned = Normaliser.fit(scores["tuned"].item_value, "zscore", 1.5).apply(scores["tuned"].item_value)
    np.testing.assert_allclose(start[:, -M:], tuned * model.table.scale, rtol=1e-6)
    # refine.scale: spread of guided columns relative to the PCA columns.
    assert start[:, -M:].std(axis=0).mean() == pytest.approx(0.5 * start[:, :-M].std(axis=0).mean(), rel=1e-5)
    guided, weight = model.table.guided.clone(), model.term.weight.clone()
    model.fit(dataset)
    end = model.item_vectors()
    assert torch.equal(model.table.guided, guided) and np.array_equal(end[:, -M:], start[:, -M:])
    assert not np.array_equal(end[:, :-M], start[:, :-M])
    assert not torch.equal(model.term.weight, weight) and model.term.residual.any()


def test_user_scores_stand_under_the_items_attributes(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    tuned = scores["tuned"]
    expected = Normaliser.fit(tuned.item_value, "zscore", 1.5).apply(tuned.users.value)
    np.testing.assert_allclose(
        build("refined", dataset, base, scores).term.value.numpy(), expected, rtol=1e-6
    )


def test_held_out_events_and_later_scores_fit_nothing(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    """Other held-out events, other scores after training: a refined model starts as before but for those scores."""
    sequences = [s.copy() for s in dataset.sequences]
    for user, sequence in enumerate(sequences):
        end = int(dataset.split.n_train[user])
        sequence[end:] = sequence[end:] % dataset.n_items + 1
    users = scores["tuned"].users
    late = users.position > dataset.split.n_train[users.user]
    value = np.where(late[:, None], 1 - users.value, users.value)
    changed = {"tuned": replace(scores["tuned"], users=replace(users, value=value))}
    one = build("refined", dataset, base, scores)
    two = build("refined", replace(dataset, sequences=sequences), base, changed)
    moved = (one.term.value != two.term.value).any(dim=1).numpy()
    assert late.any() and not moved[~late].any() and moved[late].any()
    weights, others = one.model.state_dict(), two.model.state_dict()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == ["term.value"]


def test_a_prediction_meets_the_scores_after_all_events_not_those_of_its_window(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    seen = np.array([len(dataset.visible(u, "test")) for u in range(dataset.n_users)])
    users = np.flatnonzero(seen > CONFIG.train.max_length + 1)
    assert len(users) > 3
    whole = model.states(users, "test", dataset)
    with torch.no_grad():
        term = model.term(torch.from_numpy(users), torch.from_numpy(seen[users])[:, None])[:, 0]
        model.term.weight.zero_()
    np.testing.assert_allclose(whole - model.states(users, "test", dataset), term, atol=1e-5)


def test_untuned_reads_the_untuned_scores_and_refined_falls_back_on_them(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    refined, untuned = (build(v, dataset, base, scores).item_vectors() for v in ("refined", "untuned"))
    assert not np.array_equal(refined, untuned)
    only = build("refined", dataset, base, {"untuned": scores["untuned"]}).item_vectors()
    assert np.array_equal(only, untuned)


def test_shuffled_keeps_every_column_s_values_and_gives_them_to_others(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    refined, shuffled = (build(v, dataset, base, scores) for v in ("refined", "shuffled"))
    a, b = refined.table.guided.numpy(), shuffled.table.guided.numpy()
    np.testing.assert_allclose(np.sort(a, axis=0), np.sort(b, axis=0), rtol=1e-5)
    # Whole rows move: the relation between attributes stays.
    np.testing.assert_allclose(np.corrcoef(a.T), np.corrcoef(b.T), atol=1e-5)
    assert (a != b).any(axis=1).mean() > 0.8
    assert np.array_equal(refined.item_vectors()[:, :-M], shuffled.item_vectors()[:, :-M])
    u, v = refined.term.value, shuffled.term.value
    assert not torch.equal(u, v)
    assert torch.equal(refined.term.key, shuffled.term.key), "users are scored where they were"
    rows = [tuple(row) for row in u.tolist()]
    assert set(map(tuple, v.tolist())) <= set(rows)
    other = build("shuffled", dataset, base, scores, seed=1).table.guided.numpy()
    assert not np.array_equal(other, b)


def test_random_columns_are_frozen_noise_of_equal_spread(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model, refined = (build(v, dataset, base, scores) for v in ("random_columns", "refined"))
    assert isinstance(model.table, RefinedTable)
    spread = [m.item_vectors()[:, -M:].std(axis=0).mean() for m in (model, refined)]
    assert spread[0] == pytest.approx(spread[1], rel=1e-4)
    assert not torch.equal(model.term.value, refined.term.value)


def test_trainable_columns_have_the_capacity_of_refined_and_no_scores(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("trainable_columns", dataset, base, scores)
    before = model.item_vectors()
    assert isinstance(model.term, GuidedUserTerm) and not model.term.value.any()
    model.fit(dataset)
    assert (model.item_vectors() != before).all(axis=0).any() and (model.item_vectors() != before)[
        :, -M:
    ].any()
    assert model.term.residual.any()


def test_warm_restart_goes_on_from_the_base(dataset: Dataset, base: Backbone) -> None:
    before = base.item_vectors()
    model = build("warm_restart", dataset, base, {}, seed=7)
    assert np.array_equal(model.item_vectors(), before)
    assert np.array_equal(
        model.score(np.arange(4), "test", dataset), base.score(np.arange(4), "test", dataset)
    )
    result = model.fit(dataset)
    assert result.epochs == 2 and np.array_equal(base.item_vectors(), before)


def test_encoders_start_alike_and_pca_only_needs_no_scores(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    a, b = (build(v, dataset, base, scores).model.encoder.state_dict() for v in ("refined", "random_columns"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert build("pca_only", dataset, base, {}).table.width == 8 - M


def test_frames_multiply_to_the_scores(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    model.fit(dataset)
    items, users = refined_items(model, dataset, NAMES), refined_users(model, dataset, NAMES)
    names = [*(f"pc_{i}" for i in range(1, 9 - M)), *NAMES]
    assert items.columns.tolist() == ["item_id", *names] and users.columns.tolist() == ["user_id", *names]
    assert items["item_id"].tolist() == dataset.item_ids.tolist()
    np.testing.assert_allclose(
        users[names].to_numpy() @ items[names].to_numpy().T,
        model.score(np.arange(dataset.n_users), "test", dataset),
        atol=1e-5,
    )
    with pytest.raises(InputError, match="train the refined variant"):
        refined_items(base, dataset, NAMES)


def test_known_and_unknown_users_and_where_their_scores_come_from(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    model = build("refined", dataset, base, scores)
    model.fit(dataset)
    assert model.recommend_for_history(["i1", "i2"]).attrs["user_scores"] == "estimated"
    given = model.recommend_for_history(["i1", "i2"], user_scores=np.array([0.1, 0.9, 0.5]))
    assert given.attrs["user_scores"] == "language model"


def test_own_embeddings_start_the_base(dataset: Dataset, tmp_path: Path) -> None:
    own = np.random.default_rng(0).standard_normal((dataset.n_items, 11)).astype(np.float32) * 40
    np.save(tmp_path / "own.npy", own)
    base = build_base("sasrec", dataset, CONFIG, 0, embeddings=tmp_path / "own.npy")
    start = base.item_vectors()
    # One factor for all: the vectors' directions and relative lengths are the user's own.
    factor = start[0, 0] / own[0, 0]
    np.testing.assert_allclose(start, own * factor, rtol=1e-4)
    assert (start**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert base.fit(dataset).epochs == 2
    refined = build_variant(
        "refined", dataset, base, {"untuned": random_scores(dataset, M)}, CONFIG, 0, attributes=NAMES
    )
    assert refined.table.width == 11


def test_faults_are_said(dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]) -> None:
    with pytest.raises(InputError, match="did you mean 'refined'"):
        build("refind", dataset, base, scores)
    with pytest.raises(InputError, match="needs untuned scores"):
        build("refined", dataset, base, {})
    with pytest.raises(InputError, match="at least 9 columns"):
        build_variant("refined", dataset, base, scores, CONFIG, 0, attributes=[f"a{i}" for i in range(8)])
    with pytest.raises(InputError, match="config asks for x, y, z"):
        build_variant("refined", dataset, base, scores, CONFIG, 0, attributes=["x", "y", "z"])
    with pytest.raises(InputError, match="no held-out interaction leaks"):
        build("refined", dataset, base, {"untuned": replace(scores["untuned"], cut_off="global_time:1")})


def test_shuffled_scores_in_training_come_from_training(
    dataset: Dataset, base: Backbone, scores: dict[str, AttributeScores]
) -> None:
    """Each row says whether it has read more than its owner's training events; no training row may be given one that has."""
    users = scores["tuned"].users
    late = users.position > dataset.split.n_train[users.user]
    assert 0 < late.sum() < len(late)
    value = np.repeat(np.where(late, 0.6, 0.4)[:, None], M, axis=1).astype(np.float32)
    told = replace(scores["tuned"], users=replace(users, value=value))
    plain, shuffled = (build(v, dataset, base, {"tuned": told}).term.value for v in ("refined", "shuffled"))
    early = torch.from_numpy(~late)
    assert torch.equal(shuffled[early], plain[early])
