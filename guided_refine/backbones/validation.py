"""Validation NDCG@10 by full ranking: what early stopping listens to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.model import SequenceModel
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.processes import Processes

# Scores of one batch: what stays in a CPU's cache, what fills a GPU.
CPU_ELEMENTS, GPU_ELEMENTS = 1 << 21, 1 << 26


def expected_ndcg(greater: Tensor, equal: Tensor, k: int = 10) -> Tensor:
    """NDCG@k of one target, in expectation over random orders of ties; shape as the inputs.

    `greater` and `equal` count other candidates with a higher and with the same score.

    >>> expected_ndcg(torch.tensor([0, 10]), torch.tensor([0, 0])).tolist()
    [1.0, 0.0]
    >>> round(float(expected_ndcg(torch.tensor([0]), torch.tensor([1]), k=1)), 2)
    0.5
    """
    gains = 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64, device=greater.device))
    summed = torch.cat([gains.new_zeros(1), gains.cumsum(0)])
    return (summed[(greater + equal + 1).clamp(max=k)] - summed[greater.clamp(max=k)]) / (equal + 1)


class Validation:
    """Users with a validation target, stacked once.

    Candidates are all items except those the user has already seen (the target itself stays one). Several `processes`
    divide the users among themselves; all must then call the methods.
    Raises `InputError` when no user has a target.
    """

    def __init__(self, dataset: Dataset, device: torch.device, processes: Processes | None = None) -> None:
        self.processes = processes or Processes()
        users, targets = dataset.targets("valid")
        if len(users) == 0:
            raise InputError(
                f"{dataset.name}: no user has a validation target, so training cannot know when to stop; "
                "use split: leave_one_out or a larger data.valid_share"
            )
        self.histories = Histories.stack([dataset.visible(u, "valid") for u in users], device)
        self.users = torch.from_numpy(users).to(device)
        self.targets = torch.from_numpy(targets - 1).to(device)
        # Longest first: similar lengths share a batch, and memory peaks at once if at all.
        self.order = torch.argsort(self.histories.length, descending=True, stable=True)
        elements, most = (GPU_ELEMENTS, 4096) if device.type == "cuda" else (CPU_ELEMENTS, 128)
        self.rows = int(np.clip(elements // max(1, dataset.n_items), 16, most))

    def ndcg(self, model: SequenceModel) -> float:
        """Mean NDCG@10 of the model as it stands."""
        return float(self.per_user(model).mean())

    @torch.no_grad()
    def per_user(self, model: SequenceModel) -> Tensor:
        """NDCG@10 of each user with a target, (users,) float64 on the CPU, in the order of `Dataset.targets`.

        Raises `InputError` where a score is not a finite number.
        """
        model.eval()
        vectors = model.table.matrix()
        values = torch.zeros(len(self.users), dtype=torch.float64)
        whole = torch.zeros((), device=vectors.device)
        for rows in self.order.split(self.rows)[self.processes.rank :: self.processes.count]:
            items, lengths, _ = self.histories.recent(rows, model.encoder.context)
            state = model.state(items, lengths, self.users[rows], self.histories.length[rows])
            scores = state @ vectors.T
            whole += scores.sum()
            place = torch.arange(len(rows), device=scores.device)
            target = self.targets[rows]
            own = scores[place, target][:, None]
            at, seen = self.histories.pairs(rows)
            scores[at, seen - 1] = -torch.inf
            scores[place, target] = -torch.inf
            values[rows.cpu()] = expected_ndcg(_count(scores > own), _count(scores == own)).cpu()
        # Nothing is greater than NaN or equal to it, so a model that has come apart would rank every target first.
        if not bool(torch.isfinite(whole)):
            raise InputError(
                "the model's scores on the validation users are no longer finite numbers; lower train.learning_rate "
                "or check base embeddings for very large values"
            )
        self.processes.sum(values)
        return values


def _count(marks: Tensor) -> Tensor:
    """True values per row; torch sums 32-bit integers several times faster than its default of 64 bits."""
    return marks.sum(1, dtype=torch.int32).long()
