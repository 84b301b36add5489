"""The refined model of a run, opened so that its recommendations can be explained; holds no language model."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from guided_refine.config import Config
from guided_refine.data.dataset import Dataset, load_as
from guided_refine.errors import InputError
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.lookup import Names
from guided_refine.explain.words import COLLABORATIVE, stance
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.scores import AttributeScores, load_scores

if TYPE_CHECKING:
    from torch import Tensor

    from guided_refine.backbones.backbone import Backbone
    from guided_refine.refine.table import GuidedTable

LABELS = {COLLABORATIVE: "similar histories"}


@dataclass(frozen=True)
class Profile:
    """A user's taste: `rows` as in `explain_user`, weights by attribute, and whether scores are estimated."""

    rows: list[dict[str, Any]]
    weights: dict[str, float]
    estimated: bool


class Explainer:
    """The refined model of a run, opened to be taken apart; holds no language model."""

    def __init__(
        self, folder: RunFolder, config: Config, dataset: Dataset, backbone: str, model: Backbone, seed: int
    ) -> None:
        self.folder, self.config, self.dataset = folder, config, dataset
        self.backbone, self.model, self.seed = backbone, model, seed

    @classmethod
    def open(cls, run: Path | str, *, seed: int | None = None) -> Explainer:
        """Load what an explanation needs; SASRec where the run has it, else the first backbone with a refined model.

        `seed`: whose model, by default the first of the run's seeds.

        Raises `InputError` when the folder is no run, or has no trained refined model yet (says what to run), and when
        files that the run wrote are missing or damaged.
        """
        from guided_refine.refine.table import GuidedTable

        folder = RunFolder(run)
        config = folder.config()
        backbone = explained_backbone(folder, config)
        seed = config.all_seeds[0] if seed is None else seed
        unit = folder.unit(backbone, "refined", seed)
        folder.check_files(folder.data, folder.scores(folder.final_source()), unit)
        dataset = load_as(folder.data, config.data)
        model = load_model(unit)
        if not isinstance(model.table, GuidedTable):
            raise InputError(f"{unit} holds no refined item table; delete the folder and run again")
        return cls(folder, config, dataset, backbone, model, seed)

    # ---------------------------------------------------------------- names and numbers

    @cached_property
    def scores(self) -> AttributeScores:
        """The scores that the refined model was built from: those of the tuned model where the run tuned one."""
        return load_scores(self.folder.scores(self.folder.final_source()), cut_off=self.dataset.split.cut_off)

    @property
    def about(self) -> dict[str, Any]:
        """Which model ranks and which language model scored."""
        return {
            "backbone": self.backbone,
            "variant": "refined",
            "seed": self.seed,
            "scorer": self.scores.model,
            "source": self.scores.source,
        }

    @property
    def labels(self) -> dict[str, str]:
        """Part names as people read them."""
        return LABELS | {name: name.replace("_", " ") for name in self.scores.attributes}

    def user_number(self, user: str) -> int:
        """Number of a user id; raises `InputError` naming the nearest ids."""
        return self._users.find(str(user), self.folder.root)

    def item_number(self, item: str) -> int:
        """Number (from 1) of an item id, or of the one item with this title; raises `InputError` naming what is nearest."""
        return self._items.find(str(item), self.folder.root) + 1

    @cached_property
    def _users(self) -> Names:
        return Names("user", self.dataset.user_ids)

    @cached_property
    def _items(self) -> Names:
        return Names("item", self.dataset.item_ids.tolist(), self.dataset.titles)

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        return [(str(i), title) for i, title in zip(self.dataset.item_ids, self.dataset.titles, strict=True)]

    def named(self, item: int) -> dict[str, Any]:
        """Keys `item_id` and `title` of an item number; made once for all items, as a page asks for many."""
        name, title = self._names[item - 1]
        return {"item_id": name, "title": title}

    @cached_property
    def _lent(self) -> np.ndarray:
        if self.config.refine.cold_items != "borrowed":
            return np.zeros(self.dataset.n_items, dtype=bool)
        return self.dataset.train_counts() == 0

    def is_lent(self, item: int) -> bool:
        """Whether an item number occurs in no training interaction, so that its free columns are those of like items."""
        return bool(self._lent[item - 1])

    def seen(self, user: int) -> np.ndarray:
        """Item numbers that a test prediction may see, oldest first."""
        return self.dataset.visible(user, "test")

    def next_item(self, user: int) -> int | None:
        """The held-out item that the user took next, if there is one."""
        place = int(self.dataset.split.test[user])
        return int(self.dataset.sequences[user][place]) if place >= 0 else None

    # ---------------------------------------------------------------- the split

    def contributions(self, user: int) -> Contributions:
        """Scores of all items for a user number, split by column; checked against the model's own scores."""
        taste = self.user_term(user)
        return Contributions(
            self.parts,
            self.model.score(np.array([user]), "test", self.dataset)[0].astype(np.float64),
            self._grouped(self.state(user)),
            None if taste is None else self._grouped(taste),
        )

    def contributions_of(self, state: np.ndarray, vectors: np.ndarray | None = None) -> Contributions:
        """Scores of all items for any state (columns,); `vectors` (n_items, columns) in place of the model's own."""
        vectors = self.vectors if vectors is None else vectors
        return Contributions(self.parts, vectors @ state.astype(np.float64), self._grouped(state, vectors))

    @property
    def reads_users(self) -> bool:
        """Whether the users' own scores enter the model at all."""
        from guided_refine.refine.users import GuidedUserTerm

        term = self.model.term
        return isinstance(term, GuidedUserTerm) and not term.silent

    @property
    def parts(self) -> list[str]:
        """Names of the parts of a score: the collaborative one, then the attributes."""
        return [COLLABORATIVE, *self.scores.attributes]

    def state(self, user: int) -> np.ndarray:
        """What multiplies the items' columns to predict a user number's next event, float32 (columns,)."""
        return self.read(self.model.states(np.array([user]), "test", self.dataset)[0])

    def read(self, state: np.ndarray) -> np.ndarray:
        """A state of the model (width,) as what it multiplies the items' columns with, (columns,)."""
        import torch

        with torch.no_grad():
            weights: np.ndarray = self.table.read(torch.from_numpy(state)).numpy()
        return weights

    @property
    def table(self) -> GuidedTable:
        """The model's items."""
        from guided_refine.refine.table import GuidedTable

        assert isinstance(self.model.table, GuidedTable)
        return self.model.table

    def _grouped(self, vector: np.ndarray, vectors: np.ndarray | None = None) -> np.ndarray:
        """Products with all item vectors by column, the collaborative columns summed: (n_items, 1 + attributes)."""
        products = (self.vectors if vectors is None else vectors) * vector.astype(np.float64)
        behaviour = products[:, : self._behaviour].sum(axis=1, keepdims=True)
        return np.hstack([behaviour, products[:, self._behaviour :]])

    def user_term(self, user: int) -> np.ndarray | None:
        """What the guided user term adds to what the encoder's state multiplies the columns with, shape (columns,)."""
        import torch

        if self.model.term is None:
            return None
        seen = torch.tensor([[len(self.seen(user))]])
        with torch.no_grad():
            term: np.ndarray = self.model.term(self.model_user(user), seen)[0, 0].numpy()
        return self.read(term)

    def model_user(self, user: int) -> Tensor:
        """The number, shape (1,), under which the model knows a user number of the dataset; -1 for unknown."""
        import torch

        return torch.tensor([self._model_users.get(self.dataset.user_ids[user], -1)])

    @cached_property
    def everyone(self) -> tuple[Tensor, Tensor]:
        """All users as the model numbers them, and how many events a test prediction sees of each; both (users,)."""
        import torch

        data = self.dataset
        users = [self._model_users.get(name, -1) for name in data.user_ids]
        return torch.tensor(users), torch.tensor([len(self.seen(u)) for u in range(data.n_users)])

    def normalised(self, user: int) -> np.ndarray:
        """A user number's scores as the guided user term takes them, (attributes,); 0 where it knows none."""
        import torch

        from guided_refine.refine.users import GuidedUserTerm

        term = self.model.term
        assert isinstance(term, GuidedUserTerm)
        seen = torch.tensor([[len(self.seen(user))]])
        taken: np.ndarray = term.scores(self.model_user(user), seen)[0, 0].double().numpy()
        return taken

    def weights(self, user: int) -> dict[str, float]:
        """The user's weight on every attribute column: what the dot product multiplies an item's column with."""
        state = self.state(user)[self._behaviour :]
        return {name: float(w) for name, w in zip(self.scores.attributes, state, strict=True)}

    @cached_property
    def vectors(self) -> np.ndarray:
        """All items as columns, float64 (n_items, columns); the attributes' are the last ones."""
        return self.table.columns().detach().double().numpy()

    @property
    def _behaviour(self) -> int:
        """How many columns, the first ones, are the collaborative part."""
        return int(self.vectors.shape[1]) - len(self.scores.attributes)

    @cached_property
    def _model_users(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.model.user_ids)}

    def item_score(self, item: int, attribute: str) -> float | None:
        """Score in [0, 1] that the language model gave an item; None where it had no text."""
        value = float(self.scores.item_value[item - 1, self.scores.attributes.index(attribute)])
        return value if np.isfinite(value) else None

    def profile(self, user: int) -> Profile:
        """The user's attribute scores, beside the catalog and beside the weights that the model uses."""
        weights = self.weights(user)
        typical = float(np.mean(np.abs(list(weights.values())))) if weights else 0.0
        values, spreads, estimated = self._user_scores(user)
        rows = []
        for column, name in enumerate(self.scores.attributes):
            catalog = self.scores.item_value[:, column]
            catalog = catalog[np.isfinite(catalog)]
            rows.append(
                {
                    "attribute": name,
                    "label": self.labels[name],
                    "score": float(values[column]),
                    "spread": float(spreads[column]),
                    "percentile": percentile(catalog, float(values[column])),
                    "weight": weights[name],
                    "stance": stance(weights[name], typical),
                }
            )
        return Profile(rows, weights, estimated)

    def _user_scores(self, user: int) -> tuple[np.ndarray, np.ndarray, bool]:
        users = self.scores.users
        seen = self.seen(user)
        row = int(users.latest(np.array([user]), np.array([len(seen)]))[0])
        if row >= 0:
            return users.value[row], users.spread[row], False
        items = self.scores.item_value[seen - 1]
        items = items[np.isfinite(items).all(axis=1)]
        middle = items.mean(axis=0) if len(items) else np.nanmean(self.scores.item_value, axis=0)
        return middle, np.zeros_like(middle), True


def explained_backbone(folder: RunFolder, config: Config) -> str:
    """The backbone whose refined model a run's explanations take apart; raises `InputError` where none is trained, and
    where the one that was trained for it is gone: another one's explanations would be taken for its own."""
    backbone = ready_backbone(folder, config)
    for wanted in config.refined_backbones:
        if wanted == backbone:
            return wanted
        folder.check_files(folder.unit(wanted, "refined", config.all_seeds[0]))
    again = f"guided-refine run CONFIG --out {shlex.quote(str(folder.root))}"
    if not config.refined_backbones:
        raise InputError(
            f"{folder.root} is a run without the variant 'refined', which explanations take apart; "
            f"add it to 'variants' in the config and run: {again} --update"
        )
    raise InputError(f"{folder.root} has no trained refined model yet; finish it with: {again}")


def ready_backbone(folder: RunFolder, config: Config) -> str | None:
    """SASRec if its refined model is trained, else the first backbone whose refined model is, else None."""
    for backbone in config.refined_backbones:
        unit = folder.unit(backbone, "refined", config.all_seeds[0])
        if (unit / "model.safetensors").exists() and (unit / "config.json").exists():
            return backbone
    return None


def load_model(unit: Path) -> Backbone:
    """The model of a unit's folder; raises `InputError` as `Backbone.load` does, and where a weight is not a number."""
    import torch

    from guided_refine.backbones.backbone import Backbone

    model = Backbone.load(unit)
    finite = all(bool(torch.isfinite(weights).all()) for weights in model.model.state_dict().values())
    if not finite or not np.isfinite(model.item_vectors()).all():
        raise InputError(
            f"{unit / 'model.safetensors'} holds weights that are not finite numbers, so its scores mean nothing; delete "
            f"{unit} and train it again"
        )
    return model


def base_top(explainer: Explainer, user: str, k: int) -> pd.DataFrame | None:
    """What the base of the same backbone recommends: item_id, title, rank, score; None where it is not trained."""
    unit = explainer.folder.unit(explainer.backbone, "base", explainer.config.all_seeds[0])
    explainer.folder.check_files(unit)
    if not (unit / "config.json").exists():
        return None
    top = load_model(unit).recommend([user], k=k, dataset=explainer.dataset, part="test")
    title = dict(zip(explainer.dataset.item_ids, explainer.dataset.titles, strict=True))
    return top.assign(title=[title[i] or i for i in top["item_id"]])[["item_id", "title", "rank", "score"]]


def percentile(catalog: np.ndarray, value: float) -> float:
    """Share of the catalog, in percent, that scores below `value`; equal scores count half.

    >>> percentile(np.array([0.1, 0.2, 0.2, 0.9]), 0.2)
    50.0
    """
    if not len(catalog):
        return 50.0
    return float(100 * (np.mean(catalog < value) + np.mean(catalog == value) / 2))
