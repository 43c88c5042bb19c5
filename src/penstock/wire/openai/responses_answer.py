"""OpenAI's Responses API, the answer: events to chunks. Pure.

Text comes in deltas, and once more in the `done` events and in the whole response at the end; some servers leave out
one or the other. So what has been said is counted, and whatever a later and fuller account has beyond it is said then.
Sources: https://platform.openai.com/docs/api-reference/responses-streaming, the openai SDK 3.54, recorded streams of
OpenAI, OpenRouter, xAI, DeepSeek and others, read 2026-11-21; llama.cpp's server of 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from penstock.core.chunks import Chunk, OpaqueChunk, ReasoningChunk, StopChunk, StopReason, TextChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.wire.event_json import UNDECODABLE, decode, event_type, repaired
from penstock.wire.openai.errors import decode_whole, stream_error
from penstock.wire.openai.tool_calls import Arguments, Calls, Place
from penstock.wire.openai.usage import UsageState
from penstock.wire.sse import Event

__all__ = ["ResponsesDecoder"]

# Of `incomplete_details.reason`; any other word is `other`.
_INCOMPLETE: dict[str | None, StopReason] = {"max_output_tokens": "length", "content_filter": "refusal"}
_FAILURES: Final = ("failed", "cancelled")
_DELTA: Final = b"response.output_text.delta"
_NAMELESS_DELTA: Final = b'"type":"response.output_text.delta"'  # OpenRouter names no event


class _Delta(msgspec.Struct, gc=False):
    delta: str | None = None


class _ItemDelta(msgspec.Struct, gc=False):
    """A piece, or in the events called `done` the whole."""

    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: Arguments = None
    item_id: str | None = None
    output_index: int | None = None


class _Text(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None
    annotations: list[msgspec.Raw] | None = None


class _Item(msgspec.Struct):
    """The fields of the items that have a neutral form; other items may use their names for other things."""

    content: list[_Text] | None = None
    summary: list[_Text] | None = None
    encrypted_content: str | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Arguments = None


class _ItemType(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    action: Any = None  # of a web search


class _ItemEvent(msgspec.Struct):
    item: msgspec.Raw = msgspec.Raw(b"null")
    output_index: int | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    cost: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None
    incomplete_details: _Incomplete | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


class _ResponseEvent(msgspec.Struct):
    response: _Response


class _FailedEvent(msgspec.Struct):
    response: _Response | None = None  # Perplexity has only the error


_decode_delta = msgspec.json.Decoder(_Delta).decode
_item_delta = msgspec.json.Decoder(_ItemDelta)
_item = msgspec.json.Decoder(_Item)
_item_type = msgspec.json.Decoder(_ItemType)
_item_event = msgspec.json.Decoder(_ItemEvent)
_response = msgspec.json.Decoder(_Response)
_response_event = msgspec.json.Decoder(_ResponseEvent)
_failed_event = msgspec.json.Decoder(_FailedEvent)


class _Said:
    """How much of a text has been said, in characters, so that a fuller account of it is said only from there on."""

    __slots__ = ("parts", "text")

    def __init__(self) -> None:
        self.text = 0  # of the items that have not ended
        self.parts = 0  # of which in parts that have

    def part(self, text: str) -> str:
        """What is missing of a part that has ended."""
        missing = text[max(0, self.text - self.parts) :]
        self.text += len(missing)
        self.parts += len(text)
        return missing

    def item(self, text: str, *, last: bool) -> str:
        """What is missing of an item that has ended. last: every item that has begun has now ended."""
        said = min(len(text), self.text)
        self.text = 0 if last else self.text - said  # a delta may have had more than the item: a line's end
        self.parts = max(0, self.parts - len(text))
        return text[said:]


class ResponsesDecoder:
    """Turns the events of one answer into chunks. It holds the state of that answer and of no other."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        self.done = False
        """The vendor has said that the message is complete; what comes after that is not looked at."""
        self.held = 0
        """How many events have brought content for which there is no chunk yet."""
        self._vendor = dialect.name
        self._says_cut = dialect.says_cut
        self._usage = UsageState(meter, dialect)
        self._counts = self._usage.counts
        self._fee_items = dialect.fee_items
        self._calls = Calls()
        self._text, self._thought = _Said(), _Said()
        self._ended: set[int | str | None] = set()  # items, by place and by id
        self._begun = self._item_count = 0  # items that were announced, and those that have ended
        self._searches = 0
        self._refused = False
        self._answer = _Response()

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """The chunks of *events*, each as soon as it is known.

        Raises, after the chunks before it, MalformedResponseError or what the vendor's own error event says.
        """
        for name, data, _ in events:
            if self.done:
                return
            if name != _DELTA and (name or _NAMELESS_DELTA not in data[:64]):
                yield from self._rare(name, data)
                continue
            # Nine of ten events are a piece of text: the short way for them.
            try:
                text = _decode_delta(data).delta
            except UNDECODABLE as error:
                text = repaired(_decode_delta, name, data, error).delta
            if text:
                self._text.text += len(text)
                self._counts.content = True
                yield TextChunk(text)

    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """The chunks of an answer that came as one JSON document, as from a server that ignores `stream`."""
        response = decode_whole(_response, b"response", body)
        if response.object != "response" and response.output is None:
            raise stream_error(body)
        yield from self._end(response, body)

    def close(self) -> Iterator[Chunk]:
        """No chunks. Raises StreamInterruptedError unless the vendor has said that the message is complete."""
        if not self.done:
            raise StreamInterruptedError("the stream ended before the vendor said that the message is complete")
        return iter(())

    def _rare(self, name: bytes, data: bytes) -> Iterator[Chunk]:
        if name not in _HANDLERS:
            # A gateway may send no name, or one of its own: then the type inside says what it is.
            name = event_type(name, data)
        if name == _DELTA:
            return self.feed([(name, data, b"")])
        handler = _HANDLERS.get(name)
        if handler is None:
            if not name and b'"chat.completion' in data[:200]:
                raise MalformedResponseError(
                    "the server answers with chat completions: set the config's `wire` to chat"
                )
            if name == b"message_start":
                raise MalformedResponseError("the server answers with Anthropic's API: use AnthropicProvider")
            self.held += name.endswith(b".delta")
            return iter(())
        return handler(self, data)

    def _created(self, data: bytes) -> Iterator[Chunk]:
        self._answer = decode(_response_event, b"response.created", data).response
        self._calls.response_id = self._answer.id or ""
        self._usage.answered(self._answer.model)
        return iter(())

    def _text_done(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_delta, b"response.output_text.done", data)
        self._refused = self._refused or bool(event.refusal)
        missing = self._text.part(event.text or event.refusal or "")
        if missing:
            yield TextChunk(missing)

    def _refusal_delta(self, data: bytes) -> Iterator[Chunk]:
        self._refused = True
        return self.feed([(_DELTA, data, b"")])

    def _reasoning_delta(self, data: bytes) -> Iterator[Chunk]:
        text = decode(_item_delta, b"response.reasoning_text.delta", data).delta
        if text:
            self._thought.text += len(text)
            yield ReasoningChunk(text=text)

    def _reasoning_done(self, data: bytes) -> Iterator[Chunk]:
        missing = self._thought.part(decode(_item_delta, b"response.reasoning_text.done", data).text or "")
        if missing:
            yield ReasoningChunk(text=missing)

    def _arguments_delta(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_delta, b"response.function_call_arguments.delta", data)
        self.held += bool(event.delta)
        yield from self._calls.add((event.output_index, event.item_id), event.delta or "")

    def _arguments_done(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_delta, b"response.function_call_arguments.done", data)
        self.held += bool(event.arguments)
        self._calls.replace((event.output_index, event.item_id), event.arguments)
        return iter(())

    def _item_added(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_event, b"response.output_item.added", data)
        raw = bytes(event.item)
        if raw == b"null":
            return
        self._begun += 1
        kind = decode(_item_type, b"response.output_item.added", raw)
        # Reasoning is announced at once, and then thought about for minutes.
        self.held += kind.type not in ("reasoning", "message")
        if kind.type == "function_call":
            call = decode(_item, b"response.output_item.added", raw)
            yield from self._calls.begin((event.output_index, kind.id), call.call_id or "", call.name or "")

    def _item_done(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_event, b"response.output_item.done", data)
        return self._finished(bytes(event.item), event.output_index)

    def _finished(self, raw: bytes, index: int | None) -> Iterator[Chunk]:
        if raw == b"null":
            return
        raw = raw.decode("utf-8", "replace").encode()  # it is handed on as text, so it must be text
        kind = decode(_item_type, b"response.output_item.done", raw)
        self._ended |= {index, kind.id} - {None}
        self._item_count += 1
        reader = _ITEMS.get(kind.type or "")
        self._counts.content = self._counts.content or kind.type != "reasoning"
        if reader is not None:
            yield from reader(self, raw, decode(_item, b"response.output_item.done", raw), (index, kind.id))
            return
        self._usage.has_fee = self._usage.has_fee or kind.type in self._fee_items
        if kind.type == "web_search_call":
            # It opens pages and searches in them as well, which is not billed.
            did = kind.action.get("type") if isinstance(kind.action, dict) else None
            self._searches += did in (None, "search")
        yield OpaqueChunk(vendor=self._vendor, data=raw.decode())

    def _message(self, raw: bytes, item: _Item, place: Place) -> Iterator[Chunk]:
        parts = item.content or []
        self._refused = self._refused or any(part.refusal for part in parts)
        text = "".join(part.text or part.refusal or "" for part in parts)
        missing = self._text.item(text, last=self._begun == self._item_count)
        if missing:
            yield TextChunk(missing)
        if item.phase is not None or any(part.annotations for part in parts):
            # The vendor wants its phase back, and what it has cited is part of it.
            yield OpaqueChunk(vendor=self._vendor, data=raw.decode(), text=text)

    def _reasoning(self, raw: bytes, item: _Item, place: Place) -> Iterator[Chunk]:
        text = "".join(part.text or "" for part in (*(item.summary or ()), *(item.content or ())))
        missing = self._thought.item(text, last=self._begun == self._item_count)
        if missing:
            yield ReasoningChunk(text=missing)
        if item.encrypted_content or item.content:
            # Otherwise only the vendor's memory holds it, and we do not ask for that.
            yield ReasoningChunk(proof=raw.decode(), vendor=self._vendor)

    def _call(self, raw: bytes, item: _Item, place: Place) -> Iterator[Chunk]:
        yield from self._calls.end(place, item.call_id or "", item.name or "", item.arguments)

    def _completed(self, data: bytes) -> Iterator[Chunk]:
        response = decode(_response_event, b"response.completed", data).response
        if response.status not in _FAILURES:
            response.status = response.status if response.status == "incomplete" else "completed"
        return self._end(response, data)

    def _incomplete(self, data: bytes) -> Iterator[Chunk]:
        response = decode(_response_event, b"response.incomplete", data).response
        response.status = "incomplete"
        return self._end(response, data)

    def _failed(self, data: bytes) -> Iterator[Chunk]:
        response = decode(_failed_event, b"response.failed", data).response
        if response is None:
            raise stream_error(data)
        response.status = "failed"
        return self._end(response, data)

    def _end(self, response: _Response, data: bytes) -> Iterator[Chunk]:
        items = [bytes(raw) for raw in response.output or () if bytes(raw) != b"null"]
        self._calls.response_id = response.id or self._answer.id or ""
        if len(items) > self._item_count:
            ended = self._ended.copy()  # two items of one answer may have the same id: xAI's
            for place, raw in enumerate(items):
                if place not in ended and decode(_item_type, b"response", raw).id not in ended:
                    yield from self._finished(raw, place)
        self._usage.answered(response.model)
        yield from self._usage.report(response.usage, response.service_tier, self._searches, cost=response.cost)
        if bytes(response.error) not in (b"", b"null", b"{}"):
            yield from self._usage.fail()
            raise stream_error(data)
        if response.status in (*_FAILURES, "queued", "in_progress"):
            yield from self._usage.fail()
            raise StreamInterruptedError(f"the vendor ended the answer with the status {response.status!r}")
        why = response.incomplete_details.reason if response.incomplete_details is not None else None
        reason: StopReason = "stop"
        incomplete = response.status == "incomplete" or why is not None
        if incomplete:
            reason = _INCOMPLETE.get(why, "other")
        # What a server calls completed although it was cut off shows only in its last call.
        yield from self._calls.deliver(final=True, cut=incomplete or not self._says_cut)
        if self._calls.cut and reason == "stop":
            reason = "length"
        self.done = True
        if self._refused and reason == "stop":
            reason = "refusal"
        yield from self._usage.end()
        yield StopChunk(
            reason="tool_calls" if self._calls.delivered and not self._calls.cut else reason,
            raw_reason=why or response.status,
            response_id=response.id or self._answer.id,
            model=response.model or self._answer.model,
        )

    def _error(self, data: bytes) -> Iterator[Chunk]:
        raise stream_error(data)


_ITEMS: dict[str, Callable[[ResponsesDecoder, bytes, _Item, Place], Iterator[Chunk]]] = {
    "message": ResponsesDecoder._message,
    "reasoning": ResponsesDecoder._reasoning,
    "function_call": ResponsesDecoder._call,
}
_HANDLERS: dict[bytes, Callable[[ResponsesDecoder, bytes], Iterator[Chunk]]] = {
    b"response.created": ResponsesDecoder._created,
    b"response.output_text.done": ResponsesDecoder._text_done,
    b"response.refusal.delta": ResponsesDecoder._refusal_delta,
    b"response.refusal.done": ResponsesDecoder._text_done,
    b"response.reasoning_text.delta": ResponsesDecoder._reasoning_delta,
    b"response.reasoning_text.done": ResponsesDecoder._reasoning_done,
    b"response.reasoning_summary_text.delta": ResponsesDecoder._reasoning_delta,
    b"response.reasoning_summary_text.done": ResponsesDecoder._reasoning_done,
    b"response.output_item.added": ResponsesDecoder._item_added,
    b"response.function_call_arguments.delta": ResponsesDecoder._arguments_delta,
    b"response.function_call_arguments.done": ResponsesDecoder._arguments_done,
    b"response.output_item.done": ResponsesDecoder._item_done,
    b"response.completed": ResponsesDecoder._completed,
    b"response.incomplete": ResponsesDecoder._incomplete,
    b"response.failed": ResponsesDecoder._failed,
    b"response.error": ResponsesDecoder._error,  # OpenRouter
    b"error": ResponsesDecoder._error,
}
