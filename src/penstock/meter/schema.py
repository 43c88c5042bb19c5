"""The tables of a ledger in an SQLite file: made, recognised, brought up to date."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from pathlib import Path
from typing import Final

from penstock.core.errors import ConfigError, LedgerError
from penstock.meter.entries import COUNTS

__all__ = ["MIGRATIONS", "connect", "open_file"]

_APPLICATION: Final = 0x50_6E_53_74
"""Of the file's header, so that nobody else's database is taken for a ledger."""
_BUSY: Final = 5.0
"""Seconds to wait for another process that writes."""
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


@cache
def _uri(path: str) -> str:
    """Known beforehand: when Python ends, nothing can be imported any more, which making it may need."""
    return Path(path).as_uri()


def connect(path: str | None) -> sqlite3.Connection:
    """A connection to a ledger; None for one in memory. Raises sqlite3's errors."""
    name = ":memory:" if path is None else f"{_uri(path)}?mode=rw"  # no new file where ours was deleted
    return sqlite3.connect(name, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False)


def open_file(path: str | None) -> sqlite3.Connection:
    """A connection to a ledger whose tables are there and of this version. Raises LedgerError, or ConfigError."""
    if path is not None:
        _make_file(path)
    try:
        connection = connect(path)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # survives a kill, and not a power cut
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise failed(path, error) from error
    return connection


def failed(path: str | None, error: BaseException) -> LedgerError:
    """What SQLite or the system said, as an error of ours."""
    found = LedgerError(f"the ledger {path or 'in memory'} cannot be used: {error}")
    found.hint = _HINTS.get(getattr(error, "sqlite_errorname", ""), found.hint)
    return found


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
    if tables and application != _APPLICATION:
        raise LedgerError(f"{path} is a database, but no ledger of Penstock's")
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(connection)  # another process may have been faster
        if version > len(MIGRATIONS):
            raise LedgerError(f"the ledger {path} is of version {version}, and this Penstock knows {len(MIGRATIONS)}")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
