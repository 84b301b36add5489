"""Keep what a finished run found, without the run: rows, differences, what it cost and where.

python experiments/record.py runs/games experiments/guided/results

writes games.json, games.png (gains with intervals) and games_deciles.png (gain by popularity of the target) into the folder;
all are small enough to commit.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guided_refine.evaluation.rows import compare
from guided_refine.files import read_json, read_parquet, write_json
from guided_refine.runfolder import RunFolder

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, help="a finished run folder")
parser.add_argument("out", type=Path, help="folder for NAME.json and NAME.png")
parser.add_argument("--command", help="what made it (default: guided-refine run CONFIG with the run's name)")
args = parser.parse_args()

folder = RunFolder(args.run)
config, stages = folder.config(), folder.manifest()["stages"]
beside = {
    "baselines": folder.root / "baselines.json",
    "strata": folder.root / "strata.json",
    "beyond_accuracy": folder.root / "beyond_accuracy.json",
    "convergence": folder.root / "convergence.json",
    "scores": folder.summary,
    "truth": folder.truth,
}
HEADLINE = ["ndcg@10", "recall@10", "mrr"]


def against_the_rest() -> list[dict[str, Any]]:
    """Refined minus every other variant but the base, which `differences` has: mean, interval, p and seeds' p."""
    if not folder.per_user.exists():
        return []
    per_user = read_parquet(folder.per_user)
    found = []
    for backbone, rows in per_user.groupby("backbone", sort=False):
        others = [v for v in rows["variant"].unique() if v not in ("base", "refined")]
        if "refined" in set(rows["variant"]):
            for other in others:
                found += compare(per_user, backbone, "refined", other, metrics=HEADLINE)
    return found


kept = ("seconds", "peak_memory_mib", "machine", "finished")
write_json(
    args.out / f"{config.name}.json",
    {
        "command": args.command or f"guided-refine run experiments/{args.out.parent.name}/{config.name}.yaml",
        "config": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("guided-refine", "torch", "transformers", "peft")},
        "rows": read_json(folder.metrics),
        "differences": read_json(folder.differences),
        "refined_against": against_the_rest(),
        **{name: read_json(path) for name, path in beside.items() if path.exists()},
        "stages": {name: {k: entry.get(k) for k in kept} for name, entry in stages.items()},
    },
)
for name, suffix in (("gains", ""), ("deciles", "_deciles")):
    picture = folder.root / "plots" / f"{name}.png"
    if picture.exists():
        shutil.copyfile(picture, args.out / f"{config.name}{suffix}.png")
print(f"{args.out / config.name}.json: {len(read_json(folder.metrics))} rows")
