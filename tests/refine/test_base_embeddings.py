"""Reading one's own base embeddings, well-formed and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from guided_refine.errors import InputError
from guided_refine.refine.base_embeddings import load_base_embeddings

IDS = ["a", "b", "c"]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def _npy(path: Path, vectors: np.ndarray) -> Path:
    np.save(path / "e.npy", vectors)
    return path / "e.npy"


def _safetensors(path: Path, vectors: np.ndarray) -> Path:
    save_file({"e": vectors}, path / "e.safetensors")
    return path / "e.safetensors"


def _columns(path: Path, vectors: np.ndarray) -> Path:
    frame = pd.DataFrame(vectors, columns=[f"d{i}" for i in range(vectors.shape[1])])
    # Another order, and an item that k-core filtering has dropped.
    frame = frame.assign(item_id=IDS[: len(frame)])[::-1]
    extra = frame.iloc[:1].assign(item_id="gone")
    pd.concat([extra, frame]).to_parquet(path / "e.parquet")
    return path / "e.parquet"


def _lists(path: Path, vectors: np.ndarray) -> Path:
    pd.DataFrame({"item_id": IDS[::-1], "embedding": list(vectors[::-1])}).to_parquet(path / "e.parquet")
    return path / "e.parquet"


@pytest.mark.parametrize("write", [_npy, _safetensors, _columns, _lists])
def test_every_format_gives_catalog_order(write: Callable[[Path, np.ndarray], Path], tmp_path: Path) -> None:
    got = load_base_embeddings(write(tmp_path, VECTORS), IDS)
    assert got.dtype == np.float32 and np.array_equal(got, VECTORS)


@pytest.mark.parametrize("write", [_npy, _safetensors, _columns, _lists])
def test_a_value_that_is_no_number_names_its_item(
    write: Callable[[Path, np.ndarray], Path], tmp_path: Path
) -> None:
    vectors = VECTORS.copy()
    vectors[1, 0] = np.nan
    with pytest.raises(InputError, match="not a finite number for item 'b'"):
        load_base_embeddings(write(tmp_path, vectors), IDS)


def test_shape_and_type_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2\), expected \(3, width\)"):
        load_base_embeddings(_npy(tmp_path, VECTORS[:2]), IDS)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        load_base_embeddings(_npy(tmp_path, VECTORS[:, 0]), IDS)
    with pytest.raises(InputError, match="expected numbers"):
        load_base_embeddings(_npy(tmp_path, VECTORS.astype(str)), IDS)
    np.save(tmp_path / "o.npy", np.array([{}, 1, 2], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a readable \.npy"):
        load_base_embeddings(tmp_path / "o.npy", IDS)
    save_file({"x": VECTORS, "y": VECTORS}, tmp_path / "two.safetensors")
    with pytest.raises(InputError, match="holds 2 tensors"):
        load_base_embeddings(tmp_path / "two.safetensors", IDS)
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_base_embeddings(tmp_path / "cut.safetensors", IDS)
    with pytest.raises(InputError, match="does not exist"):
        load_base_embeddings(tmp_path / "none.npy", IDS)
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(InputError, match=r"must end in \.npy"):
        load_base_embeddings(tmp_path / "e.csv", IDS)


def test_parquet_faults(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    faults = {
        "no row for item 'b' and 1 more of 3": pd.DataFrame({"item_id": ["a"], "d": [1.0]}),
        "two rows for item 'a'": pd.DataFrame({"item_id": ["a", "a", "b", "c"], "d": [1.0] * 4}),
        "no column 'item_id'": pd.DataFrame({"id": IDS, "d": [1.0] * 3}),
        "column 't' does not hold numbers": pd.DataFrame({"item_id": IDS, "d": [1.0] * 3, "t": IDS}),
        "vector of item 'b' has shape": pd.DataFrame({"item_id": IDS, "e": [[1.0], [1.0, 2.0], [1.0]]}),
        "does not hold lists of numbers": pd.DataFrame({"item_id": IDS, "e": [["x"], ["y"], ["z"]]}),
    }
    for message, frame in faults.items():
        frame.to_parquet(path)
        with pytest.raises(InputError, match=message):
            load_base_embeddings(path, IDS)
