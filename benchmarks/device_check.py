"""Is training on this device right, and how fast is it? One command, one JSON file.

    python benchmarks/device_check.py --json device.json            # the GPU where there is one, else the CPU
    python benchmarks/device_check.py --quick --json device.json    # tiny sizes, to see that it runs

Right: losses and gradients of one step, on the CPU and on the device, against float64 on the CPU; validation ranks; a short
training on both; a training that is cut and continued. Fast: seconds per epoch on data of MovieLens 1M's shape, and what
share of the measured matrix multiplication rate that is. Runs from a checkout with torch, numpy, pandas, pyarrow, scipy,
pydantic, pyyaml and safetensors; needs no network. The exit code is 1 where something is not right.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.tables import IdTable
from guided_refine.backbones.validation import Validation
from guided_refine.bench.backbones import SMALL
from guided_refine.bench.epochs import measure_training
from guided_refine.bench.events import ML_1M, generate, write_events
from guided_refine.bench.work import epoch_flop, inputs, matmul_rate
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.devices import pick_device
from guided_refine.files import write_json
from guided_refine.machine import machine
from guided_refine.progress import Progress

KINDS = ("sasrec", "gru4rec", "bert4rec")
"""What is timed; lanes, whose steps are many and small, are checked only."""
CHECKED = (*KINDS, "gru4rec_parallel")
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"loss": "cross_entropy"},
    {"loss": "cross_entropy", "precision": "bfloat16"},
    {"loss": "sampled_softmax"},
    {"loss": "gbce"},
    {"loss": "bce"},
    {"loss": "bpr_max"},
)
#: Largest relative error of a gradient against float64, ||g - reference|| / ||reference||.
ALLOWED = {"float32": 1e-3, "bfloat16": 3e-2}


def new_model(kind: str, dataset: Dataset, config: TrainConfig) -> Backbone:
    """An untrained model; its item vectors are larger than usual, so that the softmax is no constant."""
    return Backbone(kind, IdTable(dataset.n_items, config.width, seed=1, std=0.3), None, config, seed=2)


def one_step(
    model: Backbone, dataset: Dataset, device: torch.device, dtype: torch.dtype
) -> tuple[float, torch.Tensor]:
    """Loss and gradients, flat and in float64 on the CPU, of the first batch of an epoch."""
    from guided_refine.backbones.histories import Histories

    network = model.model.to(device, dtype).train()
    sequences = [dataset.visible(u, "train") for u in range(dataset.n_users)]
    lengths = torch.tensor([len(s) for s in sequences])
    users = torch.nonzero(lengths >= 2)[:, 0]
    lengths = lengths[users].clamp(max=network.encoder.train_events)
    histories = Histories.stack(sequences, device)
    counts = torch.bincount(histories.flat[histories.flat > 0].cpu() - 1, minlength=dataset.n_items)
    deck = Deck(counts, "uniform", torch.Generator().manual_seed(3), device)
    draws = torch.Generator().manual_seed(4)
    rows, examples = next(network.encoder.batches(histories, users, lengths, model.config.batch_size, draws))
    loss, _ = network.loss(rows, examples, deck)
    loss.backward()
    gradients = [p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None]
    return float(loss.detach().double()), torch.cat(gradients)


def check_steps(dataset: Dataset, config: TrainConfig, device: torch.device) -> list[dict[str, Any]]:
    """One row per backbone and objective: errors of loss and gradient against float64, on the CPU and on the device."""
    rows = []
    for kind in CHECKED:
        for objective in OBJECTIVES:
            own = TrainConfig(
                **config.model_dump(include={"width", "max_length", "heads"}), dropout=0, **objective
            )
            exact = TrainConfig(**{**own.model_dump(), "precision": "float32"})
            truth, reference = one_step(
                new_model(kind, dataset, exact), dataset, torch.device("cpu"), torch.float64
            )
            row: dict[str, Any] = {"check": "step", "kind": kind, **objective}
            for name, place in (("cpu", torch.device("cpu")), ("device", device)):
                loss, gradient = one_step(new_model(kind, dataset, own), dataset, place, torch.float32)
                row[f"{name}_loss_error"] = abs(loss - truth) / abs(truth)
                row[f"{name}_gradient_error"] = float((gradient - reference).norm() / reference.norm())
            row["ok"] = bool(row["device_gradient_error"] <= ALLOWED[own.precision])
            rows.append(row)
    return rows


def check_trainings(dataset: Dataset, config: TrainConfig, device: torch.device) -> list[dict[str, Any]]:
    """Per backbone: loss curves of CPU and device, validation by both of the same weights, and cut against whole."""
    rows = []
    short = config.model_copy(update={"dropout": 0.0, "max_epochs": 2, "patience": 9})
    for kind in CHECKED:
        curves, models = {}, {}
        for place in ("cpu", str(device)):
            model = new_model(kind, dataset, short.model_copy(update={"device": place}))
            curves[place], models[place] = [r["loss"] for r in model.fit(dataset).curve], model
        with tempfile.TemporaryDirectory() as folder:
            for epochs in (1, 2):
                cut = new_model(
                    kind, dataset, short.model_copy(update={"device": str(device), "max_epochs": epochs})
                )
                continued = [r["loss"] for r in cut.fit(dataset, checkpoint=Path(folder)).curve]
        network = models[str(device)].model
        here = Validation(dataset, torch.device("cpu")).ndcg(network)
        there = Validation(dataset, device).ndcg(network.to(device))
        a, b, c = (np.array(x) for x in (curves["cpu"], curves[str(device)], continued))
        row = {
            "check": "training",
            "kind": kind,
            "cpu": a.tolist(),
            "device": b.tolist(),
            "continued": c.tolist(),
        }
        row |= {"ndcg_by_cpu": here, "ndcg_by_device": there}
        row["ok"] = bool(
            np.allclose(a, b, rtol=1e-3) and np.allclose(b, c, rtol=1e-3) and abs(here - there) < 1e-3
        )
        rows.append(row)
    return rows


def time_epochs(
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device,
    batch_sizes: Sequence[int],
    rates: dict[str, float],
) -> list[dict[str, Any]]:
    """Seconds per epoch, validation apart, and the share of the measured matrix multiplication rate."""
    rows = []
    lengths = dataset.split.n_train
    with tempfile.TemporaryDirectory() as folder:
        events = write_events(dataset, Path(folder) / "generated.npz")
        for kind in KINDS:
            for precision in ("float32", "bfloat16"):
                for size in batch_sizes:
                    own = config.model_copy(
                        update={"precision": precision, "batch_size": size, "device": str(device)}
                    )
                    if device.type == "cuda":
                        torch.cuda.reset_peak_memory_stats(device)
                    found = measure_training(kind, events, own, Progress(quiet=True))
                    encoder, catalog = epoch_flop(kind, lengths, dataset.n_items, own)
                    ideal = encoder / rates["float32"] + catalog / rates[precision]
                    # The first epoch pays for what is compiled and reserved.
                    seconds = float(np.median(found["seconds"][1:] or found["seconds"]))
                    rows.append(
                        {
                            "kind": kind,
                            "precision": precision,
                            "batch_size": size,
                            "seconds": seconds,
                            "all_seconds": found["seconds"],
                            "validation_seconds": found["validation"],
                            "ndcg": found["ndcg"],
                            "tokens_per_second": int(inputs(kind, lengths, own).sum()) / seconds,
                            "share_of_matmul_rate": ideal / seconds,
                            "device_memory_mib": torch.cuda.max_memory_allocated(device) // 2**20
                            if device.type == "cuda"
                            else None,
                        }
                    )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, print, and write the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    parser.add_argument("--epochs", type=int, default=6, metavar="N", help="epochs that are timed")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    args = parser.parse_args(argv)
    device = pick_device(args.device, "--device")
    small = generate(SMALL)
    config = TrainConfig(width=16, max_length=20, heads=2, max_epochs=args.epochs, patience=args.epochs)
    started = time.monotonic()
    checks = check_steps(small, config, device) + check_trainings(small, config, device)
    for row in checks:
        print(
            "ok  " if row["ok"] else "FAIL", {k: _short(v) for k, v in row.items() if k != "ok"}, flush=True
        )
    seconds = 0.01 if args.quick else 0.3
    rates = {
        name: matmul_rate(getattr(torch, name), str(device), seconds=seconds)
        for name in ("float32", "bfloat16")
    }
    print("matmul, TFLOP/s:", {k: round(v / 1e12, 2) for k, v in rates.items()}, flush=True)
    if not args.quick:
        config = config.model_copy(update={"width": 64, "max_length": 200})
    timed = time_epochs(
        small if args.quick else generate(ML_1M), config, device, (128,) if args.quick else (128, 512), rates
    )
    for row in timed:
        print({k: _short(v) for k, v in row.items() if k not in ("all_seconds", "ndcg")}, flush=True)
    write_json(
        args.json,
        {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "machine": machine(),
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "seconds": round(time.monotonic() - started, 1),
            "matmul_rate": rates,
            "checks": checks,
            "epochs": timed,
        },
    )
    return 0 if all(row["ok"] for row in checks) else 1


def _short(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
