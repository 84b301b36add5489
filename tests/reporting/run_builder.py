"""A run folder as the pipeline leaves it, made from numbers whose story is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from guided_refine.config import EvaluateConfig
from guided_refine.config_file import parse_config
from guided_refine.data.dataset import load_dataset
from guided_refine.evaluation.baselines.measure import measure_baseline
from guided_refine.evaluation.best import best_items
from guided_refine.evaluation.details import collect_details
from guided_refine.evaluation.lists import write_lists
from guided_refine.evaluation.ranking import Ranking
from guided_refine.evaluation.rows import collect, metrics_row, per_user_frame
from guided_refine.evaluation.truth import compare_with_truth
from guided_refine.files import write_json, write_parquet

ATTRIBUTES = ["humour", "darkness", "pace", "flatness"]
EVIL_TITLE = "Cats | Dogs <script>alert(1)</script> *_[`x`](y)_*"
STRENGTH = {"base": 0.3, "refined": 0.9, "shuffled": 0.3, "warm_restart": 0.35}
N_USERS, N_ITEMS = 120, 40


def build_run(
    root: Path,
    *,
    strength: dict[str, float] = STRENGTH,
    converged: bool = True,
    seeds: tuple[int, ...] = (0, 1),
) -> Path:
    """Write a whole synthetic run; `strength` says how well each variant knows the target."""
    rng = np.random.default_rng(0)
    variants = {"sasrec": list(strength), "gru4rec": ["base", "refined"]}
    raw = {"name": "toy", "backbones": list(variants), "variants": variants, "seeds": list(seeds)}
    raw |= {"evaluate": {"bootstrap": 300}}
    config = parse_config(raw)
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    titles = [EVIL_TITLE, *(f"Item {i}" for i in range(1, N_ITEMS))]
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(N_ITEMS)], "title": titles, "text": "words"})
    events = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(N_USERS)], 6),
            "item_id": [f"i{i}" for i in np.minimum(rng.geometric(0.08, N_USERS * 6) - 1, N_ITEMS - 1)],
        }
    )
    write_parquet(root / "data/items.parquet", items)
    write_parquet(root / "data/interactions.parquet", events)
    dropped = {
        "dropped": {"unknown item|pipe": {"rows": 7, "first": None}},
        "removed_by_core": {"users": 2, "items": 1},
    }
    write_json(root / "data/info.json", {"name": "toy <data>", **dropped})
    dataset = load_dataset(root / "data")

    units = []
    users, targets = dataset.targets("test")
    for backbone, names in variants.items():
        for variant in names:
            for seed in seeds:
                # Every variant meets the same easy and hard users, as real ones do.
                common = np.random.default_rng(seed).random(len(users))
                noise = 0.9 * common + 0.1 * rng.random(len(users))
                greater = np.floor(30 * noise ** (2 * strength[variant])).astype(int)
                ranks = pd.DataFrame({"user": users, "target": targets, "greater": greater, "equal": 0})
                folder = root / "backbones" / backbone / variant / f"seed{seed}"
                model = {"backbone": backbone, "variant": variant, "seed": seed}
                per_user = per_user_frame(dataset, ranks, [5, 10, 20], **model)  # type: ignore[arg-type]
                write_parquet(folder / "per_user.parquet", per_user)
                row = metrics_row(dataset, per_user, converged=True, steps=1234, seconds=5.5)
                write_json(folder / "row.json", row)
                none = np.zeros(0, np.int64)
                drawn = np.random.default_rng([seed, len(variant)]).random((len(users), N_ITEMS))
                best = best_items(drawn, users, none, none, 20)
                write_lists(folder / "recommendations.parquet", dataset, Ranking(ranks, best))
                curve = pd.DataFrame(
                    {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "ndcg@10": [0.1, 0.2, 0.2]}
                )
                curve.to_csv(folder / "curve.csv", index=False)
                units.append(folder)
    options = EvaluateConfig(bootstrap=300)
    collect(root, units, options)
    simple = [root / "baselines" / name for name in options.baselines]
    for folder in simple:
        measure_baseline(folder.name, dataset, folder, ks=options.ks)
    collect_details(root, units, simple, dataset, options)
    _write_scores(root, rng)
    return root


def _write_scores(root: Path, rng: np.random.Generator) -> None:
    truth = rng.random(N_ITEMS)
    parts = []
    for source, noise in (("untuned", 0.3), ("tuned", 0.05)):
        humour = truth + noise * rng.normal(size=N_ITEMS)
        columns = {"humour": humour, "darkness": 1 - humour, "pace": rng.random(N_ITEMS), "flatness": 0.5}
        for kind, ids in (
            ("item", [f"i{i}" for i in range(N_ITEMS)]),
            ("user", [f"u{u}" for u in range(N_ITEMS)]),
        ):
            for name, value in columns.items():
                head = {"kind": kind, "id": ids, "position": -1, "attribute": name, "source": source}
                parts.append(pd.DataFrame(head).assign(value=value, spread=0.1))
    write_parquet(root / "scores.parquet", pd.concat(parts, ignore_index=True))
    counts = {s: {"texts_cut": 3, "items_without_text": 1} for s in ("untuned", "tuned")}
    write_json(root / "scores/summary.json", {"model": "builtin|x", "counts": counts})
    ids = [f"i{i}" for i in range(N_ITEMS)]
    table = pd.concat(
        [
            pd.DataFrame({"item_id": ids, "attribute": "humour", "value": truth}),
            pd.DataFrame(
                {"item_id": ids, "attribute": "pace", "value": (rng.random(N_ITEMS) < 0.5).astype(int)}
            ),
        ]
    )
    table.to_csv(root / "truth.csv", index=False)
    write_json(root / "truth.json", compare_with_truth(root, root / "truth.csv", bootstrap=200))
    steps = np.arange(1, 41)
    curves = {"step": steps, "loss": 3 / steps, "recommendation": 2 / steps, "learning_rate": 1e-4}
    (root / "tuning").mkdir()
    pd.DataFrame(curves).to_csv(root / "tuning/curves.csv", index=False)
