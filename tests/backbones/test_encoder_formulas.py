"""Whole encoders against plain loops in float64 over the modules' own weights, and how many events they read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guided_refine.backbones.bert4rec import MASK, BERT4Rec
from guided_refine.backbones.encoder import Encoder
from guided_refine.backbones.gru4rec import GRU4Rec
from guided_refine.backbones.gru4rec_parallel import GRU4RecParallel
from guided_refine.backbones.histories import Histories
from guided_refine.backbones.model import ENCODERS
from guided_refine.backbones.sasrec import SASRec, SASRecBlock
from guided_refine.backbones.transformer import TransformerBlock
from guided_refine.config import TrainConfig

ITEMS, WIDTH, LONGEST = 11, 6, 7
Array = NDArray[np.float64]


def make(kind: str, *, heads: int = 2, layers: int = 2) -> tuple[Encoder, Tensor]:
    torch.manual_seed(5)
    config = TrainConfig(max_length=LONGEST, heads=heads, layers=layers)
    encoder = ENCODERS[kind](WIDTH, config).double().eval()
    for weight in encoder.parameters():
        # Biases begin at zero, norms at one, positions near zero: where all are alike a wrong one would not show.
        weight.data += 0.3 * torch.randn_like(weight)
    return encoder, torch.randn(ITEMS, WIDTH, dtype=torch.float64)


def rows(*, masks: bool = False) -> tuple[Tensor, Tensor]:
    """Histories of 1, 4 and `LONGEST` events with padding behind them."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.tensor([4, LONGEST, 1])
    items = torch.randint(1, ITEMS + 1, (3, LONGEST), generator=draw)
    if masks:
        items[0, 3] = items[1, 2] = items[1, 5] = MASK
    return torch.where(torch.arange(LONGEST) < lengths[:, None], items, 0), lengths


def array(tensor: Tensor) -> Array:
    found: Array = tensor.detach().numpy()
    return found


def linear(layer: nn.Module, x: Array) -> Array:
    assert isinstance(layer, nn.Linear)
    return array(layer.weight) @ x + array(layer.bias)


def normed(layer: nn.Module, x: Array) -> Array:
    assert isinstance(layer, nn.LayerNorm)
    return (x - x.mean()) / math.sqrt(x.var() + layer.eps) * array(layer.weight) + array(layer.bias)


def gelu(x: Array) -> Array:
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


def attended(q: Array, k: list[Array], v: list[Array], heads: int) -> Array:
    """What one query reads from `k`, `v`: per head a softmax of scaled dot products, the heads side by side."""
    size, out = WIDTH // heads, np.zeros(WIDTH)
    for head in range(heads):
        at = slice(head * size, (head + 1) * size)
        weights = [math.exp(float(q[at] @ key[at]) / math.sqrt(size)) for key in k]
        for weight, value in zip(weights, v, strict=True):
            out[at] += weight / sum(weights) * value[at]
    return out


def sasrec_block(block: SASRecBlock, x: list[Array]) -> list[Array]:
    """q = norm(x), y = norm(q + attention(q, x, x)), out = y + feed_forward(y); a place reads places up to its own."""
    keys = [linear(block.key_value, e)[:WIDTH] for e in x]
    values = [linear(block.key_value, e)[WIDTH:] for e in x]
    first, _, _, second = block.feed_forward
    out = []
    for t, event in enumerate(x):
        q = normed(block.attention_norm, event)
        read = attended(linear(block.query, q), keys[: t + 1], values[: t + 1], block.heads)
        y = normed(block.feed_norm, q + linear(block.project_out, read))
        out.append(y + linear(second, np.maximum(linear(first, y), 0)))
    return out


def bert_block(block: TransformerBlock, x: list[Array]) -> list[Array]:
    """x + attention(norm(x)), then x + feed_forward(norm(x)); every place reads every event."""
    projected = [linear(block.project_in, normed(block.attention_norm, e)) for e in x]
    keys = [p[WIDTH : 2 * WIDTH] for p in projected]
    values = [p[2 * WIDTH :] for p in projected]
    first, _, _, second = block.feed_forward
    out = []
    for event, own in zip(x, projected, strict=True):
        y = event + linear(block.project_out, attended(own[:WIDTH], keys, values, block.heads))
        out.append(y + linear(second, gelu(linear(first, normed(block.feed_norm, y)))))
    return out


@pytest.mark.parametrize("heads", [1, 2])
def test_sasrec_equals_a_loop(heads: int) -> None:
    encoder, vectors = make("sasrec", heads=heads)
    assert isinstance(encoder, SASRec)
    items, lengths = rows()
    states = array(encoder(items, lengths, vectors))
    for row, length in enumerate(lengths.tolist()):
        x = [
            math.sqrt(WIDTH) * array(vectors[items[row, t] - 1]) + array(encoder.positions[t])
            for t in range(length)
        ]
        for block in encoder.blocks:
            assert isinstance(block, SASRecBlock)
            x = sasrec_block(block, x)
        expected = [normed(encoder.norm, e) for e in x]
        np.testing.assert_allclose(states[row, :length], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2])
def test_bert4rec_equals_a_loop(heads: int) -> None:
    encoder, vectors = make("bert4rec", heads=heads)
    assert isinstance(encoder, BERT4Rec)
    items, lengths = rows(masks=True)
    states = array(encoder(items, lengths, vectors))
    for row, length in enumerate(lengths.tolist()):
        x = []
        for t in range(length):
            item = int(items[row, t])
            own = encoder.mask_vector[0] if item == MASK else vectors[item - 1]
            # The last event of a row stands at place 0, the one before it at 1.
            x.append(math.sqrt(WIDTH) * array(own) + array(encoder.positions[length - 1 - t]))
        for block in encoder.blocks:
            assert isinstance(block, TransformerBlock)
            x = bert_block(block, x)
        np.testing.assert_allclose(states[row, :length], x, rtol=0, atol=1e-10)


def gru_layer(gru: nn.GRU, layer: int, x: list[Array]) -> list[Array]:
    """States of one layer from a state of zeros: reset gate r, update gate z (what stays), candidate n."""
    w_in, w_state, b_in, b_state = (
        array(getattr(gru, f"{name}_l{layer}")) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    state, out = np.zeros(WIDTH), []
    for event in x:
        r_in, z_in, n_in = np.split(w_in @ event + b_in, 3)
        r_state, z_state, n_state = np.split(w_state @ state + b_state, 3)
        r, z = 1 / (1 + np.exp(-(r_in + r_state))), 1 / (1 + np.exp(-(z_in + z_state)))
        state = (1 - z) * np.tanh(n_in + r * n_state) + z * state
        out.append(state)
    return out


@pytest.mark.parametrize("kind", ["gru4rec", "gru4rec_parallel"])
def test_gru4rec_equals_a_loop(kind: str) -> None:
    encoder, vectors = make(kind)
    assert isinstance(encoder, GRU4Rec | GRU4RecParallel)
    items, lengths = rows()
    states = array(encoder(items, lengths, vectors))
    for row, length in enumerate(lengths.tolist()):
        x = [math.sqrt(WIDTH) * array(vectors[items[row, t] - 1]) for t in range(length)]
        for layer in range(encoder.gru.num_layers):
            x = gru_layer(encoder.gru, layer, x)
        if isinstance(encoder, GRU4Rec):
            x = [linear(encoder.project, e) for e in x]
        np.testing.assert_allclose(states[row, :length], x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "reader"), [("sasrec", "blocks"), ("bert4rec", "blocks"), ("gru4rec", "gru")]
)
def test_dropout_works_on_what_the_first_layer_reads(kind: str, reader: str) -> None:
    """In training half of the input is zero and the rest twice what prediction reads."""
    torch.manual_seed(2)
    encoder = ENCODERS[kind](WIDTH, TrainConfig(max_length=LONGEST, dropout=0.5, layers=1))
    first = getattr(encoder, reader)
    read: list[Tensor] = []
    (first[0] if isinstance(first, nn.ModuleList) else first).register_forward_pre_hook(
        lambda _, inputs: read.append(inputs[0].detach())
    )
    items, vectors = torch.randint(1, ITEMS + 1, (20, LONGEST)), torch.randn(ITEMS, WIDTH)
    for training in (False, True):
        encoder.train(training)
        encoder(items, torch.full((20,), LONGEST), vectors)
    whole, dropped = read
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.07)
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def test_dropout_leaves_the_state_that_a_lane_carries_whole() -> None:
    encoder = GRU4RecParallel(WIDTH, TrainConfig(max_length=LONGEST, dropout=0.5, layers=1))
    histories = Histories.stack([np.arange(1, LONGEST + 1)] * 20)
    lengths = torch.full((20,), LONGEST)
    zeros = 0
    for _, step in encoder.batches(histories, torch.arange(20), lengths, 20, torch.Generator()):
        states = encoder.read(step, torch.randn(ITEMS, WIDTH))
        zeros += int((states == 0).sum())
        assert encoder._carried is not None and bool((encoder._carried != 0).all())
    assert zeros > 100


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_training_reads_as_many_events_as_prediction_and_no_target_is_lost(kind: str) -> None:
    """A history longer than a window: what trains, and from how much, is what `max_length` says."""
    encoder = ENCODERS[kind](WIDTH, TrainConfig(max_length=4, mask_share=0.9))
    history = np.arange(1, 10)
    lengths = torch.tensor([min(9, encoder.train_events)])
    batches = list(
        encoder.batches(Histories.stack([history]), torch.tensor([0]), lengths, 1, torch.Generator())
    )
    shown = torch.cat([examples.inputs for _, examples in batches], dim=1)[0].tolist()
    asked = torch.cat([examples.targets for _, examples in batches], dim=1)[0].tolist()
    if kind == "bert4rec":
        # A window of four, masked places included; to predict, [mask] takes the place of the fourth.
        assert [max(pair) for pair in zip(shown, asked, strict=True)] == [6, 7, 8, 9]
        assert encoder.context == 3
    else:
        # Four inputs need five events: the last four are targets.
        assert (shown, asked) == ([5, 6, 7, 8], [6, 7, 8, 9])
        assert encoder.context == 4
