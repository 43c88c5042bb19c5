"""The scripts of OpenAI's answers and the stand-in for its models, as OpenAI's own SDK reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from penstock import ConfigError
from penstock.testing import (
    ChatForm,
    DemoModel,
    Emulator,
    Request,
    ServerReply,
    chat_completion,
    chat_document,
    chat_events,
    openai_error,
    responses_document,
    responses_events,
    responses_message,
)

# On trio the SDK leaves its own generators to the garbage collector when it has read `[DONE]`.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(r"ignore:Async generator 'openai\.:ResourceWarning")]

JSON = {"content-type": "application/json"}
READ: dict[str, Any] = {"id": "call_a", "name": "read", "arguments": {"row": 7}}
LIST: dict[str, Any] = {"id": "call_b", "name": "list", "arguments": '{"path": "src"}'}
CALLS = [("call_a", "read", '{"row":7}'), ("call_b", "list", '{"path": "src"}')]
ASK: Any = [{"role": "user", "content": "Good morning"}]
SAID: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "content": [{"type": "output_text", "text": "Good morning to you"}],
}
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Greet them."}],
    "encrypted_content": "gAAAAB",
}
ASKED: dict[str, Any] = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_a",
    "name": "read",
    "arguments": '{"row":7}',
}


def client(emulator: Emulator) -> AsyncOpenAI:
    """The SDK, pointed at the emulator."""
    return AsyncOpenAI(base_url=emulator.url + "/v1", api_key="x", max_retries=0)


def document(body: bytes) -> ServerReply:
    """A reply of one JSON document."""
    return ServerReply([body], headers=JSON, whole=True)


def parsed(events: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the events hold, but for `[DONE]`."""
    data = [event.split(b"data: ", 1)[1] for event in events]
    return [msgspec.json.decode(piece) for piece in data if not piece.startswith(b"[DONE]")]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(ChatForm(), id="as OpenAI does it"),
        pytest.param(ChatForm(whole_calls=True), id="calls in one piece"),
        pytest.param(ChatForm(finish_alone=False), id="the finish reason on the last piece"),
        pytest.param(ChatForm(done=False), id="no [DONE]"),
        pytest.param(ChatForm(usage_place="finish"), id="usage beside the finish reason"),
        pytest.param(ChatForm(usage_place="every"), id="usage on every event"),
        pytest.param(ChatForm(usage_place="every", finish_alone=False, whole_calls=True), id="all of these"),
    ],
)
async def test_the_sdk_reads_a_streamed_chat_completion(form: ChatForm) -> None:
    """Text, reasoning, calls, finish reason and usage, in whatever form."""
    body = chat_completion(
        text="Good morning", reasoning="Greet them.", tool_calls=[READ, LIST], usage={"prompt_tokens": 32}, form=form
    )
    text = reasoning = ""
    calls: dict[int, list[str]] = {}
    async with Emulator(ServerReply(body)) as emulator, client(emulator) as sdk:
        chunks = [chunk async for chunk in await sdk.chat.completions.create(model="m", messages=ASK, stream=True)]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        text += choice.delta.content or ""
        reasoning += getattr(choice.delta, "reasoning_content", "")
        for piece in choice.delta.tool_calls or ():
            assert piece.function is not None
            call = calls.setdefault(piece.index, [piece.id or "", piece.function.name or "", ""])
            call[2] += piece.function.arguments or ""
    assert (text, reasoning) == ("Good morning", "Greet them.")
    assert [tuple(call) for call in calls.values()] == CALLS
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "tool_calls"
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (32, 10, 42)


async def test_the_sdk_adds_a_stream_up_to_the_whole_answer() -> None:
    """Its own fold of the events is the document of the same answer."""
    answer: dict[str, Any] = {"text": "Good morning", "refusal": "But no more.", "tool_calls": [READ, LIST]}
    replies = ServerReply(chat_completion(**answer)), document(chat_document(**answer))
    async with Emulator(*replies) as emulator, client(emulator) as sdk:
        async with sdk.chat.completions.stream(model="m", messages=ASK) as stream:
            folded = await stream.get_final_completion()
        whole = await sdk.chat.completions.create(model="m", messages=ASK)
    mine, theirs = whole.choices[0], folded.choices[0]
    assert mine.finish_reason == theirs.finish_reason == "tool_calls"
    assert mine.message.content == theirs.message.content == "Good morning"
    assert mine.message.refusal == theirs.message.refusal == "But no more."
    for message in mine.message, theirs.message:
        calls = [call for call in message.tool_calls or () if call.type == "function"]
        assert [(call.id, call.function.name, call.function.arguments) for call in calls] == CALLS
    assert whole.usage == folded.usage
    assert whole.usage is not None


@pytest.mark.parametrize(
    ("form", "found"),
    [
        pytest.param(ChatForm(), lambda chunks: chunks[-1]["usage"], id="last"),
        pytest.param(ChatForm(usage_place="choice"), lambda chunks: chunks[-1]["choices"][0]["usage"], id="choice"),
        pytest.param(ChatForm(usage_place="x_groq"), lambda chunks: chunks[-1]["x_groq"]["usage"], id="x_groq"),
    ],
)
def test_where_the_usage_stands(form: ChatForm, found: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Once, on the last event."""
    usage = found(parsed(chat_events(text="Good", usage={"completion_tokens": 3}, form=form)))
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 3, 13)


def test_usage_grows_or_is_not_there() -> None:
    """On every event it counts up to the whole; `none` is no field at all."""
    every = parsed(chat_events(text="Good morning to you", form=ChatForm(usage_place="every")))
    counts = [chunk["usage"]["completion_tokens"] for chunk in every]
    assert counts == sorted(set(counts))
    assert counts[-1] == 10
    assert not [chunk for chunk in parsed(chat_events(form=ChatForm(usage_place="none"))) if "usage" in chunk]


@pytest.mark.parametrize(
    ("form", "pieces"),
    [
        pytest.param(
            ChatForm(),
            [
                {"index": 0, "type": "function", "id": "a", "function": {"name": "f", "arguments": ""}},
                {"index": 0, "function": {"arguments": "{}"}},
                {"index": 1, "type": "function", "id": "b", "x": 1, "function": {"name": "g", "arguments": ""}},
            ],
            id="an index each",
        ),
        pytest.param(
            ChatForm(call_index="shared", whole_calls=True),
            [
                {"index": 0, "type": "function", "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": 0, "type": "function", "id": "b", "x": 1, "function": {"name": "g", "arguments": ""}},
            ],
            id="one index for all",
        ),
        pytest.param(
            ChatForm(call_index="none", call_ids="every"),
            [
                {"type": "function", "id": "a", "function": {"name": "f", "arguments": ""}},
                {"type": "function", "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"type": "function", "id": "b", "x": 1, "function": {"name": "g", "arguments": ""}},
            ],
            id="no index, and the id on every piece",
        ),
    ],
)
def test_how_calls_come(form: ChatForm, pieces: list[dict[str, Any]]) -> None:
    """What a call has beside id, name and arguments comes with it."""
    calls: Any = [{"id": "a", "name": "f", "arguments": {}}, {"id": "b", "name": "g", "x": 1}]
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed(chat_events(tool_calls=calls, form=form))[:-1]]
    assert [piece for delta in deltas for piece in delta.get("tool_calls", ())] == pieces


@pytest.mark.parametrize("names", [True, False], ids=["named events", "events without names"])
async def test_the_sdk_adds_a_response_up(names: bool) -> None:
    """Its own fold of the events, its fields and the document of the same response agree."""
    message = {**SAID, "content": [{"type": "output_text", "text": "Good morning", "annotations": []}]}
    items: list[dict[str, Any]] = [
        THOUGHT,
        message,
        ASKED,
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}},
    ]
    usage = {"input_tokens": 40, "input_tokens_details": {"cached_tokens": 32, "cache_write_tokens": 0}}
    body = responses_message(*items, usage=usage, names=names, piece=3)
    replies = ServerReply(body), document(responses_document(*items, usage=usage))
    async with Emulator(*replies) as emulator, client(emulator) as sdk:
        async with sdk.responses.stream(model="m", input="Good morning") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            folded = await stream.get_final_response()
        whole = await sdk.responses.create(model="m", input="Good morning")
    assert deltas == ["Goo", "d m", "orn", "ing"]
    for response in folded, whole:
        assert response.output_text == "Good morning"
        assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "web_search_call"]
        call = response.output[2]
        assert call.type == "function_call"
        assert (call.call_id, call.name, call.arguments) == ("call_a", "read", '{"row":7}')
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (40, 32)
        assert response.usage.total_tokens == 50


def test_the_order_of_a_responses_events() -> None:
    """As the API's reference has it, numbered from 0, with nothing unfinished in the whole."""
    cited = {"type": "output_text", "text": "Good", "annotations": [{"type": "url_citation"}]}
    items = [THOUGHT, {**SAID, "content": [cited, {"type": "refusal", "refusal": "No"}]}, ASKED]
    events = parsed(responses_events(*items, piece=5))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    order = """
        created in_progress
        output_item.added reasoning_summary_part.added
            reasoning_summary_text.delta reasoning_summary_text.delta reasoning_summary_text.delta
            reasoning_summary_text.done reasoning_summary_part.done output_item.done
        output_item.added
            content_part.added output_text.delta output_text.annotation.added output_text.done content_part.done
            content_part.added refusal.delta refusal.done content_part.done output_item.done
        output_item.added function_call_arguments.delta function_call_arguments.delta
            function_call_arguments.done output_item.done
        completed
    """
    assert [event["type"].removeprefix("response.") for event in events] == order.split()
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert "encrypted_content" not in added[0]
    assert [item.get("arguments") for item in added] == [None, None, ""]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert done[0]["encrypted_content"] == "gAAAAB"
    assert events[0]["response"]["usage"] is None


async def test_a_response_that_does_not_complete() -> None:
    """Incomplete says why and is billed; failed has an error and no usage unless one is given."""
    replies = [
        ServerReply(responses_message(SAID, status="incomplete", incomplete_reason="content_filter")),
        ServerReply(responses_message(status="failed", error={"code": "rate_limit_exceeded"})),
        ServerReply(responses_message(status="failed", usage={"input_tokens": 3})),
    ]
    async with Emulator(*replies) as emulator, client(emulator) as sdk:
        ends = []
        for _ in replies:
            stream = await sdk.responses.create(model="m", input="Good morning", stream=True)
            ends.append([event async for event in stream][-1])
    incomplete, failed, billed = ends
    assert incomplete.type == "response.incomplete"
    assert incomplete.response.incomplete_details is not None
    assert incomplete.response.incomplete_details.reason == "content_filter"
    assert incomplete.response.usage is not None
    assert failed.type == billed.type == "response.failed"
    assert failed.response.error is not None
    assert failed.response.error.code == "rate_limit_exceeded"
    assert failed.response.usage is None
    assert billed.response.usage is not None


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        pytest.param(
            openai_error(400, "no such field", code="unsupported_parameter", param="seed"),
            openai.BadRequestError,
            "unsupported_parameter",
            id="a bad request",
        ),
        pytest.param(
            openai_error(401, "wrong key", code="invalid_api_key"),
            openai.AuthenticationError,
            "invalid_api_key",
            id="a wrong key",
        ),
        pytest.param(
            openai_error(404, "no such model", code="model_not_found"),
            openai.NotFoundError,
            "model_not_found",
            id="an unknown model",
        ),
        pytest.param(
            openai_error(429, "slow down", kind="requests", code="rate_limit_exceeded", headers={"retry-after": "7"}),
            openai.RateLimitError,
            "rate_limit_exceeded",
            id="a rate limit",
        ),
        pytest.param(openai_error(503, "busy", kind="server_error"), openai.InternalServerError, None, id="a failure"),
    ],
)
async def test_the_sdk_knows_the_errors(
    reply: ServerReply, kind: type[openai.APIStatusError], code: str | None
) -> None:
    """Each status has its class; code, param, request id and headers arrive."""
    async with Emulator(reply) as emulator, client(emulator) as sdk:
        with pytest.raises(kind) as caught:
            await sdk.chat.completions.create(model="m", messages=ASK)
    error = caught.value
    assert (error.status_code, error.code, error.request_id) == (reply.status, code, "req_emulated")
    assert error.param == ("seed" if reply.status == 400 else None)
    assert error.response.headers.get("retry-after") == reply.headers.get("retry-after")


async def test_the_demo_answers_chat_completions() -> None:
    """Streamed and whole the answer is the same; a stream tells its usage only if it is asked to."""
    async with Emulator(DemoModel()) as emulator, client(emulator) as sdk:
        create = sdk.chat.completions.create
        whole = await create(model="m", messages=ASK)
        plain = [chunk async for chunk in await create(model="m", messages=ASK, stream=True)]
        asked = [
            chunk
            async for chunk in await create(
                model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
            )
        ]
        cut = await create(model="m", messages=ASK, max_completion_tokens=3)
    text = whole.choices[0].message.content or ""
    assert text.endswith("You said: Good morning")
    for chunks in plain, asked:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
        assert {chunk.model for chunk in chunks} == {"m"}
    assert [chunk.usage for chunk in plain] == [None] * len(plain)
    assert asked[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.completion_tokens == len(text.split(" "))
    assert (cut.choices[0].finish_reason, cut.choices[0].message.content) == ("length", "This is Penstock's")


async def test_the_demo_answers_responses() -> None:
    """Streamed and whole the answer is the same, and one that is cut is incomplete."""
    async with Emulator(DemoModel()) as emulator, client(emulator) as sdk:
        asked: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Good morning"}]}]
        whole = await sdk.responses.create(model="m", input="Good morning")
        async with sdk.responses.stream(model="m", input=asked) as stream:
            streamed = await stream.get_final_response()
        cut = await sdk.responses.create(model="m", input=asked, max_output_tokens=3)
        result: Any = [{"type": "function_call_output", "call_id": "c", "output": "21 degrees"}]
        told = await sdk.responses.create(model="m", input=result)
    assert whole.output_text == streamed.output_text
    assert whole.output_text.endswith("You said: Good morning")
    assert told.output_text.endswith("a tool answered: 21 degrees")
    assert (cut.status, cut.output_text) == ("incomplete", "This is Penstock's")
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


def asking(demo: DemoModel, path: str, **body: Any) -> dict[str, Any]:
    """The document that the demo answers with."""
    (answer,) = demo(Request("POST", path, {}, msgspec.json.encode({"model": "m", **body}))).body
    assert isinstance(answer, bytes)
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    return decoded


def cached(answer: dict[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt, and how many of them came from the cache."""
    usage = answer["usage"]
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    return usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]


RULES = "Read before you write. " * 50


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_the_demo_caches_by_itself(path: str) -> None:
    """The longest beginning in common, in steps of 128 tokens; of one model, and not below the least."""
    field = "messages" if path.endswith("completions") else "input"
    history = [{"role": "system", "content": RULES}, *ASK]
    demo = DemoModel()
    size, first = cached(asking(demo, path, **{field: history}))
    again = cached(asking(demo, path, **{field: history}))
    steps = size // 128 * 128
    assert (first, again, steps) == (0, (size, steps), 256)
    longer = [*history, {"role": "assistant", "content": RULES}, {"role": "user", "content": "And now?"}]
    assert cached(asking(demo, path, **{field: longer}))[1] == steps
    grown, read = cached(asking(demo, path, **{field: longer}))
    assert read == grown // 128 * 128 > steps
    other = [{"role": "system", "content": RULES[:700] + "!" + RULES[700:]}, *ASK]
    assert cached(asking(demo, path, **{field: other}))[1] == 128
    assert cached(asking(demo, path, **{field: history, "model": "n"}))[1] == 0
    tools = [{"type": "function", "name": "read"}]
    assert cached(asking(demo, path, **{field: history, "tools": tools}))[1] == 0
    strict = DemoModel(min_cache_tokens=1024)
    assert [cached(asking(strict, path, **{field: history}))[1] for _ in range(2)] == [0, 0]


async def test_the_demo_answers_anthropic_without_a_stream() -> None:
    """One document, as the SDK expects it, also for content that is a plain text."""
    async with (
        Emulator(DemoModel()) as emulator,
        AsyncAnthropic(base_url=emulator.url, api_key="x", max_retries=0) as sdk,
    ):
        message = await sdk.messages.create(model="m", max_tokens=100, system=RULES, messages=ASK)
        cut = await sdk.messages.create(model="m", max_tokens=3, messages=ASK)
    assert message.content[0].type == "text"
    assert message.content[0].text.endswith("You said: Good morning")
    assert (message.stop_reason, cut.stop_reason) == ("end_turn", "max_tokens")
    assert message.usage.input_tokens > 250
    assert cut.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/chat/completions", 200, id="no prefix"),
        pytest.param("/openai/deployments/m/chat/completions?api-version=2026-01-01", 200, id="a query"),
        pytest.param("/v1/embeddings", 404, id="an endpoint that it has not"),
    ],
)
def test_where_the_demo_answers(path: str, status: int) -> None:
    """The path's end says which API it is; a history may end in something without a text."""
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}
    reply = DemoModel()(Request("POST", path, {}, msgspec.json.encode(body)))
    assert reply.status == status
    if status == 200:
        assert b"You attached an image." in b"".join(piece for piece in reply.body if isinstance(piece, bytes))


async def test_a_refusal_is_a_reply_already() -> None:
    """And is no body of another."""
    with pytest.raises(ConfigError, match="leave out the ServerReply around it"):
        ServerReply(openai_error(429, "slow down"))  # type: ignore[arg-type]
