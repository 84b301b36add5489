"""Where a store lies: a file, or a PostgreSQL database by its URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from guided_refine.config import without_password
from guided_refine.errors import InputError, nearest

_FORM = "postgresql://USER@HOST:PORT/DATABASE"
_SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def store_url(address: Path | str) -> URL:
    """The URL of a path (a SQLite file), of `sqlite:///PATH`, or of `postgresql://USER@HOST:PORT/DATABASE`.

    Raises `InputError` for another scheme, and when the address cannot be read or names no database.

    >>> store_url("scores.sqlite").database
    'scores.sqlite'
    >>> store_url("postgres://ann@db/scores").drivername
    'postgresql+psycopg'
    >>> store_url("mysql://db/scores")
    Traceback (most recent call last):
    ...
    guided_refine.errors.InputError: store address mysql://db/scores: known: postgresql, sqlite
    """
    if isinstance(address, Path) or "://" not in address:
        if not str(address).strip():
            raise InputError(f"the store's address is empty; give a file, or {_FORM}")
        # Put together by hand, a "?" in the path would begin options, and the file would lie elsewhere.
        return URL.create("sqlite", database=str(Path(address).expanduser()))
    scheme = address.partition("://")[0]
    if scheme not in _SCHEMES:
        known = nearest(scheme, ["sqlite", "postgresql"])
        raise InputError(f"store address {without_password(address)}: {known}")
    try:
        url = make_url(address).set(drivername=_SCHEMES[scheme])
    except (ArgumentError, ValueError) as error:
        raise InputError(
            f"store address {without_password(address)} cannot be read; expected {_FORM}"
        ) from error
    if not url.database:
        raise InputError(f"store address {without_password(address)} names no database; expected {_FORM}")
    return url


def is_postgresql(url: URL) -> bool:
    """True for a server, False for a file."""
    return url.get_backend_name() == "postgresql"


def shown(url: URL) -> str:
    """What sentences call a store: the file's path, or the URL without its password.

    >>> shown(store_url("postgresql://ann:secret@db:5432/scores?password=x&sslmode=require"))
    'postgresql://ann@db:5432/scores?sslmode=require'
    """
    if not is_postgresql(url):
        return str(url.database)
    whole = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return without_password(whole)
