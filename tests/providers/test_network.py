"""What stands between: proxies, certificates, the pool and its bounds. What is wrong is named, and not tried again."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.abc
import httpx2
import pytest

from penstock import (
    AnthropicProvider,
    BaseProvider,
    ConfigError,
    ConnectTimeoutError,
    Deadlines,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    OpenAIProvider,
    ProviderConfig,
    ProviderError,
)
from penstock.providers.environment import proxies, tls_context
from penstock.providers.failures import no_answer
from penstock.testing import Emulator, Hang, Pause, Request, ServerReply, pieces
from reading import text_of
from three_wires import ASK, KEY, WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]


@pytest.fixture(autouse=True)
def _no_network_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


PROXY = "http://proxy.example:3128"
DIRECT = {
    "a name": ("model.example", "all://*model.example"),
    "a name with a port": ("model.example:8080", "all://*model.example:8080"),
    "all below a name": ("*.example", "all://*.example"),
    "a name that is not of ASCII": ("münchen.example", "all://münchen.example"),
    "one as DNS has it": ("xn--mnchen-3ya.example", "all://xn--mnchen-3ya.example"),
    "this machine": ("localhost", "all://localhost"),
    "an address": ("127.0.0.1", "all://127.0.0.1"),
    "a network": ("192.168.0.0/16", "all://192.168.0.0/16"),
    "an address of IPv6": ("::1", "all://[::1]"),
    "one in brackets": ("[::1]", "all://[::1]"),
    "one in brackets with a port": ("[::1]:8080", "all://[::1]:8080"),
    "a network of IPv6": ("fd07:b51a:cc66:f0::/64", "all://[fd07:b51a:cc66:f0::]/64"),
    "a network of IPv6 in brackets": ("[fd07::]/16", "all://[fd07::]/16"),
    "a URL": ("https://model.example", "https://model.example"),
}


@pytest.mark.parametrize(("entry", "pattern"), DIRECT.values(), ids=DIRECT)
async def test_what_needs_no_proxy(entry: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other programs write it: the HTTP client takes each of them."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", f" {entry} ,other.example,")
    assert proxies() == {"http://": PROXY, pattern: None, "all://*other.example": None}
    async with Emulator(ServerReply(WIRES[0].answer("Hello"))) as emulator:
        monkeypatch.setenv("NO_PROXY", f"{entry},127.0.0.1")
        for wire in WIRES:
            emulator.then = ServerReply(wire.answer("Hello"))
            async with wire.provider(emulator.url) as provider:
                assert text_of(await read(provider)) == "Hello"


def test_what_no_proxy_means_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, however it is written."""
    monkeypatch.setenv("NO_PROXY", "[::1,localhost")
    assert proxies() == {}
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "model.example,*")
    assert proxies() == {}


WRONG: dict[str, tuple[Mapping[str, str], Sequence[str]]] = {
    "half a bracket": ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,[::1"}, ["NO_PROXY", "'[::1'"]),
    "a port that is none": ({"HTTP_PROXY": PROXY, "NO_PROXY": "model.example:web"}, ["NO_PROXY", "model.example:web"]),
    "all below a name that is not of ASCII": (
        {"HTTP_PROXY": PROXY, "NO_PROXY": "*.xn--mnchen-3ya.de"},
        ["'*.xn--mnchen"],
    ),
    "a proxy of another kind": ({"HTTPS_PROXY": "ftp://proxy.example"}, ["HTTPS_PROXY", "ftp://proxy.example"]),
    "a proxy without a host": ({"ALL_PROXY": "http://"}, ["ALL_PROXY", "http://"]),
    "a proxy with a wrong port": ({"http_proxy": "http://proxy:port"}, ["http_proxy", "http://proxy:port"]),
    "a proxy without a scheme, as it was set": ({"HTTP_PROXY": "127.0.0.1 :9x"}, ["HTTP_PROXY is '127.0.0.1 :9x'"]),
    "a password before a host without a scheme": (
        {"HTTP_PROXY": "me:secret-0123456789@127.0.0.1 :9x"},
        ["HTTP_PROXY is '***@127.0.0.1 :9x'"],
    ),
    "a proxy and its password": ({"HTTP_PROXY": "gopher://me:secret-0123456789@proxy"}, ["gopher://***@proxy"]),
    "SOCKS without its package": ({"ALL_PROXY": "socks5://127.0.0.1:1080"}, ["ALL_PROXY", "socksio"]),
    "a file of certificates that is not there": ({"SSL_CERT_FILE": "/no/such.pem"}, ["SSL_CERT_FILE", "/no/such.pem"]),
    "a file that holds none": ({"SSL_CERT_FILE": __file__}, ["SSL_CERT_FILE", __file__, "no certificates"]),
    "a folder that is not there": ({"SSL_CERT_DIR": "/no/such"}, ["SSL_CERT_DIR", "/no/such"]),
}


@pytest.mark.parametrize(("environment", "named"), WRONG.values(), ids=WRONG)
@each_wire
async def test_a_wrong_environment(
    wire: ThreeWire, environment: Mapping[str, str], named: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said with the variable's name, at the first call; it would be wrong at each."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with Emulator(ServerReply(wire.answer("Hello"))) as emulator, wire.provider(emulator.url) as provider:
        error = await failure(provider)
        assert not emulator.requests
    assert type(error) is ConfigError
    assert not error.retryable
    assert all(word in str(error) for word in named)
    assert "secret" not in repr(error.__cause__) + str(error)


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For the process, and again when what they come from has changed."""
    assert tls_context() is tls_context()
    usual = ssl.get_default_verify_paths().openssl_cafile
    if not Path(usual).is_file():
        pytest.skip(f"this machine has no file of certificates at {usual}")
    mine = tmp_path / "mine.pem"
    mine.write_bytes(Path(usual).read_bytes())
    before = tls_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    assert tls_context() is not before
    assert tls_context() is tls_context()
    monkeypatch.delenv("SSL_CERT_FILE")
    assert tls_context() is before


class Proxied(NamedTuple):
    """What a proxy answers, and what must come of it."""

    head: bytes
    retryable: bool
    said: str


PROXIES = {
    "a password is wanted": Proxied(b"407 Proxy Authentication Required", False, "407"),
    "forbidden": Proxied(b"403 Forbidden", False, "403"),
    "busy": Proxied(b"503 Service Unavailable", True, "503"),
    "too many requests": Proxied(b"429 Too Many Requests", True, "429"),
}


@pytest.mark.parametrize("case", PROXIES.values(), ids=PROXIES)
@each_wire
async def test_a_proxy_that_refuses(wire: ThreeWire, case: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, without its password, and what it will not do is not tried again."""
    async with Emulator(ServerReply([b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % case.head], raw=True)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:secret-0123456789@"))
        async with wire.provider("https://model.invalid/v1") as provider:
            error = await failure(provider)
        assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert type(error) is NetworkError
    assert error.retryable is case.retryable
    assert f"https://model.invalid/v1 through the proxy {proxy.url.replace('//', '//***@')}" in str(error)
    assert case.said in str(error)
    assert "HTTPS_PROXY" in error.hint
    assert "secret" not in str(error)


@each_wire
async def test_a_proxy_that_wants_a_password_in_clear_text(wire: ThreeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is an ordinary one there, and is still the proxy's."""
    async with Emulator(ServerReply([b"who are you?"], 407, {}, whole=True)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with wire.provider("http://model.invalid/v1") as provider:
            error = await failure(provider)
    assert type(error) is InvalidRequestError
    assert (error.status, error.retryable) == (407, False)
    assert f"through the proxy {proxy.url}" in str(error)
    assert "HTTP_PROXY" in error.hint


SILENT = {
    "it says nothing": ServerReply(before=[Hang()]),
    "its answer drips": ServerReply(pieces(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 99, 4, pause=0.05), raw=True),
}


@pytest.mark.parametrize("reply", SILENT.values(), ids=SILENT)
@each_wire
async def test_a_proxy_that_never_connects(
    wire: ThreeWire, reply: ServerReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has as long as a connection may take, and not as long as a model may think."""
    async with Emulator(reply) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        limits = Deadlines(connect=0.2, first_chunk=60)
        async with wire.provider("https://model.invalid/v1", deadlines=limits) as provider:
            with anyio.fail_after(30):
                error = await failure(provider)
    assert type(error) is ConnectTimeoutError
    assert (error.deadline, error.seconds) == ("connect", 0.2)


@each_wire
async def test_connecting_leaves_the_model_its_time(wire: ThreeWire) -> None:
    """The deadline of the connection ends with the connection."""
    limits = Deadlines(connect=0.2, first_chunk=60)
    reply = ServerReply(wire.answer("Hello"), before=[Pause(0.3)])
    async with Emulator(reply) as emulator, wire.provider(emulator.url, deadlines=limits) as provider:
        assert text_of(await read(provider)) == "Hello"


CAUSES: dict[str, tuple[Exception, bool]] = {
    "a certificate that is not trusted": (ssl.SSLCertVerificationError(1, "self-signed certificate"), False),
    "TLS that breaks": (ssl.SSLError(1, "unexpected eof"), True),
    "a host that does not answer": (OSError(113, "No route to host"), True),
}


@pytest.mark.parametrize(("root", "retryable"), CAUSES.values(), ids=CAUSES)
async def test_why_there_is_no_connection(root: Exception, retryable: bool) -> None:
    """However deep it lies."""
    inner, outer = RuntimeError("between"), httpx2.ConnectError("no connection")
    inner.__context__, outer.__cause__ = root, inner
    error = no_answer("https://model.invalid", outer, None, "no connection")
    assert error.retryable is retryable
    assert ("SSL_CERT_FILE" in error.hint) is not retryable
    assert (str(root) in str(error)) is not retryable


@each_wire
async def test_more_streams_than_connections(wire: ThreeWire) -> None:
    """Is said as that, with the field to set; the streams that run are left alone."""
    limits = Deadlines(connect=0.2)
    endless = ServerReply([*wire.answer("Hello")[: wire.begun + 1], Hang()])
    async with (
        Emulator(lambda request: endless) as emulator,
        wire.provider(emulator.url, deadlines=limits, max_connections=2) as provider,
        provider.stream("", ASK) as one,
        provider.stream("", ASK) as two,
    ):
        await anext(one)
        await anext(two)
        error = await failure(provider)
        assert len(emulator.requests) == 2
    assert type(error) is ConnectTimeoutError
    assert error.retryable
    assert "`max_connections` is 2" in str(error)
    assert "max_connections" in error.hint
    assert "proxy" not in str(error)


@pytest.mark.parametrize("field", ["max_connections", "max_event_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "9"])
def test_a_bound_is_a_whole_number(field: str, value: object) -> None:
    """Of one or more."""
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=field):
        ProviderConfig(model_id="m", **wrong)


@each_wire
async def test_the_largest_event_is_the_owners_choice(wire: ThreeWire) -> None:
    """One that is larger says what to set."""
    text = "Hello" * 300
    whole = b"".join(wire.answer(text)).replace(b"\n\n", b"\n: " + b"x" * 3000 + b"\n\n")
    reply = ServerReply(pieces(whole, 500))
    async with Emulator(reply, reply) as emulator:
        async with wire.provider(emulator.url, max_event_bytes=2500) as provider:
            error = await failure(provider)
        assert type(error) is MalformedResponseError
        assert "2500 bytes" in str(error)
        assert "max_event_bytes" in error.hint
        async with wire.provider(emulator.url, max_event_bytes=100_000) as provider:
            assert text_of(await read(provider)) == text


UNSENDABLE: dict[str, tuple[Mapping[str, str], str]] = {
    "a line end in a value": ({"x-team": "b\n"}, "'x-team'"),
    "a space before a value": ({"x-team": " b"}, "'x-team'"),
    "letters beyond ASCII": ({"x-team": "b\u00e9"}, "'x-team'"),
    "a space in a name": ({"X A": "b"}, "'X A'"),
    "an empty name": ({"": "b"}, "''"),
    "a colon in a name": ({"x-a:": "b"}, "'x-a:'"),
}


@pytest.mark.parametrize(("headers", "named"), UNSENDABLE.values(), ids=UNSENDABLE)
@pytest.mark.parametrize("make", [AnthropicProvider, OpenAIProvider])
def test_headers_that_cannot_be_sent(make: type[BaseProvider], headers: Mapping[str, str], named: str) -> None:
    """Are refused by name when the provider is built."""
    with pytest.raises(ConfigError, match="headers") as raised:
        make(ProviderConfig(model_id="m", api_key=KEY, headers=headers))  # type: ignore[call-arg]
    assert named in str(raised.value)


@pytest.mark.parametrize("value", ["", "a", "a b\tc", "max=5; q=0.1", '{"a": "b"}'])
@each_wire
async def test_headers_that_can_be_sent(wire: ThreeWire, value: str) -> None:
    """Whatever is printed in ASCII."""
    reply = ServerReply(wire.answer("Hello"))
    async with Emulator(reply) as emulator, wire.provider(emulator.url, headers={"x-team": value}) as provider:
        await read(provider)
        assert emulator.requests[0].headers["x-team"] == value


FIRST, SECOND = "first-token-0123456789", "second-token-9876543210"


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-amz-security-token"])
@each_wire
async def test_a_token_that_was_refreshed(wire: ThreeWire, header: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is learned from the request that carries it, and stands in no error and in no log."""
    caplog.set_level("DEBUG")
    said = [""]

    def echo(request: Request) -> ServerReply:
        said[0] = request.headers.get(header, "")
        return ServerReply([f"who is {said[0]}?".encode()], 401, {"x-echo": said[0]}, whole=True)

    errors: list[ProviderError] = []
    async with Emulator(echo) as emulator, wire.provider(emulator.url) as provider:
        await failure(provider)
        for token in (FIRST, SECOND):
            # As an SDK's own client does when its token is about to expire.
            client: Any = provider._transport._clients.held  # type: ignore[attr-defined]
            client._custom_headers = {**client._custom_headers, header: f"Bearer {token}"}
            errors.append(await failure(provider))
            assert token in said[0]
    texts = [f"{error} {error.__cause__!r}" for error in errors] + [record.getMessage() for record in caplog.records]
    assert not [text for text in texts if FIRST in text or SECOND in text]
