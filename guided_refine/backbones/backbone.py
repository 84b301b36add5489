"""`Backbone`: a sequential recommender over any item table, with fit, score, recommend, save and load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.model import SequenceModel
from guided_refine.backbones.randomness import ITEM_TABLE, derived_seed
from guided_refine.backbones.tables import IdTable, ItemTable, UserTerm, VectorTable
from guided_refine.backbones.topk import top_items
from guided_refine.backbones.training import FitResult, torch_threads, train
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.data.raw import as_id
from guided_refine.data.split import Part
from guided_refine.errors import InputError, nearest
from guided_refine.progress import Progress

# Elements of one layer's states in one batch: what stays in a CPU's cache is read up to three times as fast.
STATE_ELEMENTS = 1 << 19


class Backbone:
    """GRU4Rec (padded or in lanes), SASRec or BERT4Rec (`kind`) over an `ItemTable` and an optional `UserTerm`.

    Weights start from `seed` (the encoder) and from what the table and term were given. The user term must
    number users as the dataset that `fit` gets.

    >>> rows = pd.DataFrame({"user_id": list("uuuuvvvv"), "item_id": list("abcdbcde")})
    >>> dataset = Dataset.from_frames(rows)
    >>> backbone = Backbone.new("sasrec", dataset, TrainConfig(width=8, max_epochs=1, threads=1))
    >>> backbone.fit(dataset).epochs
    1
    >>> backbone.recommend(["u"], k=2).columns.tolist()
    ['user_id', 'item_id', 'rank', 'score']
    """

    def __init__(
        self, kind: str, table: ItemTable, term: UserTerm | None, config: TrainConfig, seed: int
    ) -> None:
        self.kind, self.config, self.seed = kind, config, seed
        self.model = SequenceModel(kind, table, term, config, seed).eval()
        self.item_ids: list[str] = []
        self.user_ids: list[str] = []
        self.id_types: dict[str, str] = {}
        self.cut_off: str | None = None
        self.histories = Histories.stack([])
        self._start = self._weights()
        self._bound: tuple[Dataset, np.ndarray] | None = None

    @classmethod
    def new(
        cls, kind: str, dataset: Dataset, config: TrainConfig | None = None, *, seed: int = 0
    ) -> Backbone:
        """An unfitted one over free item vectors for this dataset's catalog: the `base` of a run.

        `config` defaults to `TrainConfig()`. Raises `InputError` for an unknown `kind`.
        """
        config = config or TrainConfig()
        drawn = derived_seed(seed, ITEM_TABLE)
        table = IdTable(dataset.n_items, config.width, seed=drawn, std=config.item_std)
        return cls(kind, table, None, config, seed)

    @property
    def table(self) -> ItemTable:
        """The item table."""
        return self.model.table

    @property
    def term(self) -> UserTerm | None:
        """The user term, where there is one."""
        return self.model.term

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def restarted(self, seed: int) -> Backbone:
        """A copy whose training starts from this one's present weights, with a fresh optimiser."""
        import copy

        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        other.seed, other._start, other._bound = seed, other._weights(), None
        return other

    def served(self) -> Backbone:
        """A copy that recommends the same from item vectors that are put together once, whatever they are made of.

        One matrix (n_items, width), as the base has: what serves it costs what the base costs. It cannot be explained or
        trained on; keep this one for that.
        """
        table = VectorTable(self.table.matrix().detach(), trainable=False)
        other = Backbone(self.kind, table, self.term, self.config, self.seed)
        other.model.encoder.load_state_dict(self.model.encoder.state_dict())
        other.item_ids, other.user_ids, other.id_types = self.item_ids, self.user_ids, self.id_types
        other.cut_off, other.histories = self.cut_off, self.histories
        return other

    # ---------------------------------------------------------------- training

    def fit(
        self,
        dataset: Dataset,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
        logs: Path | None = None,
    ) -> FitResult:
        """Train on the training part until validation NDCG@10 stops rising.

        Every call starts from the weights this backbone was built (or loaded, or `restarted`) with. With
        `checkpoint` (a folder) a killed training goes on after its last whole epoch; see `training.train`. With
        `logs` (a folder) its curves are written there for TensorBoard, epoch by epoch. `progress=Progress()` shows loss,
        validation NDCG@10 and the time left; without it nothing is printed.
        Raises `InputError` when the dataset has another catalog than the item table, or nothing to learn from.
        """
        if dataset.n_items != self.table.n_items:
            raise InputError(
                f"the item table holds {self.table.n_items} items, but {dataset.name} has {dataset.n_items}; "
                "build the table for this dataset"
            )
        if self.item_ids and dataset.item_ids.tolist() != self.item_ids:
            raise InputError(
                f"{dataset.name} has another catalog than the one this {self.kind} was fitted on; build a new one for it"
            )
        self.model.load_state_dict(self._start)
        # Known only once it has learned something: after a refusal there is nothing to recommend from.
        self.item_ids, self.cut_off, self._bound = [], None, None
        fit = train(
            self.model,
            dataset,
            self.config,
            self.seed,
            kind=self.kind,
            checkpoint=checkpoint,
            logs=logs,
            progress=progress,
        )
        self.item_ids, self.user_ids = dataset.item_ids.tolist(), list(dataset.user_ids)
        self.id_types = dict(dataset.id_types)
        self.cut_off = dataset.split.cut_off
        self.histories = Histories.stack(dataset.sequences)
        self._bound = (dataset, np.arange(dataset.n_users))
        return fit

    # ---------------------------------------------------------------- scoring

    def _own_users(self, dataset: Dataset) -> np.ndarray:
        """Numbers under which this backbone knows the dataset's users, -1 for unknown; checks the catalog."""
        if self._bound is None or self._bound[0] is not dataset:
            if not self.item_ids:
                if dataset.n_items != self.table.n_items:
                    raise InputError(
                        f"the item table holds {self.table.n_items} items, but {dataset.name} has {dataset.n_items}"
                    )
                own = np.arange(dataset.n_users)
            else:
                if dataset.item_ids.tolist() != self.item_ids:
                    raise InputError(
                        f"{dataset.name} has another catalog than the one this {self.kind} was trained on; "
                        "score the dataset it was trained with, or train again"
                    )
                number = pd.Series(np.arange(len(self.user_ids)), index=self.user_ids)
                own = number.reindex(dataset.user_ids).fillna(-1).to_numpy(dtype=np.int64)
            self._bound = (dataset, own)
        return self._bound[1]

    def states(self, users: np.ndarray, part: Part, dataset: Dataset) -> np.ndarray:
        """What is compared with item vectors to predict the `part` target; float32 (users, width).

        `users` are the dataset's numbers. Only `dataset.visible(user, part)` is read. Raises `InputError` for a dataset
        under another split than the one it was trained under: what is held out there may have been learned here.
        """
        users = np.asarray(users, dtype=np.int64)
        own = self._own_users(dataset)[users]
        self._check_split(dataset)
        histories = Histories.stack([dataset.visible(int(u), part) for u in users])
        return self._states(histories, torch.from_numpy(own))

    def _check_split(self, dataset: Dataset) -> None:
        if self.cut_off not in (None, dataset.split.cut_off):
            raise InputError(
                f"this {self.kind} was trained under split {self.cut_off}, but {dataset.name} has split "
                f"{dataset.split.cut_off}, whose held-out events it may have learned; measure it on its own, or train again"
            )

    @torch.no_grad()
    def _states(self, histories: Histories, own: Tensor) -> np.ndarray:
        self.model.eval()
        out = torch.zeros(len(histories), self.table.width)
        order = torch.argsort(histories.length, descending=True, stable=True)
        context = self.model.encoder.context
        with torch_threads(self.config.threads):
            for rows in order.split(max(16, STATE_ELEMENTS // (context * self.table.width))):
                items, lengths, _ = histories.recent(rows, context)
                out[rows] = self.model.state(items, lengths, own[rows], histories.length[rows])
        return out.numpy()

    def item_vectors(self) -> np.ndarray:
        """Vectors of all items in catalog order, float32 (n_items, width)."""
        return self.table.matrix().detach().numpy().copy()

    def score(self, users: np.ndarray, part: Part, dataset: Dataset) -> np.ndarray:
        """Scores of all items for the `part` target of each user, float32 (users, n_items).

        Column `i` is item number `i + 1`. Nothing is filtered here.
        """
        vectors = self.item_vectors()
        scores: np.ndarray = self.states(users, part, dataset) @ vectors.T
        return scores

    # ---------------------------------------------------------------- recommending

    def recommend(
        self,
        users: Sequence[str] | Sequence[int] | np.ndarray | pd.Series,
        k: int = 10,
        filter_viewed: bool = True,
        dataset: Dataset | None = None,
        part: Part | None = None,
    ) -> pd.DataFrame:
        """The `k` best items for each user id: user_id, item_id, rank (from 1), score.

        Histories are all events of `dataset` or, without one, of the data it was fitted on (they are saved with the
        weights), also those that only served to validate and test: what comes next is asked for. With `part`, which
        needs `dataset`, they are what a prediction for that part may see. Users with fewer than `k` candidates get fewer
        rows. Ids come back as they came in the data, text or whole numbers.
        Raises `InputError` for an unknown user, one without events, for `k` below 1, before `fit`, and with `part` for
        a dataset under another split than the one it was trained under.
        """
        known = dataset.user_ids if dataset is not None else self.user_ids
        self._check_fitted()
        if part is not None and dataset is None:
            raise InputError(f"what may be seen for part '{part}' stands in a dataset; give dataset= too")
        asked = _ids(users, "users")
        wanted = set(asked)
        number = {name: place for place, name in enumerate(known) if name in wanted}
        for name in asked:
            if name not in number:
                raise InputError(
                    f"no user '{name}': {nearest(name, known[:10_000])}; "
                    "for somebody new use recommend_for_history"
                )
        rows = np.array([number[name] for name in asked], dtype=np.int64)
        if dataset is not None:
            own = torch.from_numpy(self._own_users(dataset)[rows])
            if part is not None:
                self._check_split(dataset)
            seen = [dataset.sequences[u] if part is None else dataset.visible(int(u), part) for u in rows]
        else:
            own = torch.from_numpy(rows)
            seen = [self.histories.sequence(int(u)).numpy() for u in rows]
        for name, events in zip(asked, seen, strict=True):
            if not len(events):
                raise InputError(
                    f"user '{name}' has no event that may be seen for part '{part}'; leave the user out"
                )
        histories = Histories.stack(seen)
        types = self.id_types if dataset is None else dataset.id_types
        names = _as_they_came(np.array(asked, dtype=object), types.get("user_id"))
        states = self._states(histories, own)
        if self.term is not None:
            for place in torch.nonzero(own < 0)[:, 0].tolist():
                states[place] += self._unknown(histories.sequence(place), None)[0]
        table = self._best(states, histories, k, filter_viewed)
        table.insert(0, "user_id", names[table.pop("row").to_numpy()])
        return table

    def recommend_for_history(
        self,
        item_ids: Sequence[str] | Sequence[int] | np.ndarray | pd.Series,
        k: int = 10,
        filter_viewed: bool = True,
        user_scores: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """The `k` best items for somebody who was not in training: item_id, rank, score.

        `item_ids`: the history, oldest first. `user_scores`: a language model's scores of this person, one per
        attribute in [0, 1]; without them they are estimated from the items' scores. The frame's
        `attrs["user_scores"]` says which it was: "language model", "estimated", or "none" (no user term).
        Raises `InputError` for an unknown item or an empty history.
        """
        self._check_fitted()
        if user_scores is not None and self.term is None:
            raise InputError(f"this {self.kind} has no user term that could read user_scores; leave them out")
        number = {name: place + 1 for place, name in enumerate(self.item_ids)}
        history = _ids(item_ids, "item_ids")
        for name in history:
            if name not in number:
                raise InputError(f"no item '{name}': {nearest(name, self.item_ids[:10_000])}")
        if not history:
            raise InputError("the history is empty; give at least one item id")
        histories = Histories.stack([np.array([number[name] for name in history])])
        state = self._states(histories, torch.tensor([-1]))
        source = "none"
        if self.term is not None:
            state = state + self._unknown(histories.flat[: len(history)], user_scores)
            source = "estimated" if user_scores is None else "language model"
        table = self._best(state, histories, k, filter_viewed).drop(columns="row")
        table.attrs["user_scores"] = source
        return table

    @torch.no_grad()
    def _unknown(self, history: Tensor, user_scores: np.ndarray | None) -> np.ndarray:
        """What the user term adds for somebody it does not know, float32 (1, width)."""
        assert self.term is not None
        given = None if user_scores is None else torch.as_tensor(user_scores, dtype=torch.float32)[None]
        return self.term.unknown(history[None], given).numpy()

    def _check_fitted(self) -> None:
        if not self.item_ids:
            raise InputError(f"this {self.kind} was not fitted; call fit(dataset) or load a saved one first")

    def _best(self, states: np.ndarray, histories: Histories, k: int, filter_viewed: bool) -> pd.DataFrame:
        """A frame of row (of `states`), item_id, rank, score; equal scores in catalog order."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InputError(f"k must be a whole number, 1 or more, not {k!r}")
        with torch_threads(self.config.threads):
            values, places = top_items(
                torch.from_numpy(states),
                self.table.matrix().detach(),
                k,
                histories if filter_viewed else None,
            )
        # What was seen has the score -inf: such users get fewer rows.
        row, column = np.nonzero(np.isfinite(values.numpy()))
        ids = np.array(self.item_ids, dtype=object)[places.numpy()[row, column]]
        item_ids = _as_they_came(ids, self.id_types.get("item_id"))
        return pd.DataFrame(
            {"row": row, "item_id": item_ids, "rank": column + 1, "score": values.numpy()[row, column]}
        )

    # ---------------------------------------------------------------- files

    def save(self, folder: Path | str) -> None:
        """Write `model.safetensors` and `config.json`: all that `load` needs to recommend on its own."""
        from guided_refine.backbones.storage import save_backbone

        save_backbone(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Backbone:
        """Read what `save` wrote; raises `InputError` when a file is missing or damaged."""
        from guided_refine.backbones.storage import load_backbone

        return load_backbone(Path(folder))


def _ids(given: Iterable[object], name: str) -> list[str]:
    """Ids as text. One id alone is refused: a text is a list of its letters to Python."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} must be a list of ids, not {given!r}; for one id give [{given!r}]")
    return [as_id(one) for one in given]


def _as_they_came(ids: np.ndarray, kind: str | None) -> np.ndarray:
    """Ids as whole numbers of numpy type `kind`, or as the text that they are inside where it is None."""
    return ids if kind is None else np.array([int(name) for name in ids], dtype=kind)
