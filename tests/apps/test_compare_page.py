"""Compare runs: numbers side by side with what differs, a warning where they mean nothing, and damaged neighbours."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reading import tables_of
from test_app import page, text_of
from tiny_run import make_run

from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.files import read_json, read_parquet, write_json, write_parquet
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def runs(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs in one folder: two of one split, and one whose rows name another."""
    root = tmp_path_factory.mktemp("several")
    shutil.copytree(finished.root, root / "mine")
    shutil.copytree(finished.root, root / "wider")
    config = (root / "wider" / "config.yaml").read_text(encoding="utf-8")
    changed, count = re.subn(r"(\ntrain:\n(?:  .*\n)*?  dropout: )[0-9.]+", r"\g<1>0.123", config)
    assert count == 1
    (root / "wider" / "config.yaml").write_text(changed, encoding="utf-8")
    rows = read_parquet(root / "wider" / "per_user.parquet")
    rows["ndcg@10"] = rows["ndcg@10"] * 0.5 + 0.1
    write_parquet(root / "wider" / "per_user.parquet", rows)
    shutil.copytree(finished.root, root / "elsewhere")
    metrics = read_json(root / "elsewhere" / "metrics.json")
    write_json(root / "elsewhere" / "metrics.json", [row | {"split_sha256": "f" * 64} for row in metrics])
    return root


def test_numbers_settings_and_lists_stand_side_by_side(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(runs / "mine", "compare", monkeypatch)
    app.multiselect(key="runs beside").set_value(["wider"]).run()
    assert not app.exception and not app.error and not app.warning
    assert "same split" in text_of(app)
    numbers, settings, mine, other = tables_of(app)
    means = {r["variant"]: r["ndcg@10"] for r in read_json(runs / "mine" / "metrics.json")}
    assert numbers["this run"].tolist() == [f"{means[v]:.4f}" for v in ("base", "refined", "shuffled")]
    wide = [
        read_parquet(runs / name / "per_user.parquet").pivot(
            index="user_id", columns="variant", values="ndcg@10"
        )
        for name in ("mine", "wider")
    ]
    expected = bootstrap_means((wide[1] - wide[0])[["refined"]].to_numpy(), samples=500)[0].mean
    told = numbers.set_index("model").loc["SASRec, refined", "wider less this run"]
    assert told.startswith(f"{expected:+.4f} [")
    low, high = (float(x) for x in told[told.index("[") + 1 : -1].split(", "))
    assert low <= expected <= high
    assert settings.to_numpy().tolist() == [["train.dropout", str(_dropout(runs / "mine")), "0.123"]]
    assert mine["item"].tolist() == other["item"].tolist() and len(mine) == 10
    lists = read_parquet(runs / "mine" / "backbones/sasrec/refined/seed0/recommendations.parquet")
    user = app.selectbox(key="listed user").value
    ids = lists[lists["user_id"] == user].sort_values("rank")["item_id"].astype(str)
    titles = read_parquet(runs / "mine" / "data/items.parquet").set_index("item_id")["title"]
    assert mine["item"].tolist() == titles.loc[ids].tolist()[:10]


def _dropout(run: Path) -> float:
    return RunFolder(run).config().train.dropout


def test_another_split_is_said_loudly_and_nothing_is_subtracted(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(runs / "mine", "compare", monkeypatch)
    app.multiselect(key="runs beside").set_value(["elsewhere"]).run()
    assert not app.exception and not app.error
    assert len(app.warning) == 1 and "Not comparable with this run: elsewhere" in text_of(app)
    assert list(tables_of(app)[0].columns) == ["model", "this run", "elsewhere"]


@pytest.mark.parametrize("fault", ["config", "manifest", "metrics", "newer", "missing"])
def test_a_neighbour_that_cannot_be_read_is_one_sentence(
    runs: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "wider"):
        shutil.copytree(runs / name, tmp_path / name)
    bad = tmp_path / "bad"
    if fault != "missing":
        shutil.copytree(runs / "wider", bad)
    if fault == "config":
        text = (bad / "config.yaml").read_text(encoding="utf-8")
        (bad / "config.yaml").write_text(text[: len(text) // 2], encoding="utf-8")
    elif fault == "newer":
        write_json(bad / "manifest.json", {"format": 99, "version": "9.0", "stages": {}})
    elif fault != "missing":
        (bad / f"{fault}.json").write_text('{"cut', encoding="utf-8")
    app = page(tmp_path / "mine", "compare", monkeypatch)
    app.multiselect(key="runs beside").set_value(["wider"]).run()
    app.text_input(key="run folder").set_value(str(bad)).run()
    assert not app.exception
    assert len(app.error) == 1 and "bad" in app.error[0].value
    assert "wider" in tables_of(app)[0].columns, "the others are shown all the same"


def test_alone_and_in_progress_the_page_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_run(tmp_path / "a" / "one", tmp_path / "source", until="data")
    app = page(one.root, "compare", monkeypatch)
    assert not app.exception and not app.error
    assert "guided-refine run CONFIG --out" in text_of(app)
    make_run(tmp_path / "a" / "two", tmp_path / "source2", until="data")
    app = page(one.root, "compare", monkeypatch)
    assert not app.exception and not app.error
    assert "None of these runs has tested a model yet" in text_of(app)


def test_flattened_settings_name_every_leaf(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    page(finished.root, "overview", monkeypatch)
    from dashboard_compare import flat

    values = finished.config().model_dump(mode="json")
    found = flat(values)
    assert found["train.width"] == "16" and found["name"] == "tiny"
    assert all(isinstance(v, str) for v in found.values())
    frame = pd.json_normalize(values)
    assert set(frame.columns) <= set(found) | {k for k in frame.columns if isinstance(frame[k][0], dict)}
    assert np.all([key in found for key in frame.columns])
