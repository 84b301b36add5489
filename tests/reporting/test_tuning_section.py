"""What the report says tuning did: numbers against loops, and words where the lines fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_builder import build_run

from guided_refine.files import write_json
from guided_refine.reporting.runfiles import read_run
from guided_refine.reporting.tuning_section import change_of_scores, plot_change, tuning_section


def make_scores(seed: int = 0, items: int = 40) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    before = rng.random((items, 3))
    after = 0.5 * before + 0.2 * rng.random((items, 3))
    after[:, 2] = after[:, 0] + 0.01 * rng.random(items)
    parts = []
    for source, value in (("untuned", before), ("tuned", after)):
        for kind in ("item", "user"):
            for a, name in enumerate("abc"):
                ids = [f"{kind[0]}{i}" for i in range(items)]
                head = {"kind": kind, "id": ids, "position": -1, "attribute": name, "source": source}
                parts.append(pd.DataFrame(head).assign(value=value[:, a], spread=0.1 * (a + 1)))
    return pd.concat(parts, ignore_index=True), {"untuned": before, "tuned": after}


def test_the_numbers_are_those_of_a_loop() -> None:
    from scipy.stats import spearmanr

    scores, values = make_scores()
    found = change_of_scores(scores)
    assert found is not None and found["attribute"].tolist() == ["a", "b", "c"]
    for a in range(3):
        row = found.iloc[a]
        rank = spearmanr(values["untuned"][:, a], values["tuned"][:, a]).statistic
        assert row["item_rank"] == pytest.approx(rank) and row["user_rank"] == pytest.approx(rank)
        assert row["shift"] == pytest.approx(np.mean(values["tuned"][:, a] - values["untuned"][:, a]))
        assert row["spread_tuned"] == pytest.approx(0.1 * (a + 1))
        for source, value in values.items():
            others = [abs(np.corrcoef(value[:, a], value[:, b])[0, 1]) for b in range(3) if b != a]
            assert row[f"redundancy_{source}"] == pytest.approx(max(others))
            assert row[f"std_{source}"] == pytest.approx(value[:, a].std())
    assert found["redundancy_tuned"].max() > 0.99 > found["redundancy_untuned"].max()


def test_flat_attributes_and_gaps_have_no_number_and_break_nothing(tmp_path: Path) -> None:
    scores, _ = make_scores()
    scores.loc[scores["attribute"] == "b", "value"] = 0.5
    scores.loc[(scores["attribute"] == "a") & (scores["id"] == "i3"), "value"] = np.nan
    found = change_of_scores(scores)
    assert found is not None
    assert np.isnan(found.iloc[1]["item_rank"]) and np.isnan(found.iloc[1]["redundancy_tuned"])
    assert np.isfinite(found.iloc[0]["item_rank"]) and np.isfinite(found.iloc[0]["redundancy_tuned"])
    assert plot_change(scores, tmp_path / "change.png") == tmp_path / "change.png"
    assert change_of_scores(scores[scores["source"] == "untuned"]) is None


def test_the_section_says_where_lines_are_not_well_formed(tmp_path: Path) -> None:
    root = build_run(tmp_path)
    report = {
        "steps": 40,
        "tokens_per_second": 1234.5,
        "held_out": {"held_out": {"before": 0.5, "after": 0.625}},
        "well_formed": 0.75,
    }
    write_json(root / "tuning" / "report.json", report)
    text = "\n".join(tuning_section(read_run(root)))
    assert "50.0 % of random items before and 62.5 % after" in text
    assert "75.0 %, **below the 99 %" in text and "1,234 tokens per second" in text
    assert "| humour |" in text
    write_json(root / "tuning" / "report.json", {**report, "well_formed": 0.995})
    assert "below" not in "\n".join(tuning_section(read_run(root)))


def test_answers_are_told_apart_and_older_reports_still_read(tmp_path: Path) -> None:
    root = build_run(tmp_path)

    def told(report: dict[str, object]) -> str:
        write_json(root / "tuning" / "report.json", {"steps": 4, **report})
        return "\n".join(tuning_section(read_run(root)))

    old = {"well_formed": 0.995, "answers_written": 200}
    assert "freely about 200 items: 99.5 %." in told(old)
    now = {"well_formed_untuned": 0.5, "well_formed_items": 1.0, "well_formed_users": 0.99}
    assert (
        "about 200 items and histories: 99.5 % (100.0 % of items, 99.0 % of histories, 50.0 % of the untuned model)."
    ) in told({**old, **now})
    held = {"held_out": {"before": 0.5, "after": 0.625}}
    assert "a held-out training event beats" in told({"held_out": held})
    assert "a held-out training event that its user liked beats" in told(
        {"held_out": {**held, "of": "likes"}}
    )
