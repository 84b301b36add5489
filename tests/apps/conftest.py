"""One finished tiny run for all tests of the dashboard."""

from __future__ import annotations

import pytest
from tiny_run import make_run

from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with base, refined and shuffled SASRec; read only."""
    folder = tmp_path_factory.mktemp("finished")
    return make_run(folder / "run", folder / "source")
