"""64 attributes with long names, endless titles, users without history: every page still draws and says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from chromium import BINARY, browser
from reading import bars_of
from serving import served
from test_app import page, text_of
from tiny_run import make_run

from guided_refine.files import read_parquet, write_parquet
from guided_refine.runfolder import RunFolder

MANY = 64
TITLE = "An endless title with <b>markup</b> & " + "veryverylongword" * 12 + " and more words" * 10
PAGES = ("overview", "recommendations", "items", "attributes", "cases")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with 64 attributes and long titles."""
    root = tmp_path_factory.mktemp("wide")
    entry = {"definition": "What is measured.", "low": "little", "high": "much"}
    asked = {"item_question": "How much has it?", "user_question": "How much is wanted?"}
    names = [f"attribute_with_a_name_that_is_rather_long_{i}" for i in range(MANY)]
    rows = [{"name": name, **entry, **asked} for name in names]
    attributes = root / "many.yaml"
    attributes.write_text(
        yaml.safe_dump({"domain": "many", "version": 1, "attributes": rows}), encoding="utf-8"
    )
    train = {"width": 80, "max_length": 8, "max_epochs": 1, "layers": 1, "threads": 1}
    folder = make_run(root / "run", root / "source", attributes=str(attributes), train=train)
    path = folder.data / "items.parquet"
    items = read_parquet(path)
    items["title"] = [f"{i}: {TITLE}" for i in range(len(items))]
    write_parquet(path, items)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_every_page_draws(wide: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(wide.root, name, monkeypatch)
    assert not app.exception and not app.error, text_of(app)


def test_the_sliders_of_64_attributes_still_rank_anew(
    wide: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(wide.root, "recommendations", monkeypatch)
    sliders = [slider for slider in app.slider if str(slider.key).startswith("taste")]
    assert len(sliders) == MANY
    sliders[40].set_value(0.99).run()
    assert not app.exception and not app.error
    assert "were not in the list before" in text_of(app)


def test_a_waterfall_of_many_parts_still_ends_at_the_result(
    wide: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(wide.root, "overview", monkeypatch)
    import dashboard_bars as bars
    from dashboard_tones import PARTS

    from guided_refine.explain.text import explain_user

    item = explain_user(wide.root, "u1", k=1)["recommendations"][0]
    rows = bars_of(bars.waterfall(item["parts"], item["score"], total="score"))
    assert len(rows) <= PARTS + 3 and rows[-1][0] == "= score"
    values = [float(number.replace("−", "-")) for _, number, _, _ in rows]
    assert sum(values[:-1]) == pytest.approx(values[-1], abs=5e-4 * len(rows))
    # The end that a bar leads to is where the next one starts; the last is where the whole ends.
    left, right = rows[-1][2:]
    at, result = (left, right) if values[-1] >= 0 else (right, left)
    for value, (_, _, low, high) in zip(values[:-1], rows[:-1], strict=True):
        start, end = (low, high) if value >= 0 else (high, low)
        assert start == pytest.approx(at, abs=0.02)
        at = end
    assert at == pytest.approx(result, abs=0.02)


def test_a_user_without_history_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", tmp_path / "source", until="refined")
    app = page(folder.root, "recommendations", monkeypatch)
    data = sys.modules["dashboard_data"]
    data.explainer_of(folder).dataset.split.n_known[3] = 0
    app.selectbox(key="user").select("u3").run()
    assert not app.exception and not app.error
    assert "no event of this user" in text_of(app)
    app = page(folder.root, "cases", monkeypatch)
    app.selectbox(key="user").select("u3").run()
    assert not app.exception and not app.error
    assert any("no event before the test" in str(warning.value) for warning in app.warning)


@pytest.mark.slow
@pytest.mark.skipif(not BINARY.exists() and not os.environ.get("CI"), reason=f"{BINARY} is not installed")
def test_nothing_is_cut_off_in_a_browser(wide: RunFolder, tmp_path: Path) -> None:
    with served(wide.root) as address, browser(tmp_path / "profile") as tab:
        for width in (1280, 390):
            tab.size(width, 900)
            for name in PAGES:
                path = "" if name == "overview" else name
                tab.open(f"{address}/{path}", ready="document.querySelector('h1')")
                cut = "(m => m.scrollWidth - m.clientWidth)(document.querySelector('[data-testid=stMain]'))"
                assert tab.evaluate(cut) <= 0, (name, width)
                tab.screenshot(tmp_path / f"{name}_{width}.png", width)
        assert not tab.errors
