"""How baselines, strata, lists and sampled candidates are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from run_builder import build_run

from guided_refine.evaluation.metrics import headline_metrics
from guided_refine.files import read_json, write_json
from guided_refine.reporting.evaluation_sections import baseline_section, evaluation_sections
from guided_refine.reporting.runfiles import read_run
from guided_refine.reporting.strata_plot import plot_strata


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "run"))


def text_of(run: Path) -> str:
    """The sections without the plots of a whole report, which take seconds."""
    files = read_run(run)
    metrics = headline_metrics([m for m in files.rows[0] if "@" in m])
    plots = {"strata": run / "plots" / "strata.png"}
    return "\n".join([*baseline_section(files, metrics), *evaluation_sections(files, plots)])


def test_strata_table_holds_what_the_file_holds(run: Path) -> None:
    section = text_of(run).split("## For whom: SASRec")[1].split("## ")[0]
    rows = [
        r
        for r in read_json(run / "strata.json")
        if (r["backbone"], r["variant"], r["metric"]) == ("sasrec", "refined", "ndcg@10")
    ]
    assert {r["kind"] for r in rows} == {"popularity", "cold", "history"}
    for row in rows:
        bounds = str(row["low"]) if row["low"] == row["high"] else f"{row['low']}–{row['high']}"
        line = f"| {row['kind']}, {row['stratum']}: {bounds} | {row['n_users']:,} |"
        if row["n_users"] == 0:
            assert line not in section
            continue
        assert line in section
        shown = f"{row['gain']:+.4f}"
        if row["gain_lower"] is not None:
            shown += f" [{row['gain_lower']:+.4f}, {row['gain_upper']:+.4f}]"
        assert shown in section
    assert "not corrected" in section and "plots/strata.png" in section


def test_baselines_stand_with_the_results(run: Path) -> None:
    found = read_json(run / "baselines.json")
    found["rows"][1] |= {"scorer": "EASE", "settings": {"regularisation": 50.0}}
    found["rows"][1]["searched"] = [{"regularisation": 50.0, "ndcg@10": 0.1}]
    write_json(run / "baselines.json", found)
    text = text_of(run)
    gap = next(d for d in found["differences"] if (d["against"], d["metric"]) == ("popularity", "ndcg@10"))
    assert f"| {gap['mean']:+.4f} [{gap['lower']:+.4f}, {gap['upper']:+.4f}] |" in text
    assert "| EASE (λ = 50) |" in text and "chosen on validation" in text
    assert "popularity\\_last\\_week was left out: these data have an order but no times." in text


def test_beyond_accuracy_and_seeds(run: Path) -> None:
    text = text_of(run)
    section = text.split("## Beyond accuracy")[1].split("## ")[0]
    assert section.count("| SASRec, ") == 4 and "| popularity |" in section
    assert "users in common in training" in section
    assert "## Over seeds" in text and "Paired t over the seeds" in text
    assert "Checked: in all 14 rows NDCG lies between" in text


def test_a_row_that_cannot_be_is_reported_not_raised(run: Path) -> None:
    rows = read_json(run / "metrics.json")
    rows[3]["ndcg@10"] = rows[3]["recall@10"] + 0.2
    write_json(run / "metrics.json", rows)
    text = text_of(run)
    assert text.count("**Check failed: ") >= 1 and rows[3]["variant"] in text.split("**Check failed: ")[1]
    assert "Checked: in all" not in text


def test_sampled_numbers_come_with_their_warning_only(run: Path) -> None:
    assert "sampled negatives" not in text_of(run)
    names = [("sasrec", "base"), ("baseline", "popularity")]
    row = {"seed": 0, "candidates": 101.0, "ndcg@10": 0.5, "recall@10": 0.7, "mrr": 0.4}
    rows = [{"backbone": b, "variant": v, **row} for b, v in names]
    write_json(run / "sampled.json", {"warning": "Do not compare.", "negatives": 100, "rows": rows})
    section = text_of(run).split("## Among 100 sampled negatives")[1].split("## ")[0]
    assert section.strip().startswith("**Do not compare.**")
    assert "| SASRec, base | 0.5000 | 0.7000 | 0.4000 | 101 |" in section
    assert "| popularity | 0.5000 |" in section


def test_a_run_made_before_these_files(run: Path) -> None:
    for name in ("baselines", "strata", "beyond_accuracy"):
        (run / f"{name}.json").unlink()
    text = text_of(run)
    assert "For whom" not in text and "Beyond accuracy" not in text and "for reference" not in text
    assert "Checked: in all 12 rows" in text


def test_no_gain_no_plot(built: Path, tmp_path: Path) -> None:
    rows = read_json(built / "strata.json")
    assert plot_strata([r for r in rows if r["variant"] == "base"], tmp_path / "a.png") is None
    assert plot_strata([], tmp_path / "a.png") is None
    few = [r | {"gain_lower": None} for r in rows]
    assert plot_strata(few, tmp_path / "a.png") is None
