from __future__ import annotations

import numpy as np
import pytest
from toy_catalog import attributes, catalog

from guided_refine.scoring.builtin.bag_of_words import bag_of_words, count_words, pole_words
from guided_refine.scoring.builtin.teacher import digit_distributions, weak_labels


def test_direction_and_ties_of_plain_evidence() -> None:
    texts = ["jokes, laughter and jokes", "a joke", "a tram", "a grave tram", "solemn and grave"]
    counts = bag_of_words(texts, attributes())[:, 0]
    assert counts.tolist() == [3, 1, 0, -1, -2]
    labels = weak_labels(texts, attributes())
    assert (np.diff(labels.value[:, 0]) < 0).all()
    assert np.ptp(labels.value[:, 1]) == 0, "nobody says anything about speed: all tie"


def test_a_negated_pole_word_counts_the_other_way() -> None:
    labels = weak_labels(["full of jokes", "a tram", "no jokes at all"], attributes())
    assert labels.value[0, 0] > labels.value[1, 0] > labels.value[2, 0]


def test_words_of_both_poles_count_for_nothing() -> None:
    both = attributes().model_copy(
        update={"attributes": (attributes().attributes[0].model_copy(update={"low": "grave jokes"}),)}
    )
    counts = count_words(["jokes"])
    assert pole_words(both, counts.vocabulary).tolist() == [[0.0]]


def test_company_of_pole_words_tells_apart_items_that_use_none() -> None:
    texts, funny = catalog()
    silent = np.array([t.startswith("plain") for t in texts])
    labels = weak_labels(texts, attributes()).value[:, 0]
    assert labels[silent & funny].mean() > labels[silent & ~funny].mean() + 0.25
    assert np.ptp(bag_of_words(texts, attributes())[silent, 0]) == 0


def test_labels_do_not_depend_on_the_order_of_the_attributes() -> None:
    texts, _ = catalog()
    backwards = attributes().model_copy(update={"attributes": attributes().attributes[::-1]})
    np.testing.assert_allclose(
        weak_labels(texts, attributes()).value, weak_labels(texts, backwards).value[:, ::-1], rtol=0, atol=0
    )


def test_confidence_is_nothing_without_text_and_more_with_pole_words() -> None:
    texts, _ = catalog()
    confidence = weak_labels([*texts, ""], attributes()).confidence
    assert (confidence[-1] == 0).all() and ((confidence >= 0) & (confidence <= 1)).all()
    spoken = np.array([not t.startswith("plain") for t in texts])
    assert confidence[:-1][spoken, 0].mean() > confidence[:-1][~spoken, 0].mean()


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0])
def test_digit_distributions_are_centred_and_wider_when_unsure(value: float) -> None:
    sure = digit_distributions(np.array(value), np.array(1.0))
    unsure = digit_distributions(np.array(value), np.array(0.0))
    assert sure.sum() == pytest.approx(1) and unsure.sum() == pytest.approx(1)
    assert np.argmax(sure) + 1 == pytest.approx(1 + 8 * value, abs=0.5)
    assert -(unsure * np.log(unsure)).sum() > -(sure * np.log(sure + 1e-300)).sum()
