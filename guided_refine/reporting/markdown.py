"""Markdown that holds whatever a title or a name throws at it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence


def escape(text: object) -> str:
    """Text that a Markdown reader shows as it is: no HTML, no table cell broken, no accidental emphasis or link.

    >>> escape("A|B <b>*x*</b>")
    'A\\\\|B &lt;b&gt;\\\\*x\\\\*&lt;/b&gt;'
    """
    plain = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", plain)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: first column left, the others right. Cells must be escaped already.

    >>> table(["a", "b"], [["x", "1"]])
    ['| a | b |', '|:--|--:|', '| x | 1 |', '']
    """
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def number(value: float | None, digits: int = 4) -> str:
    """A number for a cell, a dash where there is none.

    >>> number(0.12345), number(None), number(float("nan"))
    ('0.1235', '–', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A number with its sign.

    >>> signed(0.01), signed(-0.01)
    ('+0.0100', '-0.0100')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 4, *, sign: bool = True) -> str:
    """Bounds in brackets.

    >>> interval(-0.01, 0.02, 2)
    '[-0.01, +0.02]'
    """
    shown = signed if sign else number
    return f"[{shown(low, digits)}, {shown(high, digits)}]"


def p_value(p: float | None) -> str:
    """A p as papers print it.

    >>> p_value(0.0004), p_value(0.0312), p_value(None)
    ('< 0.001', '0.031', '–')
    """
    if p is None or not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
