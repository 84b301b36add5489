"""How fast is the dashboard on a large run, as a person sees it in a browser? One command, one JSON file.

    python benchmarks/dashboard_speed.py --run runs/large --json dashboard.json      # 10,000 items, 50,000 users
    python benchmarks/dashboard_speed.py --run runs/small --items 200 --users 300 --repeat 3

Makes a run of real files with invented scores (once; a few minutes), serves it with `guided-refine app`, and drives
Debian's Chromium. An interaction lasts from the key or click to the last change that it makes in the page; where Streamlit
waits before it sends a value (sliders: 0.2 s) that is counted. Peak memory is the server's, libraries included. After the
first list 15 seconds go by without a click.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
# Found only once the folders are on the path.
sys.path[:0] = [str(HERE), str(HERE / "tests"), str(HERE / "tests" / "apps")]

import numpy as np  # noqa: E402
from chromium import CALM, CHARTS, Page, browser  # noqa: E402
from tiny_run import make_run  # noqa: E402

from guided_refine.files import write_json  # noqa: E402
from guided_refine.machine import machine  # noqa: E402

FIRST_PAGE_S, INTERACTION_MS, MEMORY_GIB = 3.0, 300.0, 1.5
#: Somebody looks at the first list before asking for more; what is read ahead is read while nobody clicks.
READS_S = 15.0
#: So many recommendations the made run shows a user.
SHOWN = 5

#: Streamlit says when its script runs; the page is still once nothing but that sign has changed for a while.
WATCH = """
(() => {
  const app = () => document.querySelector('[data-testid=stApp]');
  window.watched = null;
  let start = null, last = null;
  const begin = event => { start = last = performance.now(); };
  for (const kind of ['keydown', 'pointerdown', 'click'])
    document.addEventListener(kind, begin, {capture: true, once: false});
  const see = new MutationObserver(list => {
    if (list.some(m => !(m.target.closest && m.target.closest('[data-testid=stStatusWidget]'))))
      last = performance.now();
  });
  see.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
  const tick = () => {
    const now = performance.now();
    if (start !== null && app().dataset.testScriptState === 'notRunning' && now - last > 700) {
      see.disconnect();
      window.watched = last - start;
    } else setTimeout(tick, 20);
  };
  tick();
})()
"""


class Driver:
    """Keys and clicks in a page, each timed until the page is still."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def timed(self, act: Callable[[], None]) -> float:
        """Milliseconds from the last key or click of `act` to the last change of the page."""
        self.page.evaluate(WATCH)
        act()
        end = time.monotonic() + 60
        while (found := self.page.evaluate("window.watched")) is None:
            if time.monotonic() > end:
                raise TimeoutError("the page did not come to rest")
            time.sleep(0.05)
        return float(found)

    def focus(self, element: str) -> None:
        """Focus what a JavaScript expression finds; its text, if any, is selected."""
        self.page.evaluate(f"(e => {{ e.focus(); e.select && e.select(); }})({element})")

    def type_and_enter(self, element: str, text: str) -> None:
        """Replace a field's text and press Enter."""
        self.focus(element)
        self.page.write(text)
        self.page.press("Enter")

    def choose(self, element: str, text: str) -> None:
        """Pick the one entry of a list that has this text in it."""
        self.focus(element)
        self.page.write(text)
        self.page.wait("document.querySelectorAll('[role=option]').length === 1")
        self.page.press("Enter")


def labelled(label: str, kind: str = "input") -> str:
    """The field under a label that begins so."""
    return (
        f"[...document.querySelectorAll('{kind}')].find(e => (e.getAttribute('aria-label') || '')"
        f".startsWith('{label}'))"
    )


def interactions(driver: Driver, users: int, repeat: int) -> dict[str, list[float]]:
    """Milliseconds of every kind of interaction, `repeat` times each; the page of recommendations is open."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}

    def again(name: str, act: Callable[[int], None]) -> None:
        found[name] = [driver.timed(lambda n=n: act(n)) for n in range(repeat)]

    again(
        "another user",
        lambda n: driver.type_and_enter(labelled("User"), f"u{int(rng.integers(users))}"),
    )
    slider = "[...document.querySelectorAll('input[type=range], [role=slider]')].at(-1)"
    # Towards the farther end: at an end a key moves nothing, and nothing would be timed.
    key = "ArrowRight" if float(driver.page.evaluate(f"{slider}.value")) < 0.5 else "ArrowLeft"

    def slide(n: int) -> None:
        driver.focus(slider)
        driver.page.press(key)

    again("a slider of taste", slide)
    again("wishes or tastes", lambda n: press(driver, "taste" if n % 2 else "wishes"))

    someone = rng.permutation(users)

    def encoded(n: int) -> None:
        """Answers are kept, so each is asked for once: the items of one user, then of another."""
        if n % SHOWN == 0:
            press(driver, "through the encoder")
        else:
            driver.choose(labelled("One item in full"), f"{n % SHOWN + 1}. ")

    found["through the encoder"] = []
    for n in range(repeat):
        if n % SHOWN == 0:
            driver.timed(lambda n=n: driver.type_and_enter(labelled("User"), f"u{someone[n]}"))
        found["through the encoder"].append(driver.timed(lambda n=n: encoded(n)))
    go_to(driver, "Items")
    again(
        "a search", lambda n: driver.type_and_enter(labelled("Search"), f"film {int(rng.integers(10, 99))}")
    )
    go_to(driver, "Case studies")
    again(
        "another user's case",
        lambda n: driver.type_and_enter(labelled("User"), f"u{int(rng.integers(users))}"),
    )
    pages = ["Attributes", "Overview", "Recommendations", "Items", "Compare runs", "Case studies"]
    for name in pages:
        go_to(driver, name)
    again("another page", lambda n: click(driver, pages[n % len(pages)]))
    return found


def click(driver: Driver, name: str) -> None:
    """Click a page's name in the sidebar."""
    driver.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stSidebarNavLink]')]"
        f".find(a => a.innerText.trim().endsWith('{name}')).click()"
    )


def press(driver: Driver, text: str) -> None:
    """Press the button with this text."""
    driver.page.evaluate(
        f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() === '{text}').click()"
    )


def go_to(driver: Driver, name: str) -> float:
    """Click a page's name and wait for it."""
    return driver.timed(lambda: click(driver, name))


def serve(run: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The dashboard as `guided-refine app` serves it."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "guided_refine", "app", str(run), "--port", str(port), "--headless"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    address = f"http://localhost:{port}"
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
            return server, address
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                raise SystemExit("the dashboard ended by itself") from None
            time.sleep(0.1)


def peak_gib(server: subprocess.Popen[bytes]) -> float:
    """Largest memory of the server's processes so far, GiB."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == server.pid:
                found.append(next(line for line in status.read_text().splitlines() if "VmHWM" in line))
        except (OSError, StopIteration):
            continue
    return max(int(line.split()[1]) for line in found) / 2**20


def main() -> None:
    """Make, serve, drive, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="made where it does not exist yet")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (args.run / "report.json").exists() and not (args.run / "metrics.json").exists():
        train = {"width": 64, "max_length": 50, "max_epochs": 1, "heads": 2, "batch_size": 512}
        with tempfile.TemporaryDirectory() as source:
            make_run(
                args.run,
                Path(source),
                n_items=args.items,
                n_users=args.users,
                name="large",
                train=train | {"loss": "sampled_softmax"},
            )
    answer = measure(args.run, args.users, args.repeat)
    for name, row in answer["interactions"].items():
        print(f"{name:20} median {row['median_ms']:6.0f} ms   p95 {row['p95_ms']:6.0f} ms")
    print(
        f"first page {answer['first_page_s']:.1f} s after the browser opened it, again {answer['second_page_s']:.1f} s"
    )
    print(f"peak memory of the server {answer['peak_gib']:.2f} GiB")
    if args.json:
        write_json(args.json, answer)


def opening(page: Page, address: str) -> float:
    """Seconds until the first page is drawn, charts included."""
    began = time.monotonic()
    page.visit(address)
    while not page.evaluate(f"{CALM} && {CHARTS} >= 2"):
        if time.monotonic() > began + 120:
            raise TimeoutError("the first page did not come")
        time.sleep(0.02)
    return time.monotonic() - began


def measure(run: Path, users: int, repeat: int) -> dict[str, Any]:
    """Serve `run` and drive it; seconds of the first page, milliseconds of interactions, memory."""
    server, address = serve(run)
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
            browser(Path(profile)) as page,
        ):
            openings = [opening(page, address) for _ in range(2)]
            driver = Driver(page)
            opened = go_to(driver, "Recommendations") / 1000
            time.sleep(READS_S)
            found = interactions(driver, users, repeat)
            return {
                "machine": machine(),
                "first_page_s": openings[0],
                "second_page_s": openings[1],
                "open_model_s": opened,
                "interactions": {
                    name: {
                        "median_ms": float(np.median(ms)),
                        "p95_ms": float(np.quantile(ms, 0.95)),
                        "ms": [round(value) for value in ms],
                    }
                    for name, ms in found.items()
                },
                "peak_gib": peak_gib(server),
                "aims": {"first_page_s": FIRST_PAGE_S, "p95_ms": INTERACTION_MS, "peak_gib": MEMORY_GIB},
            }
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


if __name__ == "__main__":
    main()
