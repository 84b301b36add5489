"""A held-out interaction is planted in the raw data: every stage of a whole run must go by as if it were not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from guided_refine.config_file import parse_config
from guided_refine.pipeline import run
from guided_refine.scoring.attributes import load_attributes

# One epoch: from the second on validation may pick other weights, which is what validation is for.
CONFIG = {
    "name": "planted",
    "seed": 3,
    "attributes": "few.yaml",
    "llm_options": {
        "hidden": 16,
        "layers": 1,
        "vocabulary": 400,
        "text_tokens": 32,
        "event_tokens": 8,
        "history_events": 4,
        "snapshots": 2,
        "pretrain_epochs": 1,
    },
    "tune": {"steps": 3, "batch_size": 6, "negatives": 6, "pretrain_steps": 1, "sft_steps": 1},
    "backbones": ["sasrec"],
    "train": {"width": 16, "max_length": 20, "batch_size": 32, "max_epochs": 1, "patience": 1},
    "variants": ["base", "refined", "shuffled"],
    "evaluate": {"bootstrap": 100, "baselines": ["popularity", "item_knn", "ease"]},
}
PLANTED_USERS = 40
#: What is made of training interactions alone, whatever else there is.
FROM_TRAINING = [
    "llm/builtin/model.safetensors",
    "tuning/pretrain",
    "tuning/sft",
    "tuning/adapter",
    "backbones",
]


@pytest.fixture(scope="module")
def runs(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same shop three times: as it is, with other test items for some users, with other validation items."""
    items = pd.read_parquet(small_run / "data" / "items.parquet")
    events = pd.read_parquet(small_run / "data" / "interactions.parquet")
    events = events.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    answer = {}
    for name, back in (("as_is", None), ("test", 1), ("valid", 2)):
        folder = tmp_path_factory.mktemp(name)
        (folder / "source").mkdir()
        items[["item_id", "title", "description"]].to_csv(folder / "source" / "items.csv", index=False)
        changed = events.copy()
        if back is not None:
            _plant(changed, back, items["item_id"].to_numpy())
        changed.to_csv(folder / "source" / "interactions.csv", index=False)
        _write_few_attributes(folder / "few.yaml")
        config = parse_config({**CONFIG, "data": {"reader": "tables", "path": str(folder / "source")}})
        run(config, folder / "run", config_folder=folder, jobs=1)
        answer[name] = folder / "run"
    return answer


def _write_few_attributes(path: Path) -> None:
    """Three scales are read as ten are, in a third of the time."""
    movies = load_attributes("movies").model_dump(mode="json")
    path.write_text(yaml.safe_dump({**movies, "attributes": movies["attributes"][:3]}), encoding="utf-8")


def _plant(events: pd.DataFrame, back: int, catalog: np.ndarray) -> None:
    """Another item, one that the user never met, as the `back`-th event from the end."""
    rng = np.random.default_rng(0)
    for _, own in list(events.groupby("user_id", sort=True))[:PLANTED_USERS]:
        strange = np.setdiff1d(catalog, own["item_id"])
        events.loc[own.index[-back], "item_id"] = rng.choice(strange)


def learned(run_folder: Path, part: str) -> dict[str, torch.Tensor]:
    """All weights of a part of a run, by file and name, but for the histories that models carry to serve with."""
    path = run_folder / part
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    found = {
        f"{file.relative_to(run_folder)}:{name}": value
        for file in files
        for name, value in load_file(file).items()
        if not name.startswith("histories.")
    }
    assert found
    return found


@pytest.mark.parametrize("part", FROM_TRAINING)
def test_a_planted_test_item_moves_no_weight(runs: dict[str, Path], part: str) -> None:
    before, after = learned(runs["as_is"], part), learned(runs["test"], part)
    assert before.keys() == after.keys() and len(before) > 1
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("part", FROM_TRAINING)
def test_a_planted_validation_item_moves_no_weight(runs: dict[str, Path], part: str) -> None:
    before, after = learned(runs["as_is"], part), learned(runs["valid"], part)
    assert before.keys() == after.keys() and len(before) > 1
    for name, value in before.items():
        if name.endswith(":term.value"):
            # The scores to serve with have read the validation item: those of the planted users, or of whoever has them in
            # the shuffled control, and no others.
            moved = ((value - after[name]).abs() > 1e-4).any(dim=1)
            assert 0 < int(moved.sum()) <= PLANTED_USERS, name
        else:
            # Other texts in a batch are other sums: scores of training prefixes move by rounding, and models with them.
            torch.testing.assert_close(value, after[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("planted", ["test", "valid"])
def test_items_are_scored_and_normalised_as_before(runs: dict[str, Path], planted: str) -> None:
    for name in ("scores.parquet", "refined_items.parquet"):
        before, after = (pd.read_parquet(runs[some] / name) for some in ("as_is", planted))
        if "kind" in before:
            before, after = (some[some["kind"] == "item"].reset_index(drop=True) for some in (before, after))
        pd.testing.assert_frame_equal(before, after)
    before, after = (pd.read_csv(runs[some] / "tuning" / "curves.csv") for some in ("as_is", planted))
    pd.testing.assert_frame_equal(before, after)


def user_scores(run_folder: Path) -> pd.DataFrame:
    scores = pd.read_parquet(run_folder / "scores.parquet")
    return scores[scores["kind"] == "user"].set_index(["source", "id", "attribute", "position"])["value"]


def test_no_score_of_a_user_has_read_a_planted_test_item(runs: dict[str, Path]) -> None:
    pd.testing.assert_series_equal(user_scores(runs["as_is"]), user_scores(runs["test"]))


@pytest.mark.parametrize(
    "source", ["baselines/popularity", "baselines/item_knn", "baselines/ease", "base", "refined"]
)
def test_what_is_recommended_comes_from_what_was_known(runs: dict[str, Path], source: str) -> None:
    """Test lists are made before the test event; only whom one would have hit changes."""
    folder = source if "/" in source else f"backbones/sasrec/{source}/seed3"
    before, after = (
        pd.read_parquet(runs[some] / folder / "recommendations.parquet") for some in ("as_is", "test")
    )
    pd.testing.assert_frame_equal(before, after)
    hits, others = (pd.read_parquet(runs[some] / folder / "per_user.parquet") for some in ("as_is", "test"))
    assert (hits["mrr"] != others["mrr"]).sum() <= PLANTED_USERS and not hits["mrr"].equals(others["mrr"])


def test_validation_items_are_known_when_the_test_is_made(runs: dict[str, Path]) -> None:
    """The other way round: what may be read is read, so the tests above do look at what moves."""
    before, after = user_scores(runs["as_is"]), user_scores(runs["valid"])
    assert not before.equals(after)
    before, after = (
        pd.read_parquet(runs[some] / "backbones/sasrec/base/seed3/recommendations.parquet")
        for some in ("as_is", "valid")
    )
    assert not before.equals(after)
