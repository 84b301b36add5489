"""A page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import ConsoleMessage, Download, sync_playwright
from playwright.sync_api import Page as Tab

BINARY = Path("/usr/bin/chromium")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

CALM = (
    "!!document.querySelector('[data-testid=stApp]') && "
    "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning' && "
    "!document.querySelector('[data-testid=stSkeleton]')"
)
CHARTS = "document.querySelectorAll('.gr').length"
"""How many charts are drawn."""


class Page:
    """One tab. Elements are named by JavaScript expressions; waits look at the page itself, not at the clock."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.errors: list[str] = []
        self.downloads: list[Download] = []
        self.devtools = tab.context.new_cdp_session(tab)
        tab.on("console", self._hear)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("download", lambda download: self.downloads.append(download))

    def _hear(self, message: ConsoleMessage) -> None:
        """Keep what the console calls an error: console.error, and what the browser itself complains of."""
        url = str(message.location.get("url", ""))
        if message.type not in ("error", "assert"):
            return
        if "/_stcore/" in url and "404" in message.text:
            return  # on a page's own address Streamlit looks for its server below that page first
        self.errors.append(f"{message.text} {url}")

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.tab.evaluate(script)

    def visit(self, url: str) -> None:
        """Go to `url`, and wait for nothing."""
        self.tab.goto(url, wait_until="commit")

    def open(self, url: str, *, ready: str, seconds: float = 150) -> None:
        """Go to `url` and wait until the expression `ready` holds and Streamlit has stopped drawing."""
        self.visit(url)
        self.wait(ready, seconds)

    def wait(self, ready: str, seconds: float = 150) -> None:
        """Wait until the expression `ready` holds and Streamlit has stopped drawing."""
        end = time.monotonic() + seconds
        held = 0
        # What an expression looks into may not be there yet.
        asked = f"(() => {{ try {{ return {CALM} && !!({ready}) }} catch {{ return false }} }})()"
        while held < 4:
            held = held + 1 if self.evaluate(asked) else 0
            if time.monotonic() > end:
                raise TimeoutError(f"{ready} did not come: {self.evaluate('document.body.innerText')}")
            self.tab.wait_for_timeout(250)

    # ---------------------------------------------------------------- what a reader does

    def click(self, element: str) -> None:
        """Click on what the expression `element` finds, once it can be clicked on."""
        found = self.tab.evaluate_handle(element).as_element()
        assert found is not None, f"there is no {element}"
        found.click()

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.tab.keyboard.insert_text(text)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key by its name."""
        for _ in range(times):
            self.tab.keyboard.press(key)

    def downloaded(self, folder: Path, seconds: float = 120) -> Path:
        """The file that was asked for last, saved in `folder` under the name that the page gave it."""
        end = time.monotonic() + seconds
        while not self.downloads:
            if time.monotonic() > end:
                raise TimeoutError("no download began")
            self.tab.wait_for_timeout(200)
        asked = self.downloads.pop()
        path = folder / asked.suggested_filename
        asked.save_as(path)
        return path

    # ---------------------------------------------------------------- how it looks

    def size(self, width: int, height: int) -> None:
        """Size of the window in pixels; a narrow one is a phone's."""
        self.devtools.send(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, name: Literal["light", "dark"], media: Literal["screen", "print"] = "screen") -> None:
        """What the reader's system prefers, and whether this is for paper."""
        self.tab.emulate_media(color_scheme=name, media=media)

    def fit(self, width: int) -> None:
        """Make the window as high as the page's content."""
        height = self.evaluate(
            "Math.ceil(document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight)"
        )
        self.size(width, int(height) + 20)

    def screenshot(self, path: Path, width: int = 1400) -> Path:
        """A PNG of the whole page."""
        self.fit(width)
        self.tab.wait_for_timeout(1000)
        self.fit(width)
        self.tab.screenshot(path=path, animations="disabled")
        return path


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a new, empty profile, closed at the end."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=BINARY, args=list(FLAGS), no_viewport=True, accept_downloads=True
        )
        try:
            page = Page(context.pages[0])
            page.size(1400, 1000)
            yield page
        finally:
            context.close()
