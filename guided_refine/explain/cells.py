"""Text and bars in the cells of a terminal."""

from __future__ import annotations

import unicodedata


def bar(value: float, largest: float, width: int) -> str:
    """A bar of `width` cells at most: solid, in eighths of a cell, for what raises; shaded for what lowers.

    >>> bar(0.5, 1.0, 4), bar(-1.0, 1.0, 2), bar(0.125, 1.0, 2)
    ('██  ', '░░', '▎ ')
    """
    share = min(abs(value) / largest, 1.0) if largest else 0.0
    if value < 0:
        return ("░" * round(share * width)).ljust(width)
    full, rest = divmod(round(share * width * 8), 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)


def clean(text: str) -> str:
    """Text without control and formatting characters, which could rewrite a terminal.

    >>> clean("A\\x1b[31m red" + chr(10) + "film")
    'A[31m red film'
    """
    kept = (
        " " if c.isspace() else c
        for c in str(text)
        if c.isspace() or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    return " ".join("".join(kept).split())


def cells(text: str) -> int:
    """How many terminal cells a text takes: wide East Asian characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def clip(text: str, width: int) -> str:
    """Clean text in at most `width` terminal cells, cut with an ellipsis.

    >>> clip("The Good, the Bad and the Ugly", 12)
    'The Good, t…'
    """
    text = clean(text)
    if cells(text) <= width:
        return text
    used = 0
    for place, c in enumerate(text):
        used += cells(c)
        if used > width - 1:
            return text[:place].rstrip() + "…"
    return text


def pad(text: str, width: int) -> str:
    """Fill up with spaces to `width` terminal cells."""
    return text + " " * max(0, width - cells(text))
