"""The part of the configuration that says who teaches the `builtin` language model."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from guided_refine.config_section import Section

WORDS = "words"
"""The teacher of a builtin model for which no other is named: the words of the definitions."""


class TeacherOptions(Section):
    """Where `builtin` gets its weak labels from: `words`, `{encoder: FOLDER}` or `{distil: RUN or TABLE}`.

    >>> TeacherOptions.model_validate("words").is_words, TeacherOptions(distil="runs/big").model_dump()
    (True, {'distil': 'runs/big'})
    """

    encoder: str | None = Field(
        None, min_length=1, description="folder of a sentence encoder; relative to the config's folder"
    )
    distil: str | None = Field(
        None,
        min_length=1,
        description="a run folder, or a table of item_id, attribute, value: scores of a better model",
    )

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if value == WORDS:
            return {}
        if value is None or isinstance(value, str | int | float | list):
            raise ValueError(
                f"expected {WORDS}, {{encoder: FOLDER}} or {{distil: RUN or TABLE}}, not {value!r}"
            )
        return value

    @model_validator(mode="after")
    def _one(self) -> TeacherOptions:
        if self.encoder is not None and self.distil is not None:
            raise ValueError("encoder and distil are both given; a model has one teacher, remove one of them")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        given = {key: value for key, value in handler(self).items() if value is not None}
        return given or WORDS

    @property
    def is_words(self) -> bool:
        """True where the words of the definitions teach."""
        return self.encoder is None and self.distil is None


class WithTeacher(Section):
    """A section with the key `teacher`, which is left out of what is saved and hashed where it is the usual one.

    >>> WithTeacher().model_dump(), WithTeacher(teacher=TeacherOptions(encoder="minilm")).model_dump()
    ({}, {'teacher': {'encoder': 'minilm'}})
    """

    teacher: TeacherOptions = Field(TeacherOptions(), description="builtin only: who makes its weak labels")

    @model_serializer(mode="wrap")
    def _usual_teacher_unsaid(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs made before there was a choice keep their keys.
        said: dict[str, Any] = handler(self)
        if self.teacher.is_words:
            said.pop("teacher", None)
        return said
