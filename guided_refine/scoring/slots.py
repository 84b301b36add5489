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

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from guided_refine.errors import InputError
from guided_refine.scoring.block_attention import PrefixBlocks, block_attention
from guided_refine.scoring.last_layer import only_rows
from guided_refine.scoring.one_by_one import LastLogits, LastStates, Padding, read_one_by_one
from guided_refine.scoring.packing import Layout, Packed
from guided_refine.scoring.sliding import Windows

if TYPE_CHECKING:
    from guided_refine.scoring.prompt import PromptPlan

logger = logging.getLogger(__name__)

Way = Literal["blocks", "mask", "one by one"]
"""How a model is told what slots may see; the first is the fastest, the last does without telling."""

_ROWS_OF_FULL_HEAD = 256


@dataclass(frozen=True)
class DigitLogits:
    """What the slots said: `logits` (reads, attributes, 9) float32; `inside` (reads, attributes) or None.

    `inside` is the log of the probability that the model gives to the nine digits together (<= 0).
    """

    logits: torch.Tensor
    inside: torch.Tensor | None


class Prefix:
    """Keys and values of head, definitions and opening: per layer (1, heads, prefix, dim)."""

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]], layout: Layout) -> None:
        self.layers = layers
        self._layout = layout
        self._blocks: dict[int, PrefixBlocks] = {}

    def blocks(self, layer: int) -> PrefixBlocks:
        """One layer sorted by what may see it."""
        if layer not in self._blocks:
            self._blocks[layer] = self._layout.split_prefix(*self.layers[layer])
        return self._blocks[layer]

    def cache(self, batch: int) -> Any:
        """The whole as a cache for a batch."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
        return cache


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

    Visibility is kept by `block_attention` where the model's attention can be replaced, else by a mask; the first call
    compares the two on a short text and takes the mask where they differ. Prompts that reach beyond a sliding window are
    read by masks that also hide what lies further back in the layers that have one. A model that follows no mask
    (recurrent, attention biased by distance in the sequence) reads one ordinary prompt per attribute; see `one_by_one`.
    So does one that does more between its last state and its logits than the usual head, by its own logits then.
    `slower` says in a sentence which of the slower ways was taken so far, "" where none was.
    """

    def __init__(self, model: Any, plan: PromptPlan) -> None:
        self.model = model
        self.plan = plan
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._causal = causal
        self._decoder = _decoder_of(causal)
        self._head = causal.get_output_embeddings()
        self._own_head: bool | None = True if self._decoder is causal or self._head is None else None
        self._config = causal.config.get_text_config()
        embedding = causal.get_input_embeddings().weight
        self._device, self._dtype = embedding.device, embedding.dtype
        self._layout = Layout(plan, self._device, self._dtype)
        self._digits = torch.tensor(plan.digits, dtype=torch.long, device=self._device)
        self._windows = Windows.of(self._config)
        self._kept: Prefix | None = None
        self._way: Way | None = None
        self._windows_followed: bool | None = None
        self._padding = Padding()
        self.slower = ""

    def clear(self) -> None:
        """Forget the encoded prefix."""
        self._kept = None

    @property
    def shares_prefix(self) -> bool:
        """Whether what stands before the texts is read once for all of them."""
        return self._way_of(0) != "one by one"

    @torch.no_grad()
    def read_prefix(self) -> None:
        """Encode the prefix now, where it is shared."""
        if self.shares_prefix:
            self._prefix()

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
        if not any(points):
            none = torch.zeros(0, len(self.plan.names), 9, device=self._device)
            return DigitLogits(none, none[..., 0] if inside else None)
        for text, row in zip(texts, points, strict=True):
            if any(not 0 <= p <= len(text) for p in row):
                raise ValueError(f"reads {row} of a text with {len(text)} tokens")
        hidden = self._last_rows(texts, points, whole=inside)
        logits = self._project(hidden, digits_only=True)
        if not torch.isfinite(logits).all():
            half = self._dtype in (torch.float16, torch.bfloat16)
            raise InputError(
                f"{type(self.model).__name__} gives logits that are not finite in {str(self._dtype)[6:]}; "
                + ("set llm_options.dtype=float32" if half else "its weights are damaged, get them again")
            )
        shape = (len(hidden) // len(self.plan.names), len(self.plan.names))
        mass = self._inside(hidden, logits).view(shape) if inside else None
        return DigitLogits(logits.view(*shape, 9), mass)

    # ------------------------------------------------------------------ the model

    def _last_rows(
        self, texts: Sequence[Sequence[int]], points: Sequence[Sequence[int]], *, whole: bool
    ) -> torch.Tensor:
        """What `_project` makes digits of, (slots asked for, dim), in order of text, read, attribute: states, or where the
        model has a head of its own its logits, all of them (`whole`) or those of the digits.
        """
        way = self._way_of(max(max(row, default=0) for row in points))
        if way != "one by one":
            return self._hidden(self._layout.pack(texts, points), way)
        # Each read goes its own way, whatever stands beside it: some models change it with the length of the prompt.
        flat = [(text, point) for text, row in zip(texts, points, strict=True) for point in row]
        short = [k for k, (_, point) in enumerate(flat) if self._way_of(point) != "one by one"]
        if not short:
            return self._alone(flat, whole)
        inside = set(short)
        long = [k for k in range(len(flat)) if k not in inside]
        near = [[point for point in row if self._way_of(point) != "one by one"] for row in points]
        rows = [(text[: max(row)], row) for text, row in zip(texts, near, strict=True) if row]
        packed = self._layout.pack([text for text, _ in rows], [row for _, row in rows])
        assert self._way is not None
        parts = [self._hidden(packed, self._way), self._alone([flat[k] for k in long], whole)]
        order = torch.tensor([*short, *long], device=self._device).argsort()
        return torch.cat(parts).unflatten(0, (len(flat), -1))[order].flatten(0, 1)

    def _alone(self, reads: Sequence[tuple[Sequence[int], int]], whole: bool) -> torch.Tensor:
        positions = getattr(self._config, "max_position_embeddings", None) or sys.maxsize
        columns = None if whole else self._digits
        read = LastLogits(self._causal, columns) if self._own_head else LastStates(self._decoder)
        # A step of the tuning must not depend on what was tried before it, nor have dropout draw other numbers.
        padding = self._padding if self._only_scores() else None
        return read_one_by_one(read, self.plan, reads, self._device, positions=positions, padding=padding)

    def _hidden(self, packed: Packed, way: Way) -> torch.Tensor:
        """States (slots asked for, dim) of the slots' last tokens."""
        prefix = self._prefix()
        if way == "blocks":
            with block_attention(self._config), self._without_idle_rows(packed):
                output = self._decoder(
                    input_ids=packed.ids,
                    position_ids=packed.positions,
                    # Visibility comes from the blocks; a mask of four dimensions keeps the model from making its own.
                    attention_mask=torch.zeros(1, 1, 1, 1, dtype=self._dtype, device=self._device),
                    use_cache=False,
                    slot_blocks=self._layout.blocks(
                        packed, [prefix.blocks(i) for i in range(len(prefix.layers))]
                    ),
                )
        else:
            mask: Any = self._layout.mask(packed)
            if self._windows is not None and int(packed.positions.max()) >= self._windows.width:
                before = self._layout.prefix_positions.expand(len(packed.ids), -1)
                mask = self._windows.masks(
                    mask, packed.positions, torch.cat([before, packed.positions], dim=1)
                )
            output = self._decoder(
                input_ids=packed.ids,
                position_ids=packed.positions,
                attention_mask=mask,
                past_key_values=prefix.cache(len(packed.ids)),
                use_cache=True,
            )
        return output.last_hidden_state.flatten(0, 1)[packed.ends]

    def _without_idle_rows(self, packed: Packed) -> AbstractContextManager[None]:
        # Tuning reads the same text with and without gradients, and dropout must be the same in both; with gradients a
        # layer may be computed again, when nothing says any more which rows are wanted.
        if not self._only_scores():
            return nullcontext()
        return only_rows(self._decoder, packed.ends, packed.ids.shape)

    def _only_scores(self) -> bool:
        """Whether this only scores: no gradients and no dropout."""
        return not torch.is_grad_enabled() and not any(m.training for m in self._decoder.modules())

    def _prefix(self) -> Prefix:
        if not torch.is_grad_enabled():
            if self._kept is None:
                self._kept = self._encode_prefix()
            return self._kept
        if any(getattr(module, "gradient_checkpointing", False) for module in self._decoder.modules()):
            # Its second forward runs outside of this reader, where nothing says what slots may see.
            raise ValueError("slots cannot be read under gradient checkpointing; turn it off")
        return self._encode_prefix()

    def _encode_prefix(self) -> Prefix:
        from transformers import DynamicCache

        positions = self._layout.prefix_positions.unsqueeze(0)
        mask: Any = self._layout.prefix_mask()
        if self._windows is not None and int(positions.max()) >= self._windows.width:
            mask = self._windows.masks(mask, positions, positions)
        # Made without a configuration, a cache keeps every key, also those of layers with a sliding window.
        output = self._decoder(
            input_ids=self._layout.prefix_ids.unsqueeze(0),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        return Prefix([(layer.keys, layer.values) for layer in output.past_key_values.layers], self._layout)

    # ------------------------------------------------------------------ which way

    def _way_of(self, longest: int) -> Way:
        """How to read texts that are read after `longest` tokens at most."""
        if self._own_head is None:
            self._own_head = not self._head_is_usual()
        if self._own_head:
            return self._slower_by(
                "one by one", "its logits are its own affair, so each attribute has a prompt of its own"
            )
        if self._way is None:
            self._way = self._choose()
        if self._way == "one by one" or not self._leaves_window(longest):
            return self._way
        if not self._follows_windows():
            return self._slower_by(
                "one by one", "its sliding window cannot be kept by a mask, so each attribute has a prompt"
            )
        assert self._windows is not None
        return self._slower_by(
            "mask", f"prompts reach beyond its sliding window of {self._windows.width} tokens"
        )

    def _slower_by(self, way: Way, why: str) -> Way:
        if not self.slower:
            self.slower = f"{type(self.model).__name__}: {why}; exact, but slower"
            logger.info("%s", self.slower)
        return way

    def _leaves_window(self, longest: int) -> bool:
        reach = self.plan.text_start + longest + max(map(len, self.plan.slots))
        return self._windows is not None and max(reach, self.plan.prefix_reach) > self._windows.width

    @torch.no_grad()
    def _head_is_usual(self) -> bool:
        """Whether the model makes its logits of the decoder's states as `_project` does, on a few tokens."""
        ids = torch.tensor([(self.plan.head * 8)[:8]], device=self._device)
        kept: list[Any] = []
        watch = self._decoder.register_forward_hook(lambda module, given, output: kept.append(output))
        try:
            with self._at_rest():
                own = self._causal(input_ids=ids, use_cache=False).logits[0].float()
        finally:
            watch.remove()
        if len(kept) != 1 or not hasattr(kept[0], "last_hidden_state"):
            return False
        ours = self._project(kept[0].last_hidden_state[0], digits_only=False)
        # The same states, so there is no more rounding than that of one product.
        tolerance = 1e-5 if self._dtype in (torch.float32, torch.float64) else 4e-3
        return own.shape == ours.shape and self._close(own, ours, tolerance)

    @torch.no_grad()
    def _choose(self) -> Way:
        """Whether blocks give what the mask gives, and the mask for the last attribute what it gives in other company."""
        text = (self.plan.opening * 4)[:6]
        packed = self._layout.pack([text], [[2, len(text)]])
        with self._at_rest():
            masked = self._checked(packed, "mask")
            if masked is not None:
                # In other company it must be the same; the way must not depend on how many attributes are asked.
                last = len(self.plan.names) - 1
                other = SlotReader(self.model, self.plan.select([last] if last else [0, 0]))
                apart = other._checked(other._layout.pack([text], [[2, len(text)]]), "mask")
                if apart is None or not self._close(masked[:, -1:], apart[:, -1:]):
                    masked = None
            if masked is None:
                return self._slower_by(
                    "one by one", "it follows no attention mask, so each attribute has a prompt of its own"
                )
            # Blocks know no windows; texts that stay inside of one may still be read by them.
            leaves = self._leaves_window(len(text))
            blocks = None if leaves else self._checked(packed, "blocks")
        if blocks is None or not self._close(masked, blocks):
            return "mask" if leaves else self._slower_by("mask", "its attention cannot be replaced")
        return "blocks"

    @torch.no_grad()
    def _follows_windows(self) -> bool:
        """Whether our masks with windows give what the model makes of an ordinary text longer than its window."""
        assert self._windows is not None
        if self._windows_followed is None:
            length = self._windows.width + 8
            ids = torch.tensor([(self.plan.head * length)[:length]], device=self._device)
            positions = torch.arange(length, device=self._device).unsqueeze(0)
            causal = torch.full((1, 1, length, length), torch.finfo(self._dtype).min, device=self._device)
            masks = self._windows.masks(causal.to(self._dtype).triu(1), positions, positions)
            with self._at_rest():
                own = self._decoder(input_ids=ids, use_cache=False).last_hidden_state
                try:
                    ours = self._decoder(
                        input_ids=ids, position_ids=positions, attention_mask=masks, use_cache=False
                    ).last_hidden_state
                except torch.cuda.OutOfMemoryError:
                    raise
                except Exception:  # as in `_checked`
                    ours = None
            self._windows_followed = ours is not None and self._close(own, ours)
        return self._windows_followed

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Evaluation mode meanwhile, and no prefix kept of it. One by one: tuning keeps only the adapter's dropout on."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            self.clear()

    def _checked(self, packed: Packed, way: Way) -> torch.Tensor | None:
        try:
            hidden = self._hidden(packed, way)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:  # whatever a model's own code makes of arguments that it was not written for
            return None
        return self._project(hidden, digits_only=True).view(-1, len(self.plan.names), 9)

    def _close(self, one: torch.Tensor, other: torch.Tensor, tolerance: float | None = None) -> bool:
        if not (torch.isfinite(one).all() and torch.isfinite(other).all()):
            return True  # a damaged model, which the caller reports as such
        if tolerance is None:
            tolerance = 1e-3 if self._dtype in (torch.float32, torch.float64) else 0.1
        scale = max(1.0, float(one.abs().max()))
        return float((one - other).abs().max()) <= tolerance * scale

    def _project(self, hidden: torch.Tensor, *, digits_only: bool) -> torch.Tensor:
        """Logits (rows, 9 or vocabulary) float32, with the scaling that some families put behind the head."""
        if self._own_head:
            whole = hidden.shape[-1] > len(self._digits)
            return (hidden[:, self._digits] if digits_only and whole else hidden).float()
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


def _decoder_of(causal: Any) -> Any:
    """The part of a causal model in front of its head; the model itself where it does not say."""
    # Some call a part of their `base_model` and never that itself (OPT).
    decoder = causal.get_decoder() if hasattr(causal, "get_decoder") else None
    return causal.base_model if decoder is None or decoder is causal else decoder
