"""A small real model, and stores: a file, and a database of a PostgreSQL server that the tests start for themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import Server, binaries, server

from guided_refine.config import LLMOptions
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.scoring.store import ScoreStore


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A running server; without PostgreSQL's programs or psycopg the test is skipped, in CI it fails."""
    folder = binaries()
    lacking = [] if folder else ["no PostgreSQL here (Debian: apt-get install postgresql)"]
    try:
        import psycopg  # noqa: F401
    except ImportError:
        lacking.append("no psycopg here (pip install 'guided-refine[postgresql]')")
    if lacking or folder is None:
        if os.environ.get("CI"):
            pytest.fail(lacking[0])
        pytest.skip(lacking[0])
    with server(folder) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store is to be: once a file, once a database."""
    if request.param == "sqlite":
        return str(tmp_path / "s.sqlite")
    running: Server = request.getfixturevalue("postgresql")
    return running.fresh_store()


@pytest.fixture(scope="module")
def stories(shared: Path) -> LanguageModel:
    """A real pretrained model, small enough for a test; read it, do not change it."""
    return load_language_model(str(shared / "tokenizers" / "stories260K"), LLMOptions())


@pytest.fixture()
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    """An empty store in a file."""
    with ScoreStore(tmp_path / "store.sqlite") as store:
        yield store
