"""A training in progress as one file: weights, best weights, optimiser state and counters, in one atomic step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.files import atomic_path, sha256_json

FILE = "last.safetensors"


@dataclass
class Counters:
    """How far a training is. `curve` holds a row per epoch: epoch, loss, ndcg@10, learning_rate, seconds.

    `drops`: how often the learning rate was lowered, last after epoch `dropped_after`.
    """

    epoch: int = 0
    steps: int = 0
    best: float = -1.0
    best_epoch: int = 0
    drops: int = 0
    dropped_after: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


def fingerprint(
    model: nn.Module, dataset: Dataset, config: TrainConfig, seed: int, kind: str, processes: int = 1
) -> str:
    """Hash of all that a training's result depends on; `max_epochs` may grow, so it is left out."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    options = config.model_dump(mode="json", exclude={"max_epochs"})
    inputs = [kind, seed, options, dataset.split.sha256, dataset.n_items, digest.hexdigest()]
    return sha256_json(inputs if processes == 1 else [*inputs, processes])


@dataclass(frozen=True)
class Checkpoint:
    """Writes and reads the state of one training in `folder`; `key` says which training it belongs to."""

    folder: Path
    key: str

    def save(
        self,
        counters: Counters,
        model: nn.Module,
        best: dict[str, Tensor],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Replace the file. Only trained weights are kept: the rest is there when training starts again."""
        from safetensors.torch import save_file

        tensors = {f"best.{name}": value for name, value in best.items()}
        for name, weight in _trained(model).items():
            tensors[f"last.{name}"] = weight.detach()
            for key, value in optimiser.state.get(weight, {}).items():
                tensors[f"{key}.{name}"] = value
        header = {"key": self.key, "counters": json.dumps(asdict(counters))}
        with atomic_path(self.folder / FILE) as path:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, metadata=header)

    @property
    def is_of_another(self) -> bool:
        """True where the file is whole and belongs to a training of other data, settings or weights."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / FILE, framework="pt") as file:
                return (file.metadata() or {}).get("key") != self.key
        except (OSError, SafetensorError):
            return False

    def load(
        self, model: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[Counters, dict[str, Tensor]] | None:
        """Put weights and optimiser back; returns counters and best weights, or None where there is nothing.

        A file that is damaged or of another training is no use and counts as nothing.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / FILE, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("key") != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError):
            return None
        best = {}
        with torch.no_grad():
            for name, weight in _trained(model).items():
                weight.copy_(tensors[f"last.{name}"])
                best[name] = tensors[f"best.{name}"].to(weight.device)
                state = {
                    key: tensors[f"{key}.{name}"].to(weight.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{key}.{name}" in tensors
                }
                if state:
                    optimiser.state[weight] = state
        return Counters(**json.loads(header["counters"])), best


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
