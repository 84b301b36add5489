"""Tags to truth: positives, negatives, and the mapping that comes with the experiments."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from guided_refine.errors import InputError
from guided_refine.evaluation.tags import normalise_tag, read_tag_mapping, tag_truth
from guided_refine.scoring.attributes import load_attributes

MAPPING = Path(__file__).resolve().parents[2] / "experiments" / "meaning" / "ml_tags.yaml"


def test_negatives_are_other_tagged_items() -> None:
    tags = pd.DataFrame({"item_id": [1, 2, 3, 1], "tag": ["FUNNY", "dark", "thought-provoking", "dark"]})
    truth = tag_truth(
        tags, {"humour": ["funny"], "thought": ["Thought provoking"], "romance": ["love"]}, min_items=1
    )
    values = truth.pivot(index="item_id", columns="attribute", values="value")
    assert values["humour"].to_dict() == {"1": 1, "2": 0, "3": 0}
    assert values["thought"].to_dict() == {"1": 0, "2": 0, "3": 1}
    assert "romance" not in values  # nobody gave the tag
    assert tag_truth(tags, {"humour": ["funny"]}).empty  # fewer than 30 items


def test_real_tags(shared: Path) -> None:
    tags = pd.read_csv(shared / "data" / "ml_latest_small" / "tags.csv.gz")
    mapping = read_tag_mapping(MAPPING)
    assert set(mapping) <= set(load_attributes("movies").names)
    truth = tag_truth(tags, mapping)
    positives = truth.groupby("attribute")["value"].agg(["sum", "size"])
    assert set(positives.index) == set(mapping)
    assert (positives["sum"] >= 30).all() and (positives["size"] == tags["item_id"].nunique()).all()
    known = set(tags["tag"].map(normalise_tag))
    assert [t for named in mapping.values() for t in named if normalise_tag(t) not in known] == []


@pytest.mark.parametrize("text", ["- a", "a: b", "a: []", "a: [", "a:"])
def test_bad_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(InputError, match="tag mapping"):
        read_tag_mapping(tmp_path / "m.yaml")
