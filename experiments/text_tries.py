"""What texts could bring to a run's base, on validation: tables that no variant of the package makes.

python experiments/text_tries.py RUN TABLE... [--seed 1] [--encoder FOLDER]

RUN is a run folder with a trained base (`guided-refine train CONFIG --out RUN`). Each TABLE is FUSION:SOURCE:NUMBER,

    FUSION  columns    PCA of the base and NUMBER frozen columns, as `refined` has them
            sum        free vectors of full width plus a trained linear map of NUMBER columns
            gated-K    as sum, an item's free vector times n / (n + K) for n training interactions; none where n is 0
            slowed-S   as sum, columns times S and the map over it: the map learns more slowly, or faster where S > 1
            dropped-P  as sum, in training a share P of the items is without its free vector, drawn at each look
    SOURCE  words      singular vectors of the texts' word counts
            topics     non-negative topics of the word counts
            proposed   weights of the topics that `attributes propose` names
            scores     the run's untuned scores (NUMBER is not read)
            encoder    principal components of the texts' vectors by the sentence encoder in FOLDER
            each with "-shuffled" behind it: the same rows given to other items

and trains SASRec (or the run's first backbone) as the run's config says. The test part is not read. Each line that is
printed (NDCG@10, that of items with at most one training interaction, epochs) goes into tries.csv, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from note_try import add_tries

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.randomness import ITEM_TABLE, derived_seed
from guided_refine.backbones.tables import ItemTable
from guided_refine.backbones.training import torch_threads
from guided_refine.backbones.validation import Validation
from guided_refine.data.dataset import Dataset, load_as
from guided_refine.progress import Progress
from guided_refine.refine.pca import fit_pca
from guided_refine.refine.summed_table import SummedTable, fresh_sum
from guided_refine.refine.table import RefinedTable, guided_scale
from guided_refine.refine.text_table import standardised
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.builtin.encoder import SentenceEncoder
from guided_refine.scoring.propose import propose_attributes
from guided_refine.scoring.scores import load_scores

RARE = 1
"""An item with so many training interactions, or fewer, is rare."""


class TrustedTable(SummedTable):
    """A `SummedTable` whose free vectors count for less: times `trust` (n_items, 1), and now and then not at all."""

    trust: torch.Tensor

    def __init__(self, table: SummedTable, trust: torch.Tensor, dropped: float) -> None:
        super().__init__(table.guided.detach(), table.adapter.detach(), table.free)
        self.register_buffer("trust", trust)
        self.dropped = dropped

    def matrix(self) -> torch.Tensor:
        """Vectors of all items, shape (n_items, width)."""
        assert self.free is not None
        trust = self.trust
        if self.training and self.dropped:
            trust = trust * (torch.rand(trust.shape) >= self.dropped)
        return self.free * trust + self.guided @ self.adapter


def rare_ndcg(model: Backbone, dataset: Dataset) -> float:
    """Validation NDCG@10 of the users whose target is rare."""
    values = Validation(dataset, torch.device("cpu")).per_user(model.model)
    rare = dataset.train_counts()[dataset.targets("valid")[1] - 1] <= RARE
    return float(values[torch.from_numpy(rare)].mean())


def columns_of(
    source: str, number: int, folder: RunFolder, dataset: Dataset, encoder: Path | None
) -> np.ndarray:
    """(n_items, number), standardised over the catalog and cut at three deviations."""
    from sklearn.decomposition import NMF, PCA, TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if source == "scores":
        values = load_scores(folder.scores("untuned"), cut_off=dataset.split.cut_off).item_value
    elif source == "encoder":
        if encoder is None:
            raise SystemExit("a table of encoder needs --encoder FOLDER")
        vectors = SentenceEncoder(encoder).embed(dataset.texts, progress=Progress())
        values = PCA(number, random_state=0).fit_transform(vectors)
    elif source == "proposed":
        values = propose_attributes(dataset.texts, number).weights
    else:
        counts = TfidfVectorizer(sublinear_tf=True, min_df=5, max_df=0.2, stop_words="english").fit_transform(
            dataset.texts
        )
        kinds = {
            "words": lambda: TruncatedSVD(number, random_state=0),
            "topics": lambda: NMF(number, init="nndsvda", random_state=0, max_iter=500),
        }
        values = kinds[source]().fit_transform(counts)
    return standardised(values).clip(-3, 3).numpy()


def table_of(
    name: str, folder: RunFolder, dataset: Dataset, base: Backbone, seed: int, encoder: Path | None
) -> ItemTable:
    """The item table that a TABLE names."""
    fusion, source, number = name.split(":")
    values = columns_of(source.removesuffix("-shuffled"), int(number), folder, dataset, encoder)
    if source.endswith("-shuffled"):
        values = values[np.random.default_rng(seed).permutation(len(values))]
    guided = torch.from_numpy(values)
    width = base.table.width
    if fusion != "columns":
        table = fresh_sum(
            guided, width, seed=derived_seed(seed, ITEM_TABLE), free=True, std=base.config.item_std
        )
        how, _, amount = fusion.partition("-")
        counts = torch.from_numpy(dataset.train_counts()).float()[:, None]
        if how == "gated":
            return TrustedTable(table, counts / (counts + float(amount)).clamp(min=1), 0.0)
        if how == "dropped":
            return TrustedTable(table, torch.ones_like(counts), float(amount))
        if how == "slowed":
            speed = float(amount)
            return SummedTable(guided * speed, table.adapter.detach() / speed, table.free)
        return table
    vectors = base.item_vectors()
    reduced = torch.from_numpy(fit_pca(vectors, width - guided.shape[1]).apply(vectors))
    return RefinedTable(reduced, guided, guided_scale(reduced, guided, 1.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("tables", nargs="+", metavar="TABLE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    folder = RunFolder(args.run)
    config = folder.config()
    kind = config.backbones[0]
    dataset = load_as(folder.data, config.data)
    base = Backbone.load(folder.unit(kind, "base", args.seed))
    for name in args.tables:
        with torch_threads(1):
            table = table_of(name, folder, dataset, base, args.seed, args.encoder)
            model = Backbone(kind, table, None, config.train, args.seed)
            fit = model.fit(dataset)
            rare = rare_ndcg(model, dataset)
        best = max(row["ndcg@10"] for row in fit.curve)
        row = {
            "config": config.name,
            "backbone": kind,
            "variant": "script",
            "seed": args.seed,
            "settings": f"text_tries.py {name}",
            "validation_ndcg@10": round(best, 5),
            "rare_ndcg@10": round(rare, 5),
            "epochs": len(fit.curve),
            "seconds": round(sum(r["seconds"] for r in fit.curve)),
            "ended": "by itself" if fit.converged else "stopped",
            "note": "no user side",
        }
        print(name, row["validation_ndcg@10"], row["rare_ndcg@10"], row["epochs"], flush=True)
        add_tries([row])
