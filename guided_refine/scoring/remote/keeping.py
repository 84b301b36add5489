"""The score store as asking sees it: all that is written to it and read from it stands here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guided_refine.scoring.remote.asking import Answer
from guided_refine.scoring.remote.questions import MODES, Form, Mode, Question
from guided_refine.scoring.remote.workload import KINDS, Asked, Workload
from guided_refine.scoring.store import Reader, ScoreStore, StoredScore


@dataclass(frozen=True)
class Elsewhere:
    """A question that another process has taken on; `row` (2, attributes) is what it has found, None until then."""

    question: Question
    row: np.ndarray | None


class Keeper:
    """Reads and writes the scores of one form."""

    def __init__(self, store: ScoreStore, work: Workload, form: Form) -> None:
        self._store = store
        self._names = work.attributes.names
        self._hashes = [attribute.sha256 for attribute in work.attributes.attributes]
        model = work.options.remote.model or ""
        self._reader = Reader(model, form.fingerprint, form.fingerprint, form.kind, form.sha256)
        self._cut_off = work.cut_off

    def known(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """Value and spread, shape (2, attributes), of every text of which the store has a score; NaN for what it lacks."""
        return self._rows(self._store.get_many(keys, self._hashes))

    def taken(self, question: Question, *, partly: bool = False) -> Elsewhere | None:
        """Take a question on, so that no other process asks it at the same time; None where it is now this one's to ask.

        With `partly` a question that has some of its scores is still to be asked: what a process knew to be incomplete.
        Without it such scores came from another process meanwhile, and stand.
        """
        claim = self._store.claim([question.key], self._hashes, partly=partly)
        if question.key in claim.granted:
            return None
        return Elsewhere(question, self._rows(claim.scores).get(question.key))

    def release(self, questions: Iterable[Question]) -> None:
        """Let go of questions that got no score, so that another process may try them."""
        keys = [question.key for question in questions]
        if keys:
            self._store.release(keys)

    def _rows(self, scores: Mapping[tuple[str, str], tuple[float, float]]) -> dict[str, np.ndarray]:
        column = {sha256: a for a, sha256 in enumerate(self._hashes)}
        found: dict[str, np.ndarray] = {}
        for (key, attribute), (value, spread) in scores.items():
            row = found.setdefault(key, np.full((2, len(column)), np.nan))
            row[:, column[attribute]] = value, spread
        return found

    def put(self, answers: Sequence[Answer]) -> None:
        """Store what was read, all answers in one step. What was written stands beside each text's first score."""
        self._store.put_many(score for answer in answers for score in self._scores(answer))

    def _scores(self, answer: Answer) -> Iterable[StoredScore]:
        written: str | None = answer.raw
        for a in np.flatnonzero(np.isfinite(answer.value)):
            yield StoredScore(
                answer.question.key,
                self._hashes[a],
                float(answer.value[a]),
                float(answer.spread[a]),  # NaN for a bare digit, of whose distribution nothing is known
                self._cut_off,
                name=self._names[a],
                reader=self._reader,
                raw=written,
            )
            written = None


def settled_mode(work: Workload, store: ScoreStore) -> Mode | None:
    """The mode that the config or earlier answers in the store settle; None where only the server can say."""
    given = work.options.remote.mode
    if given != "auto":
        return given
    for mode in MODES:
        for kind in KINDS:
            one = work.asked(kind, mode)
            if Keeper(store, work, one.form).known(one.questions):
                return mode
    return None


def lacking(one: Asked, known: dict[str, np.ndarray]) -> list[Question]:
    """Questions of which some attribute has no score yet."""
    return [q for key, q in one.questions.items() if key not in known or bool(np.isnan(known[key][0]).any())]
