"""Which of a trainer's checkpoints is whole: a kill while one is written must not be what a run resumes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from guided_refine.errors import InputError
from guided_refine.files import read_json, sha256_file, write_json

SEAL = "sealed.json"


def seal(checkpoint: Path) -> None:
    """Record size and hash of every file, in one atomic step, once all of them are written."""
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL)
    write_json(checkpoint / SEAL, {str(p.relative_to(checkpoint)): sha256_file(p) for p in files})


def is_whole(checkpoint: Path) -> bool:
    """Whether the checkpoint was sealed and its files are still what was sealed."""
    if not (checkpoint / SEAL).is_file():
        return False
    try:
        sealed = read_json(checkpoint / SEAL)
    except InputError:
        return False
    return all(
        (checkpoint / name).is_file() and sha256_file(checkpoint / name) == digest
        for name, digest in sealed.items()
    )


def latest_whole(folder: Path) -> Path | None:
    """The newest whole `checkpoint-<step>` in `folder`; the broken ones are deleted, so that their step is redone."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    newest = None
    for checkpoint in found:
        if is_whole(checkpoint):
            newest = newest or checkpoint
        else:
            shutil.rmtree(checkpoint)
    return newest
