"""Several processes that a launcher started together (`accelerate launch`, `torchrun`): who is who, and what they share.

One process alone is the usual case. Then nothing here does anything, and torch.distributed is not loaded.
Data between processes travel as tensors over gloo (processors) or NCCL (GPUs), and as JSON.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from guided_refine.errors import InputError

if TYPE_CHECKING:
    import torch

#: What launchers call a process's number, how many there are, and both on this machine alone.
_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_COUNT = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL_RANK = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_LOCAL_COUNT = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")

#: How long a process waits for the others within a training before it gives up. One that has died is noticed at once.
TIMEOUT = timedelta(minutes=30)
#: How long it waits for the first one, which alone prepares data, scores and tunes.
_NO_END = timedelta(days=365)


@dataclass(frozen=True)
class Processes:
    """This process among those that were launched together: `rank` of `count`, `local_rank` of `local_count` here.

    >>> Processes().first, Processes(rank=1, count=2).first
    (True, False)
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """True for the one that writes files and speaks; also for one alone."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of `n` things in a row; shares differ by one at most.

        >>> [Processes(rank, 3).share(4) for rank in range(3)]
        [slice(0, 1, None), slice(1, 2, None), slice(2, 4, None)]
        """
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def device(self, device: torch.device, key: str) -> torch.device:
        """The GPU of this process where `device` is a GPU: each process needs one of its own.

        Raises `InputError`, naming the config's `key`, where there are too few.
        """
        if self.count == 1 or device.type != "cuda":
            return device
        import torch

        if device.index is not None or self.local_count > torch.cuda.device_count():
            raise InputError(
                f"{key}: {self.local_count} processes were launched on a machine with {torch.cuda.device_count()} "
                "GPUs, and each needs one of its own; launch fewer, or set it to cuda (without a number) or cpu"
            )
        return torch.device("cuda", self.local_rank)

    def sum(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` by its sum over all processes, in place; all must call it, with equal shapes.

        Raises `InputError` where another process has ended or does not answer.
        """
        if self.count > 1:
            import torch.distributed as dist

            with _answered():
                _joined(self)
                dist.all_reduce(tensor)

    def tell(self, value: Any = None) -> Any:
        """What the first process gives (JSON-ready), in all of them; the others wait for it as long as it takes.

        Raises `InputError` where another process has ended.

        >>> Processes().tell({"unit": 3})
        {'unit': 3}
        """
        if self.count == 1:
            return value
        import torch
        import torch.distributed as dist

        with _answered():
            group = _joined(self)
            said = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
            length = torch.tensor([len(said)])
            dist.broadcast(length, src=0, group=group)
            if not self.first:
                said = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(said, src=0, group=group)
        return json.loads(bytes(said.tolist()))

    def join(self) -> None:
        """Meet the others, where the launcher's variables say; whatever needs them does so by itself.

        Raises `InputError` where they do not come.
        """
        if self.count > 1:
            _joined(self)


@functools.cache
def _joined(processes: Processes) -> Any:
    """Meets the others, once; returns the group for what may take long."""
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available() and processes.local_count <= torch.cuda.device_count()
    if on_gpu:
        torch.cuda.set_device(processes.local_rank)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        try:
            dist.init_process_group(backend, rank=processes.rank, world_size=processes.count, timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the {processes.count} processes that were launched cannot meet at MASTER_ADDR and MASTER_PORT "
                f"({str(error).splitlines()[0]}); launch them with: accelerate launch --num_processes {processes.count}"
            ) from error
        atexit.register(_leave)
    return dist.new_group(backend="gloo", timeout=_NO_END)


def _leave() -> None:
    """Ends what gloo runs beside this process: its threads, still there when Python ends, at times abort it."""
    import torch.distributed as dist

    _joined.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise InputError(
            "another of the processes that were launched together has ended or does not answer, so this one ends "
            "too; the reason stands in what that one wrote, and the same command continues where this stopped"
        ) from error


@functools.cache
def launched() -> Processes:
    """This process among those of its launcher, from the variables that launchers set; looked up once.

    Raises `InputError` where a launcher was asked for several processes and started one.
    """
    return read_environment(os.environ)


def read_environment(environment: Mapping[str, str]) -> Processes:
    """`launched` from the given variables.

    >>> read_environment({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    Processes(rank=1, count=2, local_rank=1, local_count=2)
    >>> read_environment({})
    Processes(rank=0, count=1, local_rank=0, local_count=1)
    """

    def number(names: tuple[str, ...], default: int) -> int:
        found = [environment[name] for name in names if environment.get(name, "").isdecimal()]
        return int(found[0]) if found else default

    count = number(_COUNT, 1)
    rank = number(_RANK, -1)
    # Set together, by its launcher of single processes, where more than one was asked for.
    if "ACCELERATE_USE_CPU" in environment and "MASTER_PORT" in environment and rank < 0:
        raise InputError(
            "accelerate launch was asked for several processes but started only this one, as it does on a machine "
            "without several GPUs; add --multi_gpu, with which it starts them on processors too, or ask for one"
        )
    if count == 1 or rank < 0:
        return Processes()
    return Processes(rank, count, number(_LOCAL_RANK, rank), number(_LOCAL_COUNT, count))


@contextmanager
def unseen() -> Iterator[None]:
    """Hide the launcher's variables from libraries that would, on seeing them, wait for the other processes.

    What processes do together they do through this module, and what one does alone must not wait at all.
    """
    names = {*_RANK, *_COUNT, *_LOCAL_RANK, *_LOCAL_COUNT, "MASTER_ADDR", "MASTER_PORT"}
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
