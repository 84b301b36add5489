"""Tuning as a stage of a run: what its key names, and a base that it adds to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_run import make_run
from toy_shop import make_attributes

from guided_refine.config import Config, TuneConfig
from guided_refine.config_file import parse_config
from guided_refine.files import sha256_json
from guided_refine.pipeline.plan import Plan
from guided_refine.pipeline.stages import Stages
from guided_refine.pipeline.tuning import tune_run
from guided_refine.pipeline.units import load_unit, run_dataset, run_scores
from guided_refine.progress import Progress
from guided_refine.refine.kept_base import KeptBase
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.language_model import load_language_model
from guided_refine.scoring.scorer import score_dataset
from guided_refine.scoring.store import ScoreStore

PLAIN = {
    "name": "x",
    "data": {"reader": "sample"},
    "attributes": "movies",
    "backbones": ["gru4rec", "sasrec"],
}


def plan_of(tmp_path: Path, tune: dict[str, object], **others: object) -> Plan:
    config: Config = parse_config({**PLAIN, **others, "tune": tune})
    return Plan(config, RunFolder(tmp_path), tmp_path, strict=False)


def test_the_key_names_the_base_only_where_it_is_read(tmp_path: Path) -> None:
    base = {"task": "base_recommender"}
    assert plan_of(tmp_path, base).tune_base == ("sasrec", "base", 0)
    assert plan_of(tmp_path, base, backbones=["gru4rec"]).tune_base == ("gru4rec", "base", 0)
    assert plan_of(tmp_path, {}).tune_base is None
    assert plan_of(tmp_path, {**base, "enabled": False}).tune_base is None

    def key(tune: dict[str, object], **others: object) -> str:
        plan = plan_of(tmp_path, tune, **others)
        return plan.key(plan.tune_inputs)

    for others in ({"train": {"width": 32}}, {"refine": {"scale": 2.0}}):
        assert key(base) != key(base, **others)
        assert key({}) == key({}, **others)
    assert key(base) == key(base, evaluate={"ks": [3]})


def test_keys_of_other_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="does not read like_threshold"):
        TuneConfig(like_threshold=4.0)
    assert TuneConfig(task="like_dislike", like_threshold=4.0).like_threshold == 4.0


def run_until_base(llm: Path, tmp_path: Path, tune: dict[str, object], **options: object) -> RunFolder:
    """A run of a toy shop whose base is trained and which is to be tuned."""
    definitions = make_attributes().model_dump(mode="json")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(definitions), encoding="utf-8")
    lengths = {"text_tokens": 24, "event_tokens": 8, "history_events": 4}
    return make_run(
        tmp_path / "run",
        tmp_path / "source",
        until="base",
        attributes=str(tmp_path / "toy.yaml"),
        llm=str(llm),
        llm_options={"device": "cpu", "dtype": "float32", **lengths, **options},
        tune=tune,
    )


@pytest.mark.parametrize("digits", ["soft", "hard"])
def test_a_run_tunes_on_what_its_base_leaves_open(tiny_folder: Path, tmp_path: Path, digits: str) -> None:
    """A run that keeps hard digits is tuned by soft ones too: they fix the scale that the objective reads in."""
    tune = {"task": "base_recommender", "steps": 2, "batch_size": 4, "negatives": 6, "dropout": 0}
    folder = run_until_base(tiny_folder, tmp_path, tune, digits=digits)
    plan = Plan(folder.config(), folder, tmp_path, strict=False)
    files = tune_run(plan, run_dataset(plan), plan.tune_base, Progress(quiet=True))
    assert folder.adapter / "adapter_model.safetensors" in files
    manifest = json.loads((folder.tuning / "manifest.json").read_text())
    assert plan.tune_base is not None
    base = load_unit(plan, plan.tune_base)
    dataset = run_dataset(plan)
    value = run_scores(plan, dataset, "untuned")["untuned"].item_value
    if digits == "hard":
        soft = plan.config.llm_options.model_copy(update={"digits": "soft"})
        model = load_language_model(str(tiny_folder), soft)
        with ScoreStore(tmp_path / "fresh.sqlite") as store:
            value = score_dataset(model, dataset, plan.attributes, soft, store, source="untuned")[
                0
            ].item_value
        assert (8 * value != (8 * value).round()).any()
    assert manifest["made_from"]["item_scores"] == sha256_json(np.nan_to_num(value, nan=-1).tolist())
    kept = KeptBase(base, dataset, value, plan.config.refine)
    assert manifest["made_from"]["base"] == [kept.fingerprint, kept.weight]
    assert manifest["cut_off"] == dataset.split.cut_off


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_side_that_is_not_tuned_keeps_its_scores(side: str, tiny_folder: Path, tmp_path: Path) -> None:
    tune = {"side": side, "steps": 2, "batch_size": 4, "negatives": 6, "learning_rate": 0.01}
    folder = run_until_base(tiny_folder, tmp_path, tune)
    plan = Plan(folder.config(), folder, tmp_path, strict=False)
    Stages(plan, tests=False).tune()
    scores = run_scores(plan, run_dataset(plan))
    before, after = scores["untuned"], scores["tuned"]
    same = {
        "item": np.array_equal(before.item_value, after.item_value, equal_nan=True),
        "user": np.array_equal(before.users.value, after.users.value),
    }
    assert same == {"user": side == "item", "item": side == "user"}
