"""The places that a ledger can lie in, for tests that hold in each: a file, and a schema of a PostgreSQL server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg

__all__ = ["LedgerPlace"]

_numbers: Final = count()


class LedgerPlace:
    """A place that no other test uses. server: the address of a server; None for a file in *folder*."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self.schema = f"t{next(_numbers)}"
        self.address: str | Path = folder / "spend.db" if server is None else f"{server}?schema={self.schema}"
        """What a Ledger takes."""
        self.is_file = server is None
        self._server = server

    def run(self, sql: str, *values: object) -> Sequence[Any]:
        """What somebody else who has it open gets for a statement with `?` for values."""
        with self._other() as other:
            rows = other.execute(sql if self.is_file else sql.replace("?", "%s"), values)
            return [] if rows.description is None else list(rows.fetchall())

    def exists(self) -> bool:
        """Whether its tables are there."""
        try:
            return self.run("SELECT count(*) FROM calls") is not None
        except (sqlite3.Error, psycopg.Error):
            return False

    @contextmanager
    def _other(self) -> Iterator[Any]:
        if self._server is None:
            with closing(sqlite3.connect(self.address, isolation_level=None)) as file:
                yield file
        else:
            with psycopg.connect(self._server) as other:
                other.execute(f"SET search_path TO {self.schema}")
                yield other
