"""What scoring a dataset would cost: scores that are missing, tokens to read for them, and a time from a short trial."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.histories import all_snapshots
from guided_refine.scoring.jobs import Demand, Job, batches, demand, lacking, tokens
from guided_refine.scoring.scorer import Scorer, ScoringSummary, Work
from guided_refine.scoring.store import ScoreStore
from guided_refine.scoring.waiting import in_words

if TYPE_CHECKING:
    from guided_refine.scoring.language_model import LanguageModel

_TRIAL_TOKENS = 4096


@dataclass(frozen=True)
class Estimate:
    """`items` and `users`: what is missing. `pace`: tokens a second in the trial; None where nothing is missing, and where
    the model is not `trained` yet: there is no tokenizer then to count with, and `tokens` are 0.
    """

    model: str
    items: Demand
    users: Demand
    pace: float | None
    trained: bool = True

    @property
    def seconds(self) -> float | None:
        """How long the model will read; None where nobody knows."""
        return None if self.pace is None else (self.items.tokens + self.users.tokens) / self.pace

    def sentence(self) -> str:
        """All of it for a person."""
        parts = [f"{self.model}: items, {self.items}", f"users, {self.users}"]
        if not self.trained:
            parts.append("the model is trained first, a matter of minutes; what it reads is known after that")
        if self.pace is not None and self.seconds is not None:
            parts.append(
                f"about {in_words(self.seconds)} on this machine at {self.pace:,.0f} tokens a second"
            )
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The values, and how many seconds the model will read; null for what nobody knows yet."""
        facts = {**asdict(self), "seconds": self.seconds}
        for kind in ("items", "users") if not self.trained else ():
            facts[kind]["tokens"] = None
        return facts


def estimate(
    language_model: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    options: LLMOptions,
    store: ScoreStore,
) -> Estimate:
    """What `score_dataset` would do, without storing anything. The trial reads one small batch of what is missing, twice.

    Raises `InputError` as `score_dataset` does.
    """
    scorer = Scorer(
        language_model,
        attributes,
        options,
        store,
        dataset.split.cut_off,
        ScoringSummary(),
        Progress(quiet=True),
    )
    needs = []
    largest: tuple[int, Work, tuple[int, ...], list[Job]] | None = None
    for work in (scorer.item_work(dataset)[0], scorer.user_work(dataset)[0]):
        groups = lacking(work.jobs, scorer.stored(work))
        needs.append(demand(work.plan, groups, work.pairs))
        for lacks, jobs in groups.items():
            chosen = work.plan.select(lacks)
            size = sum(tokens(job, chosen) for job in jobs)
            if largest is None or size > largest[0]:
                largest = (size, work, lacks, jobs)
    pace = None if largest is None else _pace(language_model, options, *largest[1:])
    return Estimate(language_model.name, needs[0], needs[1], pace)


def estimate_untrained(
    name: str, dataset: Dataset, attributes: AttributeSet, options: LLMOptions
) -> Estimate:
    """The same before a model that is still to be trained: it has scored nothing, so all scores are missing."""
    width = len(attributes.names)
    items = len({text.strip() for text in dataset.texts} - {""})
    users = sum(map(len, all_snapshots(dataset, options.snapshots)))
    demands = [Demand(n * width, n * width, n, 0) for n in (items, users)]
    return Estimate(name, demands[0], demands[1], None, trained=False)


def _pace(
    language_model: LanguageModel, options: LLMOptions, work: Work, lacks: tuple[int, ...], jobs: list[Job]
) -> float:
    import torch

    from guided_refine.scoring.slots import SlotReader

    chosen = work.plan.select(lacks)
    budget = min(options.batch_tokens, _TRIAL_TOKENS)
    every = list(batches(jobs, chosen.slot_tokens, budget))
    batch = every[len(every) // 2]
    reader = SlotReader(language_model.model, chosen)
    language_model.model.eval()
    with torch.no_grad():
        for _ in range(2):  # the first also reads what is read once
            started = time.perf_counter()
            reader.digit_logits([job.text for job in batch], [job.reads for job in batch]).logits.cpu()
            seconds = time.perf_counter() - started
    return sum(tokens(job, chosen) for job in batch) / max(seconds, 1e-9)
