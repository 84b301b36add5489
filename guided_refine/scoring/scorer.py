"""Scoring a whole dataset: what the store lacks is computed, in batches of similar length, and stored at once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.histories import HistoryTexts, all_snapshots, flat_positions
from guided_refine.scoring.prompt import PromptPlan, build_prompt, tokenise_texts
from guided_refine.scoring.scores import AttributeScores, UserScores
from guided_refine.scoring.store import ScoreStore, StoredScore

if TYPE_CHECKING:
    from guided_refine.scoring.language_model import LanguageModel

logger = logging.getLogger(__name__)

FLAT = 0.02
"""An attribute whose item scores deviate less than this (on the 0-1 scale) tells items apart no better than noise."""


@dataclass
class ScoringSummary:
    """What scoring did: counts for the log and the report.

    `scored` and `from_store` count (text, attribute) pairs, equal texts once. `texts_cut` counts items whose text was
    longer than `text_tokens`; `history_events` is the window in use, shorter than asked where the context is short.
    """

    items: int = 0
    items_without_text: int = 0
    texts_cut: int = 0
    text_tokens: int = 0
    snapshots: int = 0
    users_without_history: int = 0
    history_events: int = 0
    histories_cut: int = 0
    scored: int = 0
    from_store: int = 0
    passes: int = 0
    flat: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Job:
    """A text with the points at which it is to be read, and the store's key of each."""

    text: list[int]
    reads: list[int]
    keys: list[str]


def score_dataset(
    language_model: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    options: LLMOptions,
    store: ScoreStore,
    *,
    source: str,
    progress: Progress | None = None,
) -> tuple[AttributeScores, ScoringSummary]:
    """Score every item from its text and every user along his history (DESIGN ideas 2 and 3).

    Only pairs of text and attribute that `store` lacks are computed: an added attribute costs its own column, an added
    item its own row. Items without text get NaN. `source` ("untuned" or "tuned") names the scores.

    Raises `InputError` when the tokenizer has no single-token digits, the context is too short (the sentence names the
    numbers), or the model gives logits that are not finite.
    """
    progress = progress or Progress(quiet=True)
    summary = ScoringSummary()
    scorer = _Scorer(language_model, attributes, options, store, dataset.split.cut_off, summary, progress)
    item_value, item_spread = scorer.items(dataset)
    users = scorer.users(dataset)
    deviation = np.nanstd(item_value, axis=0) if summary.items else np.zeros(len(attributes.names))
    summary.flat = [n for n, d in zip(attributes.names, deviation, strict=True) if not d >= FLAT]
    progress.log(_sentence(language_model.name, source, summary))
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
        parts.append(f"{summary.histories_cut} snapshots read at most {summary.history_events} events")
    if summary.flat:
        parts.append(f"hardly varies over the catalog: {', '.join(summary.flat)}")
    return "; ".join(parts)


class _Scorer:
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
        self._store = store
        self._cut_off = cut_off
        self._summary = summary
        self._progress = progress

    def items(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Value and spread, each (n_items, attributes)."""
        plan = build_prompt(self._lm.tokenizer, self._attributes, "item", chat=self._options.chat)
        limit = min(self._options.text_tokens, plan.text_room(self._lm.context))
        texts = [text.strip() for text in dataset.texts]
        rows = tokenise_texts(self._lm.tokenizer, texts, limit)
        self._summary.items = len(texts)
        self._summary.text_tokens = limit
        self._summary.texts_cut = sum(cut for _, cut in rows)
        self._summary.items_without_text = sum(not ids for ids, _ in rows)
        keys = [self._key(plan, ids) if ids else None for ids, _ in rows]
        jobs = {
            key: _Job(ids, [len(ids)], [key])
            for key, (ids, _) in zip(keys, rows, strict=True)
            if key is not None
        }
        known = self._complete(plan, list(jobs.values()), "score items")
        return _columns([known.get(key) if key else None for key in keys], len(plan.names))

    def users(self, dataset: Dataset) -> UserScores:
        """Scores at every snapshot, each from the events before it only."""
        plan = build_prompt(self._lm.tokenizer, self._attributes, "user", chat=self._options.chat)
        histories = HistoryTexts(self._lm.tokenizer, dataset, self._options, plan.text_room(self._lm.context))
        positions = all_snapshots(dataset, self._options.snapshots)
        key_of: dict[tuple[int, int], str] = {}
        jobs: list[_Job] = []
        claimed: set[str] = set()
        for user, points in enumerate(positions):
            for one in histories.passes(user, points):
                keys = self._prefix_keys(plan, one.text, one.reads)
                key_of.update({(user, p): key for p, key in zip(one.positions, keys, strict=True)})
                new = [(r, k) for r, k in zip(one.reads, keys, strict=True) if k not in claimed]
                claimed.update(k for _, k in new)
                if new:
                    jobs.append(_Job(one.text, [r for r, _ in new], [k for _, k in new]))
        who, position = flat_positions(positions)
        self._summary.snapshots = len(who)
        self._summary.users_without_history = sum(not points for points in positions)
        self._summary.history_events = histories.events
        if histories.events < self._options.history_events:
            self._summary.histories_cut = int((position > histories.events).sum())
        known = self._complete(plan, jobs, "score users")
        ordered = [known[key_of[int(u), int(p)]] for u, p in zip(who, position, strict=True)]
        value, spread = _columns(ordered, len(plan.names))
        return UserScores(who, position, value, spread)

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

    def _complete(self, plan: PromptPlan, jobs: list[_Job], name: str) -> dict[str, np.ndarray]:
        """Value and spread, shape (2, attributes), of every key in the jobs, from the store or the model."""
        hashes = [plan.attribute_sha256(a) for a in range(len(plan.names))]
        column = {h: a for a, h in enumerate(hashes)}
        known = {key: np.full((2, len(hashes)), np.nan) for job in jobs for key in job.keys}
        for (key, attribute), pair in self._store.get_many(known, hashes).items():
            known[key][:, column[attribute]] = pair
        groups: dict[tuple[int, ...], list[_Job]] = {}
        for job in jobs:
            missing: dict[tuple[int, ...], list[int]] = {}
            for place, key in enumerate(job.keys):
                lacks = tuple(np.flatnonzero(np.isnan(known[key][0])).tolist())
                missing.setdefault(lacks, []).append(place)
            for lacks, places in missing.items():
                self._summary.from_store += len(places) * (len(hashes) - len(lacks))
                self._summary.scored += len(places) * len(lacks)
                if lacks:
                    part = _Job(
                        job.text[: max(job.reads[p] for p in places)],
                        [job.reads[p] for p in places],
                        [job.keys[p] for p in places],
                    )
                    groups.setdefault(lacks, []).append(part)
        if groups:
            total = sum(len(job.keys) for group in groups.values() for job in group)
            lacking = sum(len(lacks) * len(job.keys) for lacks, group in groups.items() for job in group)
            self._progress.note(
                f"{name}: {len(known) * len(hashes) - lacking} of {len(known) * len(hashes)} scores are in the store"
            )
            with self._progress.task(f"{name} ({self._lm.name})", total) as task:
                for lacks, group in sorted(groups.items()):
                    for batch in self._compute(plan, lacks, group, hashes, known):
                        task.advance(batch)
        return known

    def _compute(
        self,
        plan: PromptPlan,
        lacks: tuple[int, ...],
        jobs: list[_Job],
        hashes: list[str],
        known: dict[str, np.ndarray],
    ) -> Iterator[int]:
        import torch

        from guided_refine.scoring.slots import SlotReader, soft_scores

        chosen = plan.select(lacks)
        reader = SlotReader(self._lm.model, chosen)
        self._lm.model.eval()
        for batch in batches(jobs, chosen.slot_tokens, self._options.batch_tokens):
            with torch.no_grad():
                read = reader.digit_logits([job.text for job in batch], [job.reads for job in batch])
                value, spread = (part.cpu().numpy() for part in soft_scores(read.logits))
            self._summary.passes += 1
            keys = [key for job in batch for key in job.keys]
            self._store.put_many(
                StoredScore(key, hashes[a], float(value[row, i]), float(spread[row, i]), self._cut_off)
                for row, key in enumerate(keys)
                for i, a in enumerate(lacks)
            )
            for row, key in enumerate(keys):
                known[key][0, list(lacks)], known[key][1, list(lacks)] = value[row], spread[row]
            yield len(keys)


def batches(jobs: Sequence[_Job], slot_tokens: int, budget: int) -> Iterator[list[_Job]]:
    """Jobs of similar cost together, longest first (a pass that does not fit fails at once), `budget` tokens a pass."""
    ordered = sorted(jobs, key=lambda job: (-len(job.reads), -len(job.text), job.keys[0]))
    batch: list[_Job] = []
    longest = 0
    for job in ordered:
        longest_now = max(longest, len(job.text))
        row = longest_now + len((batch or [job])[0].reads) * slot_tokens
        if batch and row * (len(batch) + 1) > budget:
            yield batch
            batch, longest_now = [], len(job.text)
        batch.append(job)
        longest = longest_now
    if batch:
        yield batch


def _columns(rows: Sequence[np.ndarray | None], attributes: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack (2, attributes) rows, NaN where there is none, into value and spread of shape (rows, attributes)."""
    empty = np.full((2, attributes), np.nan)
    if not rows:
        return np.zeros((0, attributes)), np.zeros((0, attributes))
    stacked = np.stack([empty if row is None else row for row in rows])
    return stacked[:, 0], stacked[:, 1]
