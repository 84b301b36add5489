"""How a score comes of what a model says about nine digits: soft or hard, as it stands or calibrated.

Contextual calibration: Zhao, Wallace, Feng, Klein and Singh, "Calibrate Before Use", ICML 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from guided_refine.config import LLMOptions
from guided_refine.files import sha256_json
from guided_refine.scoring.prompt import tokenise_texts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from guided_refine.scoring.slots import SlotReader

CONTENT_FREE = ("", "N/A", "[MASK]")
"""Texts that say nothing: the three over which the paper averages, since each alone has a colour of its own."""

_VERSION = 1
_LONGEST = 8
"""Tokens of a content-free text at most; every prompt has room for so many."""


@dataclass(frozen=True)
class DigitRule:
    """The keys `digits` and `calibration` of `llm_options`.

    >>> DigitRule().attribute_key("f00"), DigitRule(digits="hard").attribute_key("f00") == "f00"
    ('f00', False)
    """

    digits: Literal["soft", "hard"] = "soft"
    calibration: Literal["none", "content_free"] = "none"

    @staticmethod
    def of(options: LLMOptions) -> DigitRule:
        """What the options say."""
        return DigitRule(options.digits, options.calibration)

    @property
    def soft(self) -> DigitRule:
        """The same with soft scores."""
        return replace(self, digits="soft")

    def attribute_key(self, sha256: str) -> str:
        """The store's key of an attribute whose definition hashes to `sha256`: that itself under the usual rule."""
        if self == DigitRule():
            return sha256
        texts = CONTENT_FREE if self.calibration == "content_free" else ()
        return sha256_json([sha256, _VERSION, self.digits, self.calibration, texts])

    def prior(self, reader: SlotReader, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor | None:
        """What the reader's model says of the content-free texts, shape (attributes, 9); None where nothing is calibrated.

        Logarithms of the digits' probabilities (given that it is a digit), averaged over the texts.
        """
        import torch

        if self.calibration == "none":
            return None
        texts = [ids for ids, _ in tokenise_texts(tokenizer, CONTENT_FREE, _LONGEST)]
        said = torch.log_softmax(reader.digit_logits(texts).logits, dim=-1)
        return torch.logsumexp(said, dim=0) - math.log(len(texts))

    def scores(
        self, logits: torch.Tensor, prior: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Value in [0, 1] and spread in [0, 0.5] of digit logits (..., attributes, 9).

        Calibration takes `prior` (attributes, 9) off the logits, so that a digit counts by how much likelier the text made
        it (the paper's equation with W = diag(p)^-1 and b = 0). A hard value is (d - 1) / 8 of the most probable digit d,
        the lowest of several; the spread is the deviation of the same distribution either way.

        >>> import torch
        >>> likely = torch.tensor([[0.0, 0, 0, 0, 0, 0, 3, 0, 2]])
        >>> for rule in (DigitRule(), DigitRule("hard")):
        ...     print([round(part.item(), 2) for part in rule.scores(likely)])
        [0.73, 0.23]
        [0.75, 0.23]
        >>> DigitRule("soft", "content_free").scores(likely, prior=likely)[0]
        tensor([0.5000])
        """
        from guided_refine.scoring.slots import soft_scores

        if (prior is None) != (self.calibration == "none"):
            raise ValueError(
                f"a prior of the content-free texts is needed for calibration, and for nothing else: {self}"
            )
        logits = logits.float() if prior is None else logits.float() - prior
        value, spread = soft_scores(logits)
        if self.digits == "hard":
            value = logits.argmax(dim=-1).to(value.dtype) / 8
        return value, spread
