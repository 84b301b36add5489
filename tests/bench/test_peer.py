"""The peer's side: found or not, failing or not, and compared fairly."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import random_dataset

from guided_refine.bench.backbones import ndcg_of_vectors
from guided_refine.bench.events import write_events
from guided_refine.bench.peer import rectools_python, run_rectools
from guided_refine.bench.ranking import measure_rank, same_lists
from guided_refine.errors import InputError
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets
from guided_refine.progress import Progress

ROOT = Path(__file__).resolve().parents[2]


def stub(tmp_path: Path, code: str) -> Path:
    (tmp_path / "rectools").mkdir()
    (tmp_path / "rectools" / "peer.py").write_text(code, encoding="utf-8")
    return tmp_path


def test_a_missing_environment_is_no_error(tmp_path: Path) -> None:
    assert rectools_python(tmp_path) is None


def test_a_job_goes_in_and_a_result_comes_out(tmp_path: Path) -> None:
    peers = stub(
        tmp_path,
        "import json, os, pathlib, sys\n"
        "job = json.load(open(sys.argv[1]))\n"
        "answer = {'got': job['task'], 'omp': os.environ['OMP_NUM_THREADS']}\n"
        "(pathlib.Path(job['out']) / 'result.json').write_text(json.dumps(answer))\n",
    )
    job = {"task": "rank", "threads": 3}
    answer = run_rectools(job, tmp_path / "out", python=Path(sys.executable), peers=peers)
    assert answer == {"got": "rank", "omp": "3"}


def test_a_failing_peer_says_why(tmp_path: Path) -> None:
    peers = stub(tmp_path, "raise ValueError('no such model')\n")
    with pytest.raises(InputError, match=r"exit code 1.*no such model"):
        run_rectools({"threads": 1}, tmp_path / "out", python=Path(sys.executable), peers=peers)


def test_both_sides_use_the_same_torch() -> None:
    def pinned(path: str) -> str:
        found = re.search(r"^torch==(\S+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        return found[1]

    assert pinned("benchmarks/peers/rectools/requirements.txt") == pinned("constraints.txt")


def test_ndcg_of_exported_vectors_is_that_of_the_scores(tmp_path: Path) -> None:
    dataset = random_dataset(20, 12)
    draw = np.random.default_rng(0)
    users, known = draw.permutation(20), draw.permutation(12)[:9] + 1
    states = draw.standard_normal((20, 4)).astype(np.float32)
    vectors = draw.standard_normal((9, 4)).astype(np.float32)
    np.savez(tmp_path / "epoch.npz", user=users, state=states, item=known, vector=vectors)
    scores = np.full((20, 12), -1e9)
    for row, user in enumerate(users):
        for column, item in enumerate(known):
            scores[user, item - 1] = states[row] @ vectors[column]
    ranks = rank_targets(lambda some: scores[some], dataset, "valid")
    right = ranking_metrics(ranks["greater"].to_numpy(), ranks["equal"].to_numpy(), [10])["ndcg@10"].mean()
    assert ndcg_of_vectors(tmp_path / "epoch.npz", dataset) == pytest.approx(right)


def lists(path: Path, item: list[list[int]], score: list[list[float]], *, ours: bool) -> Path:
    if ours:
        np.savez(path, item=np.array(item), score=np.array(score, dtype=np.float32))
    else:
        user = np.repeat(np.arange(len(item)), [len(i) for i in item])
        np.savez(path, user=user, item=np.concatenate(item), score=np.concatenate(score))
    return path


def test_lists_are_equal_up_to_rounding(tmp_path: Path) -> None:
    ours = lists(tmp_path / "a.npz", [[4, 2, 7]], [[3.0, 2.0, 2.0]], ours=True)

    def theirs(item: list[int], score: list[float]) -> Path:
        return lists(tmp_path / "b.npz", [item], [score], ours=False)

    assert same_lists(ours, theirs([4, 2, 7], [3.0, 2.0, 2.0]), 1)
    assert same_lists(ours, theirs([4, 7, 2], [3.0, 2.00001, 2.0]), 1)
    assert not same_lists(ours, theirs([2, 4, 7], [3.0, 2.0, 2.0]), 1)
    assert not same_lists(ours, theirs([4, 2, 7], [3.0, 2.5, 2.0]), 1)
    assert not same_lists(ours, theirs([4, 2], [3.0, 2.0]), 1)


@pytest.mark.slow
@pytest.mark.skipif(rectools_python() is None, reason="make -C benchmarks/peers rectools")
def test_rectools_ranks_the_same_lists(tmp_path: Path) -> None:
    dataset = random_dataset(40, 60)
    draw = np.random.default_rng(0)
    states, vectors = draw.standard_normal((40, 5)), draw.standard_normal((60, 5))
    np.savez(tmp_path / "vectors.npz", state=states.astype(np.float32), vector=vectors.astype(np.float32))
    events = write_events(dataset, tmp_path / "events.npz")
    measure_rank(tmp_path / "vectors.npz", events, 1, tmp_path / "ours.npz", Progress(quiet=True))
    job = {
        "task": "rank",
        "events": str(events),
        "vectors": str(tmp_path / "vectors.npz"),
        "users": 40,
        "repeats": 1,
        "threads": 1,
        "k": 10,
    }
    python = rectools_python()
    assert python is not None
    run_rectools(job, tmp_path / "theirs", python=python)
    assert same_lists(tmp_path / "ours.npz", tmp_path / "theirs" / "ranked.npz", 40)
