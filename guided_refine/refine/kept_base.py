"""What a trained base still says once its item vectors are reduced to make room: the frozen part that tuning adds to."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.histories import Histories
from guided_refine.config import RefineConfig
from guided_refine.data.dataset import Dataset
from guided_refine.refine.pca import fit_pca, kept_columns
from guided_refine.refine.table import guided_scale
from guided_refine.tuning.losses import catalog_scale


class KeptBase:
    """Scores of a trained base whose item vectors were reduced as `refined` reduces them.

        base(u, i) = <P h_u, P (e_i - mean)>

    P are the principal components of the base's item vectors e, h_u is its encoder's state after the events seen.
    The state is not centred: that would shift all items of a user alike. `weight` is what <z_u, z_i> counts in a refined
    model before it trains: the scale of its guided columns times `refine.user_weight`. A
    `guided_refine.tuning.tasks.BaseScores`. `item_value` (n_items, attributes) are the untuned scores.
    """

    def __init__(
        self, base: Backbone, dataset: Dataset, item_value: np.ndarray, refine: RefineConfig
    ) -> None:
        vectors = base.item_vectors()
        width = refine.width or vectors.shape[1]
        reduction = fit_pca(vectors, kept_columns(width, item_value.shape[1]))
        self._base, self._dataset = base, dataset
        self._components = reduction.components.astype(np.float32)
        self._items = reduction.apply(vectors)
        known = item_value[~np.isnan(item_value).any(axis=1)]
        scale = catalog_scale(item_value)
        guided = torch.from_numpy((known - scale.mean) / scale.std)
        self.weight = refine.user_weight * guided_scale(torch.from_numpy(self._items), guided, refine.scale)
        self.fingerprint = _fingerprint(base)

    def __call__(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores float32 (examples, candidates); user `users[e]` has seen his training events 0..positions[e]-1."""
        seen = [self._dataset.visible(int(u), "train")[:p] for u, p in zip(users, positions, strict=True)]
        histories = Histories.stack(seen)
        model = self._base.model
        with torch.no_grad():
            recent, lengths, _ = histories.recent(torch.arange(len(seen)), model.encoder.context)
            unknown = torch.full((len(seen),), -1)
            states = model.eval().state(recent, lengths, unknown, histories.length).numpy()
        scores: np.ndarray = (states @ self._components.T) @ self._items[items - 1].T
        return scores


def _fingerprint(base: Backbone) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(base.model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return digest.hexdigest()
