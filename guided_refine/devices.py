"""Which device computes: the GPU where there is one, else the CPU, or the one that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guided_refine.errors import InputError

if TYPE_CHECKING:
    import torch


def pick_device(wanted: str, key: str) -> torch.device:
    """`auto` is a GPU where there is one, else the CPU.

    Raises `InputError` for a device that this machine does not have, naming the config's `key`.

    >>> pick_device("cpu", "train.device")
    device(type='cpu')
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"{key}: '{wanted}' is not available here; use cpu or auto") from error
    return torch.device(wanted)
