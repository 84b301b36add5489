"""A run folder made of real parts in about a second: tiny data, invented scores, models trained for two epochs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.backbones.backbone import Backbone
from guided_refine.config_file import parse_config
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.data.prepare import prepare
from guided_refine.evaluation.rows import collect, evaluate_unit, write_fit
from guided_refine.evaluation.truth import compare_with_truth
from guided_refine.files import read_parquet, write_json, write_parquet
from guided_refine.refine.frames import refined_items, refined_users
from guided_refine.refine.variants import build_base, build_variant
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.scores import AttributeScores, UserScores, save_scores
from guided_refine.scoring.summary import summarise

ITEMS, USERS = 40, 30
EVIL = "<script>alert('x')</script> *Bold* $100 | [link](http://x.example) `code` & more"
SILENT = 5
"""Number of the user whom the language model has not scored."""


def make_run(
    root: Path,
    source: Path,
    *,
    until: str = "report",
    n_items: int = ITEMS,
    n_users: int = USERS,
    **overrides: Any,
) -> RunFolder:
    """A run at `root`; `until`: data, scores, base, refined or report. Raw files are written to `source`."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "data": {"path": str(source), "reader": "tables"},
        "attributes": "movies",
        "backbones": ["sasrec"],
        "train": {"width": 16, "max_length": 8, "max_epochs": 2, "layers": 1, "threads": 1},
        "variants": ["base", "refined", "shuffled"],
        "evaluate": {"bootstrap": 100},
        "explain": {"k": 5},
    }
    config = parse_config(settings | overrides)
    folder = RunFolder(root)
    folder.open(config, update=False)
    _write_source(source, n_items, n_users)
    prepare("tables", source, folder.data, options=config.data, name=config.name)
    folder.record("data", "x", [], time.monotonic(), None)
    if until == "data":
        return folder
    _spoil_title(folder.data / "items.parquet")
    dataset = load_dataset(folder.data)
    names = load_attributes(config.attributes).names
    scores = {source: _scores(dataset, names, source) for source in ("untuned", "tuned")}
    for name, value in scores.items():
        save_scores(value, folder.scores(name))
    frames = [
        s.to_frame(dataset.item_ids.tolist(), dataset.user_ids, dataset.split.test) for s in scores.values()
    ]
    write_parquet(folder.score_table, pd.concat(frames, ignore_index=True))
    write_json(folder.summary, summarise(scores))
    folder.record("score_table", "x", [], time.monotonic(), None)
    if until == "scores":
        return folder
    for backbone in config.backbones:
        base: Backbone | None = None
        for variant in config.variants_of(backbone)[: 1 if until == "base" else None]:
            unit = folder.unit(backbone, variant, 0)
            if base is None:
                model = base = build_base(backbone, dataset, config, 0)
            else:
                model = build_variant(variant, dataset, base, scores, config, 0, attributes=names)
            fit = model.fit(dataset)
            model.save(unit)
            write_fit(fit, unit)
            evaluate_unit(
                model, fit, dataset, unit, backbone=backbone, variant=variant, seed=0, ks=[5, 10, 20]
            )
            folder.record(f"{backbone}/{variant}/seed0", "x", [], time.monotonic(), None)
            if variant == "refined" and backbone == config.backbones[0]:
                write_parquet(folder.refined_items, refined_items(model, dataset, names))
                write_parquet(folder.refined_users, refined_users(model, dataset, names))
    if until != "report":
        return folder
    units = [folder.unit(b, v, 0) for b in config.backbones for v in config.variants_of(b)]
    collect(folder.root, units, config.evaluate, seed=0)
    _write_truth(folder, dataset, names)
    folder.record("report", "x", [folder.metrics], time.monotonic(), None)
    return folder


def _write_source(source: Path, n_items: int, n_users: int) -> None:
    rng = np.random.default_rng(0)
    source.mkdir(parents=True, exist_ok=True)
    items = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(n_items)],
            "title": [f"Film {i}" for i in range(n_items)],
            "plot": [f"words of plot {i}" for i in range(n_items)],
        }
    )
    items.to_csv(source / "items.csv", index=False)
    rows = [
        {"user_id": f"u{u}", "item_id": f"i{i}", "timestamp": t}
        for u in range(n_users)
        for t, i in enumerate(rng.choice(n_items, size=8 + u % 8, replace=False))
    ]
    pd.DataFrame(rows).to_csv(source / "interactions.csv", index=False)


def _spoil_title(path: Path) -> None:
    """`prepare` takes markup out of titles; a catalog prepared by other means may still hold some."""
    items = read_parquet(path)
    items.loc[items["item_id"] == "i3", "title"] = EVIL
    write_parquet(path, items)


def _scores(dataset: Dataset, names: list[str], source: str) -> AttributeScores:
    rng = np.random.default_rng(1 if source == "tuned" else 2)
    items = rng.beta(2, 2, size=(dataset.n_items, len(names)))
    users = [u for u in range(dataset.n_users) if u != SILENT]
    user = np.repeat(users, 2)
    position = np.concatenate([[2, int(dataset.split.test[u])] for u in users])
    value = rng.beta(2, 2, size=(len(user), len(names)))
    snapshots = UserScores(user, position, value, np.full_like(value, 0.1))
    return AttributeScores(
        source, names, items, np.full_like(items, 0.1), snapshots, "invented", dataset.split.cut_off
    )


def _write_truth(folder: RunFolder, dataset: Dataset, names: list[str]) -> None:
    scores = _scores(dataset, names, "tuned").item_value
    noise = np.random.default_rng(3).normal(0, 0.2, scores.shape)
    known = pd.DataFrame(scores + noise, columns=names).assign(item_id=dataset.item_ids)
    path = folder.root / "known.csv"
    known.melt(id_vars="item_id", var_name="attribute").to_csv(path, index=False)
    write_json(folder.truth, compare_with_truth(folder.root, path, bootstrap=50))
