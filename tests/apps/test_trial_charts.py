"""The trial's charts: what was found is in them, and nothing in them belongs on a page of the other brightness."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial import try_explanations
from guided_refine.resources import resource_folder
from guided_refine.runfolder import RunFolder

CHARTS = ("importance", "swarm", "groups", "pairs", "response")


@pytest.fixture(scope="module")
def found(finished: RunFolder) -> dict[str, Any]:
    return try_explanations(Explainer.open(finished.root), users=6, seed=1)


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(resource_folder("apps")))
    import dashboard_trial_charts

    yield dashboard_trial_charts


def specs(charts: Any, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    drawn = {name: getattr(charts, name)(found) for name in CHARTS}
    return drawn | {kind: charts.curve(found, kind) for kind in ("deletion", "insertion")}


def values(spec: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    data = spec.get("data") or spec["layer"][layer]["data"]
    rows: list[dict[str, Any]] = data["values"]
    return rows


def test_they_hold_what_was_found(charts: Any, found: dict[str, Any]) -> None:
    drawn = specs(charts, found)
    assert json.loads(json.dumps(drawn, allow_nan=False)) == drawn
    rows = {(row["label"], row["view"]): row for row in values(drawn["importance"], 0)}
    for entry in found["importance"]:
        name = entry["attribute"].replace("_", " ")
        for view, told in (("direct", "direct"), ("encoder", "through the encoder")):
            row = rows[name, told]
            assert (row["mean"], row["lower"], row["upper"]) == tuple(
                entry[view][key] for key in ("mean", "lower", "upper")
            )
    order = list(dict.fromkeys(label for label, _ in rows))
    sizes = [rows[name, "through the encoder"]["mean"] for name in order]
    assert sizes == sorted(sizes, reverse=True)
    points = values(drawn["swarm"], 1)
    assert sorted(row["value"] for row in points) == sorted(
        v for row in found["points"]["encoder"] for v in row
    )
    for kind in ("deletion", "insertion"):
        random = [row["score"] for row in values(drawn[kind], 0) if row["order"] == "random order"]
        assert random == found["curve_means"][f"{kind}_random"]
    described = [row for row in found["segments"] if row["encoder"] is not None]
    shares = [row["share"] for row in values(drawn["groups"], 0)]
    assert sum(shares) == pytest.approx(len(described))
    assert values(drawn["pairs"], 0)[0]["mean"] == found["interactions"][0]["mean"]
    assert len(values(drawn["response"], 1)) == len(found["monotone"])


def test_of_many_attributes_the_most_important_are_drawn(charts: Any, found: dict[str, Any]) -> None:
    assert len(charts.by_importance(found, 4)) == 4
    most = max(range(10), key=lambda a: found["importance"][a]["encoder"]["mean"])
    assert charts.by_importance(found, 1) == [most]


def test_a_dark_page_gets_no_colour_of_a_light_one(
    charts: Any, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sys.modules["dashboard_tones"]
    told = {}
    for tones in (plain.LIGHT, plain.DARK):
        for module in (plain, charts):
            monkeypatch.setattr(module, "tones", lambda tones=tones: tones)
        told[tones] = json.dumps(specs(charts, found))
    only_light = set(vars(plain.LIGHT).values()) - set(vars(plain.DARK).values())
    only_dark = set(vars(plain.DARK).values()) - set(vars(plain.LIGHT).values())
    assert plain.DARK.ink in told[plain.DARK] and plain.LIGHT.ink in told[plain.LIGHT]
    assert not [colour for colour in only_light if f'"{colour}"' in told[plain.DARK]]
    assert not [colour for colour in only_dark if f'"{colour}"' in told[plain.LIGHT]]
