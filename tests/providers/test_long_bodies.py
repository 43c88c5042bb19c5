"""Bodies too long to be held: sent piece by piece, and read by lines, over the border of a call."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from clouds import CASES, Case, carried
from clouds import KEY as CLOUD_KEY
from leftovers import nothing_left
from patience import all_but
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    ConfigError,
    Deadlines,
    FirstChunkTimeoutError,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OpenAIProvider,
    ProviderConfig,
    ProviderError,
    ServerError,
    StallTimeoutError,
    StreamInterruptedError,
)
from penstock.providers import answers
from penstock.providers.bodies import Body, form
from penstock.providers.deadlines import Watch
from penstock.providers.leaf import Leaf
from penstock.testing import Cut, Emulator, Hang, ServerReply, Step, anthropic_error, pieces
from penstock.testing.batches.openai import read_form
from three_wires import KEY

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

OK: Final = ServerReply([b'{"id": "1"}'], headers={"content-type": "application/json"}, whole=True)


def anthropic(url: str, **config: Any) -> Leaf:
    return AnthropicProvider(ProviderConfig(model_id="m", api_key=KEY, base_url=url, **config))


def openai(url: str, **config: Any) -> Leaf:
    return OpenAIProvider(ProviderConfig(model_id="m", api_key=KEY, base_url=f"{url}/v1", **config))


async def test_a_form_with_a_file(tmp_path: Path) -> None:
    """As a browser sends it, with its length."""
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(b"0\n1\n2\n")
    async with nothing_left(), Emulator(OK) as emulator, openai(emulator.url) as provider:
        body, kind = form({"purpose": "batch"}, "file", "jobs.jsonl", file)
        assert await provider.upload("/files", body, kind) == b'{"id": "1"}'
        (request,) = emulator.requests
    assert (request.method, request.path) == ("POST", "/v1/files")
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert read_form(request) == {"purpose": b"batch", "file": b"0\n1\n2\n"}
    assert int(request.headers["content-length"]) == len(request.body) == body.size


@pytest.mark.parametrize("make", [anthropic, openai])
async def test_a_body_of_several_parts(make: Callable[..., Leaf], tmp_path: Path) -> None:
    """In their order, and of the type that was given."""
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(b"".join(b"%d," % number for number in range(20_000)))
    async with Emulator(OK) as emulator, make(emulator.url) as provider:
        await provider.upload("/batches", Body(b"[", file, b"0]"))
        (request,) = emulator.requests
    assert request.body == b"[" + file.read_bytes() + b"0]"
    assert request.headers["content-type"] == "application/json"


# The SDK's client for that one copies all that it is given to send; nor has it any such API.
@pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name) for name in CASES if name != "Claude on Vertex"])
async def test_platforms(case: Case) -> None:
    """Their addresses, and the key in the header that is theirs."""
    lines = ServerReply([b"1\n2"])
    async with Emulator(OK, lines) as emulator, case.provider_at(emulator.url, api_key=CLOUD_KEY) as provider:
        assert isinstance(provider, Leaf)
        await provider.upload("/files", Body(b"x"))
        assert [line async for line in provider.lines("/files/1/content")] == [b"1", b"2"]
        sent, read = emulator.requests
    key = f"Bearer {CLOUD_KEY}" if case.key == "authorization" else CLOUD_KEY
    assert carried(sent) == carried(read) == {case.key: key}
    query = "".join(case.path.partition("?")[1:])
    assert (sent.path, read.path) == (f"/files{query}", f"/files/1/content{query}")


async def test_an_empty_post() -> None:
    """As what cancels is."""
    async with Emulator(OK) as emulator, openai(emulator.url) as provider:
        assert await provider.request("POST", "/batches/1/cancel", b"", creates=True) == b'{"id": "1"}'
        (request,) = emulator.requests
    assert (request.method, request.headers["content-length"], request.body) == ("POST", "0", b"")


async def test_what_creates_is_never_sent_once_more() -> None:
    """On a kept connection that had been closed, too: the server may have done it."""
    server = Emulator(OK, ServerReply(before=[Cut()]), OK)
    async with server as emulator, anthropic(emulator.url) as provider:
        await provider.upload("/v1/messages/batches", b"{}")
        with pytest.raises(NetworkError) as raised:
            await provider.upload("/v1/messages/batches", b"{}")
        assert KEY not in repr(raised.value)
        assert len(emulator.requests) == 2


UNREADABLE: Final[dict[str, tuple[Callable[[Path], Body], type[ProviderError], str]]] = {
    "a file that is not there": (lambda folder: Body(folder / "none"), ConfigError, "No such file"),
    "a folder": (lambda folder: Body(folder), InvalidRequestError, "IsADirectoryError"),
}


@pytest.mark.parametrize(("make", "error", "said"), UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_is_not_sent(
    make: Callable[[Path], Body], error: type[ProviderError], said: str, tmp_path: Path
) -> None:
    """Not to its end: the server sees no request."""
    async with nothing_left(), Emulator(OK) as emulator, anthropic(emulator.url) as provider:
        with pytest.raises(error, match=said):
            await provider.upload("/v1/messages/batches", make(tmp_path))
        assert emulator.requests == []


@pytest.mark.parametrize("now", [b"1\n", b"1\n" * 11], ids=["shrinks", "grows"])
async def test_a_file_that_changes_is_not_sent(now: bytes, tmp_path: Path) -> None:
    """The length that was told would be wrong."""
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(b"1\n" * 10)
    body = Body(file)
    file.write_bytes(now)
    async with Emulator(OK) as emulator, anthropic(emulator.url) as provider:
        with pytest.raises(InvalidRequestError, match="changed meanwhile: it had 20 bytes"):
            await provider.upload("/v1/messages/batches", body)
        assert emulator.requests == []


async def test_a_long_body_moves_the_deadline_on() -> None:
    """But not that of the whole."""
    now = [0.0]
    watch = Watch(Deadlines(first_chunk=10, total=25), clock=lambda: now[0])
    with watch.sending():
        for seconds, left in ((8, 10), (8, 9), (8, 1)):
            now[0] += seconds
            watch.wrote()
            assert watch.left == left


async def test_a_server_that_never_answers_a_long_body() -> None:
    """Is waited for as ever."""
    reply = ServerReply(before=[Hang()])
    async with Emulator(reply) as emulator, anthropic(emulator.url, deadlines=all_but("first_chunk")) as provider:
        with pytest.raises(FirstChunkTimeoutError):
            await provider.upload("/v1/messages/batches", Body(b"{}"))


async def into(found: list[bytes], lines: AsyncIterator[bytes]) -> None:
    async for line in lines:
        found.append(line)  # noqa: PERF401 - those before an error too


BODIES: Final[dict[str, tuple[list[Step], list[bytes]]]] = {
    "lines": ([b"1\n22\n333\n"], [b"1", b"22", b"333"]),
    "a last line without an end": ([b"1\n22"], [b"1", b"22"]),
    "ends of Windows, and blank lines": ([b"\r\n1\r\n\r\n22\r\n \n"], [b"1", b"22"]),
    "byte by byte": (pieces(b"1\n22\n333", 1), [b"1", b"22", b"333"]),
    "nothing": ([], []),
    "a large one": ([*[b"x" * 1_000_000] * 6, b"\n1"], [b"x" * 6_000_000, b"1"]),
}


@pytest.mark.parametrize(("body", "lines"), BODIES.values(), ids=BODIES)
async def test_lines(body: list[Step], lines: list[bytes]) -> None:
    """Whatever type the server says that they are."""
    reply = ServerReply(body, headers={"content-type": "application/octet-stream"})
    async with Emulator(reply) as emulator, anthropic(emulator.url) as provider:
        assert [line async for line in provider.lines("/v1/messages/batches/1/results")] == lines


async def test_compressed_lines() -> None:
    """As proxies do it."""
    reply = ServerReply(pieces(gzip.compress(b"1\n22\n"), 7), headers={"content-encoding": "gzip"})
    async with Emulator(reply) as emulator, openai(emulator.url) as provider:
        assert [line async for line in provider.lines("/files/1/content")] == [b"1", b"22"]


FAILURES: Final[dict[str, tuple[ServerReply, list[bytes], type[ProviderError]]]] = {
    "a cut in a line": (ServerReply([b"1\n2", Cut()]), [b"1"], StreamInterruptedError),
    "a stall": (ServerReply([b"1\n2", Hang()]), [b"1"], StallTimeoutError),
    "a line that never ends": (ServerReply([b"1\n", b"x" * 200]), [b"1"], MalformedResponseError),
    "a wrong key": (anthropic_error(401, "authentication_error", f"no such key: {KEY}"), [], AuthenticationError),
    "no such file": (anthropic_error(404, "not_found_error", "no"), [], NotFoundError),
    "a broken server": (anthropic_error(500, "api_error", "no"), [], ServerError),
}


@pytest.mark.parametrize(("reply", "lines", "error"), FAILURES.values(), ids=FAILURES)
async def test_lines_that_fail(
    reply: ServerReply, lines: list[bytes], error: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it come, and the error is that of a call."""
    monkeypatch.setattr(answers, "_LINE", 100)
    deadlines = all_but("stall" if error is StallTimeoutError else None)
    found: list[bytes] = []
    async with nothing_left(), Emulator(reply) as emulator, anthropic(emulator.url, deadlines=deadlines) as provider:
        read = provider.lines("/v1/messages/batches/1/results")
        with pytest.raises(error) as raised:
            await into(found, read)
    assert found == lines
    assert raised.value.vendor == "anthropic"
    assert KEY not in f"{raised.value!r} {raised.value}"


async def test_leaving_lines_early() -> None:
    """Closes the connection."""
    reply = ServerReply([b"1\n", Hang()])
    async with nothing_left(), Emulator(reply) as emulator, openai(emulator.url) as provider:
        lines = provider.lines("/files/1/content")
        assert await anext(lines) == b"1"
        await lines.aclose()
        await emulator.exchanges[0].hung_up.wait()


ADDRESSES: Final = {
    "its own": ("{url}/elsewhere/1", "/elsewhere/1"),
    "another host's": ("https://api.example.com/v1/messages/batches/1/results", "/v1/messages/batches/1/results"),
    "another host's, with a query": ("https://api.example.com/v1/results?page=2", "/v1/results?page=2"),
    "one with a user": ("https://{host}@example.com/v1/results", "/v1/results"),
    "another port's": ("http://127.0.0.1:9/v1/results", "/v1/results"),
    "a host without a scheme": ("//example.com/v1/results", "/v1/results"),
}


@pytest.mark.parametrize(("address", "path"), ADDRESSES.values(), ids=ADDRESSES)
async def test_an_address_that_the_server_has_named(address: str, path: str) -> None:
    """Is asked at its own host, to which the key goes, whatever it says."""
    async with Emulator(ServerReply([b"1"])) as emulator, anthropic(emulator.url) as provider:
        url = address.format(url=emulator.url, host=emulator.url.removeprefix("http://"))
        assert [line async for line in provider.lines(url)] == [b"1"]
        (request,) = emulator.requests
    assert KEY in str(carried(request))
    assert request.path == path
