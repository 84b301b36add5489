"""RecTools' UniSRec on the text vectors of a run's language model, beside the run's own rows: same items, split, ranking.

make -C benchmarks/peers rectools
python experiments/unisrec.py RUN --out OUT [--seeds 1 2 3 4 5] [--epochs 100] [--set lr=0.001 adaptor_type=bn]
python experiments/unisrec.py RUN --out OUT --validation --set ...     # one line for tries.csv; reads no test item

RUN is a finished run folder that holds text vectors (a variant like id_plus_text made them). UniSRec has no vector of
an item's own: an adapter maps its text, so it knows items that training lacks. Width, length, blocks, heads, dropout and
batch are the run's, other settings RecTools' defaults or `--set`. The epoch with the best validation NDCG@10 is tested.
A seed that is done is not trained again. OUT/result.json is what experiments/tables.py reads; keep it as
experiments/guided/results/NAME.json.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from note_try import add_tries
from safetensors.numpy import load_file

from guided_refine.backbones.training import torch_threads
from guided_refine.bench.backbones import rectools_sizes
from guided_refine.bench.events import write_events
from guided_refine.bench.peer import HOW_TO_INSTALL, rectools_python, run_rectools
from guided_refine.config import Config
from guided_refine.data.dataset import Dataset, load_as
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets
from guided_refine.evaluation.rows import collect, compare, metrics_row, per_user_frame
from guided_refine.files import read_json, read_parquet, sha256_file, write_json, write_parquet
from guided_refine.machine import machine
from guided_refine.runfolder import RunFolder

NAME, HEADLINE = "unisrec", ["ndcg@10", "recall@10", "mrr"]
TAKEN = ("n_factors", "session_max_len", "n_blocks", "n_heads", "batch_size")


def sizes(config: Config, own: dict[str, Any]) -> dict[str, Any]:
    """UniSRec's settings: the run's sizes, then what `--set` says."""
    ours = rectools_sizes(config.train)
    return {**{name: ours[name] for name in TAKEN}, "dropout": config.train.dropout, "loss": "softmax", **own}


def ranks(file: Path, dataset: Dataset, part: str) -> Any:
    """Ranks of the targets of `part` ("valid", "test") by the states and vectors of one epoch."""
    with np.load(file) as found:
        states, vectors = found[part], found["vectors"]
    return rank_targets(lambda users: states[users] @ vectors.T, dataset, part)


def ndcg(file: Path, dataset: Dataset) -> float:
    """Validation NDCG@10 of one epoch."""
    found = ranks(file, dataset, "valid")
    return float(
        ranking_metrics(found["greater"].to_numpy(), found["equal"].to_numpy(), [10])["ndcg@10"].mean()
    )


def train(
    folder: RunFolder,
    dataset: Dataset,
    config: Config,
    seed: int,
    epochs: int,
    own: dict[str, Any],
    out: Path | None,
) -> dict[str, Any]:
    """One training; with `out` the best epoch is tested and its row and per-user values are written there."""
    if not folder.text_vectors.exists():
        raise SystemExit(f"{folder.root} holds no text vectors; run it with a variant such as id_plus_text")
    python = rectools_python()
    if python is None:
        raise SystemExit(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory() as name, torch_threads(config.train.threads or 1):
        place = Path(name)
        texts = load_file(folder.text_vectors)["vectors"]
        known = ~np.isnan(texts).any(axis=1)
        texts = np.where(known[:, None], texts, texts[known].mean(axis=0)).astype(np.float32)
        np.savez(place / "texts.npz", vectors=texts)
        job = {
            "task": NAME,
            "seed": seed,
            "epochs": epochs,
            "threads": config.train.threads or 1,
            "texts": str(place / "texts.npz"),
            "events": str(write_events(dataset, place / "events.npz")),
            "sizes": sizes(config, own),
        }
        answer = run_rectools(job, place, python=python)
        files = [place / f"epoch_{epoch}.npz" for epoch in range(1, epochs + 1)]
        curve = [ndcg(file, dataset) for file in files]
        best = int(np.argmax(curve))
        seconds = float(sum(answer["seconds"]))
        about = {
            "validation_ndcg@10": curve[best],
            "epoch": best + 1,
            "epochs": epochs,
            "seconds": seconds,
            "settings": job["sizes"],
            "texts": sha256_file(folder.text_vectors),
            "versions": answer["versions"],
            "split": dataset.split.sha256,
            "machine": machine(),
        }
        if out is not None:
            head = {"backbone": config.backbones[0], "variant": NAME, "seed": seed}
            # RecTools trains on users of two events and more.
            batches = -(-int((dataset.split.n_train >= 2).sum()) // job["sizes"]["batch_size"])
            frame = per_user_frame(dataset, ranks(files[best], dataset, "test"), config.evaluate.ks, **head)
            # Where the best epoch is among the last, validation may still have been rising.
            row = metrics_row(
                dataset,
                frame,
                converged=best + 1 <= 0.9 * epochs,
                steps=(best + 1) * batches,
                seconds=seconds,
            )
            write_json(out / "row.json", row)
            write_parquet(out / "per_user.parquet", frame)
            write_json(out / "about.json", about)
    return about


def beside(folder: RunFolder, config: Config, out: Path, seeds: list[int], command: str) -> dict[str, Any]:
    """UniSRec's rows, the run's base, refined and id plus text, and their differences, as tables.py reads them."""
    backbone = config.backbones[0]
    own = [out / "units" / f"seed{seed}" for seed in seeds]
    theirs = [
        folder.unit(backbone, variant, seed)
        for variant in ("base", "refined", "id_plus_text")
        for seed in seeds
    ]
    metrics, changes, values = collect(out, [*theirs, *own], config.evaluate)
    per_user = read_parquet(values)
    return {
        "command": command,
        "config": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("guided-refine", "torch")},
        "rows": read_json(metrics),
        "differences": read_json(changes),
        "refined_against": [
            row
            for variant in ("id_plus_text", NAME)
            for row in compare(per_user, backbone, "refined", variant, metrics=HEADLINE)
        ],
        "stages": {f"{NAME}/{unit.name}": read_json(unit / "about.json") for unit in own},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of RecTools' UniSRecModel")
    parser.add_argument("--validation", action="store_true", help="seed 1, no test, a line for tries.csv")
    args = parser.parse_args()
    folder = RunFolder(args.run)
    config = folder.config()
    dataset = load_as(folder.data, config.data)
    own = dict(yaml.safe_load(pair.replace("=", ": ", 1)).popitem() for pair in args.set)
    if own.keys() & {"epochs", "patience"}:
        raise SystemExit("--set: give epochs as --epochs; patience is not read, validation chooses the epoch")
    if args.validation:
        about = train(folder, dataset, config, 1, args.epochs, own, None)
        said = " ".join([f"epochs={args.epochs}", *args.set])
        add_tries(
            [
                {
                    "config": config.name,
                    "backbone": NAME,
                    "variant": "script",
                    "seed": 1,
                    "settings": f"unisrec.py {said}",
                    "validation_ndcg@10": round(about["validation_ndcg@10"], 5),
                    "epochs": args.epochs,
                    "seconds": round(about["seconds"]),
                    "ended": f"best after {about['epoch']}",
                    "note": "",
                }
            ]
        )
        print(f"{said}: validation {about['validation_ndcg@10']:.4f} after epoch {about['epoch']}")
        raise SystemExit
    for seed in args.seeds:
        cell = args.out / "units" / f"seed{seed}"
        if (cell / "about.json").exists():
            had = read_json(cell / "about.json")
            asked = {
                "settings": sizes(config, own),
                "epochs": args.epochs,
                "texts": sha256_file(folder.text_vectors),
                "split": dataset.split.sha256,
            }
            if asked != {key: had[key] for key in asked}:
                raise SystemExit(
                    f"{cell} was trained with other settings or on other data; give another --out"
                )
            continue
        about = train(folder, dataset, config, seed, args.epochs, own, cell)
        print(
            f"seed {seed}: validation {about['validation_ndcg@10']:.4f} after epoch {about['epoch']}",
            flush=True,
        )
    said = f"--seeds {' '.join(map(str, args.seeds))} --epochs {args.epochs}"
    said += " ".join([" --set", *args.set]) if args.set else ""
    command = f"python experiments/unisrec.py runs/{args.run.name} --out runs/{args.out.name} {said}"
    write_json(args.out / "result.json", beside(folder, config, args.out, args.seeds, command))
    print(args.out / "result.json")
