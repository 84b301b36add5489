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


CALM = (
    "!!document.querySelector('[data-testid=stApp]') && "
    "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning' && "
    "!document.querySelector('[data-testid=stSkeleton]')"
)
CHARTS = "document.querySelectorAll('[data-testid=stVegaLiteChart] :is(svg, canvas)').length"
"""How many charts are drawn."""
KEYS = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27}


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
            message = json.loads(self.socket.recv(timeout=120))
            self._hear(message)
            if message.get("id") == self.sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def _hear(self, message: dict[str, Any]) -> None:
        """Keep what the console calls an error: exceptions, console.error, and what the browser itself complains of."""
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            if "/_stcore/" in params["entry"].get("url", "") and "404" in params["entry"]["text"]:
                return  # on a page's own address Streamlit looks for its server below that page first
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, *, ready: str, seconds: float = 150) -> None:
        """Go to `url` and wait until the expression `ready` holds and Streamlit has stopped drawing."""
        self.call("Page.navigate", url=url)
        self.wait(ready, seconds)

    def wait(self, ready: str, seconds: float = 150) -> None:
        """Wait until the expression `ready` holds and Streamlit has stopped drawing."""
        end = time.monotonic() + seconds
        held = 0
        while held < 4:
            held = held + 1 if self.evaluate(f"{CALM} && !!({ready})") else 0
            if time.monotonic() > end:
                raise TimeoutError(f"{ready} did not come: {self.evaluate('document.body.innerText')}")
            time.sleep(0.25)

    # ---------------------------------------------------------------- what a reader does

    def click(self, element: str) -> None:
        """Press the left mouse button in the middle of what the expression `element` finds."""
        self.evaluate(f"({element}).scrollIntoView({{block: 'center'}})")
        time.sleep(0.2)
        box = self.evaluate(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(({element}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key that has a name."""
        typed = {"text": "\r"} if key == "Enter" else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=KEYS[key],
                    **(typed if kind == "keyDown" else {}),
                )

    def downloads_to(self, folder: Path) -> None:
        """Let files be saved, into this folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def downloaded(self, folder: Path, seconds: float = 120) -> Path:
        """The one file that was saved there, once it is whole."""
        end = time.monotonic() + seconds
        while True:
            files = [p for p in folder.iterdir() if p.suffix != ".crdownload" and not p.name.startswith(".")]
            if len(files) == 1 and files[0].stat().st_size:
                return files[0]
            if time.monotonic() > end:
                raise TimeoutError(f"nothing was saved to {folder}")
            time.sleep(0.2)

    # ---------------------------------------------------------------- how it looks

    def size(self, width: int, height: int) -> None:
        """Size of the window in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def scheme(self, name: str) -> None:
        """What the reader's system prefers: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def fit(self, width: int) -> None:
        """Make the window as high as the page's content."""
        height = self.evaluate(
            "Math.ceil(document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight)"
        )
        self.size(width, int(height) + 20)

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
            page.call("Log.enable")
            page.call("Page.enable")
            page.size(1400, 1000)
            yield page
    finally:
        process.terminate()
        process.wait(timeout=30)
