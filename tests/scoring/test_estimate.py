"""What is said to be missing beforehand is what is then computed, and saying it leaves the store as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_attributes, make_dataset

from guided_refine.config import LLMOptions
from guided_refine.progress import Progress
from guided_refine.scoring.estimate import estimate, estimate_untrained
from guided_refine.scoring.jobs import Job, lacking
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.scoring.prompt import build_prompt
from guided_refine.scoring.scorer import score_dataset
from guided_refine.scoring.slots import SlotReader
from guided_refine.scoring.store import ScoreStore
from guided_refine.scoring.waiting import Forecast

OPTIONS = LLMOptions(text_tokens=40, event_tokens=8, history_events=6, snapshots=3, batch_tokens=1500)


@pytest.fixture(scope="module")
def stories(shared: Path) -> LanguageModel:
    return load_language_model(str(shared / "tokenizers" / "stories260K"), LLMOptions())


def test_what_is_missing_is_what_is_then_computed(
    stories: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    three, four = make_attributes("humour", "darkness", "romance"), make_attributes()
    with ScoreStore(tmp_path / "s.sqlite") as store:
        before = estimate(stories, dataset, three, OPTIONS, store)
        assert store.count() == 0 and before.pace is not None and before.seconds is not None
        untrained = estimate_untrained("x", dataset, three, OPTIONS)
        assert (
            untrained.items.scores == before.items.scores and untrained.to_json()["items"]["tokens"] is None
        )
        _, summary = score_dataset(stories, dataset, three, OPTIONS, store, source="untuned")
        assert before.items.scores + before.users.scores == summary.scored
        done = estimate(stories, dataset, three, OPTIONS, store)
        assert (done.items.scores, done.users.scores, done.pace, done.seconds) == (0, 0, None, None)
        assert "all 36 scores are in the store" in done.sentence()
        added = estimate(stories, dataset, four, OPTIONS, store)
        assert added.items.scores == before.items.scores / 3
        assert added.items.tokens < before.items.tokens
        # The model's own count of what it reads: tokens of texts and slots, without what is encoded once.
        read: list[int] = []
        digit_logits = SlotReader.digit_logits

        def noted(self: SlotReader, texts, reads=None, **more):  # type: ignore[no-untyped-def]
            read.append(
                sum(
                    len(t) + len(r) * sum(map(len, self.plan.slots))
                    for t, r in zip(texts, reads, strict=True)
                )
            )
            return digit_logits(self, texts, reads, **more)

        monkeypatch.setattr(SlotReader, "digit_logits", noted)
        score_dataset(stories, dataset, four, OPTIONS, store, source="untuned")
        once = sum(
            len(plan.head) + sum(map(len, plan.definitions)) + len(plan.opening)
            for plan in (build_prompt(stories.tokenizer, four, kind).select([1]) for kind in ("item", "user"))
        )
        assert added.items.tokens + added.users.tokens == sum(read) + once


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=6), st.data())
def test_what_a_group_lacks_is_lacked_by_each_of_its_keys(
    shapes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Every missing pair stands in exactly one group, every stored one in none, and no text reaches behind its last read."""
    jobs, known = [], {}
    for number, (length, n_reads) in enumerate(shapes):
        reads = sorted(data.draw(st.lists(st.integers(1, length), min_size=n_reads, max_size=n_reads)))
        keys = [f"{number}:{place}" for place in range(n_reads)]
        jobs.append(Job(list(range(length)), reads, keys))
        for key in keys:
            known[key] = np.zeros((2, 3))
            known[key][:, data.draw(st.lists(st.booleans(), min_size=3, max_size=3))] = np.nan
    pairs = [
        (key, a)
        for lacks, group in lacking(jobs, known).items()
        for job in group
        for key in job.keys
        for a in lacks
    ]
    assert sorted(pairs) == sorted((key, a) for key in known for a in range(3) if np.isnan(known[key][0, a]))
    for group in lacking(jobs, known).values():
        assert all(len(job.text) == max(job.reads) for job in group)


class Heard(Progress):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_a_forecast_is_told_once_from_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    from guided_refine.scoring import waiting

    clock = iter([0.0, 3.0, 10.0, 20.0])
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    heard = Heard()
    forecast = Forecast(heard, "score items", 10_100)
    for _ in range(4):  # the first 100 are not measured; then 200 tokens in ten seconds leave 9,800
        forecast.add(100)
    assert heard.lines == ["score items: about 8 min to go (20 tokens a second)"]
