"""Items added to a finished run: what a text alone can say of them, and that nothing else moves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from guided_refine.backbones.backbone import Backbone
from guided_refine.cli import main
from guided_refine.data.dataset import load_dataset
from guided_refine.errors import InputError
from guided_refine.files import read_parquet
from guided_refine.refine.new_items import AddedItems, add_items
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.store import ScoreStore


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    copy = tmp_path_factory.mktemp("added") / "run"
    shutil.copytree(small_run, copy)
    return RunFolder(copy)


@pytest.fixture(scope="module")
def twins(run: RunFolder) -> pd.DataFrame:
    """The first items of the run's own catalog under other ids, as their source described them."""
    items = load_dataset(run.data).items.head(4).drop(columns="text")
    return items.assign(item_id=[f"twin{i}" for i in range(4)])


@pytest.fixture(scope="module")
def added(run: RunFolder, twins: pd.DataFrame) -> AddedItems:
    return add_items(run.root, twins)


def unit(run: RunFolder) -> Backbone:
    return Backbone.load(run.unit("sasrec", "refined", 3))


def test_a_known_items_twin_gets_its_scores_and_asks_the_model_nothing(
    run: RunFolder, twins: pd.DataFrame, added: AddedItems
) -> None:
    """The same text goes the same way: columns, words, store, adapter, catalog statistics."""
    known = read_parquet(run.refined_items)
    assert added.rows["item_id"].tolist() == twins["item_id"].tolist()
    assert added.rows.columns.tolist() == known.columns.tolist()
    guided = [name for name in known if name != "item_id" and not name.startswith("pc_")]
    assert np.array_equal(added.rows[guided], known[guided].head(4))
    with ScoreStore(run.store) as store:
        before = store.count()
        add_items(run.root, twins)
        assert store.count() == before
        add_items(run.root, twins.head(1).assign(item_id="x", title="A quiet film about a lighthouse"))
        assert store.count() == before + len(guided)


def test_old_items_keep_their_vectors_to_the_last_bit(run: RunFolder, added: AddedItems) -> None:
    old = unit(run)
    vectors = added.model.item_vectors()
    assert np.array_equal(vectors[: len(old.item_ids)], old.item_vectors())
    assert added.model.item_ids[: len(old.item_ids)] == old.item_ids
    assert np.array_equal(vectors[len(old.item_ids) :], added.rows.drop(columns="item_id").to_numpy())


def test_new_items_are_recommended_and_read_and_old_ones_keep_their_order(
    run: RunFolder, added: AddedItems, tmp_path: Path
) -> None:
    added.model.save(tmp_path)
    loaded, old = Backbone.load(tmp_path), unit(run)
    users, everything = old.user_ids[:20], len(added.model.item_ids)
    table = loaded.recommend(users, k=everything, filter_viewed=False)
    pd.testing.assert_frame_equal(table, added.model.recommend(users, k=everything, filter_viewed=False))
    assert set(table["item_id"]) == set(loaded.item_ids)
    before = old.recommend(users, k=everything, filter_viewed=False)
    kept = table[table["item_id"].isin(old.item_ids)]
    assert np.allclose(kept["score"], before["score"], atol=1e-5)
    history = ["twin0", old.item_ids[5], "twin1"]
    answer = loaded.recommend_for_history(history, k=everything)
    assert not set(answer["item_id"]) & set(history) and np.isfinite(answer["score"]).all()


def test_the_run_stays_as_it_was(run: RunFolder, small_run: Path, added: AddedItems) -> None:
    for path in small_run.rglob("*"):
        if path.is_file() and not path.name.startswith("store.sqlite"):
            assert (run.root / path.relative_to(small_run)).read_bytes() == path.read_bytes(), path


def test_the_command_writes_the_same_rows(
    run: RunFolder, twins: pd.DataFrame, added: AddedItems, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "new.csv.gz"
    twins.to_csv(source, index=False)
    for name in ("rows.parquet", "rows.csv"):
        out = tmp_path / name
        assert main(["add-items", str(run.root), str(source), "--out", str(out), "--quiet"]) == 0
        rows = read_parquet(out) if name.endswith("parquet") else pd.read_csv(out)
        assert rows["item_id"].tolist() == added.rows["item_id"].tolist()
        np.testing.assert_allclose(
            rows.drop(columns="item_id"), added.rows.drop(columns="item_id"), rtol=1e-6
        )
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "rows.parquet"),
        str(tmp_path / "rows.csv"),
    ]
    argv = ["add-items", str(run.root), str(tmp_path / "none.csv"), "--out"]
    assert main([*argv, str(tmp_path / "x.txt")]) == main([*argv, str(tmp_path / "x.csv")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "must end in .parquet or .csv" in said[0] and "none.csv is not a file" in said[1]


def changed(twins: pd.DataFrame, **values: object) -> pd.DataFrame:
    return twins.head(2).assign(**values)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t, known: changed(t, item_id=["new", known]), "is in the run's catalog already"),
        (lambda t, known: changed(t, item_id="new"), "item_id 'new' occurs twice, first in row 1"),
        (lambda t, known: changed(t, item_id=["new", None]), "items row 2: item without an id"),
        (
            lambda t, known: changed(t, title="", genres=["x", ""], year="", description=""),
            "item 'twin1' has no text",
        ),
        (lambda t, known: t.drop(columns="description"), "no column 'description', which is part"),
        (lambda t, known: t.drop(columns=["genres", "year"]), "no columns 'genres', 'year', which are part"),
        (lambda t, known: t.drop(columns="title"), "items has no column 'title'"),
        (lambda t, known: t.head(0), "the new items are empty"),
    ],
)
def test_one_sentence_for_wrong_items(run: RunFolder, twins: pd.DataFrame, spoil, said: str) -> None:
    with pytest.raises(InputError) as caught:
        add_items(run.root, spoil(twins, unit(run).item_ids[0]))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_cell_is_no_missing_column(run: RunFolder, twins: pd.DataFrame) -> None:
    rows = add_items(run.root, changed(twins, genres="", year=None, description="")).rows
    assert np.isfinite(rows.drop(columns="item_id")).all(axis=None)


def test_other_weights_than_the_runs_are_refused(run: RunFolder, twins: pd.DataFrame, tmp_path: Path) -> None:
    """Saved scores that the model at hand does not give: somebody changed one or the other."""
    from dataclasses import replace

    from guided_refine.scoring.scores import load_scores, save_scores

    other = tmp_path / "run"
    shutil.copytree(run.root, other)
    file = RunFolder(other).scores("tuned")
    scores = load_scores(file)
    save_scores(replace(scores, item_value=1 - scores.item_value), file)
    with pytest.raises(InputError, match="no longer gives item"):
        add_items(other, twins)


def test_a_run_without_a_refined_model_says_so(run: RunFolder, twins: pd.DataFrame, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run.root, other)
    shutil.rmtree(other / "backbones")
    with pytest.raises(InputError, match="has no trained refined model of sasrec yet; finish it with"):
        add_items(other, twins)
    with pytest.raises(InputError, match="is not a run folder"):
        add_items(tmp_path, twins)


def test_another_backbones_vectors_are_no_substitute(
    run: RunFolder, twins: pd.DataFrame, tmp_path: Path
) -> None:
    """`refined_items.parquet` is of SASRec where the run asks for it; new rows must lie in the same space."""
    other = RunFolder(tmp_path / "run")
    shutil.copytree(run.root, other.root)
    shutil.rmtree(other.unit("sasrec", "refined", 3))
    assert (other.unit("gru4rec", "refined", 3) / "config.json").exists()
    with pytest.raises(InputError, match="no trained refined model of sasrec yet"):
        add_items(other.root, twins)
