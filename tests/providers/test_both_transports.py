"""The same fault over both transports: what comes out, and what went over the wire, compared one by one."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import anyio.abc
import pytest

from certificates import behind_tls, certificate
from networks import FAULTS as NETWORKS
from patience import PATIENCE, PATIENT, all_but, drain_patiently
from penstock import BaseProvider, Chunk, Deadlines, Message, Options, ProviderError
from penstock.testing import (
    FAULTS,
    TEXT,
    WIRES,
    Cut,
    Emulator,
    Hang,
    Reset,
    ServerReply,
    WireName,
    emulated,
    provider_on,
)
from penstock.testing.answers import answer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]  # as aiohttp has no other

TRANSPORTS: Final = ("httpx2", "aiohttp")


class Told(NamedTuple):
    """What a call told: its chunks, and of the error that ended it if one did, all that its handler decides by."""

    chunks: Sequence[Chunk]
    error: type[ProviderError] | None = None
    message: str = ""
    status: int | None = None
    retryable: bool = False
    retry_after: float | None = None
    hint: str = ""
    usage: object = None
    unsent: bool = False
    more: object = None


async def told(provider: BaseProvider, deadlines: Deadlines = PATIENT, text: str = "Hi") -> Told:
    """Numbers in the message are apart: they are ports and times."""
    chunks: list[Chunk] = []
    try:
        with anyio.fail_after(PATIENCE / 2):
            async with provider.stream("", [Message("user", text)], Options(deadlines=deadlines)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - what came before an error is kept
    except ProviderError as error:
        message, said = (re.sub(r"\d+(\.\d+)?", "#", text) for text in (error.message, error.hint))
        waits = None if error.retry_after is None else round(error.retry_after, -1)  # a date comes nearer
        more = error.vendor, error.model, error.request_id, error.code, getattr(error, "deadline", None)
        return Told(
            chunks, type(error), message, error.status, error.retryable, waits, said, error.usage, error.unsent, more
        )
    return Told(chunks)


class Way(NamedTuple):
    """What the calls told, and how many requests the server got."""

    calls: Sequence[Told]
    requests: int


async def way(transport: str, wire: WireName, emulator: Emulator, calls: int, deadline: str | None) -> Way:
    """So many calls, of which the last has the short deadline; then one that is answered well."""
    async with emulator, provider_on(wire, emulator.url, transport=transport) as provider:
        limits = [*[None] * (calls - 1), deadline]
        said = [await told(provider, all_but(name)) for name in limits]
        if not emulator.exchanges and emulator._bound is not None:
            await emulator.listen()
        emulator.then = ServerReply(answer(wire, TEXT))
        said.append(await told(provider))
        return Way(said, len(emulator.exchanges))


def differing(one: Way, other: Way) -> dict[str, list[tuple[object, object]]]:
    """What is not the same, by name: of each call what the one told and what the other did.

    Of two errors of other classes, or of one alone, nothing else is compared.
    """
    found: dict[str, list[tuple[object, object]]] = {}
    for calls in zip(one.calls, other.calls, strict=True):
        names = Told._fields if calls[0].error is calls[1].error else ["error"]
        for name in names:
            a, b = (getattr(call, name) for call in calls)
            if a != b:
                found.setdefault(name, []).append((a, b))
    if one.requests != other.requests:
        found["requests"] = [(one.requests, other.requests)]
    return found


WORDS: Final = ({"message"}, "each client has its own words for what is no HTTP")
EARLIER: Final = "aiohttp sees in the first bytes what httpx2 sees at the end of a line or a head"
KEEPS: Final = ({"error", "requests"}, "httpx2 keeps what came too much, and has sent the next call when that shows")
DIFFERENT: Final[Mapping[str, tuple[set[str], str]]] = {
    "no HTTP, and closed": ({"message"}, EARLIER),
    "no HTTP, and open": ({"error"}, EARLIER),
    "a page without a head": ({"message"}, EARLIER),
    "a chunk header without an end": ({"error"}, EARLIER),
    "a kept connection on which no HTTP comes": WORDS,
    "a first line of another protocol": WORDS,
    "a status that is no number": WORDS,
    "TLS where none was asked for": WORDS,
    "a header without a colon": WORDS,
    "a header with a space in its name": WORDS,
    "a header with a zero byte": WORDS,
    "101": WORDS,
    "closed in a chunk's header": WORDS,
    "a broken chunk header": WORDS,
    "a chunk header with a minus": WORDS,
    "a chunk that is too large for any machine": WORDS,
    "no line end behind a chunk": WORDS,
    "two encodings of the transfer": WORDS,
    "a length that is no number": WORDS,
    "a length below nothing": WORDS,
    "two lengths": WORDS,
    "a length and chunks": ({"error"}, "aiohttp refuses what two servers may read as two different answers"),
    "a length that is too short": KEEPS,
    "bytes after the answer": KEEPS,
    "two answers at once": KEEPS,
}
RACES: Final[Mapping[str, tuple[set[str], str]]] = {
    name: ({"error", "chunks", "usage", "message", "requests"}, "how much was written by then is chance")
    for name in ("accepted, then reset", "an answer before it was read, and closed")
}


def check(name: str, ways: Sequence[Way]) -> None:
    found = differing(*ways)
    may = RACES.get(name, (set(), ""))[0]
    assert set(found) - may == DIFFERENT.get(name, (set(), ""))[0], found


def in_turn(found: Mapping[str, Sequence[WireName]]) -> pytest.MarkDecorator:
    """Each name, on one of its wires: which one it is changes nothing of what a transport does."""
    rows = [(name, wires[number % len(wires)]) for number, (name, wires) in enumerate(found.items())]
    return pytest.mark.parametrize(("name", "wire"), rows)


# What is only long has its outcome on each transport elsewhere, and costs too much to be read twice more.
@in_turn({name: fault.wires for name, fault in FAULTS.items() if fault.seconds <= 1})
async def test_what_the_emulator_can_do(name: str, wire: WireName) -> None:
    """All of the kit."""
    fault = FAULTS[name]
    late = getattr(fault.outcome.error, "deadline", None)
    ways = [await way(transport, wire, emulated(fault, wire), 1, late) for transport in TRANSPORTS]
    check(name, ways)


@in_turn(dict.fromkeys(NETWORKS, WIRES))
async def test_what_a_network_can_do(name: str, wire: WireName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the wire."""
    drain_patiently(monkeypatch)
    fault = NETWORKS[name]
    replies = fault.replies(wire)
    ways = [await way(kind, wire, Emulator(*replies), len(replies), fault.deadline) for kind in TRANSPORTS]
    check(name, ways)


@asynccontextmanager
async def served(reply: ServerReply, scheme: str = "http") -> AsyncIterator[str]:
    """Whatever is asked there."""
    async with Emulator(then=reply) as emulator:
        yield emulator.url.replace("http", scheme)


@asynccontextmanager
async def short() -> AsyncIterator[str]:
    """As the system takes it."""
    async with served(ServerReply(answer("messages", TEXT))) as url:
        yield url.replace("127.0.0.1", "127.1")


@asynccontextmanager
async def certified(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool) -> AsyncIterator[str]:
    """A server whose certificate is for that name."""
    files = certificate(folder, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
    async with Emulator(then=ServerReply(answer("messages", TEXT))) as emulator, behind_tls(emulator, files) as url:
        yield url


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """A host that neither takes nor refuses: here, one whose queue of connections is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                other = stack.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(listening.getsockname())
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@asynccontextmanager
async def refusing(host: str) -> AsyncIterator[str]:
    """A port where nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://{host}:{bound.getsockname()[1]}"


@asynccontextmanager
async def at(url: str) -> AsyncIterator[str]:
    """No server of ours."""
    yield url


PLACES: Final[dict[str, tuple[Callable[..., AbstractAsyncContextManager[str]], str | None]]] = {
    "an unknown host": (lambda folder, patch: at("http://model.invalid"), None),
    "an unknown host behind TLS": (lambda folder, patch: at("https://model.invalid"), None),
    "a host that refused": (lambda folder, patch: refusing("127.0.0.1"), None),
    "a name that refused": (lambda folder, patch: refusing("localhost"), None),
    "a host that neither takes nor refuses": (lambda folder, patch: deaf(), "connect"),
    "a certificate that nobody trusts": (
        lambda folder, patch: certified("IP:127.0.0.1", folder, patch, trusted=False),
        None,
    ),
    "a certificate of another host": (
        lambda folder, patch: certified("DNS:model.invalid", folder, patch, trusted=True),
        None,
    ),
    "a certificate that is right": (lambda folder, patch: certified("IP:127.0.0.1", folder, patch, trusted=True), None),
    "no TLS where it is asked for": (lambda folder, patch: served(ServerReply([b"what?"], unread=True), "https"), None),
    "closed where TLS begins": (
        lambda folder, patch: served(ServerReply([Cut()], raw=True, unread=True), "https"),
        None,
    ),
    "silent where TLS begins": (
        lambda folder, patch: served(ServerReply([Hang()], raw=True, unread=True), "https"),
        "connect",
    ),
    "an address of fewer numbers": (lambda folder, patch: short(), None),
    "a place that is none": (lambda folder, patch: at("http://"), None),
    "half an address": (lambda folder, patch: at("http://[::1"), None),
    "a host with a space": (lambda folder, patch: at("http://a b"), None),
}


@in_turn(dict.fromkeys(PLACES, WIRES))
async def test_where_a_call_does_not_arrive(
    name: str, wire: WireName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name, no connection, no TLS."""
    place, deadline = PLACES[name]
    async with place(tmp_path, monkeypatch) as url:
        ways = []
        for kind in TRANSPORTS:
            async with provider_on(wire, url, transport=kind) as provider:
                ways.append(Way([await told(provider, all_but(deadline))], 0))
    check(name, ways)
    if "refused" in name:
        assert all("(connection refused)" in way.calls[0].message for way in ways), ways


LONG: Final = "x" * 20_000_000
EARLY: Final = b"HTTP/1.1 413 Large\r\ncontent-length: 5\r\n\r\nlarge"
UPLOADS: Final[dict[str, ServerReply]] = {
    "an answer before the request was read": ServerReply([EARLY, Hang()], raw=True, unread=True),
    "an answer before it was read, and closed": ServerReply([EARLY, Cut()], raw=True, unread=True),
    "closed before it was read": ServerReply([Cut()], raw=True, unread=True),
    "reset before it was read": ServerReply([Reset()], raw=True, unread=True),
}


@in_turn(dict.fromkeys(UPLOADS, WIRES))
async def test_a_request_that_is_not_read(name: str, wire: WireName) -> None:
    """To its end: the answer may be there already."""
    ways = []
    for kind in TRANSPORTS:
        async with Emulator(UPLOADS[name]) as emulator, provider_on(wire, emulator.url, transport=kind) as provider:
            ways.append(Way([await told(provider, text=LONG)], len(emulator.exchanges)))
    check(name, ways)
