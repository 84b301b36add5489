"""Pictures of every page of the dashboard: python docs/screenshots.py RUN (the demo's run), needs chromium.

Serves the run, drives a real browser through the pages, and writes PNGs to docs/images/dashboard.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "apps"))

from chromium import CHARTS, Page, browser  # noqa: E402 (found only once the folder is on the path)
from serving import served  # noqa: E402

WIDE, NARROW = 1280, 390


def somebody_new(tab: Page, address: str) -> None:
    """Pick three items as somebody who is in no data."""
    tab.open(f"{address}/recommendations", ready=f"{CHARTS} >= 3")
    tab.click("[...document.querySelectorAll('button')].find(b => b.innerText.includes('Somebody new'))")
    field = "document.querySelector('[data-testid=stMultiSelect] input')"
    tab.wait(f"{field} && document.body.innerText.includes('the list follows at once')")
    for _ in range(3):
        tab.click(field)
        tab.press("ArrowDown", 3)
        tab.press("Enter")
        tab.press("Escape")
        tab.wait(f"{CHARTS} >= 3")


def page(path: str, ready: str) -> Callable[[Page, str], None]:
    """Open one page."""
    return lambda tab, address: tab.open(f"{address}/{path}", ready=ready)


FRAME = "document.querySelector('[data-testid=stIFrame]')"
PICTURES: dict[str, tuple[Callable[[Page, str], None], int, str]] = {
    "overview": (page("", f"{CHARTS} >= 2"), WIDE, "light"),
    "recommendations": (page("recommendations", f"{CHARTS} >= 4"), WIDE, "light"),
    "recommendations_dark": (page("recommendations", f"{CHARTS} >= 4"), WIDE, "dark"),
    "recommendations_narrow": (page("recommendations", f"{CHARTS} >= 4"), NARROW, "light"),
    "somebody_new": (somebody_new, WIDE, "light"),
    "items": (page("items", f"{CHARTS} >= 1"), WIDE, "light"),
    "attributes": (page("attributes", f"{CHARTS} >= 3"), WIDE, "light"),
    "compare": (page("compare", "document.querySelector('h1')"), WIDE, "light"),
    "cases": (page("cases", FRAME), WIDE, "light"),
}


def smaller(path: Path, limit: int = 240 * 1024) -> None:
    """Pack a picture better, with 256 colours where it is still too large; needs pillow."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    plain.save(path, optimize=True)
    if path.stat().st_size <= limit:
        return
    colours, place, count = np.unique(
        np.asarray(plain).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    # Half of the palette are the colours of areas and letters, as they are; the rest stands for all others.
    order = np.argsort(-count, kind="stable")
    kept, rest = colours[order[:128]], colours[order[128:]]
    others = Image.fromarray(rest[None]).quantize(128).convert("RGB")
    palette = np.concatenate([kept, np.unique(np.asarray(others)[0], axis=0)])
    nearest = np.array([((palette - c.astype(np.int64)) ** 2).sum(axis=1).argmin() for c in colours])
    indices = nearest[place.reshape(-1)].astype(np.uint8).reshape(plain.height, plain.width)
    packed = Image.fromarray(indices, mode="P")
    packed.putpalette(palette.astype(np.uint8).tobytes())
    packed.save(path, optimize=True)


def main() -> None:
    """Take the pictures that are asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "images" / "dashboard")
    parser.add_argument("--only", nargs="*", choices=list(PICTURES), default=list(PICTURES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        served(options.run) as address,
        browser(Path(profile)) as tab,
    ):
        for name in options.only:
            go, width, scheme = PICTURES[name]
            tab.scheme(scheme)
            tab.size(width, 900)
            go(tab, address)
            path = tab.screenshot(options.out / f"{name}.png", width)
            smaller(path)
            print(f"{path}: {path.stat().st_size // 1024} KiB", flush=True)
        for error in tab.errors:
            print(f"console: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
