"""What a deck deals: no repeats, every card in its turn, as often as it says, the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.backbones.losses.deck import Deck

COUNTS = torch.tensor([7, 0, 1, 3, 0, 12])


def deck(sampling: str, seed: int = 0, counts: torch.Tensor = COUNTS) -> Deck:
    return Deck(counts, sampling, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_uniform_draw_has_no_repeats_and_no_item_comes_twice_before_all_came_once(
    n_items: int, k: int, rows: list[int]
) -> None:
    dealt = deck("uniform", counts=torch.zeros(n_items, dtype=torch.long))
    got = [dealt.deal(n, k) for n in rows]
    for draw in torch.cat(got).tolist():
        assert len(draw) == len(set(draw)) == min(k, n_items)
    seen = torch.bincount(torch.cat([g.reshape(-1) for g in got]), minlength=n_items)
    assert int(seen.max() - seen.min()) <= 1


def test_popularity_counts_training_events_and_one_more_per_item() -> None:
    dealt = deck("popularity")
    everything = dealt.deal(1, 10**6)[0]
    assert torch.equal(torch.bincount(everything), COUNTS + 1)
    torch.testing.assert_close(dealt.share, (COUNTS + 1).double() / 29)


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
@pytest.mark.parametrize("k", [1, 4])
def test_expected_counts_are_what_is_dealt_on_average(sampling: str, k: int) -> None:
    draws, total = 3000, torch.zeros(len(COUNTS))
    for seed in range(draws):
        total += torch.bincount(deck(sampling, seed).deal(1, k)[0], minlength=len(COUNTS))
    items, log_expected = deck(sampling).draw(1, 10**6)
    expected = log_expected.exp()[0] * k / items.shape[1]
    # A count of k cards without replacement varies less than a Poisson count of the same mean.
    error = 4.5 * (expected / draws).sqrt()
    assert ((total / draws)[items[0]] - expected).abs().le(error).all()


def test_the_seed_repeats_it() -> None:
    one, two, other = deck("popularity", 3), deck("popularity", 3), deck("popularity", 4)
    first = [one.deal(2, 4) for _ in range(3)]
    assert all(torch.equal(a, two.deal(2, 4)) for a in first)
    assert not all(torch.equal(a, other.deal(2, 4)) for a in first)


def test_targets_beside_a_deck_are_added_to_draws_but_not_to_deals() -> None:
    plain, joined = deck("uniform", 5), deck("uniform", 5).beside(torch.tensor([2, 2, 5]))
    assert torch.equal(joined.deal(2, 4), plain.deal(2, 4))
    items, log_expected = joined.draw(2, 4)
    assert items[:, :3].tolist() == [[2, 2, 5]] * 2
    assert torch.equal(items[:, 3:], plain.deal(2, 4))
    by_hand = 2 * COUNTS.double() / COUNTS.sum() + 4 / 6
    torch.testing.assert_close(log_expected.exp(), by_hand[items])
    assert joined.n_items == len(COUNTS)  # which is what gBCE calibrates by
