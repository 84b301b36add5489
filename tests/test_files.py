"""Writes are all or nothing; damaged files get a sentence."""

from __future__ import annotations

import errno
from pathlib import Path

import pandas as pd
import pytest
from safetensors import SafetensorError

from guided_refine.errors import InputError
from guided_refine.files import atomic_path, read_json, read_parquet, sha256_file, write_json, write_parquet


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"v": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError("killed")
    assert read_json(target) == {"v": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_said_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"v": 1})
    with pytest.raises(InputError, match="disk is full"), atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert read_json(target) == {"v": 1}


def test_a_really_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(InputError, match="disk is full"), atomic_path(tmp_path / "x") as path:
        path.unlink()
        path.symlink_to(full)
        with path.open("w") as stream:
            stream.write("x" * 100_000)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    cut = tmp_path / "a.json"
    cut.write_text('{"v": ')
    with pytest.raises(InputError, match=r"a\.json is damaged"):
        read_json(cut)
    with pytest.raises(InputError, match="delete it and make it anew with: guided-refine explain X"):
        read_json(cut, made_by="guided-refine explain X")
    whole = tmp_path / "a.parquet"
    write_parquet(whole, pd.DataFrame({"x": range(1000)}))
    whole.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.parquet is not a readable Parquet file"):
        read_parquet(whole)
    with pytest.raises(InputError, match="cut off: save it again"):
        read_parquet(whole, remedy="save it again")
    with pytest.raises(InputError, match="does not exist"):
        read_parquet(tmp_path / "none.parquet")


def test_parquet_round_trip_and_hash(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1.5, 2.5]})
    write_parquet(tmp_path / "1.parquet", frame)
    write_parquet(tmp_path / "2.parquet", frame)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "1.parquet"), frame)
    assert sha256_file(tmp_path / "1.parquet") == sha256_file(tmp_path / "2.parquet")


def test_a_library_that_meets_a_full_disk_says_it_as_we_do(tmp_path: Path) -> None:
    kept = tmp_path / "a.safetensors"
    kept.write_bytes(b"old")
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(InputError, match="the disk is full"), atomic_path(kept) as path:
        path.write_bytes(b"half")
        raise full
    with pytest.raises(SafetensorError, match="header"), atomic_path(kept):
        raise SafetensorError("header too large")
    assert kept.read_bytes() == b"old" and list(tmp_path.iterdir()) == [kept]


def test_json_has_no_word_for_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1.5, float("nan"), (float("inf"),)]})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None, [None]]}
