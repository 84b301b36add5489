"""The tuning loss of one step: read digits with gradients, compare with what comes next, hold the meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from guided_refine.config import TuneConfig
from guided_refine.scoring.prompt import PromptPlan, generation_lines
from guided_refine.scoring.slots import DigitLogits, SlotReader, soft_scores
from guided_refine.tuning.batches import TuneBatch
from guided_refine.tuning.losses import (
    CatalogScale,
    anchor_loss,
    digit_mass_loss,
    recommendation_logits,
    recommendation_loss,
    template_loss,
)


class Texts(Protocol):
    """Where token ids come from."""

    def item(self, number: int) -> list[int]:
        """Tokens of an item's text; items are numbered from 1."""

    def user(self, user: int, position: int) -> list[int]:
        """Tokens of the history text of a user who has seen events 0..position-1."""


@dataclass(frozen=True)
class Terms:
    """The terms of one step before weighting; those with weight 0 are not computed and None. `tokens` were read."""

    total: Tensor
    recommendation: Tensor | None
    template: Tensor | None
    digit_mass: Tensor | None
    anchor: Tensor | None
    tokens: int

    def values(self) -> dict[str, float]:
        """Plain numbers under the column names of `curves.csv`."""
        both = None
        if self.template is not None and self.digit_mass is not None:
            both = self.template + self.digit_mass
        parts = {
            "recommendation": self.recommendation,
            "format": both,
            "template": self.template,
            "digit_mass": self.digit_mass,
            "anchor": self.anchor,
        }
        return {name: float(part.detach()) for name, part in parts.items() if part is not None}


class Objective:
    """Weighted sum of the losses of `guided_refine.tuning.losses` for one `TuneBatch`.

    With `config.side == "both"` the step's items are read by the model being tuned; with "user" their scores are
    the constants `item_value` (n_items, attributes), those of the untuned model. `untuned_items` (n_items,
    attributes, 9) are the untuned digit logits that the anchor holds item scores to; users' are read on the spot with
    the adapter switched off.
    """

    def __init__(
        self,
        model: PeftModel,
        plans: dict[str, PromptPlan],
        texts: Texts,
        *,
        scale: CatalogScale,
        item_value: np.ndarray,
        untuned_items: Tensor | None,
        config: TuneConfig,
        batch_tokens: int,
        context: int,
        seed: int,
    ) -> None:
        self._model, self._plans, self._texts = model, plans, texts
        self._scale, self._config, self._seed = scale, config, seed
        self._batch_tokens, self._context = batch_tokens, context
        self._tuned = {kind: SlotReader(model, plan) for kind, plan in plans.items()}
        # Apart, because a reader keeps the shared prefix and the untuned prefix never changes.
        self._untuned_users = SlotReader(model, plans["user"])
        self._item_value = item_value
        self._untuned_items = untuned_items
        self._device = next(model.parameters()).device
        # A reader tries out its model on first use and switches modes meanwhile; not in the middle of a step.
        with evaluating(model):
            for reader in (*self._tuned.values(), self._untuned_users):
                reader.digit_logits([reader.plan.opening])
                reader.clear()

    def __call__(self, batch: TuneBatch) -> Terms:
        """All terms of one step, with gradients. Random numbers depend on (seed, step) only."""
        c = self._config
        only_adapter_dropout(self._model)
        torch.manual_seed(
            int(np.random.SeedSequence([self._seed, batch.step]).generate_state(1, np.uint64)[0] >> 1)
        )
        user_texts = [self._texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
        users = self._read(self._tuned["user"], user_texts, inside=c.format_weight > 0)
        items = None
        item_texts: list[list[int]] = []
        if c.side == "both":
            item_texts = [self._texts.item(i) for i in batch.items]
            items = self._read(self._tuned["item"], item_texts, inside=c.format_weight > 0)
        recommendation = template = digit_mass = anchor = None
        total = torch.zeros((), device=self._device)
        if c.recommendation_weight > 0:
            recommendation = self._recommendation(batch, users, items)
            total = total + c.recommendation_weight * recommendation
        if c.format_weight > 0:
            masses = [r.inside for r in (users, items) if r is not None and r.inside is not None]
            digit_mass = digit_mass_loss(torch.cat(masses))
            template = self._template(batch, users, user_texts)
            total = total + c.format_weight * (template + digit_mass)
        if c.anchor_weight > 0:
            anchor = self._anchor(batch, users, user_texts, items)
            total = total + c.anchor_weight * anchor
        tokens = sum(map(len, user_texts)) + sum(map(len, item_texts))
        tokens += len(user_texts) * self._plans["user"].slot_tokens
        tokens += len(item_texts) * self._plans["item"].slot_tokens
        return Terms(total, recommendation, template, digit_mass, anchor, tokens)

    def rank_held_out(self, batch: TuneBatch) -> dict[str, float]:
        """How held-out events fare among random items: `held_out` is the mean share of them that the target beats
        (ties count half; 0.5 is chance), `held_out_loss` the recommendation loss.
        """
        with evaluating(self._model):
            for reader in self._tuned.values():
                reader.clear()
            user_texts = [self._texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
            users = self._read(self._tuned["user"], user_texts)
            items = None
            if self._config.side == "both":
                items = self._read(self._tuned["item"], [self._texts.item(i) for i in batch.items])
            logits = self._logits(batch, users, items)
            target, blocked = self._places(batch)
            loss = recommendation_loss(logits, target, blocked)
            own = logits.gather(1, target.unsqueeze(1))
            others = (~blocked).scatter(1, target.unsqueeze(1), False)
            beaten = ((own > logits) & others).sum(1) + 0.5 * ((own == logits) & others).sum(1)
            share = (beaten / others.sum(1).clamp(min=1)).mean()
            for reader in self._tuned.values():
                reader.clear()
        return {"held_out": share.item(), "held_out_loss": loss.item()}

    # ------------------------------------------------------------------ the terms

    def _logits(self, batch: TuneBatch, users: DigitLogits, items: DigitLogits | None) -> Tensor:
        z_users = self._scale.apply(soft_scores(users.logits)[0])
        if items is not None:
            value = soft_scores(items.logits)[0]
        else:
            value = torch.as_tensor(
                self._item_value[batch.items - 1], dtype=torch.float32, device=self._device
            )
        return recommendation_logits(z_users, self._scale.apply(value))

    def _places(self, batch: TuneBatch) -> tuple[Tensor, Tensor]:
        return (
            torch.as_tensor(batch.target, device=self._device),
            torch.as_tensor(batch.blocked, device=self._device),
        )

    def _recommendation(self, batch: TuneBatch, users: DigitLogits, items: DigitLogits | None) -> Tensor:
        return recommendation_loss(self._logits(batch, users, items), *self._places(batch))

    def _anchor(
        self, batch: TuneBatch, users: DigitLogits, texts: list[list[int]], items: DigitLogits | None
    ) -> Tensor:
        with evaluating(self._model), self._model.disable_adapter():
            before = self._read(self._untuned_users, texts).logits
        only_adapter_dropout(self._model)
        tuned, untuned = [users.logits], [before]
        if items is not None:
            assert self._untuned_items is not None
            tuned.append(items.logits)
            untuned.append(self._untuned_items[torch.as_tensor(batch.items - 1)].to(self._device))
        return anchor_loss(torch.cat(tuned), torch.cat(untuned))

    def _template(self, batch: TuneBatch, users: DigitLogits, user_texts: list[list[int]]) -> Tensor:
        """The lines as the model itself would write them, with the digits that it would write now."""
        wanted: list[tuple[PromptPlan, list[int], np.ndarray]] = []
        for number in batch.template_items:
            value = self._item_value[number - 1]
            wanted.append((self._plans["item"], self._texts.item(number), value))
        now = soft_scores(users.logits.detach())[0].cpu().numpy()
        for row in batch.template_examples:
            wanted.append((self._plans["user"], user_texts[row], now[row]))
        logits, tokens = [], []
        for plan, text, value in wanted:
            lines = generation_lines(plan, text, digits_of(value), limit=self._context)
            answer = len(lines.ids) - lines.prompt_length
            ids = torch.tensor([lines.ids], device=self._device)
            # One more place than the answer has tokens: a token is predicted one place before it stands.
            predicted = self._model(input_ids=ids, logits_to_keep=answer + 1).logits[0, :-1]
            keep = np.setdiff1d(np.arange(answer), np.array(lines.digit_places) - lines.prompt_length)
            logits.append(predicted[torch.as_tensor(keep, device=self._device)])
            tokens.append(ids[0, lines.prompt_length :][torch.as_tensor(keep, device=self._device)])
        return template_loss(torch.cat(logits), torch.cat(tokens))

    # ------------------------------------------------------------------ reading

    def _read(self, reader: SlotReader, texts: Sequence[list[int]], *, inside: bool = False) -> DigitLogits:
        return read_texts(reader, texts, self._batch_tokens, inside=inside)


def read_texts(
    reader: SlotReader, texts: Sequence[list[int]], batch_tokens: int, *, inside: bool = False
) -> DigitLogits:
    """Read each text once after its end, longest first, in passes of at most `batch_tokens` tokens with padding.

    The result is in the order of `texts`.
    """
    order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
    logits: list[Tensor] = []
    masses: list[Tensor] = []
    start = 0
    while start < len(order):
        width = max(1, len(texts[order[start]])) + reader.plan.slot_tokens
        stop = start + max(1, batch_tokens // width)
        found = reader.digit_logits([texts[i] for i in order[start:stop]], inside=inside)
        logits.append(found.logits)
        if found.inside is not None:
            masses.append(found.inside)
        start = stop
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    back = back.to(logits[0].device)
    return DigitLogits(torch.cat(logits)[back], torch.cat(masses)[back] if masses else None)


def digits_of(value: np.ndarray) -> list[int]:
    """The digits 1..9 nearest to values in [0, 1].

    >>> digits_of(np.array([0.0, 0.49, 1.0]))
    [1, 5, 9]
    """
    return [int(d) for d in np.clip(np.rint(value * 8) + 1, 1, 9)]


def only_adapter_dropout(model: torch.nn.Module) -> None:
    """Training mode for the adapter's dropout alone: the base model's own would add noise to every score."""
    model.eval()
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for dropout in module.lora_dropout.values():
                dropout.train()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """No gradients, no dropout; the adapter stays as it is."""
    model.eval()
    with torch.no_grad():
        yield
