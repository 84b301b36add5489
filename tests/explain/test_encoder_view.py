"""The view through the encoder: against the definition of Shapley values, and against running the model by hand."""

from __future__ import annotations

import copy
from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch

from guided_refine.errors import InputError
from guided_refine.explain import encoder_view
from guided_refine.explain.encoder_view import AttributeGame, background, past_events, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.runfolder import RunFolder

ITEMS = np.array([3, 17, 40])


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


def test_everything_known_is_the_models_own_score(explainer: Explainer) -> None:
    for user in (0, 5, 9):
        game = AttributeGame(explainer, user, ITEMS)
        own = explainer.model.score(np.array([user]), "test", explainer.dataset)[0][ITEMS - 1]
        np.testing.assert_allclose(game(np.ones((1, game.attributes)))[0], own, rtol=1e-4, atol=1e-5)


def test_an_unknown_attribute_is_the_mean_everywhere_it_goes_in(explainer: Explainer) -> None:
    """By hand: another item table for the history, other scores for the user, the same items to be ranked."""
    user, column = 4, 2
    game = AttributeGame(explainer, user, ITEMS)
    known = np.ones((1, game.attributes))
    known[0, column] = 0
    model = explainer.model.model
    targets = model.table.matrix()[torch.from_numpy(ITEMS) - 1].detach()
    without = copy.deepcopy(model.table)
    with torch.no_grad():
        without.guided[:, column] = without.guided[:, column].mean()
    vectors = without.matrix().detach()
    seen = torch.from_numpy(explainer.seen(user))
    with torch.no_grad():
        state = model.encoder.last(
            seen[None, -model.encoder.context :], torch.tensor([min(len(seen), 8)]), vectors
        )
        users, events = explainer.everyone
        every = model.term.scores(users, events[:, None])[:, 0]
        taste = every[user].clone()
        taste[column] = every[:, column].mean()
        state = state[0] + model.term.of_scores(users[user : user + 1], taste[None, None])[0, 0]
    np.testing.assert_allclose(game(known)[0], (state @ targets.T).numpy(), rtol=1e-4, atol=1e-5)


def shapley(game: AttributeGame) -> np.ndarray:
    """The definition: the mean over all orders of what an attribute adds when it comes in; (items, attributes)."""
    m = game.attributes
    values = 0.0
    for order in permutations(range(m)):
        steps = np.zeros((m + 1, m))
        for n, attribute in enumerate(order):
            steps[n + 1 :, attribute] = 1
        gains = np.diff(game(steps), axis=0)
        values = values + gains[np.argsort(order)].T
    return values / factorial(m)


def test_values_are_those_of_the_definition(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a game of five attributes, the others always known: 120 orders by hand."""

    class Smaller(AttributeGame):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            self.all, self.attributes = self.attributes, 5

        def __call__(self, known: np.ndarray) -> np.ndarray:
            rest = np.ones((len(known), self.all - 5))
            self.attributes = self.all
            try:
                return super().__call__(np.hstack([known, rest]))
            finally:
                self.attributes = 5

    monkeypatch.setattr(encoder_view, "AttributeGame", Smaller)
    found = through_encoder(explainer, 2, ITEMS)
    assert found.exact and found.values.shape == (3, 5)
    np.testing.assert_allclose(found.values, shapley(Smaller(explainer, 2, ITEMS)), rtol=1e-3, atol=1e-6)


def test_they_sum_to_what_the_attributes_did(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = through_encoder(explainer, 7, ITEMS)
    np.testing.assert_allclose(exact.background + exact.values.sum(axis=1), exact.score, rtol=1e-4, atol=1e-5)
    assert exact.exact and np.abs(exact.values).max() > 1e-4
    monkeypatch.setattr(encoder_view, "EXACT", 4)
    drawn = through_encoder(explainer, 7, ITEMS)
    assert not drawn.exact
    np.testing.assert_allclose(drawn.values.sum(axis=1), exact.values.sum(axis=1), rtol=1e-3, atol=1e-6)
    # Drawn orders come near the exact values.
    assert np.corrcoef(drawn.values.ravel(), exact.values.ravel())[0, 1] > 0.95
    again = through_encoder(explainer, 7, ITEMS)
    np.testing.assert_array_equal(drawn.values, again.values)


def test_an_event_left_out_is_a_history_without_it(explainer: Explainer) -> None:
    user = 3
    found = past_events(explainer, user, ITEMS)
    seen = explainer.seen(user)
    model = explainer.model.model
    context = model.encoder.context
    assert found.events.tolist() == seen[-context:].tolist()
    with torch.no_grad():
        term = model.term(explainer.model_user(user), torch.tensor([[len(seen)]]))[0, 0].numpy()
    for t in range(len(found.events)):
        place = len(seen) - len(found.events) + t
        without = np.concatenate([seen[:place], seen[place + 1 :]])[-context:]
        with torch.no_grad():
            vectors = model.table.matrix()
            state = model.encoder.last(torch.from_numpy(without)[None], torch.tensor([len(without)]), vectors)
        score = (state[0].numpy() + term) @ explainer.model.item_vectors()[ITEMS - 1].T
        np.testing.assert_allclose(found.score - found.values[:, t], score, rtol=1e-4, atol=1e-5)


def test_small_batches_change_nothing(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    game = AttributeGame(explainer, 1, ITEMS)
    known = (np.random.default_rng(0).random((50, game.attributes)) > 0.5).astype(float)
    whole, past = game(known), past_events(explainer, 1, ITEMS).values
    monkeypatch.setattr(encoder_view, "BATCH_ELEMENTS", 300)
    np.testing.assert_allclose(game(known), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(past_events(explainer, 1, ITEMS).values, past, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("items", [[], [0], [41]])
def test_items_that_are_none_are_refused(explainer: Explainer, items: list[int]) -> None:
    with pytest.raises(InputError, match="numbers from 1 to 40"):
        through_encoder(explainer, 0, np.array(items))


def test_interactions_are_those_of_the_definition() -> None:
    """Shapley-Taylor of order two, on a game with a known table: the mean over orders of what the later of two adds."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=16)

    class Table(AttributeGame):
        def __init__(self) -> None:
            self.attributes, self.items = 4, np.array([1])

        def __call__(self, known: np.ndarray) -> np.ndarray:
            return table[(np.asarray(known) > 0.5).astype(int) @ [1, 2, 4, 8]][:, None]

    found = encoder_view.interactions(Table())[0]
    value = lambda some: table[sum(1 << a for a in some)]  # noqa: E731
    expected = np.zeros((4, 4))
    for order in permutations(range(4)):
        for a in range(4):
            expected[a, a] += (value([a]) - value([])) / factorial(4)
            for b in range(4):
                if a != b:
                    # Half of the pair's index stands on either side of the diagonal.
                    before = order[: min(order.index(a), order.index(b))]
                    both = value([*before, a, b]) - value([*before, a]) - value([*before, b]) + value(before)
                    expected[a, b] += both / factorial(4) / 2
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert found.sum() == pytest.approx(table[-1] - table[0])


def test_other_targets_use_the_same_states(explainer: Explainer) -> None:
    game = AttributeGame(explainer, 3, ITEMS)
    first = encoder_view.shares(game)
    runs = len(game._known)
    turned = game.beside(2 * game.targets[[2, 0]])
    np.testing.assert_allclose(encoder_view.shares(turned), 2 * first[[2, 0]], rtol=1e-4, atol=1e-5)
    assert len(game._known) == runs and game.targets.shape[0] == 3


def test_what_is_taken_away_is_what_enters(finished: RunFolder, silent: RunFolder) -> None:
    assert background(Explainer.open(finished.root)).endswith("and the mean over users in the user's scores")
    assert background(Explainer.open(silent.root)).endswith("in the history's items")
