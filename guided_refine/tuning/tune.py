"""`tune`: LoRA on the language model that scores, from training interactions only; an adapter folder comes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine import __version__
from guided_refine.config import LLMOptions, TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.files import is_disk_full, sha256_json
from guided_refine.processes import Processes, launched, unseen
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, reading_context
from guided_refine.scoring.prompt import PromptPlan, build_prompt
from guided_refine.scoring.scores import AttributeScores
from guided_refine.tuning import TUNING_VERSION, artefact

if TYPE_CHECKING:
    from peft import PeftModel

    from guided_refine.tuning.batches import Examples
    from guided_refine.tuning.tasks import BaseScores, Task
    from guided_refine.tuning.texts import DatasetTexts

#: The held-out ranking is looked at this often while tuning, and once before.
EVALUATIONS = 2
#: Texts about which the tuned model writes freely, for the report: items and histories, half each. The untuned model
#: writes about half as many of them.
FREE_ANSWERS = 200
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
    free_answers: int
    task: Task
    likes: list[np.ndarray] | None
    made_from: dict[str, Any]
    processes: Processes
    context: int


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
    free_answers: int = FREE_ANSWERS,
    task: Task | None = None,
    base: BaseScores | None = None,
) -> Path:
    """Tune by LoRA and return the adapter folder `out/adapter` (ordinary PEFT, safetensors).

    `item_scores` are those of the untuned model: their catalog statistics fix the scale, and with
    `tune_config.side == "user"` they are the item side of the recommendation loss. `task` is one's own (see
    `guided_refine.tuning.tasks.Task`) in place of `tune_config.task`; `base` is what task `base_recommender` adds the
    attributes to. Beside the adapter: `curves.csv` (every term at every step), `report.json` (first and last losses,
    held-out ranking, share of well-formed lines in `free_answers` free answers, half of them about histories, and in
    half as many of the untuned model, tokens per second) and `manifest.json` (what it was made from, the cut-off of the
    split it saw). Of the interactions only `dataset.visible(user, "train")` is read.

    Called again with the same inputs it returns at once; after a kill it goes on from the last checkpoint and ends
    with the same weights. `language_model.model` is as before when this returns. Under `accelerate launch` every
    process calls this with the same arguments; they share the work, and the first writes the files.

    Raises `InputError` when the task needs ratings or a base that are not there, there is nothing to learn from, scores
    and split do not belong together, training diverges, or the disk is full.
    """
    _check(language_model, dataset, attributes, item_scores)
    processes = launched()
    goal, labels = _goal(task, base, tune_config, dataset)
    plans = {
        "item": build_prompt(language_model.tokenizer, attributes, "item", chat=llm_options.chat),
        "user": build_prompt(language_model.tokenizer, attributes, "user", chat=llm_options.chat),
    }
    made_from: dict[str, Any] = {
        "version": [__version__, TUNING_VERSION],
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
    if labels is not None:
        made_from["likes"] = sha256_json([np.nan_to_num(row, nan=-1).tolist() for row in labels])
    if tune_config.task == "base_recommender" and base is not None:
        made_from["base"] = [base.fingerprint, base.weight]
    if task is not None:
        from guided_refine.tuning.identity import identity

        made_from["task"] = identity(task)
    most = min(tune_config.micro_batch_size or tune_config.batch_size, tune_config.batch_size)
    if tune_config.pretrain_steps + tune_config.sft_steps and tune_config.batch_size % most:
        made_from["text_rows"] = "exact"  # such stages once read more rows a step
    if (
        processes.count > 1 and tune_config.micro_batch_size is None
    ):  # pieces, and so dropout, follow their number
        made_from["processes"] = processes.count
    if processes.tell(processes.first and artefact.is_done(out, made_from)):
        return out / artefact.ADAPTER
    work = artefact.start(out, made_from) if processes.first else artefact.work_folder(out, made_from)
    processes.tell()
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
        free_answers,
        goal,
        labels,
        made_from,
        processes,
        reading_context(language_model.model.config, language_model.tokenizer, attributes, llm_options),
    )
    # The trainer is to be alone with its process: what they share goes through `Objective`.
    with unseen() if processes.count > 1 else nullcontext():
        _run(job)
    if processes.first:
        artefact.finish(out, work, made_from)
    processes.tell()
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


def _goal(
    own: Task | None, base: BaseScores | None, config: TuneConfig, dataset: Dataset
) -> tuple[Task, list[np.ndarray] | None]:
    """The task, and what each training event says of it where that is more than "happened"."""
    from guided_refine.tuning.ratings import likes, log_odds
    from guided_refine.tuning.tasks import BaseRecommender, LikeDislike, next_item

    if own is not None:
        return own, None
    if config.task == "like_dislike":
        labels = likes(dataset, config.like_threshold)
        return LikeDislike(log_odds(labels)), labels
    if config.task == "base_recommender":
        if base is None:
            raise InputError(
                "task base_recommender needs a trained base; give `base`, or use tune.task=next_item"
            )
        return BaseRecommender(base), None
    return next_item, None


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
    from guided_refine.tuning.outcome import write_outcome
    from guided_refine.tuning.texts import DatasetTexts
    from guided_refine.tuning.trainer import TuneTrainer, training_arguments

    config = job.config
    texts = DatasetTexts(job.language_model.tokenizer, job.dataset, job.plans, job.options, job.context)
    value = job.item_scores.item_value

    def drawn(steps: int) -> Examples:
        return Examples(
            job.dataset,
            ~np.isnan(value).any(axis=1),
            steps=steps,
            batch_size=config.batch_size,
            negatives=config.negatives,
            template_texts=TEMPLATE_TEXTS,
            seed=job.seed,
            likes=job.likes,
        )

    examples = drawn(config.steps)
    _text_stages(job, model, texts, drawn)
    objective = Objective(
        model,
        job.plans,
        texts,
        scale=catalog_scale(value),
        item_value=value,
        untuned_items=_untuned(job, model, examples.items_used(), texts),
        config=config,
        batch_tokens=job.options.batch_tokens,
        context=job.context,
        seed=job.seed,
        task=job.task,
        processes=job.processes,
    )
    device = job.language_model.device
    with job.progress.task("tune", total=config.steps) as task:
        trainer = TuneTrainer(
            model,
            objective,
            examples,
            training_arguments(
                config,
                job.work,
                seed=job.seed,
                on_cpu=device.type == "cpu",
                saves=job.processes.first,
            ),
            evaluate_every=max(1, config.steps // EVALUATIONS),
            curves=job.out,
            task=task,
        )
        found = latest_whole(job.work) if job.processes.first else None
        name = job.processes.tell(None if found is None else found.name)
        checkpoint = None if name is None else job.work / name
        if checkpoint is not None:
            done = int(checkpoint.name.rpartition("-")[2])
            job.progress.log(f"tune: goes on after step {done} of {config.steps}")
            task.advance(done)
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        seconds = time.monotonic() - started
    if job.processes.first:
        write_outcome(
            job.out,
            job.work,
            model,
            job.language_model,
            trainer.state.log_history,
            list(job.plans["item"].names),
            cut_off=job.dataset.split.cut_off,
            seconds=seconds,
            tokens=trainer.tokens,
            liked_only=job.likes is not None,
            free_answers=_free_answers(job, model, texts),
        )


def _free_answers(job: _Job, model: PeftModel, texts: DatasetTexts) -> dict[str, float]:
    """Shares of well-formed lines: of all answers, of those about items and users, and of the untuned model's."""
    from guided_refine.tuning.generation import well_formed_share

    of_users = [(u, int(n) - 1) for u, n in enumerate(job.dataset.split.n_train) if n > 1]
    n_users = min(job.free_answers // 2, len(of_users))
    n_items = min(job.free_answers - n_users, job.dataset.n_items)
    if n_items == 0:
        return {}
    model.eval()
    items = np.linspace(1, job.dataset.n_items, n_items).round().astype(int)
    users = np.linspace(0, len(of_users) - 1, n_users).round().astype(int)
    asked = {
        "item": [texts.item(int(i)) for i in items],
        "user": [texts.user(*of_users[u]) for u in users],
    }

    def share(kind: str, every: int = 1) -> tuple[float, int]:
        chosen = asked[kind][::every]
        tokenizer, plan = job.language_model.tokenizer, job.plans[kind]
        return well_formed_share(model, tokenizer, plan, chosen, context=job.context), len(chosen)

    def mean(shares: list[tuple[float, int]]) -> float:
        return sum(part * count for part, count in shares) / sum(count for _, count in shares)

    kinds = [kind for kind in asked if asked[kind]]
    after = {kind: share(kind) for kind in kinds}
    with model.disable_adapter():
        before = [share(kind, every=2) for kind in kinds]
    return {
        "well_formed": mean(list(after.values())),
        "well_formed_untuned": mean(before),
        **{f"well_formed_{kind}s": part for kind, (part, _) in after.items()},
        "answers_written": n_items + n_users,
    }


def _text_stages(job: _Job, model: PeftModel, texts: DatasetTexts, drawn: Callable[[int], Examples]) -> None:
    config, tokenizer = job.config, job.language_model.tokenizer
    if config.pretrain_steps == config.sft_steps == 0:
        return
    from guided_refine.tuning.text_stages import TextStage, catalog_rows, next_title_rows, run_stage

    limit = min(job.options.text_tokens, job.context - 1)
    stages = [
        TextStage(
            "pretrain",
            "on the texts of the catalog, as language",
            config.pretrain_steps,
            lambda: catalog_rows(tokenizer, job.dataset.texts, limit),
        ),
        TextStage(
            "sft",
            "to write the title that comes next after a history",
            config.sft_steps,
            lambda: next_title_rows(
                tokenizer, texts, job.dataset.titles, drawn(config.sft_steps), job.context
            ),
        ),
    ]
    said = job.config.model_dump(mode="json", include={"rank", "alpha", "dropout", "learning_rate"})
    said |= config.model_dump(mode="json", include={"batch_size", "micro_batch_size"})
    known = {k: v for k, v in job.made_from.items() if k != "config"}
    for stage in stages:
        # The key of a stage names the steps of those before it too.
        said[stage.name] = stage.steps
        if stage.steps == 0:
            continue
        # The first process trains; the others read back what it has written.
        for turn in (True, False):
            if job.processes.first == turn:
                made_from = {**known, "config": dict(said)}
                run_stage(
                    stage,
                    model,
                    job.language_model,
                    config,
                    job.out,
                    job.work,
                    made_from=made_from,
                    seed=job.seed,
                )
            if turn:
                job.processes.tell()


def _untuned(job: _Job, model: PeftModel, items: np.ndarray, texts: DatasetTexts) -> Any:
    from guided_refine.scoring.slots import SlotReader
    from guided_refine.tuning.reading import evaluating
    from guided_refine.tuning.untuned import untuned_digits

    if job.config.side == "user" or job.config.anchor_weight == 0:
        return None

    def read() -> Any:
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

    # The others read back what the first has written.
    found = read() if job.processes.first else None
    job.processes.tell()
    return read() if found is None else found
