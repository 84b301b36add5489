"""One item through the encoder, told: the view's own numbers, each in its words, whatever the history is."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from guided_refine.errors import InputError
from guided_refine.explain.encoder_answer import EVENTS, encoder_answer, encoder_lines, strongest
from guided_refine.explain.encoder_view import past_events, through_encoder
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.newcomer import NOBODY, Newcomer
from guided_refine.explain.text import explanation
from guided_refine.runfolder import RunFolder

USER = 6


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


def first(explainer: Explainer, user: int) -> int:
    return int(explainer.contributions(user).top(1, explainer.seen(user))[0])


def test_it_holds_both_views_and_every_past_event(explainer: Explainer) -> None:
    item = first(explainer, USER)
    answer = encoder_answer(explainer, USER, item)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    listed = explanation(explainer, f"u{USER}", k=1)["recommendations"][0]
    assert (answer["item_id"], answer["rank"]) == (listed["item_id"], 1)
    assert answer["score"] == pytest.approx(listed["score"], rel=1e-4)
    assert [part["direct"] for part in answer["attributes"]] == pytest.approx(
        [part["lift"] for part in listed["parts"][1:]]
    )
    view = through_encoder(explainer, USER, np.array([item]))
    values = [part["value"] for part in answer["attributes"]]
    assert values == pytest.approx(view.values[0].tolist())
    assert answer["background"] + sum(values) == pytest.approx(answer["score"], rel=1e-4, abs=1e-5)
    expected = spearmanr(values, [part["direct"] for part in answer["attributes"]]).statistic
    assert answer["agreement"] == pytest.approx(expected)
    past = past_events(explainer, USER, np.array([item]))
    ids = explainer.dataset.item_ids
    assert [event["item_id"] for event in answer["events"]] == [str(ids[i - 1]) for i in past.events]
    assert [event["value"] for event in answer["events"]] == pytest.approx(past.values[0].tolist(), abs=1e-6)


def test_the_rank_without_an_event_is_that_of_a_shorter_history(explainer: Explainer) -> None:
    """By hand: the encoder on the history without the event, the same user term, and a count of who is ahead."""
    item, seen = first(explainer, USER), explainer.seen(USER)
    answer = encoder_answer(explainer, USER, item)
    model, term = explainer.model.model, explainer.user_term(USER)
    context = model.encoder.context
    assert len(answer["events"]) == min(len(seen), context)
    vectors = model.table.matrix().detach()
    for place, event in enumerate(answer["events"]):
        left = np.delete(seen, len(seen) - len(answer["events"]) + place)[-context:]
        with torch.no_grad():
            state = model.encoder.last(torch.from_numpy(left)[None], torch.tensor([len(left)]), vectors)[0]
        score = explainer.vectors @ (explainer.read(state.numpy()) + term)
        ahead = [i for i in range(1, len(score) + 1) if i not in seen and score[i - 1] > score[item - 1]]
        assert event["rank"] == 1 + len(ahead)
        assert score[item - 1] == pytest.approx(answer["score"] - event["value"], abs=1e-4)


def test_every_sentence_has_its_numbers(explainer: Explainer) -> None:
    answer = encoder_answer(explainer, USER, first(explainer, USER))
    about, past, agreement = answer["sentences"]
    told = [float(number) for number in re.findall(r"([+-]\d+\.\d+) from", about)]
    assert sum(told) == pytest.approx(answer["score"] - answer["background"], abs=0.003)
    assert f"{answer['background']:.3f} instead of {answer['score']:.3f}" in about
    most = max(answer["events"], key=lambda event: abs(event["value"]))
    assert most["title"] in past and f"would be {answer['score'] - most['value']:.3f} instead of" in past
    assert f"the rank {most['rank']} " in past
    assert f"{answer['agreement']:+.2f}" in agreement
    text = "\n".join(encoder_lines(answer))
    assert all(f"{part['value']:+.3f}" in text and part["label"] in text for part in answer["attributes"])
    assert "mean over users" in text


def test_those_that_do_most_are_few_and_the_newest_of_equals() -> None:
    events = [{"value": 0.01 * n, "place": n} for n in range(30)] + [{"value": -0.29, "place": 30}]
    shown = strongest(events)
    assert len(shown) == EVENTS and [event["place"] for event in shown[:3]] == [30, 29, 28]


def test_a_history_of_one_event(explainer: Explainer) -> None:
    known = explainer.dataset.split.n_known.copy()
    known[USER] = 1
    data = replace(explainer.dataset, split=replace(explainer.dataset.split, n_known=known))
    other = Explainer(explainer.folder, explainer.config, data, explainer.backbone, explainer.model, 0)
    answer = encoder_answer(other, USER, first(other, USER))
    assert len(answer["events"]) == 1 and "Of 1 event that the model reads" in answer["sentences"][1]
    known[USER] = 0
    with pytest.raises(InputError, match=f"user 'u{USER}' has no events"):
        encoder_answer(other, USER, 3)


def test_somebody_new_is_answered_too(explainer: Explainer) -> None:
    newcomer = Newcomer(explainer, ["i3", "i11", "i7"])
    answer = encoder_answer(newcomer, NOBODY, first(newcomer, NOBODY))
    assert (
        answer["score"] == pytest.approx(newcomer.contributions(NOBODY).score.max(), rel=1e-4)
        or answer["rank"] == 1
    )
    assert [event["item_id"] for event in answer["events"]] == ["i3", "i11", "i7"]
