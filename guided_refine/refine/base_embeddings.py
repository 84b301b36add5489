"""One's own base embeddings, from npy, safetensors or Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from guided_refine.errors import InputError
from guided_refine.files import read_parquet


def load_base_embeddings(path: Path | str, item_ids: list[str]) -> np.ndarray:
    """Vectors of the items in `item_ids`, in that order; float32 (n_items, width).

    - `.npy`: a two-dimensional array, one row per item in catalog order.
    - `.safetensors`: one two-dimensional tensor, rows likewise.
    - `.parquet`: `item_id` and either numeric columns or one column of lists; in any order, and rows of items
      outside the catalog are left out.

    Raises `InputError` naming file and row or item when the shape does not fit, an item has no row or two, or a
    value is not a finite number.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"base.embeddings: {path} does not exist")
    readers = {".npy": _npy, ".safetensors": _safetensors}
    if path.suffix in readers:
        vectors = readers[path.suffix](path)
        if vectors.ndim != 2 or len(vectors) != len(item_ids):
            raise InputError(
                f"base.embeddings: {path} has shape {tuple(vectors.shape)}, expected ({len(item_ids)}, width), one "
                "row per catalog item in catalog order; a .parquet file with an item_id column may have any order"
            )
    elif path.suffix == ".parquet":
        vectors = _parquet(path, item_ids)
    else:
        raise InputError(f"base.embeddings: {path} must end in .npy, .safetensors or .parquet")
    if vectors.dtype.kind not in "fiu" or vectors.shape[1] == 0:
        raise InputError(f"base.embeddings: {path} holds {vectors.dtype} values, expected numbers")
    vectors = vectors.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"base.embeddings: {path} has a value that is not a finite number for item '{item_ids[bad[0]]}'"
            + (f" and {len(bad) - 1} more items" if len(bad) > 1 else "")
        )
    return vectors


def _npy(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"base.embeddings: {path} is not a readable .npy file of numbers ({error})"
        ) from error
    return array


def _safetensors(path: Path) -> np.ndarray:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"base.embeddings: {path} is not a readable safetensors file ({error})") from error
    if len(tensors) != 1:
        raise InputError(
            f"base.embeddings: {path} holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:5])}), expected one"
        )
    tensor = next(iter(tensors.values()))
    # bfloat16 has no numpy type.
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


def _parquet(path: Path, item_ids: list[str]) -> np.ndarray:
    frame = read_parquet(path)
    if "item_id" not in frame:
        raise InputError(f"base.embeddings: {path} has no column 'item_id'; add it beside the vectors")
    frame = frame.set_index(frame.pop("item_id").astype(str))
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise InputError(f"base.embeddings: {path} has two rows for item '{twice}'")
    missing = [item for item in item_ids if item not in frame.index]
    if missing:
        raise InputError(
            f"base.embeddings: {path} has no row for item '{missing[0]}'"
            + (f" and {len(missing) - 1} more of {len(item_ids)} items" if len(missing) > 1 else "")
            + "; every catalog item needs one"
        )
    frame = frame.loc[item_ids]
    if frame.shape[1] == 1 and isinstance(frame.iloc[0, 0], (list, np.ndarray)):
        return _from_lists(path, frame.iloc[:, 0])
    other = [name for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if other:
        raise InputError(f"base.embeddings: {path}: column '{other[0]}' does not hold numbers")
    return frame.to_numpy(dtype=np.float32)


def _from_lists(path: Path, column: pd.Series) -> np.ndarray:
    try:
        rows = [np.asarray(value, dtype=np.float32) for value in column]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"base.embeddings: {path}: column '{column.name}' does not hold lists of numbers"
        ) from error
    shape = rows[0].shape
    for item, row in zip(column.index, rows, strict=True):
        if row.ndim != 1 or row.shape != shape:
            raise InputError(
                f"base.embeddings: {path}: the vector of item '{item}' has shape {row.shape}, the first one {shape}"
            )
    return np.stack(rows)
