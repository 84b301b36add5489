"""The tuning loss of one step: read digits with gradients, compare with what comes next, hold the meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor

from guided_refine.config import TuneConfig
from guided_refine.processes import Processes
from guided_refine.scoring.prompt import PromptPlan
from guided_refine.scoring.slots import DigitLogits, SlotReader, soft_scores
from guided_refine.tuning.answers import Answer, surprise, written_answer
from guided_refine.tuning.batches import TuneBatch
from guided_refine.tuning.losses import (
    CatalogScale,
    anchor_loss,
    digit_mass_loss,
    recommendation_loss,
)
from guided_refine.tuning.reading import Texts, evaluating, only_adapter_dropout, passes, read_texts
from guided_refine.tuning.recompute import recomputing
from guided_refine.tuning.tasks import StepScores, Task, next_item

#: Which scores are read by the model being tuned, by `tune.side`.
TUNED_KINDS: dict[str, tuple[str, ...]] = {"both": ("user", "item"), "user": ("user",), "item": ("item",)}


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

    With `config.side == "both"` the step's items and users are read by the model being tuned. With "user" the items'
    scores are the constants `item_value` (n_items, attributes), those of the untuned model; with "item" the users' are
    read by the untuned model. `untuned_items` (n_items, attributes, 9) are the untuned digit logits that the anchor holds
    item scores to; users' are read on the spot with the adapter switched off. `task` makes the recommendation term.
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
        task: Task = next_item,
        processes: Processes | None = None,
    ) -> None:
        self._model, self._plans, self._texts = model, plans, texts
        self._scale, self._config, self._seed = scale, config, seed
        self._batch_tokens, self._context = batch_tokens, context
        self._task, self._processes = task, processes or Processes()
        self._kinds = TUNED_KINDS[config.side]
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
        only_adapter_dropout(self._model)
        self._random_from(batch.step)
        texts = self._step_texts(batch)
        with recomputing(self._model, self._config.gradient_checkpointing):
            reads = {
                kind: read_texts(
                    self._tuned[kind], texts[kind], self._batch_tokens, inside=self._config.format_weight > 0
                )
                for kind in self._kinds
            }
        untuned = self._untuned(texts["user"])
        template = None
        if self._config.format_weight > 0:
            answers = self._answers(batch, texts["user"], reads, untuned)
            template = torch.cat([surprise(self._model, a, self._device) for a in answers]).mean()
        return self._compared(batch, texts, reads, untuned, template)

    def accumulate(self, batch: TuneBatch) -> Terms:
        """All terms of one step, their gradients added to the adapter piece by piece.

        Gradients are those of `self(batch).total` (with dropout: of other draws of it), but no more than
        `config.micro_batch_size` texts are held at a time, and each process reads its share. All texts are read without
        gradients first; the loss of the whole step says how it changes with each text's digit logits; then every piece
        is read again, with gradients, which start from there. Gao et al. 2021, Scaling Deep Contrastive Learning Batch
        Size under Memory Limited Setup, https://arxiv.org/abs/2101.06983, section 3.
        """
        only_adapter_dropout(self._model)
        texts = self._step_texts(batch)
        pieces = [(kind, rows) for kind in self._kinds for rows in self._pieces(kind, texts[kind])]
        reads = {kind: self._blank(len(texts[kind])) for kind in self._kinds}
        with torch.no_grad():
            for number, (kind, rows) in enumerate(pieces):
                if self._is_mine(number):
                    _put(
                        reads[kind],
                        rows,
                        self._piece(batch.step, number, kind, [texts[kind][i] for i in rows]),
                    )
                    self._tuned[kind].clear()  # or the next piece would meet this one's dropout in the prefix
        leaves = [t for read in reads.values() for t in (read.logits, read.inside) if t is not None]
        self._add_up(leaves)
        for leaf in leaves:
            leaf.requires_grad_()
        untuned = self._untuned(texts["user"])
        terms = self._compared(batch, texts, reads, untuned)
        if terms.total.requires_grad:
            terms.total.backward()
        for number, (kind, rows) in enumerate(pieces):
            if self._is_mine(number):
                again = self._piece(batch.step, number, kind, [texts[kind][i] for i in rows])
                _push(again, reads[kind], rows)
        if self._config.format_weight > 0:
            answers = self._answers(batch, texts["user"], reads, untuned)
            template = self._template_in_pieces(batch, answers, len(pieces))
            total = terms.total.detach() + self._config.format_weight * template
            terms = replace(terms, total=total, template=template)
        self._add_up_gradients()
        return terms

    def _add_up_gradients(self) -> None:
        if self._processes.count == 1:
            return
        gradients = []
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:  # none of this process's texts
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        self._add_up(gradients)

    def _is_mine(self, part: int) -> bool:
        return part % self._processes.count == self._processes.rank

    def _add_up(self, tensors: Sequence[Tensor]) -> None:
        """What each process has put into its rows, or found for its texts, becomes the same in all."""
        for tensor in tensors:
            self._processes.sum(tensor)

    @property
    def in_pieces(self) -> bool:
        """Whether steps are to be taken by `accumulate`."""
        return self._config.micro_batch_size is not None or self._processes.count > 1

    def rank_held_out(self, batch: TuneBatch) -> dict[str, float]:
        """How held-out events fare among random items: `held_out` is the mean share of them that the target beats
        (ties count half; 0.5 is chance) by the scores alone, `held_out_loss` the softmax loss of task `next_item`,
        whatever the task is that is tuned for.
        """
        texts = self._step_texts(batch)
        with evaluating(self._model):
            for reader in self._tuned.values():
                reader.clear()
            reads = {
                kind: read_texts(self._tuned[kind], texts[kind], self._batch_tokens) for kind in self._kinds
            }
            untuned = self._untuned(texts["user"]) if "user" not in self._kinds else None
            scores = self._scores(batch, reads, untuned)
            logits, target, blocked = scores.logits, scores.target, scores.blocked
            loss = recommendation_loss(logits, target, blocked)
            own = logits.gather(1, target.unsqueeze(1))
            others = (~blocked).scatter(1, target.unsqueeze(1), False)
            beaten = ((own > logits) & others).sum(1) + 0.5 * ((own == logits) & others).sum(1)
            share = (beaten / others.sum(1).clamp(min=1)).mean()
            for reader in self._tuned.values():
                reader.clear()
        return {"held_out": share.item(), "held_out_loss": loss.item()}

    # ------------------------------------------------------------------ the terms

    def _compared(
        self,
        batch: TuneBatch,
        texts: dict[str, list[list[int]]],
        reads: dict[str, DigitLogits],
        untuned: DigitLogits | None,
        template: Tensor | None = None,
    ) -> Terms:
        """The weighted sum; without `template` of all that needs the digits only."""
        c = self._config
        recommendation = digit_mass = anchor = None
        total = torch.zeros((), device=self._device)
        if c.recommendation_weight > 0:
            recommendation = self._task(self._scores(batch, reads, untuned))
            total = total + c.recommendation_weight * recommendation
        if c.format_weight > 0:
            masses = [read.inside for read in reads.values() if read.inside is not None]
            digit_mass = digit_mass_loss(torch.cat(masses))
            total = total + c.format_weight * (digit_mass if template is None else template + digit_mass)
        if c.anchor_weight > 0:
            anchor = self._anchor(batch, reads, untuned)
            total = total + c.anchor_weight * anchor
        tokens = sum(
            sum(map(len, texts[k])) + len(texts[k]) * self._plans[k].slot_tokens for k in self._kinds
        )
        return Terms(total, recommendation, template, digit_mass, anchor, tokens)

    def _scores(
        self, batch: TuneBatch, reads: dict[str, DigitLogits], untuned: DigitLogits | None
    ) -> StepScores:
        users = reads.get("user", untuned)
        assert users is not None
        if "item" in reads:
            value = soft_scores(reads["item"].logits)[0]
        else:
            known = self._item_value[batch.items - 1]
            value = torch.as_tensor(known, dtype=torch.float32, device=self._device)
        z_users = self._scale.apply(soft_scores(users.logits)[0])
        return StepScores(batch, z_users, self._scale.apply(value))

    def _untuned(self, users: list[list[int]]) -> DigitLogits | None:
        """What the untuned model says of the users, where something is compared with it."""
        if "user" in self._kinds and self._config.anchor_weight == 0:
            return None
        reader = self._untuned_users
        answer = self._blank(len(users), inside=False)
        was_training = any(module.training for module in self._model.modules())
        with evaluating(self._model), self._model.disable_adapter():
            for number, rows in enumerate(
                passes(users, reader.plan, self._batch_tokens, self._share(len(users)))
            ):
                if self._is_mine(number):
                    _put(answer, rows, reader.digit_logits([users[i] for i in rows]))
            self._add_up([answer.logits])
        if was_training:
            only_adapter_dropout(self._model)
        return answer

    def _anchor(
        self, batch: TuneBatch, reads: dict[str, DigitLogits], untuned_users: DigitLogits | None
    ) -> Tensor:
        tuned = [read.logits for read in reads.values()]
        untuned = []
        if "user" in reads:
            assert untuned_users is not None
            untuned.append(untuned_users.logits)
        if "item" in reads:
            assert self._untuned_items is not None
            untuned.append(self._untuned_items[torch.as_tensor(batch.items - 1)].to(self._device))
        return anchor_loss(torch.cat(tuned), torch.cat(untuned))

    def _answers(
        self,
        batch: TuneBatch,
        user_texts: list[list[int]],
        reads: dict[str, DigitLogits],
        untuned: DigitLogits | None,
    ) -> list[Answer]:
        """Whole answers as the model itself would write them now."""
        users = reads.get("user", untuned)
        assert users is not None
        of_users = soft_scores(users.logits.detach())[0].cpu().numpy()
        of_items = self._item_value[batch.items - 1]
        if "item" in reads:
            of_items = soft_scores(reads["item"].logits.detach())[0].cpu().numpy()
        wanted = [
            (self._plans["item"], self._texts.item(number), of_items[np.searchsorted(batch.items, number)])
            for number in batch.template_items
        ]
        wanted += [(self._plans["user"], user_texts[row], of_users[row]) for row in batch.template_examples]
        return [written_answer(plan, text, value, context=self._context) for plan, text, value in wanted]

    def _template_in_pieces(self, batch: TuneBatch, answers: list[Answer], before: int) -> Tensor:
        """The mean over the tokens of all answers, one answer at a time; adds its gradients."""
        count = sum(map(len, answers))
        total = torch.zeros((), device=self._device)
        for number, answer in enumerate(answers, start=before):
            if self._is_mine(number):
                self._random_from(batch.step, number)
                part = surprise(self._model, answer, self._device).sum() / count
                (self._config.format_weight * part).backward()
                total += part.detach()
        self._add_up([total])
        return total

    # ------------------------------------------------------------------ reading

    def _step_texts(self, batch: TuneBatch) -> dict[str, list[list[int]]]:
        """Users' texts, which the template needs in any case, and the items' where they are read."""
        users = [self._texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
        items = [self._texts.item(i) for i in batch.items] if "item" in self._kinds else []
        return {"user": users, "item": items}

    def _share(self, texts: int) -> int | None:
        """How many texts a pass may hold so that every process has one to read."""
        return None if self._processes.count == 1 else -(-texts // self._processes.count)

    def _pieces(self, kind: str, texts: Sequence[list[int]]) -> list[list[int]]:
        most = self._config.micro_batch_size or self._share(len(texts))
        return passes(texts, self._plans[kind], self._batch_tokens, most)

    def _piece(self, step: int, number: int, kind: str, texts: list[list[int]]) -> DigitLogits:
        """One pass; its dropout is the same each time it is read, in whichever process."""
        self._random_from(step, number)
        with recomputing(self._model, self._config.gradient_checkpointing):
            return self._tuned[kind].digit_logits(texts, inside=self._config.format_weight > 0)

    def _blank(self, texts: int, *, inside: bool = True) -> DigitLogits:
        shape = (texts, self._item_value.shape[1])
        mass = inside and self._config.format_weight > 0
        return DigitLogits(
            torch.zeros(*shape, 9, device=self._device),
            torch.zeros(shape, device=self._device) if mass else None,
        )

    def _random_from(self, step: int, *piece: int) -> None:
        state = np.random.SeedSequence([self._seed, step, *(number + 1 for number in piece)])
        torch.manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))


def _put(into: DigitLogits, rows: list[int], found: DigitLogits) -> None:
    at = torch.tensor(rows, device=into.logits.device)
    into.logits[at] = found.logits
    if into.inside is not None and found.inside is not None:
        into.inside[at] = found.inside


def _push(found: DigitLogits, leaves: DigitLogits, rows: list[int]) -> None:
    """Send the gradients that arrived at the leaves on through the graph of the same rows."""
    at = torch.tensor(rows, device=leaves.logits.device)
    pairs = [(found.logits, leaves.logits), (found.inside, leaves.inside)]
    given = [
        (t, leaf.grad[at])
        for t, leaf in pairs
        if t is not None and leaf is not None and leaf.grad is not None
    ]
    if given:
        torch.autograd.backward([t for t, _ in given], [g for _, g in given])
