"""All that is to be read of a dataset: items' texts and users' histories, each distinct text one question."""

from __future__ import annotations

from dataclasses import dataclass

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.histories import all_snapshots, flat_positions, window_start
from guided_refine.scoring.prompt import Kind
from guided_refine.scoring.remote.questions import Form, Mode, Question
from guided_refine.scoring.remote.texts import HistoryWords, TextMeasure

KINDS: tuple[Kind, ...] = ("item", "user")


@dataclass(frozen=True)
class Asked:
    """One kind of text in one mode: the form, the question of every text (None: nothing to read), and each distinct one."""

    form: Form
    rows: list[Question | None]
    questions: dict[str, Question]


class Workload:
    """Texts by kind: of every item (empty where it has none), and of every snapshot of every user.

    `user` and `position` (snapshots,) say whose history a text is and before which event it ends. Raises `InputError` when
    `options.remote.tokenizer` is no tokenizer's folder.
    """

    def __init__(self, dataset: Dataset, attributes: AttributeSet, options: LLMOptions) -> None:
        self.attributes = attributes
        self.options = options
        self.cut_off = dataset.split.cut_off
        self._measure = TextMeasure(options.remote.tokenizer)
        items = [self._measure.cut(text.strip(), options.text_tokens) for text in dataset.texts]
        histories = HistoryWords(dataset, options, self._measure)
        snapshots = all_snapshots(dataset, options.snapshots)
        self.user, self.position = flat_positions(snapshots)
        users = [histories.text(int(u), int(p)) for u, p in zip(self.user, self.position, strict=True)]
        self.texts: dict[Kind, list[str]] = {"item": [text for text, _ in items], "user": users}
        self.texts_cut = sum(cut for _, cut in items)
        self.users_without_history = (options.snapshots > 0) * sum(not points for points in snapshots)
        self.events_cut = (options.snapshots > 0) * histories.events_cut
        self.histories_cut = sum(window_start(int(p), options.history_events) > 0 for p in self.position)

    def asked(self, kind: Kind, mode: Mode) -> Asked:
        """The questions about one kind of text; equal texts are one question."""
        form = Form(self.attributes, kind, mode, self.options.remote, self._measure)
        rows = [form.question(text) if text.strip() else None for text in self.texts[kind]]
        return Asked(form, rows, {question.key: question for question in rows if question is not None})
