"""What it brings, and costs, to lend items without training interactions the place of like ones; on validation.

python experiments/cold_items.py RUN OUT --tables topics-64 words-256 [--backbone sasrec] [--seeds 1 2] [--json cold.json]

RUN and OUT as for `attribute_curve.py`, of whose trained cells nothing is changed. For each table and each LENGTH of the
borrowed place (a share of its neighbours' distance from the catalog's middle; "own": nothing is lent) it prints NDCG@10
over all users, over those whose next item is cold, and over the rest. The test part is not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.validation import Validation
from guided_refine.data.dataset import load_as
from guided_refine.files import write_json
from guided_refine.machine import machine
from guided_refine.refine.cold import lend_to_cold
from guided_refine.runfolder import RunFolder

LENGTHS = (None, 0.3, 0.5, 0.7, 0.85, 1.0)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--tables", nargs="+", required=True)
    parser.add_argument("--backbone", default="sasrec")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = RunFolder(args.run)
    dataset = load_as(folder.data, folder.config().data)
    counts = dataset.train_counts()
    cold = counts[dataset.targets("valid")[1] - 1] == 0
    validation = Validation(dataset, torch.device("cpu"))
    rows = []
    for table in args.tables:
        for length in LENGTHS:
            values = []
            for seed in args.seeds:
                model = Backbone.load(args.out / "units" / args.backbone / table / f"seed{seed}")
                if length is not None:
                    lend_to_cold(model, counts, length=length)
                values.append(validation.per_user(model.model).numpy())
            mean = np.mean(values, axis=0)
            rows.append(
                {
                    "table": table,
                    "length": "own" if length is None else length,
                    "all": float(mean.mean()),
                    "cold": float(mean[cold].mean()),
                    "rest": float(mean[~cold].mean()),
                }
            )
            print(
                " ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in rows[-1].values()),
                flush=True,
            )
    print(f"{cold.sum()} of {len(cold)} users have a cold next item; seeds {args.seeds}")
    if args.json:
        about = {
            "backbone": args.backbone,
            "seeds": args.seeds,
            "users": len(cold),
            "cold_users": int(cold.sum()),
        }
        command = f"python experiments/cold_items.py runs/{args.run.name} runs/{args.out.name}"
        command += f" --tables {' '.join(args.tables)} --seeds {' '.join(map(str, args.seeds))}"
        write_json(args.json, {"command": command, "machine": machine(), **about, "rows": rows})
