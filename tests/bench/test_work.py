"""The counted work against torch's own counter and against what the encoders are really given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.model import ENCODERS, SequenceModel
from guided_refine.backbones.tables import IdTable
from guided_refine.bench.work import epoch_flop, inputs, trained_places
from guided_refine.config import TrainConfig


def test_linear_maps_and_catalog_agree_with_torchs_counter() -> None:
    users, length, items, d, layers = 3, 9, 31, 8, 2
    config = TrainConfig(width=d, max_length=length, layers=layers, dropout=0.0)
    model = SequenceModel("sasrec", IdTable(items, d), None, config, seed=0).train()
    histories = Histories.stack([np.arange(1, length + 2)] * users)
    examples = model.encoder.examples(
        *histories.recent(torch.arange(users), length + 1), torch.Generator().manual_seed(0)
    )
    with FlopCounterMode(display=False) as counter:
        states = model.encoder(examples.inputs, examples.lengths, model.table.matrix())
        logits = states.flatten(0, 1) @ model.table.matrix().T
        torch.nn.functional.cross_entropy(logits, examples.targets.flatten() - 1).backward()
    products = sum(
        flop for name, flop in counter.get_flop_counts()["Global"].items() if "attention" not in str(name)
    )
    encoder, catalog = epoch_flop("sasrec", np.array([length + 1] * users), items, config)
    # torch counts attention over all pairs, the formula over those that causality leaves; both count them apart.
    attention = 3 * users * layers * 2 * d * length * (length + 1)
    assert products == pytest.approx(encoder - attention + catalog)


def test_recurrent_work_is_counted_gate_by_gate() -> None:
    config = TrainConfig(width=4, max_length=5, layers=2)
    encoder, catalog = epoch_flop("gru4rec", np.array([3, 9, 1]), 7, config)
    forward = 0
    for steps in (2, 5):
        for _ in range(steps):
            forward += 2 * (2 * 3 * 4 * 4 * 2)  # two layers: three gates read the input and the state
            forward += 2 * 4 * 4
    assert encoder == 3 * forward
    assert catalog == 3 * 2 * 4 * 7 * (2 + 5)


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec", "gru4rec"])
def test_places_are_those_the_encoder_trains(kind: str) -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(2, 30, 2000)
    config = TrainConfig(width=8, max_length=12)
    encoder = ENCODERS[kind](8, config)
    histories = Histories.stack([draw.integers(1, 50, n) for n in lengths])
    window = histories.recent(torch.arange(len(lengths)), encoder.train_events)
    examples = encoder.examples(*window, torch.Generator().manual_seed(0))
    assert inputs(kind, lengths, config).tolist() == examples.lengths.tolist()
    counted = (examples.targets > 0).sum().item()
    exact = 0.0 if kind != "bert4rec" else 0.03
    assert trained_places(kind, lengths, config).sum() == pytest.approx(counted, rel=exact or 1e-9)


def test_a_lonely_event_trains_nothing() -> None:
    assert epoch_flop("bert4rec", np.array([1, 0]), 10, TrainConfig()) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no formula"):
        epoch_flop("other", np.array([3]), 10, TrainConfig())
