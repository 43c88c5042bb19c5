"""The provider over real sockets: what goes out, what every fault becomes, and that nothing is left open."""

from __future__ import annotations

import gc
import gzip
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from leaving import by_a_break
from patience import PATIENCE, PATIENT, SHORT, Ticking, all_but, drain_patiently, until, watch_by
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    Chunk,
    ConfigError,
    Deadlines,
    FirstChunkTimeoutError,
    InvalidRequestError,
    MalformedResponseError,
    Message,
    ModelInfo,
    NetworkError,
    NotFoundError,
    Options,
    OverloadedError,
    PermissionDeniedError,
    ProviderConfig,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StallTimeoutError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TokenLimitError,
    Tool,
    ToolCallPart,
    UsageChunk,
)
from penstock.testing import (
    Cut,
    Emulator,
    Hang,
    Pause,
    Request,
    Reset,
    ServerReply,
    Step,
    anthropic_error,
    anthropic_message,
    pieces,
)
from reading import PRICED, text_of, usage_of

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

KEY = "sk-ant-canary-0123456789"
HELLO = list(anthropic_message({"type": "text", "text": "Hello there, world!"}, piece=4))
ASK = [Message("user", "Hi")]


@asynccontextmanager
async def asking(
    *replies: ServerReply | Callable[[Request], ServerReply], **config: Any
) -> AsyncIterator[tuple[Emulator, AnthropicProvider]]:
    async with Emulator(*replies) as emulator:
        settings: dict[str, Any] = {"model_id": "m", "model_info": PRICED, "api_key": KEY, "base_url": emulator.url}
        async with AnthropicProvider(ProviderConfig(**(settings | config))) as provider:
            yield emulator, provider


async def collect(
    provider: AnthropicProvider, options: Options | None = None, into: list[Chunk] | None = None
) -> list[Chunk]:
    """The chunks of a call; *into* has those before an error too."""
    chunks = [] if into is None else into
    async with provider.stream("", ASK, options) as stream:
        async for chunk in stream:
            chunks.append(chunk)
    return chunks


def paced(events: list[bytes], seconds: float) -> list[Step]:
    return [step for event in events for step in (event, Pause(seconds))]


async def failure(*replies: ServerReply, **config: Any) -> ProviderError:
    """What a call that gets these replies raises."""
    async with asking(*replies, **config) as (_, provider):
        with pytest.raises(ProviderError) as raised:
            await collect(provider)
        return raised.value


async def test_a_message_streams_in() -> None:
    """The whole way: request out, chunks in, the bill at the end."""
    async with asking(ServerReply(HELLO)) as (emulator, provider):
        chunks = await collect(provider, Options(max_tokens=50))
    assert text_of(chunks) == "Hello there, world!"
    assert usage_of(chunks).output_tokens == 10
    assert usage_of(chunks).cost == provider.calculate_cost(usage_of(chunks))
    assert isinstance(chunks[-1], StopChunk)
    (request,) = emulator.requests
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert msgspec.json.decode(request.body)["max_tokens"] == 50


async def test_nothing_is_sent_before_the_first_chunk_is_asked_for() -> None:
    """A call that is never iterated costs nothing."""
    async with asking(ServerReply(HELLO)) as (emulator, provider):
        chunks = provider.create_message("", ASK)
        await collect(provider)  # another one, which the server gets first and alone
        await chunks.aclose()
        assert len(emulator.requests) == 1


async def test_a_refused_request_is_never_sent() -> None:
    """What is known to be wrong fails here, at the first chunk, with vendor and model."""
    async with asking(ServerReply(HELLO)) as (emulator, provider):
        with pytest.raises(InvalidRequestError, match="empty") as raised:
            await anext(provider.create_message("", []))
        assert (raised.value.vendor, raised.value.model, raised.value.status) == ("anthropic", "m", None)
        assert not emulator.requests


DEEP: dict[str, Any] = {}
for _ in range(9_999):
    DEEP = {"items": DEEP}
WRONG_TYPES: list[Any] = [
    pytest.param({"system_prompt": None}, "the system prompt is a NoneType", id="no text for the system prompt"),
    pytest.param(
        {"messages": [{"role": "user", "content": "x"}]}, r"messages\[0\] is a dict", id="a dict for a message"
    ),
    pytest.param({"messages": ["x"]}, r"messages\[0\] is a str", id="a text for a message"),
    pytest.param({"messages": [Message("user", 5)]}, r"messages\[0\]", id="a number for the content"),  # type: ignore[arg-type]
    pytest.param(
        {"messages": [Message("assistant", [ToolCallPart(id="c", name="f", arguments={"a": 1})])]},  # type: ignore[arg-type]
        r"messages\[0\].content\[0\]: the ToolCallPart holds a value of a wrong type",
        id="a dict for the arguments",
    ),
    pytest.param({"options": Options(max_tokens=-1)}, "max_tokens", id="a negative number of tokens"),
    pytest.param({"options": Options(max_tokens=10**9)}, "max_tokens.*128000", id="more tokens than the model can"),
    pytest.param({"options": Options(cache="on")}, "cache.*'on'", id="a word that is none"),  # type: ignore[arg-type]
    pytest.param({"options": Options(response_schema=DEEP)}, "RecursionError", id="a schema nested too deep"),
    pytest.param({"options": Options(tools=[Tool(name="f"), Tool(name="f")])}, "two tools", id="two tools of one name"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG_TYPES)
async def test_what_is_of_a_wrong_type_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    """As an InvalidRequestError, also where mypy would have said so."""
    info = ModelInfo(max_tokens=128000)
    async with asking(ServerReply(HELLO), model_info=info) as (emulator, provider):
        arguments: dict[str, Any] = {"system_prompt": "", "messages": ASK} | wrong
        with pytest.raises(InvalidRequestError, match=said):
            await anext(provider.create_message(**arguments))
        assert not emulator.requests


async def test_headers_of_the_config_are_sent_and_betas_are_joined() -> None:
    """A beta of the user's does not push out one that an option needs."""
    headers = {"anthropic-beta": "context-1m-2025-08-07", "x-team": "core"}
    async with asking(ServerReply(HELLO), ServerReply(HELLO), headers=headers) as (emulator, provider):
        await collect(provider, Options(service_tier="fast"))
        await collect(provider)
    first, second = emulator.requests
    assert first.headers["anthropic-beta"] == "context-1m-2025-08-07,fast-mode-2026-02-01"
    assert second.headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert first.headers["x-team"] == "core"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Expect"])
def test_how_a_body_is_sent_is_no_header_of_the_config(name: str) -> None:
    """It would be cut, or its rest read as the next request."""
    with pytest.raises(ConfigError, match="the HTTP client's to say"):
        AnthropicProvider(ProviderConfig(model_id="m", api_key=KEY, headers={name: "5"}))


HTML = ServerReply([b"<html>Service Unavailable</html>"], 503, {"content-type": "text/html"}, whole=True)
STATUSES = [
    pytest.param(anthropic_error(400, "invalid_request_error", "bad"), InvalidRequestError, False, id="400"),
    pytest.param(anthropic_error(401, "authentication_error", "bad key"), AuthenticationError, False, id="401"),
    pytest.param(anthropic_error(402, "billing_error", "pay"), QuotaExceededError, False, id="402"),
    pytest.param(anthropic_error(403, "permission_error", "no"), PermissionDeniedError, False, id="403"),
    pytest.param(anthropic_error(404, "not_found_error", "model: x"), NotFoundError, False, id="404"),
    pytest.param(anthropic_error(408, "timeout_error", "slow"), ProviderTimeoutError, True, id="408"),
    pytest.param(anthropic_error(409, "conflict_error", "locked"), InvalidRequestError, True, id="409"),
    pytest.param(
        anthropic_error(409, "conflict_error", "Your credit balance is too low to access the Anthropic API"),
        QuotaExceededError,
        False,
        id="409 that is about money",
    ),
    pytest.param(anthropic_error(413, "request_too_large", "big"), TokenLimitError, False, id="413"),
    pytest.param(anthropic_error(422, "invalid_request_error", "bad"), InvalidRequestError, False, id="422"),
    pytest.param(anthropic_error(429, "rate_limit_error", "slow down"), RateLimitError, True, id="429"),
    pytest.param(
        anthropic_error(429, "rate_limit_error", "stop", code="enforced_spend_limit_reached"),
        QuotaExceededError,
        False,
        id="429 that is a spend limit",
    ),
    pytest.param(
        anthropic_error(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API"),
        QuotaExceededError,
        False,
        id="400 that is an empty account",
    ),
    pytest.param(
        anthropic_error(400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        TokenLimitError,
        False,
        id="400 that is an overflow",
    ),
    pytest.param(
        anthropic_error(500, "api_error", "rate limit store failed"),
        ServerError,
        True,
        id="500 that speaks of a rate limit is a 500",
    ),
    pytest.param(HTML, ServerError, True, id="503 with a web page"),
    pytest.param(anthropic_error(504, "timeout_error", "slow"), ProviderTimeoutError, True, id="504"),
    pytest.param(anthropic_error(529, "overloaded_error", "Overloaded"), OverloadedError, True, id="529"),
]


@pytest.mark.parametrize(("reply", "class_", "retryable"), STATUSES)
async def test_statuses(reply: ServerReply, class_: type[ProviderError], retryable: bool) -> None:
    """Each failing status has its class, and the error knows what its handler needs."""
    error = await failure(reply)
    assert type(error) is class_
    assert (error.status, error.retryable, error.vendor, error.model) == (reply.status, retryable, "anthropic", "m")
    if reply is not HTML:
        assert error.request_id == "req_emulated"
        assert error.code is not None
    assert error.__cause__ is not None
    assert error.hint
    assert error.hint in str(error)


PART = b'{"type":"error","error":{"type":"x","message":"slow down"'
BROKEN_BODIES = [
    pytest.param([PART, Pause(0.05), Reset()], {}, id="reset"),
    pytest.param([PART, Cut()], {}, id="cut off"),
    pytest.param([PART, Hang()], {}, id="never ends"),
    pytest.param([b"junk"], {"content-encoding": "gzip"}, id="broken gzip"),
    pytest.param([b"x" * 60_000] * 200, {}, id="far too long"),
]


@pytest.mark.parametrize(("body", "headers"), BROKEN_BODIES)
@pytest.mark.parametrize(("status", "class_"), [(429, RateLimitError), (401, AuthenticationError)])
async def test_a_broken_body_does_not_hide_the_status(
    status: int, class_: type[ProviderError], body: list[Step], headers: dict[str, str]
) -> None:
    """Class, status and retry_after stand in the head; the body is read as far as it comes, and not for long."""
    with anyio.fail_after(PATIENCE / 2):  # far below the deadlines
        error = await failure(ServerReply(body, status, {"retry-after": "7", **headers}), deadlines=PATIENT)
    assert type(error) is class_
    assert (error.status, error.retry_after) == (status, 7)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("body", [[PART, Hang()], [PART, Pause(0.05)] * 99], ids=["silent", "dripping"])
async def test_a_deadline_does_not_hide_the_status(body: list[Step]) -> None:
    """It has come, and so nothing is owed."""
    error = await failure(ServerReply(body, 429, {"retry-after": "7"}), deadlines=all_but("first_chunk", 1))
    assert type(error) is RateLimitError
    assert error.usage == UsageChunk()


RETRY_AFTER = [
    pytest.param({"retry-after": "7"}, 7, id="seconds"),
    pytest.param({"retry-after": "0.5"}, 0.5, id="part of a second"),
    pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds win"),
    pytest.param({"retry-after": "3600"}, 3600, id="an hour"),
    pytest.param({"retry-after": "soon"}, None, id="no number"),
    pytest.param({"retry-after": "-3"}, None, id="a negative number"),
    pytest.param({"retry-after": "nan"}, None, id="not a number"),
    pytest.param({}, None, id="not said"),
]


@pytest.mark.parametrize(("headers", "seconds"), RETRY_AFTER)
async def test_retry_after_is_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """In every form that vendors use, and None when it was not said."""
    error = await failure(anthropic_error(429, "rate_limit_error", "slow down", headers=headers))
    assert error.retry_after == seconds


async def test_retry_after_can_be_a_date() -> None:
    """As HTTP allows."""
    now = time.time()
    headers = {"retry-after": formatdate(now + 60, usegmt=True)}  # in whole seconds
    error = await failure(anthropic_error(429, "rate_limit_error", "slow down", headers=headers))
    assert error.retry_after is not None
    assert 59 - (time.time() - now) <= error.retry_after <= 60
    headers = {"retry-after": formatdate(time.time() - 60, usegmt=True)}
    assert (await failure(anthropic_error(429, "rate_limit_error", "x", headers=headers))).retry_after == 0


async def test_no_retry() -> None:
    """The provider asks once: retrying is a middleware's work."""
    async with asking(anthropic_error(529, "overloaded_error", "Overloaded"), ServerReply(HELLO)) as (
        emulator,
        provider,
    ):
        with pytest.raises(OverloadedError):
            await collect(provider)
        assert len(emulator.requests) == 1


async def test_a_redirect_does_not_carry_the_key_away() -> None:
    """Nothing reaches the other origin."""
    async with Emulator(ServerReply(HELLO)) as other:
        redirect = ServerReply([], 307, {"location": f"{other.url}/v1/messages"}, whole=True)
        error = await failure(redirect)
        assert isinstance(error, InvalidRequestError)
        assert "redirects" in str(error)
        assert not other.requests


FAULTS: list[Any] = [
    pytest.param(ServerReply([*HELLO[:5], Pause(0.05), Reset()]), StreamInterruptedError, "Hello there,", id="a reset"),
    pytest.param(
        ServerReply([*HELLO[:5], Cut()]),
        StreamInterruptedError,
        "Hello there,",
        id="end of file without the end of the body",
    ),
    pytest.param(
        ServerReply(HELLO[:5]), StreamInterruptedError, "Hello there,", id="a clean end without the last event"
    ),
    pytest.param(
        ServerReply([*HELLO[:5], b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n']),
        OverloadedError,
        "Hello there,",
        id="an error event",
    ),
    pytest.param(ServerReply([]), StreamInterruptedError, "", id="an empty stream"),
    pytest.param(
        ServerReply([b"<html>no</html>"], headers={"content-type": "text/html"}),
        MalformedResponseError,
        "",
        id="200 with a web page",
    ),
    pytest.param(ServerReply([Cut()]), StreamInterruptedError, "", id="headers, then end of file"),
    pytest.param(ServerReply(before=[Cut()]), NetworkError, "", id="request read, then closed"),
    pytest.param(ServerReply(before=[Reset()]), NetworkError, "", id="request read, then reset"),
    pytest.param(ServerReply([b"HTTP/1.1 what\r\n\r\n", Cut()], raw=True), NetworkError, "", id="no HTTP"),
    pytest.param(
        ServerReply([b"junk"], headers={"content-encoding": "gzip"}), MalformedResponseError, "", id="broken gzip"
    ),
    pytest.param(ServerReply(before=[Hang()]), FirstChunkTimeoutError, "", id="no headers"),
    pytest.param(
        ServerReply(pieces(b"HTTP/1.1 200 OK\r\nx-a: b\r\n", 1, pause=0.1), raw=True),
        FirstChunkTimeoutError,
        "",
        id="headers that drip",
    ),
    pytest.param(ServerReply([Hang()]), FirstChunkTimeoutError, "", id="silence"),
    pytest.param(ServerReply([HELLO[0], Hang()]), FirstChunkTimeoutError, "", id="silence after the start"),
    pytest.param(ServerReply([*HELLO[:5], Hang()]), StallTimeoutError, "Hello there,", id="silence after text"),
    pytest.param(
        ServerReply([*HELLO[:5], *paced([b'event: ping\ndata: {"type":"ping"}\n\n'] * 50, 0.1)]),
        StallTimeoutError,
        "Hello there,",
        id="pings for ever",
    ),
    pytest.param(
        ServerReply([*HELLO[:5], *paced([b": keep-alive\n\n"] * 50, 0.1)]),
        StallTimeoutError,
        "Hello there,",
        id="comments for ever",
    ),
]


@pytest.mark.parametrize(("reply", "class_", "text"), FAULTS)
async def test_faults(reply: ServerReply, class_: type[ProviderError], text: str) -> None:
    """Each fault is a typed error after the text before it, with the usage so far; the next call works.

    In time: but for the one deadline that it must be, all are far away.
    """
    limits = all_but(getattr(class_, "deadline", None))
    async with asking(reply, ServerReply(HELLO), deadlines=PATIENT) as (_, provider):
        chunks: list[Chunk] = []
        with pytest.raises(ProviderError) as raised, anyio.fail_after(PATIENCE / 2):
            await collect(provider, Options(deadlines=limits), into=chunks)
        assert type(raised.value) is class_
        assert raised.value.retryable is (class_ is not MalformedResponseError)
        if class_ is StreamInterruptedError:
            assert raised.value.hint == (class_.hint if text else "Try again."), "there is something to discard, or not"
        assert text_of(chunks) == text
        assert raised.value.usage == usage_of(chunks)
        assert text_of(await collect(provider)) == "Hello there, world!"


DEADLINES = [
    pytest.param(ServerReply(before=[Hang()]), all_but("first_chunk"), "first_chunk", SHORT, id="no headers"),
    pytest.param(
        ServerReply([HELLO[0], Hang()]), Deadlines(first_chunk=SHORT, stall=0.1), "first_chunk", SHORT, id="no content"
    ),
    pytest.param(ServerReply([*HELLO[:5], Hang()]), all_but("stall"), "stall", SHORT, id="a shorter stall"),
    # Both must be short here; the headers and the text have as long.
    pytest.param(ServerReply([*HELLO[:5], Hang()]), Deadlines(first_chunk=4, stall=5), "stall", 5, id="a longer stall"),
    pytest.param(
        ServerReply(paced(HELLO[:5] * 9, 0.1)), all_but("total"), "total", SHORT, id="an answer that takes too long"
    ),
    pytest.param(ServerReply(before=[Hang()]), all_but("total"), "total", SHORT, id="no headers within the total"),
]


@pytest.mark.parametrize(("reply", "deadlines", "name", "seconds"), DEADLINES)
async def test_each_deadline_says_which_it_was(
    reply: ServerReply, deadlines: Deadlines, name: str, seconds: float
) -> None:
    """The error names the deadline and its length, and comes when it has passed, long before another would."""
    before = time.monotonic()
    error = await failure(reply, deadlines=deadlines)
    assert isinstance(error, ProviderTimeoutError)
    assert (error.deadline, error.seconds) == (name, seconds)
    assert seconds - 0.05 <= time.monotonic() - before < PATIENCE


SEARCHING = anthropic_message(
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "what is a penstock, please"}},
    piece=3,
)
COUNTING = [
    event + b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":%d}}\n\n' % number
    if b"text_delta" in event
    else event
    for number, event in enumerate(HELLO)
]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(SEARCHING, id="the input of a server's tool gives no chunk before its end"),
        pytest.param(COUNTING, id="usage on every event"),
    ],
)
async def test_content_that_flows_is_no_stall(events: Sequence[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of it, and whatever comes with it in one read: each look at the clock takes a twelfth."""
    clock = Ticking(PATIENCE / 12)
    watch_by(clock, monkeypatch)
    async with asking(ServerReply(paced(list(events), 0.01)), deadlines=PATIENT) as (_, provider):
        assert isinstance((await collect(provider))[-1], StopChunk)
    assert clock.now > 2 * PATIENCE


async def test_options_override_the_configs_deadlines() -> None:
    """For the one call that may take longer, or less long."""
    async with asking(ServerReply(before=[Hang()])) as (_, provider):
        with pytest.raises(ProviderTimeoutError):
            await collect(provider, Options(deadlines=all_but("first_chunk")))


async def test_connection_refused_is_a_network_error() -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(base_url=f"http://127.0.0.1:{port}")
    assert type(error) is NetworkError
    assert error.retryable


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://a b"])
async def test_a_wrong_base_url_is_a_typed_error(url: str) -> None:
    """Whatever the HTTP library makes of it."""
    assert isinstance(await failure(base_url=url), ProviderError)


TOLERATED = [
    pytest.param(pieces(b"".join(HELLO), 1), {}, id="one byte at a time"),
    pytest.param([b"".join(HELLO)], {}, id="everything at once"),
    pytest.param([b"".join(HELLO).replace(b"\n", b"\r\n")], {}, id="CRLF"),
    pytest.param([b"\xef\xbb\xbf", *HELLO], {}, id="a byte order mark"),
    pytest.param([b"\xef", Pause(0.02), b"\xbb", Pause(0.02), b"\xbf", *HELLO], {}, id="a byte order mark in pieces"),
    pytest.param([b"\n", Pause(0.02), b"\n", Pause(0.02), *HELLO], {}, id="line ends to keep the connection alive"),
    pytest.param(pieces(gzip.compress(b"".join(HELLO)), 30), {"content-encoding": "gzip"}, id="gzip"),
    pytest.param([b": hi\nretry: 3\nid: 4\n", *HELLO], {}, id="comments, ids and retry lines"),
    pytest.param(HELLO, {"content-type": "application/json"}, id="a wrong content type"),
    pytest.param([*HELLO, *HELLO], {}, id="text after the end"),
    pytest.param([*HELLO, Reset()], {}, id="a reset after the end"),
]


@pytest.mark.parametrize(("body", "headers"), TOLERATED)
async def test_what_a_server_may_do(body: Sequence[Step], headers: dict[str, str]) -> None:
    """None of it changes the answer."""
    async with asking(ServerReply(body, headers=headers)) as (_, provider):
        assert text_of(await collect(provider)) == "Hello there, world!"


async def test_a_connection_left_open_does_not_delay_the_end() -> None:
    """The terminal event ends the stream."""
    async with asking(ServerReply([*HELLO, Hang()]), deadlines=PATIENT) as (emulator, provider):
        with anyio.fail_after(PATIENCE / 2):
            chunks = await collect(provider)
            assert isinstance(chunks[-1], StopChunk)
            await emulator.exchanges[0].hung_up.wait()


async def test_complete_answers_share_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete answer gives its connection back; a broken one does not take the pool with it."""
    drain_patiently(monkeypatch)
    replies = [ServerReply(HELLO), ServerReply(HELLO), ServerReply(HELLO[:4]), ServerReply(HELLO)]
    async with asking(*replies) as (emulator, provider):
        for _ in range(2):
            await collect(provider)
        assert emulator.connections == 1
        with pytest.raises(StreamInterruptedError):
            await collect(provider)
        assert text_of(await collect(provider)) == "Hello there, world!"


ENDLESS = ServerReply([*HELLO[:5], Hang()])


async def leave_by_aclose(provider: AnthropicProvider) -> None:
    stream = provider.create_message("", ASK)
    async for chunk in stream:
        if isinstance(chunk, TextChunk):
            await stream.aclose()


async def leave_by_an_exception(provider: AnthropicProvider) -> None:
    try:
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    raise LookupError("the consumer's own")
    except LookupError:
        return
    pytest.fail("the consumer's exception was swallowed")


async def leave_by_timeout(provider: AnthropicProvider) -> None:
    with anyio.CancelScope() as scope:
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    scope.deadline = anyio.current_time()
    assert scope.cancelled_caught


async def leave_by_cancellation(provider: AnthropicProvider) -> None:
    chunks: list[Chunk] = []
    async with anyio.create_task_group() as group:
        group.start_soon(collect, provider, None, chunks)
        await until(lambda: text_of(chunks))
        group.cancel_scope.cancel()


async def leave_while_connecting(provider: AnthropicProvider) -> None:
    with anyio.move_on_after(0.001):
        await collect(provider)


async def leave_by_dropping(provider: AnthropicProvider) -> None:
    stream = provider.create_message("", ASK)
    async for chunk in stream:
        if isinstance(chunk, TextChunk):
            break
    del stream


LEAVING = [by_a_break, leave_by_aclose, leave_by_an_exception, leave_by_timeout, leave_by_cancellation]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_every_way_out_closes(leave: Callable[[AnthropicProvider], Any]) -> None:
    """The server sees the client hang up at once, not at a deadline, and the next call works."""
    async with asking(ENDLESS, ServerReply(HELLO), deadlines=PATIENT) as (emulator, provider):
        await leave(provider)
        with anyio.fail_after(PATIENCE / 2):
            await emulator.exchanges[0].hung_up.wait()
        assert text_of(await collect(provider)) == "Hello there, world!"


# Dropping a generator without closing it is what trio warns of; that is the point here.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_dropped_generator_closes_too() -> None:
    """With its last reference, not at a deadline."""
    async with asking(ENDLESS, ServerReply(HELLO), deadlines=PATIENT) as (emulator, provider):
        await leave_by_dropping(provider)
        with anyio.fail_after(PATIENCE / 2):
            await emulator.exchanges[0].hung_up.wait()
        assert text_of(await collect(provider)) == "Hello there, world!"


async def test_a_call_cancelled_before_its_answer_leaves_the_pool_working() -> None:
    """Even while it connects."""
    async with asking(lambda request: ServerReply(HELLO)) as (_, provider):
        await leave_while_connecting(provider)
        assert text_of(await collect(provider)) == "Hello there, world!"


async def test_a_cancelled_call_is_not_swallowed() -> None:
    """What cancels gets its cancellation back, not an error and not a normal end."""
    async with asking(ENDLESS) as (_, provider):
        with anyio.CancelScope() as scope:
            async with provider.stream("", ASK) as stream:
                async for chunk in stream:
                    if isinstance(chunk, TextChunk):
                        scope.cancel()
            pytest.fail("the stream ended as if it had been whole")
        assert scope.cancelled_caught


async def test_concurrent_streams_do_not_disturb_each_other() -> None:
    """A fifth of them breaks; the texts of the others are exact."""

    def reply(request: Request) -> ServerReply:
        asked = msgspec.json.decode(request.body)["messages"][0]["content"][0]["text"]
        body = anthropic_message({"type": "text", "text": f"You said {asked}."}, piece=3)
        return (
            ServerReply([*body[:4], Reset()])
            if int(asked) % 5 == 0
            else ServerReply(pieces(b"".join(body), 50, pause=0.001))
        )

    texts: dict[int, str] = {}
    errors: dict[int, ProviderError] = {}

    async def one(number: int, provider: AnthropicProvider) -> None:
        try:
            async with provider.stream("", [Message("user", str(number))]) as stream:
                texts[number] = text_of([chunk async for chunk in stream])
        except ProviderError as error:
            errors[number] = error

    async with asking(reply) as (_, provider):
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(one, number, provider)
        assert texts == {number: f"You said {number}." for number in range(60) if number % 5}
        assert sorted(errors) == list(range(0, 60, 5))
        assert all(isinstance(error, StreamInterruptedError) for error in errors.values())


ECHOES = [
    pytest.param(anthropic_error(401, "authentication_error", f"invalid key {KEY}"), id="in the message of an error"),
    pytest.param(
        ServerReply([f"Bearer {KEY}?".encode()], 500, {"content-type": "text/plain"}, whole=True), id="in plain text"
    ),
    pytest.param(ServerReply([f"<html>{KEY}</html>".encode()]), id="in a web page"),
    pytest.param(
        ServerReply([f'event: error\ndata: {{"error":{{"message":"{KEY}"}}}}\n\n'.encode()]), id="in an error event"
    ),
    pytest.param(ServerReply([f"event: message_delta\ndata: {KEY}\n\n".encode()]), id="in a broken event"),
    pytest.param(ServerReply([], 307, {"location": f"http://x/?key={KEY}"}, whole=True), id="in a redirect"),
]


@pytest.mark.parametrize("reply", ECHOES)
async def test_the_key_never_shows(reply: ServerReply, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the error, nor in anything it was raised from, nor in a log, even when the server echoes it."""
    with caplog.at_level(logging.DEBUG):
        error = await failure(reply)
    # A header that echoes the key is logged at DEBUG by the HTTP library itself.
    logged = "" if "location" in reply.headers else caplog.text
    shown = [str(error), repr(error), *traceback.format_exception(error), logged]
    one: BaseException | None = error
    while one is not None:
        shown += [repr(one.args), repr(vars(one))]
        one = one.__cause__ or one.__context__
    assert not [text for text in shown if KEY in text]


async def test_a_key_that_the_message_cuts_off_does_not_show() -> None:
    """An error shows the first 200 characters, which may end inside the key."""
    error = await failure(ServerReply([b"<html>" + b"x" * 171 + KEY.encode()]))
    assert KEY[:10] not in str(error)


async def test_a_key_in_place_of_a_request_id_does_not_show() -> None:
    """Which is in every error's text."""
    error = await failure(anthropic_error(500, "api_error", "x", headers={"request-id": f"req_{KEY}"}))
    assert KEY not in str(error)


async def test_a_token_or_a_header_is_redacted_like_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key can come from the environment, or in a header of the config."""
    echo = anthropic_error(401, "authentication_error", f"who is {KEY}?")
    error = await failure(echo, api_key="another-key-0123", headers={"authorization": f"Bearer {KEY}"})
    assert KEY not in "".join(traceback.format_exception(error))
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)
    error = await failure(echo, api_key=None)
    assert KEY not in "".join(traceback.format_exception(error))
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", f"{KEY}\n")
    error = await failure(echo, api_key=None)
    assert isinstance(error, AuthenticationError)
    assert KEY not in "".join(traceback.format_exception(error))


# The SDK's client complains when it is let go of half-built.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("environment", "config", "class_"),
    [
        pytest.param({"ALL_PROXY": "junk://127.0.0.1"}, {}, ConfigError, id="a proxy of an unknown kind"),
        pytest.param({"SSL_CERT_FILE": "/nowhere.pem"}, {}, ConfigError, id="a certificate file that is not there"),
        pytest.param({}, {"headers": {"x-a": None}}, InvalidRequestError, id="a header that is no text"),
    ],
)
async def test_a_client_that_cannot_be_made_is_a_typed_error(
    environment: dict[str, str], config: dict[str, Any], class_: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one to be retried: it would be wrong again."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = await failure(ServerReply(HELLO), **config)
    assert isinstance(error, class_)
    assert not error.retryable
    del error
    gc.collect()  # here, and not in the next test


async def test_a_date_beyond_all_calendars_is_no_date() -> None:
    """It is left out, and the error stays what it is."""
    headers = {"retry-after": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}
    assert (await failure(anthropic_error(429, "rate_limit_error", "x", headers=headers))).retry_after is None


@pytest.mark.parametrize("key", ["sk-ant-canary-0123456789\n", "sk-ant canary 0123456789", "sk-ключ-0123456789"])
async def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    """A key read from a file often ends with a line end."""
    error = await failure(ServerReply(HELLO), api_key=key)
    assert isinstance(error, AuthenticationError)
    assert "header" in str(error)
    assert key.strip() not in "".join(traceback.format_exception(error))


async def test_without_a_key_the_error_says_what_to_set() -> None:
    """Instead of the SDK's TypeError."""
    with pytest.raises(AuthenticationError, match="ANTHROPIC_API_KEY"):
        async with AnthropicProvider(ProviderConfig(model_id="m", base_url="http://127.0.0.1:9")) as provider:
            await collect(provider)


def test_a_provider_serves_one_loop_after_the_other(anyio_backend: str) -> None:
    """Clients belong to a loop; a provider does not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = AnthropicProvider(ProviderConfig(model_id="m", api_key=KEY, base_url=f"http://127.0.0.1:{port}"))

    async def once() -> str:
        async with Emulator(ServerReply(HELLO), port=port), provider:
            return text_of(await collect(provider))

    for _ in range(3):
        assert anyio.run(once, backend=anyio_backend) == "Hello there, world!"


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def growth_over_loops(anyio_backend: str) -> int:
    """How many file descriptors ten loops leave open, in each of which a provider answers that is never closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = AnthropicProvider(ProviderConfig(model_id="m", api_key=KEY, base_url=f"http://127.0.0.1:{port}"))

    async def once() -> None:
        async with Emulator(ServerReply(HELLO), port=port):
            await collect(provider)

    anyio.run(once, backend=anyio_backend)
    before = descriptors()
    for _ in range(10):
        anyio.run(once, backend=anyio_backend)
    return descriptors() - before


# What is not closed is left to the garbage collector, which warns of it.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_provider_that_is_never_closed_does_not_keep_its_loops(anyio_backend: str) -> None:
    """A script that starts a loop for each call must not run out of file descriptors."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc to count file descriptors in")
    assert growth_over_loops(anyio_backend) <= 2
    gc.collect()  # the last socket, here and not after the last test
