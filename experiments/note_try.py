"""Note what trainings reached on validation, so that every try is counted.

python experiments/note_try.py RUN... [--note "..."]

adds one line per trained (or stopped) unit that each run's config asks for to experiments/tries.csv: the settings that are
not the package's defaults, validation NDCG@10, epochs, seconds. A line that stands there already, with the same note, is
replaced: what the code did otherwise then belongs into the note. The runs come from
`guided-refine train CONFIG --set ... --out RUN`, which does not read the test part.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from guided_refine.config_file import parse_config
from guided_refine.files import atomic_path, read_json
from guided_refine.runfolder import RunFolder, flat_values

TABLE = Path(__file__).with_name("tries.csv")
KEY = ["config", "backbone", "variant", "seed", "settings", "note"]
#: What names a row, or decides nothing about its training.
APART = ("name", "seed", "seeds", "data.", "backbones", "variants", "evaluate.", "explain.")


def tries(run: Path, note: str) -> list[dict[str, Any]]:
    """One row per unit of `run` of which something is known."""
    config = RunFolder(run).config()
    had = flat_values(config.model_dump(mode="json"))
    usual = flat_values(parse_config({"name": config.name}).model_dump(mode="json"))
    settings = " ".join(
        f"{k}={v}" for k, v in sorted(had.items()) if v != usual.get(k) and not k.startswith(APART)
    )
    rows = []
    units = [
        (kind, variant, seed)
        for kind in config.backbones
        for variant in config.variants_of(kind)
        for seed in config.all_seeds
    ]
    for kind, variant, seed in units:
        # What else lies in the folder is of settings that were asked for before.
        fit = _fit(RunFolder(run).unit(kind, variant, seed))
        if fit is None:
            continue
        rows.append(
            {
                "config": config.name,
                "backbone": kind,
                "variant": variant,
                "seed": seed,
                "settings": settings,
                "validation_ndcg@10": round(max(row["ndcg@10"] for row in fit["curve"]), 5),
                "epochs": len(fit["curve"]),
                "seconds": round(sum(row["seconds"] for row in fit["curve"])),
                "ended": "by itself" if fit.get("converged") else "stopped",
                "note": note,
            }
        )
    return rows


def _fit(unit: Path) -> dict[str, Any] | None:
    """What is known of a finished training, or of one that was stopped between epochs."""
    if (unit / "fit.json").exists():
        found: dict[str, Any] = read_json(unit / "fit.json")
        return found
    stopped = unit / "checkpoint" / "last.safetensors"
    if not stopped.exists():
        return None
    with safe_open(stopped, "pt") as file:
        counters: dict[str, Any] = json.loads(file.metadata()["counters"])
    return counters if counters["curve"] else None


def add_tries(rows: list[dict[str, Any]]) -> int:
    """Add rows to the table, in the place of those with the same key; returns how many it holds then."""
    old = [pd.read_csv(TABLE, keep_default_na=False)] if TABLE.exists() else []
    table = pd.concat([*old, pd.DataFrame(rows)]).drop_duplicates(KEY, keep="last").sort_values(KEY)
    with atomic_path(TABLE) as path:
        table.to_csv(path, index=False)
    return len(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    number = add_tries([row for run in args.runs for row in tries(run, args.note)])
    print(f"{TABLE.name}: {number} tries")
