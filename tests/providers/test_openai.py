"""OpenAI's provider over real sockets, on both wires: what goes out, what every fault becomes, nothing left open."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from leaving import by_a_break
from patience import PATIENCE, PATIENT, all_but, drain_patiently, until
from penstock import (
    AuthenticationError,
    Chunk,
    FirstChunkTimeoutError,
    ImagePart,
    InvalidRequestError,
    MalformedResponseError,
    Message,
    Model,
    ModelInfo,
    NetworkError,
    NotFoundError,
    OpenAIProvider,
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
    ToolCallChunk,
    tool,
)
from penstock.core.dialect import Dialect, Wire
from penstock.testing import (
    ChatForm,
    Cut,
    Emulator,
    Hang,
    Pause,
    Request,
    Reset,
    ServerReply,
    Step,
    chat_completion,
    chat_document,
    openai_error,
    pieces,
    responses_document,
    responses_message,
)
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.vendors import DIALECTS
from reading import PRICED, calls_of, reasoning_of, stop_of, text_of, usage_of

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

KEY = "sk-canary-0123456789abcdef"
ASK = [Message("user", "Hi")]
SAID: dict[str, Any] = {"type": "message", "content": [{"type": "output_text", "text": "Hello there, world!"}]}
HELLO: dict[str, list[bytes]] = {
    "chat": list(chat_completion(text="Hello there, world!", piece=4)),
    "responses": list(responses_message(SAID, piece=4)),
}
PATHS = {"chat": "/chat/completions", "responses": "/responses"}
# Where "Hello there," has been said, and nothing is complete.
HALF = {
    wire: next(n for n in range(len(body)) if b"ere," in body[n] or b'"re,' in body[n]) + 1
    for wire, body in HELLO.items()
}
each_wire = pytest.mark.parametrize("wire", ["chat", "responses"])


@asynccontextmanager
async def asking(
    *replies: ServerReply | Callable[[Request], ServerReply],
    dialect: str | Dialect = "openai",
    path: str = "",
    **config: Any,
) -> AsyncIterator[tuple[Emulator, OpenAIProvider]]:
    async with Emulator(*replies) as emulator:
        settings: dict[str, Any] = {
            "model_id": "m",
            "model_info": PRICED,
            "api_key": KEY,
            "base_url": emulator.url + path,
        }
        async with OpenAIProvider(ProviderConfig(**(settings | config)), dialect) as provider:
            yield emulator, provider


async def collect(
    provider: OpenAIProvider, options: Options | None = None, into: list[Chunk] | None = None
) -> list[Chunk]:
    """The chunks of a call; *into* has those before an error too."""
    chunks = [] if into is None else into
    async with provider.stream("", ASK, options) as stream:
        async for chunk in stream:
            chunks.append(chunk)
    return chunks


async def failure(*replies: ServerReply, **config: Any) -> ProviderError:
    """What a call that gets these replies raises."""
    async with asking(*replies, **config) as (_, provider):
        with pytest.raises(ProviderError) as raised:
            await collect(provider)
        return raised.value


@each_wire
@pytest.mark.parametrize("path", ["", "/v1", "/v1/", "/a/b/v1"])
async def test_a_message_streams_in(wire: Wire, path: str) -> None:
    """The whole way: request out, at the wire's path under the base URL, chunks in, the bill at the end."""
    async with asking(ServerReply(HELLO[wire]), wire=wire, path=path) as (emulator, provider):
        chunks = await collect(provider, Options(max_tokens=50))
    assert text_of(chunks) == "Hello there, world!"
    assert (usage_of(chunks).input_tokens, usage_of(chunks).output_tokens) == (10, 10)
    assert usage_of(chunks).cost == provider.calculate_cost(usage_of(chunks))
    assert stop_of(chunks).reason == "stop"
    (request,) = emulator.requests
    assert (request.method, request.path) == ("POST", path.rstrip("/") + PATHS[wire])
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert int(request.headers["content-length"]) == len(request.body)


@each_wire
@pytest.mark.parametrize("dialect", ["openai", "deepseek", "openrouter"])
async def test_the_bytes_on_the_wire_are_those_of_the_encoder(wire: Wire, dialect: str) -> None:
    """Nothing between it and the socket changes them."""
    messages = [Message("user", "é"), Message("assistant", "ok"), *ASK]
    options = Options(tools=[Tool(name="now")], extra={"x": {"b": 1, "a": 2}})
    encode = chat_request.encode if wire == "chat" else responses_request.encode
    async with asking(ServerReply(HELLO[wire]), wire=wire, dialect=dialect) as (emulator, provider):
        assert [chunk async for chunk in provider.create_message("be kind", messages, options)]
    assert emulator.requests[0].body == encode("be kind", messages, options, Model("m", PRICED), DIALECTS[dialect])


CALLING: dict[str, Sequence[bytes]] = {
    "chat": chat_completion(
        reasoning="Look.", text="Let me see.", tool_calls=[{"id": "call_a", "name": "grep", "arguments": '{"x": 1}'}]
    ),
    "responses": responses_message(
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}], "encrypted_content": "gA"},
        {"type": "message", "content": [{"type": "output_text", "text": "Let me see."}]},
        {"type": "function_call", "call_id": "call_a", "name": "grep", "arguments": '{"x": 1}'},
    ),
}
WHOLE: dict[str, bytes] = {
    "chat": chat_document(
        reasoning="Look.", text="Let me see.", tool_calls=[{"id": "call_a", "name": "grep", "arguments": '{"x": 1}'}]
    ),
    "responses": responses_document(
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}], "encrypted_content": "gA"},
        {"type": "message", "content": [{"type": "output_text", "text": "Let me see."}]},
        {"type": "function_call", "call_id": "call_a", "name": "grep", "arguments": '{"x": 1}'},
    ),
}
JSON = {"content-type": "application/json"}


@each_wire
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda wire: ServerReply(CALLING[wire]), id="a stream"),
        pytest.param(lambda wire: ServerReply(pieces(b"".join(CALLING[wire]), 7)), id="a stream in pieces"),
        pytest.param(lambda wire: ServerReply([WHOLE[wire]], headers=JSON, whole=True), id="one document"),
        pytest.param(lambda wire: ServerReply(pieces(WHOLE[wire], 11), headers=JSON), id="one document in pieces"),
        pytest.param(lambda wire: ServerReply([b"\n ", WHOLE[wire]]), id="one document that says it is a stream"),
    ],
)
async def test_an_answer_in_any_form(wire: Wire, form: Callable[[str], ServerReply]) -> None:
    """Also where a server ignores `stream`: the same text, thoughts, call, usage and end, once."""
    async with asking(form(wire), wire=wire) as (_, provider):
        chunks = await collect(provider)
    assert text_of(chunks) == "Let me see."
    assert reasoning_of(chunks) == "Look."
    assert calls_of(chunks) == [ToolCallChunk(id="call_a", name="grep", arguments='{"x": 1}')]
    assert (usage_of(chunks).input_tokens, usage_of(chunks).output_tokens) == (10, 10)
    assert stop_of(chunks).reason == "tool_calls"


@pytest.mark.parametrize(
    ("dialect", "wire", "path"),
    [
        pytest.param("openai", None, "/responses", id="OpenAI's best"),
        pytest.param("azure", None, "/responses", id="Azure's"),
        pytest.param("deepseek", None, "/chat/completions", id="DeepSeek's"),
        pytest.param("openai", "chat", "/chat/completions", id="the other one of OpenAI"),
        pytest.param("deepseek", "responses", "/responses", id="the other one of DeepSeek"),
        pytest.param(Dialect(name="mine"), None, "/chat/completions", id="an unknown server's"),
        pytest.param(Dialect(name="mine", wires=["responses"]), None, "/responses", id="a user's own row"),
    ],
)
async def test_the_wire_is_the_configs_or_the_rows_best(dialect: str | Dialect, wire: Any, path: str) -> None:
    """It decides about path, request and reading alike."""

    def reply(request: Request) -> ServerReply:
        return ServerReply(HELLO["chat" if "chat" in request.path else "responses"])

    async with asking(reply, dialect=dialect, wire=wire) as (emulator, provider):
        assert text_of(await collect(provider)) == "Hello there, world!"
    (request,) = emulator.requests
    assert request.path == path
    assert [*msgspec.json.decode(request.body)][-1] == ("messages" if "chat" in path else "input")


async def test_nothing_is_sent_before_the_first_chunk_is_asked_for() -> None:
    """A call that is never iterated costs nothing."""
    async with asking(ServerReply(HELLO["responses"])) as (emulator, provider):
        chunks = provider.create_message("", ASK)
        await collect(provider)  # another one, which the server gets first and alone
        await chunks.aclose()
        assert len(emulator.requests) == 1


@tool
def noop() -> None:
    """Nothing."""


WRONG: Any = {"role": "user", "content": "x"}


@each_wire
@pytest.mark.parametrize(
    ("messages", "options", "said"),
    [
        pytest.param([], None, "the history is empty", id="an empty history"),
        pytest.param([WRONG], None, r"messages\[0\] is a dict", id="a dictionary for a message"),
        pytest.param([Message("user", [ImagePart()])], None, r"messages\[0\].content\[0\]: give either", id="a part"),
        pytest.param(ASK, Options(top_k=1), "option `top_k`", id="an option that the API has not"),
        pytest.param(ASK, Options(max_tokens="5"), "option `max_tokens` is '5'", id="a text for a number"),  # type: ignore[arg-type]
        pytest.param(ASK, Options(max_tokens=[5]), "of a wrong type", id="a list for a number"),  # type: ignore[arg-type]
        pytest.param(ASK, {"max_tokens": 5}, "`options` is of type dict, expected Options", id="a dict for options"),
        pytest.param("Hi", None, "`messages` is of type str, expected a list", id="a text for a history"),
        pytest.param(ASK[0], None, "`messages` is of type Message, expected a list", id="a message for a history"),
        pytest.param(ASK, Options(tools=[noop]), "give it to run_tools", id="a tool to run"),  # type: ignore[list-item]
        pytest.param(ASK, Options(tools=5), "expected a list", id="a number for tools"),  # type: ignore[arg-type]
        pytest.param(ASK, Options(extra=[1]), "of a wrong type", id="a list for fields"),  # type: ignore[arg-type]
    ],
)
async def test_a_refused_request_is_never_sent(wire: Wire, messages: Any, options: Any, said: str) -> None:
    """What is known to be wrong fails here, at the first chunk, with vendor and model."""
    async with asking(ServerReply(HELLO[wire]), wire=wire) as (emulator, provider):
        with pytest.raises(InvalidRequestError, match=said) as raised:
            await anext(provider.create_message("", messages, options))
        assert (raised.value.vendor, raised.value.model, raised.value.status) == ("openai", "m", None)
        assert not emulator.requests


HTML = ServerReply([b"<html>Service Unavailable</html>"], 503, {"content-type": "text/html"}, whole=True)
STATUSES: list[Any] = [
    pytest.param(openai_error(400, "bad"), InvalidRequestError, False, id="400"),
    pytest.param(
        openai_error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        TokenLimitError,
        False,
        id="400 that is an overflow",
    ),
    pytest.param(openai_error(401, "bad key", code="invalid_api_key"), AuthenticationError, False, id="401"),
    pytest.param(openai_error(402, "Insufficient Balance"), QuotaExceededError, False, id="402"),
    pytest.param(openai_error(403, "no"), PermissionDeniedError, False, id="403"),
    pytest.param(openai_error(404, "no such model", code="model_not_found"), NotFoundError, False, id="404"),
    pytest.param(openai_error(408, "slow"), ProviderTimeoutError, True, id="408"),
    pytest.param(openai_error(413, "big"), TokenLimitError, False, id="413"),
    pytest.param(openai_error(422, "extra"), InvalidRequestError, False, id="422"),
    pytest.param(openai_error(429, "slow down", code="rate_limit_exceeded"), RateLimitError, True, id="429"),
    pytest.param(
        openai_error(429, "You exceeded your current quota", code="insufficient_quota"),
        QuotaExceededError,
        False,
        id="429 that is money",
    ),
    pytest.param(openai_error(500, "a rate limit"), ServerError, True, id="500"),
    pytest.param(HTML, ServerError, True, id="503 with a web page"),
    pytest.param(openai_error(504, "slow"), ProviderTimeoutError, True, id="504"),
    pytest.param(openai_error(529, "busy"), OverloadedError, True, id="529"),
]


@each_wire
@pytest.mark.parametrize(("reply", "class_", "retryable"), STATUSES)
async def test_statuses(wire: Wire, reply: ServerReply, class_: type[ProviderError], retryable: bool) -> None:
    """Each failing status has its class, and the error knows what its handler needs. It is asked once."""
    async with asking(reply, ServerReply(HELLO[wire]), wire=wire, dialect="deepseek") as (emulator, provider):
        with pytest.raises(ProviderError) as raised:
            await collect(provider)
        assert len(emulator.requests) == 1
        assert text_of(await collect(provider)) == "Hello there, world!"
    error = raised.value
    assert type(error) is class_
    assert (error.status, error.retryable, error.vendor, error.model) == (reply.status, retryable, "deepseek", "m")
    assert error.request_id == (None if reply is HTML else "req_emulated")
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        pytest.param({"x-request-id": "req_1"}, "req_1", id="OpenAI's"),
        pytest.param({"request-id": "req_1"}, "req_1", id="Anthropic's"),
        pytest.param({"x-generation-id": "gen-1"}, "gen-1", id="OpenRouter's"),
        pytest.param({"apim-request-id": "a-1"}, "a-1", id="Azure's"),
        pytest.param({}, None, id="nobody's"),
    ],
)
async def test_request_ids(headers: dict[str, str], request_id: str | None) -> None:
    """What the vendor's support asks for, wherever it stands."""
    body = b'{"error":{"message":"x"}}'
    assert (await failure(ServerReply([body], 500, {**JSON, **headers}, whole=True))).request_id == request_id


async def test_a_request_id_inside_a_stream() -> None:
    """An error that comes after a good beginning has that of the answer."""
    body = [*HELLO["chat"][:3], b'data: {"error":{"message":"x","type":"server_error"}}\n\n']
    error = await failure(ServerReply(body, headers={"x-request-id": "req_9"}), wire="chat")
    assert (type(error), error.request_id, error.status) == (ServerError, "req_9", None)


async def test_no_retry_whatever_the_server_says() -> None:
    """The SDK would, when it is asked to: retrying is a middleware's work."""
    headers = {"x-should-retry": "true", "retry-after": "0"}
    async with asking(openai_error(429, "x", headers=headers), ServerReply(HELLO["responses"])) as (emulator, provider):
        with pytest.raises(RateLimitError) as raised:
            await collect(provider)
        assert len(emulator.requests) == 1
        assert raised.value.retry_after == 0


@each_wire
@pytest.mark.parametrize("dialect", ["openai", "azure"])
async def test_a_redirect_does_not_carry_the_key_away(wire: Wire, dialect: str) -> None:
    """Nothing reaches the other origin."""
    async with Emulator(ServerReply(HELLO[wire])) as other:
        redirect = ServerReply([], 307, {"location": f"{other.url}{PATHS[wire]}"}, whole=True)
        error = await failure(redirect, wire=wire, dialect=dialect)
        assert isinstance(error, InvalidRequestError)
        assert "redirects" in str(error)
        assert not other.requests


def broken(wire: str, *steps: Step) -> ServerReply:
    """Half an answer, then these."""
    return ServerReply([*HELLO[wire][: HALF[wire]], *steps])


ERROR_EVENT = {
    "chat": b'data: {"error":{"message":"busy","code":"server_is_overloaded"}}\n\n',
    "responses": b'event: error\ndata: {"type":"error","message":"busy","code":"server_is_overloaded"}\n\n',
}
KEEP_ALIVE: list[Step] = [b": keep-alive\n\n", Pause(0.1)] * 50
FAULTS: list[Any] = [
    pytest.param(lambda wire: broken(wire, Pause(0.05), Reset()), StreamInterruptedError, True, id="a reset"),
    pytest.param(lambda wire: broken(wire, Cut()), StreamInterruptedError, True, id="end of file in the body"),
    pytest.param(broken, StreamInterruptedError, True, id="a clean end without the last event"),
    pytest.param(lambda wire: broken(wire, ERROR_EVENT[wire]), OverloadedError, True, id="an error event"),
    pytest.param(lambda wire: broken(wire, Hang()), StallTimeoutError, True, id="silence after text"),
    pytest.param(lambda wire: broken(wire, *KEEP_ALIVE), StallTimeoutError, True, id="comments for ever"),
    pytest.param(lambda wire: ServerReply([]), StreamInterruptedError, False, id="an empty stream"),
    pytest.param(
        lambda wire: ServerReply([b"<html>no</html>"]), MalformedResponseError, False, id="200 with a web page"
    ),
    pytest.param(
        lambda wire: ServerReply(
            [b'{"error":{"message":"no","type":"invalid_request_error"}}'], headers=JSON, whole=True
        ),
        InvalidRequestError,
        False,
        id="200 with an error",
    ),
    pytest.param(
        lambda wire: ServerReply([WHOLE[wire][:-9]], headers=JSON), MalformedResponseError, False, id="half a document"
    ),
    pytest.param(lambda wire: ServerReply(before=[Cut()]), NetworkError, False, id="request read, then closed"),
    pytest.param(lambda wire: ServerReply(before=[Hang()]), FirstChunkTimeoutError, False, id="no headers"),
    pytest.param(lambda wire: ServerReply([Hang()]), FirstChunkTimeoutError, False, id="silence"),
]


@each_wire
@pytest.mark.parametrize(("reply", "class_", "began"), FAULTS)
async def test_faults(
    wire: Wire, reply: Callable[[str], ServerReply], class_: type[ProviderError], began: bool
) -> None:
    """Each fault is a typed error after the text before it, and the next call works.

    In time: but for the one deadline that it must be, all are far away.
    """
    limits = all_but(getattr(class_, "deadline", None))
    async with asking(reply(wire), ServerReply(HELLO[wire]), wire=wire, deadlines=PATIENT) as (_, provider):
        chunks: list[Chunk] = []
        with pytest.raises(ProviderError) as raised, anyio.fail_after(PATIENCE / 2):
            await collect(provider, Options(deadlines=limits), into=chunks)
        assert type(raised.value) is class_
        assert text_of(chunks) == ("Hello there," if began else "")
        assert raised.value.usage == usage_of(chunks)
        assert text_of(await collect(provider)) == "Hello there, world!"


FAILED = responses_message(SAID, status="failed", usage={"input_tokens": 70, "output_tokens": 3})
COUNTING = chat_completion(
    text="Hello there, world!", piece=4, form=ChatForm(usage_place="every"), usage={"prompt_tokens": 70}
)
USAGES: list[Any] = [
    pytest.param("responses", FAILED, ServerError, (70, 3), True, id="a failed response says what it has cost"),
    pytest.param(
        "chat", [*COUNTING[:4], Cut()], StreamInterruptedError, (70, None), False, id="a cut where usage is on each"
    ),
    pytest.param(
        "chat",
        [*HELLO["chat"][:-1], b'data: {"error":{"message":"x"}}\n\n'],
        ServerError,
        (10, 10),
        True,
        id="an error in place of the end",
    ),
    pytest.param("chat", [*HELLO["chat"][:4], Cut()], StreamInterruptedError, (0, 0), False, id="nothing was said"),
]


@pytest.mark.parametrize(("wire", "body", "class_", "tokens", "settled"), USAGES)
async def test_usage_on_errors(
    wire: Wire, body: Sequence[Step], class_: Any, tokens: tuple[int, int | None], settled: bool
) -> None:
    """What was reported until then is billed, and stands on the error, with its cost; more may be billed or not."""
    async with asking(ServerReply(body), wire=wire) as (_, provider):
        chunks: list[Chunk] = []
        with pytest.raises(class_) as raised:
            await collect(provider, into=chunks)
    usage = raised.value.usage
    assert usage == usage_of(chunks)
    assert usage.input_tokens == tokens[0]
    assert tokens[1] is None or usage.output_tokens == tokens[1]
    assert usage.known_cost == provider.calculate_cost(usage)
    assert usage.unsettled == int(not settled)


@pytest.mark.parametrize(
    ("dialect", "form", "ends"),
    [
        pytest.param("openai", ChatForm(done=False), True, id="a finish reason is an end"),
        pytest.param("openai", ChatForm(), True, id="so is [DONE]"),
        pytest.param(Dialect(name="mine", says_end=False), ChatForm(), True, id="also where an end may be plain"),
    ],
)
async def test_ends_on_the_chat_wire(dialect: str | Dialect, form: ChatForm, ends: bool) -> None:
    """Any of them."""
    async with asking(ServerReply(chat_completion(text="Hi", form=form)), wire="chat", dialect=dialect) as (
        _,
        provider,
    ):
        assert stop_of(await collect(provider)).reason == "stop"


async def test_a_plain_end_is_one_only_where_the_row_says_so() -> None:
    """Else half an answer would pass for a whole one."""
    body = HELLO["chat"][: HALF["chat"]]
    async with asking(ServerReply(body), dialect=Dialect(name="mine", says_end=False)) as (_, provider):
        assert stop_of(await collect(provider)).reason == "other"
    assert isinstance(await failure(ServerReply(body), dialect=Dialect(name="mine")), StreamInterruptedError)


@each_wire
async def test_a_connection_left_open_does_not_delay_the_end(wire: Wire) -> None:
    """The terminal event ends the stream; the connection is not kept for a server that does not end it."""
    async with asking(ServerReply([*HELLO[wire], Hang()]), wire=wire, deadlines=PATIENT) as (emulator, provider):
        with anyio.fail_after(PATIENCE / 2):
            assert isinstance((await collect(provider))[-1], StopChunk)
            await emulator.exchanges[0].hung_up.wait()


@each_wire
async def test_complete_answers_share_a_connection(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete answer gives its connection back."""
    drain_patiently(monkeypatch)
    async with asking(*[ServerReply(HELLO[wire])] * 3, wire=wire) as (emulator, provider):
        for _ in range(3):
            await collect(provider)
        assert emulator.connections == 1


async def leave_by_aclose(provider: OpenAIProvider) -> None:
    stream = provider.create_message("", ASK)
    async for chunk in stream:
        if isinstance(chunk, TextChunk):
            await stream.aclose()


async def leave_by_timeout(provider: OpenAIProvider) -> None:
    with anyio.CancelScope() as scope:
        async with provider.stream("", ASK) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    scope.deadline = anyio.current_time()
    assert scope.cancelled_caught


async def leave_by_cancellation(provider: OpenAIProvider) -> None:
    chunks: list[Chunk] = []
    async with anyio.create_task_group() as group:
        group.start_soon(collect, provider, None, chunks)
        await until(lambda: text_of(chunks))
        group.cancel_scope.cancel()


LEAVING = [by_a_break, leave_by_aclose, leave_by_timeout, leave_by_cancellation]


@each_wire
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_every_way_out_closes(wire: Wire, leave: Callable[[OpenAIProvider], Any]) -> None:
    """The server sees the client hang up at once, not at a deadline, and the next call works."""
    async with asking(broken(wire, Hang()), ServerReply(HELLO[wire]), wire=wire, deadlines=PATIENT) as (
        emulator,
        provider,
    ):
        await leave(provider)
        with anyio.fail_after(PATIENCE / 2):
            await emulator.exchanges[0].hung_up.wait()
        assert text_of(await collect(provider)) == "Hello there, world!"


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio warns of it; that is the point here
async def test_a_dropped_generator_closes_too() -> None:
    """With its last reference, not at a deadline."""
    async with asking(broken("chat", Hang()), ServerReply(HELLO["chat"]), wire="chat", deadlines=PATIENT) as (
        emulator,
        provider,
    ):
        stream = provider.create_message("", ASK)
        async for chunk in stream:
            if isinstance(chunk, TextChunk):
                break
        del stream
        with anyio.fail_after(PATIENCE / 2):
            await emulator.exchanges[0].hung_up.wait()
        assert text_of(await collect(provider)) == "Hello there, world!"


async def test_concurrent_streams_do_not_disturb_each_other() -> None:
    """A fifth of them breaks; the texts of the others are exact."""

    def reply(request: Request) -> ServerReply:
        number = int(msgspec.json.decode(request.body)["messages"][0]["content"])
        body = chat_completion(text=f"You said {number}.", piece=3)
        return (
            ServerReply([*body[:4], Reset()])
            if number % 5 == 0
            else ServerReply(pieces(b"".join(body), 90, pause=0.001))
        )

    texts: dict[int, str] = {}
    errors: dict[int, ProviderError] = {}

    async def one(number: int, provider: OpenAIProvider) -> None:
        try:
            async with provider.stream("", [Message("user", str(number))]) as stream:
                texts[number] = text_of([chunk async for chunk in stream])
        except ProviderError as error:
            errors[number] = error

    async with asking(reply, wire="chat") as (_, provider), anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(one, number, provider)
    assert texts == {number: f"You said {number}." for number in range(30) if number % 5}
    assert sorted(errors) == list(range(0, 30, 5))
    assert all(isinstance(error, StreamInterruptedError) for error in errors.values())


ECHOES: list[Any] = [
    pytest.param(openai_error(401, f"Incorrect API key provided: {KEY}"), id="in the message of an error"),
    pytest.param(
        ServerReply([f"Bearer {KEY}?".encode()], 500, {"content-type": "text/plain"}, whole=True), id="in plain text"
    ),
    pytest.param(ServerReply([f"<html>{KEY}</html>".encode()]), id="in a web page"),
    pytest.param(ServerReply([f'data: {{"error":{{"message":"{KEY}"}}}}\n\n'.encode()]), id="in an error event"),
    pytest.param(ServerReply([f"data: {KEY}\n\n".encode()]), id="in a broken event"),
    pytest.param(ServerReply([], 307, {"location": f"http://x/?key={KEY}"}, whole=True), id="in a redirect"),
    pytest.param(openai_error(500, "x", headers={"x-request-id": f"req_{KEY}"}), id="in place of a request id"),
    pytest.param(openai_error(400, "x", code=KEY), id="in place of a code"),
]
HOLDERS: list[Any] = [
    pytest.param("openai", {}, id="a bearer's"),
    pytest.param("azure", {}, id="Azure's"),
    pytest.param("azure", {"api_key": None, "headers": {"API-Key": KEY}}, id="Azure's among the headers"),
    pytest.param("azure", {"api_key": None, "headers": {"Authorization": f"Bearer {KEY}"}}, id="a token for Azure"),
    pytest.param(
        "deepseek", {"api_key": None, "headers": {"authorization": f"Bearer {KEY}"}}, id="a token of one's own"
    ),
    pytest.param(Dialect(name="mine", key_header="X-Gate"), {}, id="in a gateway's own header"),
    pytest.param(
        Dialect(name="mine", key_header="X-Gate"), {"api_key": None, "headers": {"x-gate": KEY}}, id="and given as such"
    ),
]


@pytest.mark.parametrize("reply", ECHOES)
@pytest.mark.parametrize(("dialect", "config"), HOLDERS)
async def test_the_key_never_shows(
    reply: ServerReply, dialect: str | Dialect, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the error, nor in anything it was raised from, nor in a log, even when the server echoes it."""
    with caplog.at_level(logging.DEBUG):
        async with asking(reply, dialect=dialect, wire="chat", **config) as (emulator, provider):
            assert KEY not in repr(provider)
            with pytest.raises(ProviderError) as raised:
                await collect(provider)
    assert any(KEY in value for value in emulator.requests[0].headers.values()), "it was sent"
    error = raised.value
    # A header that echoes the key is logged at DEBUG by the HTTP library itself.
    logged = "" if any(KEY in value for value in reply.headers.values()) else caplog.text
    shown = [str(error), repr(error), *traceback.format_exception(error), logged]
    one: BaseException | None = error
    while one is not None:
        shown += [repr(one.args), repr(vars(one))]
        one = one.__cause__ or one.__context__
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize("dialect", ["openai", "azure", "ollama"])
@pytest.mark.parametrize("key", [f"{KEY}\n", "sk-canary 0123456789", "sk-ключ-0123456789"])
async def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str, dialect: str) -> None:
    """A key read from a file often ends with a line end."""
    async with asking(ServerReply(HELLO["chat"]), dialect=dialect, wire="chat", api_key=key) as (emulator, provider):
        with pytest.raises(AuthenticationError) as raised:
            await collect(provider)
        assert not emulator.requests
    assert key.strip() not in "".join(traceback.format_exception(raised.value))


async def test_connection_refused_is_a_network_error() -> None:
    """A server of one's own that does not run, say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(dialect="ollama", api_key=None, base_url=f"http://127.0.0.1:{port}/v1")
    assert type(error) is NetworkError
    assert (error.vendor, error.retryable) == ("ollama", True)


def test_a_provider_serves_one_loop_after_the_other(anyio_backend: str) -> None:
    """Clients belong to a loop; a provider does not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = OpenAIProvider(ProviderConfig(model_id="m", api_key=KEY, base_url=f"http://127.0.0.1:{port}"))

    async def once() -> str:
        async with Emulator(ServerReply(HELLO["responses"]), port=port), provider:
            return text_of(await collect(provider))

    for _ in range(3):
        assert anyio.run(once, backend=anyio_backend) == "Hello there, world!"


async def test_headers_of_the_config_are_sent() -> None:
    """With every request, also in place of the SDK's own."""
    headers = {"HTTP-Referer": "https://penstock.example", "user-agent": "mine/1"}
    async with asking(ServerReply(HELLO["chat"]), dialect="openrouter", headers=headers) as (emulator, provider):
        await collect(provider)
    (request,) = emulator.requests
    assert (request.headers["http-referer"], request.headers["user-agent"]) == ("https://penstock.example", "mine/1")


async def test_a_vendors_own_cost_wins() -> None:
    """OpenRouter says what a call has cost; of its models no price is known here."""
    body = chat_completion(text="Hi", usage={"cost": 0.0025})
    async with asking(ServerReply(body), dialect="openrouter", model_info=ModelInfo()) as (_, provider):
        assert str(usage_of(await collect(provider)).cost) == "0.0025"
    async with asking(ServerReply(HELLO["chat"]), dialect="openrouter", model_info=None) as (_, provider):
        assert usage_of(await collect(provider)).cost is None
