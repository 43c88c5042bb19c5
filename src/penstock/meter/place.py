"""Where a ledger lies: what its store, its writer and its readers need of a database, whichever it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from penstock.core.errors import ConfigError, LedgerError

__all__ = ["Database", "Place", "is_address", "place_of"]

_ADDRESS: Final = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)


class Database(Protocol):
    """A connection to a ledger's tables, of one thread at a time. What is run is SQLite's SQL."""

    @property
    def execute(self) -> Callable[..., Any]:
        """Runs a statement with its values; the result is its cursor."""

    @property
    def put(self) -> Callable[..., Any]:
        """Runs one of which nobody wants to know more: at the latest with the next one, or the commit."""

    @property
    def closed(self) -> bool:
        """Whether it has to be opened again."""

    def begin(self) -> None:
        """Begin a transaction beside which nobody else writes."""

    def commit(self) -> None:
        """Keep what it did. Where that raises, it may be kept all the same."""

    def rollback(self, *, failed: bool = False) -> None:
        """Undo it. failed: the database itself did something wrong, and is looked at anew."""

    def changed(self) -> bool:
        """Whether somebody else may have written since this was asked last."""

    def now(self) -> int:
        """Microseconds since 1970 by the clock that all who write there share."""

    def shrink(self, pages: int) -> None:
        """Give back the space of deleted rows, at most so many pages."""

    def close(self) -> None:
        """Close it."""


class Place(Protocol):
    """A file, a server's schema, or memory."""

    name: str
    """What people know it as, without a password."""
    key: str
    """What is the same for those that are one place."""
    is_memory: bool
    """Nobody but its writer can read it."""
    is_late: bool
    """It is opened with the first call: it may be away when a program starts."""
    look: float
    """Seconds after which those who wait look again, as another process may have spent less than it held."""
    errors: tuple[type[Exception], ...]
    """What its database raises."""
    alone: tuple[type[Exception], ...]
    """Those of them that are about one row, and not about the place."""

    def open(self) -> Database:
        """A connection that writes, to tables that are there and of this version.

        Raises LedgerError, ConfigError, and where it is late also the database's own errors.
        """

    def reading(self) -> AbstractContextManager[Database]:
        """A connection that only reads. Raises ConfigError if there is no ledger, and LedgerError."""

    def failed(self, error: BaseException) -> LedgerError:
        """What the database or the system said, as an error of ours."""

    def is_mistake(self, error: BaseException) -> bool:
        """Whether it does not pass by itself, as a wrong password."""


def is_address(text: str) -> bool:
    """Whether it is a server's, and no file's."""
    return _ADDRESS.match(text) is not None


def place_of(path: str | os.PathLike[str] | None) -> Place:
    """The place that *path* names: a file, a server's address, or memory for None. Raises ConfigError."""
    given: object = path
    if given is not None and not (isinstance(given, str | os.PathLike) and os.fspath(given)):
        raise ConfigError(f"`path` is {path!r}, expected a file, a PostgreSQL server's address, or None for memory")
    if isinstance(path, str) and "://" in path:
        if not is_address(path):
            raise ConfigError(
                f"`path` begins with {path.partition('://')[0]!r}, expected the path of a file, or "
                "postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        try:
            from penstock.meter.postgres import Server  # for those who have one
        except ImportError as error:
            raise ConfigError(
                f"a ledger on PostgreSQL needs psycopg: pip install 'penstock[postgres]' ({error})"
            ) from None
        return Server(path)
    from penstock.meter.schema import File

    return File(None if path is None else str(Path(path).expanduser().resolve()))
