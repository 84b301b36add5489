"""Reading a distribution over the digits 1..9 per attribute in one forward pass, no attribute seeing another.

Packed sequence, with what each part may see (each sees itself up to the token at hand):

    head        (instructions)       nothing else             encoded once
    definition a                     head                     encoded once
    opening     ("Item:")            head                     encoded once
    text                             head, opening            once per text
    slot (r, a) question of a        head, opening, definition a, the text before read r

Positions depend on the text alone (see `PromptPlan`), so a score is the same whatever other attributes, texts or
reads share the pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from guided_refine.errors import InputError

if TYPE_CHECKING:
    from guided_refine.scoring.prompt import PromptPlan

_ROWS_OF_FULL_HEAD = 256


@dataclass(frozen=True)
class DigitLogits:
    """What the slots said: `logits` (reads, attributes, 9) float32; `inside` (reads, attributes) or None.

    `inside` is the log of the probability that the model gives to the nine digits together (<= 0).
    """

    logits: torch.Tensor
    inside: torch.Tensor | None


@dataclass(frozen=True)
class _Prefix:
    """Keys and values of head, definitions and opening, per layer, shape (1, heads, prefix, dim)."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]


def soft_scores(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and spread of digit logits (..., 9): value = (E[digit] - 1) / 8 in [0, 1], spread = std(digit) / 8 in [0, 0.5].

    The digit is the expectation that Guided Embedding Refinement leaves open ("soft" scores); gradients flow.

    >>> value, spread = soft_scores(torch.tensor([0.0, 0, 0, 0, 50, 0, 0, 0, 0]))
    >>> round(value.item(), 3), round(spread.item(), 3)
    (0.5, 0.0)
    """
    probability = torch.softmax(logits.float(), dim=-1)
    scale = torch.arange(9, device=logits.device, dtype=torch.float32) / 8
    value = (probability * scale).sum(-1)
    # The centred form keeps its gradient finite and never dips below zero by rounding.
    variance = (probability * (scale - value.unsqueeze(-1)).square()).sum(-1)
    return value, (variance + 1e-12).sqrt()


class SlotReader:
    """Packs texts and slots into forward passes of one model under one plan.

    `model` is a transformers causal LM or a `peft.PeftModel` around one. Under `torch.no_grad()` the shared prefix is
    encoded once and kept until `clear()`; call that after the weights changed. With gradients enabled it is encoded
    in every call, so that gradients reach it.
    """

    def __init__(self, model: Any, plan: PromptPlan) -> None:
        self.model = model
        self.plan = plan
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._decoder = causal.base_model
        self._head = causal.get_output_embeddings()
        self._config = causal.config.get_text_config()
        if self._decoder is causal or self._head is None:
            raise InputError(f"a {type(causal).__name__} is not a causal language model with an output head")
        self._kept: _Prefix | None = None
        self._device = causal.get_input_embeddings().weight.device
        self._dtype = causal.get_input_embeddings().weight.dtype
        self._layout()

    def clear(self) -> None:
        """Forget the encoded prefix."""
        self._kept = None

    def digit_logits(
        self,
        texts: Sequence[Sequence[int]],
        reads: Sequence[Sequence[int]] | None = None,
        *,
        inside: bool = False,
    ) -> DigitLogits:
        """Logits of the digits for every read of every text.

        `texts`: token ids per text. `reads[b]`: after how many tokens of text b slots hang (default: once, after all of
        it). The first axis of the result runs over b, then over `reads[b]` in the order given. `inside=True` also
        computes the mass on digits, which needs the whole output head.

        Raises `InputError` when the model gives logits that are not finite.
        """
        points = [[len(text)] for text in texts] if reads is None else [list(r) for r in reads]
        for text, row in zip(texts, points, strict=True):
            if any(not 0 <= p <= len(text) for p in row):
                raise ValueError(f"reads {row} of a text with {len(text)} tokens")
        ids, positions, mask, rows = self._pack(texts, points)
        cache = self._prefix_for(len(texts))
        output = self._decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        hidden = output.last_hidden_state.flatten(0, 1)[rows]
        logits = self._project(hidden, digits_only=True)
        if not torch.isfinite(logits).all():
            raise InputError(
                f"{type(self.model).__name__} gives logits that are not finite in {self._dtype}; "
                "set llm_options.dtype=float32, or the weights are damaged"
            )
        shape = (len(rows) // len(self.plan.names), len(self.plan.names))
        mass = self._inside(hidden, logits).view(shape) if inside else None
        return DigitLogits(logits.view(*shape, 9), mass)

    # ------------------------------------------------------------------ layout of what every pass shares

    def _layout(self) -> None:
        """Ids, positions and visibility of the prefix and of one read's slots: `owner` says which attribute."""
        plan, long = self.plan, torch.long
        ids, positions, owner = list(plan.head), list(range(len(plan.head))), [-1] * len(plan.head)
        for a, definition in enumerate(plan.definitions):
            ids += definition
            positions += range(plan.definition_start, plan.definition_start + len(definition))
            owner += [a] * len(definition)
        ids += plan.opening
        positions += range(plan.opening_start, plan.text_start)
        owner += [-1] * len(plan.opening)
        self._prefix_ids = torch.tensor(ids, dtype=long, device=self._device)
        self._prefix_positions = torch.tensor(positions, dtype=long, device=self._device)
        prefix_owner = torch.tensor(owner, dtype=long, device=self._device)
        n = len(ids)
        causal = torch.ones(n, n, dtype=torch.bool, device=self._device).tril()
        shared = (prefix_owner == -1).unsqueeze(0)
        same = prefix_owner.unsqueeze(1) == prefix_owner.unsqueeze(0)
        self._prefix_sees = causal & (shared | same)
        self._text_sees_prefix = shared
        slot = [
            (token, place, a) for a, tokens in enumerate(plan.slots) for place, token in enumerate(tokens)
        ]
        self._slot_ids = torch.tensor([s[0] for s in slot], dtype=long, device=self._device)
        self._slot_places = torch.tensor([s[1] for s in slot], dtype=long, device=self._device)
        slot_owner = torch.tensor([s[2] for s in slot], dtype=long, device=self._device)
        self._slot_sees_prefix = shared | (slot_owner.unsqueeze(1) == prefix_owner.unsqueeze(0))
        m = len(slot)
        self._slot_sees_slot = (slot_owner.unsqueeze(1) == slot_owner.unsqueeze(0)) & torch.ones(
            m, m, dtype=torch.bool, device=self._device
        ).tril()
        lengths = torch.tensor([len(tokens) for tokens in plan.slots], device=self._device)
        self._slot_ends = lengths.cumsum(0) - 1
        self._digits = torch.tensor(plan.digits, dtype=long, device=self._device)

    def _pack(
        self, texts: Sequence[Sequence[int]], points: list[list[int]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids and positions (batch, q), mask (batch, 1, q, prefix + q), and the flat rows of the slots' last tokens.

        q = longest text + most reads * slot tokens; a row with fewer reads repeats a read at 0 that nobody looks at.
        """
        device, plan = self._device, self.plan
        b, t = len(texts), max(map(len, texts))
        r, s, p = max(map(len, points)), len(self._slot_ids), len(self._prefix_ids)
        q = t + r * s
        ids = torch.zeros(b, q, dtype=torch.long)
        at = torch.zeros(b, r, dtype=torch.long)
        for row, (text, reads) in enumerate(zip(texts, points, strict=True)):
            ids[row, : len(text)] = torch.as_tensor(list(text), dtype=torch.long)
            at[row, : len(reads)] = torch.as_tensor(reads, dtype=torch.long)
        ids, at = ids.to(device), at.to(device)
        ids[:, t:] = self._slot_ids.repeat(r)
        places = torch.arange(t, device=device)
        slot_positions = plan.text_start + at.unsqueeze(-1) + self._slot_places
        positions = torch.cat([(plan.text_start + places).expand(b, t), slot_positions.flatten(1)], dim=1)
        sees = torch.zeros(b, q, p + q, dtype=torch.bool, device=device)
        sees[:, :t, :p] = self._text_sees_prefix
        sees[:, t:, :p] = self._slot_sees_prefix.repeat(r, 1)
        # Texts are padded on the right, so causality alone hides padding from every real token.
        sees[:, :t, p : p + t] = places.unsqueeze(0) <= places.unsqueeze(1)
        before = places < at.unsqueeze(-1)
        sees[:, t:, p : p + t] = before.repeat_interleave(s, dim=1)
        sees[:, t:, p + t :] = torch.block_diag(*[self._slot_sees_slot] * r).bool()
        asked = torch.tensor([[j < len(reads) for j in range(r)] for reads in points], device=device)
        ends = t + torch.arange(r, device=device).unsqueeze(1) * s + self._slot_ends
        flat = torch.arange(b, device=device).view(b, 1, 1) * q + ends
        return ids, positions, self._additive(sees), flat[asked].flatten()

    def _additive(self, sees: torch.Tensor) -> torch.Tensor:
        """Zero where visible, the dtype's least number elsewhere; every row sees the head, so none is all hidden."""
        mask = torch.zeros(sees.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(~sees, torch.finfo(self._dtype).min).unsqueeze(1)

    # ------------------------------------------------------------------ the model

    def _encode_prefix(self) -> _Prefix:
        from transformers import DynamicCache

        # Made without a configuration, a cache keeps every key, also those of layers with a sliding window.
        output = self._decoder(
            input_ids=self._prefix_ids.unsqueeze(0),
            attention_mask=self._additive(self._prefix_sees.unsqueeze(0)),
            position_ids=self._prefix_positions.unsqueeze(0),
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        return _Prefix([(layer.keys, layer.values) for layer in output.past_key_values.layers])

    def _prefix_for(self, batch: int) -> Any:
        from transformers import DynamicCache

        if torch.is_grad_enabled():
            prefix = self._encode_prefix()
        else:
            if self._kept is None:
                self._kept = self._encode_prefix()
            prefix = self._kept
        cache = DynamicCache()
        for index, (keys, values) in enumerate(prefix.layers):
            cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
        return cache

    def _project(self, hidden: torch.Tensor, *, digits_only: bool) -> torch.Tensor:
        """Logits (rows, 9 or vocabulary) float32, with the scaling that some families put behind the head."""
        if digits_only and type(self._head) is torch.nn.Linear:
            weight, bias = self._head.weight[self._digits], self._head.bias
            logits = torch.nn.functional.linear(hidden, weight, None if bias is None else bias[self._digits])
        else:
            logits = self._head(hidden)
            logits = logits[:, self._digits] if digits_only else logits
        logits = logits.float()
        if (divisor := getattr(self._config, "logits_scaling", None)) is not None:
            logits = logits / divisor
        if (factor := getattr(self._config, "logit_scale", None)) is not None:
            logits = logits * factor
        if (cap := getattr(self._config, "final_logit_softcapping", None)) is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits

    def _inside(self, hidden: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        every = [
            torch.logsumexp(self._project(rows, digits_only=False), dim=-1)
            for rows in hidden.split(_ROWS_OF_FULL_HEAD)
        ]
        return torch.logsumexp(logits, dim=-1) - torch.cat(every)
