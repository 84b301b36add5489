"""The benches' rows keep their contract; what they measure is the real thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import random_dataset

from guided_refine.bench import BENCHES, run_bench, shown
from guided_refine.bench import backbones as backbones_bench
from guided_refine.bench import ranking as ranking_bench
from guided_refine.bench.curves import BASE, COLUMNS, QUICK, draw, points
from guided_refine.bench.epochs import measure_training
from guided_refine.bench.events import write_events
from guided_refine.bench.ranking import measure_rank, measure_recommend
from guided_refine.cli import main
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError
from guided_refine.progress import Progress

QUIET = Progress(quiet=True)
CONFIG = TrainConfig(width=8, max_length=6, max_epochs=2, patience=2, threads=1, device="cpu")
CONTRACT = {"name", "case", "ours", "peer", "peer_name", "unit", "ratio", "equal_results", "machine"}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(random_dataset(40, 15), tmp_path_factory.mktemp("bench") / "events.npz")


@pytest.fixture(scope="module")
def trained(events: Path) -> dict[str, Any]:
    return measure_training("sasrec", events, CONFIG, QUIET)


def test_a_training_is_measured(trained: dict[str, Any]) -> None:
    assert len(trained["seconds"]) == len(trained["ndcg"]) == 2
    assert trained["median"] > 0 and trained["peak_mib"] >= trained["start_mib"] > 0
    assert all(0 <= value <= 1 for value in trained["ndcg"])


def test_rows_of_trainings_keep_the_contract(trained: dict[str, Any]) -> None:
    dataset = random_dataset(40, 15)
    rates = {"float32": 1e9, "bfloat16": 4e9}
    versions = {"rectools": "0.19.0"}
    peer = {**trained, "median": 3 * trained["median"], "versions": versions, "settings": {}, "threads": 1}
    row = backbones_bench._row("sasrec", dataset, CONFIG, "float32", trained, peer, rates)
    assert set(row) >= CONTRACT
    assert row["ratio"] == pytest.approx(3)
    flop = row["flop"]["encoder"] + row["flop"]["catalog"]
    assert row["share_of_matmul_rate"] == pytest.approx(flop / 1e9 / trained["median"])
    low = backbones_bench._row("sasrec", dataset, CONFIG, "bfloat16", trained, None, rates)
    assert low["peer"] is None and low["ratio"] is None
    assert low["share_of_matmul_rate"] < row["share_of_matmul_rate"]
    assert "3.0x" in shown(row) and "x" not in shown(low).splitlines()[0].split(":")[1]


def test_recommending_is_measured(events: Path) -> None:
    measured = measure_recommend("bert4rec", events, CONFIG, 2, QUIET)
    dataset = random_dataset(40, 15)
    unseen = [15 - len(set(dataset.visible(u, "test").tolist())) for u in range(40)]
    assert measured["rows"] == sum(min(10, n) for n in unseen)
    assert len(measured["seconds"]) == 2


def test_ranked_lists_are_the_best_unseen_items(events: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    states, vectors = (draw.standard_normal((n, 4)).astype(np.float32) for n in (40, 15))
    np.savez(tmp_path / "vectors.npz", state=states, vector=vectors)
    measure_rank(tmp_path / "vectors.npz", events, 1, tmp_path / "ranked.npz", QUIET)
    scores = states @ vectors.T
    for user, sequence in enumerate(random_dataset(40, 15).sequences):
        scores[user, sequence - 1] = -np.inf
    right = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    with np.load(tmp_path / "ranked.npz") as found:
        kept = np.isfinite(found["score"])
        assert np.array_equal(found["item"][kept], right[kept])


def test_the_large_catalog_says_whether_it_stays_within_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_bench, "LARGE", replace(ranking_bench.LARGE, items=5))
    bench, large = ranking_bench._Ranking(QUIET, 1, None), random_dataset(3, 5)
    small = {"median": 2.0, "peak_mib": 100, "seconds": [2.0]}
    row = bench._row("rank", large, small, None, 0)
    assert set(row) >= CONTRACT and row["ours"] == pytest.approx(1.5)
    assert "under the limit" in row["notes"][0]
    assert "OVER the limit" in bench._row("rank", large, {**small, "peak_mib": 5000}, None, 0)["notes"][0]


def test_every_curve_moves_one_quantity() -> None:
    for sizes in (BASE, QUICK):
        found = points(sizes)
        assert {p.against for p in found} == {"items", "users", "length"}
        for p in found:
            moved = {"items": p.shape.items, "users": p.shape.users, "length": p.length}
            assert moved[p.against] == p.value
            if p.against != "items":
                assert p.shape.items == sizes.base.items
        full = [p.value for p in found if p.against == "items" and p.series == "sasrec"]
        assert max(full) == sizes.items_full_softmax
    # A window of the longest length is really filled.
    assert all(p.shape.most > p.length + 3 for p in points(BASE) if p.against == "length")


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    rows = [
        (against, n, series, n / 100, 300 + n, 200, 0.1)
        for against in ("items", "users", "length")
        for series in ("sasrec", "recommend")
        for n in (10, 1000)
    ]
    path = draw(pd.DataFrame(rows, columns=list(COLUMNS)), tmp_path / "curves.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_options_a_bench_does_not_have_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scoring", "--epochs", "3", "--quiet"]) == 2
    assert (
        "no option --epochs; its options: --llm, --dtype, --threads, --out, --quick"
        in capsys.readouterr().err
    )
    assert main(["bench", "curves", "--quiet"]) == 2
    assert "--out DIR" in capsys.readouterr().err
    assert main(["bench", "backbones", "--models", "sasrek", "--quiet"]) == 2
    assert "did you mean 'sasrec'?" in capsys.readouterr().err
    with pytest.raises(InputError, match="its options: --data, --threads, --quick"):
        run_bench("ranking", json_file=None, progress=QUIET, data=None, threads=1, epochs=2, quick=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BENCHES) - {"scoring"}))
def test_the_quick_form_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bench in (backbones_bench, ranking_bench):
        monkeypatch.setattr(bench, "rectools_python", lambda: None)
    options: dict[str, Any] = {"curves": {"out": tmp_path, "epochs": 1}, "backbones": {"epochs": 1}}.get(
        name, {}
    )
    if name != "store":  # it has no threads to set
        options = {**options, "threads": 1}
    rows = run_bench(name, json_file=tmp_path / "rows.json", progress=QUIET, quick=True, **options)
    assert rows and all(set(row) >= CONTRACT and row["ours"] > 0 for row in rows)
    assert (tmp_path / "rows.json").stat().st_size > 0
