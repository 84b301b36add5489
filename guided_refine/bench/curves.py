"""Cost curves: seconds and memory of training and recommending against items, users and history length.

Generated data; every point is a process of its own. One quantity moves, the others stay as `BASE` says. The full softmax
is drawn up to 100,000 items and the sampled one up to 1,000,000, which is what each is for.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from guided_refine.bench.epochs import measure_training
from guided_refine.bench.events import Shape, generate, write_events
from guided_refine.bench.fresh import in_fresh_process, usable_cores
from guided_refine.bench.ranking import measure_recommend
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError
from guided_refine.files import atomic_path, write_json
from guided_refine.machine import machine
from guided_refine.progress import Progress
from guided_refine.reporting.palette import CYCLE
from guided_refine.reporting.style import label, legend_above, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = ("curves.png", "curves.csv", "curves.json")
COLUMNS = ("against", "value", "series", "seconds", "peak_mib", "start_mib", "load")
RECOMMEND = "recommend"
#: What training on large catalogs may take at its peak.
LIMITS_MIB = {
    ("items", 100_000, "sasrec"): 4096,
    ("items", 1_000_000, "sasrec sampled_softmax"): 8192,
}


@dataclass(frozen=True)
class Sizes:
    """What the curves are drawn over, and what stays put meanwhile."""

    base: Shape
    length: int
    width: int
    items: tuple[int, ...]
    items_full_softmax: int
    users: tuple[int, ...]
    lengths: tuple[int, ...]


BASE = Sizes(
    base=Shape(users=2000, items=3000, median=100, spread=0.5, most=1000),
    length=50,
    width=64,
    items=(1_000, 10_000, 100_000, 1_000_000),
    items_full_softmax=100_000,
    users=(1_000, 3_000, 10_000, 30_000),
    lengths=(25, 50, 100, 200, 400),
)
QUICK = Sizes(
    base=Shape(users=60, items=100, median=20, spread=0.3, most=60),
    length=10,
    width=8,
    items=(100, 1_000, 3_000),
    items_full_softmax=1_000,
    users=(30, 90),
    lengths=(5, 20),
)


@dataclass(frozen=True)
class Point:
    """One measurement: `series` is a backbone's training ("sasrec", or "sasrec sampled_softmax"), or `RECOMMEND`."""

    against: str
    value: int
    series: str
    shape: Shape
    length: int


def run(
    progress: Progress,
    *,
    out: Path | None = None,
    epochs: int = 3,
    threads: int | None = None,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Measure, and write `curves.png`, `curves.csv` and `curves.json` to `out`; one row per point, without peer.

    Training points are seconds per epoch (median over `epochs`), recommending points seconds for all users' top 10.
    Raises `InputError` without `out`.
    """
    if out is None:
        raise InputError("bench curves draws figures; say where they go with --out DIR")
    threads = threads or usable_cores()
    sizes = QUICK if quick else BASE
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for point in points(sizes):
            progress.log(f"{point.series}, {point.value:,} {point.against}")
            events = Path(folder) / f"{hash(point.shape)}.npz"
            if not events.exists():
                write_events(generate(point.shape), events)
            measured = _measure(point, events, sizes.width, epochs, threads, progress)
            kept = {
                "against": point.against,
                "value": point.value,
                "series": point.series,
                "seconds": measured["median"],
                **{key: measured[key] for key in ("peak_mib", "start_mib", "load")},
            }
            found.append(kept)
    table = pd.DataFrame(found, columns=list(COLUMNS))
    head = {"machine": machine(), "threads": threads, "width": sizes.width, "epochs": epochs}
    write_json(out / FILES[2], {**head, "points": found})
    with atomic_path(out / FILES[1]) as path:
        table.to_csv(path, index=False)
    draw(table, out / FILES[0])
    print(f"{out / FILES[0]}, {FILES[1]}, {FILES[2]}")
    return [
        {
            "name": "curves",
            "case": f"{_name(row['series'])}, {row['value']:,} {row['against']}",
            "ours": row["seconds"],
            "peer": None,
            "peer_name": None,
            "unit": f"s, {row['peak_mib']} MiB",
            "ratio": None,
            "equal_results": None,
            "machine": machine(),
            "notes": _verdict(row),
        }
        for row in found
    ]


def _verdict(row: dict[str, Any]) -> list[str]:
    """Whether a point that has a limit kept it.

    >>> _verdict({"against": "items", "value": 100_000, "series": "sasrec", "peak_mib": 1500})
    ['peak memory 1500 MiB, limit 4096 MiB: kept']
    """
    limit = LIMITS_MIB.get((row["against"], row["value"], row["series"]))
    if limit is None:
        return []
    kept = "kept" if row["peak_mib"] <= limit else "EXCEEDED"
    return [f"peak memory {row['peak_mib']} MiB, limit {limit} MiB: {kept}"]


def points(sizes: Sizes) -> list[Point]:
    """All measurements, the cheap ones of a curve first."""
    base = sizes.base
    out = []
    for n in sizes.items:
        shape = replace(base, items=n)
        series = ["sasrec"] * (n <= sizes.items_full_softmax) + ["sasrec sampled_softmax", RECOMMEND]
        out += [Point("items", n, name, shape, sizes.length) for name in series]
    for n in sizes.users:
        shape = replace(base, users=n)
        out += [Point("users", n, name, shape, sizes.length) for name in _EVERY]
    for n in sizes.lengths:
        # Everybody has enough events to fill the window, and one more to be trained on.
        shape = replace(base, users=base.users // 2, median=n + 4, spread=0.0, most=n + 4)
        out += [Point("length", n, name, shape, n) for name in _EVERY]
    return out


_EVERY = ("sasrec", "bert4rec", "gru4rec", RECOMMEND)


def _measure(
    point: Point, events: Path, width: int, epochs: int, threads: int, progress: Progress
) -> dict[str, Any]:
    kind, _, loss = point.series.partition(" ")
    config = TrainConfig(
        width=width,
        max_length=point.length,
        heads=2,
        max_epochs=epochs,
        patience=epochs,
        device="cpu",
        threads=threads,
        loss=loss or "cross_entropy",  # type: ignore[arg-type]
    )
    answer: dict[str, Any]
    if kind == RECOMMEND:
        answer = in_fresh_process(
            measure_recommend, "sasrec", events, config, 1, threads=threads, progress=progress
        )
    else:
        answer = in_fresh_process(measure_training, kind, events, config, threads=threads, progress=progress)
    return answer


def _name(series: str) -> str:
    """A series as the legend calls it.

    >>> _name("sasrec sampled_softmax"), _name("sasrec"), _name(RECOMMEND)
    ('SASRec, sampled softmax', 'SASRec', 'recommend (SASRec)')
    """
    if series == RECOMMEND:
        return "recommend (SASRec)"
    kind, _, loss = series.partition(" ")
    return label(kind) + (f", {loss.replace('_', ' ')}" if loss else "")


def _scale(above: Axes, below: Axes, values: list[int]) -> None:
    """Ticks where something was measured; time by powers of ten, memory from zero."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_xticks(values, [short(v) for v in values])
        axes.xaxis.set_minor_formatter(NullFormatter())
    above.set_yscale("log")
    low, high = above.get_ylim()
    # At least one power of ten, so that noise does not fill the panel.
    above.set_ylim(min(low, high / 10), high)
    above.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    above.yaxis.set_minor_formatter(NullFormatter())
    below.set_ylim(bottom=0)


def short(value: int) -> str:
    """A round number in few characters.

    >>> short(400), short(3_000), short(1_000_000)
    ('400', '3k', '1M')
    """
    for unit, sign in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit:
            return f"{value / unit:g}{sign}"
    return str(value)


@styled
def draw(table: pd.DataFrame, path: Path) -> Path:
    """Seconds above, memory below; one column per quantity. `table` has the columns `COLUMNS`."""
    against = list(dict.fromkeys(table["against"]))
    figure, axes = new_figure(2, len(against), (3.4 * len(against), 5.4), sharex="col")
    colours = dict(zip(dict.fromkeys(table["series"]), CYCLE, strict=False))
    shown: dict[str, Any] = {}
    for column, quantity in enumerate(against):
        for series, rows in table[table["against"] == quantity].groupby("series", sort=False):
            for row, measure in enumerate(("seconds", "peak_mib")):
                line = axes[row][column].plot(rows["value"], rows[measure], "o-", color=colours[series], ms=3)
                shown[_name(str(series))] = line[0]
        _scale(axes[0][column], axes[1][column], sorted(set(table["value"][table["against"] == quantity])))
        axes[1][column].set_xlabel(quantity)
    axes[0][0].set_ylabel("seconds (epoch, or all users)")
    axes[1][0].set_ylabel("peak memory, MiB")
    legend_above(figure, list(shown.values()), list(shown))
    return save(figure, path)
