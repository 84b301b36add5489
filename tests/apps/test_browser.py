"""The dashboard as a stranger meets it: served by the command line, in a real browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BINARY, Page, browser
from matplotlib.image import imread
from tiny_run import EVIL

from guided_refine.runfolder import RunFolder

pytestmark = pytest.mark.skipif(
    not BINARY.exists() and not os.environ.get("CI"), reason=f"{BINARY} is not installed"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address(finished: RunFolder) -> Iterator[str]:
    """The dashboard served by `guided-refine app`, stopped as a user would stop it."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "guided_refine",
        "app",
        str(finished.root),
        "--port",
        str(port),
        "--headless",
    ]
    server = subprocess.Popen(command)
    address = f"http://localhost:{port}"
    end = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
            break
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the dashboard ended by itself"
            assert time.monotonic() < end, "the dashboard did not start"
            time.sleep(0.2)
    yield address
    server.send_signal(signal.SIGTERM)
    server.wait(timeout=30)
    with pytest.raises(OSError):
        socket.create_connection(("localhost", port), timeout=2).close()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize(
    ("path", "heading", "charts"),
    [
        ("", "What the run gained", 2),
        ("recommendations", "Why these items?", 3),
        ("items", "Items", 1),
        ("attributes", "Attributes", 2),
    ],
)
def test_a_page_shows_its_charts(
    address: str, tab: Page, tmp_path: Path, path: str, heading: str, charts: int
) -> None:
    drawn = "document.querySelectorAll('[data-testid=stVegaLiteChart] :is(svg, canvas)').length"
    tab.open(f"{address}/{path}", ready=f"document.querySelector('h1') && {drawn} >= {charts}")
    assert tab.evaluate("document.querySelector('h1').innerText.trim()") == heading
    assert not tab.evaluate("!!document.querySelector('[data-testid=stException]')")
    assert not tab.errors
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "nothing may be cut off at the side"
    picture = imread(tab.screenshot(tmp_path / "page.png"))
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 0.03, "the page is blank"


def test_a_title_with_markup_stays_text(address: str, tab: Page) -> None:
    tab.open(f"{address}/items", ready="document.querySelector('input[type=text]')")
    tab.evaluate("document.querySelector('input[type=text]').focus()")
    tab.call("Input.insertText", text="script bold")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
    heading = "[...document.querySelectorAll('h3')].map(h => h.innerText.trim())"
    end = time.monotonic() + 60
    while EVIL not in (found := tab.evaluate(heading)):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    assert not tab.evaluate("[...document.querySelectorAll('h3 b, h3 em, h3 code, h3 script')].length")
