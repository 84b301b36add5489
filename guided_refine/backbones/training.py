"""One training loop for every backbone and variant: same batches, same schedule, same stopping rule."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from guided_refine.backbones.checkpoint import Checkpoint, Counters, fingerprint
from guided_refine.backbones.encoder import Examples
from guided_refine.backbones.exchange import Exchange
from guided_refine.backbones.histories import Histories
from guided_refine.backbones.live_curves import Tell, live_curves
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.model import SequenceModel
from guided_refine.backbones.randomness import BATCHES, DROPOUT, NEGATIVES, derived_seed, seeded
from guided_refine.backbones.validation import Validation
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.devices import pick_device
from guided_refine.errors import InputError
from guided_refine.processes import Processes, launched
from guided_refine.progress import Progress, Task

# Steps over which the learning rate rises to its full value: Adam's first steps are its least reliable.
WARM_UP = 50
# What the learning rate is multiplied by each time that validation stands still (`train.learning_rate_drops`).
DROP = 0.25
# Steps between two looks at a GPU's loss: each waits until the GPU has done all that it was given.
LOOK_EVERY = 16


@dataclass(frozen=True)
class FitResult:
    """How a training went.

    `converged`: patience ended it before `max_epochs` did. `seconds` add up over restarts.
    `curve`: one row per epoch with epoch, loss, ndcg@10 (validation), learning_rate, seconds.
    """

    steps: int
    epochs: int
    best_epoch: int
    best_ndcg: float
    seconds: float
    converged: bool
    curve: list[dict[str, float]]


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Use this many CPU threads inside; None leaves them as they are."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    model: SequenceModel,
    dataset: Dataset,
    config: TrainConfig,
    seed: int,
    *,
    kind: str,
    checkpoint: Path | None = None,
    logs: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train `model` in place until validation NDCG@10 has not risen for `patience` epochs; best weights stay.

    With `learning_rate_drops` the first such stops go back to the best weights and on at a quarter of the learning rate.

    Reads `dataset.visible(user, "train")` and, to stop, the validation targets. With `checkpoint` (a folder)
    every epoch is saved, and a later call with the same inputs continues after the last saved one and ends
    with the same weights: each epoch draws its randomness from (seed, epoch) alone. On a CPU and with the same
    number of threads the result is the same to the last bit; on a GPU some kernels add in varying order.
    `logs` (a folder) gets the curves for TensorBoard after every epoch; they change no result.

    Where a launcher started several processes, all must call this. `config.batch_size` is what each of them reads in a
    step: the training is, up to rounding, the one of a single process with a batch as large as theirs together (where
    dropout is on, with other draws). The first of them writes `checkpoint` and `logs`.

    Raises `InputError` when nothing can be trained or validated, when the loss is no longer a number, or when another of
    the processes has ended.
    """
    processes = launched()
    progress = progress if progress is not None and processes.first else Progress(quiet=True)
    device = processes.device(pick_device(config.device, "train.device"), "train.device")
    with torch_threads(config.threads), seeded(derived_seed(seed, DROPOUT), device):
        key = fingerprint(model, dataset, config, seed, kind, processes.count) if checkpoint else ""
        model.to(device)
        loop = _Loop(model, dataset, config, seed, device, processes)
        saved = Checkpoint(checkpoint, key) if checkpoint else None
        found = saved.load(model, loop.optimiser) if saved else None
        if saved is not None and found is None and saved.is_of_another:
            progress.log(
                f"{checkpoint} holds a training of other data or settings (also threads and device count, for bitwise "
                "equal numbers), so this one starts anew"
            )
        if found is not None and found[0].epoch <= config.max_epochs:
            loop.counters, loop.best = found
            progress.log(f"training continues after epoch {loop.counters.epoch}")
        elif found is not None:
            raise InputError(
                f"{checkpoint} holds a training of {found[0].epoch} epochs, more than train.max_epochs "
                f"{config.max_epochs}; delete it or raise train.max_epochs"
            )
        if processes.tell(loop.counters.epoch) != loop.counters.epoch:
            raise InputError(
                f"the processes do not find the same checkpoint in {checkpoint}; put it where all of them can read it"
            )
        first = processes.first
        with live_curves(logs if first else None, loop.counters.curve) as tell:
            result = loop.run(saved if first else None, tell, progress)
        model.to("cpu").eval()
    return result


class _Loop:
    """The state of one training."""

    def __init__(
        self,
        model: SequenceModel,
        dataset: Dataset,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.model, self.config, self.seed, self.device = model, config, seed, device
        self.processes = processes
        sequences = [dataset.visible(u, "train") for u in range(dataset.n_users)]
        lengths = torch.tensor([len(s) for s in sequences])
        # One event alone has nothing to be predicted from.
        self.users = torch.nonzero(lengths >= 2)[:, 0]
        if len(self.users) == 0:
            raise InputError(
                f"{dataset.name}: no user has two training events, so there is nothing to learn an order from; "
                "bring longer histories or a lower k_core"
            )
        self.lengths = lengths[self.users].clamp(max=model.encoder.train_events)
        self.batch_size = config.batch_size * processes.count
        self.n_batches = model.encoder.n_batches(self.lengths, self.batch_size)
        self.events_per_batch = float(self.lengths.sum()) / self.n_batches
        self.histories = Histories.stack(sequences, device)
        flat = self.histories.flat
        self.counts = torch.bincount(flat[flat > 0] - 1, minlength=dataset.n_items)
        self.validation = Validation(dataset, device, processes)
        self.trained = {n: w for n, w in model.named_parameters() if w.requires_grad}
        self.optimiser = torch.optim.AdamW(
            self.trained.values(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.exchange = Exchange(self.trained.values(), processes) if processes.count > 1 else None
        self.counters = Counters()
        self.best = self._weights()

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.trained.items()}

    @property
    def _waited(self) -> int:
        return self.counters.epoch - max(self.counters.best_epoch, self.counters.dropped_after)

    def _learning_rate(self) -> float:
        return self.config.learning_rate * DROP**self.counters.drops

    def _drop(self) -> None:
        """Back to the best weights, from now on at a lower learning rate."""
        self._restore_best()
        self.counters.drops += 1
        self.counters.dropped_after = self.counters.epoch

    def _restore_best(self) -> None:
        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(self.best[name])

    def run(self, saved: Checkpoint | None, tell: Tell, progress: Progress) -> FitResult:
        """Epochs until patience or `max_epochs` ends them; then the best weights are put back."""
        config, counters = self.config, self.counters
        with progress.task("train", total=config.max_epochs * self.n_batches) as task:
            task.resume(counters.epoch * self.n_batches)
            while counters.epoch < config.max_epochs and self._waited < config.patience:
                started = time.monotonic()
                loss = self._epoch(task)
                ndcg = self.validation.ndcg(self.model)
                if ndcg > counters.best:
                    counters.best, counters.best_epoch = ndcg, counters.epoch
                    self.best = self._weights()
                seconds = time.monotonic() - started
                counters.seconds += seconds
                row = {"epoch": counters.epoch, "loss": loss, "ndcg@10": ndcg}
                row |= {"learning_rate": self._learning_rate(), "seconds": round(seconds, 3)}
                counters.curve.append(row)
                tell(row)
                if self._waited >= config.patience and counters.drops < config.learning_rate_drops:
                    self._drop()
                if saved is not None:
                    saved.save(counters, self.model, self.best, self.optimiser)
        self._restore_best()
        converged = self._waited >= config.patience
        progress.note(
            f"{'converged' if converged else 'NOT converged'} after {counters.epoch} epochs, "
            f"best validation ndcg@10 {counters.best:.4f} in epoch {counters.best_epoch}"
        )
        return FitResult(
            counters.steps,
            counters.epoch,
            counters.best_epoch,
            counters.best,
            counters.seconds,
            converged,
            counters.curve,
        )

    def _epoch(self, task: Task) -> float:
        """One pass over all users; returns the mean loss per trained place."""
        self.counters.epoch += 1
        counters, epoch = self.counters, self.counters.epoch
        generator = torch.Generator().manual_seed(derived_seed(self.seed, BATCHES, epoch))
        negatives = torch.Generator().manual_seed(derived_seed(self.seed, NEGATIVES, epoch))
        deck = Deck(self.counts, self.config.negative_sampling or "uniform", negatives, self.device)
        rank = self.processes.rank
        torch.manual_seed(derived_seed(self.seed, DROPOUT, epoch, *([rank] if rank else [])))
        self.model.train()
        rate = self._learning_rate()
        total, places, unseen = torch.zeros((), dtype=torch.float64, device=self.device), 0, 0
        shown = {"ndcg": counters.best} if counters.best_epoch else {}

        def look() -> float:
            mean = float(total) / places
            if not math.isfinite(mean):
                raise InputError(
                    f"training came apart in epoch {epoch} (the loss is {mean}); lower train.learning_rate "
                    "or check base embeddings for very large values"
                )
            task.advance(unseen, epoch=epoch, loss=mean, **shown)
            return mean

        every = 1 if self.device.type == "cpu" else LOOK_EVERY
        batches = self.model.encoder.batches(
            self.histories, self.users, self.lengths, self.batch_size, generator
        )
        for rows, examples in batches:
            self.optimiser.zero_grad()
            loss, count = self._gradients(rows, examples, deck)
            counters.steps += 1
            for group in self.optimiser.param_groups:
                group["lr"] = rate * min(1.0, counters.steps / WARM_UP)
            self.optimiser.step()
            total, places, unseen = total + loss.detach().double() * count, places + count, unseen + 1
            if unseen == every:
                look()
                unseen = 0
        return look()

    def _gradients(self, rows: Tensor, examples: Examples, deck: Deck) -> tuple[Tensor, int]:
        """Gradients of one step; returns the batch's mean loss and its number of trained places."""
        share = None if self.exchange is None else self.processes.share(len(rows))
        loss, count = self.model.loss(rows, examples, deck, share)
        # Batches hold histories of similar length. Each counts by its places, so that a place in a short history
        # weighs no more than one in a long history.
        if count:
            (loss * (count / self.events_per_batch)).backward()
        if self.exchange is None:
            return loss, count
        places = int((examples.targets > 0).sum())
        return self.exchange.sum(loss, count, places), places
