"""The colours of the dashboard's charts, on a light page and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from guided_refine.dashboard import DARK_PAGE
from guided_refine.reporting.palette import BLACK, BLUE, FOR, GREY, PALE

PARTS = 14
"""So many parts of a score are drawn each for itself."""


@dataclass(frozen=True)
class Tones:
    """What has to differ between a light page and a dark one; hues that carry a meaning stay."""

    ink: str
    muted: str
    pale: str
    paper: str
    raised: str


LIGHT = Tones(ink=BLACK, muted=GREY, pale=PALE, paper="#ffffff", raised=FOR)
DARK = Tones(ink=PALE, muted="#9aa0aa", pale="#353a44", paper=DARK_PAGE, raised="#3a9bdc")


def tones() -> Tones:
    """Those of the page as it is shown now."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def hue(colour: str) -> str:
    """A colour of the palette where it can be seen on this page: black is no line on black, deep blue hardly one."""
    now = tones()
    return {BLACK: now.ink, GREY: now.muted, PALE: now.pale, BLUE: now.raised}.get(colour, colour)
