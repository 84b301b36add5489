"""Fixtures that more than one test folder needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and tokenizers beside the checkout; without it the test is skipped, in CI it fails."""
    folder = Path(os.environ.get("GUIDED_REFINE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not folder.is_dir():
        reason = f"no shared data at {folder}; set GUIDED_REFINE_SHARED"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
