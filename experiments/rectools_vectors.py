"""Item vectors of RecTools' SASRec, trained on a run's data, as base embeddings for another run.

make -C benchmarks/peers rectools
python experiments/rectools_vectors.py RUN --out vectors.parquet [--epochs 60]
guided-refine run CONFIG --set base.embeddings=vectors.parquet --out OUT

RUN is a run folder with prepared data; its config says width, length, dropout, rate and batch of RecTools' model, too. Of
its epochs the one with the best validation NDCG@10 is taken. RecTools knows no item without training interactions; such
items get the mean vector. Only the training part is read, and validation for the choice of the epoch.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.backbones.training import torch_threads
from guided_refine.bench.backbones import ndcg_of_vectors, rectools_sizes
from guided_refine.bench.events import write_events
from guided_refine.bench.peer import HOW_TO_INSTALL, rectools_python, run_rectools
from guided_refine.data.dataset import load_as
from guided_refine.files import write_parquet
from guided_refine.runfolder import RunFolder

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .parquet file")
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    python = rectools_python()
    if python is None:
        raise SystemExit(HOW_TO_INSTALL)
    folder = RunFolder(args.run)
    config = folder.config()
    dataset = load_as(folder.data, config.data)
    job = {
        "task": "train",
        "model": "sasrec",
        "threads": config.train.threads or 1,
        "epochs": args.epochs,
        "sizes": rectools_sizes(config.train),
    }
    with tempfile.TemporaryDirectory() as place, torch_threads(job["threads"]):
        events = write_events(dataset, Path(place) / "events.npz")
        answer = run_rectools({**job, "events": str(events)}, Path(place), python=python)
        files = [Path(place) / f"epoch_{epoch}.npz" for epoch in range(1, args.epochs + 1)]
        curve = [ndcg_of_vectors(file, dataset) for file in files]
        best = int(np.argmax(curve))
        with np.load(files[best]) as found:
            vectors = np.tile(found["vector"].mean(axis=0), (dataset.n_items, 1))
            vectors[found["item"] - 1] = found["vector"]
            unknown = dataset.n_items - len(found["item"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(vectors, columns=[f"v{i}" for i in range(vectors.shape[1])])
    frame.insert(0, "item_id", dataset.item_ids)
    write_parquet(args.out, frame)
    print(
        f"RecTools {answer['versions']['rectools']} SASRec, epoch {best + 1} of {args.epochs}: validation NDCG@10 "
        f"{curve[best]:.4f}; {unknown} items without training interactions have the mean vector; {args.out}"
    )
