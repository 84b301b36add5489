"""What pages say in HTML, read back: short tables and rows of bars. Only well-formed HTML can be read."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from xml.etree import ElementTree

import pandas as pd
from streamlit.testing.v1 import AppTest


def blocks_of(app: AppTest) -> list[str]:
    """The pieces of HTML on a page."""
    found = [str(block.proto.body) for block in app.get("html")]  # type: ignore[attr-defined]
    return [body for body in found if not body.startswith("<style>")]


def parts_of(app: AppTest) -> list[str]:
    """The tables and charts in the pieces of HTML on a page."""
    return [
        ElementTree.tostring(part, "unicode")
        for b in blocks_of(app)
        for part in _parts(ElementTree.fromstring(b))
    ]


def _parts(block: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in block:
        child.tail = None
        if {"gr", "gr-wide"} & set(child.get("class", "").split()):
            yield child
        else:
            yield from _parts(child)


def words_of(app: AppTest) -> list[str]:
    """The headings, sentences and notes in the pieces of HTML on a page."""
    roots = map(ElementTree.fromstring, blocks_of(app))
    return ["".join(e.itertext()) for root in roots for e in root.iter() if e.tag in ("h3", "p")]


def tables_of(app: AppTest) -> list[pd.DataFrame]:
    """The short tables of a page, whole numbers as numbers."""
    return [read_table(body) for body in parts_of(app) if "gr-table" in body]


def read_table(body: str) -> pd.DataFrame:
    """One table of HTML."""
    root = ElementTree.fromstring(body)
    heads = ["".join(cell.itertext()) for cell in root.iter("th")]
    lines = [["".join(cell.itertext()) for cell in row.iter("td")] for row in root.iter("tr")]
    rows = pd.DataFrame([line for line in lines if line], columns=heads)
    for column in rows:
        if rows[column].str.fullmatch(r"\d+").all():
            rows[column] = rows[column].astype(int)
    return rows


def bars_of(chart: str) -> list[tuple[str, str, float, float]]:
    """Name, number, left and right end (per cent) of the bar of each row of a chart of bars."""
    found = []
    for row in ElementTree.fromstring(chart).iter("div"):
        if row.get("class") != "gr-row":
            continue
        name = next(s for s in row if s.get("class") == "gr-name").text or ""
        bar = next(m for m in row.iter("i") if "gr-bar" in str(m.get("class")))
        left, width = (float(x) for x in re.findall(r"(?:left|width):([-\d.e]+)%", str(bar.get("style"))))
        number = next(row.iter("b")).text or ""
        found.append((name, number, left, left + width))
    return found


def drawn_lines(chart: str) -> str:
    """The picture in a chart of lines, as SVG."""
    source = next(e for e in ElementTree.fromstring(chart).iter("img")).get("src")
    return b64decode(str(source).removeprefix("data:image/svg+xml;base64,")).decode()
