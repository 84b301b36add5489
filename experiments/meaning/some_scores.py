"""A table of some films' scores, for `llm_options.teacher: {distil: FILE}`.

python experiments/meaning/some_scores.py RUN OUT [--items 2000] [--seed 0]

Takes the untuned item scores of a run (`scores.parquet`) for items drawn by the seed: as if a model too dear for the whole
catalog had scored no more of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from guided_refine.files import atomic_path, read_parquet

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scores = read_parquet(args.run / "scores.parquet")
    scores = scores[(scores["kind"] == "item") & (scores["source"] == "untuned")]
    drawn = np.random.default_rng(args.seed).choice(np.unique(scores["id"]), args.items, replace=False)
    some = scores[scores["id"].isin(set(drawn))].rename(columns={"id": "item_id"})
    with atomic_path(args.out) as path:
        some[["item_id", "attribute", "value", "spread"]].to_csv(path, index=False)
