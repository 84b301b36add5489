"""Readers: from files as they are distributed to `RawData`. A reader takes the source, its options, and what to fill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from guided_refine.data.raw import RawData
from guided_refine.data.readers import amazon, movielens, prepared, recbole, steam, tables

ReaderFn = Callable[[Path | None, dict[str, Any], RawData], None]


def _sample(source: Path | None, options: dict[str, Any], raw: RawData) -> None:
    from guided_refine.data import sample

    sample.read(source, options, raw)


READERS: dict[str, ReaderFn] = {
    "tables": tables.read,
    "movielens": movielens.read,
    "amazon": amazon.read,
    "steam": steam.read,
    "recbole": recbole.read,
    "prepared": prepared.read,
    "sample": _sample,
}

DESCRIPTIONS: dict[str, str] = {
    "tables": "any catalog: interactions.(parquet|csv|csv.gz) and items.(parquet|csv|csv.gz) in a folder",
    "movielens": "MovieLens as distributed: 100K, 1M, 10M, latest-small, 20M, 25M; folder or .zip",
    "amazon": "Amazon reviews 2014, 2018, 2023: review file and meta_ file, .json or .jsonl, plain or .gz",
    "steam": "Steam (UCSD): australian_user_reviews or steam_reviews, with steam_games",
    "recbole": "RecBole atomic files: NAME.inter and NAME.item",
    "prepared": "a folder that data prepare wrote",
    "sample": "the embedded sample, drawn from known attribute values; needs no source",
}
