"""The dashboard as a stranger meets it: served by the command line, in a real browser."""

from __future__ import annotations

import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import BINARY, CHARTS, Page, browser
from matplotlib.image import imread
from serving import served
from tiny_run import EVIL

from guided_refine.cli import main
from guided_refine.runfolder import RunFolder

pytestmark = pytest.mark.skipif(
    not BINARY.exists() and not os.environ.get("CI"), reason=f"{BINARY} is not installed"
)
FRAME = "document.querySelector('[data-testid=stIFrame]')"
TEXT = "document.body.innerText"


@pytest.fixture(scope="module")
def address(finished: RunFolder) -> Iterator[str]:
    """The dashboard served by `guided-refine app`, stopped as a user would stop it."""
    with served(finished.root) as address:
        yield address
    with pytest.raises(OSError):
        socket.create_connection(("localhost", int(address.rpartition(":")[2])), timeout=2).close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def tab(opened: Page) -> Page:
    """A light page of usual size, nothing complained of yet."""
    opened.errors.clear()
    opened.scheme("light")
    opened.size(1400, 1000)
    return opened


def cut_off(tab: Page) -> int:
    """Pixels by which the page is wider than its window."""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    main = "(m => m.scrollWidth - m.clientWidth)(document.querySelector('[data-testid=stMain]'))"
    return int(max(tab.evaluate(wide), tab.evaluate(main)))


def choose(tab: Page, box: str, text: str) -> None:
    """Type into the select box with this label and take what it offers."""
    field = (
        "[...document.querySelectorAll('[data-testid=stSelectbox]')]"
        f".find(b => b.innerText.includes('{box}')).querySelector('input')"
    )
    tab.click(field)
    tab.write(text)
    tab.press("Enter")


def go(tab: Page, name: str) -> None:
    """Click a page's name at the side."""
    tab.click(
        "[...document.querySelectorAll('[data-testid=stSidebarNavLink]')]"
        f".find(a => a.innerText.includes('{name}'))"
    )


@pytest.mark.parametrize(
    ("path", "heading", "charts"),
    [
        ("", "What the run gained", 2),
        ("recommendations", "Why these items?", 4),
        ("items", "Items", 1),
        ("attributes", "Attributes", 4),
    ],
)
def test_a_page_shows_its_charts(
    address: str, tab: Page, tmp_path: Path, path: str, heading: str, charts: int
) -> None:
    tab.open(f"{address}/{path}", ready=f"document.querySelector('h1') && {CHARTS} >= {charts}")
    assert tab.evaluate("document.querySelector('h1').innerText.trim()") == heading
    assert not tab.evaluate("!!document.querySelector('[data-testid=stException]')")
    assert not tab.errors
    assert cut_off(tab) <= 0, "nothing may be cut off at the side"
    picture = imread(tab.screenshot(tmp_path / "page.png"))
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 0.03, "the page is blank"


def test_the_main_path(address: str, tab: Page, tmp_path: Path) -> None:
    """Overview, recommendations of one user, a slider, why not, an item, a case as a file: and no word on the console."""
    tab.open(address, ready=f"{CHARTS} >= 2")
    tab.screenshot(tmp_path / "overview.png")
    tab.size(1400, 1000)

    go(tab, "Recommendations")
    tab.wait(f"{CHARTS} >= 4 && document.querySelector('h1').innerText.includes('Why these items?')")
    choose(tab, "User", "u7")
    tab.wait(
        "[...document.querySelectorAll('[data-testid=stSelectbox] input')].some(i => i.value === 'u7') "
        f"&& {CHARTS} >= 4"
    )
    slider = (
        "[...document.querySelectorAll('[data-testid=stSlider]')]"
        ".find(s => s.innerText.includes('suspense')).querySelector('input[type=range]')"
    )
    before = float(tab.evaluate(f"{slider}.value"))
    tab.evaluate(f"{slider}.focus()")
    tab.press("ArrowRight" if before < 0.7 else "ArrowLeft", 25)
    tab.wait(f"{TEXT}.includes('were not in the list before')")
    after = float(tab.evaluate(f"{slider}.value"))
    assert abs(after - before) == pytest.approx(0.25, abs=0.011)
    choose(tab, "Not that one", "4.")
    tab.wait(f"{TEXT}.includes('the bars sum to that')")
    tab.screenshot(tmp_path / "recommendations.png")
    tab.size(1400, 1000)

    go(tab, "Items")
    tab.wait(
        "document.querySelector('h1').innerText.trim() === 'Items' && document.querySelector('input[type=text]')"
    )
    tab.click("document.querySelector('[data-testid=stTextInput] input')")
    tab.write("script bold")
    tab.press("Enter")
    heading = "[...document.querySelectorAll('h3')].map(h => h.innerText.trim())"
    tab.wait(f"{heading}.some(h => h.includes('alert')) && {CHARTS} >= 1")
    assert EVIL in tab.evaluate(heading), "a title with markup stays text"
    assert not tab.evaluate("[...document.querySelectorAll('h3 b, h3 em, h3 code, h3 script')].length")
    tab.screenshot(tmp_path / "items.png")
    tab.size(1400, 1000)

    go(tab, "Case studies")
    tab.wait(FRAME)
    buttons = "[...document.querySelectorAll('[data-testid=stDownloadButton] button')]"
    tab.click(f"{buttons}.find(b => b.innerText.trim().endsWith('HTML'))")
    tab.wait(FRAME)
    file = tab.downloaded(tmp_path / "down")
    assert file.suffix == ".html" and file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert file.read_text(encoding="utf-8") == tab.evaluate(f"{FRAME}.srcdoc")
    tab.screenshot(tmp_path / "cases.png")

    assert not tab.errors
    for picture in tmp_path.glob("*.png"):
        assert imread(picture)[..., :3].std() > 0.03, f"{picture.name} is blank"


def test_two_dashboards_may_show_one_run_but_not_on_one_port(
    address: str, finished: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in finished.root.rglob("*")}
    with served(finished.root) as other:
        assert other != address
        for one in (address, other):
            assert urllib.request.urlopen(f"{one}/_stcore/health", timeout=60).read() == b"ok"
        port = other.rpartition(":")[2]
        assert main(["app", str(finished.root), "--port", port, "--headless"]) == 2
    assert f"port {port} is in use" in capsys.readouterr().err
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in finished.root.rglob("*")} == before


def test_a_dark_system_gets_a_dark_page_with_readable_charts(address: str, tab: Page, tmp_path: Path) -> None:
    tab.scheme("dark")
    tab.open(f"{address}/recommendations", ready=f"{CHARTS} >= 4")
    picture = imread(tab.screenshot(tmp_path / "dark.png"))[..., :3]
    brightness = picture.mean(axis=2)
    assert np.median(brightness) < 0.25, "the page is dark"
    assert (brightness > 0.75).mean() > 0.004, "and what is written on it is light"
    inks = tab.evaluate(
        "[...document.querySelectorAll('.gr, .gr-table')].map(c => getComputedStyle(c).color)"
    )
    assert len(inks) >= 6 and not tab.errors
    for ink in inks:
        assert min(int(part) for part in re.findall(r"\d+", ink)) > 150, "names and numbers are light"


@pytest.mark.parametrize("path", ["", "recommendations", "items", "attributes", "compare", "cases"])
def test_a_phone_needs_no_scrolling_to_the_side(address: str, tab: Page, path: str) -> None:
    tab.size(390, 844)
    tab.open(f"{address}/{path}", ready="document.querySelector('h1')")
    assert cut_off(tab) <= 0
    beyond = tab.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain] :is(h1, h3, p, canvas, svg.marks, button, input,"
        " .gr *, .gr-table *)')]"
        ".filter(e => e.type !== 'range' && e.offsetParent !== null && !e.closest('[data-testid=stDataFrame], .gr-wide')"
        " && e.getBoundingClientRect().right > 391).map(e => e.tagName + ' ' + e.innerText)"
    )
    assert beyond == []
    assert not tab.errors


def test_the_keyboard_reaches_the_next_page_and_its_choices(address: str, tab: Page) -> None:
    """Tab to the name of a page and press Enter; Tab to the choice of users, type, Enter."""
    tab.open(address, ready=f"{CHARTS} >= 2")
    _tab_until(tab, "document.activeElement.innerText?.includes('Recommendations')")
    tab.press("Enter")
    tab.wait(f"document.querySelector('h1').innerText.includes('Why these items?') && {CHARTS} >= 4")
    _tab_until(tab, "document.activeElement.closest('[data-testid=stSelectbox]')?.innerText.includes('User')")
    tab.write("u9")
    tab.press("Enter")
    tab.wait(
        "[...document.querySelectorAll('[data-testid=stSelectbox] input')].some(i => i.value === 'u9') "
        f"&& {CHARTS} >= 4"
    )
    _tab_until(tab, "document.activeElement.type === 'range'")
    assert not tab.errors


def _tab_until(tab: Page, reached: str) -> None:
    for _ in range(60):
        tab.press("Tab")
        if tab.evaluate(f"!!({reached})"):
            return
    raise AssertionError(f"Tab never reached: {reached}")
