"""Tuning steps: tokens per second, the share of the machine's matmul rate, and what taking a step in pieces costs.

A random Qwen3-shaped model of about ten million parameters under LoRA, all terms of the loss, on the embedded sample: what
is measured is work, not meaning.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from guided_refine.bench.scoring import random_model
from guided_refine.bench.work import matmul_rate
from guided_refine.config import LLMOptions, TuneConfig
from guided_refine.data.dataset import from_frames
from guided_refine.data.sample import generate
from guided_refine.machine import machine, peak_memory
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.prompt import build_prompt

if TYPE_CHECKING:
    from guided_refine.tuning.objective import Objective

FORMULA = """FLOP = P x (4 per token read with gradients + 2 per token read without), P parameters outside the embeddings:
forward once, and back to the activations once, as LoRA leaves the weights alone; attention, the output head and the
adapter are not counted. A step in pieces reads every text twice, and gradient checkpointing goes through layers twice on
texts and slots (6 in place of 4 per token); both count as work, not as tokens."""

#: Texts held at a time (None: all of a step's), and whether layers are computed again on the way back.
_CASES: tuple[tuple[int | None, bool], ...] = ((None, False), (None, True), (8, False), (1, False))
_RANK = 8
_SEEN_TOKENS = 128


def run(
    progress: Progress | None = None,
    *,
    dtype: Literal["float32", "bfloat16"] | None = None,
    threads: int | None = None,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Measure steps of 8 users and 16 negatives, at the best of 3; one row per way to save memory. `quick`: fewer of all.
    `dtype`: of the model, without it bfloat16 on a GPU, else float32.

    Rows are in text tokens and slots per second; `share_of_matmul_rate` is work per second over that of matrix products of
    this machine, `peak_memory_mib` the process's most so far, which is why the smallest pieces come first.
    """
    from guided_refine.backbones.training import torch_threads

    with torch_threads(threads):
        sizes = (2, 1, _CASES[:3]) if quick else (8, 3, _CASES)
        return _measure(progress or Progress(quiet=True), dtype, *sizes)


def _measure(
    progress: Progress,
    wanted: str | None,
    users: int,
    repeats: int,
    cases: tuple[tuple[int | None, bool], ...],
) -> list[dict[str, Any]]:
    import torch
    from peft import LoraConfig, get_peft_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, wanted or ("bfloat16" if device == "cuda" else "float32"))
    rate = matmul_rate(dtype, device)
    rows = []
    with progress.task("bench tuning", len(cases) * repeats) as task:
        for size, again in reversed(cases):
            causal, objective_of, steps = _parts(users, repeats + 1, size, again)
            parameters = sum(p.numel() for n, p in causal.named_parameters() if "embed" not in n)
            torch.manual_seed(0)
            model = get_peft_model(
                causal.to(device, dtype),
                LoraConfig(task_type="CAUSAL_LM", r=_RANK, target_modules="all-linear"),
            )
            objective = objective_of(model)
            best: dict[str, float] = {"tokens": 0.0, "share": 0.0}
            for repeat in range(repeats + 1):
                with _counted(model) as count:
                    started = time.perf_counter()
                    terms = _step(objective, steps[repeat])
                    if device == "cuda":
                        torch.cuda.synchronize()
                    seconds = time.perf_counter() - started
                model.zero_grad()
                if repeat == 0:
                    continue  # the first step warms up
                slots = 6 if again else 4
                flop = parameters * (slots * count["slots"] + 4 * count["with"] + 2 * count["without"])
                best["tokens"] = max(best["tokens"], terms.tokens / seconds)
                best["share"] = max(best["share"], flop / seconds / rate)
                task.advance()
            pieces = "whole steps" if size is None else f"pieces of {size}"
            pieces += ", gradient checkpointing" if again else ""
            rows.append(
                {
                    "name": "tuning",
                    "case": f"{users} users a step, {pieces}, {parameters / 1e6:.0f}M parameters, {str(dtype)[6:]}",
                    "ours": best["tokens"],
                    "peer": None,
                    "peer_name": None,
                    "unit": "tokens/s",
                    "ratio": None,
                    "equal_results": None,
                    "machine": machine(),
                    "share_of_matmul_rate": best["share"],
                    "matmul_rate": rate,
                    "peak_memory_mib": peak_memory(),
                    "formula": FORMULA,
                    "notes": [f"{best['share']:.0%} of the measured matmul rate ({rate / 1e9:.0f} GFLOP/s)"],
                }
            )
    return rows[::-1]


def _step(objective: Objective, batch: Any) -> Any:
    if objective.in_pieces:
        return objective.accumulate(batch)
    terms = objective(batch)
    terms.total.backward()
    return terms


def _parts(users: int, steps: int, size: int | None, again: bool) -> tuple[Any, Any, Any]:
    """A fresh model, what makes its objective once it is under LoRA, and the steps' examples."""
    import torch

    from guided_refine.scoring.builtin.tokenizer import train_tokenizer
    from guided_refine.tuning.batches import Examples
    from guided_refine.tuning.losses import catalog_scale
    from guided_refine.tuning.objective import Objective
    from guided_refine.tuning.texts import DatasetTexts

    sample = generate(n_items=300, n_users=100)
    items = sample.items.rename(columns={"description": "text"})
    dataset = from_frames("sample", items, sample.interactions)
    tokenizer = train_tokenizer(dataset.texts, 4096)
    attributes = load_attributes("movies")
    plans = {kind: build_prompt(tokenizer, attributes, kind) for kind in ("item", "user")}
    options = LLMOptions(text_tokens=_SEEN_TOKENS)
    causal = random_model(len(tokenizer))
    context = int(causal.config.max_position_embeddings)
    texts = DatasetTexts(tokenizer, dataset, plans, options, context)
    value = np.random.default_rng(0).random((dataset.n_items, len(attributes.names)))
    config = TuneConfig(
        batch_size=users,
        negatives=2 * users,
        micro_batch_size=size,
        gradient_checkpointing=again,
        rank=_RANK,
    )

    def objective_of(model: Any) -> Objective:
        return Objective(
            model,
            plans,
            texts,
            scale=catalog_scale(value),
            item_value=value,
            untuned_items=torch.zeros(dataset.n_items, len(attributes.names), 9),
            config=config,
            batch_tokens=options.batch_tokens,
            context=context,
            seed=0,
        )

    examples = Examples(
        dataset,
        np.ones(dataset.n_items, bool),
        steps=steps,
        batch_size=users,
        negatives=config.negatives,
        template_texts=2,
        seed=0,
    )
    return causal, objective_of, examples


@contextmanager
def _counted(model: Any) -> Iterator[dict[str, int]]:
    """Tokens that the decoder reads meanwhile: of texts and slots with gradients, of others with and all without."""
    import torch

    count = {"slots": 0, "with": 0, "without": 0}

    def note(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named.get("input_ids", positional[0] if positional else None)
        if ids is not None:
            with_gradients = "slots" if "slot_blocks" in named else "with"
            count[with_gradients if torch.is_grad_enabled() else "without"] += ids.numel()

    handle = model.get_base_model().base_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield count
    finally:
        handle.remove()
