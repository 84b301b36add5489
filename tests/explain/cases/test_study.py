"""The case as data: all of it by its schema, in agreement with other roads to the same numbers, and honest sentences."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from tiny_run import SILENT

from guided_refine.backbones.backbone import Backbone
from guided_refine.errors import InputError
from guided_refine.explain.cases.schema import case_schema
from guided_refine.explain.cases.study import _changes
from guided_refine.explain.encoder_answer import encoder_answer
from guided_refine.explain.explainer import Explainer, base_top
from guided_refine.explain.export import case_study
from guided_refine.explain.text import explain_user
from guided_refine.runfolder import RunFolder

SCHEMA = Draft202012Validator(case_schema())


@pytest.fixture(scope="module")
def explainer(finished: RunFolder) -> Explainer:
    return Explainer.open(finished.root)


@pytest.fixture(scope="module")
def case(explainer: Explainer) -> dict[str, Any]:
    return case_study(explainer, "u1", item="i3")


def walked(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value inside a JSON value, with the way to it."""
    yield path, value
    if isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walked(child, (*path, key))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(case_schema())


@pytest.mark.parametrize(
    ("user", "item", "k"), [("u1", "i3", None), (f"u{SILENT}", None, 3), ("u9", "i0", 1), ("u2", None, 500)]
)
def test_every_case_keeps_the_schema(
    explainer: Explainer, user: str, item: str | None, k: int | None
) -> None:
    found = case_study(explainer, user, item=item, k=k)
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert [error.message for error in SCHEMA.iter_errors(again)] == []


def test_the_schema_refuses_a_missing_and_an_extra_key_anywhere(case: dict[str, Any]) -> None:
    places = [path for path, value in walked(case) if isinstance(value, dict)]
    assert len(places) > 50
    # Entries of a list are alike: the first of each will do.
    places = [path for path in places if all(key == 0 for key in path if isinstance(key, int))]
    for path in places:
        spoilt = copy.deepcopy(case)
        target = spoilt
        for key in path:
            target = target[key]
        target["surplus"] = 1
        assert not SCHEMA.is_valid(spoilt), f"an extra key at {path} passed"
        del target["surplus"]
        for key in list(target):
            kept = target.pop(key)
            assert not SCHEMA.is_valid(spoilt), f"{path} without {key} passed"
            target[key] = kept
        assert SCHEMA.is_valid(spoilt)


def test_it_says_what_explain_says(finished: RunFolder, case: dict[str, Any]) -> None:
    answer = explain_user(finished.root, "u1", item="i3")
    for key in ("dataset", "model", "user", "events", "candidates", "history", "profile_estimated"):
        assert case[key] == answer[key]
    for mine, theirs in zip(case["recommendations"], answer["recommendations"], strict=True):
        assert {key: mine[key] for key in ("item_id", "rank", "score", "reason")} == {
            key: theirs[key] for key in ("item_id", "rank", "score", "reason")
        }
        assert sum(part["value"] for part in mine["parts"]) == pytest.approx(
            mine["score"], rel=1e-4, abs=1e-5
        )
        assert [p["value"] for p in mine["parts"]] == [p["value"] for p in theirs["parts"]]


def test_the_base_is_what_the_base_recommends(
    finished: RunFolder, explainer: Explainer, case: dict[str, Any]
) -> None:
    table = base_top(explainer, "u1", 5)
    assert table is not None
    assert [item["item_id"] for item in case["base"]] == table["item_id"].tolist()
    assert [item["rank"] for item in case["base"]] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([item["score"] for item in case["base"]], table["score"], rtol=1e-5)
    # Ranks beyond the list, by the whole ranking of each model.
    for variant, items, key in (
        ("base", [*case["recommendations"], case["next"]], "base_rank"),
        ("refined", case["base"], "refined_rank"),
    ):
        model = Backbone.load(finished.unit("sasrec", variant, 0))
        whole = model.recommend(["u1"], k=40, dataset=explainer.dataset, part="test")
        rank = dict(zip(whole["item_id"], whole["rank"], strict=True))
        assert [item[key] for item in items] == [rank[item["item_id"]] for item in items]


def test_every_sentence_has_its_number_and_no_title_runs(case: dict[str, Any]) -> None:
    said = [value for path, value in walked(case) if path[-1:] in (("sentence",), ("reason",), ("note",))]
    said += case["summary"]
    said = [one for one in said if one is not None]
    assert len(said) > 10
    for one in said:
        assert re.search(r"\d", one), one
        assert "\n" not in one and one.endswith((".", "RUN")), one


def test_nothing_names_a_place_on_this_machine(finished: RunFolder, case: dict[str, Any]) -> None:
    assert str(finished.root.parent) not in json.dumps(case)
    assert case["provenance"]["run"] == finished.root.name
    manifest = finished.manifest()
    assert case["provenance"]["trained"] == manifest["stages"]["sasrec/refined/seed0"]["finished"]
    assert case["provenance"]["split_sha256"] == Explainer.open(finished.root).dataset.split.sha256


def test_the_first_recommendation_is_seen_through_the_encoder_too(
    explainer: Explainer, case: dict[str, Any]
) -> None:
    first = case["recommendations"][0]
    number = explainer.item_number(first["item_id"])
    assert case["through_encoder"] == encoder_answer(explainer, explainer.user_number("u1"), number)
    assert case["schema_version"] == 3
    without = case_study(explainer, "u1", item="i3", encoder=False)
    past = case["through_encoder"]["sentences"][1]
    assert past in case["summary"] and past not in without["summary"]
    assert without == case | {"through_encoder": None, "summary": without["summary"]}
    assert SCHEMA.is_valid(without)


def test_where_no_user_has_the_scores_the_summary_tells_the_past(case: dict[str, Any]) -> None:
    spoilt = copy.deepcopy(case)
    change = spoilt["counterfactuals"]["changes"][0]
    past, told = case["through_encoder"]["sentences"][1], change["sentence"]
    one = {"scores": [], "size": 9.0, "feasible": True, "users": 0.5, "rank": 9}
    for feasible, view, expected in (
        (True, case["through_encoder"], [told, past]),
        (False, case["through_encoder"], [past]),
        (False, None, [told]),
    ):
        change["alone"], change["together"] = [one | {"feasible": feasible}], None
        assert _changes(spoilt | {"through_encoder": view}) == expected


def test_an_estimated_profile_has_no_spread(explainer: Explainer) -> None:
    found = case_study(explainer, f"u{SILENT}")
    assert found["profile_estimated"]
    assert {row["spread"] for row in found["profile"]} == {None}
    assert "estimated" in " ".join(found["summary"])


def test_a_run_without_a_base_has_nothing_to_compare(finished: RunFolder, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(finished.root, copied)
    shutil.rmtree(RunFolder(copied).unit("sasrec", "base", 0))
    found = case_study(Explainer.open(copied), "u1")
    assert found["base"] is None and found["moved"] is None
    assert {item["base_rank"] for item in found["recommendations"]} == {None}
    assert SCHEMA.is_valid(found)


def test_what_a_run_in_progress_adds_is_seen(finished: RunFolder, tmp_path: Path) -> None:
    """The explainer stays open, as the dashboard keeps it, while the control is still being trained."""
    copied = tmp_path / "run"
    shutil.copytree(finished.root, copied)
    unit = RunFolder(copied).unit("sasrec", "shuffled", 0)
    unit.rename(tmp_path / "not yet")
    explainer = Explainer.open(copied)
    before = case_study(explainer, "u1")
    assert before["moved"]["control"] is None
    (tmp_path / "not yet").rename(unit)
    assert case_study(explainer, "u1")["moved"]["control"]["variant"] == "shuffled"


def test_who_cannot_be_explained_is_told_why(explainer: Explainer) -> None:
    with pytest.raises(InputError, match=r"no user 'u11x'.*nearest: u11"):
        case_study(explainer, "u11x")
    with pytest.raises(InputError, match=r"no item 'i333'.*nearest"):
        case_study(explainer, "u1", item="i333")
    with pytest.raises(InputError, match="k must be a whole number, 1 or more, not 0"):
        case_study(explainer, "u1", k=0)


def test_a_user_without_history_is_refused(explainer: Explainer) -> None:
    """In a split by time a user's first event may lie in the test: nothing may be seen before it."""
    known = explainer.dataset.split.n_known.copy()
    known[7] = 0
    data = replace(explainer.dataset, split=replace(explainer.dataset.split, n_known=known))
    other = Explainer(explainer.folder, explainer.config, data, explainer.backbone, explainer.model, 0)
    with pytest.raises(InputError, match="user 'u7' has no event before the test of tiny"):
        case_study(other, "u7")


@pytest.mark.parametrize("name", ["truth.json", "backbones/sasrec/base/seed0/model.safetensors"])
def test_a_damaged_run_is_named_and_left_alone(finished: RunFolder, tmp_path: Path, name: str) -> None:
    copied = tmp_path / "run"
    shutil.copytree(finished.root, copied)
    hurt = copied / name
    hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 2])
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=re.escape(name)) as caught:
        case_study(Explainer.open(copied), "u1")
    if name == "truth.json":
        assert "anew with: guided-refine run CONFIG --out" in str(caught.value), "export does not make it"
        for odd in ("[]", '{"spread": {"rows": [1]}}', '{"spread": 3}'):
            hurt.write_text(odd, encoding="utf-8")
            with pytest.raises(InputError, match=r"truth\.json is damaged"):
                case_study(Explainer.open(copied), "u1")
        hurt.write_bytes(before[hurt])
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before
