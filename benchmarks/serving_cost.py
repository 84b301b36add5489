"""Does a refined model cost more to serve than the base? One command, one JSON file.

    python benchmarks/serving_cost.py RUN [--backbone sasrec] [--json serving.json]

Loads base and refined model of a finished run, puts the refined item vectors together once (`Backbone.served`), and
asks both for the ten best items of one user and of 256 users, in turns, so that a busy machine slows both. Ratios with the
middle 90 % of them; and how many numbers each has to hold.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from guided_refine.backbones.backbone import Backbone
from guided_refine.files import write_json
from guided_refine.machine import machine
from guided_refine.runfolder import RunFolder


def seconds(model: Backbone, users: list[str]) -> float:
    """Wall time of one request."""
    started = time.perf_counter()
    model.recommend(users, k=10)
    return time.perf_counter() - started


def numbers(model: Backbone) -> dict[str, int]:
    """Numbers held for the encoder, the items, and the users."""
    parts = {"encoder": model.model.encoder, "items": model.table, "users": model.term}
    return {
        name: 0 if part is None else sum(value.numel() for value in part.state_dict().values())
        for name, part in parts.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--backbone", default="sasrec")
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = RunFolder(args.run)
    seed = folder.config().all_seeds[0]
    base, refined = (
        Backbone.load(folder.unit(args.backbone, variant, seed)) for variant in ("base", "refined")
    )
    models = {"base": base, "refined": refined.served()}
    rng = np.random.default_rng(0)
    rows = []
    for count in (1, min(256, len(base.user_ids))):
        asked = [list(rng.choice(base.user_ids, count, replace=False)) for _ in range(args.repeat)]
        for model in models.values():
            seconds(model, asked[0])
        taken = np.array([[seconds(model, users) for model in models.values()] for users in asked])
        ratio = taken[:, 1] / taken[:, 0]
        low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
        row = {
            "users": count,
            "base_ms": 1000 * float(np.median(taken[:, 0])),
            "refined_ms": 1000 * float(np.median(taken[:, 1])),
            "ratio": float(middle),
            "ratio_5": float(low),
            "ratio_95": float(high),
        }
        rows.append(row)
        print(
            f"{count:4} users: base {row['base_ms']:.2f} ms, refined {row['refined_ms']:.2f} ms, "
            f"ratio {middle:.2f} [{low:.2f}, {high:.2f}]"
        )
    held = {name: numbers(model) for name, model in models.items()}
    for name, parts in held.items():
        print(f"{name}: " + ", ".join(f"{part} {count:,}" for part, count in parts.items()))
    if args.json:
        about = {"run": folder.config().name, "backbone": args.backbone, "repeat": args.repeat}
        write_json(args.json, {**about, "latency": rows, "numbers_held": held, "machine": machine()})
