"""A warm restart tells a finished training from one that was stopped too early."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from synthetic import ring

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.training import FitResult
from guided_refine.backbones.validation import Validation
from guided_refine.config import EvaluateConfig, TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.convergence import check_convergence, verdict
from guided_refine.evaluation.statistics import Interval

OPTIONS = EvaluateConfig(bootstrap=200)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return ring(n_items=20, walks=4)


def trained(dataset: Dataset, epochs: int) -> Backbone:
    config = TrainConfig(
        width=16,
        max_length=8,
        max_epochs=epochs,
        patience=epochs,
        batch_size=16,
        learning_rate=0.01,
        dropout=0.0,
        threads=1,
    )
    return Backbone.new("gru4rec", dataset, config, seed=1)


def test_one_that_was_still_learning(dataset: Dataset) -> None:
    model = trained(dataset, 3)
    found = check_convergence(model, model.fit(dataset).epochs, dataset, OPTIONS)
    assert not found["holds"] and found["lower"] > 0 and found["relative"] > 0.02
    assert found["epochs"] == math.ceil(3 / 3)


def test_one_that_had_learned_all_there_is(dataset: Dataset) -> None:
    model = trained(dataset, 60)
    fit = model.fit(dataset)
    assert fit.best_ndcg > 0.99
    weights = {name: value.clone() for name, value in model.model.state_dict().items()}
    found = check_convergence(model, fit.epochs, dataset, OPTIONS)
    assert found["holds"] and found["before"] == pytest.approx(fit.best_ndcg)
    assert found["mean"] == pytest.approx(found["after"] - found["before"])
    # The model that is reported is the one that was checked, not the one that was trained further.
    assert all(torch.equal(value, weights[name]) for name, value in model.model.state_dict().items())
    assert model.config.max_epochs == 60


def test_values_per_user_are_in_the_order_of_the_targets(dataset: Dataset) -> None:
    model = trained(dataset, 1)
    users, _ = dataset.targets("valid")
    values = Validation(dataset, torch.device("cpu")).per_user(model.model).numpy()
    assert len(values) == len(users)
    scores = model.score(users, "valid", dataset)
    for value, score, user, target in zip(values, scores, users, dataset.targets("valid")[1], strict=True):
        seen = set(dataset.visible(int(user), "valid").tolist()) - {int(target)}
        rivals = [score[i] for i in range(dataset.n_items) if i + 1 not in seen and i + 1 != target]
        rank = int(np.sum(np.array(rivals) > score[target - 1]))
        assert value == pytest.approx(1 / math.log2(rank + 2) if rank < 10 else 0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("mean", "lower", "upper", "said"),
    [
        (0.001, -0.002, 0.004, "converged"),
        (0.0019, -0.001, 0.005, "converged"),
        (0.0021, -0.001, 0.005, "still learning"),  # more than 2 %, though perhaps luck
        (0.001, 0.0001, 0.002, "still learning"),  # little, but surely something
        (-0.01, -0.02, 0.0001, "converged"),
        (-0.001, -0.0015, -0.0005, "converged"),  # less than 2 % below: the first best epoch had luck too
        (-0.01, -0.02, -0.005, "no answer"),  # it did harm: nothing is known of what there was to gain
    ],
)
def test_both_conditions_count(mean: float, lower: float, upper: float, said: str) -> None:
    assert verdict(Interval(mean, lower, upper, 0.1), 0.1) == said


def test_one_that_lowered_its_rate_restarts_one_step_lower_and_spends_all_its_epochs(
    dataset: Dataset,
) -> None:
    model = trained(dataset, 30)
    model.config = model.config.model_copy(update={"patience": 4, "learning_rate_drops": 1})
    fit = model.fit(dataset)
    seen: list[TrainConfig] = []

    class Watched(Backbone):
        def fit(self, *args: Any, **options: Any) -> FitResult:
            seen.append(self.config)
            answer = super().fit(*args, **options)
            rates.extend(row["learning_rate"] for row in answer.curve)
            return answer

    rates: list[float] = []
    model.__class__ = Watched
    found = check_convergence(model, fit.epochs, dataset, OPTIONS)
    [settings] = seen
    assert settings.patience == 2 and rates[0] == model.config.learning_rate / 4
    assert found["epochs"] == settings.max_epochs == math.ceil(fit.epochs / 3)
    # The rate falls again and again, each time to a quarter.
    falls = np.divide(rates[1:], rates[:-1])
    assert set(np.round(falls, 6)) <= {1.0, 0.25}


def test_with_drops_too_one_that_stopped_early_is_found_out(dataset: Dataset) -> None:
    model = trained(dataset, 4)
    model.config = model.config.model_copy(update={"patience": 4, "learning_rate_drops": 2})
    found = check_convergence(model, model.fit(dataset).epochs, dataset, OPTIONS)
    assert found["verdict"] == "still learning" and not found["holds"]
