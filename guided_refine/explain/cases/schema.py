"""The published schema of a case study's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guided_refine.files import read_json


def case_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what `case_study` returns: every key, none optional, none beside.

    >>> case_schema()["properties"]["schema_version"]
    {'const': 3}
    """
    schema: dict[str, Any] = read_json(Path(__file__).with_name("schema.json"))
    return schema
