"""Tuning on likes and dislikes from end to end: what is liked rises against what is not, and a stop costs nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toy_shop import CONTEXT, score_items
from toy_shop import OPTIONS as SHORT

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.scoring.prompt import build_prompt
from guided_refine.scoring.slots import SlotReader, soft_scores
from guided_refine.tuning.losses import catalog_scale
from guided_refine.tuning.ratings import likes
from guided_refine.tuning.texts import DatasetTexts
from guided_refine.tuning.trainer import TuneTrainer
from guided_refine.tuning.tune import tune

#: Histories are read whole: taste stands in how they begin.
OPTIONS = SHORT.model_copy(update={"history_events": 16, "event_tokens": 8})
CONFIG = TuneConfig(
    task="like_dislike",
    steps=25,
    batch_size=16,
    save_every=50,
    learning_rate=1e-2,
    rank=4,
    dropout=0.0,
    anchor_weight=0.01,
    format_weight=0.01,
)


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Each user begins with items of his own kind, unrated; then he takes both kinds and rates his own higher."""
    rng = np.random.default_rng(0)
    names = [f"{('happy cat', 'sad dog')[i % 2]} {i}" for i in range(48)]
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(48)], "title": names, "text": names})
    rows = []
    for user in range(60):
        own, other = (rng.permutation(np.arange(kind, 48, 2)) for kind in (user % 2, 1 - user % 2))
        rated = rng.permutation([*own[5:9], *other[:4]])
        rows += [(f"u{user}", f"i{i}", np.nan) for i in own[:5]]
        rows += [(f"u{user}", f"i{i}", 5.0 if i % 2 == user % 2 else 1.0) for i in rated]
    return from_frames("rated", items, pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))


def run(
    model: LanguageModel,
    shop: Dataset,
    attributes: AttributeSet,
    config: TuneConfig,
    out: Path,
    value: np.ndarray | None = None,
) -> Path:
    scores = score_items(model, shop, attributes)
    scores = scores if value is None else replace(scores, item_value=value)
    return tune(model, shop, attributes, config, OPTIONS, out, item_scores=scores, seed=0, free_answers=0)


def likes_above_dislikes(
    model: LanguageModel, shop: Dataset, attributes: AttributeSet, value: np.ndarray
) -> float:
    """Share of pairs of a liked and a disliked training event, over all users, in which the liked one scores higher."""
    plans = {k: build_prompt(model.tokenizer, attributes, k) for k in ("item", "user")}
    texts = DatasetTexts(model.tokenizer, shop, plans, OPTIONS, CONTEXT)
    places = [(u, p) for u in range(shop.n_users) for p in range(5, int(shop.split.n_train[u]))]
    with torch.no_grad():
        logits = (
            SlotReader(model.model, plans["user"]).digit_logits([texts.user(u, p) for u, p in places]).logits
        )
    scale = catalog_scale(value)
    users, items = scale.apply(soft_scores(logits)[0]).numpy(), scale.apply(torch.from_numpy(value)).numpy()
    labels = likes(shop, None)
    liked = np.array([labels[u][p] == 1 for u, p in places])
    own = np.array([z_u @ items[shop.sequences[u][p] - 1] for z_u, (u, p) in zip(users, places, strict=True)])
    return float((own[liked][:, None] > own[~liked][None, :]).mean())


def test_liked_items_rise_against_disliked_ones(
    tiny_folder: Path, shop: Dataset, attributes: AttributeSet, tmp_path: Path
) -> None:
    model = load_language_model(str(tiny_folder), OPTIONS)
    # The random model does not tell the kinds apart, so the items' scores are given.
    value = np.where(np.arange(48)[:, None] % 2 == 0, [0.8, 0.5, 0.4], [0.2, 0.5, 0.6])
    value += np.random.default_rng(0).normal(size=(48, 3)) * 0.05
    before = likes_above_dislikes(model, shop, attributes, value)
    config = CONFIG.model_copy(update={"side": "user"})
    adapter = run(model, shop, attributes, config, tmp_path, value)
    tuned = load_language_model(str(tiny_folder), OPTIONS, adapter=adapter)
    assert before < 0.65 and likes_above_dislikes(tuned, shop, attributes, value) > 0.85
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["last"]["recommendation"] < report["first"]["recommendation"]
    assert report["held_out"]["of"] == "likes"


def test_what_is_done_is_not_done_again_and_a_stop_costs_nothing(
    tiny: LanguageModel,
    shop: Dataset,
    attributes: AttributeSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = CONFIG.model_copy(update={"steps": 3, "batch_size": 6, "save_every": 1})
    whole = run(tiny, shop, attributes, short, tmp_path / "a") / "adapter_model.safetensors"
    taken: list[int] = []
    original = TuneTrainer.training_step

    def stopped(self: TuneTrainer, *args: object, **kwargs: object) -> object:
        taken.append(self.state.global_step)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(TuneTrainer, "training_step", stopped)
    run(tiny, shop, attributes, short, tmp_path / "a")
    assert not taken
    with pytest.raises(KeyboardInterrupt):
        run(tiny, shop, attributes, short, tmp_path / "b")
    again = run(tiny, shop, attributes, short, tmp_path / "b") / "adapter_model.safetensors"
    assert taken == [0, 1, 2, 2]
    assert whole.read_bytes() == again.read_bytes()
    # Other ratings are another task.
    assert shop.ratings is not None
    turned = replace(shop, ratings=[6.0 - row for row in shop.ratings])
    run(tiny, turned, attributes, short, tmp_path / "b")
    assert taken[4:] == [0, 1, 2] and whole.read_bytes() != again.read_bytes()
