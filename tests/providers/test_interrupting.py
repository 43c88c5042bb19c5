"""The deadlines of a read that can be interrupted: one timer for the whole answer, which says when and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from patience import until
from penstock import Deadlines, FirstChunkTimeoutError, ProviderTimeoutError, StallTimeoutError, TotalTimeoutError
from penstock.providers.deadlines import Watch

pytestmark = pytest.mark.anyio

UNIT = 1 / 1024
LIMITS = Deadlines(first_chunk=20 * UNIT, stall=10 * UNIT)


@pytest.fixture
def anyio_backend() -> str:
    """No read can be interrupted elsewhere."""
    return "asyncio"


class Line:
    """A source that gives what is said on it."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._waits: asyncio.Future[bytes] | None = None

    def say(self, data: bytes) -> None:
        """To whoever reads, now or next."""
        if self._waits is None:
            self._said.put_nowait(data)
        else:
            self._waits.set_result(data)

    async def read(self) -> bytes:
        """What is said next."""
        if not self._said.empty():
            return self._said.get_nowait()
        self._waits = asyncio.get_running_loop().create_future()
        try:
            return await self._waits
        finally:
            self._waits = None

    def interrupt(self, error: BaseException) -> None:
        """Whoever reads."""
        assert self._waits is not None, "nobody reads"
        self._waits.set_exception(error)

    async def aclose(self) -> None:
        """Nothing is held."""


class Call:
    """A call of which each step takes as many units as it says, and no time. It notes how often it is looked at."""

    def __init__(self, limits: Deadlines) -> None:
        self.now = 0.0
        self.looks = 0
        self.line = Line()
        self.watch = Watch(limits, self._clock)

    def _clock(self) -> float:
        self.looks += 1
        return self.now

    def wait(self, units: float) -> None:
        """For what is no content."""
        self.now += units * UNIT

    def consume(self, units: float) -> None:
        """The consumer's time with a chunk of usage."""
        self.watch.leave()
        self.now += units * UNIT
        self.watch.come_back()

    def content(self, units: float) -> None:
        """The consumer's time with a text."""
        self.now += units * UNIT
        self.watch.got_content()

    async def looked(self) -> None:
        """The timer has fired a few times."""
        before = self.looks
        await until(lambda: self.looks > before + 3)


Steps = Iterable[tuple[Callable[[Call, float], None], float]]
WAIT, CONSUME, CONTENT = Call.wait, Call.consume, Call.content
WAITS: dict[str, tuple[Deadlines, Steps, float, type[ProviderTimeoutError]]] = {
    "for the first content": (LIMITS, [], 20, FirstChunkTimeoutError),
    "after pings before it": (LIMITS, [(WAIT, 5), (WAIT, 14)], 1, FirstChunkTimeoutError),
    "after usage, which is no content": (LIMITS, [(WAIT, 5), (CONSUME, 500)], 15, FirstChunkTimeoutError),
    "after content": (LIMITS, [(WAIT, 19), (CONTENT, 0)], 10, StallTimeoutError),
    "after content that the consumer took long for": (LIMITS, [(CONTENT, 500)], 10, StallTimeoutError),
    "after content and pings": (LIMITS, [(CONTENT, 0), (WAIT, 4), (WAIT, 3)], 3, StallTimeoutError),
    "after content twice": (LIMITS, [(CONTENT, 0), (WAIT, 9), (CONTENT, 0)], 10, StallTimeoutError),
    "near the end of all": (
        Deadlines(first_chunk=20 * UNIT, stall=10 * UNIT, total=32 * UNIT),
        [(WAIT, 5), (CONTENT, 22)],
        5,
        TotalTimeoutError,
    ),
}


@pytest.mark.parametrize(("limits", "steps", "left", "error"), WAITS.values(), ids=WAITS)
async def test_how_long_a_read_waits(
    limits: Deadlines, steps: Steps, left: float, error: type[ProviderTimeoutError]
) -> None:
    """By the clock, and not by how often the timer has fired."""
    call = Call(limits)
    with call.watch.following(call.line):
        for step, units in steps:
            call.line.say(b":")
            assert await call.watch.read(call.line) == b":"
            step(call, units)
        waiting = asyncio.ensure_future(call.watch.read(call.line))
        await call.looked()
        call.wait(left - 1)
        await call.looked()
        assert not waiting.done()
        call.wait(1)
        with pytest.raises(error) as raised:
            await waiting
    assert raised.value.seconds == getattr(limits, str(raised.value.deadline))


async def test_nobody_is_interrupted_while_the_consumer_has_the_word() -> None:
    """However long: the timer fires meanwhile, and finds nobody who waits."""
    call = Call(LIMITS)
    with call.watch.following(call.line):
        call.line.say(b":")
        await call.watch.read(call.line)
        call.watch.got_content()
        call.wait(500)
        await call.looked()
        call.watch.got_content()
        call.line.say(b":")
        assert await call.watch.read(call.line) == b":"


async def test_nobody_is_interrupted_who_has_given_up_waiting() -> None:
    """For the rest of an answer that may end: the consumer has all of it, and may take its time."""
    call = Call(LIMITS)
    with call.watch.following(call.line):
        assert await call.watch.read(call.line, may_end=True) == b""
        call.wait(500)
        await call.looked()


async def test_no_timer_is_left() -> None:
    """When the answer has ended nobody looks any more."""
    call = Call(LIMITS)
    with call.watch.following(call.line):
        call.line.say(b"")
        assert await call.watch.read(call.line) == b""
    before = call.looks
    await asyncio.sleep(30 * UNIT)
    assert call.looks == before
