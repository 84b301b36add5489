"""The trial's charts: what was found is in them, and nothing in them belongs on a page of the other brightness."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from reading import drawn_lines

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


def every(charts: Any, found: dict[str, Any]) -> dict[str, str]:
    drawn = {name: getattr(charts, name)(found) for name in CHARTS}
    return drawn | {kind: charts.curve(found, kind) for kind in ("deletion", "insertion")}


def told(body: str) -> list[str]:
    """What one is told who points at the parts of a chart."""
    return [title for e in ElementTree.fromstring(body).iter() if (title := e.get("title"))]


def readable(name: str) -> str:
    return name.replace("_", " ")


def test_they_hold_what_was_found(charts: Any, found: dict[str, Any]) -> None:
    drawn = every(charts, found)
    rows = told(drawn["importance"])
    for entry in found["importance"]:
        for view, name in (("direct", "direct"), ("encoder", "through the encoder")):
            mean, lower, upper = (entry[view][key] for key in ("mean", "lower", "upper"))
            line = f"{readable(entry['attribute'])}, {name}: {mean:.3f}, interval {lower:.3f} to {upper:.3f}"
            assert line.replace("-", "−") in rows
    order = [line.split(",")[0] for line in rows[::2]]
    sizes = {readable(e["attribute"]): e["encoder"]["mean"] for e in found["importance"]}
    assert [sizes[name] for name in order] == sorted(sizes.values(), reverse=True)
    points = [float(line.split()[-1]) for line in told(drawn["swarm"]) if re.search(r" [+-]\d\.\d{3}$", line)]
    expected = sorted(v for row in found["points"]["encoder"] for v in row)
    assert sorted(points) == pytest.approx(expected, abs=6e-4)
    described = [row for row in found["segments"] if row["encoder"] is not None]
    shares = [float(line.split()[-1].rstrip("%")) for line in told(drawn["groups"]) if line.endswith("%")]
    assert sum(shares) == pytest.approx(100 * len(described), abs=0.06 * len(shares))
    assert f"{found['interactions'][0]['mean']:+.3f}".replace("-", "−") in told(drawn["pairs"])[0]
    assert len(told(drawn["response"])) == len(found["monotone"])


def test_both_curves_have_one_scale(charts: Any, found: dict[str, Any]) -> None:
    means = found["curve_means"]
    low, high = min(map(min, means.values())), max(map(max, means.values()))
    room = 0.05 * (high - low)
    for kind in ("deletion", "insertion"):
        picture = ElementTree.fromstring(drawn_lines(charts.curve(found, kind)))
        for line, name in zip(picture, ("random", "direct", "encoder"), strict=True):
            heights = [float(pair.split(",")[1]) for pair in str(line.get("points")).split()]
            expected = [100 * (high + room - v) / (high - low + 2 * room) for v in means[f"{kind}_{name}"]]
            assert heights == pytest.approx(expected, abs=0.06)


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
        told[tones] = "".join(every(charts, found).values())
    only_light = set(vars(plain.LIGHT).values()) - set(vars(plain.DARK).values())
    only_dark = set(vars(plain.DARK).values()) - set(vars(plain.LIGHT).values())
    assert plain.DARK.raised in told[plain.DARK] and plain.LIGHT.raised in told[plain.LIGHT]
    assert not [colour for colour in only_light if f'"{colour}"' in told[plain.DARK]]
    assert not [colour for colour in only_dark if f'"{colour}"' in told[plain.LIGHT]]
