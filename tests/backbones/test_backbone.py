"""fit, score, recommend, save and load as a user sees them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import make_dataset, random_dataset

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.model import ENCODERS
from guided_refine.backbones.tables import IdTable
from guided_refine.config import DataConfig, TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.evaluation.ranking import rank_targets

KINDS = sorted(ENCODERS)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return random_dataset(40, 15)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request: pytest.FixtureRequest, dataset: Dataset) -> Backbone:
    config = TrainConfig(max_length=6, batch_size=16, max_epochs=2)
    backbone = Backbone(request.param, IdTable(dataset.n_items, 8), None, config, seed=0)
    backbone.fit(dataset)
    return backbone


def test_batch_equals_one_user_at_a_time(fitted: Backbone, dataset: Dataset) -> None:
    users = np.arange(dataset.n_users)[::-1]
    together = fitted.score(users, "test", dataset)
    assert together.shape == (dataset.n_users, dataset.n_items) and together.dtype == np.float32
    for row, user in enumerate(users):
        alone = fitted.score(np.array([user]), "test", dataset)
        np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5)


def test_score_is_the_sum_over_columns(fitted: Backbone, dataset: Dataset) -> None:
    users = np.arange(5)
    states, vectors = fitted.states(users, "valid", dataset), fitted.item_vectors()
    by_column = sum(np.outer(states[:, c], vectors[:, c]) for c in range(states.shape[1]))
    np.testing.assert_allclose(fitted.score(users, "valid", dataset), by_column, atol=1e-5)


def test_only_the_prefix_of_the_part_is_read(
    fitted: Backbone, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitted, "cut_off", None)  # other held-out items make another split
    prefixes = [dataset.visible(u, "test").tolist() for u in range(dataset.n_users)]
    cut = make_dataset([[*p, 1] for p in prefixes], dataset.n_items)
    users, _ = dataset.targets("test")
    np.testing.assert_allclose(
        fitted.score(users, "test", dataset), fitted.score(users, "test", cut), atol=1e-5
    )


def test_recommend_follows_the_scores(fitted: Backbone, dataset: Dataset) -> None:
    table = fitted.recommend(["u3", "u0"], k=4, filter_viewed=False, dataset=dataset, part="test")
    assert table.columns.tolist() == ["user_id", "item_id", "rank", "score"]
    assert table["user_id"].tolist() == ["u3"] * 4 + ["u0"] * 4
    assert table["rank"].tolist() == [1, 2, 3, 4] * 2
    scores = fitted.score(np.array([3]), "test", dataset)[0]
    best = np.argsort(-scores, kind="stable")[:4]
    assert table["item_id"].tolist()[:4] == dataset.item_ids[best].tolist()
    np.testing.assert_allclose(table["score"][:4], scores[best], atol=1e-5)
    np.testing.assert_allclose(
        fitted.recommend(["u3", "u0"], k=4, dataset=dataset)["score"],
        fitted.recommend(["u3", "u0"], k=4)["score"],
        atol=1e-5,
    )


def test_viewed_items_are_left_out_and_k_may_exceed_the_catalog(fitted: Backbone, dataset: Dataset) -> None:
    table = fitted.recommend(dataset.user_ids, k=1000)
    for user, group in table.groupby("user_id"):
        viewed = set(dataset.item_ids[dataset.sequences[int(user[1:])] - 1])
        assert set(group["item_id"]) == set(dataset.item_ids) - viewed
        assert group["rank"].tolist() == list(range(1, len(group) + 1))
        assert group["score"].is_monotonic_decreasing
    everything = fitted.recommend(["u1"], k=1000, filter_viewed=False)
    # All items and nothing else: padding and [mask] are no candidates.
    assert sorted(everything["item_id"]) == sorted(dataset.item_ids)


def test_what_comes_next_is_asked_after_all_that_is_known(fitted: Backbone, dataset: Dataset) -> None:
    """Events that only served to validate and test are known too: nobody is offered what he took last."""
    assert (dataset.split.test >= 0).any()
    for part in (None, "valid", "test"):
        table = fitted.recommend(["u0"], k=1000, dataset=dataset, part=part)
        left = set(dataset.item_ids) - set(table["item_id"])
        known = dataset.sequences[0] if part is None else dataset.visible(0, part)
        assert left == set(dataset.item_ids[known - 1])
    with pytest.raises(InputError, match="give dataset= too"):
        fitted.recommend(["u0"], part="test")


def test_a_history_of_nobody_known(fitted: Backbone, dataset: Dataset) -> None:
    history = dataset.item_ids[dataset.sequences[2] - 1].tolist()
    alone = fitted.recommend_for_history(history, k=5)
    known = fitted.recommend(["u2"], k=5)
    assert alone.columns.tolist() == ["item_id", "rank", "score"]
    assert alone["item_id"].tolist() == known["item_id"].tolist()
    assert alone.attrs["user_scores"] == "none"


def test_saved_and_loaded_gives_the_same(fitted: Backbone, dataset: Dataset, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = Backbone.load(tmp_path)
    users = np.arange(dataset.n_users)
    assert np.array_equal(loaded.score(users, "test", dataset), fitted.score(users, "test", dataset))
    # Products of a single row are rounded otherwise where its memory begins at another place, on some processors.
    pd.testing.assert_frame_equal(loaded.recommend(["u4"]), fitted.recommend(["u4"]), rtol=1e-5)
    lists = [model.recommend_for_history(["i1", "i2"]) for model in (loaded, fitted)]
    pd.testing.assert_frame_equal(*lists, rtol=1e-5)


def test_another_split_is_not_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(20), 8),
            "item_id": rng.integers(0, 12, 160),
            "timestamp": rng.permutation(160),
        }
    )
    one_out = Dataset.from_frames(rows)
    by_time = Dataset.from_frames(rows, options=DataConfig(split="global_time"))
    backbone = Backbone.new("sasrec", one_out, TrainConfig(width=8, max_length=6, max_epochs=1, threads=1))
    backbone.fit(one_out)
    backbone.save(tmp_path)
    for model in (backbone, Backbone.load(tmp_path)):
        for refused in (
            lambda m=model: m.states(np.array([0]), "test", by_time),
            lambda m=model: m.score(np.array([0]), "valid", by_time),
            lambda m=model: m.recommend([0], dataset=by_time, part="test"),
            lambda m=model: rank_targets(lambda u: m.score(u, "test", by_time), by_time, "test"),
        ):
            with pytest.raises(InputError, match="was trained under split leave_one_out:"):
                refused()
        assert len(model.recommend([0], k=3, dataset=by_time)) == 3  # what comes next has no part
        assert np.isfinite(model.score(np.array([0]), "test", one_out)).all()
    backbone.fit(by_time)
    assert np.isfinite(backbone.score(np.array([0]), "test", by_time)).all()


def test_bad_questions_are_said(fitted: Backbone, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="no user 'nobody'"):
        fitted.recommend(["nobody"])
    with pytest.raises(InputError, match="no item 'x'"):
        fitted.recommend_for_history(["i1", "x"])
    with pytest.raises(InputError, match="history is empty"):
        fitted.recommend_for_history([])
    for k in (0, 2.5, "2", True):
        with pytest.raises(InputError, match="k must be a whole number, 1 or more"):
            fitted.recommend(["u1"], k=k)  # type: ignore[arg-type]
    for one in ("u1", 3):
        with pytest.raises(InputError, match="must be a list of ids"):
            fitted.recommend(one)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="must be a list of ids"):
            fitted.recommend_for_history(one)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no user term"):
        fitted.recommend_for_history(["i1"], user_scores=np.zeros(3))
    with pytest.raises(InputError, match="another catalog"):
        fitted.restarted(0).fit(replace(dataset, items=dataset.items.assign(item_id=dataset.item_ids[::-1])))
    with pytest.raises(InputError, match="another catalog"):
        fitted.score(np.array([0]), "test", random_dataset(5, 14))
    assert fitted.recommend([]).empty
    with pytest.raises(InputError, match="not fitted"):
        Backbone(fitted.kind, IdTable(15, 8), None, TrainConfig(), 0).recommend(["u1"])


def test_damaged_files_are_said(fitted: Backbone, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no saved backbone"):
        Backbone.load(tmp_path)
    fitted.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-50])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        Backbone.load(tmp_path)
    # One bit of the last weight, which is a number before and after.
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        InputError, match=r"is damaged: it is not the file that config\.json was written with"
    ):
        Backbone.load(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing or damaged"):
        Backbone.load(tmp_path)
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(InputError, match="newer"):
        Backbone.load(tmp_path)
    others = [
        {"user_ids": [*config["user_ids"], "one too many"]},
        {"item_ids": config["item_ids"][:-1]},
        {"train": {**config["train"], "width": "wide"}},
        {"train": {**config["train"], "no such key": 1}},
        {"user_ids": None},
        {"table": []},
    ]
    for other in others:
        (tmp_path / "config.json").write_text(json.dumps({**config, **other}))
        with pytest.raises(InputError, match="do not belong together"):
            Backbone.load(tmp_path)
    for other in ([], {**config, "format": "x"}):
        (tmp_path / "config.json").write_text(json.dumps(other))
        with pytest.raises(InputError, match="not that of a saved backbone"):
            Backbone.load(tmp_path)
    config["table"]["options"]["width"] = 9
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not belong together"):
        Backbone.load(tmp_path)
    config["table"] = {"module": "os", "class": "system", "options": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="not loaded"):
        Backbone.load(tmp_path)


def test_catalog_of_a_hundred_thousand_items() -> None:
    draw = np.random.default_rng(0)
    large = make_dataset(draw.integers(1, 100_001, (20, 6)).tolist(), 100_000)
    config = TrainConfig(max_length=4, max_epochs=1)
    backbone = Backbone("sasrec", IdTable(100_000, 8), None, config, seed=0)
    backbone.fit(large)
    assert len(backbone.recommend(["u0", "u1"], k=3)) == 6
    assert torch.isfinite(backbone.table.matrix()).all()
