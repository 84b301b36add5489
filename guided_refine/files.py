"""Reading and writing files so that a kill at any moment leaves either the old file or the new one."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError

from guided_refine.errors import InputError


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on a clean exit it replaces `target` in one step.

    Raises `InputError` when the disk is full or the folder cannot be written; `target` is then as it was.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as path:
    ...     _ = path.write_text("done")
    >>> (folder / "a.txt").read_text()
    'done'
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(error, target) from error
    path = Path(name)
    try:
        yield path
        with path.open("rb") as done:
            os.fsync(done.fileno())
        path.chmod(0o644)
        path.replace(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        if not isinstance(error, OSError) and not is_disk_full(error):
            raise
        raise cannot_write(error, target) from error
    finally:
        path.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """True for the system's error, and for what safetensors, torch and others make of it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors says it in its own error, and torch only that its archive is shorter than what it wrote.
    return any(sign in str(error) for sign in ("No space left", "Disk quota exceeded", "inline_container.cc"))


def cannot_write(error: Exception, target: Path) -> InputError:
    """The sentence for a file that could not be written: the disk is full, or why not."""
    if is_disk_full(error):
        return InputError(
            f"the disk is full: {target} was not written and nothing else changed; "
            "free some space and run the same command again"
        )
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        file = next((p for p in target.parents if p.exists() and not p.is_dir()), target.parent)
        return InputError(f"{target} cannot be written: {file} is a file, not a folder; choose another place")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{target} cannot be written: it is a folder; name a file in it")
    return InputError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}")


def write_text(target: Path | str, text: str) -> None:
    """Write `text` as UTF-8 in one atomic step."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def to_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Indented JSON; a number that is not finite, which JSON has no word for, becomes null.

    `default` makes something writable of what JSON does not know (otherwise `TypeError`).

    >>> print(to_json({"a": float("nan")}))
    {
      "a": null
    }
    """
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=default)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(target: Path | str, value: Any) -> None:
    """Write `value` as indented JSON in one atomic step; see `to_json`."""
    write_text(target, to_json(value) + "\n")


def read_json(source: Path | str, *, made_by: str | None = None) -> Any:
    """Read a JSON file; raises `InputError` when it is missing, cut off or not JSON.

    `made_by`: the command that makes the file, for those who read what another command wrote.
    """
    source = Path(source)
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        again = "run the same command again" if made_by is None else f"make it anew with: {made_by}"
        raise InputError(f"{source} is damaged ({error}); delete it and {again}") from error


def write_parquet(target: Path | str, frame: pd.DataFrame) -> None:
    """Write a frame as Parquet in one atomic step; the index is not kept."""
    with atomic_path(target) as path:
        frame.to_parquet(path, index=False)


def read_parquet(
    source: Path | str,
    columns: list[str] | None = None,
    *,
    remedy: str = "delete it and run the same command again",
) -> pd.DataFrame:
    """Read a Parquet file; raises `InputError` when it is missing or damaged, which says the `remedy`."""
    import pyarrow

    source = Path(source)
    try:
        return pd.read_parquet(source, columns=columns)
    except FileNotFoundError as error:
        raise InputError(f"{source} does not exist") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{source} is not a readable Parquet file ({error}); it may be cut off: {remedy}"
        ) from error


def read_csv(source: Path | str) -> pd.DataFrame:
    """Read a CSV of a run, an empty one too; raises `InputError` when it is damaged."""
    try:
        return pd.read_csv(source)
    except pd.errors.EmptyDataError:
        # A model that trained for no epoch has an empty curve.
        return pd.DataFrame()
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(
            f"{source} is damaged ({error}); delete it and run the same command again"
        ) from error


def sha256_file(source: Path | str) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with Path(source).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON-ready value; the order of keys does not matter.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
