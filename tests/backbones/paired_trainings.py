"""Trainings that a launched process takes part in; what each of them found goes into the folder given.

Run as `python paired_trainings.py FOLDER all`, which ends with a death, then with `continue`; with the variables that a
launcher sets and the tests' folder among Python's paths.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from synthetic import make_dataset, random_dataset, random_scores

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.checkpoint import Checkpoint, Counters
from guided_refine.backbones.tables import IdTable
from guided_refine.config import TrainConfig
from guided_refine.config_file import parse_config
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.refine.variants import build_variant

#: Batches of 8 and 16 leave one user over: in the last step one process has nothing to do. Some users have one event.
DATA = random_dataset(users=33, n_items=25)
#: Fewer users than lanes.
FEW = make_dataset([[1, 2, 3, 4, 5], [2, 3, 4, 5, 1, 2], [4, 5, 1, 2]], 5)
CASES: dict[str, dict[str, object]] = {
    "sasrec": {},
    "gru4rec": {},
    "bert4rec": {},
    "sasrec sampled_softmax": {"negatives": 7, "negative_sampling": "popularity"},
    "sasrec gbce": {"negatives": 5},
    "bert4rec bce": {},
    "bert4rec sampled_softmax": {"negatives": 7},
    "gru4rec bpr_max": {"negatives": 5},
    "gru4rec_parallel": {},
    "gru4rec_parallel sampled_softmax": {"negatives": 7},
    "gru4rec_parallel bpr_max few": {"negatives": 3},
    "sasrec refined": {"weight_decay": 0.1},
}


def build(case: str, batch_size: int, **options: object) -> tuple[Backbone, Dataset]:
    """The untrained model of a case and its data; nothing is random in its training but what is drawn for a batch."""
    kind, loss = (*case.split(), "cross_entropy")[:2]
    data = FEW if case.endswith("few") else DATA
    settings = {"max_length": 6, "width": 8, "max_epochs": 2, "dropout": 0.0, "learning_rate": 0.01}
    settings |= {"batch_size": batch_size, "threads": 1, **CASES[case], **options}
    if loss == "refined":
        config = parse_config({"name": "x", "train": settings})
        scores = {s: random_scores(data, source=s) for s in ("tuned", "untuned")}
        base = Backbone(kind, IdTable(data.n_items, 8, seed=1), None, config.train, seed=5)
        return build_variant("refined", data, base, scores, config, 0, attributes=["a0", "a1", "a2"]), data
    config = TrainConfig(**settings, loss=loss)  # type: ignore[arg-type]
    return Backbone(kind, IdTable(data.n_items, 8, seed=1), None, config, seed=5), data


def keep(folder: Path, name: str, model: Backbone, curve: list[dict[str, float]]) -> None:
    """Weights and curve of a training, under a name."""
    weights = {key: value.contiguous().clone() for key, value in model.model.state_dict().items()}
    save_file(weights, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(curve))


def all_cases(folder: Path, rank: int) -> None:
    for case in CASES:
        model, data = build(case, 8)
        keep(folder, f"{case} {rank}", model, model.fit(data).curve)
    model, data = build("sasrec", 8, dropout=0.3)
    keep(folder, f"dropout {rank}", model, model.fit(data).curve)
    model, data = build("sasrec", 8, learning_rate=1e30)
    try:
        model.fit(data)
    except InputError as error:
        (folder / f"diverged {rank}").write_text(str(error))


def long_one(folder: Path, rank: int, name: str, checkpoint: Path | None) -> None:
    """Four epochs with all that is random."""
    model, data = build("bert4rec sampled_softmax", 8, max_epochs=4, dropout=0.2)
    log = Progress(quiet=True, log=folder / "log")
    keep(folder, f"{name} {rank}", model, model.fit(data, checkpoint=checkpoint, progress=log).curve)


def end_after_two(folder: Path, rank: int) -> None:
    """The first process is killed right after the second epoch's checkpoint."""
    save = Checkpoint.save

    def save_then_die(self: Checkpoint, counters: Counters, *rest: Any) -> None:
        save(self, counters, *rest)
        if counters.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.save = save_then_die  # type: ignore[method-assign]
    long_one(folder, rank, "never", folder / "checkpoint")


def work(folder: Path, what: str, rank: int) -> None:
    if what == "continue":
        long_one(folder, rank, "continued", folder / "checkpoint")
        return
    all_cases(folder, rank)
    long_one(folder, rank, "whole", None)
    end_after_two(folder, rank)


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        work(Path(sys.argv[1]), sys.argv[2], launched().rank)
    except InputError as error:
        sys.exit(f"InputError: {error}")
