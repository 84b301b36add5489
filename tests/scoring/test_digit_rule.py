"""Hard and calibrated scores: equal to a naive computation, under keys of their own, and the usual ones as ever."""

from __future__ import annotations

import functools
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_attributes, make_dataset, naive_logits

from guided_refine.config import LLMOptions
from guided_refine.config_file import parse_config
from guided_refine.errors import InputError
from guided_refine.scoring.digit_rule import DigitRule
from guided_refine.scoring.histories import HistoryTexts
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import Kind, PromptPlan, build_prompt, tokenise_text
from guided_refine.scoring.scorer import ScoringSummary, score_dataset
from guided_refine.scoring.scores import AttributeScores
from guided_refine.scoring.store import ScoreStore
from guided_refine.scoring.store.clearing import Reference, clear

SOFT = LLMOptions(text_tokens=40, event_tokens=8, history_events=6, snapshots=3, batch_tokens=1500)
HARD = SOFT.model_copy(update={"digits": "hard"})
CALIBRATED = SOFT.model_copy(update={"calibration": "content_free"})
RULES = {
    "soft": SOFT,
    "hard": HARD,
    "calibrated": CALIBRATED,
    "hard calibrated": CALIBRATED.model_copy(update={"digits": "hard"}),
}


def scored(
    lm: LanguageModel, store: ScoreStore, options: LLMOptions, names: tuple[str, ...] = ()
) -> tuple[AttributeScores, ScoringSummary]:
    return score_dataset(lm, make_dataset(), make_attributes(*names), options, store, source="untuned")


def naive_digits(lm: LanguageModel, plan: PromptPlan, text: list[int], a: int) -> np.ndarray:
    """Probabilities of the nine digits, by one plain forward and in double precision."""
    with torch.no_grad():
        every = naive_logits(lm.model, plan, text, a)[plan.digits].double().numpy()
    raw = np.exp(every - every.max())
    return np.asarray(raw / raw.sum())


@functools.cache
def naive_prior(lm: LanguageModel, kind: Kind, a: int) -> np.ndarray:
    plan = build_prompt(lm.tokenizer, make_attributes(), kind)
    nothing = [tokenise_text(lm.tokenizer, said, 40)[0] for said in ("", "N/A", "[MASK]")]
    return np.asarray(np.mean([naive_digits(lm, plan, ids, a) for ids in nothing], axis=0))


def naive_score(
    lm: LanguageModel, plan: PromptPlan, text: list[int], a: int, options: LLMOptions
) -> tuple[float, float]:
    p = naive_digits(lm, plan, text, a)
    if options.calibration == "content_free":
        p = p / naive_prior(lm, plan.kind, a)
        p = p / p.sum()
    digit = np.arange(9) / 8
    mean = p @ digit
    return (p.argmax() / 8 if options.digits == "hard" else mean), np.sqrt(p @ (digit - mean) ** 2)


@pytest.mark.parametrize("rule", ["hard", "calibrated", "hard calibrated"])  # soft: test_scorer.py
def test_every_score_equals_the_naive_one(rule: str, stories: LanguageModel, store: ScoreStore) -> None:
    options, dataset = RULES[rule], make_dataset()
    scores, _ = scored(stories, store, options)
    plan = build_prompt(stories.tokenizer, make_attributes(), "item")
    for item in (0, 9):
        text, _ = tokenise_text(stories.tokenizer, dataset.texts[item], options.text_tokens)
        for a in range(4):
            expected = naive_score(stories, plan, text, a, options)
            found = scores.item_value[item, a], scores.item_spread[item, a]
            assert found == pytest.approx(expected, abs=1e-5)
    plan = build_prompt(stories.tokenizer, make_attributes(), "user")
    texts = HistoryTexts(stories.tokenizer, dataset, options, 1000)
    for row in (0, len(scores.users.user) - 1):
        text = texts.tokens(int(scores.users.user[row]), int(scores.users.position[row]))
        found = scores.users.value[row, 2], scores.users.spread[row, 2]
        assert found == pytest.approx(naive_score(stories, plan, text, 2, options), abs=1e-5)


def test_calibration_changes_more_than_the_level(stories: LanguageModel, store: ScoreStore) -> None:
    """A level alone would go with the normalisation over the catalog."""
    plain, _ = scored(stories, store, SOFT)
    calibrated, _ = scored(stories, store, CALIBRATED)
    shift = calibrated.item_value - plain.item_value
    assert (shift.std(axis=0) > 1e-3).all()
    assert np.abs(calibrated.item_spread - plain.item_spread).max() > 0.01


def test_calibrated_scores_do_not_depend_on_company(stories: LanguageModel, tmp_path: Path) -> None:
    answers = []
    for number, (names, budget) in enumerate(
        [((), 1500), ((), 64), (("romance", "humour"), 8192), (("humour",), 300)]
    ):
        options = CALIBRATED.model_copy(update={"batch_tokens": budget})
        with ScoreStore(tmp_path / f"{number}.sqlite") as store:
            scores, _ = scored(stories, store, options, names)
        column = scores.attributes.index("humour")
        answers.append([scores.item_value[:, column], scores.users.value[:, column]])
    for other in answers[1:]:
        for one, two in zip(answers[0], other, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)


def rows(store: ScoreStore) -> dict[tuple[str, str], tuple[float, float | None, int]]:
    with sqlite3.connect(store.name) as file:
        found = file.execute(
            "SELECT t.hash, a.sha256, s.value, s.spread, s.time FROM scores s "
            "JOIN texts t ON s.text = t.id JOIN attributes a ON s.attribute = a.id"
        ).fetchall()
    return {(text.hex(), attribute): tuple(rest) for text, attribute, *rest in found}  # type: ignore[misc]


def test_rules_share_a_store_and_leave_each_others_scores(stories: LanguageModel, store: ScoreStore) -> None:
    usual, first = scored(stories, store, SOFT)
    kept = rows(store)
    counted = {}
    for rule, options in RULES.items():
        scores, summary = scored(stories, store, options)
        assert (summary.scored == 0) == (rule == "soft"), rule
        again, second = scored(stories, store, options)
        assert second.passes == 0 and second.from_store == first.scored
        np.testing.assert_array_equal(scores.item_value, again.item_value)
        counted[rule] = set(summary.attribute_keys)
    # Items' and users' keys of each rule, and none of them another's; beside hard scores lie the soft ones.
    for rule in ("soft", "calibrated"):
        hard = "hard" if rule == "soft" else "hard calibrated"
        assert counted[hard] > counted[rule]
        counted[hard] -= counted[rule]
    assert {len(keys) for keys in counted.values()} == {len(counted["soft"])}
    assert len(set.union(*counted.values())) == sum(map(len, counted.values()))
    now = rows(store)
    assert {key: now[key] for key in kept} == kept
    assert len(now) == 4 * len(kept)
    np.testing.assert_array_equal(scored(stories, store, SOFT)[0].item_value, usual.item_value)


def test_the_usual_rule_keeps_the_keys_of_stores_and_runs(stories: LanguageModel, store: ScoreStore) -> None:
    """Scores and runs made before there was a choice are found: nothing is hashed that was not hashed then."""
    _, summary = scored(stories, store, SOFT)
    plans = [build_prompt(stories.tokenizer, make_attributes(), kind) for kind in ("item", "user")]
    assert summary.attribute_keys == [plan.attribute_sha256(a) for plan in plans for a in range(4)]
    assert {a for _, a in rows(store)} == set(summary.attribute_keys)
    assert not {"digits", "calibration"} & set(LLMOptions().model_dump())
    assert LLMOptions(digits="hard").model_dump()["digits"] == "hard"
    written = LLMOptions(calibration="content_free").model_dump(mode="json")
    assert LLMOptions.model_validate(written).calibration == "content_free" and "digits" not in written
    default = parse_config({"name": "a"})
    assert parse_config({"name": "a", "llm_options": {"digits": "soft"}}).sha256 == default.sha256
    assert parse_config({"name": "a", "llm_options": {"digits": "hard"}}).sha256 != default.sha256


def test_soft_scores_lie_beside_the_hard_ones(
    stories: LanguageModel, store: ScoreStore, tmp_path: Path
) -> None:
    hard, _ = scored(stories, store, HARD)
    soft, summary = scored(stories, store, SOFT)
    assert summary.passes == summary.scored == 0
    with ScoreStore(tmp_path / "other.sqlite") as other:
        np.testing.assert_array_equal(soft.item_value, scored(stories, other, SOFT)[0].item_value)
    np.testing.assert_array_equal(soft.users.spread, hard.users.spread)
    eighths = 8 * hard.item_value
    np.testing.assert_array_equal(eighths, eighths.round())


def test_what_tuning_reads_of_a_run_with_hard_scores_is_kept(
    stories: LanguageModel, store: ScoreStore
) -> None:
    _, summary = scored(stories, store, HARD)
    mine = Reference(summary.fingerprint, frozenset(summary.attribute_keys))
    assert clear(store, keep=[mine], delete_them=True)["scores"] == 0
    assert scored(stories, store, SOFT)[1].passes == 0


@given(st.lists(st.integers(-4, 4), min_size=9, max_size=9))
def test_of_several_likeliest_digits_the_lowest_counts(logits: list[int]) -> None:
    likely = torch.tensor(logits, dtype=torch.float32)
    value, spread = DigitRule("hard").scores(likely)
    assert value.item() == logits.index(max(logits)) / 8
    assert spread == DigitRule().scores(likely)[1]


@given(
    st.lists(st.floats(-20, 20), min_size=9, max_size=9), st.lists(st.floats(-20, 20), min_size=9, max_size=9)
)
def test_a_text_that_says_no_more_than_nothing_is_even(logits: list[float], prior: list[float]) -> None:
    said, nothing = torch.tensor(logits), torch.log_softmax(torch.tensor(prior), -1)
    rule = DigitRule(calibration="content_free")
    value, spread = rule.scores(nothing, nothing)
    assert value.item() == pytest.approx(0.5, abs=1e-5)
    assert spread.item() == pytest.approx(np.std(np.arange(9) / 8), abs=1e-5)
    # Whatever level the logits have.
    torch.testing.assert_close(
        rule.scores(said + 3, nothing)[0], rule.scores(said, nothing)[0], atol=1e-5, rtol=0
    )
    with pytest.raises(ValueError, match="for nothing else"):
        DigitRule().scores(said, nothing)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"llm_options": {"calibration": "content_free"}},
            r"set tune\.enabled=false or llm_options\.calibration=none",
        ),
        (
            {"llm": "http://host/v1", "llm_options": {"digits": "hard"}},
            r"with llm_options\.remote\.mode=json",
        ),
        (
            {"llm": "http://host/v1", "llm_options": {"calibration": "content_free"}},
            "a remote model cannot be calibrated",
        ),
        ({"llm_options": {"digits": "harsh"}}, "did you mean 'hard'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(more: dict[str, Any], sentence: str) -> None:
    raw: dict[str, Any] = {"name": "a", "tune": {"enabled": "llm" not in more}} | more
    if "llm" in more:
        raw["llm_options"] = {**more["llm_options"], "remote": {"model": "tiny"}}
    with pytest.raises(InputError, match=sentence):
        parse_config(raw)
    allowed = {"name": "a", "tune": {"enabled": False}, "llm_options": {"calibration": "content_free"}}
    assert parse_config(allowed).llm_options.calibration == "content_free"
