"""Fixtures that more than one test folder needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from guided_refine.runfolder import RunFolder

# A busy machine is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SMALL_RUN = """
name: small
seed: 3
data:
  reader: sample
  options: {n_items: 60, n_users: 150}
attributes: movies
llm_options: {hidden: 32, layers: 2, vocabulary: 600, text_tokens: 48, event_tokens: 12, history_events: 6,
              snapshots: 2, pretrain_epochs: 2}
tune: {steps: 6, batch_size: 8, negatives: 8, save_every: 2}
backbones: [sasrec, gru4rec]
train: {width: 16, max_length: 20, batch_size: 32, max_epochs: 4, patience: 2}
variants: {sasrec: [base, refined, shuffled], gru4rec: [base, refined]}
evaluate: {bootstrap: 200}
"""


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


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that runs every stage in seconds."""
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(SMALL_RUN, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_run(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of `small_config`; read it, do not change it."""
    from guided_refine.config_file import load_config
    from guided_refine.pipeline import run

    out = tmp_path_factory.mktemp("runs") / "small"
    run(load_config(small_config), out, config_folder=small_config.parent)
    return out


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with base, refined and shuffled SASRec, made of real parts; read only."""
    from tiny_run import make_run

    folder = tmp_path_factory.mktemp("finished")
    return make_run(folder / "run", folder / "source")
