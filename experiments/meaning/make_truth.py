"""Write the truth file for `guided-refine evaluate RUN --truth FILE` from MovieLens tags.

python experiments/meaning/make_truth.py ml_latest_small/tags.csv.gz truth.csv
guided-refine evaluate runs/ml_latest_small --truth truth.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from guided_refine.evaluation.tags import read_tag_mapping, tag_truth
from guided_refine.files import atomic_path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tags", type=Path, help="user_id, item_id, tag")
parser.add_argument("out", type=Path, help="item_id, attribute, value")
parser.add_argument("--mapping", type=Path, default=Path(__file__).with_name("ml_tags.yaml"))
parser.add_argument("--min-items", type=int, default=30, help="leave out attributes with fewer tagged items")
args = parser.parse_args()

truth = tag_truth(pd.read_csv(args.tags), read_tag_mapping(args.mapping), min_items=args.min_items)
with atomic_path(args.out) as path:
    truth.to_csv(path, index=False)
positives = truth.groupby("attribute", sort=False)["value"].agg(["sum", "size"])
for name, row in positives.iterrows():
    print(f"{name}: {row['sum']} items with a tag of it among {row['size']} tagged items")
