"""A training's curves for TensorBoard, written while it runs. The package is optional and loaded only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from guided_refine.errors import InputError
from guided_refine.files import cannot_write

CURVES = ("loss", "ndcg@10", "learning_rate")

Tell = Callable[[Mapping[str, float]], None]


def need_tensorboard() -> None:
    """Raise `InputError` where the package is not installed; loads nothing."""
    found = find_spec("tensorboard")
    # A folder of that name in the working directory is found too, but holds no code.
    if found is None or found.origin is None:
        raise InputError(
            "train.tensorboard needs the package tensorboard, which is not installed; "
            "add it with: pip install tensorboard, or remove train.tensorboard"
        )


@contextmanager
def live_curves(folder: Path | None, past: Sequence[Mapping[str, float]]) -> Iterator[Tell]:
    """Yield a function that writes one row of `FitResult.curve`; without a `folder` it does nothing.

    `past` are rows of before a restart. They are written again and hide what `folder` holds, so that the curves are those
    of this training alone, however often it was killed. Raises `InputError` when the package is missing or `folder`
    cannot be written.

    >>> with live_curves(None, []) as tell:
    ...     tell({"epoch": 1, "loss": 2.0, "ndcg@10": 0.1, "learning_rate": 0.001})
    """
    if folder is None:
        yield lambda row: None
        return
    need_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    try:
        writer = SummaryWriter(str(folder), purge_step=0)
    except OSError as error:
        raise cannot_write(error, folder) from error

    def tell(row: Mapping[str, float]) -> None:
        try:
            for name in CURVES:
                writer.add_scalar(name, row[name], int(row["epoch"]))
            writer.flush()
        except OSError as error:
            raise cannot_write(error, folder) from error

    with closing(writer):
        for row in past:
            tell(row)
        yield tell
