"""Short tables as plain HTML, which a narrow page breaks; all text from outside is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from dashboard_tones import DARK, tones

from guided_refine.reporting.palette import BLACK, BLUE, ORANGE


def table(
    rows: pd.DataFrame,
    *,
    text: str | tuple[str, ...] = "item",
    formats: Mapping[str, str] | None = None,
    most: int | None = None,
) -> str:
    """A table; its long columns `text` take what room there is and break, numbers stand to the right.

    `formats`: how numbers of a column are written, by default with two decimals unless they are whole; beyond `most` rows
    it scrolls.
    """
    ways = formats or {}
    long = (text,) if isinstance(text, str) else text
    heads = [f"<th{_classes(rows[column])}>{escape(str(column))}</th>" for column in rows.columns]
    lines = []
    for line in rows.itertuples(index=False):
        cells = "".join(
            f"<td{_classes(rows[column], column in long)}>{escape(_cell(value, ways.get(column, '.2f')))}</td>"
            for column, value in zip(rows.columns, line, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    head, body = "".join(heads), "".join(lines)
    room = "gr-wide gr-tall" if most is not None and len(rows) > most else "gr-wide"
    return f'<div class="{room}"><table class="gr-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(title: str, html: str) -> str:
    """Something drawn that opens when its title is clicked, in one piece: Streamlit's own takes two and a canvas."""
    return f'<details class="gr-fold"><summary>{escape(title)}</summary>{html}</details>'


def _classes(column: pd.Series, long: bool = False) -> str:
    names = ["gr-text"] * long + ["gr-right"] * bool(pd.api.types.is_numeric_dtype(column))
    return f' class="{" ".join(names)}"' if names else ""


def _cell(value: Any, way: str) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float):
        return format(value, way)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def heat_map(matrix: pd.DataFrame) -> str:
    """Rank correlations of all pairs, (attributes, attributes) with names on both sides; -1 orange, 0 paper, 1 blue."""
    now = tones()
    high = now.raised if now is DARK else BLUE

    def shade(value: float) -> str:
        return _between(now.paper, high if value > 0 else ORANGE, abs(value))

    return _coloured(matrix, shade, ".2f", said="+.2f", small=len(matrix) > 14)


def shaded(rows: pd.DataFrame, *, paper: str, full: str) -> str:
    """Shares, one row of names and one column of names; the largest has the full colour."""
    most = float(np.nanmax(rows.to_numpy())) if rows.size else 1.0
    return _coloured(
        rows, lambda value: _between(paper, full, value / (most or 1.0)), ".0%", said=".1%", small=False
    )


def _coloured(rows: pd.DataFrame, shade: Callable[[float], str], way: str, *, said: str, small: bool) -> str:
    """A table of coloured numbers; `small`: they stand only where one points."""
    heads = "".join(f"<th><span>{escape(str(name))}</span></th>" for name in rows.columns)
    lines = []
    for name, values in zip(map(str, rows.index), rows.to_numpy(dtype=float), strict=True):
        cells = []
        for other, value in zip(map(str, rows.columns), values, strict=True):
            known = not np.isnan(value)
            colour = shade(value) if known else tones().pale
            told = f"{name}, {other}: {format(value, said) if known else 'not known'}"
            shown = format(value, way) if known and not small else ""
            cells.append(
                f'<td style="background:{colour};color:{_ink_on(colour)}" title="{escape(told)}">{shown}</td>'
            )
        lines.append(f'<tr><th title="{escape(name)}">{escape(name)}</th>{"".join(cells)}</tr>')
    head = f"<thead><tr><th></th>{heads}</tr></thead>"
    if small:  # names above so narrow columns could not be read
        head = '<caption class="gr-title">columns in the order of the rows</caption>'
        head += '<colgroup><col class="gr-names"/></colgroup>'
    kind = "gr-heat gr-many" if small else "gr-heat"
    return (
        f'<div class="gr gr-wide"><table class="{kind}">{head}<tbody>{"".join(lines)}</tbody></table></div>'
    )


def _ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def _between(one: str, other: str, share: float) -> str:
    """The colour that lies this share of the way from one to the other."""
    first, last = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (one, other))
    return "#" + "".join(f"{round(v):02x}" for v in first + min(max(share, 0.0), 1.0) * (last - first))
