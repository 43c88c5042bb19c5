"""Many streams at once in one client: what each of the ways to read them takes, and how late an event is.

python tests/support/streams_load.py [--streams 1000] [--rates 50 5] [--seconds 20]

The server is a process of its own with one loop over all sockets. Each stream has its events at a steady rate, no two
of them at the same time, and each event says when it was written, by the clock that the client's process has too. The
client reads all of them, however long that takes: it keeps up where *reached* is what was *asked*. A client that does
not is late by more and more, and reads more and more events together. Where *server lag* is large, the server was
late itself, and the row tells of the machine. The first tenth of a stream does not count for the delays.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from contenders import QUESTION, sides
from measuring import SDK
from penstock.core.chunks import TextChunk
from server import ANSWERS, PIECES, SPAWN

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STAMP: Final = b"%017.6f"
"""Seconds of the monotonic clock, always as long."""
WIRES: Final = ("anthropic", "chat")


class Load(NamedTuple):
    """rate: events a second in each stream. pause: seconds before the first of them, when all streams are there."""

    streams: int
    rate: float
    seconds: float
    pause: float = 1

    @property
    def events(self) -> int:
        """In each stream."""
        return round(self.rate * self.seconds)


class Delays(NamedTuple):
    """In seconds."""

    median: float
    high: float
    worst: float

    @classmethod
    def of(cls, found: Sequence[float]) -> Delays:
        """high: the 99th of a hundred."""
        ordered = sorted(found)
        return cls(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


class Read(NamedTuple):
    """What a client found. cpu: share of one core while events came. rate: events a second, of all streams."""

    events: int
    rate: float
    cpu: float
    delays: Delays


def chunked(data: bytes) -> bytes:
    """One chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def pieces(wire: str) -> tuple[bytes, bytes, bytes]:
    """How an answer begins, an event with a place for its stamp, and how the answer ends."""
    whole = list(ANSWERS[wire](1))
    (place,) = [number for number, event in enumerate(whole) if PIECES[0].encode() in event and b"delta" in event]
    event = whole[place].replace(b"%", b"%%").replace(PIECES[0].encode(), STAMP)
    length = len(event % 0.0)
    begin, end = (b"".join(map(chunked, part)) for part in (whole[:place], whole[place + 1 :]))
    return HEAD + begin, b"%x\r\n" % length + event + b"\r\n", end + b"0\r\n\r\n"


def serve(link: Connection, wire: str, load: Load) -> None:
    """Accept all streams, then write to one after the other; tell the port first, and how late it was in the end."""
    begin, event, end = pieces(wire)
    sockets = []
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        link.send(listener.getsockname()[1])
        for _ in range(load.streams):
            connection, _ = listener.accept()
            asked(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(begin)
            connection.setblocking(False)
            sockets.append(connection)
    unsent = [b""] * len(sockets)
    lags = array("d")
    gap = 1 / load.rate / load.streams
    due = time.monotonic() + load.pause
    for _ in range(load.events):
        for place, connection in enumerate(sockets):
            if (now := time.monotonic()) < due:
                time.sleep(due - now)
                now = time.monotonic()
            lags.append(now - due)
            due += gap
            data = unsent[place] + event % now
            sent = 0
            with suppress(BlockingIOError):
                sent = connection.send(data)
            unsent[place] = data[sent:]
    for connection, data in zip(sockets, unsent, strict=True):
        connection.setblocking(True)
        connection.sendall(data + end)
        connection.close()
    link.send(Delays.of(lags))


def asked(connection: socket.socket) -> None:
    """Read a request to its end."""
    with connection.makefile("rb") as received:
        lines = list(iter(received.readline, b"\r\n"))
        (length,) = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
        received.read(length)


def our_text(item: Any) -> str | None:
    """Of a chunk."""
    return item.text if isinstance(item, TextChunk) else None


def anthropic_text(item: Any) -> str | None:
    """Of an event of the SDK."""
    return item.delta.text if item.type == "content_block_delta" else None


def chat_text(item: Any) -> str | None:
    """Of a chunk of the SDK."""
    return item.choices[0].delta.content if item.choices else None


THEIRS: Final = {"anthropic": anthropic_text, "chat": chat_text}


async def read(wire: str, who: str, url: str, load: Load) -> Read:
    """All streams, to their ends."""
    text_of: Callable[[Any], str | None] = THEIRS[wire] if who == SDK else our_text
    delays = array("d")
    begun: list[tuple[float, float]] = []
    late = load.events // 10

    async with sides(wire)[who](url, QUESTION) as call:

        async def stream() -> int:
            came = 0
            async for item in await call():
                if text := text_of(item):
                    now = time.monotonic()
                    if not begun:
                        begun.append((now, time.process_time()))
                    came += 1
                    if came > late:
                        delays.append(now - float(text))
            return came

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream()) for _ in range(load.streams)]
        (wall, cpu), events = begun[0], sum(task.result() for task in tasks)
        seconds = time.monotonic() - wall
        spent = time.process_time() - cpu
    if events != load.streams * load.events:
        raise RuntimeError(f"{events} events came of {load.streams * load.events}")
    return Read(events, events / seconds, spent / seconds, Delays.of(delays))


def client(wire: str, who: str, url: str, load: Load, fast_loop: bool) -> Read:
    """In a process of its own."""
    factory = None
    if fast_loop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(read(wire, who, url, load))


def measured(wire: str, who: str, load: Load, fast_loop: bool) -> tuple[Read, Delays]:
    """What the client found, and how late the server was."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(there, wire, load), daemon=True)
    process.start()
    try:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            found = pool.submit(client, wire, who, f"http://127.0.0.1:{here.recv()}", load, fast_loop).result()
        return found, here.recv()
    finally:
        process.terminate()
        process.join()


def table(load: Load) -> None:
    """Print a table, a row when it is known."""
    print(f"{load.streams} streams at once, {load.rate:g} events a second each, {load.seconds:g} s; milliseconds")
    print(
        f"{'wire':<10} {'who':<20} {'loop':<8} {'asked/s':>8} {'reached/s':>9} {'CPU':>5} {'p50':>9} {'p99':>9} "
        f"{'worst':>9} {'server lag p99':>15} {'worst':>7}"
    )
    for wire, who, fast_loop in product(WIRES, sides(WIRES[0]), (False, True)):
        found, lag = measured(wire, who, load, fast_loop)
        told = " ".join(f"{1e3 * each:>9,.1f}" for each in found.delays)
        print(
            f"{wire:<10} {who:<20} {'uvloop' if fast_loop else 'asyncio':<8} {load.streams * load.rate:>8,.0f} "
            f"{found.rate:>9,.0f} {found.cpu:>5.0%} {told} {1e3 * lag.high:>15,.1f} {1e3 * lag.worst:>7,.1f}",
            flush=True,
        )


def main() -> None:
    """The command: a table for each rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 5], help="events a second in each stream")
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    for rate in arguments.rates:
        table(Load(arguments.streams, rate, arguments.seconds))


if __name__ == "__main__":
    main()
