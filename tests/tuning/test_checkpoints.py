"""A checkpoint counts only when it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_refine.tuning.checkpoints import SEAL, is_whole, latest_whole, seal


def make(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights" * step)
    (checkpoint / "optimizer.pt").write_bytes(b"state" * step)
    seal(checkpoint)
    return checkpoint


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    assert latest_whole(tmp_path) is None
    two, ten = make(tmp_path, 2), make(tmp_path, 10)
    assert latest_whole(tmp_path) == ten
    assert two.exists()


@pytest.mark.parametrize("damage", ["cut", "lost", "unsealed", "seal cut"])
def test_a_broken_one_is_deleted_and_the_one_before_taken(tmp_path: Path, damage: str) -> None:
    two, ten = make(tmp_path, 2), make(tmp_path, 10)
    if damage == "cut":
        (ten / "optimizer.pt").write_bytes(b"state")
    elif damage == "lost":
        (ten / "adapter_model.safetensors").unlink()
    elif damage == "unsealed":
        (ten / SEAL).unlink()
    else:
        (ten / SEAL).write_text('{"optim')
    assert not is_whole(ten)
    assert latest_whole(tmp_path) == two
    assert not ten.exists()
