"""A PostgreSQL server of the tests' own: on a free port, with nothing durable, gone with whoever started it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from patience import PATIENCE

__all__ = ["MISSING", "PostgresServer", "postgres_server"]

_FOLDERS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
_POSTGRES: Final = shutil.which("postgres", path=os.pathsep.join([*map(str, reversed(_FOLDERS)), os.environ["PATH"]]))
MISSING: Final = "" if _POSTGRES else "there is no PostgreSQL server: apt-get install postgresql"
"""Why there can be none; empty if there can."""
_SETTINGS: Final = {
    "fsync": "off", "full_page_writes": "off", "max_connections": "60", "shared_buffers": "16MB", "port": "{port}",
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "{folder}", "log_min_messages": "fatal",
}  # fmt: skip


class PostgresServer:
    """One that can be stopped and started again. Its user `postgres` has the password `hunter2hunter2`."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._settings = {**_SETTINGS, **settings}
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self._user is not None:
            shutil.chown(folder, self._user)
        (folder / "password").write_text("hunter2hunter2")
        self.run("initdb", "--no-sync", "-E", "UTF8", "--locale=C", "-U", "postgres", "-A", "scram-sha-256",
                 f"--pwfile={folder / 'password'}")  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Of its database `postgres`."""
        return f"postgresql://postgres:hunter2hunter2@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """One of its programs, on its data."""
        assert _POSTGRES is not None
        command = [str(Path(_POSTGRES).with_name(program)), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder)

    def start(self) -> None:
        """Wait until it answers."""
        assert _POSTGRES is not None
        given = {name: value.format(port=self.port, folder=self.folder) for name, value in self._settings.items()}
        settings = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_POSTGRES, "-D", str(self.folder / "data"), *settings], user=self._user, cwd=self.folder, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self, *, mode: str = "immediate") -> None:
        """immediate: as a crash, without a word to its clients. fast: with one."""
        if self.process is not None:
            self.run("pg_ctl", "stop", "-m", mode)
            self.process.wait()
            self.process = None


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """One that runs."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
