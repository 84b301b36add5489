"""How every plot looks: one figure style, names as people read them, saving in one atomic step."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from guided_refine.config import VARIANTS
from guided_refine.files import atomic_path
from guided_refine.reporting.palette import BLACK, GREY, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

NAMES = {
    "gru4rec": "GRU4Rec",
    "gru4rec_parallel": "GRU4Rec in lanes",
    "sasrec": "SASRec",
    "bert4rec": "BERT4Rec",
    "pca_only": "PCA only",
    "text_pca": "text PCA",
}
SOURCE_NAMES = {"bag_of_words": "bag of words", "untuned": "untuned", "tuned": "tuned"}
DASHES = ("-", "--", ":", "-.")

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": BLACK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "text.color": BLACK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "lines.linewidth": 1.6,
    # A $ in an item or attribute name is a dollar, not the start of a formula.
    "text.parse_math": False,
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a plot function in the project's style; the caller's own matplotlib settings stay as they are."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib as mpl

        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with `rows` x `columns` axes; `size` in inches. Drawn without pyplot, so no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG in one atomic step; the same figure gives the same bytes."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path


def label(name: str, width: int = 24) -> str:
    """A name as people read it, broken into lines of `width` characters.

    >>> label("story_complexity"), label("sasrec"), label("pca_only")
    ('story complexity', 'SASRec', 'PCA only')
    """
    text = NAMES.get(name, name.replace("_", " "))
    return "\n".join(textwrap.wrap(text, width)) or text


def metric_label(name: str) -> str:
    """A metric as the field writes it.

    >>> metric_label("ndcg@10"), metric_label("recall@5"), metric_label("mrr")
    ('NDCG@10', 'Recall@5', 'MRR')
    """
    metric, at, k = name.partition("@")
    return {"ndcg": "NDCG", "recall": "Recall", "mrr": "MRR"}.get(metric, metric) + at + k


def in_order(variants: list[str]) -> list[str]:
    """Variants in the order of the config's list, unknown ones last.

    >>> in_order(["shuffled", "base", "refined"])
    ['base', 'refined', 'shuffled']
    """
    return sorted(
        dict.fromkeys(variants), key=lambda v: (VARIANTS.index(v) if v in VARIANTS else len(VARIANTS), v)
    )


def legend_above(figure: Figure, handles: list[Any], names: list[str], columns: int = 6) -> None:
    """One legend for all panels, above them, where it can hide nothing."""
    if handles:
        figure.legend(handles, names, loc="outside upper left", ncols=min(columns, len(names)), fontsize=9)
