"""A toy shop whose texts show taste, and how its items are scored without a store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.scoring.attributes import Attribute, AttributeSet
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import build_prompt, tokenise_text
from guided_refine.scoring.scores import AttributeScores, UserScores
from guided_refine.scoring.slots import SlotReader, soft_scores

CONTEXT = 512
OPTIONS = LLMOptions(dtype="float32", device="cpu", text_tokens=24, event_tokens=12, history_events=6)


def make_attributes() -> AttributeSet:
    def one(name: str, low: str, high: str) -> Attribute:
        return Attribute(
            name=name,
            definition=f"how {name} it is",
            low=low,
            high=high,
            item_question=f"How {name}?",
            user_question=f"How {name} is wanted?",
        )

    return AttributeSet(
        domain="toy",
        version=1,
        attributes=(one("funny", "sad", "funny"), one("big", "small", "big"), one("new", "old", "new")),
    )


def make_shop() -> Dataset:
    """24 happy and 24 sad items; each of 60 users keeps to one kind, so taste stands in the text of a history."""
    rng = np.random.default_rng(0)
    kinds = ["happy cat", "sad dog"]
    names = [f"{kinds[i % 2]} {i}" for i in range(48)]
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(48)], "title": names, "text": names})
    rows = []
    for user in range(60):
        kind = np.arange(48)[np.arange(48) % 2 == user % 2]
        rows += [(f"u{user}", f"i{i}") for i in rng.choice(kind, size=rng.integers(6, 10), replace=False)]
    return from_frames("toy", items, pd.DataFrame(rows, columns=["user_id", "item_id"]))


def with_other_targets(dataset: Dataset) -> Dataset:
    """The same training events, other validation and test items (the split's name is kept)."""
    sequences = [s.copy() for s in dataset.sequences]
    for user, sequence in enumerate(sequences):
        end = int(dataset.split.n_train[user])
        sequence[end:] = sequence[end:] % dataset.n_items + 1
    return Dataset(dataset.name, dataset.items, dataset.user_ids, sequences, dataset.times, dataset.split)


def score_items(language_model: LanguageModel, dataset: Dataset, attributes: AttributeSet) -> AttributeScores:
    """Item scores of a model as it stands; no user is scored."""
    plan = build_prompt(language_model.tokenizer, attributes, "item")
    texts = [tokenise_text(language_model.tokenizer, t, OPTIONS.text_tokens)[0] for t in dataset.texts]
    with torch.no_grad():
        logits = SlotReader(language_model.model, plan).digit_logits(texts).logits
    value, spread = (part.numpy() for part in soft_scores(logits))
    none = np.zeros((0, len(attributes.names)))
    users = UserScores(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none)
    return AttributeScores(
        "untuned",
        attributes.names,
        value,
        spread,
        users,
        language_model.name,
        dataset.split.cut_off,
    )
