"""`AttributeSet`: the named, readable scales on which a language model scores items and users."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from guided_refine.errors import InputError, nearest, plain_fault
from guided_refine.files import sha256_json
from guided_refine.resources import resource_folder
from guided_refine.strict_yaml import parse_yaml


class Attribute(BaseModel):
    """One scale: 1 is its low pole, 9 its high pole, for items ("how much has it") and users ("how much wanted")."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="lower case, words joined by underscores; becomes a column name")
    definition: str = Field(min_length=8, description="one sentence that says what is measured")
    low: str = Field(min_length=3, description="what a score of 1 looks like")
    high: str = Field(min_length=3, description="what a score of 9 looks like")
    item_question: str = Field(min_length=3)
    user_question: str = Field(min_length=3)

    @field_validator("name")
    @classmethod
    def _snake_case(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", value):
            raise ValueError(f"'{value}' is not a name like story_complexity (lower case, underscores)")
        return value

    @property
    def label(self) -> str:
        """The name as people read it: `story complexity`."""
        return self.name.replace("_", " ")

    @property
    def sha256(self) -> str:
        """Hash of all that a model reads of this attribute; part of the key in the score store."""
        return sha256_json(self.model_dump())


class AttributeSet(BaseModel):
    """A versioned list of attributes for one domain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    version: int = Field(ge=1)
    description: str = ""
    attributes: tuple[Attribute, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _distinct(self) -> AttributeSet:
        names = self.names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"attribute '{twice[0]}' is defined twice")
        return self

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [a.name for a in self.attributes]

    @property
    def sha256(self) -> str:
        """Hash of the whole set."""
        return sha256_json(self.model_dump())


def available() -> list[str]:
    """Names of the attribute sets that come with the package.

    >>> "movies" in available()
    True
    """
    return sorted(p.stem for p in resource_folder("attributes").glob("*.yaml"))


def load_attributes(name_or_file: str | Path) -> AttributeSet:
    """Load a set by name (`movies`) or from the user's own YAML file.

    Raises `InputError` when it is unknown, unreadable or not valid; the sentence names file and key.

    >>> load_attributes("movies").domain
    'movies'
    """
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"}:
        if str(name_or_file) not in available():
            raise InputError(
                f"no attribute set '{name_or_file}': {nearest(str(name_or_file), available())} "
                "(or give the path of a .yaml file)"
            )
        path = resource_folder("attributes") / f"{name_or_file}.yaml"
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"attribute file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(
            f"attribute file {path} is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    try:
        return AttributeSet.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"attribute file {path}: {where}: {plain_fault(first)}") from error
