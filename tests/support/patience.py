"""How tests wait: for what happens and not for a time, and long enough for a machine that has much else to do.

A test of one deadline makes that one short and leaves the others at a minute: which of them it was then proves that it
came in time. PATIENCE is what only something that hangs would take.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import msgspec
import pytest

from penstock import Deadlines
from penstock.providers import answers, transport
from penstock.providers.deadlines import Watch

__all__ = ["PATIENCE", "PATIENT", "SHORT", "Ticking", "all_but", "drain_patiently", "until", "watch_by"]

PATIENCE: Final = 60.0
SHORT: Final = 0.3
PATIENT: Final = Deadlines(connect=PATIENCE, first_chunk=PATIENCE, stall=PATIENCE)


def all_but(name: str | None, seconds: float = SHORT) -> Deadlines:
    """Patient deadlines, but for the one called *name*."""
    return PATIENT if name is None else msgspec.structs.replace(PATIENT, **{name: seconds})


async def until(holds: Callable[[], object]) -> None:
    """Wait for what other tasks bring about and tell nobody of."""
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.005)


class Ticking:
    """A clock on which every look takes *tick* seconds, so that whatever lies between two looks takes as long."""

    def __init__(self, tick: float) -> None:
        self.now = 0.0
        self._tick = tick

    def __call__(self) -> float:
        """The time, in seconds."""
        self.now += self._tick
        return self.now


def drain_patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long for the end of a body after its last event; else a busy machine may miss it and open a connection."""
    monkeypatch.setattr(answers, "_DRAIN", PATIENCE)


def watch_by(clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the deadlines of all calls go by *clock*."""
    monkeypatch.setattr(transport, "Watch", partial(Watch, clock=clock))
