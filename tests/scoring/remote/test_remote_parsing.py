"""Answers become digits and distributions; what is doubtful is None, and nothing that a server sends raises."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.scoring.remote.parsing import (
    Reading,
    digit_places,
    read_json,
    read_lines,
    read_logprobs,
    soft_score,
)
from guided_refine.scoring.slots import soft_scores
from guided_refine.tuning.generation import well_formed

LABELS = ["humour", "story depth", "pace"]


def digits(readings: list[Reading | None] | None) -> list[int | None]:
    assert readings is not None
    return [None if r is None else int(r.probability.argmax()) + 1 for r in readings]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("humour: 3\nstory depth: 7\npace: 9", [3, 7, 9]),
        ("humour:3\nstory depth :  7\npace: 9  \n", [3, 7, 9]),
        ("Here you are:\n\n- **Humour**: 3\n- **Story depth:** 7\n- *pace*: 9/9", [3, 7, 9]),
        ("1. humour: 3 (dry)\n2. story_depth: 7 - it is rich\n3. PACE = 9.", [3, 7, 9]),
        ("| humour | 3 |\n| story depth | 7 |\n| pace | 9 |", [3, 7, 9]),
        ("pace: 9\nstory depth: 7\nhumour: 3", [3, 7, 9]),
        ("<think>humour: 1?\nmaybe</think>humour: 3\nstory depth: 7\npace: 9", [3, 7, 9]),
        ("<think>humour: 1\nstory depth: 1", [None, None, None]),
        ("humour: 0\nstory depth: 10\npace: 7.5", [None, None, None]),
        ("humour: 3\nhumour: 4\npace: 9\npace: 9", [None, None, 9]),
        ("humour: 1 = none; 9 = full\nstory depth: 3-7\npace: 2 or 3", [None, None, None]),
        ("dark humour: 3\nstory: 7\nspace: 9", [None, None, None]),
        ("", [None, None, None]),
    ],
)
def test_lines(answer: str, expected: list[int | None]) -> None:
    assert digits(read_lines(answer, LABELS)) == expected


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.integers(-2, 12)), max_size=6),
    st.sampled_from(["{}: {}", " {} :{} ", "{}:  {}"]),
)
def test_reads_whatever_the_tuning_counts_as_well_formed(lines: list[tuple[str, int]], form: str) -> None:
    answer = "\n".join(form.format(label, digit) for label, digit in lines)
    places = digit_places(answer, LABELS)
    for n, label in enumerate(LABELS):
        told = {digit for name, digit in lines if name == label and 1 <= digit <= 9}
        assert places[n] is None or int(answer[places[n] or 0]) in told
        assert (places[n] is not None) == (len(told) == 1)
    if len({name for name, _ in lines}) == len(lines):
        assert well_formed(answer, LABELS) <= sum(place is not None for place in places)


def plain_places(answer: str, labels: list[str]) -> list[int | None]:
    """`digit_places` by one plain pattern, which takes a time that grows with the square of some answers."""
    places: list[int | None] = []
    for label in labels:
        words = "[ _-]+".join(label.split())
        line = (
            rf"^[\s>*•|\-–\d.)\]\"'`]*?[*_\"'`]*{words}[*_\"'`|]*\s*[:=|][\s*_\"'`|]*([1-9])"
            r"(?:\s*/\s*9)?(?=[\s*_`|.,;)\]]*(?:$|[ \t]+[-–—(]))"
        )
        found = list(re.finditer(line, answer, re.IGNORECASE | re.MULTILINE))
        places.append(found[0].start(1) if len({match.group(1) for match in found}) == 1 else None)
    return places


BEFORE = ["", "- **", "_*", "*_'", "1.\t", "| ", "\n\n", "x", "_-"]
TO_DIGIT = [":", " : ", "**:", ":**\n", "|", " | ", "\n:\n", "*=", "::", "|:", ":|", " x:", "_"]
BEHIND = ["", "/9", " / 9.", "\n/8", " - x", "- x", ".5", " x", "  \n", "** (", "0"]
LINES = [
    "".join(pieces)
    for pieces in itertools.product(BEFORE, ["pace", "Story_depth", "story"], TO_DIGIT, "3", BEHIND)
]
SIGNS = st.text(" \n\t*_|:=./-–(),;>\"'`x9", max_size=4)


def test_a_line_is_found_as_one_plain_pattern_finds_it() -> None:
    labels = ["pace", "story depth"]
    for line in LINES:
        assert digit_places(line, labels) == plain_places(line, labels), line


@given(st.lists(st.sampled_from(LINES) | SIGNS, max_size=4), st.sampled_from(["\n", " ", "", "4\n"]))
def test_lines_are_found_as_one_plain_pattern_finds_them(lines: list[str], between: str) -> None:
    answer, labels = between.join(lines), ["pace", "story depth", "story"]
    assert digit_places(answer, labels) == plain_places(answer, labels)


@pytest.mark.parametrize(
    "filling", ["\n", "*", "_", "|", " ", "1. ", "pace", "pace: 3 ", "pace|\n", "I think.\n"]
)
@pytest.mark.parametrize("start", ["", "pace", "pace:", "pace: 3", "pace: 3 /"])
def test_a_megabyte_of_thoughts_is_read(start: str, filling: str) -> None:
    """Read again from each of its places, most of these would take many minutes."""
    thoughts = start + filling * (1_000_000 // len(filling))
    answer = f"{thoughts}x\nhumour: 3\nstory depth: 7\n"
    assert digits(read_lines(answer, LABELS))[:2] == [3, 7]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"humour": 3, "story_depth": 7, "pace": 9}', [3, 7, 9]),
        ('```json\n{"Humour": "3", "story depth": 7.0, "pace": 9, "more": {}}\n```', [3, 7, 9]),
        ('<think>{"humour": 1}</think>Sure! {"humour": 3, "story-depth": 7, "pace": 9} Bye', [3, 7, 9]),
        ('{"humour": 0, "story_depth": 10, "pace": 7.5}', [None, None, None]),
        ('{"humour": true, "story_depth": null, "pace": [9]}', [None, None, None]),
        ('[3, 7, 9] {broken {"pace": 9}', [None, None, 9]),
        ('{"humour": 3, "story_de', [None, None, None]),
        ('{"humour": NaN, "pace": 1e400}', [None, None, None]),
        ("[" * 100_000, [None, None, None]),
        ('{"a":' * 100_000, [None, None, None]),
    ],
)
def test_json(answer: str, expected: list[int | None]) -> None:
    assert digits(read_json(answer, ["humour", "story_depth", "pace"])) == expected


def token(text: str, logprob: float = -0.1, others: dict[str, float] | None = None) -> dict[str, Any]:
    named = {text: logprob, **(others or {"?": -5.0})}
    return {
        "token": text,
        "logprob": logprob,
        "top_logprobs": [{"token": t, "logprob": value} for t, value in named.items()],
    }


def test_log_probabilities_are_renormalised_over_the_digits_returned() -> None:
    content = [
        token("humour"),
        token(":"),
        token(" 3", math.log(0.4), {" 5": math.log(0.2), " the": math.log(0.3)}),
    ]
    reading = (read_logprobs(content, ["humour"]) or [None])[0]
    assert reading is not None
    assert reading.probability == pytest.approx(np.array([0, 0, 2, 0, 1, 0, 0, 0, 0]) / 3)
    assert reading.mass == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("pieces", "place"),
    [
        (["humour", ":", " ", "3"], 3),
        (["hum", "our:", " 3", "\n"], 2),
        (["humour", ": 3"], 1),
        (["\u2581humour", ":", "\u25813", "\n"], 2),
        (["humour", ":", "\u01203", "\u010a"], 2),
        (["**humour", "**:", " 3\n"], 2),
        (["<think>humour: 9</think>", "humour", ":", " 3"], 3),
    ],
)
def test_the_digit_is_found_however_tokens_are_cut(pieces: list[str], place: int) -> None:
    content = [token(piece) for piece in pieces]
    content[place] = token(
        pieces[place], math.log(0.5), {pieces[place].replace("3", "8"): math.log(0.25), "9x": math.log(0.1)}
    )
    reading = (read_logprobs(content, ["humour"]) or [None])[0]
    assert reading is not None
    assert reading.probability[[2, 7]] == pytest.approx([2 / 3, 1 / 3])
    assert reading.mass == pytest.approx(0.75)


def test_the_chosen_digit_counts_where_a_server_leaves_it_out_of_the_alternatives() -> None:
    chosen = token(" 3", math.log(0.2), {" 4": math.log(0.6), " 5": math.log(0.2)})
    chosen["top_logprobs"] = chosen["top_logprobs"][1:]
    reading = (read_logprobs([token("humour"), token(":"), chosen], ["humour"]) or [None])[0]
    assert reading is not None
    assert reading.probability[2:5] == pytest.approx([0.2, 0.6, 0.2])


def test_very_unlikely_digits_do_not_underflow() -> None:
    content = [token("humour"), token(":"), token(" 3", -9999.0, {" 4": -9999.0, " 5": -math.inf})]
    reading = (read_logprobs(content, ["humour"]) or [None])[0]
    assert reading is not None and reading.probability[2:5] == pytest.approx([0.5, 0.5, 0.0])


def test_no_log_probabilities_is_another_thing_than_an_unreadable_answer() -> None:
    assert read_logprobs(None, LABELS) is None
    assert read_logprobs([], LABELS) is None
    assert read_logprobs([{"token": "humour: 3", "logprob": -0.1, "top_logprobs": []}], LABELS) is None
    assert read_logprobs([{"token": "x", "logprob": float("nan")}], LABELS) is None
    assert read_logprobs([token("no"), token(" idea")], LABELS) == [None, None, None]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["token", "humour: 3", " 3"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "logprob", "top_logprobs", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JUNK, st.text(max_size=60))
def test_junk_never_raises(junk: Any, text: str) -> None:
    readings = read_logprobs(junk, LABELS)
    assert readings is None or len(readings) == 3
    assert len(read_lines(text, LABELS)) == 3
    assert len(read_json(text, LABELS)) == len(read_json(json.dumps(junk), LABELS)) == 3


@given(st.lists(st.floats(-8, 8), min_size=9, max_size=9))
def test_a_score_is_the_same_number_as_on_this_machine(logits: list[float]) -> None:
    tensor = torch.tensor(logits)
    value, spread = soft_scores(tensor)
    ours = soft_score(torch.softmax(tensor.double(), -1).numpy())
    assert ours == pytest.approx((value.item(), spread.item()), abs=2e-6)
