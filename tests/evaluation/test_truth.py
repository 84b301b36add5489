"""Scores against a truth: the readers and their faults, and statistics on cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from guided_refine.errors import InputError
from guided_refine.evaluation.truth import compare_with_truth
from guided_refine.evaluation.truth_table import read_map, read_truth

N = 120
ITEMS = [f"i{i}" for i in range(N)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose tuned scores of `humour` follow the truth, the untuned ones less; `darkness` is flat."""
    rng = np.random.default_rng(0)
    truth = rng.random(N)
    parts = []
    for source, noise in (("untuned", 0.6), ("tuned", 0.1)):
        for name, value in (("humour", truth + noise * rng.normal(size=N)), ("darkness", np.full(N, 0.5))):
            parts.append(
                pd.DataFrame(
                    {"kind": "item", "id": ITEMS, "position": -1, "attribute": name, "source": source}
                ).assign(value=value, spread=0.1)
            )
    users = parts[0].assign(kind="user", value=-5.0)
    pd.concat([*parts, users]).to_parquet(tmp_path / "scores.parquet", index=False)
    pd.DataFrame({"item_id": ITEMS, "attribute": "humour", "value": truth}).to_csv(
        tmp_path / "t.csv", index=False
    )
    return tmp_path


def test_real_values(run: Path) -> None:
    answer = compare_with_truth(run, run / "t.csv", bootstrap=400)
    rows = {(r["attribute"], r["source"]): r for r in answer["rows"]}
    scores = pd.read_parquet(run / "scores.parquet").query("kind == 'item' and attribute == 'humour'")
    truth = pd.read_csv(run / "t.csv")["value"]
    for source in ("untuned", "tuned"):
        row = rows["humour", source]
        expected = spearmanr(scores[scores["source"] == source]["value"], truth).statistic
        assert row["spearman"] == pytest.approx(expected)
        assert row["spearman_lower"] < expected < row["spearman_upper"]
        assert row["n"] == N and row["auc"] is None
    (gain,) = answer["differences"]
    assert gain["source"] == "tuned" and gain["against"] == "untuned" and gain["lower"] > 0
    # Paired: the difference is known better than the two independent intervals would allow.
    width = sum(
        rows["humour", s]["spearman_upper"] - rows["humour", s]["spearman_lower"]
        for s in ("tuned", "untuned")
    )
    assert gain["upper"] - gain["lower"] < width
    json.dumps(answer, allow_nan=False)


def test_binary_values_bag_of_words_and_flat_scores(run: Path) -> None:
    truth = pd.read_csv(run / "t.csv")
    both = pd.concat(
        [
            truth.assign(value=(truth["value"] > 0.5).astype(int)),
            truth.assign(attribute="darkness", value=truth.index % 2),
        ]
    )
    both.to_parquet(run / "b.parquet", index=False)
    words = pd.DataFrame({"item_id": ITEMS, "humour": np.arange(N), "darkness": np.arange(N) % 2})
    answer = compare_with_truth(run, run / "b.parquet", bag_of_words=words, bootstrap=300)
    rows = {(r["attribute"], r["source"]): r for r in answer["rows"]}
    tuned = pd.read_parquet(run / "scores.parquet").query("attribute == 'humour' and source == 'tuned'")
    positive = truth["value"] > 0.5
    assert rows["humour", "tuned"]["auc"] == pytest.approx(roc_auc_score(positive, tuned["value"]))
    assert rows["humour", "tuned"]["positives"] == positive.sum()
    assert rows["darkness", "bag_of_words"]["auc"] == 1
    assert rows["darkness", "tuned"]["auc"] == 0.5 and rows["darkness", "tuned"]["spearman"] is None
    mean = rows["mean of all", "tuned"]["auc"]
    assert mean == pytest.approx((rows["humour", "tuned"]["auc"] + 0.5) / 2)
    pairs = {(d["attribute"], d["source"], d["against"], d["measure"]) for d in answer["differences"]}
    assert ("humour", "tuned", "bag_of_words", "auc") in pairs and (
        "mean of all",
        "tuned",
        "untuned",
        "auc",
    ) in pairs
    json.dumps(answer, allow_nan=False)


def test_faulty_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "item_id,attribute,value\ni1,humour,1\ni1,humour,0\nzz,humour,1\ni2,humour,much\ni3,humour,inf\n"
    )
    truth = read_truth(path, ["humour"], ITEMS)
    assert truth.dropped == {
        "item not in the catalog": 1,
        "value is not a number": 2,
        "item and attribute given before": 1,
    }
    assert truth.table["humour"].to_dict() == {"i1": 1.0}
    with pytest.raises(InputError, match=r"t\.csv, row 4: item not in the catalog"):
        read_truth(path, ["humour"], ITEMS, strict=True)


@pytest.mark.parametrize("suffix", ["json", "yaml", "csv"])
def test_map_and_its_sign(tmp_path: Path, suffix: str) -> None:
    path, mapping = tmp_path / "t.csv", tmp_path / f"map.{suffix}"
    path.write_text(
        "item_id,attribute,value\ni1,funny,1\ni2,funny,0\ni1,cosy,0.25\ni2,cosy,0.5\ni1,other,1\n"
    )
    mapping.write_text(
        {
            "json": '{"funny": "humour", "cosy": {"attribute": "darkness", "sign": -1}}',
            "yaml": "funny: humour\ncosy: {attribute: darkness, sign: -1}\n",
            "csv": "name,attribute,sign\nfunny,humour,\ncosy,darkness,-1\n",
        }[suffix]
    )
    truth = read_truth(path, ["darkness", "humour"], ITEMS, map_file=mapping)
    assert truth.table.loc["i1"].to_dict() == {"darkness": -0.25, "humour": 1.0}
    assert truth.dropped == {"attribute not compared": 1}


def test_a_truth_that_came_with_the_data_may_know_more(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item_id,attribute,value\ni1,humour,1\ni1,pace,1\n")
    truth = read_truth(path, ["humour"], ITEMS, only_known=True)
    assert list(truth.table) == ["humour"] and truth.dropped == {"attribute not compared": 1}
    with pytest.raises(InputError, match="no attribute 'humour'"):
        read_truth(path, ["darkness"], ITEMS, only_known=True)


def test_reversed_binary_values_stay_binary(tmp_path: Path) -> None:
    path, mapping = tmp_path / "t.csv", tmp_path / "m.yaml"
    path.write_text("item_id,attribute,value\ni1,light,1\ni2,light,0\n")
    mapping.write_text("light: {attribute: darkness, sign: -1}\n")
    truth = read_truth(path, ["darkness"], ITEMS, map_file=mapping)
    assert truth.table["darkness"].to_dict() == {"i1": 0.0, "i2": 1.0} and truth.is_binary("darkness")


@pytest.mark.parametrize(
    ("content", "mapping", "message"),
    [
        ("item_id,attribute,value\ni1,humor,1\n", None, r"no attribute 'humor': did you mean 'humour'\?"),
        ("item_id,attribute\ni1,humour\n", None, r"no column 'value' \(it has item_id, attribute\)"),
        ("item_id,attribute,value\n", None, r"no row that can be used \(the table is empty\)"),
        (
            "item_id,attribute,value\nzz,humour,1\n",
            None,
            r"no row that can be used \(1 item not in the catalog\)",
        ),
        ("", None, "not a CSV file"),
        ("item_id,attribute,value\ni1,f,1\n", "f: humor", r"no attribute 'humor': did you mean 'humour'\?"),
        ("item_id,attribute,value\ni1,f,1\n", "g: humour", r"t.csv has no attribute 'g'"),
        ("item_id,attribute,value\ni1,f,1\n", "f: {attribute: humour, sign: 3}", "'f' needs an attribute"),
        ("item_id,attribute,value\ni1,f,1\n", "- f", "must map names"),
        ("item_id,attribute,value\ni1,f,1\n", "f: [", "neither JSON nor YAML"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, content: str, mapping: str | None, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    map_file = None
    if mapping is not None:
        map_file = tmp_path / "m.yaml"
        map_file.write_text(mapping)
    with pytest.raises(InputError, match=message):
        read_truth(path, ["humour", "darkness"], ITEMS, map_file=map_file)


def test_missing_files(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv cannot be read: No such file"):
        compare_with_truth(run, tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"scores\.parquet does not exist"):
        compare_with_truth(tmp_path / "norun", run / "t.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_map(tmp_path / "none.json")
