"""Does the model still write the lines by itself? Greedy answers to the ordinary prompt, and how many lines are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from guided_refine.scoring.prompt import PromptPlan, generation_lines


def well_formed(answer: str, labels: Sequence[str]) -> int:
    r"""How many of the lines "label: digit" stand in the answer in their order, each on its own line.

    >>> well_formed("humour: 3\nstory depth: 10\npace: 9\n", ["humour", "story depth", "pace"])
    2
    """
    lines = answer.strip().splitlines()
    return sum(
        re.fullmatch(rf"\s*{re.escape(label)}\s*:\s*[1-9]\s*", line) is not None
        for label, line in zip(labels, lines, strict=False)
    )


def well_formed_share(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    plan: PromptPlan,
    texts: Sequence[list[int]],
    *,
    context: int,
    batch: int = 40,
) -> float:
    """Share in [0, 1] of well-formed lines in greedy answers about `texts` (token ids). The model must be in eval mode."""
    labels = [name.replace("_", " ") for name in plan.names]
    device = next(model.parameters()).device
    pad = next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)
    right = 0
    for start in range(0, len(texts), batch):
        laid_out = [generation_lines(plan, text, limit=context) for text in texts[start : start + batch]]
        prompts = [lines.ids[: lines.prompt_length] for lines in laid_out]
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max(len(lines.ids) - lines.prompt_length for lines in laid_out),
            pad_token_id=pad,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.no_grad():
            written = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        answers = tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
        right += sum(well_formed(answer, labels) for answer in answers)
    return right / (len(texts) * len(labels))
