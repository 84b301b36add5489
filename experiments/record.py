"""Keep what a finished run found, without the run: rows, differences, what it cost and where.

python experiments/record.py runs/games experiments/guided/results

writes games.json and games.png (gains with intervals) into the folder; both are small enough to commit.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path

from guided_refine.files import read_json, write_json
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
kept = ("seconds", "peak_memory_mib", "machine", "finished")
write_json(
    args.out / f"{config.name}.json",
    {
        "command": args.command or f"guided-refine run experiments/{args.out.parent.name}/{config.name}.yaml",
        "config": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("guided-refine", "torch", "transformers", "peft")},
        "rows": read_json(folder.metrics),
        "differences": read_json(folder.differences),
        **{name: read_json(path) for name, path in beside.items() if path.exists()},
        "stages": {name: {k: entry.get(k) for k in kept} for name, entry in stages.items()},
    },
)
picture = folder.root / "plots" / "gains.png"
if picture.exists():
    shutil.copyfile(picture, args.out / f"{config.name}.png")
print(f"{args.out / config.name}.json: {len(read_json(folder.metrics))} rows")
