"""Validation NDCG against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from synthetic import random_dataset

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.tables import IdTable
from guided_refine.backbones.validation import Validation, expected_ndcg
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError


def test_equals_a_loop_over_users() -> None:
    dataset = random_dataset()
    backbone = Backbone("sasrec", IdTable(dataset.n_items, 8), None, TrainConfig(max_length=6), 0)
    users, targets = dataset.targets("valid")
    values = []
    for scores, user, target in zip(backbone.score(users, "valid", dataset), users, targets, strict=True):
        candidates = set(range(1, dataset.n_items + 1)) - set(dataset.visible(user, "valid").tolist())
        rank = sum(scores[i - 1] > scores[target - 1] for i in candidates - {int(target)})
        values.append(1 / math.log2(rank + 2) if rank < 10 else 0.0)
    got = Validation(dataset, torch.device("cpu")).ndcg(backbone.model)
    assert got == pytest.approx(np.mean(values), abs=1e-6)


def test_a_constant_scorer_gets_chance() -> None:
    got = expected_ndcg(torch.tensor([0]), torch.tensor([99]))
    assert float(got) == pytest.approx(sum(1 / math.log2(r + 1) for r in range(1, 11)) / 100)


def test_a_collapsed_model_gets_chance() -> None:
    dataset = random_dataset()
    table = IdTable(dataset.n_items, 8, std=0.0)
    backbone = Backbone("sasrec", table, None, TrainConfig(max_length=6), 0)
    users, targets = dataset.targets("valid")
    gain = sum(1 / math.log2(rank + 1) for rank in range(1, 11))
    values = []
    for user, target in zip(users, targets, strict=True):
        candidates = dataset.n_items - len(set(dataset.visible(user, "valid").tolist()) - {int(target)})
        values.append(gain / candidates)
    got = Validation(dataset, torch.device("cpu")).ndcg(backbone.model)
    assert got == pytest.approx(np.mean(values))


def test_a_model_in_training_is_validated_without_dropout() -> None:
    dataset = random_dataset()
    table = IdTable(dataset.n_items, 8, std=1.0)
    backbone = Backbone("sasrec", table, None, TrainConfig(max_length=6, dropout=0.8), 0)
    validation = Validation(dataset, torch.device("cpu"))
    expected = validation.ndcg(backbone.model)
    backbone.model.train()
    assert validation.ndcg(backbone.model) == expected


def test_no_validation_target_is_said() -> None:
    from dataclasses import replace

    from guided_refine.errors import InputError

    dataset: Dataset = random_dataset()
    dataset = replace(dataset, split=replace(dataset.split, valid=np.full(dataset.n_users, -1)))
    with pytest.raises(InputError, match="no user has a validation target"):
        Validation(dataset, torch.device("cpu"))


@pytest.mark.parametrize("broken", ["all", "one item"])
def test_scores_that_are_no_numbers_are_refused(broken: str) -> None:
    """Nothing is greater than NaN: such a model would rank every target first and be the best ever seen."""
    dataset = random_dataset()
    backbone = Backbone("sasrec", IdTable(dataset.n_items, 8), None, TrainConfig(max_length=6), 0)
    with torch.no_grad():
        table = next(iter(backbone.table.parameters()))
        table[slice(None) if broken == "all" else slice(3, 4)] = torch.nan
    with pytest.raises(InputError, match="no longer finite numbers"):
        Validation(dataset, torch.device("cpu")).ndcg(backbone.model)
