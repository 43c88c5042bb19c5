"""OpenAI's answers on both of its wires, written out: the bytes that a script for the emulator is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from penstock.testing.emulator import ServerReply
from penstock.testing.events import cut, data_event, json_reply, json_text

__all__ = [
    "ChatForm",
    "chat_completion",
    "chat_document",
    "chat_events",
    "openai_count",
    "openai_error",
    "openai_models",
    "responses_document",
    "responses_events",
    "responses_message",
]

_DONE: Final = b"data: [DONE]\n\n"


class ChatForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a server forms its chat completions. Many call theirs OpenAI's; the defaults are how OpenAI's own does it.

    reasoning_field: where the reasoning stands; OpenAI itself shows none.
    whole_calls: each tool call comes in one piece. call_ids: which pieces of a call bring its id and name.
    call_index: `shared` is a 0 for every call, `none` leaves it out.
    finish_alone: the finish reason has a chunk of its own, not the last chunk of the content.
    usage_place: `last` is a chunk without choices, `finish` the chunk of the finish reason, `choice` inside that
        chunk's choice, `x_groq` inside that chunk's `x_groq`, `every` growing on each chunk, `none` nowhere.
    done: `[DONE]` comes at the end.
    """

    reasoning_field: str = "reasoning_content"
    whole_calls: bool = False
    call_ids: Literal["first", "every"] = "first"
    call_index: Literal["own", "shared", "none"] = "own"
    finish_alone: bool = True
    usage_place: Literal["last", "finish", "choice", "x_groq", "every", "none"] = "last"
    done: bool = True


_OPENAI: Final = ChatForm()


def chat_events(
    *,
    text: str = "",
    reasoning: str = "",
    refusal: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    model: str = "gpt-6.1-sol",
    piece: int = 8,
    form: ChatForm = _OPENAI,
) -> Iterator[bytes]:
    """The events of a streamed chat completion, one piece of bytes each.

    tool_calls: `id`, `name` and `arguments` (text, or what is to become text), and what else is to stand in a call.
    finish_reason: None is `stop`, or `tool_calls` when there are calls; an empty one is never sent.
    usage: laid over an ordinary one. piece: characters of a delta.
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    for field, value in ((form.reasoning_field, reasoning), ("content", text), ("refusal", refusal)):
        deltas += ({field: part} for part in cut(value, piece))
    for index, call in enumerate(tool_calls):
        deltas += ({"tool_calls": [fragment]} for fragment in _fragments(index, call, piece, form))
    reason = _finish_reason(finish_reason, tool_calls)
    if reason and form.finish_alone:
        deltas.append({})
    counts = _usage("prompt", "completion", usage)
    head = {"id": "chatcmpl-emulated", "object": "chat.completion.chunk", "created": 1790000000, "model": model}
    for number, delta in enumerate(deltas, 1):
        last = number == len(deltas)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": (reason or None) if last else None}
        chunk: dict[str, Any] = {**head, "choices": [choice]}
        if form.usage_place == "every":
            chunk["usage"] = counts if last else _so_far(counts, number, len(deltas))
        elif form.usage_place == "last":
            chunk["usage"] = None
        elif last:
            _place(counts, chunk, form)
        yield data_event(**chunk)
    if form.usage_place == "last":
        yield data_event(**head, choices=[], usage=counts)
    if form.done:
        yield _DONE


def chat_completion(**options: Any) -> Sequence[bytes]:
    """The same as a body for a ServerReply; the options are those of `chat_events`."""
    return list(chat_events(**options))


def chat_document(
    *,
    text: str = "",
    reasoning: str = "",
    refusal: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    model: str = "gpt-6.1-sol",
    form: ChatForm = _OPENAI,
) -> bytes:
    """The same answer as one JSON document: what a request without `stream` gets. The options as in `chat_events`."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    if reasoning:
        message[form.reasoning_field] = reasoning
    if tool_calls:
        message["tool_calls"] = [_call(call, json_text(call.get("arguments", ""))) for call in tool_calls]
    reason = _finish_reason(finish_reason, tool_calls)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason or None}
    document = {"id": "chatcmpl-emulated", "object": "chat.completion", "created": 1790000000, "model": model}
    return msgspec.json.encode({**document, "choices": [choice], "usage": _usage("prompt", "completion", usage)})


def openai_error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ServerReply:
    """An answer with a failing status, in the API's own form. kind: the error's `type`."""
    document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return json_reply(document, status, {"x-request-id": "req_emulated", **(headers or {})})


def openai_count(tokens: int) -> ServerReply:
    """The answer to a request that only counts its prompt."""
    return json_reply({"object": "response.input_tokens", "input_tokens": tokens})


def openai_models(*models: str | Mapping[str, Any]) -> ServerReply:
    """The list of these models: by their ids, or with more fields, which many servers add."""
    plain = {"object": "model", "created": 1_793_491_200, "owned_by": "emulator"}
    data = [{**plain, **({"id": each} if isinstance(each, str) else each)} for each in models]
    return json_reply({"object": "list", "data": data})


def _fragments(index: int, call: Mapping[str, Any], piece: int, form: ChatForm) -> Iterator[dict[str, Any]]:
    text = json_text(call.get("arguments", ""))
    place = {"own": {"index": index}, "shared": {"index": 0}, "none": {}}[form.call_index]
    for number, part in enumerate([text] if form.whole_calls else ["", *cut(text, piece)]):
        if number == 0 or form.call_ids == "every":
            yield {**place, **_call(call, part)}
        else:
            yield {**place, "function": {"arguments": part}}


def _call(call: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    rest = {key: value for key, value in call.items() if key not in ("name", "arguments")}
    return {"type": "function", **rest, "function": {"name": call["name"], "arguments": arguments}}


def _finish_reason(given: str | None, tool_calls: Sequence[Mapping[str, Any]]) -> str:
    return ("tool_calls" if tool_calls else "stop") if given is None else given


def _so_far(counts: Mapping[str, Any], number: int, of: int) -> dict[str, Any]:
    prompt, completion = counts["prompt_tokens"], counts["completion_tokens"] * number // of
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _place(counts: dict[str, Any], chunk: dict[str, Any], form: ChatForm) -> None:
    if form.usage_place == "finish":
        chunk["usage"] = counts
    elif form.usage_place == "choice":
        chunk["choices"][0]["usage"] = counts
    elif form.usage_place == "x_groq":
        chunk["x_groq"] = {"id": "req_emulated", "usage": counts}


# Of each list of parts in an item: the events of a part, and how they say which one it is.
_LISTS: Final = {
    "summary": ("response.reasoning_summary_part", "summary_index"),
    "content": ("response.content_part", "content_index"),
}
# Of each kind of part: the events of its text, and the text's name.
_PARTS: Final = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "summary_text": ("response.reasoning_summary_text", "text"),
    "reasoning_text": ("response.reasoning_text", "text"),
}
_Pairs = Iterator[tuple[str, dict[str, Any]]]


def responses_events(
    *items: Mapping[str, Any],
    usage: Mapping[str, Any] | None = None,
    status: Literal["completed", "incomplete", "failed"] = "completed",
    incomplete_reason: str = "max_output_tokens",
    error: Mapping[str, Any] | None = None,
    model: str = "gpt-6.1-sol",
    piece: int = 8,
    names: bool = True,
) -> Iterator[bytes]:
    """The events of a streamed response with these output items, one piece of bytes each.

    items: as in the API's `output`; the text of messages, reasoning and function calls streams, others come whole.
    usage: laid over an ordinary one; a failed response has none unless it is given. status: of the response.
    incomplete_reason: of an incomplete one. error: of a failed one, laid over an ordinary one.
    piece: characters of a delta. names: the events have `event:` lines.
    """
    output = [_item(index, item) for index, item in enumerate(items)]
    nothing = {"error": None, "incomplete_details": None, "usage": None}
    start = {"id": "resp_emulated", "object": "response", "created_at": 1790000000, "status": "in_progress"}
    start |= {"model": model, "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **nothing}
    pairs = [(f"response.{name}", {"response": start}) for name in ("created", "in_progress")]
    for index, item in enumerate(output):
        pairs += _item_events(index, item, piece)
    end: dict[str, Any] = {**start, "status": status, "output": output}
    if status == "failed":
        end["error"] = {"code": "server_error", "message": "The model failed.", **(error or {})}
    elif status == "incomplete":
        end["incomplete_details"] = {"reason": incomplete_reason}
    if status != "failed" or usage is not None:
        end["usage"] = _usage("input", "output", usage)
    pairs.append((f"response.{status}", {"response": end}))
    for number, (name, fields) in enumerate(pairs):
        event = data_event(type=name, **fields, sequence_number=number)
        yield b"event: %b\n%b" % (name.encode(), event) if names else event


def responses_message(*items: Mapping[str, Any], **options: Any) -> Sequence[bytes]:
    """The same as a body for a ServerReply; the options are those of `responses_events`."""
    return list(responses_events(*items, **options))


def responses_document(*items: Mapping[str, Any], **options: Any) -> bytes:
    """The same answer as one JSON document: what a request without `stream` gets."""
    *_, last = responses_events(*items, **options, names=False)
    return msgspec.json.encode(msgspec.json.decode(last.removeprefix(b"data: "))["response"])


def _item(index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    full = {"id": f"item_{index}", "status": "completed", **item}
    if item["type"] == "function_call":
        full["arguments"] = json_text(item.get("arguments", ""))
    elif item["type"] == "message":
        full["role"] = "assistant"
        full["content"] = [{"annotations": [], **part} if "text" in part else part for part in item["content"]]
    return full


def _item_events(index: int, item: dict[str, Any], piece: int) -> _Pairs:
    place = {"output_index": index}
    streams = item["type"] in ("message", "reasoning", "function_call")
    empty = {"summary": [], "content": [], "arguments": ""} if streams else {}
    # Encrypted content may be unfinished when the item is added, so that nobody may take it from there.
    start = {key: empty.get(key, value) for key, value in item.items() if key != "encrypted_content"}
    yield "response.output_item.added", {**place, "item": {**start, "status": "in_progress"}}
    inside = {"item_id": item["id"], **place}
    for field, (name, number) in _LISTS.items() if streams else ():
        for count, part in enumerate(item.get(field) or ()):
            yield from _part_events(name, {**inside, number: count}, part, piece)
    if item["type"] == "function_call":
        for text in cut(item["arguments"], piece):
            yield "response.function_call_arguments.delta", {**inside, "delta": text}
        yield "response.function_call_arguments.done", {**inside, "arguments": item["arguments"]}
    yield "response.output_item.done", {**place, "item": item}


def _part_events(name: str, inside: dict[str, Any], part: Mapping[str, Any], piece: int) -> _Pairs:
    stem, field = _PARTS[part["type"]]
    start = {key: [] if key == "annotations" else value for key, value in part.items()}
    yield f"{name}.added", {**inside, "part": {**start, field: ""}}
    logprobs: dict[str, Any] = {"logprobs": []} if part["type"] == "output_text" else {}
    for text in cut(part[field], piece):
        yield f"{stem}.delta", {**inside, "delta": text, **logprobs}
    for number, annotation in enumerate(part.get("annotations", ())):
        yield f"{stem}.annotation.added", {**inside, "annotation_index": number, "annotation": annotation}
    yield f"{stem}.done", {**inside, field: part[field], **logprobs}
    yield f"{name}.done", {**inside, "part": part}


def _usage(prompt: str, answer: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """The counts under the names that a wire has for them."""
    counts = {f"{prompt}_tokens": 10, f"{answer}_tokens": 10, **(usage or {})}
    details = {
        f"{prompt}_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        f"{answer}_tokens_details": {"reasoning_tokens": 0},
    }
    return {"total_tokens": counts[f"{prompt}_tokens"] + counts[f"{answer}_tokens"], **details, **counts}
