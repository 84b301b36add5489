"""A dataset scored end to end by a real small language model: what is computed, kept, cut and never leaked."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import make_attributes, make_dataset, naive_logits

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import from_frames
from guided_refine.progress import Progress
from guided_refine.scoring.histories import HistoryTexts, event_text
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import build_prompt, tokenise_text
from guided_refine.scoring.scorer import Scorer, ScoringSummary, score_dataset
from guided_refine.scoring.scores import AttributeScores
from guided_refine.scoring.slots import soft_scores
from guided_refine.scoring.store import ScoreStore

OPTIONS = LLMOptions(text_tokens=40, event_tokens=8, history_events=6, snapshots=3, batch_tokens=1500)


class Counted:
    """Counts forward passes of a real model."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.passes = 0
        self._handle = model.base_model.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def scored(
    lm: LanguageModel,
    store: ScoreStore,
    dataset: Any = None,
    names: tuple[str, ...] = (),
    options: Any = OPTIONS,
) -> tuple[AttributeScores, ScoringSummary]:
    return score_dataset(
        lm, dataset or make_dataset(), make_attributes(*names), options, store, source="untuned"
    )


def test_every_score_equals_the_oracle(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    scores, summary = scored(stories, store, dataset)
    plan = build_prompt(stories.tokenizer, make_attributes(), "item")
    assert summary.items == dataset.n_items
    for item in (0, 4, 9):
        text, _ = tokenise_text(stories.tokenizer, dataset.texts[item], OPTIONS.text_tokens)
        for a in range(4):
            with torch.no_grad():
                value, spread = soft_scores(naive_logits(stories.model, plan, text, a)[plan.digits])
            assert scores.item_value[item, a] == pytest.approx(value.item(), abs=1e-5)
            assert scores.item_spread[item, a] == pytest.approx(spread.item(), abs=1e-5)
    plan = build_prompt(stories.tokenizer, make_attributes(), "user")
    texts = HistoryTexts(stories.tokenizer, dataset, OPTIONS, 1000)
    for row in (0, 3, len(scores.users.user) - 1):
        text = texts.tokens(int(scores.users.user[row]), int(scores.users.position[row]))
        with torch.no_grad():
            value, _ = soft_scores(naive_logits(stories.model, plan, text, 2)[plan.digits])
        assert scores.users.value[row, 2] == pytest.approx(value.item(), abs=1e-5)


def test_the_second_time_nothing_is_computed(stories: LanguageModel, store: ScoreStore) -> None:
    first, summary = scored(stories, store)
    assert summary.passes > 0 and summary.from_store == 0
    assert store.count() == summary.scored
    with Counted(stories.model) as counted:
        second, again = scored(stories, store)
    assert counted.passes == again.passes == again.scored == 0
    assert again.from_store == summary.scored
    np.testing.assert_array_equal(first.item_value, second.item_value)
    np.testing.assert_array_equal(first.users.spread, second.users.spread)


def test_another_model_shares_no_score(stories: LanguageModel, store: ScoreStore) -> None:
    _, first = scored(stories, store)
    _, second = scored(replace(stories, fingerprint="e" * 64), store)
    assert (second.scored, second.from_store) == (first.scored, 0)


def test_an_added_attribute_costs_its_own_column(stories: LanguageModel, store: ScoreStore) -> None:
    three, before = scored(stories, store, names=("humour", "darkness", "romance"))
    four, after = scored(stories, store, names=("romance", "humour", "story_complexity", "darkness"))
    assert after.scored == before.scored / 3
    assert after.from_store == before.scored
    np.testing.assert_array_equal(four.item_value[:, [1, 3, 0]], three.item_value)
    alone, _ = scored(stories, store, names=("story_complexity",))
    np.testing.assert_array_equal(alone.users.value[:, 0], four.users.value[:, 2])


def test_an_added_item_costs_its_own_row(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    _, before = scored(stories, store, dataset)
    dataset.items.loc[3, "text"] = "A new text about a big red ball."
    _, after = scored(stories, store, replace(dataset, sequences=make_dataset().sequences))
    texts_that_show_it = after.scored // 4
    assert 1 <= texts_that_show_it < before.scored // 4


def test_a_user_with_a_new_event_is_the_only_one_scored_again(
    stories: LanguageModel, store: ScoreStore
) -> None:
    dataset = make_dataset()
    before, _ = scored(stories, store, dataset)
    last = dataset.sequences[2]
    grown = [[int(i) for i in s] for s in dataset.sequences]
    grown[2].append(int(last[0]) % dataset.n_items + 1)
    rows = [(f"u{u}", dataset.item_ids[i - 1]) for u, s in enumerate(grown) for i in s]
    events = pd.DataFrame(rows, columns=["user_id", "item_id"])
    later = from_frames("stories", dataset.items, events)
    after, summary = scored(stories, store, later)
    his = int((after.users.user == 2).sum())
    assert 0 < summary.scored <= 4 * his
    others_before, others_after = before.users.user != 2, after.users.user != 2
    np.testing.assert_array_equal(before.users.value[others_before], after.users.value[others_after])


def test_histories_longer_than_the_window_are_counted(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    scores, summary = scored(stories, store, dataset)
    longer = [int(p) for p in scores.users.position if p > OPTIONS.history_events]
    assert summary.histories_cut == len(longer) > 0
    everything = OPTIONS.model_copy(update={"history_events": 20})
    _, summary = scored(stories, store, dataset, options=everything)
    assert (summary.history_events, summary.histories_cut) == (20, 0)


def test_lines_of_histories_that_hold_no_whole_text_are_counted(
    stories: LanguageModel, store: ScoreStore
) -> None:
    dataset = make_dataset()
    lines = [event_text(title, text) for title, text in zip(dataset.titles, dataset.texts, strict=True)]
    lengths = [len(tokenise_text(stories.tokenizer, line, 1000)[0]) for line in lines]
    limit = sorted(lengths)[len(lengths) // 2]
    _, summary = scored(stories, store, dataset, options=OPTIONS.model_copy(update={"event_tokens": limit}))
    assert summary.events_cut == sum(length > limit for length in lengths) > 0
    _, summary = scored(
        stories, store, dataset, options=OPTIONS.model_copy(update={"event_tokens": max(lengths)})
    )
    assert summary.events_cut == 0


def test_batches_do_not_change_scores(stories: LanguageModel, tmp_path: Path) -> None:
    answers = []
    for budget in (64, 700, 8192):
        with ScoreStore(tmp_path / f"{budget}.sqlite") as store:
            answers.append(
                scored(stories, store, options=OPTIONS.model_copy(update={"batch_tokens": budget}))[0]
            )
    for other in answers[1:]:
        np.testing.assert_allclose(other.item_value, answers[0].item_value, atol=1e-5)
        np.testing.assert_allclose(other.users.value, answers[0].users.value, atol=1e-5)


def test_user_scores_never_read_a_later_event(stories: LanguageModel, tmp_path: Path) -> None:
    dataset = make_dataset()
    with ScoreStore(tmp_path / "a.sqlite") as store:
        before = scored(stories, store, dataset)[0].users
    changed = make_dataset()
    for user, sequence in enumerate(changed.sequences):
        end = int(changed.split.n_train[user])
        sequence[end:] = sequence[end:] % changed.n_items + 1
    with ScoreStore(tmp_path / "b.sqlite") as store:
        after = scored(stories, store, changed)[0].users
    early = before.position <= dataset.split.n_train[before.user]
    np.testing.assert_array_equal(before.value[early], after.value[early])
    assert (before.value[~early] != after.value[~early]).any()


def test_texts_are_cut_to_the_context_and_counted(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    dataset.items.loc[0, "text"] = "A dog and a cat went to the park. " * 100
    dataset.items.loc[1, "text"] = "  "
    options = LLMOptions(text_tokens=100_000, event_tokens=40, history_events=500, snapshots=2)
    scores, summary = scored(stories, store, dataset, options=options)
    assert (summary.texts_cut, summary.items_without_text) == (1, 1)
    assert summary.text_tokens < 512
    assert summary.history_events < 10
    assert np.isnan(scores.item_value[1]).all()
    assert np.isfinite(np.delete(scores.item_value, 1, axis=0)).all()
    assert np.isfinite(scores.users.value).all()


def test_values_lie_in_their_ranges_and_carry_the_cut_off(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    scores, summary = scored(stories, store, dataset)
    assert scores.cut_off == dataset.split.cut_off
    assert ((scores.item_value >= 0) & (scores.item_value <= 1)).all()
    assert ((scores.users.spread > 0) & (scores.users.spread <= 0.5)).all()
    rows = scores.users.latest(np.arange(dataset.n_users), dataset.split.test)
    np.testing.assert_array_equal(scores.users.position[rows], dataset.split.test)
    deviation = scores.item_value.std(axis=0)
    assert summary.flat == [n for n, d in zip(scores.attributes, deviation, strict=True) if d < 0.02]


def test_texts_that_wait_to_be_read_take_little_memory(stories: LanguageModel, store: ScoreStore) -> None:
    """Four bytes a token and some for each text, so that a million items fit; and the store knows them as ever."""
    number, tokens = 3000, 128
    words = [
        f"The {thing} is {how}." for thing in ("dog", "king", "ship") for how in ("sad", "merry", "blue")
    ]
    frame = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(number)],
            "title": "Tale",
            "text": [f"Tale {i}. " + " ".join(words[(i + k) % 9] for k in range(30)) for i in range(number)],
        }
    )
    dataset = from_frames("tales", frame, pd.DataFrame({"user_id": "u", "item_id": ["i0", "i1", "i2", "i3"]}))
    options = OPTIONS.model_copy(update={"text_tokens": tokens})
    attributes = make_attributes()
    scorer = Scorer(stories, attributes, options, store, "", ScoringSummary(), Progress(quiet=True))
    tracemalloc.start()
    try:
        work, keys = scorer.item_work(dataset)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] / number
    finally:
        tracemalloc.stop()
    assert {len(job.text) for job in work.jobs} == {tokens} and len(work.jobs) == number
    assert kept < 4 * tokens + 600
    ids, _ = tokenise_text(stories.tokenizer, dataset.texts[-1], tokens)
    start = f"{stories.fingerprint}:{build_prompt(stories.tokenizer, attributes, 'item').sha256}:".encode()
    assert keys[-1] == hashlib.sha256(start + np.array(ids, dtype="<u4").tobytes()).hexdigest()


def test_equal_texts_are_read_once(stories: LanguageModel, store: ScoreStore) -> None:
    dataset = make_dataset()
    dataset.items.loc[:, "text"] = "The same words about everything."
    scores, summary = scored(stories, store, dataset)
    assert summary.flat == scores.attributes
    assert (scores.item_value == scores.item_value[0]).all()
    item_scores = 4
    assert summary.scored < item_scores + 4 * summary.snapshots + 1
