"""What servers of OpenAI's APIs make of them: one answer for each oddity, and how it has to be read. Data only.

Written after documentation, sources and recorded streams; the words and numbers are made up. Ordinary structure is
left to `chat_events` and `responses_events`; what is odd in itself stands here as it is on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from penstock.testing import ChatForm, chat_document, chat_events, responses_document, responses_events

Fields: TypeAlias = Mapping[str, Any]


class Counts(NamedTuple):
    """What is billed, disjoint but for `reasoning`, which is a part of `output`."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Call(NamedTuple):
    """A tool call. An empty id stands for any that the reader makes up: not empty, and each another."""

    id: str
    name: str
    arguments: str


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with status 200. dialect: the row's name. body: all of it, events or one document.

    usage: None when the vendor reports none. cost: what the vendor itself says in dollars, None when it says nothing.
    error: the class of ours that ends it, empty when it ends well; then `reason` is how. What else is expected comes
        before the error.
    """

    dialect: str
    why: str
    body: bytes
    wire: Literal["chat", "responses"] = "chat"
    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    reason: str = ""
    usage: Counts | None = None
    cost: Decimal | None = None
    error: str = ""


def chunk(delta: Fields | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of the chat wire; *more* stands beside its choices."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "m"}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def calling(*pieces: Fields, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of the chat wire with these entries of `tool_calls`."""
    return chunk({"tool_calls": list(pieces)}, finish, **more)


def sse(*events: Fields | str | bytes, done: bool = True) -> bytes:
    """A stream. Text is a line of its own: a comment, a name, a field."""
    return b"".join(map(_event, events)) + (b"data: [DONE]\n\n" if done else b"")


def _event(event: Fields | str | bytes) -> bytes:
    if isinstance(event, bytes):
        return event
    if isinstance(event, str):
        return f"{event}\n".encode()
    return b"data: %b\n\n" % msgspec.json.encode(event)


def chat(form: ChatForm | None = None, **options: Any) -> bytes:
    """A stream of the chat wire in the server's own form."""
    return b"".join(chat_events(form=form or ChatForm(), **options))


def responses(*items: Fields, **options: Any) -> bytes:
    """A stream of the Responses API."""
    return b"".join(responses_events(*items, **options))


def events(stream: Iterable[bytes], *, without: str) -> bytes:
    """The stream but for the events whose type ends so."""
    return b"".join(event for event in stream if f'{without}","'.encode() not in event)


def usage(prompt: int, completion: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    """A usage object of the chat wire."""
    total = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


def function(name: str, arguments: Any) -> dict[str, Any]:
    """The inside of an entry of `tool_calls`."""
    return {"name": name, "arguments": arguments}


ROW: Final = {"id": "call_a", "name": "read", "arguments": '{"row":7}'}
OTHER: Final = {"id": "call_b", "name": "list", "arguments": '{"path":"src"}'}
ROW_CALL: Final = Call("call_a", "read", '{"row":7}')
OTHER_CALL: Final = Call("call_b", "list", '{"path":"src"}')
TEN: Final = Counts(10, 10)  # what `chat_events` and `responses_events` report of themselves

SAID: Final = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Good morning"}]}
ASKED: Final = {"type": "function_call", "id": "fc_1", "call_id": "call_a", "name": "read", "arguments": '{"row":7}'}
THOUGHT: Final = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Greet first."}],
    "encrypted_content": "gAAAAB",
}
HALF: Final = {**ASKED, "arguments": '{"ro', "status": "incomplete"}

_VENDORS: Final = {
    "deepseek: reasoning, and usage beside the finish reason": Script(
        dialect="deepseek", why="comments keep the line warm; hits and misses stand beside the usual cached_tokens",
        body=sse(
            ": keep-alive\n",
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Be kind"}),
            ": keep-alive\n",
            chunk({"content": "Good day", "reasoning_content": None}),
            chunk(
                {"content": "", "reasoning_content": None}, "stop",
                usage=usage(
                    300, 45, prompt_tokens_details={"cached_tokens": 256},
                    completion_tokens_details={"reasoning_tokens": 30}, prompt_cache_hit_tokens=256,
                    prompt_cache_miss_tokens=44,
                ),
            ),
        ),
        text="Good day", reasoning="Be kind", reason="stop", usage=Counts(44, 45, cache_read=256, reasoning=30),
    ),
    "deepseek: the system is short of resources": Script(
        dialect="deepseek", why="a finish reason that is a failure",
        body=sse(chunk({"content": "Go"}), chunk({}, "insufficient_system_resource")),
        text="Go", error="OverloadedError",
    ),
    "xai: reasoning beside the output, a call in one piece": Script(
        dialect="xai", why="completion_tokens leaves reasoning out: total = prompt + completion + reasoning",
        body=chat(
            ChatForm(whole_calls=True), reasoning="Which row?", tool_calls=[ROW],
            usage=usage(
                50, 10, 150,
                prompt_tokens_details={"text_tokens": 50, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 40},
                completion_tokens_details={"reasoning_tokens": 90, "audio_tokens": 0}, num_sources_used=0,
            ),
        ),
        reasoning="Which row?", calls=(ROW_CALL,), reason="tool_calls",
        usage=Counts(10, 100, cache_read=40, reasoning=90),
    ),
    "xai: what it has cost in ticks": Script(
        dialect="xai", why="cost_in_usd_ticks are 1e-10 dollars",
        body=chat(text="Yes", usage={"cost_in_usd_ticks": 12_345_000}),
        text="Yes", reason="stop", usage=TEN, cost=Decimal("0.0012345"),
    ),
    "groq: usage in x_groq": Script(
        dialect="groq", why="no usage beside the choices; x_groq is on the first event too, without usage",
        body=sse(
            chunk({"role": "assistant", "content": None}, x_groq={"id": "req_1"}),
            chunk({"reasoning": "So", "channel": "analysis"}),
            chunk({"content": "Morning"}),
            chunk({}, "stop", x_groq={"id": "req_1", "usage": {"queue_time": 0.01, **usage(31, 6), "total_time": 0.2}}),
        ),
        text="Morning", reasoning="So", reason="stop", usage=Counts(31, 6),
    ),
    "groq: an event named error": Script(
        dialect="groq", why="the one event of the chat wire that has a name",
        body=sse(
            chunk({"content": "Mor"}),
            "event: error",
            {"error": {"message": "over capacity", "type": "internal_server_error", "code": "server_is_overloaded"}},
            done=False,
        ),
        text="Mor", error="OverloadedError",
    ),
    "groq: stopped early": Script(
        dialect="groq", why="x_groq.error is a text on an event that is otherwise in order",
        body=sse(chunk({"content": "Mor"}), chunk({}, x_groq={"id": "req_1", "error": "generation failed"})),
        text="Mor", error="ServerError",
    ),
    "openrouter: reasoning twice, and the cost": Script(
        dialect="openrouter", why="reasoning_details has the same text as reasoning; the signature comes alone",
        body=sse(
            ": OPENROUTER PROCESSING\n",
            chunk(
                {
                    "role": "assistant", "content": "", "reasoning": "Count",
                    "reasoning_details": [{"type": "reasoning.text", "text": "Count", "index": 0}],
                },
            ),
            chunk(
                {
                    "content": "", "reasoning": None,
                    "reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0}],
                },
            ),
            chunk({"content": "Three"}),
            chunk(
                {"content": ""}, "stop",
                usage=usage(
                    120, 8, cost=0.00023, is_byok=False,
                    prompt_tokens_details={"cached_tokens": 100, "cache_write_tokens": 15},
                    cost_details={"upstream_inference_cost": None}, completion_tokens_details={"reasoning_tokens": 3},
                ),
            ),
        ),
        text="Three", reasoning="Count", reason="stop", usage=Counts(5, 8, cache_read=100, cache_write=15, reasoning=3),
        cost=Decimal("0.00023"),
    ),
    "openrouter: the provider behind it is lost": Script(
        dialect="openrouter", why="an error beside choices with the finish reason error; the code is a status",
        body=sse(
            chunk({"role": "assistant", "content": "Thr"}),
            chunk({"content": ""}, "error", error={"code": 502, "message": "Upstream is gone", "metadata": {}}),
            done=False,
        ),
        text="Thr", error="ServerError",
    ),
    "openrouter: calls and text after the finish reason": Script(
        dialect="openrouter", why="each event of a call has the finish reason; a plain one and the usage follow",
        body=sse(
            chunk({"role": "assistant", "content": "Both"}),
            calling({"index": 0, "id": "call_a", "function": function("read", '{"row":7}')}, finish="tool_calls"),
            calling({"index": 1, "id": "call_b", "function": function("list", '{"path":"src"}')}, finish="tool_calls"),
            chunk({"content": " of them"}, "stop"),
            chunk({"role": "assistant", "content": ""}, usage=usage(9, 9, cost=0.000018)),
        ),
        text="Both of them", calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=Counts(9, 9),
        cost=Decimal("0.000018"),
    ),
    "openrouter: id and name again, and no finish reason": Script(
        dialect="openrouter",
        why="one provider sends a call three times, with its arguments only in the last, and never a finish reason",
        body=sse(
            calling({"index": 0, "id": "0", "type": "function", "function": function("version", "")}),
            calling({"index": 0, "id": "0", "type": "function", "function": function("version", "")}),
            calling({"index": 0, "id": "0", "type": "function", "function": function("version", "{}")}),
            chunk({"role": "assistant", "content": ""}, usage=usage(57, 17)),
        ),
        calls=(Call("0", "version", "{}"),), reason="tool_calls", usage=Counts(57, 17),
    ),
    "mistral: a list for content, a whole call": Script(
        dialect="mistral", why="thinking is a part of the content, and again a list",
        body=sse(
            chunk(
                {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
            ),
            chunk({"content": [{"type": "text", "text": "Let me"}]}),
            chunk({"content": " see"}),
            calling(
                {"id": "aB3dE5gH7", "function": function("read", '{"row":7}'), "index": 0}, finish="tool_calls",
                usage=usage(19, 14),
            ),
        ),
        text="Let me see", reasoning="Hm", calls=(Call("aB3dE5gH7", "read", '{"row":7}'),), reason="tool_calls",
        usage=Counts(19, 14),
    ),
    "mistral: no [DONE]": Script(
        dialect="mistral", why="the finish reason alone says that it is complete",
        body=sse(chunk({"role": "assistant", "content": "Oui"}), chunk({}, "stop", usage=usage(5, 2)), done=False),
        text="Oui", reason="stop", usage=Counts(5, 2),
    ),
    "mistral: arguments as an object": Script(
        dialect="mistral", why="an object where all others have its text; an id may be the text null",
        body=sse(calling({"id": "null", "function": function("read", {"row": 7}), "index": 0}, finish="tool_calls")),
        calls=(Call("", "read", '{"row":7}'),), reason="tool_calls",
    ),
    "mistral: what is cached": Script(
        dialect="mistral", why="billed at a tenth, in blocks, and at most the prompt",
        body=chat(text="Oui", usage=usage(1783, 1, prompt_tokens_details={"cached_tokens": 1760})),
        text="Oui", reason="stop", usage=Counts(23, 1, cache_read=1760),
    ),
    "mistral: more cached than there is, billed": Script(
        dialect="mistral", why="the blocks go beyond the prompt",
        body=chat(text="Oui", usage=usage(60, 1, prompt_tokens_details={"cached_tokens": 64})),
        text="Oui", reason="stop", usage=Counts(0, 1, cache_read=60),
    ),
    "mistral: more cached than there is": Script(
        dialect="mistral", why="another count, in blocks, and no discount",
        body=sse(chunk({"content": "Oui"}, "stop", usage=usage(9, 1, num_cached_tokens=16, service_tier="default"))),
        text="Oui", reason="stop", usage=Counts(9, 1),
    ),
    "mistral: a model's own limit": Script(
        dialect="mistral", why="model_length is length",
        body=chat(text="Oui et", finish_reason="model_length"),
        text="Oui et", reason="length", usage=TEN,
    ),
    "google: two calls without an index": Script(
        dialect="google",
        why="whole calls in one event each, finish reason stop, cumulative usage; the total has hidden thinking",
        body=sse(
            calling(
                {
                    "extra_content": {"google": {"thought_signature": "AbC="}},
                    "function": function("read", '{"row":7}'), "id": "function-call-1", "type": "function",
                },
                usage=usage(50, 8, 80),
            ),
            calling(
                {"function": function("read", '{"row":8}'), "id": "function-call-2", "type": "function"}, finish="stop",
                usage=usage(50, 14, 90),
            ),
        ),
        calls=(Call("function-call-1", "read", '{"row":7}'), Call("function-call-2", "read", '{"row":8}')),
        reason="tool_calls", usage=Counts(50, 40),
    ),
    "google: two calls with an empty id": Script(
        dialect="google", why="both in one event; a made-up id must not be the same for both",
        body=sse(
            calling(
                {"function": function("read", '{"row":7}'), "id": "", "type": "function"},
                {"function": function("read", '{"row":8}'), "id": "", "type": "function"}, finish="stop",
                usage=usage(25, 8),
            ),
        ),
        calls=(Call("", "read", '{"row":7}'), Call("", "read", '{"row":8}')), reason="tool_calls", usage=Counts(25, 8),
    ),
    "google: an error in an array": Script(
        dialect="google", why="its error bodies are arrays of one",
        body=b'[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]',
        error="OverloadedError",
    ),
    "azure: filter results before, between and after": Script(
        dialect="azure", why="events without choices, with an empty id and model, and with delta null",
        body=sse(
            {"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]},
            chunk({"role": "assistant", "content": "", "refusal": None}, usage=None),
            chunk({"content": "Harmless"}, usage=None),
            chunk(None, id="", model="", object="", created=0),
            chunk({}, "stop", usage=None),
            {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 8}, "finish_reason": None}], "id": ""},
            {**chunk({}), "choices": [], "usage": usage(12, 2)},
        ),
        text="Harmless", reason="stop", usage=Counts(12, 2),
    ),
    "azure: more cached than there is": Script(
        dialect="azure", why="Grok on Azure has reported so; what is read is a part of the prompt",
        body=chat(text="Hi", usage=usage(7, 2, prompt_tokens_details={"cached_tokens": 161})),
        text="Hi", reason="stop", usage=Counts(0, 2, cache_read=7),
    ),
    "azure: filtered half-way": Script(
        dialect="azure", why="content_filter is a refusal, and a call that it cut is dropped",
        body=chat(text="First,", tool_calls=[{**ROW, "arguments": '{"ro'}], finish_reason="content_filter"),
        text="First,", reason="refusal", usage=TEN,
    ),
    "vllm: an error in the stream": Script(
        dialect="vllm", why="[DONE] follows, which is no end",
        body=sse(
            chunk({"role": "assistant", "content": "One"}),
            {"error": {"message": "Engine died", "type": "InternalServerError", "param": None, "code": 500}},
        ),
        text="One", error="ServerError",
    ),
    "vllm: an older error in the stream": Script(
        dialect="vllm", why="the error is the event itself",
        body=sse({"object": "error", "message": "Engine died", "type": "InternalServerError", "code": 500}),
        error="ServerError",
    ),
    "vllm: usage on every event": Script(
        dialect="vllm", why="with continuous_usage_stats each report replaces the one before",
        body=chat(ChatForm(usage_place="every", reasoning_field="reasoning"), text="Growing usage", reasoning="Hm"),
        text="Growing usage", reasoning="Hm", reason="stop", usage=TEN,
    ),
    "vllm: reasoning under both names": Script(
        dialect="vllm", why="for some releases the new field stood beside the old",
        body=sse(
            chunk({"reasoning": "Well", "reasoning_content": "Well"}),
            chunk({"content": "Yes"}, "stop", stop_reason=None),
        ),
        text="Yes", reasoning="Well", reason="stop",
    ),
    "vllm: finish reason stop with a call": Script(
        dialect="vllm", why="so it ends when the choice of the tool was forced",
        body=chat(tool_calls=[ROW], finish_reason="stop"),
        calls=(ROW_CALL,), reason="tool_calls", usage=TEN,
    ),
    "vllm: aborted": Script(
        dialect="vllm", why="a finish reason that is a failure",
        body=sse(chunk({"content": "One"}), chunk({}, "abort")),
        text="One", error="ServerError",
    ),
    "llamacpp: timings": Script(
        dialect="llamacpp", why="null for the first content, progress without a delta, timings on the last event",
        body=sse(
            chunk({"role": "assistant", "content": None}, prompt_progress={"total": 4, "processed": 4}),
            chunk({"reasoning_content": "Hm"}),
            chunk({"content": "Hello"}),
            chunk({}, "stop"),
            {**chunk({}), "choices": [], "usage": usage(4, 3), "timings": {"prompt_n": 4, "predicted_n": 3}},
        ),
        text="Hello", reasoning="Hm", reason="stop", usage=Counts(4, 3),
    ),
    "llamacpp: no end": Script(
        dialect="llamacpp",
        why="an old build's `error:` line is no field of an event stream; nothing says that it is complete",
        body=sse(chunk({"content": "Hel"}), 'error: {"code":500,"message":"slot lost"}\n', done=False),
        text="Hel", error="StreamInterruptedError",
    ),
    "ollama: the role on every event": Script(
        dialect="ollama", why="ids collide, calls are whole, older releases finish with stop",
        body=sse(
            chunk({"role": "assistant", "content": "", "reasoning": "Hm"}, id="chatcmpl-7"),
            calling(
                {"id": "call_a", "index": 0, "type": "function", "function": function("read", '{"row":7}')},
                id="chatcmpl-7",
            ),
            chunk({"role": "assistant", "content": ""}, "stop", id="chatcmpl-7"),
            {**chunk({}), "choices": [], "usage": usage(0, 11)},
        ),
        reasoning="Hm", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(0, 11),
    ),
    "lmstudio: an error that is a text": Script(
        dialect="lmstudio", why="a named event, and no object inside",
        body=sse("event: error", {"error": "The model has crashed"}, done=False),
        error="ServerError",
    ),
    "together: the end of the sequence": Script(
        dialect="together", why="eos is stop; a text of older clients stands beside the delta",
        body=sse(
            {**chunk({}), "choices": [{"index": 0, "delta": {"content": "Sure", "token_id": 5}, "text": "Sure"}]},
            chunk({"content": "", "token_id": 2}, "eos", usage=usage(6, 2)),
        ),
        text="Sure", reason="stop", usage=Counts(6, 2),
    ),
    "fireworks: usage beside the finish reason": Script(
        dialect="fireworks", why="no event of its own for it",
        body=chat(ChatForm(usage_place="finish"), text="Sure"),
        text="Sure", reason="stop", usage=TEN,
    ),
    "cerebras: all in the last event": Script(
        dialect="cerebras", why="call, finish reason, usage and times together",
        body=sse(
            chunk({"role": "assistant", "reasoning": "Hm"}),
            calling(
                {"index": 0, "id": "call_a", "type": "function", "function": function("read", '{"row":7}')},
                finish="tool_calls", usage=usage(8, 5), time_info={"queue_time": 0.001},
            ),
        ),
        reasoning="Hm", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(8, 5),
    ),
    "moonshot: usage inside the choice": Script(
        dialect="moonshot", why="choices[0].usage, and nowhere else",
        body=chat(ChatForm(usage_place="choice"), text="Sure"),
        text="Sure", reason="stop", usage=TEN,
    ),
    "zai: a call in one piece, and two ends": Script(
        dialect="zai", why="the finish reason stands on the call, and once more beside the usage",
        body=sse(
            chunk({"role": "assistant", "reasoning_content": "Hm"}),
            calling(
                {"id": "call_a", "index": 0, "type": "function", "function": function("read", '{"row":7}')},
                finish="tool_calls",
            ),
            chunk({"role": "assistant", "content": ""}, "tool_calls", usage=usage(8, 5)),
        ),
        reasoning="Hm", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(8, 5),
    ),
    "alibaba: pieces of a call with an empty id": Script(
        dialect="alibaba", why="only the first piece says which call it is",
        body=sse(
            chunk({"content": None, "reasoning_content": "Hm"}, usage=None),
            calling({"index": 0, "id": "call_a", "type": "function", "function": function("read", "")}),
            calling({"index": 0, "id": "", "type": "function", "function": {"arguments": '{"row":'}}),
            calling({"index": 0, "id": "", "type": "function", "function": {"arguments": "7}"}}),
            chunk({}, "tool_calls", usage=None),
            {**chunk(None), "choices": [], "usage": usage(8, 5, completion_tokens_details={"text_tokens": 5})},
        ),
        reasoning="Hm", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(8, 5),
    ),
    "minimax: reasoning inside the text": Script(
        dialect="minimax", why="most of its models write it between tags",
        body=sse(
            chunk({"role": "assistant", "content": "<think>Be"}),
            chunk({"content": " kind</think>\n\nGood day"}),
            chunk({}, "stop", usage=usage(8, 5)),
        ),
        text="Good day", reasoning="Be kind", reason="stop", usage=Counts(8, 5),
    ),
    "novita: a whole call, and no word of the end": Script(
        dialect="novita", why="[DONE] ends it",
        body=sse(
            calling({"index": 0, "id": "call_a", "type": "function", "function": function("read", '{"row":7}')}),
            chunk({}, usage=usage(8, 5)),
        ),
        calls=(ROW_CALL,), reason="tool_calls", usage=Counts(8, 5),
    ),
    "xiaomi: searches of its own": Script(
        dialect="xiaomi", why="their number and their pages stand in the usage",
        body=sse(
            chunk({"content": "Yes"}),
            chunk({}, "stop", usage=usage(8, 5, web_search_usage={"tool_usage": 1, "page_usage": 5})),
        ),
        text="Yes", reason="stop", usage=Counts(8, 5),
    ),
    "copilot: padding": Script(
        dialect="copilot", why="letters that hide how long a piece is, and a bill in a unit of its own",
        body=sse(
            chunk({"content": "Yes", "padding": "abcdefgh"}),
            chunk({}, "stop", usage=usage(8, 5), copilot_usage={"total_nano_aiu": 175525000}),
        ),
        text="Yes", reason="stop", usage=Counts(8, 5),
    ),
    "vercel: what it has cost": Script(
        dialect="vercel", why="its cost is the bill",
        body=chat(text="Yes", usage=usage(9, 3, cost=0.000423, market_cost=0.0005, is_byok=False)),
        text="Yes", reason="stop", usage=Counts(9, 3), cost=Decimal("0.000423"),
    ),
    "venice: what it has cost": Script(
        dialect="venice", why="dollars beside the usage, in an object with another currency",
        body=sse(
            chunk({"content": "Yes"}),
            chunk({}, "stop", usage=usage(9, 3), cost={"diem": 0, "usd": 0.00012534375}),
        ),
        text="Yes", reason="stop", usage=Counts(9, 3), cost=Decimal("0.00012534375"),
    ),
    "inception: reasoning beside the output": Script(
        dialect="inception", why="completion_tokens leaves reasoning out, and the total does not",
        body=sse(
            chunk({"content": "Yes"}),
            chunk({}, "stop", usage=usage(324, 51, 594, reasoning_tokens=219, cached_input_tokens=245)),
        ),
        text="Yes", reason="stop", usage=Counts(79, 270, cache_read=245, reasoning=219), cost=Decimal("0.0043605"),
    ),
    "together: reasoning beside the details": Script(
        dialect="together", why="reasoning_tokens stands in the usage itself, and is a part of the output",
        body=sse(chunk({"content": "Yes"}), chunk({}, "stop", usage=usage(112, 76, 188, reasoning_tokens=68))),
        text="Yes", reason="stop", usage=Counts(112, 76, reasoning=68), cost=Decimal("0.001476"),
    ),
    "perplexity: the whole message once more": Script(
        dialect="perplexity", why="the last event has `message` beside an empty `delta`",
        body=sse(
            chunk({"role": "assistant", "content": "So"}),
            chunk({"content": " it is"}),
            {
                **chunk({}, object="chat.completion.done", usage=usage(4, 3, cost={"total_cost": 0.005})),
                "choices": [{"index": 0, "delta": {}, "message": {"content": "So it is"}, "finish_reason": "stop"}],
            },
            done=False,
        ),
        text="So it is", reason="stop", usage=Counts(4, 3), cost=Decimal("0.005"),
    ),
}  # fmt: skip

_CHAT: Final = {
    "text": Script(
        dialect="openai", why="the ordinary case",
        body=chat(text="Good morning to you"),
        text="Good morning to you", reason="stop", usage=TEN,
    ),
    "cached, written and reasoned": Script(
        dialect="openai", why="prompt_tokens includes reads and writes, completion_tokens the reasoning",
        body=chat(
            text="Good",
            usage=usage(
                1200, 40, prompt_tokens_details={"cached_tokens": 1024, "cache_write_tokens": 128},
                completion_tokens_details={"reasoning_tokens": 12},
            ),
        ),
        text="Good", reason="stop", usage=Counts(48, 40, cache_read=1024, cache_write=128, reasoning=12),
    ),
    "two calls in pieces": Script(
        dialect="openai", why="each under its own index",
        body=chat(tool_calls=[ROW, OTHER], piece=3),
        calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "one index for both calls": Script(
        dialect="openai-compatible", why="a proxy numbers all calls 0; a new id begins a call",
        body=chat(ChatForm(call_index="shared"), tool_calls=[ROW, OTHER], piece=3),
        calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "no index, in pieces": Script(
        dialect="openai-compatible", why="an entry without id and name continues the call before it",
        body=chat(ChatForm(call_index="none"), tool_calls=[ROW, OTHER], piece=3),
        calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "the id on every piece": Script(
        dialect="openai-compatible", why="an id that is known continues its call",
        body=chat(ChatForm(call_ids="every"), tool_calls=[ROW, OTHER], piece=3),
        calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "no index, and the id on every piece": Script(
        dialect="openai-compatible", why="the id alone says which call it is",
        body=chat(ChatForm(call_index="none", call_ids="every"), tool_calls=[ROW, OTHER], piece=3),
        calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "a function call": Script(
        dialect="openai-compatible", why="how calls looked before tools: one, without an id",
        body=sse(
            chunk({"role": "assistant", "content": None, "function_call": function("read", "")}),
            chunk({"function_call": {"arguments": '{"row"'}}),
            chunk({"function_call": {"arguments": ":7}"}}),
            chunk({}, "function_call"),
        ),
        calls=(Call("", "read", '{"row":7}'),), reason="tool_calls",
    ),
    "empty arguments": Script(
        dialect="openai", why="a tool without parameters",
        body=chat(tool_calls=[{"id": "call_a", "name": "ping", "arguments": ""}]),
        calls=(Call("call_a", "ping", "{}"),), reason="tool_calls", usage=TEN,
    ),
    "broken arguments": Script(
        dialect="openai", why="the server says that the call is whole, and it is not: the model is told",
        body=chat(tool_calls=[{**ROW, "arguments": '{"row":'}]),
        calls=(Call("call_a", "read", '{"row":'),), reason="tool_calls", usage=TEN,
    ),
    "length inside a call": Script(
        dialect="openai", why="the call was cut and must not run",
        body=chat(text="Now", tool_calls=[{**ROW, "arguments": '{"row":'}], finish_reason="length"),
        text="Now", reason="length", usage=TEN,
    ),
    "length inside the second call": Script(
        dialect="openai", why="the first is whole and runs; what was cut is still told",
        body=chat(tool_calls=[ROW, {**OTHER, "arguments": '{"path":"s'}], finish_reason="length"),
        calls=(ROW_CALL,), reason="length", usage=TEN,
    ),
    "length before the arguments": Script(
        dialect="openai", why="empty arguments are not `{}` when the limit has cut them",
        body=chat(tool_calls=[{**ROW, "arguments": ""}], finish_reason="length"),
        reason="length", usage=TEN,
    ),
    "a refusal": Script(
        dialect="openai", why="its words come in a field of their own, and the finish reason is stop",
        body=chat(refusal="I would rather not."),
        text="I would rather not.", reason="refusal", usage=TEN,
    ),
    "no [DONE] after a finish reason": Script(
        dialect="openai-compatible", why="24 recorded streams of small vendors end so",
        body=chat(ChatForm(done=False), text="Good"),
        text="Good", reason="stop", usage=TEN,
    ),
    "[DONE] without a finish reason": Script(
        dialect="openai", why="a proxy says it after a cut too",
        body=chat(text="Good", finish_reason=""),
        text="Good", error="StreamInterruptedError", usage=TEN,
    ),
    "[DONE] without a finish reason, after a call": Script(
        dialect="openai", why="the call is whole",
        body=chat(tool_calls=[ROW], finish_reason=""),
        calls=(ROW_CALL,), reason="tool_calls", usage=TEN,
    ),
    "neither [DONE] nor a finish reason": Script(
        dialect="openai", why="a clean end of the body is no end of the answer",
        body=chat(ChatForm(done=False, usage_place="none"), text="Good", finish_reason=""),
        text="Good", error="StreamInterruptedError",
    ),
    "neither, inside a call": Script(
        dialect="openai", why="half a call must not run",
        body=chat(ChatForm(done=False, usage_place="none"), tool_calls=[{**ROW, "arguments": '{"r'}], finish_reason=""),
        error="StreamInterruptedError",
    ),
    "an empty finish reason on every event": Script(
        dialect="openai-compatible", why="an empty text says nothing, as null does",
        body=sse(chunk({"content": "Good"}, ""), chunk({"content": " day"}, ""), chunk({}, "stop")),
        text="Good day", reason="stop",
    ),
    "choices null, missing and empty": Script(
        dialect="openai-compatible", why="annotations and keep-alives come in such events",
        body=sse(
            chunk({"role": "assistant", "content": "Good"}),
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": None},
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"},
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "moderation": {"flagged": False}},
            chunk(None),
            chunk({"content": " day"}),
            chunk({}, "stop"),
        ),
        text="Good day", reason="stop",
    ),
    "a second choice": Script(
        dialect="openai", why="only choice 0 was asked for; the others interleave",
        body=sse(
            chunk({"content": "Good"}),
            {**chunk({}), "choices": [{"index": 1, "delta": {"content": "Bad"}, "finish_reason": None}]},
            chunk({}, "stop"),
            {**chunk({}), "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
        ),
        text="Good", reason="stop",
    ),
    "usage that says nothing": Script(
        dialect="openai-compatible", why="an empty object and nulls are no report",
        body=sse(
            chunk({"content": "Good"}, usage={}),
            chunk({}, "stop", usage={"prompt_tokens": None, "completion_tokens": None, "prompt_tokens_details": None}),
        ),
        text="Good", reason="stop",
    ),
    "zeros until the last": Script(
        dialect="openai-compatible", why="interim reports may be of zeros; the last one counts",
        body=sse(
            chunk({"content": "Good"}, usage=usage(0, 0)),
            chunk({}, "stop", usage=usage(6, 2, prompt_tokens_details=None)),
        ),
        text="Good", reason="stop", usage=Counts(6, 2),
    ),
    "an error, then zeros and [DONE]": Script(
        dialect="openai", why="OpenAI's own way to fail in mid-stream",
        body=sse(
            chunk({"content": "Goo"}),
            {"error": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}},
            {**chunk({}), "choices": [], "usage": usage(0, 0)},
        ),
        text="Goo", error="ServerError",
    ),
    "other line ends and spaces": Script(
        dialect="openai-compatible",
        why="CRLF, no space after the colon, a name for each event, comments, spaces after [DONE]",
        body=sse(chunk({"content": "Good"}), chunk({}, "stop"), done=False)
        .replace(b"data: ", b": ping\nevent: message\ndata:")
        .replace(b"\n", b"\r\n")
        + b"data: [DONE]  \r\n\r\n",
        text="Good", reason="stop",
    ),
    "no blank line at the end": Script(
        dialect="openai-compatible", why="some proxies swallow it",
        body=chat(text="Good").removesuffix(b"\n\n"),
        text="Good", reason="stop", usage=TEN,
    ),
    "one JSON document": Script(
        dialect="openai-compatible", why="a proxy that ignores `stream`",
        body=chat_document(text="Good", reasoning="Hm", tool_calls=[ROW, OTHER]),
        text="Good", reasoning="Hm", calls=(ROW_CALL, OTHER_CALL), reason="tool_calls", usage=TEN,
    ),
    "one JSON document, cut inside a call": Script(
        dialect="openai-compatible", why="the same rules as in a stream",
        body=chat_document(tool_calls=[{**ROW, "arguments": '{"row":'}], finish_reason="length"),
        reason="length", usage=TEN,
    ),
    "one JSON document with a refusal": Script(
        dialect="openai", why="the words stand beside content null",
        body=chat_document(refusal="I would rather not."),
        text="I would rather not.", reason="refusal", usage=TEN,
    ),
    "a web page": Script(
        dialect="openai-compatible", why="a gateway's page, with status 200",
        body=b"<!DOCTYPE html>\n<html><body>Welcome to nginx!</body></html>\n",
        error="MalformedResponseError",
    ),
    "an event that is no JSON": Script(
        dialect="openai-compatible", why="a page inside a stream",
        body=sse(chunk({"content": "Good"}), b"data: upstream connect error\n\n", done=False),
        text="Good", error="MalformedResponseError",
    ),
    "an error as one JSON document": Script(
        dialect="openai-compatible", why="with status 200 the code tells, here the status it should have had",
        body=b'{"error":{"message":"Too many requests","type":"rate_limit_error","param":null,"code":429}}',
        error="RateLimitError",
    ),
    "nothing at all": Script(
        dialect="openai-compatible", why="an empty body is not an empty answer",
        body=b"",
        error="StreamInterruptedError",
    ),
}  # fmt: skip

_RESPONSES: Final = {
    "reasoning, text and a call": Script(
        dialect="openai", why="the ordinary case",
        body=responses(
            THOUGHT, SAID, ASKED,
            usage={
                "input_tokens": 1200, "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 128},
                "output_tokens": 40, "output_tokens_details": {"reasoning_tokens": 12},
            },
        ),
        text="Good morning", reasoning="Greet first.", calls=(ROW_CALL,), reason="tool_calls",
        usage=Counts(48, 40, cache_read=1024, cache_write=128, reasoning=12),
    ),
    "openrouter: no names, and [DONE]": Script(
        dialect="openrouter", why="the type stands only in the data; comments, [DONE] and a cost as on the chat wire",
        body=b": OPENROUTER PROCESSING\n\n"
        + responses(SAID, names=False, usage={"cost": 0.00042, "is_byok": False, "cost_details": {}})
        + b"data: [DONE]\n\n",
        text="Good morning", reason="stop", usage=TEN, cost=Decimal("0.00042"),
    ),
    "xai: ticks": Script(
        dialect="xai", why="as on its chat wire, with counts that nobody else has",
        body=responses(SAID, usage={"cost_in_usd_ticks": 5_000_000, "num_server_side_tools_used": 0}),
        text="Good morning", reason="stop", usage=TEN, cost=Decimal("0.0005"),
    ),
    "deepseek: reasoning as it is": Script(
        dialect="deepseek", why="parts of type reasoning_text in the content; open models too",
        body=responses(
            {
                "type": "reasoning", "id": "rs_1", "summary": [],
                "content": [{"type": "reasoning_text", "text": "Greet."}],
            },
            SAID,
        ),
        text="Good morning", reasoning="Greet.", reason="stop", usage=TEN,
    ),
    "no deltas": Script(
        dialect="openai-compatible", why="only the events of what is done",
        body=events(responses_events(THOUGHT, SAID, ASKED), without=".delta"),
        text="Good morning", reasoning="Greet first.", calls=(ROW_CALL,), reason="tool_calls", usage=TEN,
    ),
    "only the whole response": Script(
        dialect="openai-compatible", why="one event with all of the output",
        body=list(responses_events(THOUGHT, SAID, ASKED))[-1],
        text="Good morning", reasoning="Greet first.", calls=(ROW_CALL,), reason="tool_calls", usage=TEN,
    ),
    "deltas, and no output at the end": Script(
        dialect="openai-compatible", why="a server without a memory leaves it empty",
        body=sse(
            *list(responses_events(SAID, ASKED))[:-1],
            "event: response.completed",
            {
                "type": "response.completed",
                "response": {
                    "id": "resp_1", "status": "completed", "output": [],
                    "usage": {"input_tokens": 3, "output_tokens": 2},
                },
            },
            done=False,
        ),
        text="Good morning", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(3, 2),
    ),
    "llamacpp: no numbers": Script(
        dialect="llamacpp", why="no sequence_number, output_index or content_index: the item's id tells",
        body=sse(
            "event: response.output_item.added",
            {"type": "response.output_item.added", "item": {"type": "message", "id": "msg_1", "content": []}},
            "event: response.output_text.delta",
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Good "},
            "event: response.output_text.delta",
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "morning"},
            "event: response.output_text.done",
            {"type": "response.output_text.done", "item_id": "msg_1", "text": "Good morning"},
            "event: response.output_item.done",
            {"type": "response.output_item.done", "item": SAID},
            "event: response.output_item.added",
            {"type": "response.output_item.added", "item": {**ASKED, "arguments": "", "status": "in_progress"}},
            "event: response.function_call_arguments.delta",
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": '{"row":'},
            "event: response.function_call_arguments.delta",
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "7}"},
            "event: response.function_call_arguments.done",
            {"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": '{"row":7}'},
            "event: response.output_item.done",
            {"type": "response.output_item.done", "item": ASKED},
            "event: response.completed",
            {
                "type": "response.completed",
                "response": {
                    "id": "resp_1", "object": "response", "status": "completed", "output": [SAID, ASKED],
                    "usage": {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29},
                },
            },
            done=False,
        ),
        text="Good morning", calls=(ROW_CALL,), reason="tool_calls", usage=Counts(20, 9),
    ),
    "a call without arguments": Script(
        dialect="openai", why="an empty text is `{}`",
        body=responses({**ASKED, "arguments": ""}),
        calls=(Call("call_a", "read", "{}"),), reason="tool_calls", usage=TEN,
    ),
    "the limit inside a call": Script(
        dialect="openai", why="the item is done, incomplete and half; it must not run",
        body=responses(SAID, HALF, status="incomplete"),
        text="Good morning", reason="length", usage=TEN,
    ),
    "the limit inside the second call": Script(
        dialect="openai", why="the first is whole and runs; what was cut is still told",
        body=responses(ASKED, {**HALF, "id": "fc_2", "call_id": "call_b"}, status="incomplete"),
        calls=(ROW_CALL,), reason="length", usage=TEN,
    ),
    "broken arguments of a completed response": Script(
        dialect="openai", why="the server says that the call is whole, and it is not: the model is told",
        body=responses({**ASKED, "arguments": '{"row":'}),
        calls=(Call("call_a", "read", '{"row":'),), reason="tool_calls", usage=TEN,
    ),
    "the limit inside the text": Script(
        dialect="openai", why="incomplete is an end like others",
        body=responses({**SAID, "status": "incomplete"}, status="incomplete"),
        text="Good morning", reason="length", usage=TEN,
    ),
    "filtered": Script(
        dialect="openai", why="incomplete because of the filter is a refusal",
        body=responses(SAID, status="incomplete", incomplete_reason="content_filter"),
        text="Good morning", reason="refusal", usage=TEN,
    ),
    "refused": Script(
        dialect="openai", why="a part of type refusal, and the response is completed",
        body=responses({**SAID, "content": [{"type": "refusal", "refusal": "I would rather not."}]}),
        text="I would rather not.", reason="refusal", usage=TEN,
    ),
    "no usage at the end": Script(
        dialect="openai-compatible", why="nothing is known, which is not zero",
        body=responses(SAID).replace(msgspec.json.encode(msgspec.json.decode(responses_document())["usage"]), b"null"),
        text="Good morning", reason="stop",
    ),
    "failed half-way": Script(
        dialect="openai", why="the code of the response's error tells",
        body=sse(
            "event: response.output_text.delta",
            {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": "Goo"},
            done=False,
        )
        + list(responses_events(status="failed", error={"code": "rate_limit_exceeded", "message": "Too fast"}))[-1],
        text="Goo", error="RateLimitError",
    ),
    "failed, and billed": Script(
        dialect="openai", why="a failed response may have a usage: it comes before the error",
        body=responses(status="failed", usage={"input_tokens": 6}),
        usage=Counts(6, 10), error="ServerError",
    ),
    "an error event": Script(
        dialect="openai", why="the fields stand in the event itself",
        body=sse(
            "event: error",
            {"type": "error", "code": "server_is_overloaded", "message": "Come back later", "param": None},
            done=False,
        ),
        error="OverloadedError",
    ),
    "an error event of an older form": Script(
        dialect="openai", why="the error is an object inside the event",
        body=sse(
            "event: error",
            {"type": "error", "error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Slow"}},
            done=False,
        ),
        error="RateLimitError",
    ),
    "no last event": Script(
        dialect="openai", why="a clean end of the body is no end of the answer, whatever was done before it",
        body=events(responses_events(SAID, ASKED), without="response.completed"),
        text="Good morning", calls=(ROW_CALL,), error="StreamInterruptedError",
    ),
    "[DONE] instead of the last event": Script(
        dialect="openrouter", why="on this wire it says nothing",
        body=events(responses_events(SAID, names=False), without="response.completed") + b"data: [DONE]\n\n",
        text="Good morning", error="StreamInterruptedError",
    ),
    "unknown events and items": Script(
        dialect="openai", why="there will be more of them",
        body=sse("event: response.brand_new", {"type": "response.brand_new", "delta": {"x": 1}}, done=False)
        + responses({"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "dam"}}, SAID),
        text="Good morning", reason="stop", usage=TEN,
    ),
    "one JSON document": Script(
        dialect="openai-compatible", why="a server that ignores `stream`",
        body=responses_document(THOUGHT, SAID, ASKED),
        text="Good morning", reasoning="Greet first.", calls=(ROW_CALL,), reason="tool_calls", usage=TEN,
    ),
    "one JSON document of a failure": Script(
        dialect="openai-compatible", why="a response whose status is failed",
        body=responses_document(status="failed", error={"code": "rate_limit_exceeded", "message": "Too fast"}),
        error="RateLimitError",
    ),
    "a web page": Script(
        dialect="openai-compatible", why="a gateway's page, with status 200",
        body=b"<html><body>Sign in</body></html>",
        error="MalformedResponseError",
    ),
    "an error as one JSON document": Script(
        dialect="openai", why="with status 200 the code tells",
        body=b'{"error":{"message":"Too fast","type":"requests","param":null,"code":"rate_limit_exceeded"}}',
        error="RateLimitError",
    ),
}  # fmt: skip

SCRIPTS: Final[Mapping[str, Script]] = {
    **{f"chat, {name}": script for name, script in {**_VENDORS, **_CHAT}.items()},
    **{f"responses, {name}": msgspec.structs.replace(script, wire="responses") for name, script in _RESPONSES.items()},
}
