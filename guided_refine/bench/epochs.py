"""One training of one backbone, measured: seconds per epoch, peak memory, validation NDCG after every epoch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guided_refine.bench.events import read_events
from guided_refine.bench.fresh import summary
from guided_refine.config import TrainConfig
from guided_refine.machine import peak_memory
from guided_refine.progress import Progress


def measure_training(kind: str, events: Path, config: TrainConfig, progress: Progress) -> dict[str, Any]:
    """Train on the file `events` (see `bench.events`) for `config.max_epochs` epochs; meant for a fresh process.

    Returns what `fresh.summary` gives for the epochs without their validation, which the peer's trainer does not do,
    and `validation` (its seconds), `ndcg` (validation NDCG@10 after each epoch), `start_mib` (memory before training),
    `parameters`.
    """
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.backbones.tables import IdTable
    from guided_refine.backbones.validation import Validation

    dataset = read_events(events)
    backbone = Backbone(kind, IdTable(dataset.n_items, config.width), None, config, seed=0)
    before = peak_memory()
    with _watched(Validation, "ndcg") as validating:
        fit = backbone.fit(dataset, progress=progress)
    # A curve's seconds hold the epoch and its validation.
    training = [row["seconds"] - spent for row, spent in zip(fit.curve, validating, strict=True)]
    return {
        **summary(training),
        "validation": statistics.median(validating),
        "ndcg": [row["ndcg@10"] for row in fit.curve],
        "start_mib": before,
        "parameters": sum(p.numel() for p in backbone.model.parameters()),
    }


@contextmanager
def _watched(owner: type, method: str) -> Iterator[list[float]]:
    """Collects the seconds of every call of a class's method meanwhile."""
    original, seconds = getattr(owner, method), list[float]()

    def timed(*args: Any, **options: Any) -> Any:
        started = time.monotonic()
        try:
            return original(*args, **options)
        finally:
            seconds.append(time.monotonic() - started)

    setattr(owner, method, timed)
    try:
        yield seconds
    finally:
        setattr(owner, method, original)
