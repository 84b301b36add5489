"""The scoring bench runs with all its peers, its rows keep the contract, and each side does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_refine.bench import scoring, shown
from guided_refine.bench.scoring import FILES, rank_agreement, run
from guided_refine.bench.scoring_sides import SinglePrompts, Slots, Task, Written, digits_of
from guided_refine.files import read_json
from guided_refine.scoring.slots import soft_scores


@pytest.fixture(scope="module")
def task() -> Task:
    return scoring._task(None, quick=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    out = tmp_path_factory.mktemp("scoring")
    return run(quick=True, out=out), out


def test_rows_keep_the_contract(rows: tuple[list[dict[str, Any]], Path]) -> None:
    assert [row["side"] for row in rows[0]] == [
        "generate",
        "generate_whole",
        "single",
        "single_whole",
        "structured",
    ]
    for row in rows[0]:
        assert {
            "name",
            "case",
            "ours",
            "peer",
            "peer_name",
            "unit",
            "ratio",
            "equal_results",
            "machine",
        } <= set(row)
        assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])
        assert row["equal_alone"] is True
        for side in ("ours_work", "peer_work"):
            assert row[side]["tokens"] > 0 and row[side]["share_of_matmul_rate"] > 0
        assert "tokens: " in shown(row) and "matmul rate" in shown(row)
    by_name = {row["side"]: row for row in rows[0]}
    assert by_name["generate"]["peer_work"]["tokens"] < by_name["generate_whole"]["peer_work"]["tokens"]
    assert by_name["structured"]["digits_found"] == by_name["single"]["digits_found"] == 1


def test_plot_table_and_json_are_written(rows: tuple[list[dict[str, Any]], Path]) -> None:
    assert sorted(p.name for p in rows[1].iterdir()) == sorted(FILES)
    assert read_json(rows[1] / "scoring.json") == rows[0]
    assert "one prompt per attribute" in (rows[1] / "scoring.md").read_text()


def test_scores_do_not_depend_on_the_batch_size(task: Task) -> None:
    with torch.no_grad():
        whole, shared = (SinglePrompts(task, cached=cached) for cached in (False, True))
        for side in (Slots(task), whole, shared, Written(task, cached=True, constrained=True)):
            side.prepare(task)
            one, all_at_once = side(task, 1), side(task, 4)
            np.testing.assert_allclose(one.scores, all_at_once.scores, atol=1e-4)
            assert one.tokens == all_at_once.tokens


@pytest.mark.parametrize("cached", [True, False])
def test_single_prompts_are_the_ordinary_prompts(task: Task, cached: bool) -> None:
    plan = task.plan
    with torch.no_grad():
        side = SinglePrompts(task, cached=cached)
        once, found = side.prepare(task), side(task, 4)
        for row, text in enumerate(task.texts):
            for a in range(len(plan.names)):
                ids = [*plan.head, *plan.definitions[a], *plan.opening, *text, *plan.slots[a]]
                logits = task.model(torch.tensor([ids])).logits[0, -1, plan.digits]
                assert found.scores[row, a] == pytest.approx(float(soft_scores(logits)[0]), abs=1e-4)
    single = sum(len(t) + len(s) for t in task.texts for s in plan.slots)
    prefixes = sum(len(plan.head) + len(d) + len(plan.opening) for d in plan.definitions)
    expected = (single, prefixes) if cached else (single + len(task.texts) * prefixes, 0)
    assert (found.tokens, once) == expected


def test_a_cached_prefix_changes_nothing_that_is_written(task: Task) -> None:
    with torch.no_grad():
        sides = [Written(task, cached=c, constrained=True) for c in (True, False)]
        once = [side.prepare(task) for side in sides]
        cached, whole = (side(task, 4) for side in sides)
    assert once[0] > once[1] == 0 and cached.tokens + len(task.texts) * once[0] == whole.tokens
    np.testing.assert_array_equal(cached.scores, whole.scores)
    assert np.isfinite(cached.scores).all()


def test_structured_digits_are_the_best_ones_after_the_lines_so_far(task: Task) -> None:
    """A naive loop: write the name, take the likeliest digit, go on."""
    plan = task.plan
    definitions = [token for definition in plan.definitions for token in definition]
    with torch.no_grad():
        side = Written(task, cached=True, constrained=True)
        side.prepare(task)
        found = side(task, 4).scores
        for row, text in enumerate(task.texts):
            ids = [*plan.head, *definitions, *plan.opening, *text]
            for a in range(len(plan.names)):
                ids += plan.slots[a] if a == 0 else plan.lines[a]
                digit = int(task.model(torch.tensor([ids])).logits[0, -1, plan.digits].argmax())
                ids.append(plan.digits[digit])
                assert found[row, a] == pytest.approx(digit / 8), (row, a)


def test_digits_are_found_where_a_line_has_one() -> None:
    text = "Sure!\nhumour: 7\n speed : 3\ndark mood: 12\ncalm: 1"
    found = digits_of(text, ["humour", "speed", "dark mood", "calm"])
    np.testing.assert_array_equal(found, [6 / 8, np.nan, np.nan, 0])


def test_rank_agreement_is_spearmans_and_leaves_out_what_says_nothing() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.random((20, 3)), rng.integers(0, 9, (20, 3)) / 8.0
    b[:3, 0] = np.nan
    b[:, 2] = 0.5
    wanted = [spearmanr(a[3:, 0], b[3:, 0]).statistic, spearmanr(a[:, 1], b[:, 1]).statistic]
    assert rank_agreement(a, b) == (pytest.approx(np.mean(wanted), abs=1e-5), 2)
    assert rank_agreement(a, np.full((20, 3), np.nan)) == (None, 0)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_runs_in_bfloat16() -> None:
    rows = run(quick=True)
    assert all("bfloat16 on cuda" in row["case"] for row in rows)
