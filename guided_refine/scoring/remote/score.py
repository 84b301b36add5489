"""Scoring a dataset by a model behind an address: what the store lacks is asked, and kept as it comes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guided_refine.config_remote import RemoteOptions
from guided_refine.errors import InputError
from guided_refine.progress import Progress, Task
from guided_refine.scoring.remote.asking import Answer, Asker, Exhausted, Stopped, Tally
from guided_refine.scoring.remote.budget import Budget
from guided_refine.scoring.remote.crew import Crew
from guided_refine.scoring.remote.endpoint import Endpoint
from guided_refine.scoring.remote.estimate import estimate
from guided_refine.scoring.remote.keeping import Elsewhere, Keeper, lacking, settled_mode
from guided_refine.scoring.remote.pace import Pace
from guided_refine.scoring.remote.questions import MODES, Form, Mode, Question
from guided_refine.scoring.remote.trouble import Trouble
from guided_refine.scoring.remote.workload import Asked, Workload
from guided_refine.scoring.scorer import ScoringSummary
from guided_refine.scoring.scores import AttributeScores, UserScores
from guided_refine.scoring.store import ScoreStore
from guided_refine.scoring.summary import FLAT
from guided_refine.scoring.waiting import Pause

_UNREADABLE_AT_FIRST = 10
"""So many texts without one readable line in a row at the start, and the model is not able to answer."""
_GIVEN_UP_IN_A_ROW = 3
"""So many texts given up with no answer in between, and the server is down."""
_REFUSED_IN_A_ROW = 20


@dataclass
class RemoteSummary(ScoringSummary):
    """What asking did, beside what scoring did: `unreadable` and `failed` count texts left without some or any score.

    `covered_mass` is the mean probability that the returned alternatives gave to the digits (None: not known), `tokens`
    what this run's requests cost, by the server's count where it gives one.
    """

    mode: str = ""
    requests: int = 0
    retries: int = 0
    asked_again: int = 0
    unreadable: int = 0
    failed: int = 0
    tokens: int = 0
    covered_mass: float | None = None


def score_remote(
    address: str,
    work: Workload,
    store: ScoreStore,
    *,
    ledger: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[AttributeScores, RemoteSummary]:
    """Score every item from its text and every user at his snapshots, one request a text, by `work.options.remote`.

    Answers go to `store` as they come: whatever ends the run, the next one asks only for the rest. Each text is claimed
    there before it is asked, so runs that share a store ask for it once between them. Texts whose answer stays unreadable
    are counted and left without a score; such a snapshot is left out where it has none at all. `ledger` is the account of
    the token budget, `seed` draws the pauses between tries.

    Raises `InputError` when the endpoint cannot be reached, refuses, or does not offer what is asked for, when no answer
    can be read, and when the token budget is used up.
    """
    progress = progress or Progress(quiet=True)
    progress.log(f"estimate: {estimate(work, store, ledger=ledger).sentence()}")
    with Budget(work.options.remote.max_tokens_total, ledger) as budget:
        scorer = _RemoteScorer(address, work, store, budget, seed, progress)
        try:
            scores = scorer.scores()
        finally:
            scorer.stop.set()
    progress.log(_sentence(scores.model, scorer.summary))
    return scores, scorer.summary


def _sentence(model: str, summary: RemoteSummary) -> str:
    parts = [
        f"untuned scores by {model} ({summary.mode}): {summary.items} items, {summary.snapshots} user snapshots; "
        f"{summary.scored} scores asked for, {summary.from_store} from the store; {summary.requests} requests, "
        f"{summary.tokens:,} tokens"
    ]
    counts = {
        f"{summary.retries} of them were repeated": summary.retries,
        f"{summary.unreadable} answers could not be read whole": summary.unreadable,
        f"{summary.failed} texts got no answer": summary.failed,
        f"{summary.items_without_text} items have no text and no score": summary.items_without_text,
        f"{summary.texts_cut} texts cut": summary.texts_cut,
        f"{summary.histories_cut} snapshots read the last {summary.history_events} events or fewer of more": (
            summary.histories_cut
        ),
        f"{summary.events_cut} items cut to the beginning of their text in histories": summary.events_cut,
        f"hardly varies over the catalog: {', '.join(summary.flat)}": len(summary.flat),
    }
    if summary.covered_mass is not None:
        parts.append(f"the digits had {summary.covered_mass:.1%} of the probability")
    return "; ".join(parts + [text for text, count in counts.items() if count])


def _left_without(found: object) -> bool:
    """Whether a question that was taken on ends without any score."""
    return isinstance(found, Trouble) or (isinstance(found, Answer) and not np.isfinite(found.value).any())


class _RemoteScorer:
    def __init__(
        self, address: str, work: Workload, store: ScoreStore, budget: Budget, seed: int, progress: Progress
    ) -> None:
        self._work = work
        self._store = store
        self._budget = budget
        self._seed = seed
        self._progress = progress
        self._options: RemoteOptions = work.options.remote
        self._endpoint = Endpoint(address, self._options)
        self._pace = Pace(self._options.requests_per_minute, self._options.tokens_per_minute)
        self._tally = Tally()
        self._spent_before = budget.spent
        self._masses: list[float] = []
        self._read_any = False
        self.stop = threading.Event()
        self.summary = RemoteSummary()

    def scores(self) -> AttributeScores:
        work, summary = self._work, self.summary
        if self._endpoint.key_in_the_clear:
            self._progress.log("WARNING: the address begins with http://, so the key travels unencrypted")
        mode = settled_mode(work, self._store)
        mode = self._agreed() if mode is None else mode
        items = work.asked("item", mode)
        summary.mode, summary.fingerprint = mode, items.form.fingerprint
        summary.attribute_keys = [attribute.sha256 for attribute in work.attributes.attributes]
        item = self._complete(items, "score items")
        user = self._complete(work.asked("user", mode), "score users")
        summary.items, summary.texts_cut = len(item), work.texts_cut
        summary.items_without_text = sum(not text.strip() for text in work.texts["item"])
        summary.text_tokens = work.options.text_tokens
        summary.history_events, summary.histories_cut = work.options.history_events, work.histories_cut
        summary.events_cut = work.events_cut
        summary.snapshots, summary.users_without_history = len(user), work.users_without_history
        summary.covered_mass = round(float(np.mean(self._masses)), 6) if self._masses else None
        known = np.isfinite(item[:, 0])
        names = work.attributes.names
        summary.flat = [
            n
            for a, n in enumerate(names)
            if not (known[:, a].any() and np.std(item[known[:, a], 0, a]) >= FLAT)
        ]
        # A history that could not be scored at all counts as not read: an earlier snapshot stands in for it.
        read = np.isfinite(user[:, 0]).any(axis=1)
        return AttributeScores(
            source="untuned",
            attributes=names,
            item_value=item[:, 0],
            item_spread=item[:, 1],
            users=UserScores(work.user[read], work.position[read], user[read, 0], user[read, 1]),
            model=self._options.model or "",
            cut_off=work.cut_off,
        )

    # ------------------------------------------------------------------ which mode

    def _agreed(self) -> Mode:
        """The first mode that the server offers, found with a real question whose answer is kept.

        Of runs that start at once one asks, the others wait for what it finds.
        """
        held: list[tuple[Keeper, Question]] = []
        try:
            return self._first_offered(held)
        finally:
            # Not earlier: until an answer is kept, whoever waits could not tell that a mode was refused.
            for keeper, question in held:
                keeper.release([question])

    def _first_offered(self, held: list[tuple[Keeper, Question]]) -> Mode:
        pause = Pause(self._progress, "finding the mode")
        for mode in MODES:
            one = self._work.asked("item", mode)
            first = next(iter(one.questions.values()), None)
            if first is None:
                return mode
            keeper = Keeper(self._store, self._work, one.form)
            while keeper.taken(first, partly=True) is not None:
                if (settled := settled_mode(self._work, self._store)) is not None:
                    return settled
                pause.before_another_look(self._tally.requests)
            held.append((keeper, first))
            if (settled := settled_mode(self._work, self._store)) is not None:
                return settled
            try:
                answer = self._asker(one.form, once=True).ask(first)
            except Trouble as trouble:
                if mode == MODES[-1] or trouble.kind == "again" or not self._other_mode(trouble):
                    raise self._given_up(trouble, mode, 0, 0) from trouble
                self._progress.log(f"mode {mode} is not offered: the server {trouble.reason}")
                continue
            except Exhausted as error:
                raise self._used_up(0, len(one.questions)) from error
            finally:
                self._count()
            whole = bool(np.isfinite(answer.value).all())
            if mode != "json" or whole:
                if whole:
                    keeper.put([answer])
                    self._note([answer])
                return mode
            self._progress.log("mode json is not offered: the server answers without the schema's JSON")
        raise AssertionError("the last mode is always taken")

    @staticmethod
    def _other_mode(trouble: Trouble) -> bool:
        """Whether a refusal may be about the mode: what cannot be told apart is tried."""
        return trouble.kind == "refused" or bool(trouble.features & set(MODES))

    # ------------------------------------------------------------------ asking for what is missing

    def _complete(self, one: Asked, name: str) -> np.ndarray:
        """Value and spread of every row, shape (rows, 2, attributes), NaN where there is none."""
        keeper = Keeper(self._store, self._work, one.form)
        attributes = len(one.form.labels)
        known = keeper.known(one.questions)
        questions = lacking(one, known)
        there = sum(int(np.isfinite(row[0]).sum()) for row in known.values())
        self.summary.from_store += there
        self._read_any = self._read_any or there > 0
        if questions:
            self._progress.note(
                f"{name}: {len(one.questions) - len(questions)} of {len(one.questions)} are in the store"
            )
            partial = frozenset(known)
            pause = Pause(self._progress, name)
            try:
                with self._progress.task(f"{name} ({self._options.model})", len(questions)) as task:
                    while questions:
                        questions = self._ask(one, questions, keeper, partial, known, task)
                        if questions:
                            pause.before_another_look(self._tally.requests)
            finally:
                self._count()
        empty = np.full((2, attributes), np.nan)
        rows = [known.get(question.key, empty) if question else empty for question in one.rows]
        return np.stack(rows) if rows else np.zeros((0, 2, attributes))

    def _ask(
        self,
        one: Asked,
        questions: list[Question],
        keeper: Keeper,
        partial: frozenset[str],
        known: dict[str, np.ndarray],
        task: Task,
    ) -> list[Question]:
        """Ask these and put what is found into `known`; returns those that another process is asking right now.

        `partial`: keys of questions of which some score was there from the start. What was answered is kept, also where
        this raises.
        """
        asker = self._asker(one.form)

        def ask(question: Question) -> Answer | Elsewhere:
            return keeper.taken(question, partly=question.key in partial) or asker.ask(question)

        crew = Crew(ask, questions, threads=min(self._options.concurrency, len(questions)), stop=self.stop)
        self.stop.clear()
        answers: list[Answer] = []
        others: list[Question] = []
        ended: InputError | BaseException | None = None
        given_up = 0
        for bunch in crew.results():
            fresh = [found for _, found in bunch if isinstance(found, Answer)]
            keeper.put(fresh)
            keeper.release(question for question, found in bunch if _left_without(found))
            answers += fresh
            self._note(fresh)
            for answer in fresh:
                row = known.setdefault(answer.question.key, np.full((2, len(answer.value)), np.nan))
                read = np.isfinite(answer.value)
                row[0, read], row[1, read] = answer.value[read], answer.spread[read]
            for question, found in bunch:
                if isinstance(found, Elsewhere):
                    if found.row is None:
                        others.append(question)
                    else:
                        known[question.key] = found.row
                        self.summary.from_store += int(np.isfinite(found.row[0]).sum())
                        self._read_any = True
                    continue
                given_up = given_up + 1 if isinstance(found, Trouble) else 0
                ended = ended or self._ending(found, given_up, one.form, len(answers), len(questions))
            task.advance(len(bunch) - sum(isinstance(f, Elsewhere) and f.row is None for _, f in bunch))
            ended = ended or self._all_unreadable(len(questions), answers)
            if ended is not None:
                crew.stop()
        self.stop.clear()
        if ended is not None:
            raise ended
        return others

    def _ending(
        self, found: Answer | BaseException, given_up: int, form: Form, done: int, total: int
    ) -> BaseException | None:
        """Why to stop because of one outcome; None to go on."""
        if isinstance(found, Exhausted):
            return self._used_up(done, total)
        if isinstance(found, Trouble):
            self.summary.failed += found.kind != "stop"
            stops = found.kind == "stop" or given_up >= self._patience(found, total)
            return self._given_up(found, form.mode, done, total) if stops else None
        return None if isinstance(found, Answer | Stopped) else found

    def _patience(self, trouble: Trouble, total: int) -> int:
        """After how many texts given up in a row it is the server and not the texts.

        Before anything was answered a server that fails is down. One that refuses may dislike single texts, and where
        earlier texts were scored these may be the last ones, which must not keep a run from ending.
        """
        if trouble.kind == "refused":
            return _REFUSED_IN_A_ROW if self._read_any else min(_GIVEN_UP_IN_A_ROW, total)
        return _GIVEN_UP_IN_A_ROW if self._tally.answered else 1

    def _all_unreadable(self, total: int, answers: list[Answer]) -> InputError | None:
        """The sentence for a model that cannot answer at all, once that is clear."""
        if self._read_any or len(answers) < min(_UNREADABLE_AT_FIRST, total):
            return None
        return InputError(
            f"{self._options.model} at {self._endpoint.address}: none of the first {len(answers)} answers could be "
            f"read, the last one began {' '.join(answers[-1].raw.split())[:80]!r}; use a model that follows "
            "instructions, or give it room to think with llm_options.remote.answer_tokens"
        )

    # ------------------------------------------------------------------ small things

    def _asker(self, form: Form, *, once: bool = False) -> Asker:
        options = self._options.model_copy(update={"asks": 1}) if once else self._options
        return Asker(
            self._endpoint.chat, form, options, self._budget, self._pace, self.stop, self._tally, self._seed
        )

    def _note(self, answers: list[Answer]) -> None:
        for answer in answers:
            read = np.isfinite(answer.value)
            self.summary.scored += int(read.sum())
            self.summary.unreadable += not read.all()
            self._read_any = self._read_any or bool(read.any())
            self._masses += answer.mass[np.isfinite(answer.mass)].tolist()

    def _count(self) -> None:
        self.summary.requests = self._tally.requests
        self.summary.retries = self._tally.retries
        self.summary.asked_again = self._tally.asked_again
        self.summary.tokens = self._budget.spent - self._spent_before

    def _given_up(self, trouble: Trouble, mode: Mode, done: int, total: int) -> InputError:
        hint = ""
        if mode in trouble.features and trouble.kind == "refused":
            others = " or ".join(other for other in MODES if other != mode)
            hint = f"; set llm_options.remote.mode to {others}"
        elif not trouble.reached:
            hint = "; start the server or correct llm"
        return InputError(f"{self._endpoint.address} {trouble.reason}{hint}; {self._kept(done, total)}")

    def _used_up(self, done: int, total: int) -> InputError:
        return InputError(
            f"the token budget is used up: {self._budget.spent:,} of {self._budget.limit or 0:,} tokens are spent and "
            "the next request may need more than is left; raise llm_options.remote.max_tokens_total and run again with "
            f"--update; {self._kept(done, total)}"
        )

    def _kept(self, done: int, total: int) -> str:
        if not done:
            return "what was scored before is kept"
        return f"{done:,} of {total:,} texts were answered and are kept, the same command goes on from there"
