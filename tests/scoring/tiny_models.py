"""Small attribute sets, tiny random models and the naive oracle that the scoring tests share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch

from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.scoring.attributes import Attribute, AttributeSet
from guided_refine.scoring.prompt import PromptPlan

NAMES = ("humour", "story_complexity", "darkness", "romance")


def make_attributes(*names: str) -> AttributeSet:
    return AttributeSet(
        domain="test",
        version=1,
        attributes=tuple(
            Attribute(
                name=name,
                definition=f"How much {name} there is{' in all of it' if name == 'darkness' else ''}.",
                low=f"no {name} at all",
                high=f"full of {name}",
                item_question=f"How much {name} is in it?",
                user_question=f"How much {name} is wanted?",
            )
            for name in names or NAMES
        ),
    )


def tiny_model(kind: str, vocabulary: int, seed: int = 0, **changes: Any) -> Any:
    """A random causal LM of a family, float32, evaluation mode."""
    import transformers as hf

    small: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    small |= changes
    grouped = {**small, "num_key_value_heads": 2}
    makers: dict[str, Callable[[], Any]] = {
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**grouped)),
        "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**grouped, head_dim=8)),
        "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**grouped)),
        "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**grouped, pad_token_id=0)),
        "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**small)),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=3, n_head=4, n_positions=512)
        ),
        "gemma2": lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(**grouped, head_dim=8, attn_implementation="eager", final_logit_softcapping=5.0)
        ),
        "granite": lambda: hf.GraniteForCausalLM(hf.GraniteConfig(**grouped, logits_scaling=4.0)),
        "cohere": lambda: hf.CohereForCausalLM(hf.CohereConfig(**grouped, logit_scale=0.25, pad_token_id=0)),
    }
    torch.manual_seed(seed)
    model = makers[kind]().eval()
    with torch.no_grad():
        # Default initialisation leaves all logits near zero, where a wrong mask could hide below the tolerance.
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "wpe" not in name:
                weight.mul_(4)
    return model


def ordinary_logits(model: Any, plan: PromptPlan, text: list[int], attribute: int) -> torch.Tensor:
    """Logits over the vocabulary behind one slot of an ordinary prompt, read by the model as it reads any text."""
    ids = [*plan.head, *plan.definitions[attribute], *plan.opening, *text, *plan.slots[attribute]]
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float()


def naive_logits(model: Any, plan: PromptPlan, text: list[int], attribute: int) -> torch.Tensor:
    """Logits over the vocabulary behind one slot: one attribute, one text, one plain forward, no cache.

    Layers with a sliding window see positions nearer than that.
    """
    pieces = [
        (plan.head, 0),
        (plan.definitions[attribute], plan.definition_start),
        (plan.opening, plan.opening_start),
        (text, plan.text_start),
        (plan.slots[attribute], plan.text_start + len(text)),
    ]
    ids = [token for tokens, _ in pieces for token in tokens]
    positions = [start + i for tokens, start in pieces for i in range(len(tokens))]
    part = [number for number, (tokens, _) in enumerate(pieces) for _ in tokens]
    may_see = {0: {0}, 1: {0, 1}, 2: {0, 2}, 3: {0, 2, 3}, 4: {0, 1, 2, 3, 4}}
    mask = torch.full((len(ids), len(ids)), -math.inf)
    for row in range(len(ids)):
        for column in range(row + 1):
            if part[column] in may_see[part[row]]:
                mask[row, column] = 0
    whole = mask[None, None].to(model.dtype).clamp_min(torch.finfo(model.dtype).min)
    given: Any = whole
    if (width := getattr(model.config, "sliding_window", None)) is not None:
        there = torch.tensor(positions)
        far = there[:, None] - there[None, :] >= width
        near = whole.masked_fill(far, torch.finfo(model.dtype).min)
        by_kind = {"full_attention": whole, "sliding_attention": near}
        given = by_kind if getattr(model.config, "layer_types", None) else near
    output = model(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        attention_mask=given,
        use_cache=False,
    )
    return output.logits[0, -1].float()


def make_dataset(users: int = 5, items: int = 12) -> Dataset:
    """Twelve small stories, five users with histories of 7 to 11 events."""
    things = ["dog", "cat", "ball", "ghost", "king", "tree", "ship", "bird", "cake", "bear", "star", "frog"]
    frame = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(items)],
            "title": [f"The {things[i % 12]}" for i in range(items)],
            "text": [
                f"The {things[i % 12]}. A {'sad' if i % 3 else 'funny'} story, part {i}."
                for i in range(items)
            ],
        }
    )
    rows = [(f"u{u}", f"i{(u * 5 + k * 7) % items}") for u in range(users) for k in range(7 + u % 5)]
    return from_frames("stories", frame, pd.DataFrame(rows, columns=["user_id", "item_id"]))
