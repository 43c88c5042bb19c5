"""One middleware under many threads, each with an event loop of its own: what they share is never torn."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import anyio
import pytest

from penstock import (
    BaseProvider,
    Chunk,
    CircuitOpenError,
    Message,
    Model,
    ModelInfo,
    Options,
    ServerError,
    StopChunk,
    TextChunk,
    UsageChunk,
)
from penstock.middleware import CacheWatch, CircuitBreaker, CircuitOpened, Event, RateLimit, Remaining

THREADS, CALLS = 8, 60
INFO = ModelInfo(
    input_price=Decimal(2),
    output_price=Decimal(10),
    cache_writes_price=Decimal("2.5"),
    cache_reads_price=Decimal("0.2"),
)


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    """Between threads as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Vendor(BaseProvider):
    """Reads what the call says it reads, or fails where it says so."""

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", INFO)

    def calculate_cost(self, usage: UsageChunk) -> Decimal | None:
        """See BaseProvider; another thread has its turn meanwhile."""
        time.sleep(0)
        return super().calculate_cost(usage)

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        if system_prompt == "fail":
            raise ServerError("broke")
        yield UsageChunk(cache_read_tokens=1000, input_tokens=10, output_tokens=5)
        yield TextChunk("Hi")
        yield StopChunk(reason="stop")


def in_threads(run: Callable[[int], Any]) -> list[BaseException]:
    """What *run* raises in any of the threads."""
    raised: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        start.wait()
        try:
            anyio.run(run, number)
        except BaseException as error:  # noqa: BLE001 - told in the thread of the test
            raised.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


async def ask(provider: BaseProvider, system: str, *texts: str) -> None:
    async with provider.stream(system, [Message("user", text) for text in texts]) as stream:
        async for _ in stream:
            pass


def test_cache_watch() -> None:
    """Its memory is read by some while others write it; what is saved is exact to the last call."""
    watch = CacheWatch(Vendor(), conversations=400)

    async def run(number: int) -> None:
        for turn in range(CALLS):
            # All begin alike, so that each is compared with each.
            await ask(watch, "Be brief.", "Hi", f"{number} {turn}")

    assert in_threads(run) == []
    # A thousand tokens read for $0.2 a million, in place of $2.
    assert watch.saved == THREADS * CALLS * 1000 * Decimal("1.8") / 10**6


def test_rate_limit() -> None:
    """No token is lost, and none is spent twice."""
    limit = RateLimit(Vendor(), tokens_per_minute=10**9, requests_per_minute=10**6, clock=_slow)

    async def run(number: int) -> None:
        for turn in range(CALLS):
            await ask(limit, "", f"{number} {turn}")
            assert limit.remaining().requests is not None

    assert in_threads(run) == []
    assert limit.remaining() == Remaining(
        requests=10**6 - THREADS * CALLS, tokens=10**9 - THREADS * CALLS * 1015, held=0
    )
    assert limit._tokens is not None
    assert limit._requests is not None
    assert limit._tokens._spent == THREADS * CALLS * 1015
    assert limit._requests._spent == THREADS * CALLS


def test_rate_limit_lets_no_more_through_than_it_may() -> None:
    """However many look at the same time."""
    limit = RateLimit(Vendor(), requests_per_minute=100, clock=_slow, sleep=_never)
    sent: list[int] = []

    async def run(number: int) -> None:
        for turn in range(CALLS):
            await ask(limit, "", f"{number} {turn}")
            sent.append(turn)

    in_threads(run)
    assert len(sent) == 100


def _slow() -> float:
    """No time passes, but another thread has its turn."""
    time.sleep(0)
    return 0.0


async def _never(seconds: float) -> None:
    raise TimeoutError("the limit is reached")


def test_circuit_breaker() -> None:
    """Failures are counted while others let it open."""
    ticks = count()

    def clock() -> float:
        time.sleep(0)
        return next(ticks) / 1000

    states: set[str] = set()
    told: list[Event] = []
    breaker = CircuitBreaker(Vendor(), failures=2, window=60, pause=0.001, listener=told.append, clock=clock)

    async def run(number: int) -> None:
        for turn in range(CALLS * 3):
            try:
                await ask(breaker, "fail" if turn % 3 else "", f"{number} {turn}")
            except (ServerError, CircuitOpenError):
                states.add(breaker.state)

    assert in_threads(run) == []
    assert states <= {"closed", "open", "trial"}
    assert "open" in states
    assert any(isinstance(event, CircuitOpened) for event in told)
