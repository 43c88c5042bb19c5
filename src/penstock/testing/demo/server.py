"""The demo model's server: an emulator in a thread of its own, one for the process, from the first call to its end."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Final

from penstock.agent.background import Background, OfProcess
from penstock.testing.demo.model import DemoModel
from penstock.testing.emulator import Emulator, Request, ServerReply

__all__ = ["SERVER"]

_PAUSE: Final = 0.005
"""Seconds between the pieces of an answer: enough to see it stream."""
_LEAVING: Final = 2.0
"""Seconds that the end of the program waits for the thread at most."""


def _start() -> str:
    started: Future[str] = Future()
    Background("penstock-demo", partial(_serve, started), _LEAVING)
    return started.result()


async def _serve(started: Future[str], ending: asyncio.Event) -> None:
    model = DemoModel(pause=_PAUSE)
    try:
        async with Emulator(lambda request: _answered(emulator, model, request)) as emulator:
            started.set_result(emulator.url)
            await ending.wait()
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


def _answered(emulator: Emulator, model: DemoModel, request: Request) -> ServerReply:
    emulator.exchanges.clear()  # nobody looks at them, and a program may run for days
    return model(request)


SERVER: Final = OfProcess(_start)
"""The URL of the server, which is started by the first who gets it, for any number of providers, loops and threads."""
