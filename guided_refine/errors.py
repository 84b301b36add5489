"""The one error a user should ever read: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

_LISTED = 10


class InputError(ValueError):
    """The input or the configuration is wrong.

    The command line prints the sentence on standard error and exits with 2, without a traceback.

    >>> str(InputError("items.csv has no column 'title'; add one or name it with data.columns"))
    "items.csv has no column 'title'; add one or name it with data.columns"
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant, or list them when none is close: all, or the first ten of many.

    >>> nearest("sasrek", ["gru4rec", "sasrec"])
    "did you mean 'sasrec'?"
    >>> nearest("zzz", ["gru4rec", "sasrec"])
    'known: gru4rec, sasrec'
    >>> nearest("zzz", [str(i) for i in range(100, 200)])
    'known: 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, ... (100 in all)'
    """
    options = sorted(known)
    close = closest(name, options)
    if close is not None:
        return f"did you mean '{close}'?"
    if not options:
        return "there are none"
    more = f", ... ({len(options)} in all)" if len(options) > _LISTED else ""
    return f"known: {', '.join(options[:_LISTED])}{more}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, None where none is close.

    >>> closest("user_id", ["usr", "sku"])
    'usr'
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


# What pydantic calls a fault, and what a user is told instead; `{...}` are limits that come with the fault.
_FAULTS = {
    "missing": "is missing",
    "too_short": "needs at least {min_length} {entries}",
    "too_long": "takes at most {max_length} entries",
    "string_type": "expected text",
    "string_too_short": "needs at least {min_length} {characters}",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "extra_forbidden": "is not known",
}


def plain_fault(fault: Mapping[str, Any]) -> str:
    """One entry of a pydantic `ValidationError.errors()` in plain words, without the key that it is about.

    >>> plain_fault({"type": "string_type", "msg": "Input should be a valid string", "input": 5})
    'expected text, not 5'
    """
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    one = limits.get("min_length") == 1
    words = {"entries": "entry" if one else "entries", "characters": "character" if one else "characters"}
    said = _FAULTS[kind].format(**limits, **words) if kind in _FAULTS else str(fault["msg"])
    told = isinstance(fault["input"], (str, int, float, type(None))) and kind not in (
        "missing",
        "extra_forbidden",
    )
    return f"{said}, not {fault['input']!r}" if told else said
