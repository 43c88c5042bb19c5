"""The tables of a ledger in an SQLite file: made, recognised, brought up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from penstock.core.errors import ConfigError, LedgerError
from penstock.core.scope import new_id
from penstock.meter.entries import COUNTS

__all__ = ["APPLICATION", "MIGRATIONS", "File", "FileDatabase", "check_version", "open_file"]

APPLICATION: Final = 0x50_6E_53_74
"""Of the file's header, so that nobody else's database is taken for a ledger."""
_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""
_AGAIN: Final = 1.0
"""Seconds after which whoever has waited so long may try again."""
_SHARED: Final = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "afs", "ceph", "gluster", "lustre")
"""File systems, by the beginning of their names, on which SQLite's shared memory does not hold."""

_MOUNTS: Final = Path("/proc/self/mounts")

_HINTS: Final = {
    "SQLITE_FULL": "The disk is full: free some space.",
    "SQLITE_BUSY": "Another program has the file locked: end it, or wait.",
}

_COUNTS: Final = "\n".join(f"  {name} INTEGER NOT NULL DEFAULT 0," for name in COUNTS)
_VERSION_1: Final = f"""
CREATE TABLE calls (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL, -- microseconds since 1970, when it was opened
  state TEXT NOT NULL,
  owner TEXT, -- the process that settles it
  call TEXT NOT NULL, attempt INTEGER NOT NULL, run TEXT,
  alias TEXT, vendor TEXT NOT NULL, model TEXT NOT NULL, answered TEXT,
  tags TEXT NOT NULL, -- a JSON object of text to text
{_COUNTS}
  cost_nano INTEGER NOT NULL DEFAULT 0, -- the known cost in 10^-9 dollars
  cost_atto INTEGER NOT NULL DEFAULT 0, -- the rest of it in 10^-18 dollars
  cost_more TEXT, -- what is beyond both, a decimal; almost always NULL
  estimated_nano INTEGER, estimated_atto INTEGER, -- what may be billed beyond the known cost
  saved_nano INTEGER, saved_atto INTEGER, -- what the prompt cache saved
  reason TEXT, error TEXT, request_id TEXT,
  first_chunk REAL, seconds REAL
);
CREATE INDEX calls_at ON calls (at);
CREATE INDEX calls_open ON calls (owner) WHERE state = 'open';
CREATE TABLE owners (owner TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
-- What kinds of budgets there are, and from which of their periods on all that is booked is in `spent`.
CREATE TABLE periods (family TEXT NOT NULL, period INTEGER NOT NULL, PRIMARY KEY (family, period)) WITHOUT ROWID;
CREATE TABLE spent (
  family TEXT NOT NULL, period INTEGER NOT NULL, bucket TEXT NOT NULL, nano INTEGER NOT NULL, atto INTEGER NOT NULL,
  PRIMARY KEY (family, period, bucket)
) WITHOUT ROWID;
CREATE TABLE holds (
  call INTEGER NOT NULL, family TEXT NOT NULL, period INTEGER NOT NULL, bucket TEXT NOT NULL,
  nano INTEGER NOT NULL, atto INTEGER NOT NULL
);
CREATE INDEX holds_call ON holds (call);
CREATE INDEX holds_bucket ON holds (family, bucket, period);
CREATE TABLE waiting (ticket INTEGER NOT NULL, owner TEXT NOT NULL, family TEXT NOT NULL, bucket TEXT NOT NULL);
CREATE INDEX waiting_bucket ON waiting (family, bucket, ticket);
"""
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)
"""What leads from each version of the tables to the next, from an empty file on."""


def check_version(version: int, name: str | None) -> None:
    """Raise LedgerError for tables that a newer Penstock has made. name: the ledger's."""
    if version > len(MIGRATIONS):
        error = LedgerError(f"the ledger {name} is of version {version}, and this Penstock knows {len(MIGRATIONS)}")
        error.hint = "Bring Penstock up to date, or name another ledger."
        raise error


@cache
def _uri(path: str) -> str:
    """Known beforehand: when Python ends, nothing can be imported any more, which making it may need."""
    return Path(path).as_uri()


class File:
    """An SQLite file as the place of a ledger, or memory without *path*. See Place."""

    is_late = False
    look = 0.05
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    alone: tuple[type[Exception], ...] = (
        sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError
    )  # fmt: skip

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.name = path or "in memory"
        self.key = path or new_id()
        self.is_memory = path is None

    def open(self) -> FileDatabase:
        """See Place."""
        return FileDatabase(open_file(self.path), self.path)

    @contextmanager
    def reading(self) -> Iterator[FileDatabase]:
        """See Place."""
        if self.path is None or not Path(self.path).is_file():
            raise ConfigError(f"there is no ledger {self.path!r}")
        try:
            # Not `mode=ro`: that leaves the files beside a ledger behind which whoever closes it last would delete.
            with closing(_connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                # A tag may hold half of a surrogate pair, which SQLite makes bytes of that are no UTF-8.
                connection.text_factory = lambda data: data.decode(errors="replace")
                check_version(_version(connection), self.path)
                yield FileDatabase(connection, self.path)
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def failed(self, error: BaseException) -> LedgerError:
        """See Place."""
        found = LedgerError(f"the ledger {self.name} cannot be used: {error}")
        name = getattr(error, "sqlite_errorname", "")
        found.hint = _HINTS.get(name, found.hint)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            found.retryable, found.retry_after = True, _AGAIN
        return found

    def is_mistake(self, error: BaseException) -> bool:
        """See Place: mistakes were told when it was opened."""
        return False


class FileDatabase:
    """A connection to the tables in an SQLite file. See Database."""

    def __init__(self, connection: sqlite3.Connection, path: str | None) -> None:
        self._connection = connection
        self.execute = self.put = connection.execute
        self.closed = False
        self._path = path
        self._file = self._identity()
        self._version: tuple[int] | None = None

    def _identity(self) -> tuple[int, int] | None:
        found = None if self._path is None else Path(self._path).stat()
        return None if found is None else (found.st_dev, found.st_ino)

    def begin(self) -> None:
        """See Database. Raises OSError if another file is in its place."""
        if self._identity() != self._file:
            raise OSError("another file is in its place")
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """See Database."""
        self.execute("COMMIT")

    def rollback(self, *, failed: bool = False) -> None:
        """See Database."""
        self.execute("ROLLBACK")

    def changed(self) -> bool:
        """See Database."""
        before, self._version = self._version, self.execute("PRAGMA data_version").fetchone()
        return self._version != before

    def now(self) -> int:
        """See Database."""
        return int(time.time() * 1_000_000)

    def shrink(self, pages: int) -> None:
        """See Database."""
        self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def close(self) -> None:
        """See Database."""
        self._connection.close()
        self.closed = True


def _connect(path: str | None) -> sqlite3.Connection:
    """A connection to a ledger; None for one in memory. Raises sqlite3's errors."""
    name = ":memory:" if path is None else f"{_uri(path)}?mode=rw"  # no new file where ours was deleted
    return sqlite3.connect(name, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False)


def open_file(path: str | None) -> sqlite3.Connection:
    """A connection to a ledger whose tables are there and of this version. Raises LedgerError, or ConfigError."""
    if path is not None:
        _make_file(path)
    try:
        connection = _connect(path)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # survives a kill, and not a power cut
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise File(path).failed(error) from error
    return connection


def _make_file(path: str) -> None:
    if (kind := _file_system(str(Path(path).parent))).startswith(_SHARED):
        raise ConfigError(
            f"the ledger {path} lies on a file system that several hosts share ({kind}), where SQLite loses data: "
            "name a file on a local disk, or use a PostgreSQL server"
        )
    try:
        # Nobody else reads who spent what. SQLite gives its own files beside it the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be opened: {error.strerror or error}") from error


def _file_system(folder: str) -> str:
    """The kind of file system that a folder lies on; empty where nobody says, as outside of Linux."""
    try:
        mounts = [line.split(" ")[:3] for line in _MOUNTS.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    above = [(where, kind) for _, where, kind in mounts if f"{folder}/".startswith(f"{where.rstrip('/')}/")]
    return max(above, key=lambda each: len(each[0]), default=("", ""))[1]


def _bring_up_to_date(connection: sqlite3.Connection, path: str | None) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION:
        raise LedgerError(f"{path} is a database, but no ledger of Penstock's")
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(connection)  # another process may have been faster
        check_version(version, path)
        for script in MIGRATIONS[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
