"""Who teaches the builtin model: the words of the definitions, a sentence encoder, or a better model's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from guided_refine.config_teacher import WORDS, TeacherOptions
from guided_refine.data.dataset import Dataset
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin.teacher import WeakLabels, weak_labels


class Teacher(Protocol):
    """What the pre-training asks of a teacher."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What the labels depend on beside texts and attributes; part of the model's key."""

    @property
    def sentence(self) -> str:
        """Who taught, for the model's card."""

    def check(self, attributes: AttributeSet) -> None:
        """Raise `InputError` for what can be known to fail before there are data."""

    def labels(
        self, dataset: Dataset, attributes: AttributeSet, *, seed: int, progress: Progress
    ) -> WeakLabels:
        """A label for every item of the catalog; reads no interaction."""


class Words:
    """The usual teacher: words of the definitions and what keeps company with them; see `weak_labels`."""

    recipe: dict[str, Any] = {"teacher": WORDS}  # noqa: RUF012 (never changed)
    sentence = (
        "Its teacher were the words of the attributes' own definitions and the words that keep them company."
    )

    def check(self, attributes: AttributeSet) -> None:
        """Definitions are always there."""

    def labels(
        self, dataset: Dataset, attributes: AttributeSet, *, seed: int, progress: Progress
    ) -> WeakLabels:
        """`weak_labels` of the catalog's texts."""
        return weak_labels(dataset.texts, attributes, seed=seed)


def choose_teacher(options: TeacherOptions, config_folder: Path = Path()) -> Teacher:
    """The teacher that the configuration asks for; relative paths start from `config_folder`.

    >>> choose_teacher(TeacherOptions()).recipe
    {'teacher': 'words'}
    """
    if options.distil is not None:
        from guided_refine.scoring.builtin.distil import Distilled

        return Distilled(config_folder / Path(options.distil).expanduser())
    if options.encoder is not None:
        from guided_refine.scoring.builtin.encoder import SentenceEncoder

        return SentenceEncoder(config_folder / Path(options.encoder).expanduser())
    return Words()
