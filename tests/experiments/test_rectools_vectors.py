"""Vectors of another library: all items in the run's order, or one sentence where that library is not there."""

from __future__ import annotations

from pathlib import Path

from scripts import call
from tiny_run import make_run

from guided_refine.bench.peer import HOW_TO_INSTALL, rectools_python
from guided_refine.data.dataset import load_dataset
from guided_refine.files import read_parquet
from guided_refine.refine.base_embeddings import read_embeddings


def test_every_item_has_a_vector_or_it_is_said_what_to_install(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "source", until="data")
    out = tmp_path / "vectors.parquet"
    command = ("rectools_vectors.py", run.root, "--out", out, "--epochs", 2)
    if rectools_python() is None:
        assert HOW_TO_INSTALL in call(*command, code=1) and not out.exists()
        return
    assert "validation NDCG@10" in call(*command)
    ids = load_dataset(run.data).item_ids.tolist()
    assert read_parquet(out)["item_id"].tolist() == ids
    assert read_embeddings(out, ids).shape == (len(ids), run.config().train.width)
