"""Proposed attributes: known topics come back, doubles go, and every proposal is a set that a model can score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from guided_refine.cli import main
from guided_refine.errors import InputError
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.builtin.bag_of_words import bag_of_words
from guided_refine.scoring.builtin.given_scores import read_given
from guided_refine.scoring.propose import propose_attributes, topic_scores

TOPICS = {
    "fishing": "rod reel bait hook angler trout",
    "baking": "flour oven dough yeast pastry sugar",
    "music": "guitar amplifier string chord pedal tuner",
    "garden": "seed soil spade pot compost watering",
}


def catalog(per_topic: int = 30, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of one topic each, with words that all share, and their topics."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for label, words in enumerate(TOPICS.values()):
        for _ in range(per_topic):
            own = rng.choice(words.split(), size=4, replace=False)
            texts.append(f"A fine product for the home: {' '.join(own)}.")
            labels.append(label)
    order = rng.permutation(len(texts))
    return [texts[i] for i in order], np.array(labels)[order]


def test_known_topics_come_back() -> None:
    texts, labels = catalog()
    proposal = propose_attributes(texts, 4)
    found = []
    for topic in proposal.topics:
        owners = {
            name
            for name, words in TOPICS.items()
            if set(topic.attribute.high.lower().strip(".").split(", ")[:4]) <= set(words.split())
        }
        assert len(owners) == 1, topic.attribute.high
        found.append(owners.pop())
        assert len({labels[i] for i in topic.examples}) == 1
        assert topic.share == pytest.approx(0.25, abs=0.02)
    assert sorted(found) == sorted(TOPICS)


def test_what_is_proposed_tells_its_items_from_others() -> None:
    """Counting pole words, as the builtin model's teacher does, ranks the items of a topic first."""
    texts, labels = catalog()
    proposal = propose_attributes(texts, 4)
    counted = bag_of_words(texts, proposal.attribute_set("shop"))
    for column, topic in enumerate(proposal.topics):
        own = labels == labels[topic.examples[0]]
        assert counted[own, column].min() > counted[~own, column].max()


def test_the_same_texts_give_the_same_and_order_does_not_matter() -> None:
    texts, _ = catalog()
    first = propose_attributes(texts, 4).attribute_set("shop")
    assert propose_attributes(texts, 4).attribute_set("shop") == first
    assert set(propose_attributes(texts[::-1], 4).attribute_set("shop").names) == set(first.names)


def test_doubles_are_left_out() -> None:
    texts, _ = catalog()
    many = propose_attributes(texts, 6)
    assert len(many.topics) <= 6 and len({t.attribute.name for t in many.topics}) == len(many.topics)
    # Each text twice over, in other words that always come along: no topic more.
    twice = [f"{text} {' '.join(w + 'ish' for w in text[30:].strip('.').split())}" for text in texts]
    assert len(propose_attributes(twice, 4).topics) == 4


def test_empty_texts_are_no_topic_and_examples_are_rows_of_the_catalog() -> None:
    texts, _ = catalog()
    spaced = [t for text in texts for t in ("", text)]
    proposal = propose_attributes(spaced, 4)
    assert proposal.texts == len(texts)
    assert all(i % 2 == 1 and spaced[i] for topic in proposal.topics for i in topic.examples)


def test_weights_tell_the_texts_of_a_topic_and_are_none_where_there_is_no_text() -> None:
    texts, labels = catalog()
    spaced = ["", *texts]
    proposal = propose_attributes(spaced, 4)
    assert not proposal.weights[0].any() and proposal.weights.shape == (len(spaced), 4)
    own = np.array([labels[topic.examples[0] - 1] for topic in proposal.topics])
    assert (own[proposal.weights[1:].argmax(axis=1)] == labels).all()
    table = topic_scores(proposal, [f"i{n}" for n in range(len(spaced))])
    assert table["value"].between(0, 1).all() and not table.duplicated(["item_id", "attribute"]).any()
    wide = table.pivot(index="item_id", columns="attribute", values="value")
    for column, topic in enumerate(proposal.topics):
        scores = wide.loc[[f"i{n}" for n in range(len(spaced))], topic.attribute.name].to_numpy()
        assert spearmanr(scores, proposal.weights[:, column])[0] > 0.99


def test_letters_in_disguise_and_words_with_apostrophes() -> None:
    fancy = ["𝐁𝐎𝐎𝐊 𝐒𝐄𝐓", "hammer nail steel"] * 5
    assert propose_attributes(fancy, 2).attribute_set("shop").names
    texts = ["I don't have a lamp, it isn't a lamp", "doesn't rock: a chair", "the cook's pan &amp; pot"] * 4
    said = " ".join(t.attribute.high.lower() for t in propose_attributes(texts, 3).topics)
    assert not {"don", "doesn", "isn", "amp"} & set(said.replace(",", " ").replace(".", " ").split())
    assert propose_attributes(["लाल किताब", "नीला कपड़ा"] * 5, 2).topics


def test_the_same_text_over_and_over_is_one_topic() -> None:
    assert len(propose_attributes(["apple pie"] * 9, 2).topics) == 1


def test_other_scripts_get_a_name_that_a_column_may_have() -> None:
    texts = ["синий чайник вода", "чайник вода кипит", "белый хлеб мука", "мука хлеб печь"] * 5
    proposal = propose_attributes(texts, 2)
    assert {t.attribute.name for t in proposal.topics} == {"topic_1", "topic_2"}
    assert any("чайник" in t.attribute.high.lower() for t in proposal.topics)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(alphabet="abcdefgh é;'\"\n", max_size=40), max_size=30),
    st.integers(min_value=1, max_value=5),
)
def test_whatever_the_texts_say_it_is_a_valid_set_or_one_sentence(texts: list[str], count: int) -> None:
    try:
        proposal = propose_attributes(texts, count)
    except InputError as error:
        assert "text" in str(error)
        return
    found = proposal.attribute_set("shop")
    assert 1 <= len(found.attributes) <= count
    assert all(0 <= t.share <= 1 and t.examples for t in proposal.topics)


def test_from_the_command_line(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    command = ["attributes", "propose", str(small_run), "--count", "4", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    found = load_attributes(out)
    assert found.domain == "mine" and all(name in said for name in found.names)
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "two.yaml"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in answer["attributes"]] == found.names
    assert main([*command[:4], "99", "--out", str(tmp_path / "three.yaml")]) == 2
    assert "a set holds 1 to 64" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "four.txt")]) == 2
    table = tmp_path / "topics.parquet"
    assert main([*command[:-1], str(tmp_path / "five.yaml"), "--scores", str(table)]) == 0
    read_given(table).check(load_attributes(tmp_path / "five.yaml"))
    capsys.readouterr()
    for scores, sentence in ((table, "is there already"), (tmp_path / "topics.txt", "must end in .parquet")):
        assert main([*command[:-1], str(tmp_path / "six.yaml"), "--scores", str(scores)]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "six.yaml").exists()


def test_the_sets_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attributes", "list"]) == 0
    assert "office_products" in capsys.readouterr().out
    assert main(["attributes", "list", "--json"]) == 0
    assert {"name", "attributes"} == set(json.loads(capsys.readouterr().out)[0])
