"""A file name for any user id: safe on every system, inside the folder, and no two ids share one."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED = {
    "index",
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
KEPT = 40
"""So many characters of an id stay readable in front of its hash."""


def file_stem(user: str) -> str:
    """The name without its ending. An id of small ASCII letters, digits, `-` and `_` is its own name; any other
    gets what is readable of it, a point, and its hash. A point is in no plain name, and the hash tells ids apart that
    differ only in case or in what was left out.

    >>> file_stem("u42"), file_stem("U42"), file_stem("../a/b")
    ('u42', 'u42.df5564d977b5a776', 'a_b.8e7e11e418be0303')
    """
    if _PLAIN.fullmatch(user) and user not in _RESERVED:
        return user
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9-]+", "_", user.lower()).strip("_-")[:KEPT].rstrip("_-")
    return f"{readable or 'user'}.{digest}"
