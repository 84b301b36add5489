"""One set of colours for every plot, the dashboard and the case studies, safe for colour-blind readers.

The hues are Okabe and Ito's ("Color Universal Design", 2008), which stay apart under all common forms of colour
blindness. A meaning keeps its colour everywhere: tuned scores are blue in the report and in the dashboard.
"""

from __future__ import annotations

BLACK, GREY, PALE = "#222222", "#8A8F98", "#E6E8EB"
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PINK, YELLOW = "#E69F00", "#D55E00", "#CC79A7", "#F0E442"

FOR, AGAINST = BLUE, VERMILION
"""A contribution that raises a score, and one that lowers it."""

SOURCES = {"untuned": ORANGE, "tuned": BLUE, "bag_of_words": GREY, "truth": GREEN}
"""Where attribute scores come from."""

VARIANTS = {
    "base": GREY,
    "refined": BLUE,
    "warm_restart": SKY,
    "pca_only": YELLOW,
    "guided_only": GREEN,
    "random_columns": PINK,
    "shuffled": VERMILION,
    "trainable_columns": BLACK,
    "untuned": ORANGE,
    "text_linear": "#4B2E83",
    "text_pca": "#A0522D",
    "id_plus_text": "#5B7F00",
}
"""Variants of a backbone; the refined one stands out, the base is neutral."""

CYCLE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PINK, YELLOW, BLACK)
COLLABORATIVE = GREY
