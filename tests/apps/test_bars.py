"""Charts and tables that are HTML: what is drawn is what is said, and nothing from outside is more than text."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import bars_of, drawn_lines, read_table
from tiny_run import EVIL

from guided_refine.explain.words import COLLABORATIVE
from guided_refine.resources import resource_folder

sys.path.insert(0, str(resource_folder("apps")))
import dashboard_bars as bars
from dashboard_lines import lines
from dashboard_scale import Scale
from dashboard_tables import heat_map, shaded, table

TAGS = {
    "div",
    "span",
    "i",
    "b",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "img",
    "caption",
    "colgroup",
    "col",
}
PLACE = re.compile(
    r"(left|right|top|bottom|width):(calc\(-?[\d.e-]+% \+ 4px\)|-?[\d.e-]+%)|opacity:[\d.]+|(background|color):#\w{6}"
)
SAID = {"class", "style", "title", "role", "aria-label", "alt", "src"}


def parts(*values: float) -> list[dict[str, Any]]:
    """Parts of a score: similar histories first."""
    names = [COLLABORATIVE, *(f"attribute {n}" for n in range(1, len(values)))]
    return [{"name": n, "label": n, "value": v, "lift": v} for n, v in zip(names, values, strict=True)]


def every_chart(title: str) -> dict[str, str]:
    """One of each kind, with a title from outside."""
    item = {"rank": 1, "item_id": title, "title": title, "score": 1.0, "parts": parts(2.0, -1.0)}
    named = [{**part, "label": title} for part in parts(2.0, -1.0)]
    rows = pd.DataFrame([{"label": title, "score": 0.5, "low": 0.1, "median": 0.4, "high": 0.9}])
    gained = pd.DataFrame([{"label": title, "variant": "refined", "mean": 0.1, "lower": 0.0, "upper": 0.2}])
    return {
        "stacked": bars.stacked([item, {**item, "parts": named}]),
        "waterfall": bars.waterfall(named, 1.0, total=title),
        "signed": bars.signed([(title, -0.5)]),
        "profile": bars.profile(rows, mine=title),
        "gains": bars.gains(gained, title),
        "lines": lines(
            pd.DataFrame({"epoch": [1, 2], "ndcg": [0.1, 0.2], "series": [title, title]}),
            "epoch",
            "ndcg",
            "series",
            x_title=title,
            y_title=title,
        ),
        "intervals": bars.intervals(
            pd.DataFrame([{"label": title, "by": title, "mean": 0.1, "lower": 0.0, "upper": 0.2}] * 2),
            title,
            by="by",
            shades={title: "#0072B2"},
            zero=False,
            digits=".3f",
        ),
        "ranges": bars.ranges(
            pd.DataFrame(
                [
                    dict.fromkeys(("p10", "p25", "median", "p75", "p90"), 0.5)
                    | {"label": title, "source": title}
                ]
            ),
            {title: "#0072B2", "tuned": "#0072B2"},
        ),
        "swarm": bars.swarm([(title, [(0.1, 0.2, 0.5), (-0.1, 0.0, None)])], title),
        "heat map": heat_map(pd.DataFrame([[1.0, -0.5], [-0.5, float("nan")]], [title, "b"], [title, "b"])),
        "large heat map": heat_map(pd.DataFrame(0.5, [title] * 15, [title] * 15)),
        "shaded": shaded(pd.DataFrame([[0.4]], [title], [title]), paper="#ffffff", full="#0072B2"),
        "table": table(pd.DataFrame({title: [1], "item": [title]})),
    }


@pytest.mark.parametrize("title", [EVIL, "\"onmouseover='alert(1)'", "</style><script>", "a & b < c"])
def test_text_from_outside_stays_text(title: str) -> None:
    for kind, body in every_chart(title).items():
        root = ElementTree.fromstring(body)
        assert title in "".join(root.itertext()), kind
        assert {e.tag for e in root.iter()} <= TAGS, kind
        assert {a for e in root.iter() for a in e.attrib} <= SAID, kind


def test_no_place_is_given_by_text() -> None:
    for body in every_chart("x:url(evil)").values():
        for style in re.findall(r'style="([^"]*)"', body):
            for part in style.strip(";").split(";"):
                assert PLACE.fullmatch(part), style


@given(st.lists(st.floats(-50, 50).map(lambda v: round(v, 6)), min_size=1, max_size=40))
def test_everything_lies_within_its_track(values: list[float]) -> None:
    scale = Scale.over(values)
    for value in values:
        assert 0 <= scale.at(value) <= 100
        left, width = (float(x) for x in re.findall(r"([-\d.e]+)%", scale.span(0.0, value)))
        assert left >= 0 and left + width <= 100.01
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 7
    assert all(
        scale.low - 1e-6 * (scale.high - scale.low) <= t <= scale.high + 1e-6 * (scale.high - scale.low)
        for t in ticks
    )


def test_a_waterfall_goes_from_zero_to_the_score() -> None:
    rows = bars_of(bars.waterfall(parts(3.0, -1.0, 0.5), 2.5, total="score"))
    assert [name for name, *_ in rows][-1] == "= score"
    assert [number for _, number, _, _ in rows] == ["+3.000", "−1.000", "+0.500", "+2.500"]
    # The track goes from 0 to 3.
    assert [(left, right) for *_, left, right in rows] == [
        (0, 100),
        (pytest.approx(66.67, abs=0.02), 100),
        (pytest.approx(66.67, abs=0.02), pytest.approx(83.33, abs=0.02)),
        (0, pytest.approx(83.33, abs=0.02)),
    ]


def test_a_stacked_bar_says_all_its_parts_and_ends_where_they_sum() -> None:
    item = {"rank": 1, "item_id": "i", "title": "", "score": 2.0, "parts": parts(1.0, -1.0, 2.0)}
    root = ElementTree.fromstring(bars.stacked([item]))
    track = next(e for e in root.iter("div") if e.get("role") == "img")
    assert track.get("aria-label") == f"{COLLABORATIVE} +1.000, attribute 2 +2.000, attribute 1 -1.000"
    # The track goes from -1 to 3: zero lies at a quarter, the score at three quarters.
    score = next(e for e in track if e.get("class") == "gr-end")
    assert score.get("style") == "left:75%"
    widths = [
        float(re.findall(r"width:([\d.]+)%", str(e.get("style")))[0])
        for e in track
        if "gr-part" in str(e.get("class"))
    ]
    assert widths == [25, 50, 25]
    assert "1. i" in "".join(root.itertext()), "an item without a title is shown by its id"


def test_a_line_goes_through_its_points() -> None:
    rows = pd.DataFrame({"epoch": [1, 2, 5], "ndcg": [0.1, 0.3, 0.2], "variant": ["base"] * 3})
    body = lines(rows, "epoch", "ndcg", "variant", x_title="epoch", y_title="NDCG")
    points = ElementTree.fromstring(drawn_lines(body))[0].get("points")
    at = [tuple(float(x) for x in pair.split(",")) for pair in str(points).split()]
    assert [x for x, _ in at] == [0, 25, 100]
    # A twentieth of what the values span is left free above and below.
    assert [y for _, y in at] == pytest.approx([100 * (1 - 0.05 / 1.1), 100 * 0.05 / 1.1, 50], abs=0.01)
    assert "highest 0.3000 at epoch 2, last 0.2000 at 5" in body
    assert "gr-legend" not in body, "one line needs no key"
    constant = rows.assign(ndcg=0.2)
    assert "nan" not in lines(constant, "epoch", "ndcg", "variant", x_title="epoch", y_title="NDCG")


def test_what_was_not_scored_has_no_point() -> None:
    rows = pd.DataFrame([{"label": "humour", "score": float("nan"), "low": 0.1, "median": 0.4, "high": 0.9}])
    body = bars.profile(rows, mine="item")
    assert "gr-dot" not in body and "–" in "".join(ElementTree.fromstring(body).itertext())
    assert "nan" not in bars.profile(rows.assign(median=float("nan")), mine="item")


def test_an_interval_that_is_not_known_is_not_told() -> None:
    rows = pd.DataFrame([{"label": "humour", "by": "one seed", "mean": 0.1, "lower": None, "upper": None}])
    body = bars.intervals(
        rows.astype({"lower": float, "upper": float}),
        "gain",
        by="by",
        shades={"one seed": "#0072B2"},
        zero=True,
        digits=".2f",
    )
    assert "gr-dot" in body and "nan" not in body and "interval" not in body


def test_a_table_is_read_back_as_it_was() -> None:
    rows = pd.DataFrame({"rank": [1, 2], "item": [EVIL, "b"], "note": ["", "taken next"]})
    pd.testing.assert_frame_equal(read_table(table(rows)), rows)
    assert ">0.12<" in table(pd.DataFrame({"item": ["a"], "distance": [0.1234]}))


def test_nothing_to_draw_is_no_fault() -> None:
    none = pd.DataFrame({"epoch": [1.0], "ndcg": [float("nan")], "variant": ["base"]})
    assert "No NDCG was measured" in lines(none, "epoch", "ndcg", "variant", x_title="epoch", y_title="NDCG")
    empty = pd.DataFrame(columns=["label", "variant", "mean", "lower", "upper"], dtype=float)
    assert "gr-dot" not in bars.gains(empty, "NDCG")
    missing = pd.DataFrame({"item": ["a", "b"], "correlation": [None, float("nan")]}, dtype=object)
    assert "None" not in table(missing) and "nan" not in table(missing)


def test_every_class_that_is_drawn_is_in_the_style_sheet() -> None:
    sheet = Path(bars.SHEET).read_text(encoding="utf-8")
    used = {
        c
        for body in every_chart("x").values()
        for cs in re.findall(r'class="([^"]*)"', body)
        for c in cs.split()
    }
    assert {c for c in used if f".{c}" not in sheet} == set()
