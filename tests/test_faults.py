"""Every fault on every wire and both event loops: what comes out, how soon, and that the next call works."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from penstock import (
    BaseProvider,
    Chunk,
    Deadlines,
    OverloadedError,
    ProviderError,
    ProviderTimeoutError,
    StopChunk,
    StreamInterruptedError,
    UsageChunk,
)
from penstock.testing import (
    FAULTS,
    TEXT,
    WIRES,
    Emulator,
    Fault,
    Hang,
    Outcome,
    Reply,
    WireName,
    cut_at_bytes,
    cut_at_events,
    emulated,
    events_of,
    provider_on,
    stalled,
    with_error_event,
)
from penstock.testing.answers import answer
from playing import outcome
from reading import calls_of, text_of, usage_of

DEADLINE = 0.3
QUICK = Deadlines(connect=DEADLINE, first_chunk=DEADLINE, stall=DEADLINE)
ROWS = [
    pytest.param(fault, wire, id=f"{fault.name}, {wire}") for fault in FAULTS.values() for wire in fault.wires
]
ENDPOINTS: dict[WireName, str] = {"messages": "/v1/messages", "chat": "/chat/completions", "responses": "/responses"}


@asynccontextmanager
async def served(emulator: Emulator, wire: WireName) -> AsyncIterator[BaseProvider]:
    async with emulator, provider_on(wire, emulator.url, deadlines=QUICK) as provider:
        yield provider


def check(expected: Outcome, chunks: list[Chunk], error: ProviderError | None) -> None:
    """Compare what came with what must come."""
    assert type(error) is (expected.error or type(None)), error
    assert text_of(chunks) == expected.text
    assert [(call.name, call.arguments) for call in calls_of(chunks)] == list(expected.calls)
    stops = [chunk for chunk in chunks if isinstance(chunk, StopChunk)]
    usage = [chunk for chunk in chunks if isinstance(chunk, UsageChunk)]
    if error is None:
        assert [stop.reason for stop in stops] == [expected.reason]
        assert chunks[-1] is stops[0]
        total = sum(usage, UsageChunk())
        assert bool(usage) is (expected.usage is not None)
        assert (total.input_tokens, total.output_tokens) == (expected.usage or (0, 0))
    else:
        assert not stops
        assert error.retryable is expected.retryable
        assert error.retry_after == (expected.retry_after and pytest.approx(expected.retry_after, abs=1.1))
        assert error.usage == usage_of(chunks)
        assert error.vendor and error.model == "emulated"


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "wire"), ROWS)
async def test_every_fault_has_its_outcome(fault: Fault, wire: WireName) -> None:
    """In time; then the connection is closed or used again, and the same provider gets an answer that is whole."""
    emulator = emulated(fault, wire)
    async with served(emulator, wire) as provider:
        before = time.monotonic()
        check(fault.outcome, *await outcome(provider))
        assert time.monotonic() - before < DEADLINE + fault.seconds
        if fault.refused:
            await emulator.listen()
        emulator.then = Reply(answer(wire, TEXT))
        chunks, error = await outcome(provider)
        assert (text_of(chunks), error) == (TEXT, None)
        with anyio.fail_after(1):
            while emulator.open_connections > 1:
                await anyio.sleep(0.01)


def test_the_table_is_whole() -> None:
    """Each fault is on all wires, but for those that one wire alone can have."""
    partial = {fault.name: tuple(fault.wires) for fault in FAULTS.values() if set(fault.wires) != set(WIRES)}
    assert partial == {
        "a response that failed": ("responses",),
        "a finish reason without [DONE]": ("chat",),
        "usage in two events": ("messages", "chat"),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["text after the last event", "a finish reason without [DONE]", "gzip", "CRLF"])
async def test_what_is_whole_gives_its_connection_back(name: str, wire: WireName) -> None:
    """Whatever came after its last event."""
    if wire in FAULTS[name].wires:
        emulator = emulated(FAULTS[name], wire)
        async with served(emulator, wire) as provider:
            for _ in range(2):
                assert (await outcome(provider))[1] is None
            assert emulator.connections == 1


@pytest.mark.anyio
@pytest.mark.parametrize("wire", WIRES)
async def test_the_last_event_ends_the_stream(wire: WireName) -> None:
    """A connection that is left open does not delay the end, and is closed, as the rest of it may never come."""
    emulator = Emulator(Reply([*answer(wire, TEXT), Hang()]), then=Reply(answer(wire, TEXT)))
    async with served(emulator, wire) as provider:
        before = time.monotonic()
        chunks, error = await outcome(provider)
        assert (text_of(chunks), error) == (TEXT, None)
        assert time.monotonic() - before < 0.5
        with anyio.fail_after(1):
            await emulator.exchanges[0].hung_up.wait()


def sample(corpus: list[dict[str, Any]], wire: WireName, count: int = 10) -> list[bytes]:
    """Recorded streams of every length, those with tool calls first."""
    rows = [
        row
        for row in corpus
        if row["status"] == 200 and row["sse"] and row["endpoint"].endswith(ENDPOINTS[wire]) and row["expect"]["stop_reason"]
    ]
    rows.sort(key=lambda row: (not row["expect"]["tool_calls"], len(row["response_body"])))
    return [rows[place * (len(rows) - 1) // (count - 1)]["response_body"].encode() for place in range(count)]
