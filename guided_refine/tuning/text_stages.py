"""Two optional stages before tuning, which train the same adapter on plain text with TRL's supervised trainer.

`pretrain` goes on pre-training on the catalog's texts and sees no interaction. `sft` learns to write the title that comes
next after a history, from training prefixes only; events that tuning holds out to watch itself are left out here too.
Each leaves an ordinary adapter folder that can be merged by itself; the next stage goes on with its weights.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.config import TuneConfig
from guided_refine.errors import InputError
from guided_refine.files import read_json, sha256_file, sha256_json, write_json
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import segment_ids, tokenise_texts
from guided_refine.tuning import artefact
from guided_refine.tuning.batches import Examples
from guided_refine.tuning.checkpoints import latest_whole, seal
from guided_refine.tuning.outcome import save_adapter
from guided_refine.tuning.texts import DatasetTexts

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

#: One example: token ids, and 1 for the tokens that are to be learnt.
Row = dict[str, list[int]]
MANIFEST, WEIGHTS = "manifest.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class TextStage:
    """What a stage learns: `rows()` gives its examples, `steps` times `batch_size` of them are read.

    Where they are fewer they are read again; the last step of each reading has what is left of them. `learnt` says in the
    card what it is about: "on the texts of the catalog".
    """

    name: str
    learnt: str
    steps: int
    rows: Callable[[], list[Row]]


def catalog_rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], limit: int) -> list[Row]:
    """Every text of the catalog that is not empty, cut to `limit` tokens, with the end mark where there is one.

    Raises `InputError` when no item has a text.
    """
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    found = [ids for ids, _ in tokenise_texts(tokenizer, [t.strip() for t in texts if t.strip()], limit)]
    if not found:
        raise InputError("tune.pretrain_steps: no item has a text to learn from; add texts or set it to 0")
    return [{"input_ids": ids + end, "completion_mask": [1] * (len(ids) + len(end))} for ids in found]


def next_title_rows(
    tokenizer: PreTrainedTokenizerBase,
    texts: DatasetTexts,
    titles: Sequence[str],
    examples: Examples,
    limit: int,
) -> list[Row]:
    """History, line break, title of the next item: one row for each example of each step; only the title is learnt.

    A history is read as user scores read it, oldest event first; it is cut at its old end to fit `limit` tokens. An empty
    title teaches the end mark alone; where there is none either, the row is left out.

    Raises `InputError` when no row is left.
    """
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    newline = segment_ids(tokenizer, "\n")
    written = tokenise_texts(tokenizer, [" ".join(title.split()) for title in titles], limit)
    rows = []
    for step in range(len(examples)):
        batch = examples[step]
        for user, position, column in zip(batch.users, batch.positions, batch.target, strict=True):
            answer = [*written[batch.items[column] - 1][0], *end][: limit // 2]
            if not answer:
                continue
            question = [*texts.user(int(user), int(position)), *newline][-(limit - len(answer)) :]
            rows.append(
                {"input_ids": question + answer, "completion_mask": [0] * len(question) + [1] * len(answer)}
            )
    if not rows:
        raise InputError("tune.sft_steps: no item has a title to learn from; add titles or set it to 0")
    return rows


def rows_at_a_time(batch_size: int, micro_batch_size: int | None) -> int:
    """The most rows up to `micro_batch_size` that divide a step of `batch_size` without a rest.

    >>> rows_at_a_time(32, None), rows_at_a_time(32, 8), rows_at_a_time(32, 12), rows_at_a_time(4, 9)
    (32, 8, 8, 4)
    """
    most = min(micro_batch_size or batch_size, batch_size)
    return next(size for size in range(most, 0, -1) if batch_size % size == 0)


def run_stage(
    stage: TextStage,
    model: PeftModel,
    language_model: LanguageModel,
    config: TuneConfig,
    out: Path,
    work: Path,
    *,
    made_from: dict[str, Any],
    seed: int,
) -> None:
    """Train the adapter of `model` on a stage's rows and write `out/<stage>`; a finished stage is read back.

    A killed stage goes on from its last whole checkpoint in `work`. `made_from` must hold the cut-off and all that the rows
    depend on. Raises `InputError` when the loss is no longer a finite number, or TRL is not installed.
    """
    folder = out / stage.name
    key = sha256_json({**made_from, "stage": stage.name})
    if _is_done(folder, key):
        _read_back(model, folder)
        return
    loss = _train(stage, model, language_model, config, work / stage.name, seed)
    fresh = work / f"{stage.name}-adapter"
    shutil.rmtree(fresh, ignore_errors=True)
    card = artefact.stage_card(
        language_model.name, made_from["cut_off"], stage.name, stage.learnt, stage.steps, loss
    )
    save_adapter(model, fresh, language_model.fingerprint, card)
    write_json(
        fresh / MANIFEST,
        {
            "kind": f"lora-adapter after {stage.name}",
            "cut_off": made_from["cut_off"],
            "key": key,
            "adapter_sha256": sha256_file(fresh / WEIGHTS),
            "steps": stage.steps,
            "loss": loss,
        },
    )
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _is_done(folder: Path, key: str) -> bool:
    try:
        manifest = read_json(folder / MANIFEST)
    except InputError:
        return False
    weights = folder / WEIGHTS
    return (
        manifest.get("key") == key
        and weights.is_file()
        and manifest.get("adapter_sha256") == sha256_file(weights)
    )


def _read_back(model: PeftModel, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / WEIGHTS))


def _train(
    stage: TextStage,
    model: PeftModel,
    language_model: LanguageModel,
    config: TuneConfig,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """First and last logged loss of the stage, in nats per learnt token."""
    try:
        from trl import SFTConfig, SFTTrainer
    except ImportError as error:
        raise InputError(
            f"tune.{stage.name}_steps needs the package trl ({error}); pip install trl, or set it to 0"
        ) from error
    import datasets
    from transformers import PrinterCallback, TrainerCallback

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            # Only the adapter: the default asks the hub whether the base model is known.
            model.save_pretrained(str(output_dir), save_embedding_layers=False)

    class Seal(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    size = rows_at_a_time(config.batch_size, config.micro_batch_size)
    tokenizer = language_model.tokenizer
    # The trainer writes special tokens and its own wishes into these; the model is to be as before.
    kept = [language_model.model.config, language_model.model.generation_config]
    before = tokenizer.pad_token, [copy.deepcopy(vars(each)) for each in kept]
    embedding = language_model.model.get_input_embeddings()
    hooks = set(embedding._forward_hooks)
    recomputed = {
        m: m.gradient_checkpointing for m in model.modules() if hasattr(m, "gradient_checkpointing")
    }
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    # This project has a display of its own, which --quiet turns off.
    barred = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        trainer = Trainer(
            model=model,
            args=SFTConfig(
                output_dir=str(folder),
                max_steps=stage.steps,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=config.batch_size // size,
                learning_rate=config.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=max(1, stage.steps // 10),
                completion_only_loss=True,
                max_length=None,
                packing=False,
                gradient_checkpointing=config.gradient_checkpointing,
                gradient_checkpointing_kwargs={"use_reentrant": False}
                if config.gradient_checkpointing
                else None,
                bf16=False,
                save_strategy="steps",
                save_steps=config.save_every,
                save_total_limit=2,
                logging_steps=1,
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                use_cpu=language_model.device.type == "cpu",
                seed=seed,
            ),
            train_dataset=datasets.Dataset.from_list(stage.rows()),
            processing_class=tokenizer,
            callbacks=[Seal()],
        )
        trainer.remove_callback(PrinterCallback)
        found = latest_whole(folder)
        trainer.train(resume_from_checkpoint=str(found) if found is not None else None)
    finally:
        if not barred:
            datasets.enable_progress_bars()
        if config.gradient_checkpointing:
            # Tuning itself reads slots, for which transformers' own must be off (see `recompute`).
            for module, was in recomputed.items():
                module.gradient_checkpointing = was
            # TRL and transformers both hook into the embedding, and only the later hook could be taken back by name.
            for hook in set(embedding._forward_hooks) - hooks:
                del embedding._forward_hooks[hook]
        tokenizer.pad_token = before[0]
        for each, values in zip(kept, before[1], strict=True):
            vars(each).clear()
            vars(each).update(values)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    if not all(math.isfinite(loss) for loss in losses):
        raise InputError(
            f"stage {stage.name} diverged: its loss is no finite number; lower tune.learning_rate"
        )
    return {"first": losses[0], "last": losses[-1]}
