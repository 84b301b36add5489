"""Two real processes train as one with the doubled batch does; a pair that was killed goes on; nobody waits for the dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from backbones.paired_trainings import CASES, build
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("paired_trainings.py")
SECONDS = 900  # far more than needed: a pair that hangs fails the test instead of the whole suite


def start_pair(folder: Path, what: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), what],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(str(SCRIPT.parents[up]) for up in (1, 2)),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def ended(pair: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit codes and what went to standard error; nobody is left behind."""
    try:
        said = [process.communicate(timeout=SECONDS)[1] for process in pair]
        return [(process.returncode, text) for process, text in zip(pair, said, strict=True)]
    finally:
        for process in pair:
            process.kill()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str]]]:
    """What two processes left behind, until one was killed, and how they ended."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, ended(start_pair(folder, "all"))


@pytest.fixture(scope="module")
def trained(pair: tuple[Path, list[tuple[int, str]]]) -> Path:
    return pair[0]


def curve(folder: Path, name: str) -> list[tuple[float, float]]:
    return [(row["loss"], row["ndcg@10"]) for row in json.loads((folder / f"{name}.json").read_text())]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_with_the_doubled_batch(case: str, trained: Path) -> None:
    model, data = build(case, 16)
    alone = model.fit(data)
    losses, ndcg = zip(*curve(trained, f"{case} 0"), strict=True)
    assert losses == pytest.approx([row["loss"] for row in alone.curve], rel=1e-5)
    assert ndcg == pytest.approx([row["ndcg@10"] for row in alone.curve], abs=1e-6)
    expected = model.model.state_dict()
    # Adam turns a gradient of nearly zero, which is rounding, into a whole step; hence the absolute part.
    for name, weight in load_file(trained / f"{case} 0.safetensors").items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("case", [*CASES, "dropout"])
def test_both_end_with_the_same_weights_to_the_last_bit(case: str, trained: Path) -> None:
    first, second = (load_file(trained / f"{case} {rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert curve(trained, f"{case} 0") == curve(trained, f"{case} 1")


def test_a_training_that_comes_apart_is_said_by_both(trained: Path) -> None:
    for rank in range(2):
        assert "came apart in epoch 1" in (trained / f"diverged {rank}").read_text()


def test_nobody_waits_for_a_dead_process(pair: tuple[Path, list[tuple[int, str]]]) -> None:
    (dead, _), (code, said) = pair[1]
    assert dead == -signal.SIGKILL
    assert code == 1 and "another of the processes" in said, said


def test_a_killed_pair_goes_on_to_the_same_weights(trained: Path) -> None:
    for code, said in ended(start_pair(trained, "continue")):
        assert code == 0, said
    assert (trained / "log").read_text().count("continues after epoch 2") == 1
    for rank in range(2):
        expected = load_file(trained / f"whole {rank}.safetensors")
        got = load_file(trained / f"continued {rank}.safetensors")
        assert all(torch.equal(got[name], expected[name]) for name in expected)
    # One process alone reads other batches: the pair's checkpoint is not its own.
    model, data = build("bert4rec sampled_softmax", 8, max_epochs=4, dropout=0.2)
    assert (
        curve(trained, "whole 0")[0][0] != model.fit(data, checkpoint=trained / "checkpoint").curve[0]["loss"]
    )
