"""The page: well formed, self-contained, small, complete, and readable on a narrow screen, in the dark and on paper."""

from __future__ import annotations

import copy
import os
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chromium import BINARY, Page, browser
from tiny_run import EVIL

from guided_refine.errors import InputError
from guided_refine.explain.cases.glossary import GLOSSARY, WEIGHT
from guided_refine.explain.cases.page import LIMIT, case_page
from guided_refine.explain.encoder_answer import strongest
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import case_study, export_case
from guided_refine.runfolder import RunFolder

EMPTY = {"meta", "br", "line"}


class Reader(HTMLParser):
    """Tags, addresses and words of a page; fails where tags do not close in the order they opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], "never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def case(finished: RunFolder) -> dict[str, Any]:
    return case_study(Explainer.open(finished.root), "u1", item="i3")


def test_it_says_what_its_words_mean(case: dict[str, Any]) -> None:
    words = " ".join(" ".join(Reader(case_page(case)).words).split())
    for name, meaning in (*GLOSSARY, ("weight", WEIGHT)):
        assert name in words and meaning in words
    for item in case["recommendations"]:
        assert all(f"{part['lift']:+.3f}" in words for part in item["parts"])


def test_it_needs_nothing_else_and_shows_titles_as_text(case: dict[str, Any]) -> None:
    page = case_page(case)
    reader = Reader(page)
    assert not {"script", "img", "iframe", "link", "a", "object", "form"} & set(reader.tags)
    assert reader.links == []
    assert "url(" not in page and "@import" not in page and "http://www" not in page
    assert "default-src 'none'" in page
    assert EVIL in "".join(reader.words)


def test_it_holds_every_part_and_every_sentence(case: dict[str, Any]) -> None:
    words = " ".join(" ".join(Reader(case_page(case)).words).split())
    for item in [*case["recommendations"], case["asked"], case["next"]]:
        assert f"score {item['score']:+.3f}" in words and item["reason"] in words
        assert f"[{item['item_id']}]" in words, "what --item takes"
        assert all(f"{part['value']:+.3f}" in words for part in item["parts"])
    for row in case["profile"]:
        assert f"{row['score']:.2f}" in words and f"{row['spread']:.2f}" in words
    for item in case["moved"]["came"]:
        assert f"base {item['base_rank']} → refined {item['rank']}" in words
        assert all(f"{part['value']:+.3f}" in words for part in item["parts"])
    said = [*case["summary"], case["confidence"]["sentence"], case["trial"]["sentence"]]
    said += [change["sentence"] for change in case["counterfactuals"]["changes"]]
    said += case["through_encoder"]["sentences"]
    assert all(one in words for one in said)
    view = case["through_encoder"]
    for row in [*view["attributes"], *strongest(view["events"])]:
        assert f"{row['value']:+.3f}" in words
    assert all(f"{row['direct']:+.3f}" in words for row in view["attributes"])
    assert f"Through the encoder: {view['title']}" in words and "View: direct" in words
    assert "Through the encoder" not in case_page(case | {"through_encoder": None})
    for fact in (
        case["provenance"]["split_sha256"][:16],
        case["provenance"]["config_sha256"][:16],
        "seed 0 (the run's seeds: 0)",
    ):
        assert fact in words


LONG = "Ein sehr langer Titel <&> " * 200


def grown(case: dict[str, Any], attributes: int, items: int, title: str = LONG) -> dict[str, Any]:
    """The case with so many attributes and recommendations, all with one title."""
    big = copy.deepcopy(case)

    def many(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            rows[n % len(rows)] | {"label": f"attribute with a long name, number {n}"}
            for n in range(attributes)
        ]

    big["profile"] = many(big["profile"])
    for item in big["recommendations"] + big["moved"]["came"]:
        item["parts"], item["title"] = many(item["parts"]), title
    big["through_encoder"]["attributes"] = many(big["through_encoder"]["attributes"])
    for item in [big["through_encoder"], *big["through_encoder"]["events"]]:
        item["title"] = title
    for item in big["history"] + big["base"]:
        item["title"] = title
    big["recommendations"] = [big["recommendations"][n % 5] for n in range(items)]
    return big


def test_it_stays_small_with_many_attributes_and_long_titles(case: dict[str, Any]) -> None:
    page = case_page(grown(case, 64, 200))
    Reader(page)
    assert len(page.encode()) < LIMIT / 2
    assert "The first 20 are shown with all parts" in page


def test_a_page_that_would_be_too_large_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="stays below 2; ask for fewer than 5 items"):
        case_page(grown(case, 64, 6000, "Heat"))


need_browser = pytest.mark.skipif(
    not BINARY.exists() and not os.environ.get("CI"), reason=f"{BINARY} is not installed"
)


@need_browser
def test_in_a_browser_nothing_is_cut_off_and_the_dark_is_dark(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "case.html"
    big = grown(case, 20, 30)
    for row in big["confidence"]["attributes"]:
        # As a run has it that knows the truth: the widest table there is.
        row |= {
            "n": 12345,
            "correlation": -0.25,
            "lower": -0.31,
            "upper": -0.19,
            "label": "emotional intensity",
        }
    path.write_text(case_page(big), encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        page.visit(path.as_uri())
        end = time.monotonic() + 60
        while page.evaluate("document.readyState") != "complete" or not page.evaluate("document.title"):
            assert time.monotonic() < end
            time.sleep(0.1)
        for width in (390, 1280):
            page.size(width, 900)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(_CUT) == []
        assert shade(page) > 600
        page.scheme("dark")
        assert shade(page) < 150
        page.scheme("dark", "print")
        assert shade(page) > 600, "paper is light"
        assert page.errors == []


@need_browser
def test_on_paper_names_stay_on_one_line(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "case.html"
    path.write_text(case_page(case), encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        page.visit(path.as_uri())
        page.scheme("light", "print")
        page.size(695, 1000)  # A4 without its margins
        names = "[...document.querySelectorAll('.parts:not(.long) td:first-child')]"
        assert page.evaluate(f"{names}.length") > 50
        broken = f"{names}.filter(e => e.getBoundingClientRect().height > 1.9 * parseFloat(getComputedStyle(e).fontSize))"
        assert page.evaluate(f"{broken}.map(e => e.textContent)") == []


# Elements whose text reaches out of the page to the right.
_CUT = """[...document.querySelectorAll('td, th, p, li, h1, h3, dd')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.textContent.slice(0, 60))"""


def shade(page: Page) -> int:
    """Red, green and blue of the background, summed: 765 is white."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


@need_browser
def test_it_prints(finished: RunFolder, tmp_path: Path) -> None:
    page = export_case(finished.root, "u2", "html", tmp_path / "case.html")
    command = [
        str(BINARY),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--print-to-pdf={tmp_path / 'case.pdf'}",
    ]
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    assert (tmp_path / "case.pdf").read_bytes().startswith(b"%PDF")
