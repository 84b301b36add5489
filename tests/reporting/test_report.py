"""The report: complete, honest, readable with pieces missing, and safe against what titles contain."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from run_builder import EVIL_TITLE, build_run

from guided_refine.config_file import parse_config
from guided_refine.errors import InputError
from guided_refine.files import read_json
from guided_refine.reporting.report import write_report
from guided_refine.reporting.runfiles import RunFiles
from guided_refine.reporting.score_sections import scorer_section
from guided_refine.reporting.spread_section import spread_lines

PLOTS = {"change", "gains", "deciles", "strata", "distributions", "recovery", "training", "tuning"}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it."""
    return build_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(scope="module")
def report(finished_run: Path) -> str:
    written = write_report(finished_run)
    assert {p.stem for p in written if p.suffix == ".png"} == PLOTS
    assert all(p.exists() for p in written)
    return (finished_run / "report.md").read_text(encoding="utf-8")


def test_headline_states_the_gain_and_its_cause(report: str, finished_run: Path) -> None:
    first = report.split("## ")[0]
    gain = next(
        d
        for d in read_json(finished_run / "differences.json")
        if (d["backbone"], d["variant"], d["metric"]) == ("sasrec", "refined", "ndcg@10")
    )
    assert "**SASRec: refined embeddings raise NDCG@10 over the base" in first
    assert (
        f"difference {gain['mean']:+.4f}, 95 % interval [{gain['lower']:+.4f}, {gain['upper']:+.4f}]" in first
    )
    assert "Refined beats shuffled by +" in first and "the gain comes from what the scores say" in first
    assert "GRU4Rec" in first and "No control was run beside it" in first
    assert "Not converged" not in first


def test_every_row_of_metrics_is_in_the_table(report: str) -> None:
    for variant in ("base", "refined", "shuffled", "warm restart"):
        assert re.search(rf"^\| {variant} \| 0\.\d{{4}} ", report, re.MULTILINE), variant
    assert "| 120 | 2 | yes | 1,234 |" in report
    assert "random order" in report and "popularity" in report
    assert "Check failed" not in report


def test_scores_are_judged(report: str) -> None:
    assert "no knowledge of the world" in report and "builtin\\|x" in report
    assert "Flat (tuned): flatness" in report
    assert "Redundant (tuned): humour and darkness (-1.00)" in report
    assert "untuned, texts cut | 3" in report
    assert "unknown item\\|pipe | 7" in report


def test_unusual_digits_are_named(report: str, tmp_path: Path) -> None:
    assert "most probable digit" not in report and "calibrated" not in report
    options = {"digits": "hard", "calibration": "content_free"}
    config = parse_config({"name": "toy", "tune": {"enabled": False}, "llm_options": options})
    text = "\n".join(scorer_section(RunFiles(tmp_path, config)))
    assert "**most probable digit**" in text and "**calibrated**" in text


def test_truth_is_reported_in_words(report: str) -> None:
    assert "## Do the scores mean what they say?" in report
    assert "**pace below 0.65 with tuned scores**" in report
    assert "humour" in report.split("Spearman correlation")[1]


def test_the_worth_of_spread_is_reported_and_decides_what_it_is_called(report: str) -> None:
    assert "**Is the spread worth anything?**" in report
    assert "so it may be shown as confidence" not in report  # all spreads of this run are the same
    row = {"source": "tuned", "n": 40, "correlation": 0.31, "lower": 0.12, "upper": 0.5}
    rows = [{"attribute": name, **row} for name in ("humour", "mean of all")]
    text = "\n".join(spread_lines({"spread": {"rows": rows, "tracks_error": {"tuned": True}}}))
    assert "| mean of all | 0.31 [0.12, 0.50] |" in text
    assert "The spread of tuned scores tracks their error (rank correlation +0.31 [+0.12, +0.50])" in text
    assert spread_lines({"rows": [], "differences": []}) == []  # the truth of a run of an earlier version


def test_titles_cannot_break_the_page(report: str) -> None:
    assert EVIL_TITLE[:20] not in report and "<script>" not in report
    assert r"Cats \| Dogs &lt;script&gt;" in report
    tables: dict[int, set[int]] = {}
    for block, lines in enumerate(report.split("\n\n")):
        for line in lines.splitlines():
            if line.startswith("|"):
                tables.setdefault(block, set()).add(len(re.findall(r"(?<!\\)\|", line)))
    assert tables and all(len(widths) == 1 for widths in tables.values())


def test_pictures_exist(report: str, finished_run: Path) -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", report)
    assert len(named) == len(PLOTS)
    assert all((finished_run / name).read_bytes().startswith(b"\x89PNG") for name in named)


def test_same_files_again(finished_run: Path, report: str) -> None:
    before = {p.name: p.read_bytes() for p in (finished_run / "plots").iterdir()}
    write_report(finished_run)
    assert (finished_run / "report.md").read_text(encoding="utf-8") == report
    assert {p.name: p.read_bytes() for p in (finished_run / "plots").iterdir()} == before


@pytest.mark.parametrize(
    "gone",
    [
        ["metrics.json", "scores/summary.json", "backbones/sasrec/refined/seed1/curve.csv"],
        ["differences.json", "scores.parquet", "tuning/curves.csv"],
        ["per_user.parquet", "data"],
    ],
)
def test_missing_pieces_are_named(finished_run: Path, tmp_path: Path, gone: list[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for name in gone:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    write_report(run)
    text = (run / "report.md").read_text()
    assert f"This run is not complete: {len(gone)} pieces are missing" in text
    assert all(f"`{name}" in text.split("## Not there yet")[1] for name in gone)


def test_only_a_config(finished_run: Path, tmp_path: Path) -> None:
    shutil.copy(finished_run / "config.yaml", tmp_path / "config.yaml")
    assert write_report(tmp_path) == [tmp_path / "report.md"]
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# toy\n") and "`metrics.json`" in text


def test_no_run_and_a_damaged_file(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        write_report(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "metrics.json").write_text("[{")
    with pytest.raises(InputError, match=r"metrics\.json is damaged"):
        write_report(run)
