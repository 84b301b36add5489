"""What there is to read: texts with the points at which they are scored, what of it is missing, and in which batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guided_refine.scoring.prompt import PromptPlan


@dataclass(frozen=True, slots=True)
class Job:
    """A text with the points at which it is to be read, and the store's key of each."""

    text: Sequence[int]
    reads: list[int]
    keys: list[str]

    def only(self, keys: Collection[str]) -> Job | None:
        """The part that reads for these keys; None where there is none.

        >>> Job([7, 8, 9], [1, 2, 3], ["a", "b", "c"]).only({"b"})
        Job(text=[7, 8], reads=[2], keys=['b'])
        """
        kept = [place for place, key in enumerate(self.keys) if key in keys]
        if not kept:
            return None
        reach = max(self.reads[p] for p in kept)
        if len(kept) == len(self.keys) and reach == len(self.text):
            return self  # there may be millions, so none is written twice
        return Job(
            self.text[:reach],
            [self.reads[p] for p in kept],
            [self.keys[p] for p in kept],
        )


@dataclass(frozen=True)
class Demand:
    """What is missing: scores (of so many in all), texts to read for them, and tokens that the model reads for that."""

    scores: int
    of: int
    texts: int
    tokens: int

    def __str__(self) -> str:
        if not self.scores:
            return f"all {self.of:,} scores are in the store"
        read = f", {self.tokens:,} tokens" if self.tokens else ""
        return f"{self.scores:,} of {self.of:,} scores are missing ({self.texts:,} texts{read})"


def lacking(jobs: Sequence[Job], known: Mapping[str, np.ndarray]) -> dict[tuple[int, ...], list[Job]]:
    """Jobs, or parts of them, by the attributes whose scores they lack; `known[key]` (2, attributes) is NaN there.

    >>> known = {"a": np.array([[0.5, np.nan], [0.1, np.nan]]), "b": np.zeros((2, 2))}
    >>> lacking([Job([1, 2], [1, 2], ["a", "b"])], known)
    {(1,): [Job(text=[1], reads=[1], keys=['a'])]}
    """
    groups: dict[tuple[int, ...], list[Job]] = {}
    for job in jobs:
        missing: dict[tuple[int, ...], set[str]] = {}
        for key in job.keys:
            lacks = tuple(np.flatnonzero(np.isnan(known[key][0])).tolist())
            if lacks:
                missing.setdefault(lacks, set()).add(key)
        for lacks, keys in missing.items():
            part = job.only(keys)
            assert part is not None
            groups.setdefault(lacks, []).append(part)
    return groups


def tokens(job: Job, plan: PromptPlan) -> int:
    """Tokens that a model which reads slots reads for one job, without the prefix that all jobs share."""
    return len(job.text) + len(job.reads) * plan.slot_tokens


def demand(plan: PromptPlan, groups: Mapping[tuple[int, ...], Sequence[Job]], of: int) -> Demand:
    """What these groups ask of a model that reads slots; `of` is the number of scores there will be in all."""
    to_read = 0
    for lacks, jobs in groups.items():
        chosen = plan.select(lacks)
        to_read += chosen.prefix_tokens + sum(tokens(job, chosen) for job in jobs)
    return Demand(
        scores=sum(len(lacks) * len(job.keys) for lacks, jobs in groups.items() for job in jobs),
        of=of,
        texts=sum(len(jobs) for jobs in groups.values()),
        tokens=to_read,
    )


def batches(jobs: Sequence[Job], slot_tokens: int, budget: int) -> Iterator[list[Job]]:
    """Jobs of similar cost together, longest first (a pass that does not fit fails at once), `budget` tokens a pass."""
    ordered = sorted(jobs, key=lambda job: (-len(job.reads), -len(job.text), job.keys[0]))
    batch: list[Job] = []
    longest = 0
    for job in ordered:
        longest_now = max(longest, len(job.text))
        row = longest_now + len((batch or [job])[0].reads) * slot_tokens
        if batch and row * (len(batch) + 1) > budget:
            yield batch
            batch, longest_now = [], len(job.text)
        batch.append(job)
        longest = longest_now
    if batch:
        yield batch
