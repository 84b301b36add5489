"""Counting well-formed lines, and a real model that writes."""

from __future__ import annotations

import pytest
import torch
from toy_shop import CONTEXT

from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import build_prompt, generation_lines, tokenise_text
from guided_refine.tuning.generation import well_formed, well_formed_share

LABELS = ["funny", "very big"]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("funny: 1\nvery big: 9", 2),
        (" funny: 1 \nvery big: 9\nmore", 2),
        ("very big: 9\nfunny: 1", 0),
        ("funny: 0\nvery big: 12", 0),
        ("funny 3\nvery big: 4", 1),
        ("", 0),
    ],
)
def test_lines_are_counted_in_their_order(answer: str, right: int) -> None:
    assert well_formed(answer, LABELS) == right


def test_padding_does_not_change_what_is_written(stories: LanguageModel, attributes: AttributeSet) -> None:
    plan = build_prompt(stories.tokenizer, attributes, "item")
    texts = [
        tokenise_text(stories.tokenizer, t, 40)[0] for t in ("a cat", "a very long story of a sad little dog")
    ]
    together = well_formed_share(stories.model, stories.tokenizer, plan, texts, context=CONTEXT)
    alone = [well_formed_share(stories.model, stories.tokenizer, plan, [t], context=CONTEXT) for t in texts]
    assert together == pytest.approx(sum(alone) / 2)


def test_a_model_that_knows_the_lines_gets_them_all(tiny: LanguageModel, attributes: AttributeSet) -> None:
    """Fit the tiny model to one answer; the share goes from none to all."""
    plan = build_prompt(tiny.tokenizer, attributes, "item")
    text = tokenise_text(tiny.tokenizer, "happy cat", 24)[0]

    def share() -> float:
        return well_formed_share(tiny.model, tiny.tokenizer, plan, [text], context=CONTEXT)

    assert share() == 0
    lines = generation_lines(plan, text, [1, 2, 3], limit=CONTEXT)
    ids = torch.tensor([lines.ids])
    labels = ids.clone()
    labels[:, : lines.prompt_length] = -100
    optimizer = torch.optim.Adam(tiny.model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        tiny.model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    assert share() == 1
