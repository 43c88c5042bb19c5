"""The demo model's server: an emulator in a thread of its own, one for the process, from the first call to its end."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future
from contextlib import closing
from typing import Final

from penstock.testing.demo.model import DemoModel
from penstock.testing.emulator import Emulator, Request, ServerReply

__all__ = ["DemoServer"]

_PAUSE: Final = 0.005
"""Seconds between the pieces of an answer: enough to see it stream."""
_LEAVING: Final = 2.0
"""Seconds that the end of the program waits for the thread at most."""


class DemoServer:
    """Serves any number of providers, loops and threads. url: empty until it has been started."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Nothing runs yet; in a child process the parent's thread does not."""
        self.url = ""
        self._lock = threading.Lock()

    def start(self) -> str:
        """Start it unless it runs, and return its URL."""
        with self._lock:
            if not self.url:
                started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
                thread = threading.Thread(target=_run, args=(started,), name="penstock-demo", daemon=True)
                thread.start()
                self.url, loop, left = started.result()
                # A thread that still runs when Python takes itself apart would leave its sockets to complain.
                atexit.register(_stop, os.getpid(), thread, loop, left)
        return self.url


def _run(started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    # Not asyncio.run: on Python 3.12 it starts a thread to end with, which is refused when the program ends.
    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(_serve(started))


async def _serve(started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    left = asyncio.Event()
    model = DemoModel(pause=_PAUSE)
    try:
        async with Emulator(lambda request: _answered(emulator, model, request)) as emulator:
            started.set_result((emulator.url, asyncio.get_running_loop(), left))
            await left.wait()
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


def _answered(emulator: Emulator, model: DemoModel, request: Request) -> ServerReply:
    emulator.exchanges.clear()  # nobody looks at them, and a program may run for days
    return model(request)


def _stop(process: int, thread: threading.Thread, loop: asyncio.AbstractEventLoop, left: asyncio.Event) -> None:
    if process == os.getpid() and thread.is_alive():
        loop.call_soon_threadsafe(left.set)
        thread.join(_LEAVING)
