"""A committed reference gives its numbers again, carries nothing of the data, and says what does not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open
from tiny_run import make_run

from guided_refine.backbones.backbone import Backbone
from guided_refine.check import check_run
from guided_refine.cli import main
from guided_refine.errors import InputError
from guided_refine.reference import REFERENCE, WEIGHTS, check_reference, is_reference, keep_reference
from guided_refine.runfolder import RunFolder

COMMITTED = Path(__file__).parents[1] / "experiments" / "reference"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("reference")
    return make_run(root / "run", root / "source")


@pytest.fixture
def kept(run: RunFolder, tmp_path: Path) -> Path:
    keep_reference(run.root, "sasrec", tmp_path / "kept")
    return tmp_path / "kept"


def test_the_numbers_come_back_from_raw_and_from_prepared_data(run: RunFolder, kept: Path) -> None:
    assert is_reference(kept) and not is_reference(run.root)
    for data in (None, run.data):
        (row,) = check_reference(kept, data=data)
        assert row["agrees"] and row["difference"] == 0
    recorded = next(r for r in check_run(run.root) if r["variant"] == "base")
    assert row["metrics"]["ndcg@10"] == pytest.approx(recorded["metrics"]["ndcg@10"], abs=5e-3)


def test_no_history_and_no_id_travels(run: RunFolder, kept: Path) -> None:
    model = Backbone.load(run.unit("sasrec", "base", 0))
    with safe_open(kept / WEIGHTS, framework="pt") as file:
        assert set(file.keys()) == set(model.model.state_dict())
    text = (kept / REFERENCE).read_text()
    assert not any(f'"{name}"' in text for name in [*model.item_ids, *model.user_ids])


def test_missing_data_are_named_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUIDED_REFINE_DATA", str(tmp_path))
    assert main(["evaluate", str(COMMITTED / "ml1m_bert4rec")]) == 2
    assert capsys.readouterr().err == (
        f"guided-refine: {tmp_path / 'ml_1m'} does not exist; set GUIDED_REFINE_DATA to the folder that holds ml_1m\n"
    )


def test_evaluate_takes_a_reference(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(kept), "--quiet"]) == 0
    assert "same" in capsys.readouterr().out


def test_a_reference_can_be_trained_further(
    run: RunFolder, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (kept / WEIGHTS).read_bytes()
    assert main(["evaluate", str(kept), "--restart", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    fit = json.loads((kept / REFERENCE).read_text())
    assert found["epochs"] == math.ceil(fit["epochs"] / 3) and found["kind"] == "sasrec"
    assert found["before"] == pytest.approx(fit["validation_ndcg@10"], abs=5e-3)
    assert found["mean"] == pytest.approx(found["after"] - found["before"])
    assert (kept / WEIGHTS).read_bytes() == weights
    # Only on request does it take the place of what the run's own restart said.
    assert json.loads((kept / REFERENCE).read_text()) == fit
    assert main(["evaluate", str(kept), "--restart", "--keep", "--quiet"]) == 0
    assert f"{found['verdict']}: converged means" in capsys.readouterr().out
    now = json.loads((kept / REFERENCE).read_text())
    assert now["convergence"]["after"] == found["after"]
    assert now | {"convergence": None} == fit | {"convergence": None}
    assert main(["evaluate", str(kept), "--keep"]) == 2
    assert main(["evaluate", str(run.root), "--restart"]) == 2


def test_other_weights_other_data_and_damage_are_said(run: RunFolder, kept: Path) -> None:
    reference = json.loads((kept / REFERENCE).read_text())
    (kept / REFERENCE).write_text(json.dumps(reference | {"split_sha256": "0" * 64}))
    with pytest.raises(InputError, match="was measured on split 000000000000"):
        check_reference(kept)
    worse = {**reference["metrics"], "ndcg@10": reference["metrics"]["ndcg@10"] + 0.01}
    (kept / REFERENCE).write_text(json.dumps(reference | {"metrics": worse}))
    (row,) = check_reference(kept)
    assert not row["agrees"] and row["difference"] == pytest.approx(0.01)
    assert main(["evaluate", str(kept), "--quiet"]) == 1
    (kept / WEIGHTS).write_bytes((kept / WEIGHTS).read_bytes()[:-8])
    with pytest.raises(InputError, match=WEIGHTS):
        check_reference(kept)
    with pytest.raises(InputError, match="no row for gru4rec/base"):
        keep_reference(run.root, "gru4rec", kept)
    with pytest.raises(InputError, match="user term"):
        keep_reference(run.root, "sasrec", kept, variant="refined")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.parent.name for path in COMMITTED.glob(f"*/{REFERENCE}")))
def test_committed_numbers_come_back(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDED_REFINE_DATA", str(shared / "data"))
    (row,) = check_reference(COMMITTED / name)
    assert row["agrees"], row
