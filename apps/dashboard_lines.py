"""Lines over steps: an SVG that stretches with the page, and labels beside it that do not.

Streamlit takes SVG out of a page's HTML, so it comes as a picture; only numbers and colours of ours are in it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from dashboard_scale import Scale, signs
from dashboard_tones import hue

from guided_refine.reporting.palette import FOR, VARIANTS
from guided_refine.reporting.style import label


def lines(
    rows: pd.DataFrame,
    x: str,
    y: str,
    series: str,
    *,
    x_title: str,
    y_title: str,
    shades: Mapping[str, str] | None = None,
    whole: bool = True,
    within: Sequence[float] = (),
) -> str:
    """One line per value of `series`; `whole`: x counts something, so only whole numbers stand below it.

    `shades`: the colour of each series, by default of the variant that it names; `within`: more values that the scale of
    y has to hold.
    """
    shades = shades or {name: hue(VARIANTS.get(name, FOR)) for name in map(str, rows[series])}
    rows = rows.dropna(subset=[x, y])
    if rows.empty:
        return f'<div class="gr">No {escape(y_title)} was measured.</div>'
    across, up = Scale.between(rows[x]), Scale.between([*rows[y], *within], room=0.05)
    keys, drawn, told_all = [], [], []
    for name, line in rows.groupby(series, sort=False):
        told, shade = label(str(name), 99), shades[str(name)]
        best, last = line.loc[line[y].idxmax()], line.iloc[-1]
        said = f"{told}: highest {best[y]:.4f} at {x} {best[x]:g}, last {last[y]:.4f} at {last[x]:g}"
        points = " ".join(
            f"{across.at(a):.4g},{100 - up.at(b):.4g}" for a, b in zip(line[x], line[y], strict=True)
        )
        keys.append(
            f'<span title="{escape(said)}"><i class="gr-key" style="background:{shade}"></i>{escape(told)}</span>'
        )
        told_all.append(said)
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{shade}" stroke-width="2" stroke-linejoin="round" '
            'vector-effect="non-scaling-stroke"/>'
        )
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="100%" viewBox="0 0 100 100" '
        f'preserveAspectRatio="none">{"".join(drawn)}</svg>'
    )
    source = f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"
    levels = "".join(
        f'<i class="gr-level" style="bottom:{up.at(tick):.4g}%"><span>{signs(format(tick, ".4g"))}</span></i>'
        for tick in up.ticks()
    )
    steps = "".join(
        f'<i class="gr-step" style="left:{across.at(tick):.4g}%">{tick:g}</i>'
        for tick in across.ticks()
        if not whole or tick == round(tick)
    )
    legend = f'<div class="gr-legend">{"".join(keys)}</div>' if len(keys) > 1 else ""
    image = f'<img alt="{escape("; ".join(told_all))}" src="{source}"/>'
    return (
        f'<div class="gr">{legend}<div class="gr-title">{escape(y_title)}</div>'
        f'<div class="gr-plot">{levels}{steps}{image}</div><div class="gr-title">{escape(x_title)}</div></div>'
    )
