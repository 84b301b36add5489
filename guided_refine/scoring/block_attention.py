"""Attention that skips what slots may not see, in place of one large mask over everything.

With a mask, every token is multiplied with the keys of every definition, most of which are then hidden, and the
shared prefix is copied for each text of a batch. Here a text attends over (shared prefix, itself) and a slot over
(shared prefix, its definition, the text before its read, itself), with one copy of the prefix for the whole batch. On
a processor and without gradients torch's fused attention does it, which never writes the weights down.
The numbers are those of the mask; `SlotReader` compares the two before it relies on this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

NAME = "guided_refine_slots"
# Arguments by which models hand their attention something that `attend` would leave out.
_MORE_PARTS = ("softcap", "s_aux", "sinks", "position_bias", "alibi", "indices", "block_indices")


@dataclass(frozen=True)
class PrefixBlocks:
    """One layer's keys and values of what is encoded once.

    `keys`, `values`: (1, heads, shared, dim), instructions and opening. `attribute_keys`, `attribute_values`: (attributes,
    heads, shared + longest definition, dim), the same and each attribute's definition behind it.
    """

    keys: torch.Tensor
    values: torch.Tensor
    attribute_keys: torch.Tensor
    attribute_values: torch.Tensor


@dataclass(frozen=True)
class SlotBlocks:
    """Where everything stands in the rows of one pass: `text` tokens, then for every read the slots of all attributes.

    `slot_index` (attributes, longest slot): places within one read's slots, 0 where a slot is shorter; `slot_places`:
    the same cells without the empty ones, as flat indices. The biases are 0 where visible and -inf elsewhere:
    `text_bias` (text, shared + text), `attribute_bias` (attributes, 1, 1, shared + longest definition), `slot_bias`
    (batch, 1, slots of all reads, text + slots of all reads).
    """

    layers: list[PrefixBlocks]
    text: int
    reads: int
    slot_index: torch.Tensor
    slot_places: torch.Tensor
    text_bias: torch.Tensor
    attribute_bias: torch.Tensor
    slot_bias: torch.Tensor


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
    if slot_blocks is None or any(others.get(name) is not None for name in _MORE_PARTS):
        raise NotImplementedError(f"{type(module).__name__} does not hand on what slots may see")
    layer = slot_blocks.layers[module.layer_idx]  # type: ignore[index]
    batch, heads, rows, width = query.shape
    scale = width**-0.5 if scaling is None else scaling
    # Query heads that share a key head lie behind each other, so nothing is repeated.
    grouped = query.view(batch, key.shape[1], heads // key.shape[1], rows, width)
    cut = slot_blocks.text
    out = query.new_empty(batch, rows, key.shape[1], heads // key.shape[1], width)
    if cut:
        texts = _texts(grouped[..., :cut, :], key, value, layer, slot_blocks, scale, dropout)
        out[:, :cut] = texts.permute(0, 3, 1, 2, 4)
    slots = _slots(grouped[..., cut:, :], key, value, layer, slot_blocks, scale, dropout)
    out[:, cut:] = slots.permute(0, 3, 1, 2, 4)
    return out.view(batch, rows, heads, width), None


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
    keys = torch.cat([layer.keys.expand(batch, -1, -1, -1), key[:, :, :text]], dim=2)
    values = torch.cat([layer.values.expand(batch, -1, -1, -1), value[:, :, :text]], dim=2)
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
    """b batch, h key heads, g query heads of each, r reads, m attributes, s slot tokens, d dim.

    What all texts share and what belongs to one text are attended to apart, so that the former is not copied for each
    text; the two are then weighted as one softmax over both would.
    """
    b, h, g, _, d = query.shape
    r, (m, s) = blocks.reads, blocks.slot_index.shape
    attention = _fused if _can_be_fused(query, dropout) else partial(_plain, dropout=dropout)
    cells = query.unflatten(3, (r, -1))[..., blocks.slot_index, :]
    by_attribute = cells.permute(4, 1, 0, 2, 3, 5, 6).reshape(m, h, b * g * r * s, d)
    shared, of_shared = attention(
        by_attribute, layer.attribute_keys, layer.attribute_values, blocks.attribute_bias, scale
    )

    def as_rows(x: torch.Tensor) -> torch.Tensor:
        """(m, h, b * g * r * s, ...) to (b, h, g, rows, ...)."""
        x = x.unflatten(2, (b, g, r, s)).transpose(0, 2).transpose(2, 3).transpose(3, 4)
        return x.flatten(4, 5)[:, :, :, :, blocks.slot_places].flatten(3, 4)

    # One group of heads at a time, so that keys and values need not be repeated for each.
    apart = [attention(rows, key, value, blocks.slot_bias, scale) for rows in query.unbind(2)]
    own, of_own = (torch.stack(parts, dim=2) for parts in zip(*apart, strict=True))
    share = torch.sigmoid(as_rows(of_shared) - of_own).to(query.dtype).unsqueeze(-1)
    return torch.lerp(own, as_rows(shared), share)


def _can_be_fused(query: torch.Tensor, dropout: float) -> bool:
    # The fused product hands no gradients on to the sums of exponentials, which weight its two parts.
    here = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    return here and query.device.type == "cpu" and not torch.is_grad_enabled() and not dropout


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`_plain` without ever holding the weights."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return fused(query, key, value, attn_mask=bias, scale=scale)


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor,
    scale: float,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, and the log of each row's sum of exponentials (batch, heads, rows)."""
    scores = ((query * scale) @ key.transpose(-1, -2) + bias).float()
    total = torch.logsumexp(scores, dim=-1)
    weights = (scores - total.unsqueeze(-1)).exp().to(value.dtype)
    if dropout:
        weights = functional.dropout(weights, dropout)
    return weights @ value, total


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
