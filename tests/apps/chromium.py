"""A page of the dashboard in a real browser, driven over Chromium's own debugging protocol."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

BINARY = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Page:
    """One tab. Waits look at the page itself, so nothing depends on how fast the machine is."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.sent = socket, 0
        self.errors: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("id") == self.sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, *, ready: str, seconds: float = 90) -> None:
        """Go to `url` and wait until the expression `ready` holds and Streamlit has stopped drawing."""
        self.call("Page.navigate", url=url)
        calm = (
            "!!document.querySelector('[data-testid=stApp]') && "
            "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning' && "
            "!document.querySelector('[data-testid=stSkeleton]')"
        )
        end = time.monotonic() + seconds
        held = 0
        while held < 4:
            held = held + 1 if self.evaluate(f"{calm} && !!({ready})") else 0
            if time.monotonic() > end:
                raise TimeoutError(f"{url} was not ready: {self.evaluate('document.body.innerText')}")
            time.sleep(0.25)

    def fit(self, width: int) -> None:
        """Make the window as high as the page's content."""
        height = self.evaluate(
            "Math.ceil(document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight)"
        )
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=int(height) + 20,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path, width: int = 1400) -> Path:
        """A PNG of the whole page."""
        self.fit(width)
        time.sleep(1.0)
        self.fit(width)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a new, empty profile, closed at the end."""
    command = [str(BINARY), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().strip()):
            if time.monotonic() > end or process.poll() is not None:
                raise TimeoutError("chromium did not start")
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(t for t in json.load(answer) if t["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket)
            page.call("Runtime.enable")
            page.call("Page.enable")
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=1400,
                height=1000,
                deviceScaleFactor=1,
                mobile=False,
            )
            yield page
    finally:
        process.terminate()
        process.wait(timeout=30)
