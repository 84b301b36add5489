"""Attention that skips what slots may not see, in place of one large mask over everything.

With a mask, every token is multiplied with the keys of every definition, most of which are then hidden, and the
shared prefix is copied for each text of a batch. Here a text attends over (shared prefix, itself) and a slot over
(shared prefix, its definition, the text before its read, itself), with one copy of the prefix for the whole batch.
The numbers are those of the mask; `SlotReader` compares the two before it relies on this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

NAME = "guided_refine_slots"


@dataclass(frozen=True)
class PrefixBlocks:
    """One layer's keys and values of what is encoded once.

    `keys`, `values`: (1, heads, shared, dim), instructions and opening. `definition_keys`, `definition_values`:
    (heads, attributes, longest definition, dim).
    """

    keys: torch.Tensor
    values: torch.Tensor
    definition_keys: torch.Tensor
    definition_values: torch.Tensor


@dataclass(frozen=True)
class SlotBlocks:
    """Where everything stands in the rows of one pass: `text` tokens, then for every read the slots of all attributes.

    `slot_index` (attributes, longest slot): places within one read's slots, 0 where a slot is shorter; `slot_places`:
    the same cells without the empty ones, as flat indices. The biases are 0 where visible and -inf elsewhere:
    `text_bias` (text, shared + text), `definition_bias` (attributes, 1, longest definition), `read_bias`
    (batch, 1, 1, reads, 1, 1, text), `own_bias` (longest slot, longest slot).
    """

    layers: list[PrefixBlocks]
    text: int
    reads: int
    slot_index: torch.Tensor
    slot_places: torch.Tensor
    text_bias: torch.Tensor
    definition_bias: torch.Tensor
    read_bias: torch.Tensor
    own_bias: torch.Tensor


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    slot_blocks: SlotBlocks | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers' registry: query (batch, heads, q, dim) in, (batch, q, heads, dim) out.

    Raises `NotImplementedError` for models whose attention has more parts than keys, values and a scale.
    """
    if slot_blocks is None or others.get("softcap") is not None or others.get("s_aux") is not None:
        raise NotImplementedError(f"{type(module).__name__} does not hand on what slots may see")
    layer = slot_blocks.layers[module.layer_idx]  # type: ignore[index]
    batch, heads, rows, width = query.shape
    scale = width**-0.5 if scaling is None else scaling
    # Query heads that share a key head lie behind each other, so nothing is repeated.
    grouped = query.view(batch, key.shape[1], heads // key.shape[1], rows, width)
    cut = slot_blocks.text
    parts = []
    if cut:
        parts.append(
            _texts(
                grouped[..., :cut, :], key[:, :, :cut], value[:, :, :cut], layer, slot_blocks, scale, dropout
            )
        )
    parts.append(_slots(grouped[..., cut:, :], key, value, layer, slot_blocks, scale, dropout))
    out = torch.cat(parts, dim=3) if len(parts) > 1 else parts[0]
    return out.reshape(batch, heads, rows, width).transpose(1, 2).contiguous(), None


def _texts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layer: PrefixBlocks,
    blocks: SlotBlocks,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    batch, heads, groups, text, width = query.shape
    keys = torch.cat([layer.keys.expand(batch, -1, -1, -1), key], dim=2)
    values = torch.cat([layer.values.expand(batch, -1, -1, -1), value], dim=2)
    out = functional.scaled_dot_product_attention(
        query.reshape(batch, heads, groups * text, width),
        keys,
        values,
        attn_mask=blocks.text_bias.repeat(groups, 1),
        dropout_p=dropout,
        scale=scale,
    )
    return out.view(batch, heads, groups, text, width)


def _slots(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layer: PrefixBlocks,
    blocks: SlotBlocks,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    """b batch, h key heads, g query heads of each, r reads, m attributes, s slot tokens, d dim."""
    b, h, g, _, d = query.shape
    r, (m, s) = blocks.reads, blocks.slot_index.shape
    text_keys, text_values = key[:, :, : blocks.text], value[:, :, : blocks.text]

    def cells(x: torch.Tensor) -> torch.Tensor:
        """(..., reads * slot tokens, dim) to (..., r, m, s, d)."""
        return x.unflatten(-2, (r, -1))[..., blocks.slot_index, :]

    slot = cells(query) * scale
    own_keys, own_values = cells(key[:, :, blocks.text :]), cells(value[:, :, blocks.text :])
    flat = slot.reshape(b, h, g * r * m * s, d)
    by_attribute = slot.permute(1, 4, 0, 2, 3, 5, 6).reshape(h, m, b * g * r * s, d)

    def as_cells(x: torch.Tensor) -> torch.Tensor:
        return x.view(b, h, g, r, m, s, -1)

    def from_attribute(x: torch.Tensor) -> torch.Tensor:
        return x.view(h, m, b, g, r, s, -1).permute(2, 0, 3, 4, 1, 5, 6)

    shared = as_cells(flat @ layer.keys.transpose(-1, -2))
    definition = from_attribute(
        by_attribute @ layer.definition_keys.transpose(-1, -2) + blocks.definition_bias
    )
    text = as_cells(flat @ text_keys.transpose(-1, -2)) + blocks.read_bias
    own = slot @ own_keys.unsqueeze(2).transpose(-1, -2) + blocks.own_bias
    scores = torch.cat([shared, definition, text, own], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    if dropout:
        weights = functional.dropout(weights, dropout)
    of_shared, of_definition, of_text, of_own = weights.split(
        [shared.shape[-1], definition.shape[-1], text.shape[-1], s], dim=-1
    )
    out = as_cells(of_shared.reshape(b, h, g * r * m * s, -1) @ layer.values)
    out = out + as_cells(of_text.reshape(b, h, g * r * m * s, -1) @ text_values)
    out = out + from_attribute(
        of_definition.permute(1, 4, 0, 2, 3, 5, 6).reshape(h, m, b * g * r * s, -1) @ layer.definition_values
    )
    out = out + of_own @ own_values.unsqueeze(2)
    return out.flatten(-3, -2)[..., blocks.slot_places, :].flatten(3, 4)


@contextmanager
def block_attention(config: Any) -> Iterator[None]:
    """Let the models that share `config` attend by `attend` for a while."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
