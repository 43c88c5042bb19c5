"""An event loop whose every step is looked at: what is true whenever a task waits.

python tests/support/stepping.py STEPS PROGRAM ARGUMENTS: runs a program of asyncio, whose process ends at that step.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import trio

__all__ = ["run_stepping"]


class _Stepping(Coroutine[Any, Any, Any]):
    """A coroutine that tells of each of its steps."""

    def __init__(self, coroutine: Any, look: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._look = look

    def send(self, value: Any) -> Any:
        """One step."""
        try:
            return self._coroutine.send(value)
        finally:
            self._look()

    def throw(self, *error: Any) -> Any:
        """One step, too."""
        try:
            return self._coroutine.throw(*error)
        finally:
            self._look()

    def close(self) -> None:
        """As any."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)


class _Instrument(trio.abc.Instrument):
    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def after_task_step(self, task: object) -> None:
        """See trio."""
        self._look()


def run_stepping(main: Callable[[], Awaitable[Any]], backend: str, look: Callable[[], None]) -> None:
    """Run *main*, and call *look* whenever any task of its loop waits or ends."""

    on_trio = {"instruments": [_Instrument(look)]}
    on_asyncio = {"loop_factory": lambda: _stepping(asyncio.new_event_loop(), look)}
    anyio.run(main, backend=backend, backend_options=on_trio if backend == "trio" else on_asyncio)


def _stepping(loop: asyncio.AbstractEventLoop, look: Callable[[], None]) -> asyncio.AbstractEventLoop:
    loop.set_task_factory(lambda loop, coro, **more: asyncio.Task(_Stepping(coro, look), loop=loop, **more))
    return loop


def main(steps: int, program: str, *arguments: str) -> None:
    """Run the program, and end without a word at that step."""
    left = steps

    def look() -> None:
        nonlocal left
        left -= 1
        if not left:
            os._exit(9)

    make = asyncio.new_event_loop
    asyncio.events.new_event_loop = lambda: _stepping(make(), look)
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
