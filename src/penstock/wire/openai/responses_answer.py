"""OpenAI's Responses API, the answer: events to chunks. Pure.

Text comes in deltas, and once more in the `done` events and in the whole response at the end; some servers leave out
one or the other. So what has been said is counted, and whatever a later and fuller account has beyond it is said then.
Sources: https://platform.openai.com/docs/api-reference/responses-streaming, the openai SDK 3.54, recorded streams of
OpenAI, OpenRouter, xAI, DeepSeek and others, read 2026-11-21; llama.cpp's server of 2026-10-01.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Final

import msgspec

from penstock.core.chunks import Chunk, OpaqueChunk, ReasoningChunk, StopChunk, StopReason, TextChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.core.provider_config import MAX_ARGUMENTS
from penstock.wire.answer_reader import EventDecoder
from penstock.wire.errors import decode_whole, stream_error
from penstock.wire.event_json import NOTHING, UNDECODABLE, decode, event_type, repaired, shown
from penstock.wire.finish import failure, says_limit, stop_reason
from penstock.wire.openai.client_items import beside_function, client_call
from penstock.wire.openai.responses_events import (
    Delta,
    Incomplete,
    Item,
    ItemDelta,
    ItemEvent,
    ItemType,
    Response,
    ResponseEvent,
)
from penstock.wire.openai.said import Said
from penstock.wire.openai.tool_calls import Calls, ItemCall, Place
from penstock.wire.openai.usage import UsageState
from penstock.wire.sse import Event

__all__ = ["ResponsesDecoder"]

_FAILURES: Final = ("failed", "cancelled")
_DELTA: Final = b"response.output_text.delta"
_LIMIT: Final = "max_output_tokens"
_NAMELESS_DELTA: Final = b'"type":"response.output_text.delta"'  # OpenRouter names no event

_delta = msgspec.json.Decoder(Delta)
_item_delta = msgspec.json.Decoder(ItemDelta)
_item = msgspec.json.Decoder(Item)
_item_type = msgspec.json.Decoder(ItemType)
_item_event = msgspec.json.Decoder(ItemEvent)
_response = msgspec.json.Decoder(Response)
_response_event = msgspec.json.Decoder(ResponseEvent)


class ResponsesDecoder(EventDecoder):
    """The answers of the Responses API. They never just may end: the last event has both, the reason and the usage."""

    def __init__(self, meter: Meter, dialect: Dialect, account: str = "", max_arguments: int = MAX_ARGUMENTS) -> None:
        super().__init__(meter, dialect)
        self._decode = self._halves.decoding(_delta)
        self._vendor = dialect.name
        self._account = account
        self._usage = UsageState(meter, dialect)
        self._counts = self._usage.counts
        self._calls = Calls(dialect.name, max_arguments)
        self._text, self._thought = Said(), Said()
        self._ended: set[int | str | None] = set()  # items, by place and by id
        self._feeds = 0
        self._begun = self._item_count = 0  # items that were announced, and those that have ended
        self._searches = 0
        self._refused = False
        self._answer = Response()

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """See EventDecoder."""
        if self.done:
            return
        self._feeds += 1
        if not self._feeds % 64:
            self._text.forget()
        for name, data, _ in events:
            if name != _DELTA and (name or _NAMELESS_DELTA not in data[:64]):
                yield from self._rare(name, data)
                if self.done:
                    return
                continue
            # Nine of ten events are a piece of text: the short way for them.
            try:
                text = self._decode(data).delta
            except UNDECODABLE as error:
                text = repaired(_delta, name, data, error, self._halves).delta
                self._decode = self._halves.decoding(_delta)
            if text:
                self._text.write(text)
                self._counts.content = True
                yield TextChunk(text)

    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """See EventDecoder."""
        response = decode_whole(_response, b"response", body)
        if response.object != "response" and response.output is None:
            raise stream_error(body, self._dialect.request_faults)
        yield from self._end(response, body)

    def _piece(self, name: bytes, data: bytes) -> ItemDelta:
        try:
            return self._halves.decoding(_item_delta)(data)
        except UNDECODABLE as error:
            piece = repaired(_item_delta, name, data, error, self._halves)
            self._decode = self._halves.decoding(_delta)
            return piece

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
        self._answer = decode(_response_event, b"response.created", data).response or self._answer
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
        text = self._piece(b"response.reasoning_text.delta", data).delta
        if text:
            self._thought.write(text)
            yield ReasoningChunk(text=text)

    def _reasoning_done(self, data: bytes) -> Iterator[Chunk]:
        missing = self._thought.part(decode(_item_delta, b"response.reasoning_text.done", data).text or "")
        if missing:
            yield ReasoningChunk(text=missing)

    def _arguments_delta(self, data: bytes) -> Iterator[Chunk]:
        event = self._piece(b"response.function_call_arguments.delta", data)
        self.held += bool(event.delta)
        yield from self._calls.add((event.output_index, event.item_id), event.delta or "")

    def _arguments_done(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_item_delta, b"response.function_call_arguments.done", data)
        self.held += bool(event.arguments)
        self._calls.replace((event.output_index, event.item_id), event.arguments or event.input)
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
        is_text = kind.type == "custom_tool_call" and kind.type not in self._dialect.server_calls
        if is_text or kind.type == "function_call":
            item = decode(_item, b"response.output_item.added", raw)
            beside = '{"type":"custom_tool_call"}' if is_text else beside_function(raw)
            call = ItemCall(item.call_id or "", item.name or "", beside=beside, is_text=is_text)
            yield from self._calls.begin((event.output_index, kind.id), call)

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
        self._usage.has_fee = self._usage.has_fee or kind.type in self._dialect.fee_items
        call = None if kind.type in self._dialect.server_calls else client_call(kind.type or "", raw)
        if call is not None:
            yield from self._calls.end((index, kind.id), call)
            return
        if kind.type == "web_search_call":
            # It opens pages and searches in them as well, which is not billed.
            did = kind.action.get("type") if isinstance(kind.action, dict) else None
            self._searches += did in (None, "search")
        yield OpaqueChunk(vendor=self._vendor, data=raw.decode())

    def _message(self, raw: bytes, item: Item, place: Place) -> Iterator[Chunk]:
        parts = item.content or []
        self._refused = self._refused or any(part.refusal for part in parts)
        text = "".join(part.text or part.refusal or "" for part in parts)
        missing = self._text.item(text, last=self._begun == self._item_count)
        if missing:
            yield TextChunk(missing)
        if item.phase is not None or any(part.annotations for part in parts):
            # The vendor wants its phase back, and what it has cited is part of it.
            yield OpaqueChunk(vendor=self._vendor, data=raw.decode(), text=text)

    def _reasoning(self, raw: bytes, item: Item, place: Place) -> Iterator[Chunk]:
        text = "".join(part.text or "" for part in (*(item.summary or ()), *(item.content or ())))
        missing = self._thought.item(text, last=self._begun == self._item_count)
        if missing:
            yield ReasoningChunk(text=missing)
        if item.encrypted_content or item.content:
            # Otherwise only the vendor's memory holds it, and we do not ask for that.
            yield ReasoningChunk(proof=raw.decode(), vendor=self._vendor, account=self._account)

    def _call(self, raw: bytes, item: Item, place: Place) -> Iterator[Chunk]:
        call = ItemCall(item.call_id or "", item.name or "", item.arguments, beside_function(raw))
        yield from self._calls.end(place, call)

    def _last(self, data: bytes, status: str) -> Iterator[Chunk]:
        """The event whose name says *status*; one that is called completed may know better."""
        response = decode(_response_event, f"response.{status}".encode(), data).response
        if response is None and status == "failed":
            raise stream_error(data, self._dialect.request_faults)
        if response is None:
            raise MalformedResponseError(f"the event `response.{status}` holds no response: {shown(data)}")
        if status != "completed" or response.status not in (*_FAILURES, "incomplete"):
            response.status = status
        return self._end(response, data)

    def _end(self, response: Response, data: bytes) -> Iterator[Chunk]:
        items = [bytes(raw) for raw in response.output or () if bytes(raw) != b"null"]
        self._calls.response_id = response.id or self._answer.id or ""
        if len(items) > self._item_count:
            ended = self._ended.copy()  # two items of one answer may have the same id: xAI's
            for place, raw in enumerate(items):
                if place not in ended and decode(_item_type, b"response", raw).id not in ended:
                    yield from self._finished(raw, place)
        self._usage.answered(response.model)
        yield from self._usage.report(response.usage, response.service_tier, self._searches, cost=response.cost)
        if bytes(response.error) not in NOTHING:
            response = yield from self._cut(response, data)
        if not (response.status or self._has_begun or self._meter.total.output_tokens):
            raise StreamInterruptedError("the answer is empty, and the vendor gave no reason for its end")
        if response.status in (*_FAILURES, "queued", "in_progress"):
            said = f"the vendor ended the answer with the status {response.status!r}"
            yield from self._usage.fail(StreamInterruptedError(said))
        why = response.incomplete_details.reason if response.incomplete_details is not None else None
        reason: StopReason = "stop"
        incomplete = response.status == "incomplete" or why is not None
        if incomplete:
            yield from self._usage.fail(failure(why))
            reason = stop_reason(why)
        # What a server calls completed although it was cut off shows only in its last call.
        yield from self._calls.deliver(final=True, cut=incomplete or not self._dialect.says_cut, normal=not incomplete)
        if self._calls.cut and reason == "stop":
            reason = "length"
        self.done = True
        if self._refused and reason == "stop":
            reason = "refusal"
        yield from self._usage.end()
        yield StopChunk(
            reason=self._calls.reason(reason),
            raw_reason=why or response.status,
            response_id=response.id or self._answer.id,
            model=response.model or self._answer.model,
        )

    @property
    def _has_begun(self) -> bool:
        return bool(self._begun or self._item_count or self._text.size)

    def _cut(self, response: Response, data: bytes) -> Generator[Chunk, None, Response]:
        """Raise the error in *data*, but for the one that says that the answer has no more room: that is an end."""
        error = stream_error(data, self._dialect.request_faults)
        if not self._has_begun or not says_limit(error.message):
            yield from self._usage.fail(error)
        return msgspec.structs.replace(
            response, status="incomplete", incomplete_details=Incomplete(_LIMIT), error=msgspec.Raw()
        )

    def _error(self, data: bytes) -> Iterator[Chunk]:
        response = yield from self._cut(self._answer, data)
        yield from self._end(response, data)


_ITEMS: dict[str, Callable[[ResponsesDecoder, bytes, Item, Place], Iterator[Chunk]]] = {
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
    b"response.custom_tool_call_input.delta": ResponsesDecoder._arguments_delta,
    b"response.custom_tool_call_input.done": ResponsesDecoder._arguments_done,
    b"response.output_item.done": ResponsesDecoder._item_done,
    b"response.completed": partial(ResponsesDecoder._last, status="completed"),
    b"response.incomplete": partial(ResponsesDecoder._last, status="incomplete"),
    b"response.failed": partial(ResponsesDecoder._last, status="failed"),
    b"response.error": ResponsesDecoder._error,  # OpenRouter
    b"error": ResponsesDecoder._error,
}
