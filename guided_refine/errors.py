"""The one error a user should ever read: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The input or the configuration is wrong.

    The command line prints the sentence on standard error and exits with 2, without a traceback.

    >>> str(InputError("items.csv has no column 'title'; add one or name it with data.columns"))
    "items.csv has no column 'title'; add one or name it with data.columns"
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant, or list them all when none is close.

    >>> nearest("sasrek", ["gru4rec", "sasrec"])
    "did you mean 'sasrec'?"
    >>> nearest("zzz", ["gru4rec", "sasrec"])
    'known: gru4rec, sasrec'
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(options)}" if options else "there are none"
