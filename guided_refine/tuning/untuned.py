"""Digit logits of the untuned model for the items that tuning will read: what the anchor holds scores to.

Read once, because an item turns up in many steps; written block by block, so that a kill loses one block.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guided_refine.files import atomic_path
from guided_refine.progress import Progress
from guided_refine.scoring.slots import SlotReader
from guided_refine.tuning.reading import Texts, read_texts

BLOCK = 128


def untuned_digits(
    reader: SlotReader,
    texts: Texts,
    items: np.ndarray,
    n_items: int,
    folder: Path,
    *,
    batch_tokens: int,
    progress: Progress,
) -> Tensor:
    """Logits (n_items, attributes, 9) on the CPU; rows of items other than `items` (item numbers) stay zero.

    Call it with gradients and adapter off. Blocks that `folder` already holds are read back.
    """
    answer = torch.zeros(n_items, len(reader.plan.names), 9)
    with progress.task("untuned digits of the items", total=len(items)) as task:
        for start in range(0, len(items), BLOCK):
            numbers = items[start : start + BLOCK]
            path = folder / f"untuned-{start:08d}.safetensors"
            block = _stored(path)
            if block is None:
                block = read_texts(reader, [texts.item(int(i)) for i in numbers], batch_tokens).logits.cpu()
                with atomic_path(path) as part:
                    save_file({"logits": block}, part)
            answer[torch.as_tensor(numbers - 1)] = block
            task.advance(len(numbers))
    return answer


def _stored(path: Path) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        return load_file(path)["logits"]
    except (OSError, SafetensorError, KeyError):
        return None  # cut off: read again
