"""Base vectors and scores from every kind of source, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from guided_refine import GuidedRefiner, item_scores, with_scores
from guided_refine.errors import InputError
from guided_refine.scoring.scores import AttributeScores, UserScores

IDS = ["b", "a", "c"]
WIDE = pd.DataFrame({"item_id": IDS, "zeal": [0.1, 0.2, np.nan], "humour": [0.9, 0.5, 0.4]})
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def run_with_scores(folder: Path) -> Path:
    none = UserScores(np.array([0]), np.array([2]), np.array([[0.5, 0.5]]), np.array([[0.1, 0.1]]))
    for_source = [
        AttributeScores(source, ["zeal", "humour"], values, values * 0, none, "model", "split").to_frame(
            IDS, ["u"], np.array([2])
        )
        for source, values in (
            ("untuned", np.zeros((3, 2))),
            ("tuned", WIDE[["zeal", "humour"]].to_numpy()),
        )
    ]
    pd.concat(for_source).to_parquet(folder / "scores.parquet")
    return folder


def test_a_runs_scores_keep_its_order_of_items_and_attributes(tmp_path: Path) -> None:
    run = run_with_scores(tmp_path)
    for source in (run, run / "scores.parquet", str(run)):
        pd.testing.assert_frame_equal(item_scores(source), WIDE.set_index("item_id"))
    assert (item_scores(run, of="untuned") == 0).all(axis=None)


def test_tables_of_ones_own(tmp_path: Path) -> None:
    WIDE.to_csv(tmp_path / "s.csv", index=False)
    WIDE.to_parquet(tmp_path / "s.parquet")
    for source in (WIDE, WIDE.set_index("item_id"), tmp_path / "s.csv", tmp_path / "s.parquet"):
        pd.testing.assert_frame_equal(item_scores(source), WIDE.set_index("item_id"))


def test_the_whole_way_from_files_to_a_refined_table(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", VECTORS)
    X = with_scores(tmp_path / "vectors.npy", run_with_scores(tmp_path))
    assert X.columns.tolist() == ["base_1", "base_2", "zeal", "humour"] and X.index.tolist() == IDS
    shuffled = pd.DataFrame(VECTORS, columns=["x", "y"]).assign(item_id=IDS).iloc[[2, 0, 1]]
    pd.testing.assert_frame_equal(with_scores(shuffled, WIDE), X)
    refined = GuidedRefiner(["zeal", "humour"], width=3).set_output(transform="pandas").fit_transform(X)
    refined.reset_index().to_parquet(tmp_path / "refined.parquet")
    back = pd.read_parquet(tmp_path / "refined.parquet").set_index("item_id")
    assert back.columns.tolist() == ["pc_1", "zeal", "humour"]
    assert with_scores(tmp_path / "refined.parquet", WIDE).loc["a", "base_1"] == pytest.approx(
        back.loc["a", "pc_1"], rel=1e-6
    )


def test_columns_and_ids_become_text() -> None:
    found = item_scores(pd.DataFrame({"item_id": [1.0, 2.0], 5: [0.1, 0.2]}))
    assert found.columns.tolist() == ["5"] and found.index.tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame([["a", 0.1, 0.2]], columns=["item_id", "h", "h"]), "two columns 'h'"),
        (pd.DataFrame({"item_id": ["a", None], "h": [0.1, 0.2]}), "row 2 has no item_id"),
        (pd.DataFrame({"item_id": ["a"], "h": [np.inf]}), "'inf' in column 'h', expected a finite number"),
        (pd.DataFrame({"item_id": ["a"], "h": pd.to_datetime(["2020-01-01"])}), "expected a finite number"),
        (
            pd.DataFrame(
                {"kind": "item", "id": ["a", "a"], "attribute": "h", "source": "tuned", "value": [0.1, 0.2]}
            ),
            "two scores of item 'a' on 'h'",
        ),
    ],
)
def test_tables_that_are_no_scores(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(InputError, match=said):
        item_scores(frame)


def test_an_attribute_may_be_called_value() -> None:
    named = {"item_id": ["a"], "kind": [0.1], "id": [0.2], "attribute": [0.3], "value": [0.4]}
    assert item_scores(pd.DataFrame(named)).columns.tolist() == ["kind", "id", "attribute", "value"]


def test_other_kinds_of_input() -> None:
    import torch

    tensor = torch.nn.Parameter(torch.from_numpy(VECTORS)).to(torch.bfloat16)
    pd.testing.assert_frame_equal(with_scores(tensor, WIDE), with_scores(VECTORS, WIDE))
    with pytest.raises(
        InputError, match="embeddings are an array, a tensor, a DataFrame or a file, not list"
    ):
        with_scores(VECTORS.tolist(), WIDE)
    with pytest.raises(InputError, match="scores are a DataFrame, a file or a run folder, not ndarray"):
        item_scores(VECTORS)  # type: ignore[arg-type]


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="item 'a' has 'much' in column 'zeal'"):
        item_scores(WIDE.astype(object).assign(zeal=[0.1, "much", 0.2]))
    with pytest.raises(InputError, match="two rows for item 'b'"):
        item_scores(pd.concat([WIDE, WIDE.iloc[:1]]))
    with pytest.raises(InputError, match="no column 'item_id'"):
        item_scores(WIDE[["humour"]])
    with pytest.raises(InputError, match="no scores of='tund': did you mean 'tuned'"):
        item_scores(run_with_scores(tmp_path), of="tund")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no scores\.parquet; finish the run"):
        item_scores(tmp_path / "empty")
    with pytest.raises(InputError, match=r"has shape \(2, 2\), expected \(3, width\)"):
        with_scores(VECTORS[:2], WIDE)
    with pytest.raises(InputError, match="an attribute is called 'base_1'"):
        with_scores(VECTORS, WIDE.rename(columns={"zeal": "base_1"}))
