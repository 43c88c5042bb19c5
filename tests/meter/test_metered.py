"""Metered: each attempt is one row, with the truth, or with an estimate that is marked as one, whatever way it ends."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import sqlite3
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from metering import Priced, booked, config, cost
from patience import PATIENCE, until
from penstock import (
    AnthropicProvider,
    Chunk,
    ConfigError,
    LedgerError,
    Message,
    Options,
    OverloadedError,
    ProviderError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    UsageChunk,
    run,
    tags,
)
from penstock.meter import Budget, Entry, Ledger, LedgerBehind, Metered
from penstock.middleware import CircuitBreaker, Concurrency, Event, Fallback, RateLimit, Retry
from penstock.middleware.wrapper import Wrapper
from penstock.testing import Hang, ScriptedStep
from playing import ASK, OPEN, SETTLED, bill, collect, outcome

pytestmark = pytest.mark.anyio

STOP = StopChunk(reason="stop", model="m-2026")
INPUT = cost("0.01", input_tokens=100)
OUTPUT = cost("0.02", output_tokens=50)
WHOLE: list[ScriptedStep] = [OPEN, INPUT, TextChunk("Hello"), OUTPUT, SETTLED, STOP]
CUT: list[ScriptedStep] = [OPEN, INPUT, TextChunk("x" * 300), StreamInterruptedError("cut")]
UNSEEN = 2_000 * Decimal("0.000015")
"""What may be written after the caller has left."""

WAYS: dict[str, tuple[list[ScriptedStep], str, str, str | None, str | None]] = {
    "it ends": (WHOLE, "done", "0.03", None, None),
    "it is refused": ([OverloadedError("busy", request_id="r1")], "failed", "0", None, "OverloadedError"),
    "it is refused late": ([OPEN, INPUT, SETTLED, OverloadedError("late")], "failed", "0.01", None, "OverloadedError"),
    "it breaks off": (CUT, "failed", "0.01", str(UNSEEN + 100 * Decimal("0.000015")), "StreamInterruptedError"),
    "it ends without usage": ([OPEN, TextChunk("x" * 30), STOP], "done", "0", "prompt and 10 tokens", None),
}  # fmt: skip


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A ledger's file, and none."""
    return tmp_path / "spend.db" if request.param == "file" else None


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_out_settles_the_row(way: str, path: Path | None) -> None:
    """What was billed for certain is exact; what may be billed beyond is an estimate."""
    script, state, known, estimated, error = WAYS[way]
    async with Ledger(path) as ledger:
        provider = Metered(Priced(script), ledger)
        await outcome(provider)
        [row] = await booked(ledger)
    assert (row.state, row.usage.known_cost, row.error) == (state, Decimal(known), error)
    if estimated is None or estimated[0].isdigit():
        assert row.estimated_cost == (None if estimated is None else Decimal(estimated))
    else:
        assert row.estimated_cost is not None
        assert row.estimated_cost > 10 * Decimal("0.000015")
    assert (row.vendor, row.model, row.attempt) == ("", "m", 1)
    assert row.seconds is not None
    assert row.seconds >= (row.first_chunk or 0)
    if state == "done":
        assert (row.reason, row.answered) == ("stop", "m-2026")


async def test_who_leaves_early_is_booked_with_an_estimate() -> None:
    """Break, cancellation, `aclose` in another task: the row is `left`, and some thousand tokens may still come."""
    async with Ledger() as ledger:
        leaf = Priced([OPEN, INPUT, TextChunk("Hi"), Hang()], repeat=True)
        provider = Metered(leaf, ledger)

        async def read(count: int = 3) -> None:
            async with provider.stream("", ASK) as chunks:
                for _ in range(count):
                    await anext(chunks)

        await read()
        async with anyio.create_task_group() as group:
            group.start_soon(read, 4)
            await until(lambda: len(leaf.calls) == 2 and len(leaf.calls[1].yielded) == 3)
            group.cancel_scope.cancel()
        stream = provider.create_message("", ASK)

        async def closed() -> None:
            with pytest.raises(StreamInterruptedError):
                async for _ in stream:
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(closed)
            await until(lambda: len(leaf.calls) == 3 and len(leaf.calls[2].yielded) == 3)
            await stream.aclose()
        rows = await booked(ledger)
    assert [row.state for row in rows] == ["left"] * 3
    assert {row.usage for row in rows} == {OPEN + INPUT}
    assert {row.estimated_cost for row in rows} == {UNSEEN}


async def test_a_call_that_was_cancelled_before_it_could_be_sent_costs_nothing() -> None:
    """Its worst case is not booked; that it was sent would be said on the cancellation."""
    async with Ledger() as ledger:
        leaf = Priced([Hang()])
        provider = Metered(leaf, ledger, budgets=[Budget(1, per="total")])
        async with anyio.create_task_group() as group:
            group.start_soon(collect, provider)
            await until(lambda: leaf.calls)
            group.cancel_scope.cancel()
        [row] = await booked(ledger)
        status = await ledger.status(Budget(1, per="total"))
    assert (row.state, row.usage.cost, row.estimated_cost) == ("left", Decimal(0), None)
    assert status.left == status.limit


async def test_a_stream_that_nobody_closes_is_settled() -> None:
    """By the garbage collector, which runs the generator's end in its loop, or in none."""
    async with Ledger() as ledger:
        provider = Metered(Priced(WHOLE), ledger)
        stream = provider.create_message("", ASK)
        await anext(stream)
        with pytest.warns(ResourceWarning) if _is_trio() else nullcontext():
            del stream
            gc.collect()
            await anyio.wait_all_tasks_blocked()
        [row] = await booked(ledger)
    assert row.state == "left"


def _is_trio() -> bool:
    from sniffio import current_async_library

    return current_async_library() == "trio"


async def test_each_attempt_is_a_row_wherever_it_is_metered() -> None:
    """Tries of Retry, and providers of Fallback, have one call id; who waits in a line has no row yet."""
    async with Ledger() as ledger:
        first = Priced([OverloadedError("busy")], [OverloadedError("busy")])
        first.alias, second = "first", Priced(WHOLE)
        second.alias = "second"

        async def sleep(seconds: float) -> None:
            pass

        inner = Concurrency(RateLimit(first, requests_per_minute=100), 1)
        provider = Metered(Fallback(CircuitBreaker(Retry(inner, attempts=2, sleep=sleep)), second), ledger)
        chunks = await collect(provider)
        rows = await booked(ledger)
    assert [(row.alias, row.attempt, row.state) for row in rows] == [
        ("first", 1, "failed"), ("first", 2, "failed"), ("second", 1, "done"),
    ]  # fmt: skip
    assert len({row.call for row in rows}) == 1
    assert sum((row.usage for row in rows), UsageChunk()) == bill(chunks)


async def test_two_meters_book_once_each() -> None:
    """One around the other: a department's ledger and a user's."""
    async with Ledger() as outer, Ledger() as inner:
        await collect(Metered(Retry(Metered(Priced(WHOLE), inner)), outer))
        assert [row.usage for row in await booked(outer)] == [row.usage for row in await booked(inner)] != []


async def test_nothing_is_booked_twice_in_one_ledger(tmp_path: Path) -> None:
    """As if models.json had named it too."""
    with pytest.raises(ConfigError, match="would book them twice"):
        Metered(Fallback(Priced(WHOLE), Retry(Metered(Priced(WHOLE), tmp_path / "spend.db"))), tmp_path / "spend.db")


async def test_a_budgets_tag_is_among_those_that_are_kept() -> None:
    """However many there are."""
    budget = Budget("0.04", per="day", by="tags.zoe")
    many = {f"t{number:02}": "v" for number in range(30)}
    async with Ledger() as ledger:
        provider = Metered(Priced(WHOLE), ledger, budgets=[budget])
        async for _ in provider.create_message("", ASK, Options(tags={**many, "zoe": "z"})):
            pass
        [row] = await booked(ledger)
        assert (await ledger.status(budget, "z")).spent == Decimal("0.03")
    assert len(row.tags) == 16
    assert row.tags["zoe"] == "z"


async def test_what_it_is_booked_on() -> None:
    """Tags and run are those of the moment when the first chunk was asked for, options before context."""
    async with Ledger() as ledger:
        provider = Metered(Priced(WHOLE, repeat=True), ledger)
        with tags(user="ann", session="s1"), run("nightly"):
            await collect(provider)
            async for _ in provider.create_message("", ASK, Options(tags={"user": "bob"})):
                pass
        await collect(provider)
        rows = await booked(ledger)
        by_user = await ledger.totals("tags.user")
    assert [(dict(row.tags), row.run) for row in rows] == [
        ({"session": "s1", "user": "ann"}, "nightly"), ({"session": "s1", "user": "bob"}, "nightly"), ({}, None),
    ]  # fmt: skip
    assert [(total.by["tags.user"], total.calls) for total in by_user] == [(None, 1), ("ann", 1), ("bob", 1)]


async def test_what_caching_saved() -> None:
    """Against the price of ordinary input."""
    usage = cost("0.0003", cache_read_tokens=1_000)
    async with Ledger() as ledger:
        await collect(Metered(Priced([OPEN, usage, SETTLED, TextChunk("Hi"), STOP]), ledger))
        [row] = await booked(ledger)
    assert row.saved == Decimal("0.0027")


async def test_a_provider_that_drops_the_scope_is_told() -> None:
    """Its calls would be booked nowhere."""

    class Careless(Wrapper):
        async def create_message(self, system_prompt: Any, messages: Any, options: Any = None) -> Any:
            async with self._inner.stream(system_prompt, messages, Options(max_tokens=5)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async with Ledger() as ledger:
        chunks, error = await outcome(Metered(Careless(Priced(WHOLE)), ledger))
    assert chunks == []
    assert isinstance(error, ConfigError)
    assert "structs.replace" in error.message


@pytest.mark.parametrize("messages", ["Hi", Message("user", "Hi"), None, [5], [Message("user", 5)]])  # type: ignore[arg-type]
async def test_what_is_no_history_is_refused_by_the_provider(messages: Any) -> None:
    """As without a meter, and for nothing."""
    async with Ledger() as ledger, AnthropicProvider(config("http://127.0.0.1:1")) as leaf:
        errors = []
        for provider in (leaf, Metered(leaf, ledger), Metered(leaf, ledger, budgets=[Budget(1, per="day")])):
            with pytest.raises(ProviderError) as caught:
                async for _ in provider.create_message("", messages):
                    pass
            errors.append((type(caught.value), caught.value.message))
        assert len(set(errors)) == 1
        assert {(row.state, row.usage.cost) for row in await booked(ledger)} == {("failed", Decimal(0))}


async def test_a_path_is_a_ledger_of_its_own(tmp_path: Path) -> None:
    """It is opened and closed with the provider."""
    async with Metered(Priced(WHOLE), tmp_path / "spend.db") as provider:
        await collect(provider)
    assert not (tmp_path / "spend.db-wal").exists()
    async with Ledger(tmp_path / "spend.db") as ledger:
        assert len(await booked(ledger)) == 1


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """While another program keeps the file to itself."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("budgets", [[], [Budget(5, per="day")]])
async def test_without_its_file(tmp_path: Path, budgets: list[Budget], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a budget the call goes on, and its row is written later; with one it is refused."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.05)
    monkeypatch.setattr("penstock.meter.writer._AGAIN", 0.05)
    events: list[Event] = []
    async with Ledger(tmp_path / "spend.db") as ledger:
        with locked(tmp_path / "spend.db"):
            provider = Metered(Priced(WHOLE), ledger, budgets=budgets, listener=events.append)
            chunks, error = await outcome(provider)
            if budgets:
                assert isinstance(error, LedgerError)
                assert "locked" in error.message
                return
            assert (error, chunks) == (None, WHOLE)
            assert ledger.behind in (1, 2)
            assert isinstance(ledger.fault, LedgerError)
            assert [type(event) for event in events] == [LedgerBehind]
            with pytest.raises(LedgerError):
                await ledger.totals()
        [row] = await booked(ledger)
        assert row.state == "done"
        assert ledger.behind == ledger.given_up == 0
        assert await _fault(ledger) is None


async def test_a_row_that_was_kept_has_the_time_of_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that of the end of the outage, which may be another day."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.05)
    monkeypatch.setattr("penstock.meter.writer._AGAIN", 0.05)
    async with Ledger(tmp_path / "spend.db") as ledger:
        with locked(tmp_path / "spend.db"):
            before = dt.datetime.now(dt.UTC)
            await collect(Metered(Priced(WHOLE), ledger))
            after = dt.datetime.now(dt.UTC)
            await until(lambda: ledger.behind == 2)
        [row] = await booked(ledger)
        assert before <= row.at <= after


async def _fault(ledger: Ledger) -> LedgerError | None:
    return ledger.fault


async def test_a_strict_ledger_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also calls without a budget."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.05)
    async with Ledger(tmp_path / "spend.db", strict=True) as ledger:
        with locked(tmp_path / "spend.db"):
            _, error = await outcome(Metered(Priced(WHOLE), ledger))
        assert isinstance(error, LedgerError)
        assert await booked(ledger) == []


async def test_what_cannot_be_kept_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest rows go first; no answer is lost for them."""
    monkeypatch.setattr("penstock.meter.schema._BUSY", 0.01)
    monkeypatch.setattr("penstock.meter.writer._KEPT", 6)
    async with Ledger(tmp_path / "spend.db") as ledger:
        with locked(tmp_path / "spend.db"):
            for _ in range(8):
                await collect(Metered(Priced(WHOLE), ledger))
            await until(lambda: ledger.given_up)
        rows = await booked(ledger)
        assert len(rows) >= 3
        assert ledger.given_up >= 1


def test_forty_threads_and_forty_tools(tmp_path: Path) -> None:
    """Each with a loop of its own; and forty synchronous tools of one loop, which take all of anyio's threads."""
    ledger = Ledger(tmp_path / "spend.db")
    provider = Metered(Priced(WHOLE, repeat=True), ledger)

    async def left() -> None:
        await anext(provider.create_message("", ASK))

    threads = [threading.Thread(target=anyio.run, args=(left,)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    async def tools() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(anyio.to_thread.run_sync, anyio.run, collect, provider)

    anyio.run(tools)

    async def states() -> list[tuple[str | None, int]]:
        async with ledger:
            return [(total.by["state"], total.calls) for total in await ledger.totals("state")]

    assert anyio.run(states) == [("done", 40), ("left", 40)]


def test_a_stream_that_outlives_its_loop() -> None:
    """Nobody can close it any more; its row is settled when it is collected."""
    ledger = Ledger()
    loop = asyncio.new_event_loop()

    async def begin() -> AsyncGenerator[Chunk, None]:
        stream = Metered(Priced(WHOLE), ledger).create_message("", ASK)
        await anext(stream)
        return stream

    stream = loop.run_until_complete(begin())
    loop.close()
    del stream
    gc.collect()

    async def rows() -> list[Entry]:
        async with ledger:
            return await booked(ledger)

    assert [row.state for row in anyio.run(rows)] == ["left"]
