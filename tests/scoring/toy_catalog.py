"""A catalog of a few words and two attributes that the tests of the builtin model share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset, from_frames
from guided_refine.scoring.attributes import Attribute, AttributeSet

OPTIONS = LLMOptions(hidden=32, layers=2, vocabulary=400, pretrain_epochs=3, history_events=5, text_tokens=32)
"""Pre-training of seconds."""


def attributes() -> AttributeSet:
    def one(name: str, low: str, high: str) -> Attribute:
        return Attribute(
            name=name,
            definition="How much of it there is.",
            low=low,
            high=high,
            item_question="How much is there?",
            user_question="How much is wanted?",
        )

    return AttributeSet(
        domain="test",
        version=1,
        attributes=(
            one("humour", "grave and solemn", "jokes and laughter"),
            one("speed", "slow", "fast cars"),
        ),
    )


def catalog(seed: int = 0, n: int = 120) -> tuple[list[str], np.ndarray]:
    """Texts whose first half of words tells of humour; only a fifth of them uses a word of a pole."""
    rng = np.random.default_rng(seed)
    funny = rng.random(n) < 0.5
    texts = []
    for is_funny in funny:
        pole = ("jokes" if is_funny else "solemn") if rng.random() < 0.2 else "plain"
        company = ["banana goose trousers", "cathedral verdict marble"][int(not is_funny)].split()
        rest = rng.choice(["tram", "harbour", "piano", "orchard", "ticket", "lamp"], size=4)
        texts.append(" ".join([pole, *rng.permutation(company)[:2], *rest]))
    return texts, funny


def dataset(n: int = 60, *, shuffle: int | None = None) -> Dataset:
    """`catalog` as a dataset of five users; `shuffle` draws other interactions."""
    texts, _ = catalog(n=n)
    items = pd.DataFrame(
        {"item_id": [f"i{i}" for i in range(n)], "title": [f"Film {i}" for i in range(n)], "text": texts}
    )
    rng = np.random.default_rng(0 if shuffle is None else shuffle)
    rows = [(f"u{u}", f"i{i}") for u in range(5) for i in rng.permutation(n)[:6]]
    return from_frames("toy", items, pd.DataFrame(rows, columns=["user_id", "item_id"]))
