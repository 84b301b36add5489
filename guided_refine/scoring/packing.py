"""Laying texts and slots out as the rows of one forward pass, and saying what each token may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from guided_refine.scoring.block_attention import PrefixBlocks, SlotBlocks

if TYPE_CHECKING:
    from guided_refine.scoring.prompt import PromptPlan


@dataclass(frozen=True)
class Packed:
    """Rows [text, padded on the right][slots of read 0][slots of read 1]..., q = text + reads * slot tokens.

    `ids`, `positions`: (batch, q). `at` (batch, reads): tokens before each read; a row with fewer reads than the
    others has some at 0 that nobody looks at. `ends`: flat indices into (batch * q) of the last token of every slot
    that was asked for, in order of text, read, attribute.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    text: int
    at: torch.Tensor
    ends: torch.Tensor


class Layout:
    """The segments of a plan as tensors on one device: ids, positions and which attribute owns each token."""

    def __init__(self, plan: PromptPlan, device: torch.device, dtype: torch.dtype) -> None:
        self._plan = plan
        self._device = device
        self._dtype = dtype
        ids, positions, owner = list(plan.head), list(range(len(plan.head))), [-1] * len(plan.head)
        for a, definition in enumerate(plan.definitions):
            ids += definition
            positions += range(plan.definition_start, plan.definition_start + len(definition))
            owner += [a] * len(definition)
        ids += plan.opening
        positions += range(plan.opening_start, plan.text_start)
        owner += [-1] * len(plan.opening)
        self.prefix_ids = self._long(ids)
        self.prefix_positions = self._long(positions)
        self._owner = self._long(owner)
        self._slot_ids = self._long([token for slot in plan.slots for token in slot])
        self._slot_positions = self._long([place for slot in plan.slots for place in range(len(slot))])
        self._slot_owner = self._long([a for a, slot in enumerate(plan.slots) for _ in slot])
        self._slot_ends = self._long([len(slot) for slot in plan.slots]).cumsum(0) - 1
        self._definition_index, self._definition_cells = self._ragged(plan.definitions, len(plan.head))
        self._slot_index, self._slot_cells = self._ragged(plan.slots, 0)

    def prefix_mask(self) -> torch.Tensor:
        """Additive mask (1, 1, prefix, prefix): everything sees the instructions and itself, up to its own place."""
        n = len(self.prefix_ids)
        same = self._owner.unsqueeze(1) == self._owner.unsqueeze(0)
        return self._additive((self._causal(n) & (self._shared | same)).unsqueeze(0))

    def split_prefix(self, keys: torch.Tensor, values: torch.Tensor) -> PrefixBlocks:
        """Keys and values (1, heads, prefix, dim) of one layer, sorted into shared ones and definitions."""
        shared = self._shared[0]

        def parts(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            for_all = x[:, :, shared]
            definitions = x[0][:, self._definition_index].transpose(0, 1)
            everywhere = for_all.expand(len(definitions), -1, -1, -1)
            return for_all, torch.cat([everywhere, definitions], dim=2)

        (all_keys, attribute_keys), (all_values, attribute_values) = parts(keys), parts(values)
        return PrefixBlocks(all_keys, all_values, attribute_keys, attribute_values)

    def pack(self, texts: Sequence[Sequence[int]], reads: Sequence[Sequence[int]]) -> Packed:
        """Rows for `texts` with slots hanging after the given numbers of tokens."""
        b, t, r, s = len(texts), max(map(len, texts)), max(map(len, reads)), len(self._slot_ids)
        ids = torch.zeros(b, t + r * s, dtype=torch.long)
        at = torch.zeros(b, r, dtype=torch.long)
        asked = torch.zeros(b, r, dtype=torch.bool)
        for row, (text, points) in enumerate(zip(texts, reads, strict=True)):
            ids[row, : len(text)] = torch.as_tensor(list(text), dtype=torch.long)
            at[row, : len(points)] = torch.as_tensor(list(points), dtype=torch.long)
            asked[row, : len(points)] = True
        ids, at, asked = ids.to(self._device), at.to(self._device), asked.to(self._device)
        ids[:, t:] = self._slot_ids.repeat(r)
        start = self._plan.text_start
        text_positions = (start + torch.arange(t, device=self._device)).expand(b, t)
        slot_positions = start + at.unsqueeze(-1) + self._slot_positions
        ends = t + torch.arange(r, device=self._device).unsqueeze(1) * s + self._slot_ends
        ends = torch.arange(b, device=self._device).view(b, 1, 1) * (t + r * s) + ends
        positions = torch.cat([text_positions, slot_positions.flatten(1)], dim=1)
        return Packed(ids, positions, t, at, ends[asked].flatten())

    def mask(self, packed: Packed) -> torch.Tensor:
        """Additive mask (batch, 1, q, prefix + q) for a pass over a cache that holds the prefix."""
        b, q = packed.ids.shape
        t, r, p = packed.text, packed.at.shape[1], len(self.prefix_ids)
        sees = torch.zeros(b, q, p + q, dtype=torch.bool, device=self._device)
        sees[:, :t, :p] = self._shared
        own_definition = self._slot_owner.unsqueeze(1) == self._owner.unsqueeze(0)
        sees[:, t:, :p] = (self._shared | own_definition).repeat(r, 1)
        # Texts are padded on the right, so causality alone hides padding from every real token.
        sees[:, :t, p : p + t] = self._causal(t)
        sees[:, t:, p:] = self._slots_see(packed)
        return self._additive(sees)

    def blocks(self, packed: Packed, layers: list[PrefixBlocks]) -> SlotBlocks:
        """The same visibility for `guided_refine.scoring.block_attention`."""
        t, shared = packed.text, int(self._shared.sum())
        text = torch.ones(t, shared, dtype=torch.bool, device=self._device)
        attributes = len(self._definition_cells)
        sees_shared = torch.ones(attributes, shared, dtype=torch.bool, device=self._device)
        sees_definition = torch.cat([sees_shared, self._definition_cells], dim=1)
        return SlotBlocks(
            layers=layers,
            text=t,
            reads=packed.at.shape[1],
            slot_index=self._slot_index,
            slot_places=self._slot_cells.flatten().nonzero().squeeze(-1),
            text_bias=self._bias(torch.cat([text, self._causal(t)], dim=1)),
            attribute_bias=self._bias(sees_definition)[:, None, None, :],
            slot_bias=self._bias(self._slots_see(packed)).unsqueeze(1),
        )

    # ------------------------------------------------------------------ small pieces

    @property
    def _shared(self) -> torch.Tensor:
        return (self._owner == -1).unsqueeze(0)

    def _slots_see(self, packed: Packed) -> torch.Tensor:
        """(batch, slots of all reads, text + slots of all reads): the text before the read, and themselves."""
        r, s = packed.at.shape[1], len(self._slot_ids)
        before = torch.arange(packed.text, device=self._device) < packed.at.unsqueeze(-1)
        own = (self._slot_owner.unsqueeze(1) == self._slot_owner.unsqueeze(0)) & self._causal(s)
        itself = torch.block_diag(*[own] * r).bool().expand(len(before), -1, -1)
        return torch.cat([before.repeat_interleave(s, dim=1), itself], dim=2)

    def _long(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def _causal(self, n: int) -> torch.Tensor:
        return torch.ones(n, n, dtype=torch.bool, device=self._device).tril()

    def _ragged(self, rows: list[list[int]], start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Index (rows, longest) of joined rows that begin at `start`, and which cells are real; the others hold 0."""
        lengths = self._long([len(row) for row in rows])
        places = torch.arange(int(lengths.max()), device=self._device)
        real = places < lengths.unsqueeze(1)
        index = start + (lengths.cumsum(0) - lengths).unsqueeze(1) + places
        return torch.where(real, index, 0), real

    def _additive(self, sees: torch.Tensor) -> torch.Tensor:
        """Zero where visible, the dtype's least number elsewhere; every row sees the head, so none is all hidden."""
        mask = torch.zeros(sees.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(~sees, torch.finfo(self._dtype).min).unsqueeze(1)

    def _bias(self, sees: torch.Tensor) -> torch.Tensor:
        bias = torch.zeros(sees.shape, dtype=self._dtype, device=self._device)
        return bias.masked_fill_(~sees, -torch.inf)
