"""A step taken in pieces has the gradients of the step as a whole, for every term, and holds less at a time."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from objective_parts import TASKS, Bench, labelled, weights
from toy_shop import OPTIONS

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.tuning.objective import Objective, Terms
from guided_refine.tuning.tasks import Task, next_item

TERMS = ["recommendation_weight", "format_weight", "anchor_weight"]


@pytest.fixture
def bench(tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet) -> Bench:
    bench = Bench(tiny, dataset, attributes, dropout=0.0)
    bench.disturb()
    # Scores of a catalog that varies: dividing by the tiny deviations of a random model would blow up rounding.
    bench.value = np.random.default_rng(0).uniform(0.1, 0.9, bench.value.shape)
    return bench


def gradients(bench: Bench) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in bench.model.named_parameters() if p.grad is not None}
    bench.model.zero_grad()
    return found


def as_a_whole(
    bench: Bench, config: TuneConfig, task: Task = next_item
) -> tuple[Terms, dict[str, torch.Tensor]]:
    terms = bench.objective(config, task=task)(labelled(bench.examples[0]))
    terms.total.backward()
    return terms, gradients(bench)


def assert_same(bench: Bench, config: TuneConfig, size: int, task: Task = next_item) -> None:
    whole, wanted = as_a_whole(bench, config, task)
    pieces = bench.objective(config.model_copy(update={"micro_batch_size": size}), task=task).accumulate(
        labelled(bench.examples[0])
    )
    assert pieces.values() == pytest.approx(whole.values(), rel=1e-6, abs=1e-6)
    assert pieces.total.item() == pytest.approx(whole.total.item(), rel=1e-6, abs=1e-6)
    assert pieces.tokens == whole.tokens
    found = gradients(bench)
    assert found.keys() == wanted.keys() and any(g.abs().max() > 1e-4 for g in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("side", ["both", "user", "item"])
def test_one_by_one_equals_all_at_once_for_each_term(bench: Bench, side: str, term: str) -> None:
    assert_same(bench, weights(**{term: 1.0}).model_copy(update={"side": side}), 1)


@pytest.mark.parametrize(
    ("task", "size"), [("next_item", 3), ("next_item", 8), ("like_dislike", 3), ("base_recommender", 3)]
)
def test_every_task_and_size_gives_the_same_gradients(bench: Bench, task: str, size: int) -> None:
    config = weights(recommendation_weight=1.0, format_weight=0.5, anchor_weight=0.25)
    assert_same(bench, config, size, TASKS[task])


def test_the_dropout_of_a_piece_is_that_of_its_first_reading(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet
) -> None:
    """Else the gradient would belong to other scores than the loss did: against a difference quotient."""
    bench = Bench(tiny, dataset, attributes, dropout=0.3)
    bench.disturb()
    bench.value = np.random.default_rng(0).uniform(0.1, 0.9, bench.value.shape)
    bench.model.double()
    config = weights(recommendation_weight=1.0, anchor_weight=1.0).model_copy(update={"micro_batch_size": 2})
    objective = bench.objective(config)
    batch = bench.examples[0]
    objective.accumulate(batch)
    found = gradients(bench)
    trainable = {n: p for n, p in bench.model.named_parameters() if p.requires_grad}
    torch.manual_seed(5)
    direction = {n: torch.randn_like(p) for n, p in trainable.items()}
    slope = sum(float((found[n] * d).sum()) for n, d in direction.items())

    def moved(by: float) -> float:
        with torch.no_grad():
            for n, p in trainable.items():
                p += by * direction[n]
        value = objective.accumulate(batch).total.item()
        with torch.no_grad():
            for n, p in trainable.items():
                p -= by * direction[n]
        return value

    assert slope == pytest.approx((moved(1e-3) - moved(-1e-3)) / 2e-3, rel=0.02)


class Held:
    """Bytes that autograd holds for the way back, and the most there ever were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: torch.Tensor) -> _Kept:
        return _Kept(self, tensor)

    @staticmethod
    def unpack(kept: _Kept) -> torch.Tensor:
        return kept.tensor


class _Kept:
    def __init__(self, held: Held, tensor: torch.Tensor) -> None:
        # Detached: an output that its own node keeps would hold the whole graph in a circle.
        self.held, self.tensor, self.size = held, tensor.detach(), tensor.nbytes
        held.now += self.size
        held.most = max(held.most, held.now)

    def __del__(self) -> None:
        self.held.now -= self.size


def most_held(step: Objective, bench: Bench, *, in_pieces: bool) -> int:
    held = Held()
    with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
        if in_pieces:
            step.accumulate(bench.examples[0])
        else:
            step(bench.examples[0]).total.backward()
    bench.model.zero_grad()
    gc.collect()
    assert held.now == 0
    return held.most


@pytest.mark.parametrize("size", [None, 3])
def test_recomputed_layers_hold_less_for_the_same_gradients(bench: Bench, size: int | None) -> None:
    config = weights(recommendation_weight=1.0).model_copy(update={"micro_batch_size": size})
    slim = config.model_copy(update={"gradient_checkpointing": True})
    found, most = [], []
    for one in (config, slim):
        objective = bench.objective(one)
        most.append(most_held(objective, bench, in_pieces=objective.in_pieces))
        if objective.in_pieces:
            objective.accumulate(bench.examples[0])
        else:
            objective(bench.examples[0]).total.backward()
        found.append(gradients(bench))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert most[1] < 0.8 * most[0]
    # Nothing of it stays on the model.
    assert not any("forward" in vars(module) for module in bench.model.modules())


def test_bfloat16_steps_follow_those_of_float32(
    tiny_folder: Path, dataset: Dataset, attributes: AttributeSet
) -> None:
    found = []
    for dtype in ("float32", "bfloat16"):
        options = OPTIONS.model_copy(update={"dtype": dtype})
        bench = Bench(load_language_model(str(tiny_folder), options), dataset, attributes, dropout=0.0)
        bench.disturb()
        bench.value = np.random.default_rng(0).uniform(0.1, 0.9, bench.value.shape)
        config = weights(recommendation_weight=1.0, format_weight=0.5).model_copy(
            update={"micro_batch_size": 3}
        )
        bench.objective(config).accumulate(bench.examples[0])
        one = gradients(bench)
        assert all(g.dtype == torch.float32 for g in one.values())  # the adapter stays in full precision
        found.append(torch.cat([g.flatten() for g in one.values()]))
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.9


def test_pieces_hold_less(bench: Bench) -> None:
    config = weights(recommendation_weight=1.0)
    whole = most_held(bench.objective(config), bench, in_pieces=False)
    sizes = [
        most_held(bench.objective(config.model_copy(update={"micro_batch_size": n})), bench, in_pieces=True)
        for n in (1, 4)
    ]
    assert sizes[0] < sizes[1] < whole
    assert sizes[0] < 0.4 * whole
