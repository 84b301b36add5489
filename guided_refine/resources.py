"""Where the attribute sets and the dashboard lie: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from guided_refine.errors import InputError


def resource_folder(name: str) -> Path:
    """Folder `attributes` or `apps`; raises `InputError` when the installation lacks it.

    >>> resource_folder("attributes").is_dir()
    True
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(f"this installation has no folder '{name}'; install guided-refine again")
