"""The evaluation inside a run: what lies in the folder, and that sampled candidates come on request only."""

from __future__ import annotations

import shutil
from pathlib import Path

from guided_refine.config_file import load_config
from guided_refine.files import read_json
from guided_refine.pipeline import run
from guided_refine.progress import Progress


def test_what_lies_beside_the_metrics(small_run: Path) -> None:
    baselines = read_json(small_run / "baselines.json")
    assert [r["name"] for r in baselines["rows"]] == ["random", "popularity", "popularity_last_week"]
    assert {d["backbone"] for d in baselines["differences"]} == {"sasrec", "gru4rec"}
    n_users = read_json(small_run / "metrics.json")[0]["n_users"]
    strata = read_json(small_run / "strata.json")
    ours = [
        r for r in strata if (r["backbone"], r["variant"], r["metric"]) == ("sasrec", "refined", "ndcg@10")
    ]
    for kind in ("popularity", "history"):
        assert sum(r["n_users"] for r in ours if r["kind"] == kind) == n_users
    beyond = read_json(small_run / "beyond_accuracy.json")
    assert len(beyond["rows"]) == 5 + 3 and "attribute" in beyond["diversity_of"]
    assert all(r["map@10"] == r["mrr@10"] for r in read_json(small_run / "metrics.json"))
    assert not (small_run / "sampled.json").exists()
    text = (small_run / "report.md").read_text(encoding="utf-8")
    assert (
        "sampled negatives" not in text and "## For whom: SASRec" in text and "Checked: in all 8 rows" in text
    )


def test_sampled_candidates_on_request_and_with_a_warning(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    before = (out / "metrics.json").read_bytes()
    config = load_config(
        small_config, ["evaluate.sampled_negatives=20", "evaluate.baselines=[popularity, ease]"]
    )
    run(config, out, config_folder=small_config.parent, update=True, progress=Progress(quiet=True))
    # Beside full ranking, never instead of it; and nothing was trained again.
    assert (out / "metrics.json").read_bytes() == before
    found = read_json(out / "sampled.json")
    assert found["negatives"] == 20 and len(found["rows"]) == 5 + 2
    assert {r["sampling_seed"] for r in found["rows"]} == {3} and all(
        r["candidates"] == 21 for r in found["rows"]
    )
    log = (out / "run.log").read_text(encoding="utf-8")
    assert "WARNING: Metrics over 20 sampled negatives per user are NOT comparable" in log
    assert "NOT comparable" in (out / "report.md").read_text(encoding="utf-8")


def test_a_warm_restart_on_request_touches_no_other_number(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    before = (out / "metrics.json").read_bytes()
    for wanted in (True, False):
        config = load_config(
            small_config, [f"evaluate.warm_restart={str(wanted).lower()}", "evaluate.baselines=[popularity]"]
        )
        run(config, out, config_folder=small_config.parent, update=True, progress=Progress(quiet=True))
        assert (out / "metrics.json").read_bytes() == before
        text = (out / "report.md").read_text(encoding="utf-8")
        assert ("Would more training have helped?" in text) == wanted
        assert (out / "convergence.json").exists() == wanted
        kept = list(out.glob("backbones/*/*/*/convergence.json"))
        assert len(kept) == (5 if wanted else 0)
        assert not list(out.rglob("checkpoint*"))
        if wanted:
            rows = read_json(out / "convergence.json")
            assert {(r["backbone"], r["variant"]) for r in rows} >= {
                ("sasrec", "refined"),
                ("gru4rec", "base"),
            }
            assert all(r["lower"] <= r["mean"] <= r["upper"] for r in rows)
