"""Words and charts that belong together, as one piece of HTML.

A browser takes some milliseconds to put up each of Streamlit's headings, captions and columns, and none for these. What
can be clicked stays Streamlit's own. All text from outside is escaped here.
"""

from __future__ import annotations

from html import escape

import streamlit as st


def draw(*pieces: str) -> None:
    """Put pieces of HTML on the page, below each other and as wide as their place."""
    st.html(f'<div class="gr-block">{"".join(pieces)}</div>')


def heading(text: str) -> str:
    """What a part of the page is about."""
    return f"<h3>{escape(text)}</h3>"


def strong(text: str) -> str:
    """The name of one of several things beside each other."""
    return f'<p class="gr-strong">{escape(text)}</p>'


def says(text: str) -> str:
    """A sentence of the answer."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """How to read what stands above."""
    return f'<p class="gr-note">{escape(text)}</p>'


def beside(left: str, right: str, *, shares: tuple[int, int] = (1, 1)) -> str:
    """Two pieces beside each other where there is room, else below; `shares` of the width."""
    columns = f"minmax(0, {shares[0]}fr) minmax(0, {shares[1]}fr)"
    return f'<div class="gr-beside" style="grid-template-columns:{columns}"><div>{left}</div><div>{right}</div></div>'


def boxed(piece: str) -> str:
    """A piece that would be too long for its place, in a box that scrolls, by keyboard too."""
    return f'<div class="gr-box" tabindex="0">{piece}</div>'
