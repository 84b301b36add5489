"""Who is who among launched processes, from the variables that launchers set; one alone talks to nobody."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guided_refine.errors import InputError
from guided_refine.processes import Processes, launched, read_environment, unseen

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
ONE_OF_TWO_BY_ACCELERATE = {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}


@given(st.integers(0, 100), st.integers(1, 9))
def test_shares_are_even_and_join_to_the_whole(n: int, count: int) -> None:
    shares = [list(range(n))[Processes(rank, count).share(n)] for rank in range(count)]
    assert [place for share in shares for place in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("variables", [TORCHRUN, MPIRUN, ONE_OF_TWO_BY_ACCELERATE | TORCHRUN])
def test_launchers_variables_are_read(variables: dict[str, str]) -> None:
    assert read_environment(variables) == Processes(3, 4, 1, 2)


@pytest.mark.parametrize(
    "variables",
    [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "8"}, {"RANK": "many", "WORLD_SIZE": "4"}],
)
def test_without_all_of_them_a_process_is_alone(variables: dict[str, str]) -> None:
    assert read_environment(variables) == Processes()


def test_several_asked_for_and_one_started_is_refused() -> None:
    with pytest.raises(InputError, match="--multi_gpu"):
        read_environment(ONE_OF_TWO_BY_ACCELERATE)


def test_one_alone_talks_to_nobody() -> None:
    tensor = torch.ones(3)
    Processes().sum(tensor)
    Processes().join()
    assert tensor.tolist() == [1, 1, 1] and Processes().tell([1, {"a": None}]) == [1, {"a": None}]
    assert launched() == Processes() and not torch.distributed.is_initialized()


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second = Processes(1, 2, 1, 2)
    assert second.device(torch.device("cuda"), "train.device") == torch.device("cuda:1")
    assert second.device(torch.device("cpu"), "train.device") == torch.device("cpu")
    assert Processes().device(torch.device("cuda:0"), "train.device") == torch.device("cuda:0")
    for processes, asked in ((second, "cuda:0"), (Processes(0, 3, 0, 3), "cuda")):
        with pytest.raises(InputError, match=r"train\.device.* 2 GPUs"):
            processes.device(torch.device(asked), "train.device")


def test_hidden_variables_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    before = dict(os.environ)
    with pytest.raises(KeyError), unseen():
        assert read_environment(os.environ) == Processes() and "MASTER_PORT" not in os.environ
        os.environ["A_NAME_THAT_NOBODY_HAS"]
    assert dict(os.environ) == before
