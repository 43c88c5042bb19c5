"""What a call owes on every way out, over the real transport: adding up the increments is always right."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import anyio
import anyio.lowlevel
import msgspec
import pytest

from penstock import BaseProvider, Chunk, Deadlines, ModelInfo, Options, ProviderError, UsageChunk
from penstock.middleware import (
    Abandoned,
    CacheWatch,
    CircuitBreaker,
    Concurrency,
    Event,
    Fallback,
    Observe,
    RateLimit,
    Retry,
)
from penstock.testing import Cut, Emulator, Hang, Request, Reset, ServerReply
from penstock.testing.answers import ERROR_EVENT, WireName
from playing import OPEN, SETTLED
from reading import PRICED
from three_wires import ASK, WIRES, ThreeWire, each_wire

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

TEXT: Final = "Hello there, world!"
QUICK: Final = Deadlines(connect=5, first_chunk=0.3, stall=0.3)
Owed: TypeAlias = Literal["nothing", "known", "open"]
FREE: Final = ModelInfo(input_price=Decimal(0), output_price=Decimal(0))
BY_NAME: Final = {wire.name: wire for wire in WIRES}
NAMES: Final[dict[str, WireName]] = {"anthropic": "messages", "chat": "chat", "responses": "responses"}


async def cancelled(stream: AsyncGenerator[Chunk, None], scope: anyio.CancelScope) -> None:
    """Leave a call as a deadline of the program's own does."""
    scope.cancel()


def until_text(wire: ThreeWire) -> list[bytes]:
    return wire.answer(TEXT)[: wire.begun + 2]


def vendor_error(wire: ThreeWire) -> bytes:
    return ERROR_EVENT[NAMES[wire.name]]


def before_all(wire: ThreeWire) -> list[bytes]:
    """What a wire says before it reports usage or content: Anthropic's first event has a report in it."""
    return [] if wire.name == "anthropic" else wire.answer(TEXT)[:1]


def without_usage(wire: ThreeWire) -> list[bytes]:
    return [event.replace(b'"usage":{', b'"not_usage":{') for event in wire.answer(TEXT)]


REPLIES: list[Any] = [
    pytest.param(lambda wire: ServerReply(wire.answer(TEXT)), "known", id="it ends"),
    pytest.param(lambda wire: ServerReply(without_usage(wire)), "open", id="it ends and no usage is reported"),
    pytest.param(lambda wire: ServerReply([*until_text(wire), Cut()]), "open", id="it is cut"),
    pytest.param(lambda wire: ServerReply([*until_text(wire), Reset()]), "open", id="it is reset"),
    pytest.param(lambda wire: ServerReply([*until_text(wire), Hang()]), "open", id="it stalls"),
    pytest.param(lambda wire: ServerReply([*until_text(wire), vendor_error(wire)]), "open", id="an error after text"),
    pytest.param(
        lambda wire: ServerReply([*before_all(wire), vendor_error(wire)]), "nothing", id="an error before anything"
    ),
    pytest.param(lambda wire: ServerReply([]), "open", id="an empty answer"),
    pytest.param(lambda wire: ServerReply([b"<html>"]), "open", id="a web page"),
    pytest.param(lambda wire: wire.error(429, "slow down"), "nothing", id="refused"),
    pytest.param(lambda wire: wire.error(500, "broke"), "nothing", id="refused by a server that fails"),
    pytest.param(lambda wire: wire.error(504, "too slow"), "nothing", id="refused for the time it took"),
    pytest.param(lambda wire: ServerReply(before=[Hang()]), "open", id="no answer within the deadline"),
    pytest.param(lambda wire: ServerReply(before=[Reset()]), "open", id="the connection broke instead of an answer"),
]


async def chunks_of(provider: BaseProvider) -> tuple[list[Chunk], ProviderError | None]:
    chunks: list[Chunk] = []
    try:
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before an error is kept
    except ProviderError as error:
        return chunks, error
    return chunks, None


def owes(chunks: list[Chunk], error: ProviderError | None, owed: Owed) -> None:
    """The law: the sum of the increments, and of the error, is what is owed."""
    increments = [chunk for chunk in chunks if isinstance(chunk, UsageChunk)]
    total = sum(increments, UsageChunk())
    assert error is None or error.usage == total
    assert total.unsettled == int(owed == "open")
    assert (total == UsageChunk()) == (owed == "nothing")
    assert owed != "known" or total.known_cost == Decimal("0.00018")
    if increments and error is None:
        assert chunks[0] == OPEN
        assert owed == "open" or chunks[-2] == SETTLED
    known = [increment.cost for increment in increments if increment.cost is not None]
    assert owed == "open" or sum(known) == total.known_cost, "also for who adds up costs and leaves out None"


@each_wire
@pytest.mark.parametrize(("reply", "owed"), REPLIES)
async def test_what_a_call_owes(wire: ThreeWire, reply: Callable[[ThreeWire], ServerReply], owed: Owed) -> None:
    """However it ends, and whatever it is that the vendor does."""
    async with Emulator(reply(wire)) as emulator:
        url = emulator.url if wire.name == "anthropic" else f"{emulator.url}/v1"
        async with wire.provider(url, deadlines=QUICK) as provider:
            owes(*await chunks_of(provider), owed)


@each_wire
async def test_a_request_that_was_never_written_owes_nothing(wire: ThreeWire) -> None:
    """Nobody listens there, or it is refused before it is sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with wire.provider(f"http://127.0.0.1:{port}", deadlines=QUICK) as provider:
        owes(*await chunks_of(provider), "nothing")
        with pytest.raises(ProviderError) as raised:
            await anext(provider.create_message("", ASK, Options(extra={"model": "another"})))
        assert "`extra` has `model`" in raised.value.message
        assert raised.value.usage == UsageChunk()


@each_wire
@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_call_that_is_left_owes_what_nobody_knows(wire: ThreeWire, after: int) -> None:
    """From its first increment on."""
    async with Emulator(ServerReply([*until_text(wire), Hang()])) as emulator:
        url = emulator.url if wire.name == "anthropic" else f"{emulator.url}/v1"
        async with wire.provider(url) as provider, provider.stream("", ASK) as stream:
            chunks = [await anext(stream) for _ in range(after)]
    owes(chunks, None, "open") if after > 1 else None
    assert chunks[0] == OPEN


WAYS_OUT: dict[str, Callable[[AsyncGenerator[Chunk, None], anyio.CancelScope], Awaitable[None]]] = {
    "another task closes it": lambda stream, scope: stream.aclose(),
    "it is cancelled": cancelled,
}


@each_wire
@pytest.mark.parametrize("leave", WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("arrives", [True, False], ids=["sent", "not sent"])
async def test_a_call_that_is_left_before_its_answer(
    wire: ThreeWire, leave: Callable[[AsyncGenerator[Chunk, None], anyio.CancelScope], Awaitable[None]], arrives: bool
) -> None:
    """It owes what nobody knows once it has been sent, and nothing before; no chunk can say that any more."""
    arrived = anyio.Event()

    def silent(request: Request) -> ServerReply:
        arrived.set()
        return ServerReply(before=[Hang()])

    ends: list[UsageChunk] = []
    failed: list[ProviderError] = []

    def hear(event: Event) -> None:
        if isinstance(event, Abandoned):
            ends.append(event.usage)

    async with Emulator(then=silent) as emulator:
        url = emulator.url if wire.name == "anthropic" else f"{emulator.url}/v1"
        crowd = Concurrency(wire.provider(url), 1)
        async with Observe(crowd, hear) as provider, anyio.create_task_group() as group:
            if not arrives:  # somebody else has the only place
                group.start_soon(chunks_of, crowd)
                await arrived.wait()
            stream = provider.create_message("", ASK)
            scope = anyio.CancelScope()

            async def read() -> None:
                with scope:
                    try:
                        await anext(stream)
                    except ProviderError as error:
                        failed.append(error)

            group.start_soon(read)
            await (arrived.wait() if arrives else anyio.wait_all_tasks_blocked())
            await leave(stream, scope)
            while not ends:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert ends == [OPEN if arrives else UsageChunk()]
    assert [error.usage for error in failed] == ends * len(failed)
    assert len(failed) == (leave is not cancelled)


@pytest.mark.parametrize(
    ("dialect", "info", "cost"),
    [
        pytest.param("llamacpp", ModelInfo(), Decimal(0), id="a server of one's own"),
        pytest.param("llamacpp", PRICED, None, id="one that somebody is charged for"),
        pytest.param("openai-compatible", FREE, Decimal(0), id="prices of 0"),
        pytest.param("openai-compatible", ModelInfo(), None, id="no prices"),
    ],
)
async def test_where_nothing_is_billed_nothing_is_open(dialect: str, info: ModelInfo, cost: Decimal | None) -> None:
    """Not even for a stream that breaks."""
    wire = BY_NAME["chat"]
    async with (
        Emulator(ServerReply([*until_text(wire), Cut()])) as emulator,
        wire.provider(f"{emulator.url}/v1", dialect=dialect, model_info=info) as provider,
    ):
        chunks, error = await chunks_of(provider)
    assert error is not None
    assert error.usage.cost == cost
    assert error.usage == sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())


AROUND: dict[str, Callable[[BaseProvider], BaseProvider]] = {
    "Retry": lambda inner: Retry(inner, attempts=2, base=0.001),
    "CircuitBreaker": CircuitBreaker,
    "Concurrency": lambda inner: Concurrency(inner, 1),
    "RateLimit": lambda inner: RateLimit(inner, tokens_per_minute=10**9),
    "Observe": lambda inner: Observe(inner, lambda event: None),
    "CacheWatch": CacheWatch,
}


@pytest.mark.parametrize("wrap", [pytest.param(wrap, id=name) for name, wrap in AROUND.items()])
async def test_middlewares_lose_no_open_bill(wrap: Callable[[BaseProvider], BaseProvider]) -> None:
    """A try that broke before its first text stays open in the sum, beside the one that ended."""
    wire = BY_NAME["anthropic"]
    broken, whole = ServerReply([wire.answer(TEXT)[0], Cut()]), ServerReply(wire.answer(TEXT))
    async with (
        Emulator(broken, whole) as emulator,
        Fallback(wrap(wire.provider(emulator.url)), wire.provider(emulator.url)) as provider,
    ):
        chunks, error = await chunks_of(provider)
    assert error is None
    total = sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    assert total.unsettled == 1
    assert total.cost is None
    assert total.known_cost > Decimal("0.00018"), "what the first had reported is sure"
    assert msgspec.json.decode(msgspec.json.encode(total), type=UsageChunk) == total


async def test_a_cancelled_call_is_open() -> None:
    """As far as the caller got."""
    wire = BY_NAME["chat"]
    chunks: list[Chunk] = []
    async with (
        Emulator(ServerReply([*until_text(wire), Hang()])) as emulator,
        wire.provider(f"{emulator.url}/v1") as provider,
    ):
        with anyio.CancelScope() as scope:
            async with provider.stream("", ASK) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) == 3:
                        scope.cancel()
    owes(chunks, None, "open")
