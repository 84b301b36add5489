"""Scoring a whole dataset: what the store lacks is computed, in batches of similar length, and stored at once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.progress import Progress, Task
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.digit_rule import DigitRule
from guided_refine.scoring.histories import HistoryTexts, all_snapshots, flat_positions, window_start
from guided_refine.scoring.jobs import Job, batches, demand, lacking, tokens
from guided_refine.scoring.language_model import reading_context
from guided_refine.scoring.prompt import Kind, PromptPlan, build_prompt, token_rows
from guided_refine.scoring.scores import AttributeScores, UserScores
from guided_refine.scoring.store import Pair, Reader, ScoreStore, StoredScore
from guided_refine.scoring.waiting import Forecast, Pause

if TYPE_CHECKING:
    import torch

    from guided_refine.scoring.language_model import LanguageModel
    from guided_refine.scoring.slots import SlotReader

logger = logging.getLogger(__name__)

FLAT = 0.02
"""An attribute whose item scores deviate less than this (on the 0-1 scale) tells items apart no better than noise."""


@dataclass
class ScoringSummary:
    """What scoring did: counts for the log and the report.

    `scored` and `from_store` count (text, attribute) pairs, equal texts once. `texts_cut` counts items whose text was
    longer than `text_tokens`; `history_events` is the window in use, shorter than asked where the context is short, and
    `histories_cut` counts snapshots with events before it; `events_cut` counts items whose line in a history is cut.
    `fingerprint` (the model's) and `attribute_keys` say which rows of a store these scores are, soft ones beside hard ones.
    """

    items: int = 0
    items_without_text: int = 0
    texts_cut: int = 0
    text_tokens: int = 0
    snapshots: int = 0
    users_without_history: int = 0
    history_events: int = 0
    histories_cut: int = 0
    events_cut: int = 0
    scored: int = 0
    from_store: int = 0
    passes: int = 0
    fingerprint: str = ""
    attribute_keys: list[str] = field(default_factory=list)
    flat: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """Texts to read with one prompt; `hashes` are the store's keys of its attributes."""

    plan: PromptPlan
    jobs: list[Job]
    hashes: list[str]

    @property
    def pairs(self) -> int:
        """Scores there will be."""
        return len(self.hashes) * sum(len(job.keys) for job in self.jobs)

    def fill(self, known: dict[str, np.ndarray], pairs: Iterable[Pair]) -> None:
        """Put stored scores where they belong."""
        column = {sha256: a for a, sha256 in enumerate(self.hashes)}
        for (key, attribute), pair in pairs:
            known[key][:, column[attribute]] = pair


def score_dataset(
    language_model: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    options: LLMOptions,
    store: ScoreStore,
    *,
    source: str,
    instead: tuple[Kind, AttributeScores] | None = None,
    progress: Progress | None = None,
) -> tuple[AttributeScores, ScoringSummary]:
    """Score every item from its text and every user along his history.

    Only pairs of text and attribute that `store` lacks are computed: an added attribute costs its own column, an added
    item its own row. Items without text get NaN. `source` ("untuned" or "tuned") names the scores. `options.digits` and
    `options.calibration` say how a score comes of the digits; hard scores are stored beside the soft ones. `instead`: a
    kind that is not read, and whose scores it has: with `tune.side` "user", items keep those of the untuned model.

    Raises `InputError` when the tokenizer has no single-token digits, the context is too short (the sentence names the
    numbers), or the model gives logits that are not finite.
    """
    progress = progress or Progress(quiet=True)
    summary = ScoringSummary(fingerprint=language_model.fingerprint)
    scorer = Scorer(language_model, attributes, options, store, dataset.split.cut_off, summary, progress)
    given: dict[Kind, AttributeScores] = {} if instead is None else {instead[0]: instead[1]}
    item_value, item_spread = (
        (given["item"].item_value, given["item"].item_spread) if "item" in given else scorer.items(dataset)
    )
    users = given["user"].users if "user" in given else scorer.users(dataset)
    summary.items, summary.snapshots = len(item_value), len(users.user)
    deviation = np.nanstd(item_value, axis=0) if len(item_value) else np.zeros(len(attributes.names))
    summary.flat = [n for n, d in zip(attributes.names, deviation, strict=True) if not d >= FLAT]
    told = _sentence(language_model.name, source, summary)
    progress.log(told if instead is None else f"{told}; those of every {instead[0]} are the untuned model's")
    scores = AttributeScores(
        source=source,
        attributes=attributes.names,
        item_value=item_value,
        item_spread=item_spread,
        users=users,
        model=language_model.name,
        cut_off=dataset.split.cut_off,
    )
    return scores, summary


def _sentence(model: str, source: str, summary: ScoringSummary) -> str:
    parts = [
        f"{source} scores by {model}: {summary.items} items, {summary.snapshots} user snapshots; "
        f"{summary.scored} scores computed, {summary.from_store} from the store"
    ]
    if summary.items_without_text:
        parts.append(f"{summary.items_without_text} items have no text and no score")
    if summary.texts_cut:
        parts.append(f"{summary.texts_cut} texts cut to {summary.text_tokens} tokens")
    if summary.histories_cut:
        parts.append(
            f"{summary.histories_cut} snapshots read the last {summary.history_events} events or fewer of more"
        )
    if summary.events_cut:
        parts.append(f"{summary.events_cut} items cut to the beginning of their text in histories")
    if summary.flat:
        parts.append(f"hardly varies over the catalog: {', '.join(summary.flat)}")
    return "; ".join(parts)


class Scorer:
    """Scores one dataset with one model; counts what it does in `summary`."""

    def __init__(
        self,
        language_model: LanguageModel,
        attributes: AttributeSet,
        options: LLMOptions,
        store: ScoreStore,
        cut_off: str,
        summary: ScoringSummary,
        progress: Progress,
    ) -> None:
        self._lm = language_model
        self._attributes = attributes
        self._options = options
        self._rule = DigitRule.of(options)
        self._said: set[str] = set()
        self._store = store
        self._cut_off = cut_off
        self._summary = summary
        self._progress = progress
        self._context = reading_context(
            language_model.model.config, language_model.tokenizer, attributes, options
        )

    def items(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Value and spread, each (n_items, attributes)."""
        work, keys = self.item_work(dataset)
        known = self._complete(work, "score items")
        return _columns([known.get(key) if key else None for key in keys], len(work.hashes))

    def item_work(self, dataset: Dataset) -> tuple[Work, list[str | None]]:
        """What is to be read of the items, and each item's key; None where it has no text."""
        plan = build_prompt(self._lm.tokenizer, self._attributes, "item", chat=self._options.chat)
        limit = min(self._options.text_tokens, plan.text_room(self._context))
        texts_cut = 0
        keys: list[str | None] = []
        jobs: dict[str, Job] = {}
        texts = (text.strip() for text in dataset.texts)
        for ids, cut in token_rows(self._lm.tokenizer, texts, limit):
            key = self._key(plan, ids) if ids else None
            if key is not None and key not in jobs:
                jobs[key] = Job(ids, [len(ids)], [key])
            keys.append(key)
            texts_cut += cut
        self._summary.items = len(keys)
        self._summary.text_tokens = limit
        self._summary.texts_cut = texts_cut
        self._summary.items_without_text = keys.count(None)
        return self._work(plan, list(jobs.values())), keys

    def users(self, dataset: Dataset) -> UserScores:
        """Scores at every snapshot, each from the events before it only."""
        work, who, position, keys = self.user_work(dataset)
        known = self._complete(work, "score users")
        value, spread = _columns([known[key] for key in keys], len(work.hashes))
        return UserScores(who, position, value, spread)

    def user_work(self, dataset: Dataset) -> tuple[Work, np.ndarray, np.ndarray, list[str]]:
        """What is to be read of the users; user, position and key of every snapshot."""
        plan = build_prompt(self._lm.tokenizer, self._attributes, "user", chat=self._options.chat)
        histories = HistoryTexts(self._lm.tokenizer, dataset, self._options, plan.text_room(self._context))
        positions = all_snapshots(dataset, self._options.snapshots)
        key_of: dict[tuple[int, int], str] = {}
        jobs: list[Job] = []
        claimed: set[str] = set()
        for user, points in enumerate(positions):
            for one in histories.passes(user, points):
                keys = self._prefix_keys(plan, one.text, one.reads)
                key_of.update({(user, p): key for p, key in zip(one.positions, keys, strict=True)})
                new = [(r, k) for r, k in zip(one.reads, keys, strict=True) if k not in claimed]
                claimed.update(k for _, k in new)
                if new:
                    jobs.append(Job(one.text, [r for r, _ in new], [k for _, k in new]))
        who, position = flat_positions(positions)
        self._summary.snapshots = len(who)
        asked = self._options.snapshots > 0
        self._summary.users_without_history = asked * sum(not points for points in positions)
        self._summary.history_events = histories.events
        self._summary.events_cut = asked * histories.events_cut
        self._summary.histories_cut = sum(window_start(int(p), histories.events) > 0 for p in position)
        keys = [key_of[int(u), int(p)] for u, p in zip(who, position, strict=True)]
        return self._work(plan, jobs), who, position, keys

    def _work(self, plan: PromptPlan, jobs: list[Job]) -> Work:
        return Work(plan, jobs, _hashes(plan, self._rule))

    # ------------------------------------------------------------------ keys

    def _key(self, plan: PromptPlan, ids: Sequence[int]) -> str:
        return self._prefix_keys(plan, ids, [len(ids)])[0]

    def _prefix_keys(self, plan: PromptPlan, ids: Sequence[int], reads: Sequence[int]) -> list[str]:
        """Hash of model, prompt and the tokens before each read: a longer history shares the keys of its prefixes."""
        data = np.asarray(ids, dtype=np.uint32).tobytes()
        start = hashlib.sha256(f"{self._lm.fingerprint}:{plan.sha256}:".encode())
        keys = []
        for read in reads:
            digest = start.copy()
            digest.update(data[: 4 * read])
            keys.append(digest.hexdigest())
        return keys

    # ------------------------------------------------------------------ computing what is missing

    def _complete(self, work: Work, name: str) -> dict[str, np.ndarray]:
        """Value and spread, shape (2, attributes), of every key in the jobs, from the store or the model."""
        keys = self._summary.attribute_keys
        # Hard scores have soft ones beside them, from which tuning learns.
        for sha256 in (*work.hashes, *_hashes(work.plan, self._rule.soft)):
            if sha256 not in keys:
                keys.append(sha256)
        known = self.stored(work)
        groups = lacking(work.jobs, known)
        need = demand(work.plan, groups, work.pairs)
        scored_before = self._summary.scored
        if groups:
            self._progress.log(f"{name}: {need}")
            total = sum(len(job.keys) for group in groups.values() for job in group)
            with self._progress.task(f"{name} ({self._lm.name})", total) as task:
                pause = Pause(self._progress, name)
                forecast = Forecast(self._progress, name, need.tokens)
                while groups:
                    others = [
                        job
                        for lacks, group in sorted(groups.items())
                        for job in self._compute(work, lacks, group, known, task, forecast)
                    ]
                    groups = lacking(others, known)
                    if groups:
                        pause.before_another_look(self._summary.passes)
        self._summary.from_store += work.pairs - (self._summary.scored - scored_before)
        return known

    def stored(self, work: Work) -> dict[str, np.ndarray]:
        """Value and spread, shape (2, attributes), of every key in the jobs, NaN for what the store lacks."""
        known = {key: np.full((2, len(work.hashes)), np.nan) for job in work.jobs for key in job.keys}
        work.fill(known, self._store.read_many(known, work.hashes))
        return known

    def _compute(
        self,
        work: Work,
        lacks: tuple[int, ...],
        jobs: list[Job],
        known: dict[str, np.ndarray],
        task: Task,
        forecast: Forecast,
    ) -> list[Job]:
        """Compute and store what these jobs lack; returns those that another process is computing, or has by now."""
        import torch

        from guided_refine.scoring.slots import SlotReader

        chosen = work.plan.select(lacks)
        reader: SlotReader | None = None
        prior: torch.Tensor | None = None
        others: list[Job] = []
        self._lm.model.eval()
        for batch in batches(jobs, chosen.slot_tokens, self._options.batch_tokens):
            claim = self._store.claim(
                [key for job in batch for key in job.keys], [work.hashes[a] for a in lacks]
            )
            work.fill(known, claim.scores.items())
            mine = [part for job in batch if (part := job.only(claim.granted)) is not None]
            others += [job for job in batch if not claim.granted.issuperset(job.keys)]
            if mine:
                if reader is None:
                    reader = SlotReader(self._lm.model, chosen)
                    with torch.no_grad():
                        prior = self._rule.prior(reader, self._lm.tokenizer)
                self._read(work, reader, prior, lacks, mine, known)
                self._say_once(reader.slower)
                forecast.add(sum(tokens(job, chosen) for job in mine))
            task.advance(sum(not np.isnan(known[key][0, lacks[0]]) for job in batch for key in job.keys))
        return others

    def _say_once(self, sentence: str) -> None:
        if sentence and sentence not in self._said:
            self._said.add(sentence)
            self._progress.log(sentence)

    def _read(
        self,
        work: Work,
        reader: SlotReader,
        prior: torch.Tensor | None,
        lacks: tuple[int, ...],
        jobs: list[Job],
        known: dict[str, np.ndarray],
    ) -> None:
        import torch

        with torch.no_grad():
            read = reader.digit_logits([job.text for job in jobs], [job.reads for job in jobs])
            value, spread = (part.cpu().numpy() for part in self._rule.scores(read.logits, prior))
        self._summary.passes += 1
        keys = [key for job in jobs for key in job.keys]
        self._summary.scored += len(keys) * len(lacks)
        who = Reader(
            self._lm.name, self._lm.fingerprint, self._lm.base_fingerprint, work.plan.kind, work.plan.sha256
        )

        def rows(hashes: list[str], values: np.ndarray) -> Iterator[StoredScore]:
            for row, key in enumerate(keys):
                for i, a in enumerate(lacks):
                    value, deviation = float(values[row, i]), float(spread[row, i])
                    name = work.plan.names[a]
                    yield StoredScore(key, hashes[a], value, deviation, self._cut_off, name, who)

        stored = list(rows(work.hashes, value))
        if self._rule.digits == "hard":
            # Soft ones cost nothing now: tuning needs them, and whoever turns back finds them. What is there stays.
            hashes, soft = _hashes(work.plan, self._rule.soft), self._rule.soft.scores(read.logits, prior)[0]
            there = self._store.get_many(keys, [hashes[a] for a in lacks])
            stored += [
                one for one in rows(hashes, soft.cpu().numpy()) if (one.text, one.attribute) not in there
            ]
        self._store.put_many(stored)
        for row, key in enumerate(keys):
            known[key][0, list(lacks)], known[key][1, list(lacks)] = value[row], spread[row]


def _hashes(plan: PromptPlan, rule: DigitRule) -> list[str]:
    """The store's keys of a plan's attributes."""
    return [rule.attribute_key(plan.attribute_sha256(a)) for a in range(len(plan.names))]


def _columns(rows: Sequence[np.ndarray | None], attributes: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack (2, attributes) rows, NaN where there is none, into value and spread of shape (rows, attributes)."""
    empty = np.full((2, attributes), np.nan)
    if not rows:
        return np.zeros((0, attributes)), np.zeros((0, attributes))
    stacked = np.stack([empty if row is None else row for row in rows])
    return stacked[:, 0], stacked[:, 1]
