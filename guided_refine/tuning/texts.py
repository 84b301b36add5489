"""Token ids of items and of training histories, cut exactly as scoring cuts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.histories import HistoryTexts
from guided_refine.scoring.prompt import PromptPlan, tokenise_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class DatasetTexts:
    """The texts of one dataset for one tokenizer and one pair of prompts ("item" and "user").

    `context` is the number of positions that the model has. Raises `InputError` when it is too short.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        dataset: Dataset,
        plans: dict[str, PromptPlan],
        options: LLMOptions,
        context: int,
    ) -> None:
        limit = min(options.text_tokens, plans["item"].text_room(context))
        rows = tokenise_texts(tokenizer, [text.strip() for text in dataset.texts], limit)
        self._items = [ids for ids, _ in rows]
        self._histories = HistoryTexts(tokenizer, dataset, options, plans["user"].text_room(context))
        self._n_train = dataset.split.n_train

    def item(self, number: int) -> list[int]:
        """Tokens of an item's text; items are numbered from 1."""
        return self._items[number - 1]

    def user(self, user: int, position: int) -> list[int]:
        """Tokens of the history before event `position`, which must be a training event."""
        if not 1 <= position < self._n_train[user]:
            raise ValueError(f"user {user} has no training event {position} to predict from earlier ones")
        return self._histories.tokens(user, position)
