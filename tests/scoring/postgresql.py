"""A PostgreSQL server of a test's own: a temporary folder, a free port of this machine, gone when the tests end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "ann", "s3cret"


def binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    on_path = shutil.which("initdb")
    folders = [*reversed(debian), *([Path(on_path).parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class Server:
    """A running server; `address()` is the URL of a database in it."""

    def __init__(self, folder: Path, port: int, bin_folder: Path) -> None:
        self.folder, self.port, self._bin = folder, port, bin_folder

    def address(self, database: str, *, user: str = USER, password: str | None = PASSWORD) -> str:
        secret = "" if password is None else f":{password}"
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the owner; returns its rows."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def fresh_store(self) -> str:
        """The address of a database that holds no store."""
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'scores'"):
            self.new_database("scores")
        self.sql("DROP SCHEMA IF EXISTS guided_refine CASCADE", "scores")
        return self.address("scores")

    def new_database(self, name: str) -> str:
        """The address of a new, empty database."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        _as_ordinary_user(
            [
                str(self._bin / "pg_ctl"),
                "-D",
                str(self.folder / "data"),
                "-l",
                log,
                "-w",
                "-o",
                options,
                "start",
            ]
        )

    def stop(self) -> None:
        _as_ordinary_user(
            [str(self._bin / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop"]
        )


@contextmanager
def server(bin_folder: Path) -> Iterator[Server]:
    """Start a server with one user and a password; stop it and delete its data at the end."""
    # Not pytest's folder: the server's own user could not look into it. And a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        folder.chmod(0o711)
        _as_ordinary_user(
            [
                str(bin_folder / "initdb"),
                "-D",
                str(folder / "data"),
                "-U",
                USER,
                "--auth=scram-sha-256",
                f"--pwfile={secret}",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
        )
        running = Server(folder, _free_port(), bin_folder)
        running.start()
        try:
            yield running
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_ordinary_user(command: Sequence[str]) -> None:
    """PostgreSQL refuses to run as root; Debian's packages bring a user for it."""
    if os.geteuid() == 0:
        pwd.getpwnam("postgres")
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
