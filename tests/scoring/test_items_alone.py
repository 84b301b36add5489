"""A run whose model reads no user's scores: items alone are scored, and everything after it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from guided_refine.cli import main
from guided_refine.files import read_json


def test_a_run_whose_model_reads_no_user_scores_items_alone(
    small_config: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = small_config.read_text(encoding="utf-8").replace("snapshots: 2", "snapshots: 0").splitlines()
    kept = [line for line in lines if not line.startswith(("tune:", "backbones:", "variants:"))]
    kept += ["tune: {enabled: false}", "refine: {users: false}"]
    kept += ["variants: [base, refined, shuffled, random_columns, trainable_columns]", ""]
    config = tmp_path / "items.yaml"
    config.write_text("\n".join(kept), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["run", str(config), "--out", str(out), "--quiet"]) == 0
    scores, usual = (pd.read_parquet(root / "scores.parquet") for root in (out, small_run))
    assert set(scores["kind"]) == {"item"}
    same = usual[(usual["kind"] == "item") & (usual["source"] == "untuned")].reset_index(drop=True)
    np.testing.assert_allclose(scores["value"], same["value"], atol=1e-4)
    assert read_json(out / "scores" / "summary.json")["counts"]["untuned"]["users_without_history"] == 0
    assert not (out / "scores" / "alone.json").exists()
    capsys.readouterr()
    assert main(["explain", str(out), "--user", "u0001"]) == 0
    assert "Estimated from the items of the history" in capsys.readouterr().out
