"""What a database says when something is wrong, as one sentence that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from guided_refine.errors import InputError
from guided_refine.scoring.store.address import is_postgresql, shown

_KEPT = "all scores but the last batch are kept"


def readable(error: DBAPIError, url: URL) -> InputError:
    """The sentence for a fault of the database behind `url`."""
    # Some messages run over many lines, the first of which says what is wrong.
    reason = " ".join(str(error.orig or error).split())[:300]
    return _of_postgresql(error, url, reason) if is_postgresql(url) else _of_sqlite(url, reason)


_DAMAGED = ("malformed", "not a database", "corrupt", "no such table", "no such column")


def _of_sqlite(url: URL, reason: str) -> InputError:
    where = shown(url)
    if "locked" in reason or "busy" in reason:
        return InputError(f"{where} is in use by another run; wait for it to end")
    if "full" in reason or ("I/O error" in reason and _no_room(Path(where))):
        return InputError(f"the disk is full: {where}, {_KEPT}; free some space and run again")
    if "unable to open" in reason or "readonly" in reason:
        return InputError(f"{where} cannot be opened for writing: {reason}")
    if "I/O error" in reason:
        return InputError(f"{where} cannot be read or written ({reason}); check the disk, {_KEPT}")
    if any(sign in reason for sign in _DAMAGED):
        return InputError(f"{where} is damaged ({reason}); delete it and run the same command again")
    return InputError(f"{where} cannot be used: {reason}")


_LEAST_ROOM = 128 * 1024
"""Bytes without which SQLite cannot even open its file: it says "disk I/O error" then."""


def _no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_ROOM
    except OSError:
        return False


# What PostgreSQL says before anybody is logged in; there is no code yet to go by.
_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "Peer auth")
_LOST = ("server closed", "connection is closed", "connection has been closed", "terminating connection")


def _of_postgresql(error: DBAPIError, url: URL, reason: str) -> InputError:
    where = f"score store {shown(url)}"
    code = getattr(error.orig, "sqlstate", None) or ""
    if any(sign in reason for sign in _REFUSED) or code.startswith("28"):
        return InputError(
            f"{where}: the server does not let this user in ({reason}); check name and password (in the address, in "
            "PGPASSWORD or in ~/.pgpass)"
        )
    if code == "3D000" or ('database "' in reason and "does not exist" in reason):
        return InputError(f"{where}: the server has no such database; make it with createdb {url.database}")
    if 'role "' in reason and "does not exist" in reason:
        return InputError(f"{where}: the server knows no such user; check the name in the address")
    if code == "42501":
        return InputError(f"{where}: this user may not do that ({reason}); ask the database's owner")
    if code in ("53100", "53200", "54000") or "No space left" in reason:
        return InputError(f"the disk of {where} is full ({reason}); {_KEPT}: free some space and run again")
    if code == "53300" or "too many clients" in reason:
        return InputError(f"{where} takes no more connections; wait for others to end")
    if code in ("55P03", "40P01"):
        return InputError(f"{where} is locked by somebody else ({reason}); wait for them to end")
    if code == "25006":
        return InputError(f"{where} is read only ({reason}); give the address of the primary server")
    if error.connection_invalidated or code.startswith(("08", "57P")) or any(s in reason for s in _LOST):
        return InputError(
            f"{where} went away ({reason}); {_KEPT}: run the same command again when it is back"
        )
    if not code:
        return InputError(f"{where} cannot be reached ({reason}); check host and port, and that it runs")
    return InputError(f"{where} refuses ({reason}, SQLSTATE {code}); {_KEPT}")
