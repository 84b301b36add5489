"""Pre-training of the builtin language model: from a catalog and an attribute set to a Hugging Face model folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.files import sha256_json
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin import RECIPE_VERSION
from guided_refine.scoring.builtin.bag_of_words import poles
from guided_refine.scoring.builtin.curriculum import Curriculum, Step
from guided_refine.scoring.builtin.folder import Checkpoint, is_finished, save_folder
from guided_refine.scoring.builtin.start import start_weights
from guided_refine.scoring.builtin.teacher import WeakLabels, digit_distributions
from guided_refine.scoring.builtin.teachers import Teacher, Words, choose_teacher
from guided_refine.scoring.builtin.tokenizer import train_tokenizer
from guided_refine.scoring.histories import event_text
from guided_refine.scoring.prompt import (
    PROMPT_VERSION,
    PromptPlan,
    build_prompt,
    generation_lines,
    tokenise_texts,
)
from guided_refine.scoring.slots import SlotReader

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_BATCH = 16
_READS = 3
_TEMPLATES = 4
_RATE = 1.5e-3
_WARM_UP = 0.1
_STEPS_PER_ROOT, _MOST_STEPS = 0.9, 60
_ITEMS_ONLY = 0.2
_TEXT_WEIGHT, _TEMPLATE_WEIGHT, _INSIDE_WEIGHT = 0.2, 0.5, 0.3
_PROMPT_REPEATS = 20
_CONTEXT = 4096


def train_builtin(
    dataset: Dataset,
    attributes: AttributeSet,
    options: LLMOptions,
    out: Path,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train the builtin model on the catalog's texts and return its folder `out`, loadable as any Hugging Face model.

    Reads `dataset.items` only, no interaction. `teacher` makes the labels (default: the one that `options` name, its
    path relative to the working folder). A finished folder is left as it is; a killed training goes on after the
    last whole epoch and ends with the same weights. Runs on the CPU whatever `options.device` says.

    Raises `InputError` when no item has a text, a checkpoint is damaged, or the teacher has nothing to teach.
    """
    progress = progress or Progress(quiet=True)
    teacher = teacher or choose_teacher(options.teacher)
    recipe = teacher.recipe
    key = _key(dataset, attributes, options, seed, recipe)
    if is_finished(out, key):
        return out
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        training = _Training(dataset, attributes, options, seed, teacher, progress)
        training.run(Checkpoint(out, key), progress)
    body = sum(p.numel() for p in training.model.model.layers.parameters())
    card = {
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "body": body,
        "catalog": dataset.name,
        "items": dataset.n_items,
        "domain": attributes.domain,
        "version": attributes.version,
        "attributes": ", ".join(a.label for a in attributes.attributes),
        "teacher": teacher.sentence,
    }
    done = {
        "key": key,
        "recipe": {"version": RECIPE_VERSION, **recipe},
        "epochs": training.epochs_done,
        "curve": training.curve,
    }
    save_folder(out, training.model, training.tokenizer, card, done)
    Checkpoint(out, key).remove()
    return out


def _key(
    dataset: Dataset, attributes: AttributeSet, options: LLMOptions, seed: int, recipe: dict[str, Any]
) -> str:
    kept = (
        "text_tokens",
        "event_tokens",
        "history_events",
        "hidden",
        "layers",
        "vocabulary",
        "pretrain_epochs",
    )
    inputs = {
        "version": [RECIPE_VERSION, PROMPT_VERSION],
        "titles": dataset.titles,
        "texts": dataset.texts,
        "attributes": attributes.sha256,
        "options": {name: getattr(options, name) for name in kept},
        "seed": seed,
    }
    # Models made before there was a choice keep their key.
    return sha256_json(inputs if recipe == Words.recipe else {**inputs, **recipe})


class _Training:
    """Tokenizer, labels, model, optimiser, and the loss of each kind of step."""

    def __init__(
        self,
        dataset: Dataset,
        attributes: AttributeSet,
        options: LLMOptions,
        seed: int,
        teacher: Teacher,
        progress: Progress,
    ) -> None:
        texts = dataset.texts
        if not any(texts):
            raise InputError(
                f"{dataset.name}: no item has a text, so there is nothing for the builtin model to read; "
                "add text columns to the items"
            )
        self.options = options
        self.tokenizer = train_tokenizer(tokenizer_texts(texts, attributes), options.vocabulary)
        self.plans = {kind: build_prompt(self.tokenizer, attributes, kind) for kind in ("item", "user")}
        self.labels: WeakLabels = teacher.labels(dataset, attributes, seed=seed, progress=progress)
        events = [event_text(t, x) for t, x in zip(dataset.titles, texts, strict=True)]
        self.events = [ids for ids, _ in tokenise_texts(self.tokenizer, events, options.event_tokens)]
        self.model = fresh_model(options, self.tokenizer)
        self._start_weights(texts, seed)
        self.readers = {
            (kind, full): SlotReader(
                self.model, plan if full else replace(plan, definitions=[[] for _ in plan.definitions])
            )
            for kind, plan in self.plans.items()
            for full in (True, False)
        }
        self.curriculum = Curriculum(
            texts=texts,
            values=self.labels.value,
            pole_stems=frozenset(w for a in attributes.attributes for pole in poles(a) for w in pole),
            steps=min(_MOST_STEPS, max(8, round(_STEPS_PER_ROOT * len(texts) ** 0.5))),
            items_only=round(_ITEMS_ONLY * options.pretrain_epochs),
            batch=_BATCH,
            history_events=options.history_events,
            reads=_READS,
            seed=seed,
        )
        self.total = self.curriculum.steps * options.pretrain_epochs
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.01, eps=1e-8
        )
        self.epochs_done = 0
        self.curve: list[dict[str, float]] = []

    def run(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Train from the last checkpoint to the last epoch."""
        self.epochs_done, spent, self.curve = checkpoint.load(self.model, self.optimiser)
        per_epoch = self.curriculum.steps
        if self.epochs_done:
            progress.note(f"builtin: continues after epoch {self.epochs_done}")
        self.model.train()
        with progress.task("train builtin", self.total - self.epochs_done * per_epoch) as task:
            while self.epochs_done < self.options.pretrain_epochs:
                started = time.monotonic()
                sums: dict[str, list[float]] = {}
                for number, step in enumerate(self.curriculum.epoch(self.epochs_done)):
                    loss = self._step(step, self.epochs_done * per_epoch + number)
                    sums.setdefault(step.kind, []).append(loss)
                    task.advance(1, **{step.kind: loss})
                self.epochs_done += 1
                spent += time.monotonic() - started
                self.curve.append({kind: round(float(np.mean(v)), 5) for kind, v in sums.items()})
                checkpoint.save(self.epochs_done, self.model, self.optimiser, spent, self.curve)
        self.model.eval()

    def _step(self, step: Step, number: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = _RATE * schedule(number, self.total)
        loss = {"item": self._item_loss, "user": self._user_loss, "text": self._text_loss}[step.kind](step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def _item_loss(self, step: Step) -> torch.Tensor:
        texts = self._ids(step.texts)
        labels = self.labels.of(step.items)
        return self._slot_loss(self.readers["item", step.definitions], texts, None, labels)

    def _user_loss(self, step: Step) -> torch.Tensor:
        newline = self.plans["user"].newline
        texts, reads, values = [], [], []
        for history, points in zip(step.histories, step.reads, strict=True):
            text: list[int] = []
            ends = []
            for item in history:
                text += ([*newline] if text else []) + self.events[item]
                ends.append(len(text))
            texts.append(text)
            reads.append([ends[p - 1] for p in points])
            values += [self.curriculum.taste_value(history, p) for p in points]
        value = np.stack(values)
        labels = WeakLabels(value, np.ones_like(value))
        reader = self.readers["user", step.definitions]
        ends_at = np.cumsum([len(points) for points in step.reads]) - 1
        lines = self._template_loss(reader.plan, texts, value[ends_at])
        return self._slot_loss(reader, texts, reads, labels) + _TEMPLATE_WEIGHT * lines

    def _slot_loss(
        self,
        reader: SlotReader,
        texts: list[list[int]],
        reads: list[list[int]] | None,
        labels: WeakLabels,
    ) -> torch.Tensor:
        """Soft cross-entropy at the digits, and the mass that slots give to anything but digits."""
        target = torch.from_numpy(digit_distributions(labels.value, labels.confidence, labels.width)).float()
        weight = torch.from_numpy(labels.confidence).float()
        answer = reader.digit_logits(texts, reads, inside=True)
        each = -(target * torch.log_softmax(answer.logits, dim=-1)).sum(-1)
        assert answer.inside is not None
        return (weight * each).sum() / weight.sum().clamp_min(1e-6) - _INSIDE_WEIGHT * answer.inside.mean()

    def _text_loss(self, step: Step) -> torch.Tensor:
        """Next-token loss on texts, and on whole answers about them."""
        start = self.tokenizer.bos_token_id
        texts = self._ids(step.texts)
        loss = self._causal([[start, *ids] for ids in texts], [list(range(1, len(ids) + 1)) for ids in texts])
        plan = self.readers["item", step.definitions].plan
        lines = self._template_loss(plan, texts, self.labels.value[step.items])
        return _TEXT_WEIGHT * loss + _TEMPLATE_WEIGHT * lines

    def _template_loss(self, plan: PromptPlan, texts: list[list[int]], value: np.ndarray) -> torch.Tensor:
        """Next-token loss on the template's lines behind the prompt that asks for them, for the first few texts."""
        # Definitions make the prompt long, so few rows have them.
        count = 1 if any(plan.definitions) else _TEMPLATES
        digits = np.rint(1 + 8 * value[:count]).astype(int)
        lines = [
            generation_lines(plan, text, row.tolist(), limit=_CONTEXT)
            for text, row in zip(texts[:count], digits, strict=True)
        ]
        asked = [list(range(g.prompt_length, len(g.ids))) for g in lines]
        return self._causal([g.ids for g in lines], asked)

    def _causal(self, rows: list[list[int]], asked: list[list[int]]) -> torch.Tensor:
        """Mean next-token loss at the places `asked` (indices of predicted tokens) of right-padded rows."""
        width = max(map(len, rows))
        ids = torch.tensor([row + [self.tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        hidden = self.model.model(input_ids=ids).last_hidden_state
        batch = torch.tensor([b for b, places in enumerate(asked) for _ in places])
        place = torch.tensor([p for places in asked for p in places])
        return cross_entropy(self.model.lm_head(hidden[batch, place - 1]), ids[batch, place])

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        rows = tokenise_texts(self.tokenizer, texts, self.options.text_tokens)
        return [ids or self.plans["item"].newline for ids, _ in rows]

    def _start_weights(self, texts: Sequence[str], seed: int) -> None:
        ids = self._ids(texts)
        forms: dict[str, int] = {}
        groups = np.array(
            [
                forms.setdefault(
                    str(self.tokenizer.decode([token])).strip().lower() or f"\x00{token}", len(forms)
                )
                for token in range(len(self.tokenizer))
            ]
        )
        start_weights(self.model, list(self.plans.values()), ids, self.labels.ranks, groups, seed=seed)


def schedule(step: int, total: int) -> float:
    """Share of the learning rate at `step`: a linear warm-up, then half a cosine down to a twentieth.

    >>> [round(schedule(s, 100), 2) for s in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.53, 0.05]
    """
    warm = max(1, round(_WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    return 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * share)))


def tokenizer_texts(texts: Sequence[str], attributes: AttributeSet) -> list[str]:
    """What the tokenizer learns from: the catalog, and the prompts often enough to be written with few tokens."""
    prompts = [
        f"\n- {a.label}: {a.definition} 1 = {a.low}; 9 = {a.high}.\n{a.item_question}\n{a.user_question}\n{a.label}: 5"
        for a in attributes.attributes
    ]
    return [*texts, *(p for p in prompts for _ in range(_PROMPT_REPEATS))]


def fresh_model(options: LLMOptions, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random model of the wanted size for the tokenizer; raises `InputError` for a width that heads cannot share."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if options.hidden % 4:
        raise InputError(
            f"llm_options.hidden is {options.hidden}, but the builtin model needs a multiple of four"
        )
    # At least two heads; rotary positions turn pairs of dimensions, so each has an even number of them.
    heads = next(h for h in range(max(2, options.hidden // 32), 1, -1) if options.hidden % (2 * h) == 0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 11 // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
        attention_bias=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        initializer_range=0.9 / options.hidden**0.5,
    )
    return LlamaForCausalLM(config)
