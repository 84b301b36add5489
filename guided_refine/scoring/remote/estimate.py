"""What scoring by a remote model will cost at most, counted before anything is sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guided_refine.scoring.remote.budget import spent_before
from guided_refine.scoring.remote.keeping import Keeper, lacking, settled_mode
from guided_refine.scoring.remote.questions import MODES, Mode
from guided_refine.scoring.remote.workload import KINDS, Workload
from guided_refine.scoring.store import ScoreStore


@dataclass(frozen=True)
class Estimate:
    """Requests and tokens if every question is answered at once: upper bounds, not expectations.

    `texts` are distinct texts of items and of histories, `in_store` those of them that the store has whole. `mode` is how
    they are asked about, or "auto" where only the server can say: then the dearest mode counts. `spent` and `limit`: the
    token budget.
    """

    model: str
    mode: str
    texts: int
    in_store: int
    requests: int
    prompt_tokens: int
    answer_tokens: int
    counted_with: str
    spent: int
    limit: int | None

    @property
    def tokens(self) -> int:
        """Prompts and answers together."""
        return self.prompt_tokens + self.answer_tokens

    def sentence(self) -> str:
        """All of it for a person."""
        share = f" ({self.in_store / self.texts:.0%})" if self.texts else ""
        parts = [
            f"{self.model}, mode {self.mode}: {self.texts:,} texts, {self.in_store:,}{share} in the store",
            f"{self.requests:,} requests, at most {self.prompt_tokens:,} prompt and {self.answer_tokens:,} answer tokens "
            f"({self.counted_with}), repeated requests not counted",
        ]
        if self.limit is not None:
            left = max(0, self.limit - self.spent)
            fits = "they fit" if self.tokens <= left else "that may not be enough"
            parts.append(f"{left:,} of {self.limit:,} tokens are left in the budget: {fits}")
        elif self.requests:
            parts.append("no budget is set (llm_options.remote.max_tokens_total)")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The values, and the sum of tokens."""
        return {**asdict(self), "tokens": self.tokens}


def estimate(work: Workload, store: ScoreStore, *, ledger: Path | None = None) -> Estimate:
    """Count what a workload would cost; nothing is sent. `ledger`: the account of the token budget, where there is one."""
    mode = settled_mode(work, store)
    counted = [_count(work, one, store) for one in ((mode,) if mode else MODES)]
    texts, missing, prompt, answer = max(counted, key=lambda one: one[2] + one[3])
    remote = work.options.remote
    return Estimate(
        model=remote.model or "",
        mode=mode or "auto",
        texts=texts,
        in_store=texts - missing,
        requests=missing,
        prompt_tokens=prompt,
        answer_tokens=answer,
        counted_with="counted with the tokenizer"
        if remote.tokenizer
        else "one per byte, no tokenizer is given",
        spent=spent_before(ledger),
        limit=remote.max_tokens_total,
    )


def _count(work: Workload, mode: Mode, store: ScoreStore) -> tuple[int, int, int, int]:
    """Texts, texts that the store lacks, their prompt tokens and their answer tokens."""
    texts = missing = prompt = answer = 0
    answers = 1 if mode == "logprobs" else work.options.remote.samples
    for kind in KINDS:
        one = work.asked(kind, mode)
        lacks = lacking(one, Keeper(store, work, one.form).known(one.questions))
        written = answers * one.form.answer_tokens
        texts, missing = texts + len(one.questions), missing + len(lacks)
        answer += written * len(lacks)
        prompt += sum(one.form.tokens(one.form.content(q.text), answers) - written for q in lacks)
    return texts, missing, prompt, answer
