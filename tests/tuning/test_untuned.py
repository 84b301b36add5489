"""Untuned digits: read once, block by block, and read again where a block is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import build_prompt, tokenise_text
from guided_refine.scoring.slots import SlotReader
from guided_refine.tuning import untuned


class Words:
    """Texts of five items."""

    def __init__(self, language_model: LanguageModel) -> None:
        words = ["happy cat", "sad dog", "a big happy cat", "old", "new dog"]
        self.ids = [tokenise_text(language_model.tokenizer, w, 24)[0] for w in words]
        self.asked: list[int] = []

    def item(self, number: int) -> list[int]:
        self.asked.append(number)
        return self.ids[number - 1]

    def user(self, user: int, position: int) -> list[int]:
        raise AssertionError("no user is asked for")


def test_blocks_are_read_once_and_again_only_when_damaged(
    tiny: LanguageModel, attributes: AttributeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untuned, "BLOCK", 2)
    texts = Words(tiny)
    reader = SlotReader(tiny.model, build_prompt(tiny.tokenizer, attributes, "item"))

    def read() -> torch.Tensor:
        with torch.no_grad():
            return untuned.untuned_digits(
                reader,
                texts,
                np.array([1, 3, 4, 5]),
                5,
                tmp_path,
                batch_tokens=100,
                progress=Progress(quiet=True),
            )

    first = read()
    assert sorted(texts.asked) == [1, 3, 4, 5] and first.shape == (5, 3, 9)
    assert first[1].abs().sum() == 0
    with torch.no_grad():
        alone = torch.cat([reader.digit_logits([texts.ids[i - 1]]).logits for i in (1, 3, 4, 5)])
    torch.testing.assert_close(first[[0, 2, 3, 4]], alone, rtol=0, atol=1e-5)
    texts.asked.clear()
    assert torch.equal(read(), first) and texts.asked == []
    blocks = sorted(tmp_path.glob("*.safetensors"))
    damaged = blocks[1].read_bytes()[:40]
    blocks[1].unlink()
    blocks[1].write_bytes(damaged)
    assert torch.equal(read(), first) and sorted(texts.asked) == [4, 5]
