"""Where the ledgers of these tests lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger_places import LedgerPlace
from postgres_server import MISSING, PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server, for all tests of this process that need one."""
    if MISSING:
        pytest.skip(MISSING)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    """What holds for a ledger holds in both."""
    server = request.getfixturevalue("postgres").address if request.param == "postgres" else None
    return LedgerPlace(tmp_path, server)
