"""Anthropic's Messages API, the answer: events to chunks. Pure: no I/O, no clock, no SDK.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21, and 292 recorded streams.
Blocks come one after the other, each with an index. llama.cpp ends them all only at the end of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from penstock.core.chunks import (
    Chunk,
    OpaqueChunk,
    ReasoningChunk,
    StopChunk,
    StopReason,
    TextChunk,
    ToolCallChunk,
    ToolCallDeltaChunk,
)
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.wire.anthropic.errors import stream_error
from penstock.wire.anthropic.usage import Usage, UsageState
from penstock.wire.event_json import UNDECODABLE, broken_call, decode, event_type, is_object, repaired, shown
from penstock.wire.sse import Event
from penstock.wire.vendors import ANTHROPIC

__all__ = ["AnthropicDecoder"]

# https://platform.claude.com/docs/en/api/messages, read 2026-11-21. Any other word is `other`.
_REASONS: dict[str | None, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
    "compaction": "pause",
}
_DELTA: Final = b"content_block_delta"
_NEUTRAL: Final = ("text", "thinking", "redacted_thinking", "tool_use")


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None


class _DeltaEvent(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    index: int | None = None


class _RareDelta(msgspec.Struct):
    """The fields of the deltas that are too rare to be looked for in each; empty where there is none."""

    citation: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()


class _RareDeltaEvent(msgspec.Struct):
    delta: _RareDelta


class _BlockType(msgspec.Struct):
    type: str | None = None


class _BlockStart(msgspec.Struct):
    """The fields of the blocks that have a neutral form. Other blocks may use the same names for other things."""

    text: str | None = None
    citations: list[msgspec.Raw] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()


class _BlockStartEvent(msgspec.Struct):
    content_block: msgspec.Raw
    index: int | None = None


class _BlockStopEvent(msgspec.Struct):
    index: int | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: Usage | None = None


class _MessageStartEvent(msgspec.Struct):
    message: _Message | None = None


class _MessageEnd(msgspec.Struct):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _MessageDeltaEvent(msgspec.Struct):
    delta: _MessageEnd | None = None
    usage: Usage | None = None


class _WholeMessage(_Message):
    type: str | None = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


_decode_delta = msgspec.json.Decoder(_DeltaEvent).decode
_rare_delta = msgspec.json.Decoder(_RareDeltaEvent)
_block_type = msgspec.json.Decoder(_BlockType)
_block_start = msgspec.json.Decoder(_BlockStart)
_block_start_event = msgspec.json.Decoder(_BlockStartEvent)
_block_stop_event = msgspec.json.Decoder(_BlockStopEvent)
_message_start_event = msgspec.json.Decoder(_MessageStartEvent)
_message_delta_event = msgspec.json.Decoder(_MessageDeltaEvent)
_whole_message = msgspec.json.Decoder(_WholeMessage)


class _Block:
    """A content block that has begun, and what is still to be said of it."""

    __slots__ = ("citations", "ended", "fields", "given", "id", "is_call", "json", "kept", "name", "raw", "text")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.ended = False
        self.is_call = False  # of the client's tool
        self.id = self.name = ""
        self.kept = False  # has no neutral form: goes back to the vendor as it came
        self.given = ""  # a tool's input as the start has it
        self.json: list[str] = []  # pieces of a tool's input
        self.fields: dict[str, msgspec.Raw] = {}  # what deltas have set
        self.text: list[str] | None = None  # pieces, held only where the start announces citations
        self.citations: list[msgspec.Raw] = []


class AnthropicDecoder:
    """Turns the events of one answer into chunks. It holds the state of that answer and of no other."""

    def __init__(self, meter: Meter, dialect: Dialect = ANTHROPIC, account: str = "") -> None:
        self.done = False
        """The vendor has said that the message is complete; what comes after that is not looked at."""
        self.held = 0
        """How many deltas have brought content that waits for the end of its block."""
        self._vendor, self._account = dialect.name, account
        self._wanted_by = dialect.name if dialect.reasoning_echo == "thinking" or account else ""  # signed or not
        self._usage = UsageState(meter)
        self._blocks: dict[int | None, _Block] = {}  # that have not ended
        self._latest: _Block | None = None
        self._calls: list[_Block] = []  # not delivered yet, in order
        self._delivered = False
        self._cut = False
        self._message = _Message()
        self._end = _MessageEnd()

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """The chunks of *events*, each as soon as it is known.

        Raises, after the chunks before it, MalformedResponseError or what the vendor's own error event says.
        """
        for name, data, _ in events:
            if self.done:
                return
            if name != _DELTA:
                yield from self._rare(name, data)
                continue
            # Nine of ten events are deltas and most of those text: the short way for them.
            try:
                event = _decode_delta(data)
            except UNDECODABLE as error:
                event = repaired(_decode_delta, name, data, error)
            delta = event.delta
            if delta is None:
                continue
            if delta.type == "text_delta" and delta.text:
                yield TextChunk(delta.text)
                block = self._blocks.get(event.index)
                if block is not None and block.text is not None:
                    block.text.append(delta.text)
            else:
                yield from self._delta(event.index, delta, data)

    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """The chunks of an answer that came as one JSON document, as from a server that ignores `stream`."""
        message = decode(_whole_message, b"message", body)
        if message.type != "message":
            raise stream_error(body)
        self._message = message
        for index, block in enumerate(message.content or ()):
            yield from self._begin(index, bytes(block))
            yield from self._end_block(self._blocks.pop(index))
        self._end = _MessageEnd(message.stop_reason, message.stop_sequence)
        yield from self._usage.report(message.usage)
        yield from self._finish(b"")

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
        if handler is not None:
            return handler(self, data)
        if b'"chat.completion' in data[:200] or name.startswith(b"response."):
            raise MalformedResponseError("the server answers with an API of OpenAI's: use OpenAIProvider, or its name")
        return iter(())

    def _message_start(self, data: bytes) -> Iterator[Chunk]:
        self._message = decode(_message_start_event, b"message_start", data).message or self._message
        return self._usage.report(self._message.usage)

    def _block_start(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_block_start_event, b"content_block_start", data)
        raw = bytes(event.content_block)
        return iter(()) if raw == b"null" else self._begin(event.index, raw)

    def _begin(self, index: int | None, raw: bytes) -> Iterator[Chunk]:
        raw = raw.decode("utf-8", "replace").encode()  # parts of it are handed on as text, so it must be text
        before = self._latest
        if before is not None and not before.is_call:
            yield from self._end_block(before)
        self._blocks[index] = self._latest = block = _Block(raw)
        yield from self._deliver()
        kind = decode(_block_type, b"content_block_start", raw).type
        if kind not in _NEUTRAL:
            block.kept = True
            return
        start = decode(_block_start, b"content_block_start", raw)
        if kind == "text":
            if start.citations is not None:
                block.text = [start.text or ""]
                block.citations = start.citations
            if start.text:
                yield TextChunk(start.text)
        elif kind == "thinking":
            if start.thinking:
                yield ReasoningChunk(text=start.thinking, vendor=self._wanted_by, account=self._account)
            if start.signature:
                yield ReasoningChunk(proof=start.signature, vendor=self._vendor)
        elif kind == "redacted_thinking":
            yield ReasoningChunk(proof=start.data, redacted=True, vendor=self._vendor)
        else:
            block.is_call = True
            block.id, block.name = start.id or "", start.name or ""
            # Empty, to be filled by deltas; or whole, and then without any.
            given = bytes(start.input).decode()
            block.given = "" if given in ("{}", "null") else given
            self._calls.append(block)
            yield ToolCallDeltaChunk(id=block.id, name=block.name, arguments="")

    def _delta(self, index: int | None, delta: _Delta, data: bytes) -> Iterator[Chunk]:
        block = self._blocks.get(index)
        if block is None and index is None and self._latest is not None and not self._latest.ended:
            block = self._latest
        if delta.type == "thinking_delta" and delta.thinking:
            yield ReasoningChunk(text=delta.thinking, vendor=self._wanted_by, account=self._account)
        elif delta.type == "signature_delta" and delta.signature:
            yield ReasoningChunk(proof=delta.signature, vendor=self._vendor)
        elif delta.type == "input_json_delta" and delta.partial_json:
            if block is None:
                # Dropping it would leave a call that parses and means something else.
                raise MalformedResponseError(f"a piece of a tool's input belongs to no open block: {shown(data)}")
            block.json.append(delta.partial_json)
            self.held += 1
            if block.is_call:
                yield ToolCallDeltaChunk(id=block.id, name=block.name, arguments=delta.partial_json)
        elif block is not None:
            self.held += 1
            self._rare_delta(block, delta.type, data)

    def _rare_delta(self, block: _Block, kind: str | None, data: bytes) -> None:
        if kind == "citations_delta" and block.text is not None:
            rare = decode(_rare_delta, _DELTA, data).delta
            if rare.citation:
                block.citations.append(rare.citation)
        elif kind == "compaction_delta":
            rare = decode(_rare_delta, _DELTA, data).delta
            for field in ("content", "encrypted_content"):
                value = getattr(rare, field)
                if value:
                    block.fields[field] = value

    def _block_stop(self, data: bytes) -> Iterator[Chunk]:
        block = self._blocks.pop(decode(_block_stop_event, b"content_block_stop", data).index, None)
        return iter(()) if block is None else self._end_block(block)

    def _end_block(self, block: _Block) -> Iterator[Chunk]:
        if block.ended:
            return
        block.ended = True
        fields: dict[str, object] = dict(block.fields)
        if block.is_call:
            yield from self._deliver()
        elif block.citations:
            text = "".join(block.text or ())
            fields |= {"text": text, "citations": block.citations}
            yield OpaqueChunk(vendor=self._vendor, data=_with(block.raw, fields), text=text)
        elif block.kept:
            if block.json:
                text = "".join(block.json)
                if not is_object(text):
                    return  # cut off: nothing that the vendor would take back
                fields["input"] = msgspec.Raw(text.encode())
            yield OpaqueChunk(vendor=self._vendor, data=_with(block.raw, fields))

    def _deliver(self, *, final: bool = False) -> Iterator[Chunk]:
        """Give out, in order, the calls that are known to be whole.

        No proper beginning of an object's JSON text is an object, so arguments that parse are whole. Only the last
        block can have been cut: it waits for the stop reason, and cut off by the length limit or a refusal it is
        dropped. One that has ended without arguments has none.
        """
        while self._calls:
            block = self._calls[0]
            last = block is self._latest
            arguments = "".join(block.json) or block.given
            if is_object(arguments):
                if last and not block.ended and not final:
                    return
            elif not final and (last or not block.ended):
                return
            elif last and _REASONS.get(self._end.stop_reason) in ("length", "refusal"):
                self._calls.clear()
                self._cut = True
                return
            elif arguments:
                raise broken_call(block.id, block.name, arguments)
            del self._calls[0]
            self._delivered = True
            yield ToolCallChunk(id=block.id, name=block.name, arguments=arguments or "{}")

    def _message_delta(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_message_delta_event, b"message_delta", data)
        if event.delta is not None and event.delta.stop_reason is not None:
            self._end = event.delta
        return self._usage.report(event.usage)

    def _finish(self, data: bytes) -> Iterator[Chunk]:
        for block in list(self._blocks.values()):
            yield from self._end_block(block)
        yield from self._deliver(final=True)
        self.done = True
        reason = _REASONS.get(self._end.stop_reason, "other")
        yield StopChunk(
            reason="tool_calls" if self._delivered and not self._cut else reason,
            raw_reason=self._end.stop_reason,
            stop_sequence=self._end.stop_sequence,
            response_id=self._message.id,
            model=self._message.model,
        )

    def _error(self, data: bytes) -> Iterator[Chunk]:
        raise stream_error(data)


def _with(raw: bytes, fields: dict[str, object]) -> str:
    """The block's JSON text with *fields* set; untouched if there are none."""
    if not fields:
        return raw.decode()
    return msgspec.json.encode({**msgspec.json.decode(raw, type=dict[str, msgspec.Raw]), **fields}).decode(
        "utf-8", "replace"
    )


_HANDLERS: dict[bytes, Callable[[AnthropicDecoder, bytes], Iterator[Chunk]]] = {
    b"message_start": AnthropicDecoder._message_start,
    b"content_block_start": AnthropicDecoder._block_start,
    b"content_block_stop": AnthropicDecoder._block_stop,
    b"message_delta": AnthropicDecoder._message_delta,
    b"message_stop": AnthropicDecoder._finish,
    b"error": AnthropicDecoder._error,
}
