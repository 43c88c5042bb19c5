"""The page on speed has the table that the bench makes, and a row of the bench that measures something else says so."""

from __future__ import annotations

import functools
import math
import multiprocessing
import re
import threading
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import pytest

import measuring
import page
import starting
import streams_load
from command import GROUPS, run
from contenders import Call
from measuring import FAST, OURS, SDK, WITHOUT, Bar, Bench, NotMeasuredError, Row, Spent, Spread, Taken, Work, by_turns
from patience import PATIENCE
from penstock import UsageChunk
from requesting import beginning
from streaming import asking, opened, waiting
from streams_load import Load

ROWS = [row for rows in GROUPS.values() for row in rows]


def spent(seconds: float) -> Spent:
    return Spent.of([Taken(seconds, 2 * seconds)])


def test_the_page_has_the_tables_that_the_bench_makes() -> None:
    """Row by row and column by column; the figures are those of the day it names."""
    (short, *summary), (head, *lines) = page.tables_of(page.PAGE.read_text("utf-8"))
    (shorter, *made), _ = page.tables_of(page.written(page.PAGE.read_text("utf-8"), page.tables(ROWS, {})))
    assert short == shorter == list(page.IN_SHORT)
    assert [cells[0] for cells in summary] == [cells[0] for cells in made]
    assert {len(cells) for cells in summary} == {len(short)}
    shown = [row for row in ROWS if row.page]
    assert head == list(page.COLUMNS)
    assert [cells[0] for cells in lines] == [page.title(row) for row in shown]
    assert {len(cells) for cells in lines} == {len(head)}
    for cells, row in zip(lines, shown, strict=True):
        bars = [f"{bar.most:g}" for bar in row.bars if not bar.more]
        assert re.findall(r"\(([^)]+)\)", cells[-1])[: len(bars)] == bars, row.what


def test_each_row_is_called_otherwise() -> None:
    """Or nobody could tell them apart."""
    assert len({row.what for row in ROWS}) == len(ROWS)


def test_tables_are_written_between_the_marks_of_the_page_and_found_there() -> None:
    """With medians, wall time where a row has it, a label on each other side, nothing where nothing was measured."""

    async def measure(bench: Bench) -> dict[str, Spent]:
        return {}

    anthropics, chats = (page.SUMMARY[f"an event read alone: {vendor}"] for vendor in ("Anthropic", "OpenAI"))
    row = Row(anthropics, "µs", measure, [Bar(0.5, SDK, FAST), Bar(9, "a", FAST, more=True)], page=True, wall=True)
    sides = {OURS: spent(90e-6), FAST: spent(40e-6), SDK: spent(100e-6), "httpx2": spent(10e-6), "a": spent(5e-6)}
    chat, hidden = row._replace(what=chats, wall=False), row._replace(what="hidden", page=False)
    layer, retry = {OURS: spent(9e-7), WITHOUT: spent(5e-7)}, page.SUMMARY["what `Retry` adds"]
    others = [one._replace(page=False) for one in ROWS if one.what not in {anthropics, chats}]
    text = page.PAGE.read_text("utf-8")
    summary, whole = page.tables_of(
        page.written(text, page.tables([row, chat, hidden, *others], {row.what: sides, "hidden": sides, retry: layer}))
    )
    assert summary[-1][:2] == ["what `Retry` adds, µs", "0.40"]
    assert summary[:2] == [
        list(page.IN_SHORT),
        ["an event read alone: Anthropic, µs", "90.0", "0.90", "40.0", "0.40", "0.44", "100", "10.0"],
    ]
    assert whole == [
        list(page.COLUMNS),
        [f"{anthropics}, µs (wall)", "90.0 (180)", "40.0 (80.0)", "100 (200)", "httpx2 10.0 (20.0), a 5.00 (10.0)",
         "0.40 of the SDK (0.5)"],
        [f"{chats}, µs", "", "", "", "", "? of the SDK (0.5)"],
    ]  # fmt: skip
    assert row.printed(sides).splitlines()[-2:] == [
        f"    {FAST}: 0.40 of the SDK, at most 0.5: ok",
        f"    {FAST}: +35.0 µs over a, at most 9 µs: MISSED",
    ]


def test_how_far_the_rounds_lie_from_their_medians_is_told_once() -> None:
    """Of the half of them that is nearest; a figure of one round has no spread."""
    sides = [Spent(Spread(median - width, median, median + width)) for median, width in ((10, 1), (1, 0.02), (5, 0))]
    assert "within ±6% of the figure that is given, in one row of ten beyond ±9%" in page.scattered(
        {"row": dict(zip("abc", sides, strict=True))}
    )


def test_rounds_are_by_turns_and_the_first_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports, and opens connections."""
    monkeypatch.setattr(measuring, "_ENOUGH", math.inf)  # however long this process looks for garbage
    order = []

    def side(name: str, *seconds: float) -> Work:
        left = iter(seconds)

        async def work() -> Taken:
            order.append(name)
            cpu = next(left)
            return Taken(cpu, cpu)

        return work

    works = {"a": side("a", 100, 1, 2, 3, 4, 5), "b": side("b", 100, 2, 2, 2, 2, 2)}
    taken = anyio.run(by_turns, works, 5, 2)
    assert taken["a"].cpu == Spread(1, 1.5, 2)
    assert taken["b"].cpu == Spread(1, 1, 1)
    assert all(one != other for one, other in pairwise(order))


def test_a_first_call_is_not_measured_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wall time would be that of others, and the loop's silence too."""
    monkeypatch.setattr(starting, "said", lambda *_: ["1.0", "2.1", "0.5"])
    with pytest.raises(NotMeasuredError, match=r"the machine is busy: 2\.1 s for 1\.0 s of CPU"):
        anyio.run(functools.partial(starting.first, Bench("", 1, int), "OpenAI", "gpt", silence=True))


def answering(*items: object) -> Call:
    async def call() -> AsyncIterator[object]:
        async def read() -> AsyncIterator[object]:
            for item in items:
                yield item

        return read()

    return call


def test_too_few_chunks_are_not_measured() -> None:
    """An answer of another kind would be quick."""
    anyio.run(asking(answering(1, 2), 2))
    with pytest.raises(NotMeasuredError, match="1 chunks came, expected 2"):
        anyio.run(asking(answering(1), 2))


def test_pieces_that_are_read_together_are_not_measured_as_read_alone() -> None:
    """This process has to wait for each."""
    with pytest.raises(NotMeasuredError, match="waits for 1000 HTTP chunks"):
        anyio.run(waiting(asking(answering(1), 1), 1_000))


def test_a_row_that_is_not_measured_says_so_among_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 1 where there is one."""

    async def good(bench: Bench) -> dict[str, Spent]:
        return {OURS: spent(90e-6)}

    async def bad(bench: Bench) -> dict[str, Spent]:
        raise NotMeasuredError("another plan")

    rows = [Row("one", "µs", bad), Row("other", "µs", good)]
    assert anyio.run(run, rows, Bench("", 1, int)) == {"other": {OURS: spent(90e-6)}}
    said = capsys.readouterr().out
    assert "one\n    NOT MEASURED: another plan\n" in said
    assert "90.0 µs [90.0, 90.0]" in said


def test_a_second_connection_is_not_measured() -> None:
    """Of a side that did not keep its own."""
    accepted = iter((5, 7))

    async def row() -> None:
        async with opened(Bench("http://127.0.0.1:9", 1, lambda: next(accepted)), "chat", "one", {}):
            pass

    with pytest.raises(NotMeasuredError, match="2 connections for 0 sides"):
        anyio.run(row)


def test_the_load_of_many_streams_reads_all_of_each() -> None:
    """What `tests/support/streams_load.py` prints is of all events, each as late as its stamp says."""
    load = Load(streams=10, rate=100, seconds=0.1, pause=0.01)
    here, there = multiprocessing.Pipe()
    server = threading.Thread(target=streams_load.serve, args=(there, "chat", load))
    server.start()
    read = anyio.run(streams_load.read, "chat", OURS, f"http://127.0.0.1:{here.recv()}", load)
    server.join()
    assert read.events == 100
    assert 0 < read.delays.median <= read.delays.high <= read.delays.worst < PATIENCE
    assert 0 <= here.recv().worst < PATIENCE


def test_a_request_ends_with_the_first_event() -> None:
    """Not with the word that there will be a bill, which comes with the head and which an SDK does not have."""

    async def chunks() -> AsyncIterator[object]:
        yield UsageChunk()

    async def call() -> AsyncIterator[object]:
        return chunks()

    with pytest.raises(NotMeasuredError, match="nothing came"):
        anyio.run(beginning(call))
