"""How much of what texts bring do a few readable columns keep? Topics of the catalog's texts, added to free vectors.

python experiments/attribute_curve.py RUN --out OUT [--backbones sasrec gru4rec] [--seeds 1 2 3 4 5] [--tables base ...]

RUN is a run folder with prepared data (`guided-refine data prepare`, or any stage of a run of CONFIG); its config says how
models are trained. Every cell (backbone, table, seed) is trained until validation stops rising, then tested; a finished cell
is never trained again, a killed one goes on after its last epoch. Tables:

    base                the backbone's free vectors; RUN's own base, where it has one of this seed and these settings
    topics-N            free vectors plus a trained map of N topics' weights, those that `attributes propose --count N` names
    topics-N-shuffled   the same, every item with another one's weights
    topics-N-trained    the same number of columns, random at the start and trained: more parameters and no text
    topics-N-lent       topics-N once it is trained, items without training interactions in the place of like ones
    columns-N           PCA of the base's vectors and N topics' weights in the place of the other columns
    words-N             free vectors plus a map of N singular vectors of word counts, which have no names

Users have no scores of their own here: what a user likes is what the encoder reads from the history. At the end, OUT holds
`metrics.json` and `differences.json` as a run does; `curve_results.py` keeps and draws them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.randomness import (
    DIRECTIONS,
    ITEM_SHUFFLE,
    ITEM_TABLE,
    RANDOM_COLUMNS,
    derived_seed,
)
from guided_refine.backbones.tables import IdTable, ItemTable
from guided_refine.backbones.training import torch_threads
from guided_refine.config import Config, TrainConfig
from guided_refine.data.dataset import Dataset, load_as
from guided_refine.evaluation.rows import collect, evaluate_unit, read_fit, write_fit
from guided_refine.files import read_json, write_json
from guided_refine.machine import machine
from guided_refine.progress import Progress
from guided_refine.refine.cold import lend_to_cold
from guided_refine.refine.pca import fit_pca
from guided_refine.refine.summed_table import SummedTable, directions
from guided_refine.refine.table import RefinedTable, guided_scale
from guided_refine.refine.text_table import standardised
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.propose import propose_attributes

DONE, ABOUT = "cell.json", "about.json"
LENT = "-lent"
TABLES = [
    "base",
    *(f"topics-{n}" for n in (4, 8, 16, 32, 64)),
    "topics-64-lent",
    "topics-64-shuffled",
    "topics-64-shuffled-lent",
    "topics-64-trained",
    "words-64",
    "words-256",
    "words-256-lent",
]


def columns(source: str, number: int, texts: list[str]) -> torch.Tensor:
    """What `number` columns say of every item, (n_items, number), standardised and cut at three deviations."""
    if source == "words":
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        counts = TfidfVectorizer(sublinear_tf=True, min_df=5, max_df=0.2, stop_words="english")
        values = TruncatedSVD(number, random_state=0).fit_transform(counts.fit_transform(texts))
    else:
        values = propose_attributes(texts, number).weights
    if values.shape[1] != number:
        raise SystemExit(
            f"the texts hold {values.shape[1]} topics that differ, not {number}; ask for as many"
        )
    return standardised(values).clip(-3, 3)


def build(
    table: str,
    kind: str,
    seed: int,
    dataset: Dataset,
    config: Config,
    out: Path,
    known: dict[str, torch.Tensor],
) -> Backbone:
    """The unfitted model of a cell; `known` keeps columns that another cell made."""
    width, start = config.train.width, derived_seed(seed, ITEM_TABLE)
    if table == "base":
        return Backbone.new(kind, dataset, config.train, seed=seed)
    source, number, *changed = table.split("-")
    name = f"{source.replace('columns', 'topics')}-{number}"
    if name not in known:
        known[name] = columns(name.split("-")[0], int(number), dataset.texts)
    guided = known[name]
    if changed == ["shuffled"]:
        order = np.random.default_rng(derived_seed(seed, ITEM_SHUFFLE)).permutation(len(guided))
        guided = guided[torch.from_numpy(order)]
    elif changed == ["trained"]:
        noise = np.random.default_rng(derived_seed(seed, RANDOM_COLUMNS)).standard_normal(guided.shape)
        guided = torch.from_numpy(noise.astype(np.float32))
    made: ItemTable
    if source == "columns":
        vectors = Backbone.load(out / "units" / kind / "base" / f"seed{seed}").item_vectors()
        reduced = torch.from_numpy(fit_pca(vectors, width - guided.shape[1]).apply(vectors))
        made = RefinedTable(reduced, guided, guided_scale(reduced, guided, 1.0))
    else:
        generator = torch.Generator().manual_seed(derived_seed(seed, DIRECTIONS))
        where = directions(guided.shape[1], width, config.train.item_std, generator)
        free = IdTable(dataset.n_items, width, seed=start, std=config.train.item_std).weight
        made = SummedTable(guided, where, free, trainable=changed == ["trained"])
    return Backbone(kind, made, None, config.train, seed)


def trained(
    table: str, kind: str, seed: int, folder: RunFolder, config: Config, dataset: Dataset, out: Path
) -> Path | None:
    """Where a cell's weights are already: a lent table's before it lends, a base that RUN trained in the same way."""
    if table.endswith(LENT):
        return out / "units" / kind / table.removesuffix(LENT) / f"seed{seed}"
    unit = folder.unit(kind, "base", seed)
    if table != "base" or not (unit / "row.json").exists() or folder.config().base.embeddings is not None:
        return None
    # What the folder holds may be of settings before those that it asks for now.
    same = read_json(unit / "row.json")["split_sha256"] == dataset.split.sha256
    return unit if same and Backbone.load(unit).config == config.train else None


def is_done(cell: Path, config: Config, dataset: Dataset) -> bool:
    """True for a finished cell; one that was trained otherwise would be averaged with the rest, so it ends the script."""
    if not (cell / DONE).exists():
        return False
    about = read_json(cell / DONE)
    if (TrainConfig(**about["train"]), about["split"]) != (config.train, dataset.split.sha256):
        raise SystemExit(f"{cell} was trained with other settings or on other data; give another --out")
    return True


def do_cell(
    model: Backbone,
    dataset: Dataset,
    folder: Path,
    head: dict[str, Any],
    config: Config,
    progress: Progress,
    before: Path | None,
) -> None:
    """Train and test one cell, or test what was trained `before`; what says that it is done is written last."""
    progress.about("/".join(str(value) for value in head.values()))
    if before is not None:
        fit = read_fit(before)
        if head["variant"].endswith(LENT):
            lend_to_cold(model, dataset.train_counts())
    else:
        fit = model.fit(dataset, checkpoint=folder / "checkpoint", progress=progress)
    model.save(folder)
    write_fit(fit, folder)
    evaluate_unit(model, fit, dataset, folder, **head, ks=config.evaluate.ks)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    best = max(epoch["ndcg@10"] for epoch in fit.curve)
    about = {
        "validation_ndcg@10": best,
        "train": config.train.model_dump(mode="json"),
        "split": dataset.split.sha256,
        "machine": machine(),
    }
    write_json(folder / DONE, about)
    progress.log(f"{'/'.join(str(v) for v in head.values())}: validation {best:.4f}, {len(fit.curve)} epochs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbones", nargs="+", default=["sasrec"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="of train, in place of the run's"
    )
    args = parser.parse_args()
    folder = RunFolder(args.run)
    config = folder.config()
    own = dict(pair.split("=", 1) for pair in args.set)
    config = Config.model_validate(
        config.model_dump() | {"train": config.train.model_dump() | own, "seeds": args.seeds}
    )
    dataset = load_as(folder.data, config.data)
    if {t for t in args.tables if t.startswith("columns")} and "base" not in args.tables:
        raise SystemExit("columns-N start from the base's vectors: name base among the tables, too")
    for table in args.tables:
        before = args.tables[: args.tables.index(table)]
        if table.endswith(LENT) and table.removesuffix(LENT) not in before:
            raise SystemExit(f"{table} is {table.removesuffix(LENT)} with a change: name that before it")
    progress, known = Progress(), {}
    for seed in args.seeds:
        for kind in args.backbones:
            for table in args.tables:
                cell = args.out / "units" / kind / table / f"seed{seed}"
                if not is_done(cell, config, dataset):
                    before = trained(table, kind, seed, folder, config, dataset, args.out)
                    with torch_threads(config.train.threads or 1):
                        model = (
                            Backbone.load(before)
                            if before
                            else build(table, kind, seed, dataset, config, args.out, known)
                        )
                    do_cell(
                        model,
                        dataset,
                        cell,
                        {"backbone": kind, "variant": table, "seed": seed},
                        config,
                        progress,
                        before,
                    )
    chosen = {"--seeds": args.seeds, "--tables": args.tables, "--set": args.set}
    said = " ".join(f"{key} {' '.join(map(str, values))}" for key, values in chosen.items() if values)
    write_json(
        args.out / ABOUT,
        {
            "command": f"python experiments/attribute_curve.py runs/{args.run.name} --out runs/{args.out.name} "
            f"--backbones {' '.join(args.backbones)} {said}",
            "config": config.model_dump(mode="json"),
        },
    )
    found = sorted((args.out / "units").glob("*/*/seed*"))
    for cell in found:  # those of other calls, too
        is_done(cell, config, dataset)
    collect(args.out, found, config.evaluate)
