"""What each encoder may read: nothing from the future, nothing from padding, nothing from neighbours."""

from __future__ import annotations

import pytest
import torch

from guided_refine.backbones.bert4rec import MASK
from guided_refine.backbones.encoder import CausalEncoder
from guided_refine.backbones.model import ENCODERS
from guided_refine.config import TrainConfig

ITEMS, WIDTH = 20, 12
KINDS = sorted(ENCODERS)
CAUSAL = sorted(kind for kind, encoder in ENCODERS.items() if issubclass(encoder, CausalEncoder))


def make(kind: str, **options: object) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    encoder = ENCODERS[kind](WIDTH, TrainConfig(max_length=10, heads=2, **options)).eval()
    for weight in encoder.parameters():
        # Freshly drawn weights are so small that a leak could hide in rounding.
        weight.data += 0.3 * torch.randn_like(weight)
    return encoder, torch.randn(ITEMS, WIDTH)


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_future_changes_no_earlier_state(kind: str) -> None:
    encoder, vectors = make(kind)
    items = torch.randint(1, ITEMS + 1, (4, 9))
    lengths = torch.full((4,), 9)
    before = encoder(items, lengths, vectors)
    for t in range(1, 9):
        other = items.clone()
        other[:, t:] = torch.randint(1, ITEMS + 1, (4, 9 - t))
        other[:, t] = items[:, t] % ITEMS + 1
        after = encoder(other, lengths, vectors)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-5)
        assert not torch.allclose(after[:, t], before[:, t], atol=1e-3)


@pytest.mark.parametrize("kind", CAUSAL)
def test_training_state_equals_prediction_from_the_prefix(kind: str) -> None:
    encoder, vectors = make(kind)
    items = torch.randint(1, ITEMS + 1, (1, 8))
    states = encoder(items, torch.tensor([8]), vectors)
    for t in range(1, 9):
        alone = encoder.last(items[:, :t], torch.tensor([t]), vectors)
        torch.testing.assert_close(alone, states[:, t - 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_nothing(kind: str) -> None:
    encoder, vectors = make(kind)
    lengths = torch.tensor([3, 9, 1, 6])
    items = torch.zeros(4, 9, dtype=torch.long)
    for row, n in enumerate(lengths.tolist()):
        items[row, :n] = torch.randint(1, ITEMS + 1, (n,))
    together = encoder.last(items, lengths, vectors)
    for row, n in enumerate(lengths.tolist()):
        alone = encoder.last(items[row : row + 1, :n], lengths[row : row + 1], vectors)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_is_that_of_the_whole_row(kind: str, layers: int) -> None:
    """`last` may compute less than `forward` does, never something else."""
    encoder, vectors = make(kind, layers=layers)
    lengths = torch.tensor([3, 8, 1, 0])
    items = torch.randint(1, ITEMS + 1, (4, 8)) * (torch.arange(8) < lengths[:, None])
    rows = torch.arange(4)
    if kind == "bert4rec":
        asked = torch.nn.functional.pad(items, (0, 1))
        asked[rows, lengths] = MASK
        whole = encoder(asked, lengths + 1, vectors)[rows, lengths]
    else:
        whole = encoder(items, lengths, vectors)[rows, (lengths - 1).clamp(min=0)]
        whole[lengths == 0] = 0
    torch.testing.assert_close(encoder.last(items, lengths, vectors), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_reads_the_vectors_of_its_own_items(kind: str) -> None:
    """The lowest and the highest item too; no neighbour's row, no padding's, and [mask] is nobody's."""
    encoder, vectors = make(kind)
    vectors.requires_grad_()
    items, lengths = torch.tensor([[1, ITEMS, 7], [4, 0, 0]]), torch.tensor([3, 1])
    shown = (encoder.last(items, lengths, vectors) * torch.randn(WIDTH)).sum(dim=1)
    for row, own in enumerate(([1, 7, ITEMS], [4])):
        (gradient,) = torch.autograd.grad(shown[row], vectors, retain_graph=True)
        assert (gradient.any(dim=1).nonzero()[:, 0] + 1).tolist() == own


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_row_is_no_nan_and_gives_finite_gradients(kind: str) -> None:
    encoder, vectors = make(kind)
    vectors.requires_grad_()
    items, lengths = torch.tensor([[1, 2], [0, 0]]), torch.tensor([2, 0])
    total = encoder(items, lengths, vectors).sum() + encoder.last(items, lengths, vectors).sum()
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(vectors.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 7, 9])
def test_any_width_works(kind: str, width: int) -> None:
    encoder = ENCODERS[kind](width, TrainConfig(max_length=4, heads=4)).eval()
    state = encoder.last(torch.tensor([[1, 2]]), torch.tensor([2]), torch.randn(3, width))
    assert state.shape == (1, width) and torch.isfinite(state).all()


def test_next_item_examples() -> None:
    encoder, _ = make("sasrec")
    items, lengths, skipped = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([3, 2]), torch.tensor([4, 0])
    got = encoder.examples(items, lengths, skipped, torch.Generator())
    assert got.inputs.tolist() == [[5, 6], [8, 9]]
    assert got.targets.tolist() == [[6, 7], [9, 0]]
    assert got.seen.tolist() == [[5, 6], [1, 2]]


def test_cloze_examples_hide_what_they_ask_for_and_use_only_earlier_events() -> None:
    encoder, _ = make("bert4rec", mask_share=0.3)
    lengths = torch.randint(1, 10, (200,))
    items = torch.where(torch.arange(9) < lengths[:, None], torch.randint(1, ITEMS + 1, (200, 9)), 0)
    skipped = torch.randint(0, 5, (200,))
    got = encoder.examples(items, lengths, skipped, torch.Generator().manual_seed(1))
    masked = got.inputs == MASK
    assert torch.equal(masked, got.targets > 0)
    assert torch.equal(torch.where(masked, got.targets, got.inputs), items)
    assert masked.any(dim=1).all()
    assert torch.equal(got.seen, skipped[:, None] + torch.arange(9))
    last = torch.arange(9) == lengths[:, None] - 1
    long = lengths >= 5
    # Windows with just the last event hidden: a quarter by design, some more by chance.
    assert 0.2 < float((masked == last).all(dim=1)[long].float().mean()) < 0.5
    # The first event is masked like any other.
    assert masked[:, 0].any()


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_the_share_of_masked_events_is_the_one_that_is_set(share: float) -> None:
    encoder, _ = make("bert4rec", mask_share=share)
    length = 100
    items = torch.randint(1, ITEMS + 1, (400, length))
    lengths = torch.full((400,), length)
    got = encoder.examples(
        items, lengths, torch.zeros(400, dtype=torch.long), torch.Generator().manual_seed(2)
    )
    masked = (got.targets > 0).sum(dim=1)
    # A quarter of the windows hides the last event only. Four standard deviations over 30,000 places are 0.012.
    assert float(masked[masked > 1].float().mean()) / length == pytest.approx(share, abs=0.012)


def test_bert4rec_predicts_from_the_prefix_and_its_own_mask() -> None:
    encoder, vectors = make("bert4rec")
    items, lengths = torch.tensor([[3, 4, 5]]), torch.tensor([3])
    state = encoder.last(items, lengths, vectors)
    by_hand = encoder(torch.tensor([[3, 4, 5, MASK]]), torch.tensor([4]), vectors)[:, 3]
    torch.testing.assert_close(state, by_hand)
    encoder.mask_vector.data = torch.randn_like(encoder.mask_vector)
    assert not torch.allclose(encoder.last(items, lengths, vectors), state, atol=1e-3)
