"""What a deadline counts: all but the time that the consumer has the word."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

import pytest

from penstock import Deadlines, FirstChunkTimeoutError, ProviderTimeoutError, StallTimeoutError, TotalTimeoutError
from penstock.providers.answers import Pieces
from penstock.providers.deadlines import Watch
from penstock.testing import Emulator, ServerReply
from three_wires import ThreeWire, each_wire, failure

pytestmark = pytest.mark.anyio

LIMITS = Deadlines(first_chunk=20, stall=10)


class Call:
    """A call of which each step takes as long as it says. The server is never waited for: it floods us."""

    def __init__(self, limits: Deadlines) -> None:
        self.now = 1000.0
        self.watch = Watch(limits, lambda: self.now)
        self.watch.body_timeout()

    def parse(self, seconds: float) -> None:
        """Our own reading of what is no content."""
        self.now += seconds

    def consume(self, seconds: float) -> None:
        """The consumer's time with a chunk of usage."""
        self.watch.leave()
        self.now += seconds
        self.watch.come_back()

    def content(self, seconds: float) -> None:
        """The consumer's time with a text."""
        self.now += seconds
        self.watch.got_content()


async def flood() -> AsyncGenerator[bytes, None]:
    while True:
        yield b": keep-alive\n\n"


Steps = Iterable[tuple[Callable[[Call, float], None], float]]
PARSE, CONSUME, CONTENT = Call.parse, Call.consume, Call.content
COUNTS: dict[str, tuple[Deadlines, Steps, type[ProviderTimeoutError] | None]] = {
    "our own parsing before the first content": (LIMITS, [(PARSE, 5), (PARSE, 14), (PARSE, 1)], FirstChunkTimeoutError),
    "not quite so long": (LIMITS, [(PARSE, 5), (PARSE, 14)], None),
    "our own parsing after content": (LIMITS, [(CONTENT, 0), (PARSE, 6), (PARSE, 4)], StallTimeoutError),
    "content puts it off": (LIMITS, [(CONTENT, 0), (PARSE, 9), (CONTENT, 0), (PARSE, 9)], None),
    "a consumer who takes his time with usage": (LIMITS, [(CONSUME, 500), (PARSE, 19)], None),
    "usage is no content": (LIMITS, [(PARSE, 10), (CONSUME, 500), (PARSE, 10)], FirstChunkTimeoutError),
    "a consumer who takes his time with a text": (LIMITS, [(CONTENT, 500), (PARSE, 9)], None),
    "usage after content": (LIMITS, [(CONTENT, 500), (CONSUME, 500), (PARSE, 9), (PARSE, 1)], StallTimeoutError),
    "the total counts the consumer too": (
        Deadlines(first_chunk=20, stall=10, total=60),
        [(CONTENT, 30), (CONSUME, 30)],
        TotalTimeoutError,
    ),
}


@pytest.mark.parametrize(("limits", "steps", "error"), COUNTS.values(), ids=COUNTS)
async def test_what_counts(limits: Deadlines, steps: Steps, error: type[ProviderTimeoutError] | None) -> None:
    """Whether bytes are there or not."""
    call = Call(limits)
    async with aclosing(Pieces(flood())) as body:
        for step, seconds in steps:
            assert await call.watch.read(body)
            step(call, seconds)
        if error is None:
            assert await call.watch.read(body)
            return
        with pytest.raises(error) as raised:
            await call.watch.read(body)
    assert raised.value.seconds == getattr(limits, str(raised.value.deadline))


@each_wire
async def test_a_flood_of_nothing(wire: ThreeWire) -> None:
    """A server that never pauses and never says anything is left when the time is over."""
    noise = wire.no_content * 2000 + b": keep-alive\n\n" * 2000
    limits = Deadlines(first_chunk=0.3)
    async with (
        Emulator(ServerReply([noise] * 2000)) as emulator,
        wire.provider(emulator.url, deadlines=limits) as provider,
    ):
        assert type(await failure(provider)) is FirstChunkTimeoutError
