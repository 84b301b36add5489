"""`tune`: LoRA on the language model that scores, from training interactions only; an adapter folder comes out."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine import __version__
from guided_refine.config import LLMOptions, TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.files import is_disk_full, read_json, sha256_json, write_json, write_text
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import ADAPTER_BASE, LanguageModel
from guided_refine.scoring.prompt import PromptPlan, build_prompt
from guided_refine.scoring.scores import AttributeScores
from guided_refine.tuning import artefact

if TYPE_CHECKING:
    from peft import PeftModel

    from guided_refine.tuning.texts import DatasetTexts
    from guided_refine.tuning.trainer import TuneTrainer

#: The held-out ranking is looked at this often while tuning, and once before.
EVALUATIONS = 2
#: Items about which the tuned model writes freely, for the report.
GENERATED_ITEMS = 20
#: Texts whose lines the template term reads in a step; each is a prompt of its own with all definitions.
TEMPLATE_TEXTS = 2


@dataclass(frozen=True)
class _Job:
    language_model: LanguageModel
    dataset: Dataset
    plans: dict[str, PromptPlan]
    config: TuneConfig
    options: LLMOptions
    item_scores: AttributeScores
    seed: int
    out: Path
    work: Path
    progress: Progress
    generated_items: int


def tune(
    language_model: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    llm_options: LLMOptions,
    out: Path,
    *,
    item_scores: AttributeScores,
    seed: int,
    progress: Progress | None = None,
    generated_items: int = GENERATED_ITEMS,
) -> Path:
    """Tune by LoRA and return the adapter folder `out/adapter` (ordinary PEFT, safetensors).

    `item_scores` are those of the untuned model: their catalog statistics fix the scale, and with
    `tune_config.side == "user"` they are the item side of the recommendation loss. Beside the adapter: `curves.csv`
    (every term at every step), `report.json` (first and last losses, held-out ranking, share of well-formed lines in
    `generated_items` free answers, tokens per second) and `manifest.json` (what it was made from, the cut-off of the
    split it saw). Of the interactions only `dataset.visible(user, "train")` is read.

    Called again with the same inputs it returns at once; after a kill it goes on from the last checkpoint and ends
    with the same weights. `language_model.model` is as before when this returns.

    Raises `InputError` when there is nothing to learn from, scores and split do not belong together, training
    diverges, or the disk is full.
    """
    _check(language_model, dataset, attributes, item_scores)
    plans = {
        "item": build_prompt(language_model.tokenizer, attributes, "item", chat=llm_options.chat),
        "user": build_prompt(language_model.tokenizer, attributes, "user", chat=llm_options.chat),
    }
    made_from = {
        "version": __version__,
        "cut_off": dataset.split.cut_off,
        "texts": sha256_json([dataset.titles, dataset.texts]),
        "model": language_model.fingerprint,
        "prompts": [
            [p.sha256, *(p.attribute_sha256(a) for a in range(len(p.names)))] for p in plans.values()
        ],
        "item_scores": sha256_json(np.nan_to_num(item_scores.item_value, nan=-1).tolist()),
        "config": tune_config.model_dump(mode="json", exclude={"enabled", "save_every"}),
        "reading": llm_options.model_dump(
            mode="json", include={"batch_tokens", "text_tokens", "event_tokens", "history_events"}
        ),
        "seed": seed,
    }
    if artefact.is_done(out, made_from):
        return out / artefact.ADAPTER
    work = artefact.start(out, made_from)
    job = _Job(
        language_model,
        dataset,
        plans,
        tune_config,
        llm_options,
        item_scores,
        seed,
        out,
        work,
        progress or Progress(quiet=True),
        generated_items,
    )
    _run(job)
    artefact.finish(out, work, made_from)
    return out / artefact.ADAPTER


def _check(
    language_model: LanguageModel, dataset: Dataset, attributes: AttributeSet, item_scores: AttributeScores
) -> None:
    if item_scores.cut_off != dataset.split.cut_off:
        raise InputError(
            f"item scores were made under split {item_scores.cut_off}, but this run's split is "
            f"{dataset.split.cut_off}; score again so that no held-out interaction leaks in"
        )
    if item_scores.attributes != attributes.names or len(item_scores.item_value) != dataset.n_items:
        raise InputError("item scores belong to other attributes or another catalog; score the items again")
    if hasattr(language_model.model, "get_base_model"):
        raise InputError("the language model already carries an adapter; tune the model without one")


def _run(job: _Job) -> None:
    """Wrap the model in LoRA, train, save, report; then take the adapter off again."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors import SafetensorError

    base = job.language_model.model
    had_gradients = [p.requires_grad for p in base.parameters()]
    torch.manual_seed(job.seed)  # the adapter's start values
    model = get_peft_model(
        base,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=job.config.rank,
            lora_alpha=job.config.alpha,
            lora_dropout=job.config.dropout,
            target_modules="all-linear",
        ),
    )
    try:
        _train(job, model)
    except (OSError, RuntimeError, SafetensorError) as error:
        if not is_disk_full(error):
            raise
        raise InputError(
            f"the disk is full: tuning in {job.out} stopped and keeps its last checkpoint; "
            "free some space and run the same command again"
        ) from error
    finally:
        model.unload()
        for parameter, had in zip(base.parameters(), had_gradients, strict=True):
            parameter.requires_grad_(had)
        base.eval()


def _train(job: _Job, model: PeftModel) -> None:
    from guided_refine.tuning.batches import Examples
    from guided_refine.tuning.checkpoints import latest_whole
    from guided_refine.tuning.losses import catalog_scale
    from guided_refine.tuning.objective import Objective
    from guided_refine.tuning.texts import DatasetTexts
    from guided_refine.tuning.trainer import TuneTrainer, training_arguments

    config, context = job.config, job.language_model.context
    texts = DatasetTexts(job.language_model.tokenizer, job.dataset, job.plans, job.options, context)
    value = job.item_scores.item_value
    examples = Examples(
        job.dataset,
        ~np.isnan(value).any(axis=1),
        steps=config.steps,
        batch_size=config.batch_size,
        negatives=config.negatives,
        template_texts=TEMPLATE_TEXTS,
        seed=job.seed,
    )
    objective = Objective(
        model,
        job.plans,
        texts,
        scale=catalog_scale(value),
        item_value=value,
        untuned_items=_untuned(job, model, examples.items_used(), texts),
        config=config,
        batch_tokens=job.options.batch_tokens,
        context=context,
        seed=job.seed,
    )
    device = job.language_model.device
    with job.progress.task("tune", total=config.steps) as task:
        trainer = TuneTrainer(
            model,
            objective,
            examples,
            training_arguments(config, job.work, seed=job.seed, on_cpu=device.type == "cpu"),
            evaluate_every=max(1, config.steps // EVALUATIONS),
            curves=job.out,
            task=task,
        )
        checkpoint = latest_whole(job.work)
        if checkpoint is not None:
            done = int(checkpoint.name.rpartition("-")[2])
            job.progress.log(f"tune: goes on after step {done} of {config.steps}")
            task.advance(done)
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        seconds = time.monotonic() - started
    _save(job, model, trainer, texts, seconds)


def _untuned(job: _Job, model: PeftModel, items: np.ndarray, texts: DatasetTexts) -> Any:
    from guided_refine.scoring.slots import SlotReader
    from guided_refine.tuning.objective import evaluating
    from guided_refine.tuning.untuned import untuned_digits

    if job.config.side != "both" or job.config.anchor_weight == 0:
        return None
    with evaluating(model), model.disable_adapter():
        return untuned_digits(
            SlotReader(model, job.plans["item"]),
            texts,
            items,
            job.dataset.n_items,
            job.work,
            batch_tokens=job.options.batch_tokens,
            progress=job.progress,
        )


def _save(job: _Job, model: PeftModel, trainer: TuneTrainer, texts: DatasetTexts, seconds: float) -> None:
    from guided_refine.tuning.generation import well_formed_share

    history = trainer.state.log_history
    artefact.write_curves(job.out, history)
    summary = artefact.summarise_curves(history)
    summary["trainable_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    summary["seconds"] = round(seconds, 2)
    summary["tokens_per_second"] = round(trainer.tokens / seconds, 1) if trainer.tokens else None
    if job.generated_items > 0:
        model.eval()
        count = min(job.generated_items, job.dataset.n_items)
        chosen = np.linspace(1, job.dataset.n_items, count).round().astype(int)
        summary["well_formed"] = well_formed_share(
            model,
            job.language_model.tokenizer,
            job.plans["item"],
            [texts.item(int(i)) for i in chosen],
            context=job.language_model.context,
        )
    adapter = job.work / artefact.ADAPTER
    model.save_pretrained(str(adapter), save_embedding_layers=False)
    # PEFT keeps the layers' names in a set, so their order would differ from run to run.
    settings = read_json(adapter / "adapter_config.json")
    settings["target_modules"] = sorted(settings["target_modules"])
    if Path(str(settings["base_model_name_or_path"])).exists():
        # A path of this machine helps nobody elsewhere, and PEFT would look any other name up on the hub;
        # `base_model.json` says which model it is.
        settings["base_model_name_or_path"] = None
    write_json(adapter / "adapter_config.json", settings)
    write_json(adapter / ADAPTER_BASE, {"fingerprint": job.language_model.fingerprint})
    names = list(job.plans["item"].names)
    write_text(
        adapter / "README.md",
        artefact.card(job.language_model.name, job.dataset.split.cut_off, names, summary),
    )
    write_json(job.out / artefact.REPORT, summary)
    # The manifest is written only after this, so a kill in between is no finished result.
    shutil.rmtree(job.out / artefact.ADAPTER, ignore_errors=True)
    adapter.rename(job.out / artefact.ADAPTER)
