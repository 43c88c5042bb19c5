"""What only the transport over aiohttp has: its requests byte by byte, where it does not reach, and its own session."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import httpx2
import pytest

from certificates import behind_tls, certificate
from leftovers import nothing_left
from patience import PATIENCE, drain_patiently, until
from penstock import AnthropicProvider, ConfigError, Message, NetworkError, OpenAIProvider, ProviderConfig
from penstock.providers import connections, environment
from penstock.testing import Emulator, Hang, Pause, ServerReply
from reading import text_of
from three_wires import KEY, WIRES, ThreeWire, each_wire, failure, read

pytestmark = pytest.mark.anyio

FAST: Final = "aiohttp"
SLOW: Final = "httpx2"


@pytest.fixture
def anyio_backend() -> str:
    """It is asyncio's."""
    return "asyncio"


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What is said once a process, as if this were a new one."""
    monkeypatch.setattr(environment, "_SAID", set())
    return lambda: [record.getMessage() for record in caplog.records if record.name == "penstock"]


@asynccontextmanager
async def recorder(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server's URL, and the requests that it gets, byte by byte. It gives each the same answer."""
    seen: list[bytes] = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            data = b""
            while (length := missing(data)) is None or length > 0:
                data += await stream.receive()
            seen.append(data)
            await stream.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", seen
        group.cancel_scope.cancel()


def missing(data: bytes) -> int | None:
    """How many bytes of a request have not come yet; None while that cannot be known."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(sizes[0]) - len(body) if sizes else 0


def sorted_head(data: bytes) -> tuple[bytes, list[bytes], bytes]:
    """A request's first line, its header lines in an order of ours, and its body."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, sorted(lines), body


async def a_call(provider: Any) -> None:
    await read(provider)


async def a_long_call(provider: Any) -> None:
    async with provider.stream("", [Message("user", "x" * 2_000_000)]) as stream:
        async for _ in stream:
            pass


async def a_get(provider: Any) -> None:
    await provider.request("GET", "/models?after=a%2Fb&limit=2", None)


async def an_empty_post(provider: Any) -> None:
    await provider.request("POST", "/things/a%20b/cancel", b"")


ASKED = {
    "a call": a_call,
    "a call of 2 MB": a_long_call,
    "a GET": a_get,
    "a POST without a body": an_empty_post,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@each_wire
async def test_the_same_bytes_are_sent(wire: ThreeWire, ask: Callable[[Any], Any]) -> None:
    """As over httpx2, but for the order of the headers."""
    async with recorder(b"".join(wire.answer("Hello"))) as (url, seen):
        for name in (SLOW, FAST):
            async with wire.provider(url, transport=name, headers={"X-Team": "a b\tc"}) as provider:
                await ask(provider)
    slow, fast = map(sorted_head, seen)
    assert fast == slow


@pytest.mark.parametrize("path", ["/a%2Fb", "/a b", "/ü", "//a", "/a/../b", "/a?", "/a%zz", "/a;b=c,d", "/v1/?x=%20+"])
async def test_the_same_place_is_asked(path: str) -> None:
    """However the URL is written: it is not quoted again."""
    wire = WIRES[0]
    async with recorder(b"".join(wire.answer("Hello"))) as (url, seen):
        for name in (SLOW, FAST):
            async with wire.provider(url + path, transport=name) as provider:
                await read(provider)
    slow, fast = (data.split(b"\r\n")[0] for data in seen)
    assert fast == slow


def test_trio_has_httpx2(said: Callable[[], list[str]]) -> None:
    """And that is said, once."""

    async def main() -> None:
        reply = ServerReply(WIRES[0].answer("Hello"))
        async with Emulator(then=reply) as emulator:
            for _ in range(2):
                async with WIRES[0].provider(emulator.url, transport=FAST) as provider:
                    assert "transport='aiohttp'" in repr(provider)
                    assert text_of(await read(provider)) == "Hello"
                    assert "transport='httpx2'" in repr(provider), "what it really is"

    anyio.run(main, backend="trio")
    assert said() == ["aiohttp needs asyncio, and this is trio: requests go over httpx2, as if transport were not set"]


@pytest.mark.parametrize(
    ("scheme", "direct", "how"),
    [("HTTP", "", SLOW), ("HTTP", "127.0.0.1", FAST), ("HTTPS", "", FAST)],
    ids=["proxied", "in NO_PROXY", "of another scheme"],
)
async def test_a_proxy_has_httpx2(
    scheme: str, direct: str, how: str, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """What needs none goes over aiohttp, and nothing is said of it."""
    reply = ServerReply(WIRES[0].answer("Hello"))
    async with Emulator(then=reply) as proxy, Emulator(then=reply) as server:
        monkeypatch.setenv(f"{scheme}_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", direct)
        async with WIRES[0].provider(server.url, transport=FAST) as provider:
            for _ in range(2):
                assert text_of(await read(provider)) == "Hello"
        assert [len(proxy.requests), len(server.requests)] == ([2, 0] if how == SLOW else [0, 2])
    through = (
        "requests to 127.0.0.1 go through the proxy of the environment, so over httpx2: "
        'transport="aiohttp" has no effect for them'
    )
    assert said() == ([through] if how == SLOW else [])


async def test_a_client_of_your_own_is_used(said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over whatever it has; the extra may be missing."""
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    async with Emulator(ServerReply(WIRES[0].answer("Hello"))) as emulator, httpx2.AsyncClient() as client:
        config = ProviderConfig(model_id="m", api_key=KEY, base_url=emulator.url, transport=FAST)
        provider = AnthropicProvider(config, client=client)
        assert "transport='httpx2'" in repr(provider)
        assert text_of(await read(provider)) == "Hello"
    assert said() == ['a `client` of your own carries its requests itself: transport="aiohttp" has no effect for them']


@pytest.mark.parametrize("make", [AnthropicProvider, OpenAIProvider])
def test_the_transport_is_shown(make: Callable[[ProviderConfig], object]) -> None:
    """Where it is not the default."""
    config = ProviderConfig(model_id="m", api_key=KEY, transport=FAST)
    assert "transport='aiohttp'" in repr(config)
    assert "transport='aiohttp'" in repr(make(config))
    plain = ProviderConfig(model_id="m", api_key=KEY)
    assert "transport" not in repr(plain) + repr(make(plain))


@pytest.mark.parametrize("make", [AnthropicProvider, OpenAIProvider])
def test_the_extra_that_is_missing(make: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named when the provider is built."""
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[aiohttp\]'"):
        make(ProviderConfig(model_id="m", api_key=KEY, transport=FAST))


@pytest.mark.parametrize("value", ["curl", "", None, 1])
def test_a_transport_that_there_is_not(value: object) -> None:
    """The two are named."""
    with pytest.raises(ConfigError, match="expected httpx2 or aiohttp"):
        ProviderConfig(model_id="m", transport=value)  # type: ignore[arg-type]


def test_a_transport_that_is_mistyped() -> None:
    """The one that is meant is named."""
    with pytest.raises(ConfigError, match="expected httpx2 or aiohttp; did you mean 'aiohttp'"):
        ProviderConfig(model_id="m", transport="aiohtp")  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b"HTTP/1.", b"\r\n"])
async def test_what_nobody_asked_for_answers_no_request(late: bytes) -> None:
    """What comes on a resting connection closes it."""
    wire, rests, closed = WIRES[0], anyio.Event(), anyio.Event()
    body = b"".join(wire.answer("Hello"))

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            if rests.is_set():  # the second
                return
            await rests.wait()
            await stream.send(late)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()
            closed.set()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        async with wire.provider(url, transport=FAST) as provider:
            assert text_of(await read(provider)) == "Hello"
            rests.set()
            with anyio.fail_after(PATIENCE):
                await closed.wait()
            assert text_of(await read(provider)) == "Hello"
        group.cancel_scope.cancel()


async def test_a_connection_over_tls_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request counts as written before its answer comes, else aiohttp takes half of it for lost, and closes."""
    drain_patiently(monkeypatch)
    files = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
    body = b"".join(WIRES[0].answer("Hello"))
    reply = ServerReply([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)], raw=True)
    async with Emulator(then=reply) as emulator, behind_tls(emulator, files) as url:
        async with WIRES[0].provider(url, transport=FAST) as provider:
            for _ in range(4):
                await read(provider)
        assert emulator.connections == 1


@pytest.mark.parametrize("transport", [SLOW, FAST])
async def test_not_all_connections_are_kept(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a request."""
    drain_patiently(monkeypatch)
    monkeypatch.setattr(connections, "_KEPT_MOST", 2)
    reply = ServerReply(WIRES[0].answer("Hello"), before=[Pause(0.05)])
    async with Emulator(then=reply) as server, WIRES[0].provider(server.url, transport=transport) as provider:
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(read, provider)
            await until(lambda: server.open_connections == 2)


async def test_a_call_that_waits_for_a_connection_hears_of_closing() -> None:
    """It fails as any other does, and is not cancelled."""
    wire, errors = WIRES[0], []
    reply = ServerReply([wire.answer("Hello")[0], Hang()])
    async with Emulator(then=reply) as emulator:
        provider = wire.provider(emulator.url, transport=FAST, max_connections=1)

        async def ask() -> None:
            errors.append(await failure(provider))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: emulator.requests)
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await provider.aclose()
    assert len(errors) == 2
    assert any(isinstance(error, NetworkError) and "the client was closed" in str(error) for error in errors)


async def test_a_forgotten_provider_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Its connections are closed when it is collected."""
    async with nothing_left(), Emulator(then=ServerReply(WIRES[0].answer("Hello"))) as emulator:
        provider = WIRES[0].provider(emulator.url, transport=FAST)
        await read(provider)
        assert emulator.open_connections == 1
        del provider
        gc.collect()
        await until(lambda: not emulator.open_connections)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as over httpx2: its loop is closed
def test_a_provider_of_an_earlier_loop() -> None:
    """A loop that ends leaves nothing that the next one trips over."""
    provider: Any = None

    async def main() -> None:
        nonlocal provider
        async with Emulator(then=ServerReply(WIRES[0].answer("Hello"))) as emulator:
            provider = provider or WIRES[0].provider(emulator.url, transport=FAST)
            if provider.is_open:
                await provider.aclose()
                provider = WIRES[0].provider(emulator.url, transport=FAST)
            assert text_of(await read(provider)) == "Hello"

    anyio.run(main)
    anyio.run(main)
    anyio.run(provider.aclose)
    gc.collect()


async def test_a_request_of_the_sdks_own() -> None:
    """One that belongs to no call has the HTTP client's own timeouts."""

    async def nothing(_: object) -> None:
        pass

    config = ProviderConfig(model_id="m", transport=FAST)
    reply = ServerReply([b"Hello"], headers={})
    hanging = ServerReply([b"H", Hang()])
    async with Emulator(reply, hanging) as emulator, connections.http_client(config, nothing, nothing) as client:
        assert (await client.get(emulator.url)).text == "Hello"
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(emulator.url, timeout=0.1)


@pytest.mark.parametrize(
    "header", [(b"a b", b"c"), (b"a", b"c\r\nd: e"), (b"a", b" c"), (b"a", b"c\x00"), (b"a", b"c\x01")]
)
async def test_a_header_that_cannot_be_sent(header: tuple[bytes, bytes]) -> None:
    """It is refused before a connection is opened for it, as over httpx2, and not shown."""

    async def nothing(_: object) -> None:
        pass

    async with Emulator(then=ServerReply([b"Hello"])) as emulator:
        async with connections.http_client(ProviderConfig(model_id="m", transport=FAST), nothing, nothing) as client:
            with pytest.raises(httpx2.LocalProtocolError):
                await client.get(emulator.url, headers=[header])
        assert emulator.requests == []


async def test_a_host_that_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that do not answer are not asked again: the name is."""
    async with Emulator(then=ServerReply(WIRES[0].answer("Hello"))) as emulator:
        live = int(emulator.url.rpartition(":")[2])
        ports = [1, live]  # nobody is at the first

        def found(*asked: object, **more: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", ports.pop(0)))]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        async with WIRES[0].provider(f"http://model.invalid:{live}", transport=FAST) as provider:
            assert type(await failure(provider)) is NetworkError
            assert text_of(await read(provider)) == "Hello"


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".b"], ids=["an empty label", "a long label"])
async def test_a_name_that_no_host_can_have(host: str) -> None:
    """It is not found, and that is no fault of the request."""
    for name in (SLOW, FAST):
        async with WIRES[0].provider(f"http://{host}", transport=name) as provider:
            assert type(await failure(provider)) is NetworkError
