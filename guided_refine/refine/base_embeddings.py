"""One's own base embeddings, from an array, a frame, or an npy, safetensors or Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from guided_refine.errors import InputError
from guided_refine.files import read_parquet


def load_base_embeddings(path: Path | str, item_ids: list[str]) -> np.ndarray:
    """The vectors that a config names; as `read_embeddings`, and an error names the config's key."""
    try:
        return read_embeddings(path, item_ids)
    except InputError as error:
        raise InputError(f"base.embeddings: {error}") from error


def read_embeddings(source: Any, item_ids: list[str]) -> np.ndarray:
    """Vectors of the items in `item_ids`, in that order; float32 (n_items, width).

    - an array, tensor or `.npy`: two dimensions, one row per item in the order of `item_ids`.
    - `.safetensors`: one two-dimensional tensor, rows likewise.
    - a frame or `.parquet`: `item_id`, as a column or as the frame's named index, and either numeric columns or one
      column of lists; in any order, and rows of other items are left out.

    Raises `InputError` naming file and row or item when the shape does not fit, an item has no row or two, or a
    value is not a finite number.

    >>> frame = pd.DataFrame({"item_id": ["b", "a"], "x": [2.0, 1.0], "y": [0.0, 5.0]})
    >>> read_embeddings(frame, ["a", "b"]).tolist()
    [[1.0, 5.0], [2.0, 0.0]]
    """
    name, vectors = _read(source, item_ids)
    if vectors.dtype.kind not in "fiu" or vectors.shape[1] == 0:
        held = f"{vectors.dtype} values" if vectors.shape[1] else "no columns"
        raise InputError(f"{name} holds {held}, expected numbers")
    vectors = vectors.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"{name} has a value that is not a finite number for item '{item_ids[bad[0]]}'"
            + (f" and {len(bad) - 1} more items" if len(bad) > 1 else "")
        )
    return vectors


def _read(source: Any, item_ids: list[str]) -> tuple[str, np.ndarray]:
    """What an error is to call the source, and its vectors in the order of `item_ids`."""
    if isinstance(source, pd.DataFrame):
        return "the frame of embeddings", _of_frame("the frame of embeddings", source, item_ids)
    if hasattr(source, "detach"):
        # A tensor may have a gradient, another device, or a type that numpy lacks.
        source = source.detach().cpu().float().numpy()
    if isinstance(source, np.ndarray):
        return "the array of embeddings", _rows("the array of embeddings", source, item_ids)
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"embeddings are an array, a tensor, a DataFrame or a file, not {type(source).__name__}"
        )
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    readers = {".npy": _npy, ".safetensors": _safetensors}
    if path.suffix in readers:
        return str(path), _rows(str(path), readers[path.suffix](path), item_ids)
    if path.suffix == ".parquet":
        return str(path), _of_frame(str(path), read_parquet(path), item_ids)
    raise InputError(f"{path} must end in .npy, .safetensors or .parquet")


def _rows(name: str, vectors: np.ndarray, item_ids: list[str]) -> np.ndarray:
    if vectors.ndim != 2 or len(vectors) != len(item_ids):
        raise InputError(
            f"{name} has shape {tuple(vectors.shape)}, expected ({len(item_ids)}, width), one "
            "row per catalog item in catalog order; a .parquet file with an item_id column may have any order"
        )
    return vectors


def _npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several arrays")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy file of numbers ({error})") from error
    return array


def _safetensors(path: Path) -> np.ndarray:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error})") from error
    if len(tensors) != 1:
        raise InputError(
            f"{path} holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:5])}), expected one"
        )
    tensor = next(iter(tensors.values()))
    # bfloat16 has no numpy type.
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


def _of_frame(name: str, frame: pd.DataFrame, item_ids: list[str]) -> np.ndarray:
    if "item_id" in frame:
        frame = frame.set_index("item_id")
    elif frame.index.name != "item_id":
        raise InputError(f"{name} has no column 'item_id'; add it beside the vectors")
    frame = frame.set_axis(frame.index.astype(str))
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise InputError(f"{name} has two rows for item '{twice}'")
    known = set(frame.index)
    missing = [item for item in item_ids if item not in known]
    if missing:
        raise InputError(
            f"{name} has no row for item '{missing[0]}'"
            + (f" and {len(missing) - 1} more of {len(item_ids)} items" if len(missing) > 1 else "")
            + "; every catalog item needs one"
        )
    frame = frame.loc[item_ids]
    if len(frame) and frame.shape[1] == 1 and isinstance(frame.iloc[0, 0], (list, np.ndarray)):
        return _from_lists(name, frame.iloc[:, 0])
    other = [column for column, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if other:
        raise InputError(f"{name}: column '{other[0]}' does not hold numbers")
    return frame.to_numpy(dtype=np.float32, na_value=np.nan)


def _from_lists(name: str, column: pd.Series) -> np.ndarray:
    try:
        rows = [np.asarray(value, dtype=np.float32) for value in column]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: column '{column.name}' does not hold lists of numbers") from error
    shape = rows[0].shape
    for item, row in zip(column.index, rows, strict=True):
        if row.ndim != 1 or row.shape != shape:
            raise InputError(
                f"{name}: the vector of item '{item}' has shape {row.shape}, the first one {shape}"
            )
    return np.stack(rows)
