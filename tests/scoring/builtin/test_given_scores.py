"""Scores of a better model: what is read, on which scale, and the sentence for whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_catalog import attributes

from guided_refine.config import DataConfig
from guided_refine.data.dataset import load_dataset
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError
from guided_refine.scoring.builtin.given_scores import FEWEST, fingerprint, read_given
from guided_refine.scoring.scores import AttributeScores, UserScores, save_scores

ITEMS = [f"i{i}" for i in range(30)]


def frame(**columns: object) -> pd.DataFrame:
    n = len(ITEMS)
    rows = pd.DataFrame(
        {
            "item_id": np.repeat(ITEMS, 2),
            "attribute": ["humour", "speed"] * n,
            "value": np.linspace(0, 1, 2 * n),
            "spread": 0.125,
        }
    )
    return rows.assign(**columns)


def refused(tmp_path: Path, rows: pd.DataFrame) -> str:
    path = tmp_path / "t.csv"
    rows.to_csv(path, index=False)
    with pytest.raises(InputError) as caught:
        read_given(path).check(attributes())
    assert str(caught.value).startswith("llm_options.teacher.distil: ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_both_scales_and_all_formats_give_the_same(tmp_path: Path, name: str) -> None:
    tables = []
    for rows in (frame(), frame(value=1 + 8 * frame()["value"], spread=1.0)):
        path = tmp_path / name
        rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, index=False)
        tables.append(read_given(path))
    for given in tables:
        value, spread = given.on(ITEMS, attributes())
        np.testing.assert_allclose(value.ravel(), np.linspace(0, 1, 60), atol=1e-12)
        np.testing.assert_allclose(spread, 0.125)


def test_a_runs_folder_and_its_table_say_the_same_and_tuned_scores_are_left_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    prepare("sample", None, run / "data", options=DataConfig(options={"n_items": 60, "n_users": 20}))
    data = load_dataset(run / "data")
    users = UserScores(np.array([0]), np.array([2]), np.full((1, 2), 0.9), np.full((1, 2), 0.1))
    value = np.random.default_rng(0).random((data.n_items, 2))
    value[3] = np.nan
    made, tuned = (
        AttributeScores(source, ["humour", "speed"], v, value / 4, users, "big", "x")
        for source, v in (("untuned", value), ("tuned", 1 - value))
    )
    ids = [str(i) for i in data.item_ids]
    tables = [s.to_frame(ids, data.user_ids, data.split.test) for s in (made, tuned)]
    pd.concat(tables).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="is no run with scores"):
        fingerprint(run)
    save_scores(made, run / "scores" / "untuned.safetensors")
    for where in (run, tmp_path / "scores.parquet"):
        given = read_given(where)
        given.check(attributes())
        for read, wanted in zip(given.on(ids, attributes()), (value, value / 4), strict=True):
            np.testing.assert_array_equal(read, np.where(np.isnan(value), np.nan, wanted))
    assert read_given(run).model == "big"
    before = fingerprint(run)
    save_scores(tuned, run / "scores" / "untuned.safetensors")
    assert fingerprint(run) != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(attribute=t["attribute"].replace("humour", "humor")), "did you mean 'humour'"),
        (lambda t: t[t["attribute"] == "speed"], "no scores of humour"),
        (lambda t: t.assign(value=t["value"].where(t.index != 4, 12)), "row 6: values must all lie in 1..9"),
        (lambda t: t.assign(value=1 + 8 * t["value"].where(t.index != 4, -0.1)), "row 6: values must all"),
        (lambda t: t.assign(value=10 * t["value"]), "values must all lie in 1..9"),
        (
            lambda t: t.assign(value=t["value"].astype(object).where(t.index != 7, "many")),
            "row 9: the value is",
        ),
        (lambda t: t.assign(spread=-0.1), "row 2: the spread is negative"),
        (
            lambda t: pd.concat([t, t.iloc[[0]]], ignore_index=True),
            "row 62: humour of item i0 is given twice",
        ),
        (lambda t: t.drop(columns="item_id"), "no column 'item_id'"),
        (
            lambda t: t.rename(columns={"item_id": "text"}).assign(fingerprint="f"),
            "give the run folder instead",
        ),
        (lambda t: t.assign(value=""), "no row with a value"),
    ],
)
def test_each_fault_has_one_sentence(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    assert said in refused(tmp_path, change(frame()))


def test_too_few_items_of_the_catalog_and_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False)
    given = read_given(path)
    given.on(ITEMS[:FEWEST], attributes())
    with pytest.raises(InputError, match=f"humour for {FEWEST - 1} items .* at least {FEWEST}"):
        given.on([*ITEMS[: FEWEST - 1], "another"], attributes())
    for where in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match=r"neither a run|is no run"):
            fingerprint(where)
    (tmp_path / "t.txt").write_text("item_id")
    with pytest.raises(InputError, match=r"end in \.parquet"):
        read_given(tmp_path / "t.txt")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet"):
        read_given(tmp_path / "t.parquet")
