"""The base, the refined backbone, and the controls without which a gain means nothing.

All variants share encoder, seed, schedule and stopping rule; they differ in the item table, the user term, and
for `warm_restart` in where the weights start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.randomness import (
    DIRECTIONS,
    ITEM_SHUFFLE,
    ITEM_TABLE,
    RANDOM_COLUMNS,
    RANDOM_USERS,
    USER_SHUFFLE,
    derived_seed,
)
from guided_refine.backbones.tables import IdTable, ItemTable, VectorTable
from guided_refine.config import TEXT_VARIANTS, VARIANTS, Config
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError, nearest
from guided_refine.refine.base_embeddings import load_base_embeddings
from guided_refine.refine.estimate import fit_estimate
from guided_refine.refine.normalise import Normaliser
from guided_refine.refine.pca import fit_pca, kept_columns
from guided_refine.refine.summed_table import SummedTable, directions
from guided_refine.refine.table import RefinedTable, guided_scale
from guided_refine.refine.text_table import text_table
from guided_refine.refine.users import GuidedUserTerm, Snapshots
from guided_refine.scoring.scores import AttributeScores, UserScores


def build_base(
    kind: str, dataset: Dataset, config: Config, seed: int, *, embeddings: Path | None = None
) -> Backbone:
    """The unfitted base: free item vectors, or one's own embeddings as their start.

    One's own embeddings keep their width and train on, as free vectors do: the base must not be weaker than
    the refined variant by being frozen. One factor brings their root mean square norm to 1, which leaves all
    angles and ratios as they are and spares the softmax a start at extremes.
    """
    if embeddings is None:
        return Backbone.new(kind, dataset, config.train, seed=seed)
    own = load_base_embeddings(embeddings, dataset.item_ids.tolist()).astype(np.float64)
    norm = float(np.sqrt((own**2).sum(axis=1).mean()))
    return Backbone(kind, VectorTable(torch.from_numpy(own / (norm or 1.0))), None, config.train, seed)


def build_variant(
    variant: str,
    dataset: Dataset,
    base: Backbone,
    scores: Mapping[str, AttributeScores],
    config: Config,
    seed: int,
    *,
    attributes: Sequence[str],
    texts: np.ndarray | None = None,
) -> Backbone:
    """An unfitted backbone for `variant` over a trained `base`.

    | variant           | item columns                             | user term                      |
    |-------------------|------------------------------------------|--------------------------------|
    | base              | as the base, from new weights            | none                           |
    | warm_restart      | as the base, from the base's weights     | none                           |
    | pca_only          | PCA, trainable                           | none                           |
    | guided_only       | scores, frozen                           | scores, residual               |
    | refined           | PCA, trainable; scores, frozen           | scores, residual               |
    | untuned           | the same with the untuned model's scores | the same                       |
    | shuffled          | PCA; scores of a random other item       | scores of a random other user  |
    | random_columns    | PCA; frozen normal noise                 | normal noise per user, residual |
    | trainable_columns | PCA; trainable normal noise              | residual                       |
    | text_linear       | trained linear map of the text vector    | none                           |
    | text_pca          | free, started from PCA of text vectors   | none                           |
    | id_plus_text      | free, plus that linear map               | none                           |

    With `refine.fuse: sum` scores are not columns beside a PCA but are mapped and added to vectors of full width, and
    `trainable_columns` trains what stands for the scores. With `refine.start: fresh` draws take the place of the PCA.

    `scores` maps "tuned" and "untuned" to scores; where both are there, "tuned" is used (but by `untuned`). `texts`
    (n_items, dims), which the last three read, are vectors of the items' texts by the untuned model, NaN where there is
    no text; these three start anew, as the base does.
    Raises `InputError` when scores are missing, of other attributes, or made under another split.
    """
    if variant not in VARIANTS:
        raise InputError(f"no variant '{variant}': {nearest(variant, VARIANTS)}")
    if variant == "warm_restart":
        return base.restarted(seed)
    if variant == "base":
        return Backbone(base.kind, _drawn(base, base.table.width, config, seed), None, config.train, seed)
    width = config.refine.width or base.table.width
    if variant in TEXT_VARIANTS:
        if texts is None:
            raise InputError(f"variant {variant} needs vectors of the items' texts")
        made = text_table(variant, texts, width, seed, std=config.train.item_std)
        return Backbone(base.kind, made, None, config.train, seed)
    kept = kept_columns(width, len(attributes)) if config.refine.fuse == "columns" else width
    reduced = _start(base, kept, config, seed)
    if variant == "pca_only":
        return Backbone(base.kind, VectorTable(reduced), None, config.train, seed)
    guided = _Guided(_source(scores, variant, attributes, dataset), dataset, config)
    if variant == "shuffled":
        guided.shuffle(seed)
    elif variant in ("random_columns", "trainable_columns"):
        guided.randomise(seed, silent_users=variant == "trainable_columns")
    scale = guided_scale(reduced, guided.items, config.refine.scale)
    if config.refine.fuse == "sum":
        generator = torch.Generator().manual_seed(derived_seed(seed, DIRECTIONS))
        where = directions(len(attributes), width, scale, generator)
        free = None if variant == "guided_only" else reduced
        summed = SummedTable(guided.items, where, free, trainable=variant == "trainable_columns")
        return Backbone(base.kind, summed, guided.term(width, where), config.train, seed)
    if variant == "guided_only":
        reduced, width = reduced[:, :0], len(attributes)
    if variant == "trainable_columns":
        table_: ItemTable = VectorTable(torch.cat([reduced, guided.items * scale], dim=1))
    else:
        table_ = RefinedTable(reduced, guided.items, scale)
    return Backbone(base.kind, table_, guided.term(width), config.train, seed)


def _start(base: Backbone, kept: int, config: Config, seed: int) -> Tensor:
    """What the free columns (n_items, kept) start from: the base, reduced where there is less room, or draws."""
    if config.refine.start == "fresh":
        return _drawn(base, kept, config, seed).weight.detach()
    vectors = base.item_vectors()
    if config.refine.fuse == "sum" and kept == base.table.width:
        return torch.from_numpy(vectors)
    return torch.from_numpy(fit_pca(vectors, kept).apply(vectors))


def _drawn(base: Backbone, width: int, config: Config, seed: int) -> IdTable:
    """Free vectors as a base of this seed starts from."""
    drawn = derived_seed(seed, ITEM_TABLE)
    return IdTable(base.table.n_items, width, seed=drawn, std=config.train.item_std)


def _source(
    scores: Mapping[str, AttributeScores], variant: str, attributes: Sequence[str], dataset: Dataset
) -> AttributeScores:
    name = "tuned" if "tuned" in scores and variant != "untuned" else "untuned"
    if name not in scores:
        raise InputError(f"variant {variant} needs {name} scores; score the dataset first")
    found = scores[name]
    if found.attributes != list(attributes):
        raise InputError(
            f"the {name} scores are of attributes {', '.join(found.attributes)}, but the config asks for "
            f"{', '.join(attributes)}; score again"
        )
    if found.cut_off != dataset.split.cut_off:
        raise InputError(
            f"the {name} scores were made under split {found.cut_off}, but this dataset's is "
            f"{dataset.split.cut_off}; score again so that no held-out interaction leaks in"
        )
    return found


class _Guided:
    """Normalised scores of items and users, and what the controls do to them."""

    def __init__(self, scores: AttributeScores, dataset: Dataset, config: Config) -> None:
        self.dataset, self.refine = dataset, config.refine
        self.normaliser = Normaliser.fit(scores.item_value, config.refine.normalise, config.refine.clip)
        self.items = torch.from_numpy(self.normaliser.apply(scores.item_value))
        u = scores.users
        self.users = Snapshots(u.user, u.position, self.normaliser.apply(u.value))

    def shuffle(self, seed: int) -> None:
        """Whole rows change owners, so columns keep their correlations.

        A user keeps the points at which he was scored. In training he is given what another user had at the same point of
        his own training, counted from its end (or at his first), afterwards what that user had at last: scores that have
        read validation events serve nobody in training.
        """
        items = np.random.default_rng(derived_seed(seed, ITEM_SHUFFLE)).permutation(len(self.items))
        self.items = self.items[torch.from_numpy(items)]
        scored, first, count = np.unique(self.users.user, return_index=True, return_counts=True)
        own = np.repeat(np.arange(len(scored)), count)
        late = self.users.position > self.dataset.split.n_train[self.users.user]
        early = np.bincount(own[~late], minlength=len(scored))
        rng = np.random.default_rng(derived_seed(seed, USER_SHUFFLE))
        giver = np.arange(len(scored))
        for group in (np.flatnonzero(early > 0), np.flatnonzero(early == 0)):
            giver[group] = rng.permutation(group)
        theirs = giver[own]
        left = first[own] + early[own] - np.arange(len(own))
        taken = first[theirs] + np.where(late, count[theirs] - 1, np.maximum(early[theirs] - left, 0))
        self.users = Snapshots(self.users.user, self.users.position, self.users.value[taken])

    def randomise(self, seed: int, *, silent_users: bool) -> None:
        """Standard normal noise for scores; with `silent_users` their scores are 0 and only the residual speaks."""
        items = np.random.default_rng(derived_seed(seed, RANDOM_COLUMNS)).standard_normal(self.items.shape)
        self.items = torch.from_numpy(items.astype(np.float32))
        m = self.items.shape[1]
        noise = np.random.default_rng(derived_seed(seed, RANDOM_USERS)).standard_normal(
            (self.dataset.n_users, m)
        )
        value = np.zeros_like(noise) if silent_users else noise
        self.users = Snapshots(
            self.users.user, self.users.position, value[self.users.user].astype(np.float32)
        )

    def term(self, width: int, where: Tensor | None = None) -> GuidedUserTerm:
        """The user term, with an estimate for unknown users fitted on training prefixes."""
        everyone = np.arange(self.dataset.n_users)
        by = UserScores(self.users.user, self.users.position, self.users.value, self.users.value)
        row = by.latest(everyone, self.dataset.split.n_train)
        known = np.flatnonzero(row >= 0)
        histories = [self.dataset.visible(int(u), "train") for u in known]
        return GuidedUserTerm(
            width,
            self.dataset.n_users,
            self.users,
            self.normaliser,
            fit_estimate(self.items.numpy(), histories, self.users.value[row[known]]),
            user_weight=self.refine.user_weight,
            residual=self.refine.residual,
            directions=where,
            silent=not self.refine.users,
        )
