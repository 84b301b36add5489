"""A task of one's own is known by all that it does: source, values that it holds, globals that it reads."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_refine.errors import InputError
from guided_refine.tuning.identity import identity
from guided_refine.tuning.tasks import BaseRecommender, LikeDislike, StepScores, Task, next_item

WIDTH = 1.0
RNG = np.random.default_rng(0)


def hinge(scores: StepScores, margin: float = 1.0) -> torch.Tensor:
    return (margin - scores.logits).clamp(min=0).mean()


def helper(x: torch.Tensor) -> torch.Tensor:
    return x * WIDTH


@dataclass(frozen=True)
class Margin:
    margin: Any

    def __call__(self, scores: StepScores) -> torch.Tensor:
        return hinge(scores, self.margin)


class Slotted:
    __slots__ = ("__margin",)

    def __init__(self, margin: float) -> None:
        self.__margin = margin

    def __call__(self, scores: StepScores) -> torch.Tensor:
        return hinge(scores, self.__margin)

    def loss(self, scores: StepScores) -> torch.Tensor:
        return hinge(scores, self.__margin)


def closed(over: Any) -> Task:
    def task(scores: StepScores) -> torch.Tensor:
        return over(scores.logits) if callable(over) else hinge(scores, over)

    return task


def with_defaults(margin: float, width: float) -> Task:
    def task(scores: StepScores, margin: float = margin, *, width: float = width) -> torch.Tensor:
        return width * hinge(scores, margin)

    return task


def shares_a_line(which: int) -> Task:
    return (lambda s: s.users.mean(), lambda s: s.items.mean())[which]


def reads_a_global(scores: StepScores) -> torch.Tensor:
    return WIDTH * scores.logits.mean()


def reads_through_another(scores: StepScores) -> torch.Tensor:
    return helper(scores.logits).mean()


def draws(scores: StepScores) -> torch.Tensor:
    return scores.logits.mean() * RNG.random()


MAKERS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "keyword": (lambda m: functools.partial(hinge, margin=m), 0.5, 2.0),
    "argument": (lambda m: functools.partial(hinge, m), 1, 1.0),
    "field": (Margin, 0.5, 2.0),
    "slot": (Slotted, 0.5, 2.0),
    "method": (lambda m: Slotted(m).loss, 0.5, 2.0),
    "closure": (closed, 0.5, 2.0),
    "closed function": (closed, torch.tanh, torch.sigmoid),
    "closed closure": (lambda m: closed(closed(m)), 0.5, 2.0),
    "default": (lambda m: with_defaults(m, 1.0), 0.5, 2.0),
    "keyword default": (lambda m: with_defaults(1.0, m), 0.5, 2.0),
    "lambda": (shares_a_line, 0, 1),
    "array": (Margin, [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]),
    "nested": (lambda m: Margin({"a": (1, [m])}), "x", "y"),
    "own loss": (LikeDislike, 0.1, 0.2),
}


@pytest.mark.parametrize("way", MAKERS)
def test_other_values_are_another_task_and_equal_ones_the_same(way: str) -> None:
    make, one, two = MAKERS[way]
    assert identity(make(one)) == identity(make(one))
    assert identity(make(one)) != identity(make(two))


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_arrays_and_tensors_count_by_their_numbers(convert: Callable[[list[float]], Any]) -> None:
    long = list(map(float, range(3000)))  # longer than what is printed
    other = [*long[:1500], -1.0, *long[1501:]]
    assert identity(Margin(convert(long))) == identity(Margin(convert(long)))
    assert identity(Margin(convert(long))) != identity(Margin(convert(other)))
    assert identity(Margin(convert(long))) != identity(Margin(convert(long).reshape(2, 1500)))


def test_half_numbers_and_layers_can_be_held() -> None:
    torch.manual_seed(0)
    assert identity(Margin(torch.ones((), dtype=torch.bfloat16))) != identity(Margin(torch.ones(())))
    assert identity(Margin(torch.nn.Linear(2, 1))) != identity(Margin(torch.nn.Linear(2, 1)))


@pytest.mark.parametrize("task", [reads_a_global, reads_through_another])
def test_a_global_that_is_read_counts(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(task)
    monkeypatch.setitem(globals(), "WIDTH", 2.0)
    assert identity(task) != before


def test_a_plain_function_keeps_the_name_it_had() -> None:
    """Else what was tuned with it would be tuned anew for nothing."""
    for task in (next_item, hinge_of_ones):
        words = hashlib.sha256(inspect.getsource(task).encode()).hexdigest()[:16]
        assert identity(task) == f"{task.__module__}.{task.__qualname__}:{words}"


def hinge_of_ones(scores: StepScores) -> torch.Tensor:
    return (1 - scores.logits).clamp(min=0).mean()


def test_a_wrapper_is_not_what_it_wraps() -> None:
    def doubled(task: Task) -> Task:
        @functools.wraps(task)
        def wrapper(scores: StepScores) -> torch.Tensor:
            return 2 * task(scores)

        return wrapper

    assert identity(doubled(hinge)) != identity(hinge)
    assert identity(doubled(hinge)) != identity(doubled(hinge_of_ones))


def test_what_holds_itself_ends() -> None:
    held: list[Any] = [0.5]
    held.append(held)
    other: list[Any] = [0.6]
    other.append(other)
    assert identity(Margin(held)) != identity(Margin(other))


def test_a_base_is_known_by_its_fingerprint() -> None:
    class Base:
        weight = 0.5

        def __init__(self, fingerprint: str) -> None:
            self.fingerprint, self.rng = fingerprint, np.random.default_rng(0)

        def __call__(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
            return np.zeros((len(users), len(items)))

    assert identity(BaseRecommender(Base("a"))) == identity(BaseRecommender(Base("a")))
    assert identity(BaseRecommender(Base("a"))) != identity(BaseRecommender(Base("b")))


@pytest.mark.parametrize(
    ("task", "because"),
    [
        (draws, r"`RNG`: there is no source of numpy\.random\._generator\.Generator"),
        (functools.partial(hinge, margin=iter([1.0])), "`margin`: there is no source of"),
        (eval("lambda scores: scores.logits.mean()"), "there is no source of"),
    ],
)
def test_what_cannot_be_known_wants_a_name(task: Any, because: str) -> None:
    with pytest.raises(
        InputError, match=f"cannot be told from a changed one .*{because}.*give it an attribute"
    ):
        identity(task)
    task.name = "mine/1"
    assert identity(task) == "mine/1"
    del task.name


def test_a_module_of_ones_own_counts_by_what_stands_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read through the module or taken from it inside the task: a change there is a change of the task."""
    import importlib
    import sys

    helpers = tmp_path / "own_helpers.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    tasks = tmp_path / "own_tasks.py"
    tasks.write_text(
        "import own_helpers\n"
        "def through(scores):\n    return own_helpers.loss(scores)\n"
        "def inside(scores):\n    from own_helpers import loss\n    return loss(scores)\n"
    )
    found = []
    for margin in (1, 2, 1):
        helpers.write_text(f"def loss(scores):\n    return scores * {margin}\n")
        for name in ("own_helpers", "own_tasks"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module = importlib.import_module("own_tasks")
        found.append([identity(module.through), identity(module.inside)])
    for name in ("own_helpers", "own_tasks"):
        sys.modules.pop(name, None)
    for one, two, three in zip(*found, strict=True):
        assert one == three != two
