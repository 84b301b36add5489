"""`TuneTrainer`: the Hugging Face trainer with this project's loss, batches and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from guided_refine.config import TuneConfig
from guided_refine.errors import InputError
from guided_refine.progress import Task
from guided_refine.tuning.artefact import write_curves
from guided_refine.tuning.batches import Examples, collate
from guided_refine.tuning.checkpoints import seal
from guided_refine.tuning.objective import Objective, Terms

#: Share of the steps over which the learning rate rises to its full value; it then falls along a cosine to 0.
WARM_UP = 0.1


def training_arguments(
    config: TuneConfig, folder: Path, *, seed: int, on_cpu: bool, saves: bool = True
) -> TrainingArguments:
    """The trainer's settings; all that touches numbers comes from `config` and `seed`. `saves`: write checkpoints."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=1,  # one element of Examples is a whole step
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(config.steps * WARM_UP)),
        max_grad_norm=1.0,
        save_strategy="steps" if saves else "no",
        save_steps=config.save_every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=on_cpu,
        seed=seed,
    )


class TuneTrainer(Trainer):
    """Tunes a PEFT model on an `Objective` over `Examples`; logs every term of the loss at every step.

    `log_history` of the trainer's state, which travels inside its checkpoints, is the source of `curves.csv`: a
    resumed run therefore continues the curve without holes or repeats.
    """

    # The objective is a mean over one step's examples, so the base class has to divide it when accumulating.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: PeftModel,
        objective: Objective,
        examples: Examples,
        arguments: TrainingArguments,
        *,
        evaluate_every: int,
        curves: Path,
        task: Task,
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=examples, data_collator=collate)
        self._peft_model, self._examples = model, examples
        self.remove_callback(PrinterCallback)
        self.add_callback(_Hooks(self, curves))
        self._objective = objective
        self._held_out = examples.held_out()
        self._evaluate_every = evaluate_every
        self._task = task
        self._terms: dict[str, float] = {}
        self.tokens = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Every process gets every step: `Objective` shares out the texts of a step, not the steps."""
        return DataLoader(
            self._examples, batch_size=1, sampler=SequentialSampler(self._examples), collate_fn=collate
        )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not estimated: the base class expects one tensor of token ids."""
        return 0

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One step's gradients, in pieces where the texts of a step are not to be held at once."""
        if not self._objective.in_pieces:
            return super().training_step(model, inputs, num_items_in_batch)
        with self._watching():
            return self._noted(self._objective.accumulate(inputs["batch"])).detach()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Weighted sum of the terms for one step. Raises `InputError` when it is no longer a finite number."""
        with self._watching():
            terms = self._objective(inputs["batch"])
        total = self._noted(terms)
        return (total, None) if return_outputs else total

    def _noted(self, terms: Terms) -> Tensor:
        if not math.isfinite(terms.total.item()):
            raise self._diverged()
        self._terms = terms.values()
        self.tokens += terms.tokens
        return terms.total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the terms, and now and then the held-out ranking, to the step's row."""
        if "loss" in logs:
            logs.update(self._terms)
            step = self.state.global_step
            if step % self._evaluate_every == 0 or step == self.state.max_steps:
                logs.update(self.rank_held_out())
            self._task.advance(loss=logs["loss"])
        super().log(logs, start_time)

    def rank_held_out(self) -> dict[str, float]:
        """See `Objective.rank_held_out`; empty where the data are too small to hold anything out."""
        if self._held_out is None:
            return {}
        with self._watching():
            return self._objective.rank_held_out(self._held_out)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Before the first step it is the input that a complaint is about, later what the steps made of the weights."""
        try:
            yield
        except InputError as error:
            if self.state.global_step == 0:
                raise
            raise self._diverged() from error

    def _diverged(self) -> InputError:
        return InputError(
            f"tuning diverged at step {self.state.global_step}: scores or losses are no longer finite numbers; "
            "lower tune.learning_rate"
        )

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        # Only the adapter, and never the embeddings: the default asks the hub whether the base model is known.
        assert output_dir is not None
        self._peft_model.save_pretrained(output_dir, save_embedding_layers=False)


class _Hooks(TrainerCallback):
    """Row 0 of the curves before the first step; a seal and the curves so far after every checkpoint."""

    def __init__(self, trainer: TuneTrainer, curves: Path) -> None:
        self._trainer, self._curves = trainer, curves

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step == 0:
            state.log_history.append({"step": 0, **self._trainer.rank_held_out()})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
        write_curves(self._curves, state.log_history)
