"""One model under LoRA over the toy shop, with everything that an objective needs, and the tasks with batches for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from toy_shop import CONTEXT, OPTIONS, score_items

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import build_prompt
from guided_refine.scoring.slots import SlotReader
from guided_refine.tuning.batches import Examples, TuneBatch
from guided_refine.tuning.losses import catalog_scale
from guided_refine.tuning.objective import Objective
from guided_refine.tuning.tasks import BaseRecommender, LikeDislike, Task, next_item
from guided_refine.tuning.texts import DatasetTexts


class Base:
    """Says something of its own about every user, position and item."""

    fingerprint, weight = "base", 0.7

    def __call__(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.sin(users[:, None] + 2.0 * positions[:, None] + 3.0 * items[None, :])


TASKS: dict[str, Task] = {
    "next_item": next_item,
    "like_dislike": LikeDislike(0.4),
    "base_recommender": BaseRecommender(Base()),
}


def labelled(batch: TuneBatch) -> TuneBatch:
    """The same step, every other event liked."""
    return replace(batch, labels=np.arange(len(batch.users)) % 2.0)


class Bench:
    """One model under LoRA with everything an objective needs."""

    def __init__(
        self,
        language_model: LanguageModel,
        dataset: Dataset,
        attributes: AttributeSet,
        *,
        dropout: float = 0.1,
    ) -> None:
        self.value = score_items(language_model, dataset, attributes).item_value
        self.plans = {k: build_prompt(language_model.tokenizer, attributes, k) for k in ("item", "user")}
        self.texts = DatasetTexts(language_model.tokenizer, dataset, self.plans, OPTIONS, CONTEXT)
        self.examples = Examples(
            dataset,
            np.ones(dataset.n_items, bool),
            steps=3,
            batch_size=5,
            negatives=6,
            template_texts=2,
            seed=0,
        )
        with torch.no_grad():
            reader = SlotReader(language_model.model, self.plans["item"])
            texts = [self.texts.item(i) for i in range(1, dataset.n_items + 1)]
            self.untuned = reader.digit_logits(texts).logits
        torch.manual_seed(0)
        self.model = get_peft_model(
            language_model.model,
            LoraConfig(
                task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear"
            ),
        )

    def objective(self, config: TuneConfig, **others: Any) -> Objective:
        return Objective(
            self.model,
            self.plans,
            self.texts,
            scale=catalog_scale(self.value),
            item_value=self.value,
            untuned_items=self.untuned,
            config=config,
            batch_tokens=300,
            context=CONTEXT,
            seed=0,
            **others,
        )

    def disturb(self) -> None:
        """Make the adapter do something: its B matrices start at zero."""
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)


def weights(**given: float) -> TuneConfig:
    every = {"recommendation_weight": 0.0, "format_weight": 0.0, "anchor_weight": 0.0}
    return TuneConfig(dropout=0.1, **{**every, **given})
