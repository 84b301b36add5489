"""Seconds per epoch of every backbone, beside RecTools: same data, width, length, batch, full softmax, threads.

Both sides train for as many epochs, in turn, each training in a process of its own; then both sides' validation NDCG@10
is computed by this package's ranking, ours from the model, RecTools' from the states and vectors it wrote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.bench.epochs import measure_training
from guided_refine.bench.events import ML_1M, Shape, generate, read_events, write_events
from guided_refine.bench.fresh import in_fresh_process, usable_cores
from guided_refine.bench.peer import HOW_TO_INSTALL, NAME, rectools_python, run_rectools, settings_line
from guided_refine.bench.work import FORMULA, epoch_flop, inputs, matmul_rate
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.errors import InputError, nearest
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets
from guided_refine.machine import machine
from guided_refine.progress import Progress
from guided_refine.reporting.style import label

KINDS = ("sasrec", "bert4rec", "gru4rec")
PRECISIONS = ("float32", "bfloat16")
PEER_KINDS = ("sasrec", "bert4rec")

SMALL = Shape(users=200, items=300, median=20, spread=0.6, most=60)
"""What `--quick` trains on: it shows that the bench runs, not how fast anything is."""


def run(
    progress: Progress,
    *,
    data: Path | None = None,
    epochs: int = 3,
    threads: int | None = None,
    models: Sequence[str] = KINDS,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Measure; one row per backbone and precision, in seconds per epoch (median over the epochs).

    `data`: a prepared dataset folder (default: generated, of MovieLens 1M's shape). `quick`: tiny sizes, to see that all
    parts are there. Raises `InputError` for an unknown backbone.
    """
    for kind in models:
        if kind not in KINDS:
            raise InputError(f"--models: no backbone '{kind}': {nearest(kind, KINDS)}")
    threads = threads or usable_cores()
    dataset = load_dataset(data) if data else generate(SMALL if quick else ML_1M)
    config = TrainConfig(
        width=16 if quick else 64,
        max_length=20 if quick else 200,
        heads=2,
        max_epochs=epochs,
        patience=epochs,
        device="cpu",
        threads=threads,
    )
    python = rectools_python()
    if python is None:
        progress.log(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory() as folder:
        events = write_events(dataset, Path(folder) / f"{dataset.name}.npz")
        rates = in_fresh_process(_rates, threads=threads, progress=progress)
        rows = []
        for kind in models:
            peer: dict[str, Any] | None = None
            ours = {}
            for precision in PRECISIONS:
                progress.log(f"{kind}, {precision}: {epochs} epochs")
                own = config.model_copy(update={"precision": precision})
                ours[precision] = in_fresh_process(
                    measure_training, kind, events, own, threads=threads, progress=progress
                )
                if peer is None and python is not None and kind in PEER_KINDS:
                    progress.log(f"{kind}, {NAME}: {epochs} epochs")
                    peer = _peer(kind, events, own, Path(folder) / f"rectools_{kind}", python)
            rows += [_row(kind, dataset, config, p, ours[p], peer, rates) for p in PRECISIONS]
        again = in_fresh_process(_rates, threads=threads, progress=progress)
    for row in rows:
        row["matmul_rate_after"] = again
    print(FORMULA)
    for precision in PRECISIONS:
        before, after = rates[precision], again[precision]
        print(f"matmul in {precision}: {before / 1e9:.0f} GFLOP/s before, {after / 1e9:.0f} after")
    return rows


def _rates(progress: Progress) -> dict[str, float]:
    import torch

    return {precision: matmul_rate(getattr(torch, precision)) for precision in PRECISIONS}


def _peer(kind: str, events: Path, config: TrainConfig, out: Path, python: Path) -> dict[str, Any]:
    """RecTools' result, with the validation NDCG@10 after each of its epochs by our ranking."""
    job = {
        "task": "train",
        "model": kind,
        "events": str(events),
        "threads": config.threads,
        "epochs": config.max_epochs,
        "sizes": rectools_sizes(config),
    }
    result = run_rectools(job, out, python=python)
    dataset = read_events(events)
    files = [out / f"epoch_{epoch}.npz" for epoch in range(1, config.max_epochs + 1)]
    return {**result, "ndcg": [ndcg_of_vectors(file, dataset) for file in files]}


def rectools_sizes(config: TrainConfig) -> dict[str, Any]:
    """Our settings under RecTools' names.

    >>> rectools_sizes(TrainConfig())["session_max_len"]
    50
    """
    return {
        "n_factors": config.width,
        "session_max_len": config.max_length,
        "n_blocks": config.layers,
        "n_heads": config.heads,
        "dropout_rate": config.dropout,
        "mask_prob": config.mask_share,
        "lr": config.learning_rate,
        "batch_size": config.batch_size,
        "loss": "softmax",
    }


def ndcg_of_vectors(file: Path, dataset: Dataset) -> float:
    """Validation NDCG@10 of `state` of each `user` times `vector` of each `item`, an archive that a peer wrote.

    Items that the peer does not know (they never occur in training) come last, users it does not know get a constant.
    """
    with np.load(file) as found:
        states = np.zeros((dataset.n_users, found["state"].shape[1]), np.float32)
        states[found["user"]] = found["state"]
        vectors, known = found["vector"], found["item"] - 1

    def score(users: np.ndarray) -> np.ndarray:
        scores = np.full((len(users), dataset.n_items), -np.inf, np.float32)
        scores[:, known] = states[users] @ vectors.T
        return scores

    ranks = rank_targets(score, dataset, "valid")
    values = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), [10])
    return float(values["ndcg@10"].mean())


def _row(
    kind: str,
    dataset: Dataset,
    config: TrainConfig,
    precision: str,
    ours: dict[str, Any],
    peer: dict[str, Any] | None,
    rates: dict[str, float],
) -> dict[str, Any]:
    lengths = dataset.split.n_train
    encoder, catalog = epoch_flop(kind, lengths, dataset.n_items, config)
    # The encoder multiplies in float32 always, the softmax over the catalog in `precision`.
    ideal = encoder / rates["float32"] + catalog / rates[precision]
    tokens = int(inputs(kind, lengths, config).sum())
    seconds = ours["median"]
    settings = {
        k: getattr(config, k)
        for k in ("width", "max_length", "layers", "heads", "dropout", "batch_size", "learning_rate")
    }
    if kind == "bert4rec":
        settings["mask_share"] = config.mask_share
    notes = [
        f"{(encoder + catalog) / seconds / 1e9:.0f} GFLOP/s, {ideal / seconds:.0%} of the measured matmul rate; "
        f"{tokens / seconds:,.0f} tokens/s; peak memory {ours['peak_mib']} MiB; "
        f"validation takes {ours['validation']:.2f} s more",
        f"validation NDCG@10 after epochs 1 to {config.max_epochs}: {_curve(ours['ndcg'])}",
        f"settings: {settings_line(settings)}, loss cross_entropy, precision {precision}, threads {config.threads}",
    ]
    if peer is not None:
        notes += [
            f"{NAME} {peer['versions']['rectools']}: {tokens / peer['median']:,.0f} tokens/s; peak memory "
            f"{peer['peak_mib']} MiB; validation NDCG@10 {_curve(peer['ndcg'])}",
            f"{NAME}'s settings: {settings_line(peer['settings'])}, threads {peer['threads']}",
        ]
    elif kind not in PEER_KINDS:
        notes.append(f"{NAME} has no {label(kind)}")
    return {
        "name": "backbones",
        "case": f"{label(kind)}, {precision}, {dataset.name}, {dataset.n_users:,} users, {dataset.n_items:,} items",
        "ours": seconds,
        "peer": peer and peer["median"],
        "peer_name": f"{NAME} {peer['versions']['rectools']}" if peer else None,
        "unit": "s per epoch",
        "ratio": peer and peer["median"] / seconds,
        # Two trainings never give equal weights; what must not be worse is in `ours_measured` and `peer_measured`.
        "equal_results": None,
        "machine": machine(),
        "notes": notes,
        "flop": {"encoder": encoder, "catalog": catalog},
        "share_of_matmul_rate": ideal / seconds,
        "tokens_per_second": tokens / seconds,
        "matmul_rate": rates,
        "ours_measured": ours,
        "peer_measured": peer,
        "settings": {**settings, "precision": precision, "threads": config.threads},
    }


def _curve(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
