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
    TextChunk,
)
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.core.provider_config import MAX_ARGUMENTS
from penstock.wire.answer_reader import EventDecoder
from penstock.wire.anthropic.events import (
    CONTAINER,
    BlockStart,
    BlockStartEvent,
    BlockStopEvent,
    BlockType,
    Delta,
    DeltaEvent,
    Message,
    MessageDeltaEvent,
    MessageEnd,
    MessageStartEvent,
    RareDeltaEvent,
    WholeMessage,
)
from penstock.wire.anthropic.tool_calls import Call, Calls
from penstock.wire.anthropic.usage import UsageState
from penstock.wire.errors import stream_error
from penstock.wire.event_json import UNDECODABLE, decode, event_type, is_object, json_text, repaired, shown
from penstock.wire.finish import failure, says_limit, stop_reason
from penstock.wire.sse import Event
from penstock.wire.vendors import ANTHROPIC

__all__ = ["AnthropicDecoder"]

_DELTA: Final = b"content_block_delta"
_LIMIT: Final = "max_tokens"
_WHOLE: Final = -1  # in place of an index: the block came whole, and not by events
_NEUTRAL: Final = ("text", "thinking", "redacted_thinking", "tool_use")


_delta_event = msgspec.json.Decoder(DeltaEvent)
_rare_delta = msgspec.json.Decoder(RareDeltaEvent)
_block_type = msgspec.json.Decoder(BlockType)
_block_start = msgspec.json.Decoder(BlockStart)
_block_start_event = msgspec.json.Decoder(BlockStartEvent)
_block_stop_event = msgspec.json.Decoder(BlockStopEvent)
_message_start_event = msgspec.json.Decoder(MessageStartEvent)
_message_delta_event = msgspec.json.Decoder(MessageDeltaEvent)
_whole_message = msgspec.json.Decoder(WholeMessage)


class _Block(msgspec.Struct, eq=False):
    """A content block that has begun, and what is still to be said of it."""

    raw: bytes
    ended: bool = False
    call: Call | None = None  # of the client's tool
    kept: bool = False  # has no neutral form: goes back to the vendor as it came
    json: list[str] = []  # pieces of the input of the vendor's own tool
    fields: dict[str, msgspec.Raw] = {}  # what deltas have set
    text: list[str] | None = None  # pieces, held only where the start announces citations
    citations: list[msgspec.Raw] = []


class AnthropicDecoder(EventDecoder):
    """The answers of Anthropic's API and of those who speak it."""

    def __init__(
        self, meter: Meter, dialect: Dialect = ANTHROPIC, account: str = "", max_arguments: int = MAX_ARGUMENTS
    ) -> None:
        super().__init__(meter, dialect)
        self._decode = self._halves.decoding(_delta_event)
        self._cites = False  # a block has announced citations
        self._begun = False  # there is a block, or a piece of one
        self._vendor, self._account = dialect.name, account
        self._wanted_by = dialect.name if dialect.reasoning_echo == "thinking" or account else ""  # signed or not
        self._usage = UsageState(meter, dialect)
        self._counts = self._usage.counts
        self._blocks: dict[int | None, _Block] = {}  # that have not ended
        self._latest: _Block | None = None
        self._calls = Calls(self._vendor, max_arguments)
        self._message = Message()
        self._end = MessageEnd()

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """See EventDecoder."""
        if self.done:
            return
        for name, data, _ in events:
            if name != _DELTA:
                yield from self._rare(name, data)
                if self.done:
                    return
                continue
            # Nine of ten events are deltas and most of those text: the short way for them.
            try:
                event = self._decode(data)
            except UNDECODABLE as error:
                event = repaired(_delta_event, name, data, error, self._halves)
                self._decode = self._halves.decoding(_delta_event)
            delta = event.delta
            if delta is None:
                continue
            if delta.type == "text_delta" and delta.text:
                self._counts.content = True
                yield TextChunk(delta.text)
                if self._cites and (block := self._blocks.get(event.index)) is not None and block.text is not None:
                    block.text.append(delta.text)
            else:
                yield from self._delta(event.index, delta, data)

    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """See EventDecoder."""
        message = decode(_whole_message, b"message", body)
        if message.type != "message":
            raise stream_error(body, self._dialect.request_faults)
        yield from self._start(message)
        yield from self._finish(b"")

    def close(self, *, waited: bool = False) -> Iterator[Chunk]:
        """See EventDecoder."""
        if not self.done and waited and self.may_end:
            return self._finish(b"")
        return super().close()

    def _rare(self, name: bytes, data: bytes) -> Iterator[Chunk]:
        if name not in _HANDLERS:
            # A gateway may send no name, or one of its own: then the type inside says what it is.
            name = event_type(name, data)
        if name == _DELTA:
            return self.feed([(name, data, b"")])
        if (handler := _HANDLERS.get(name)) is not None:
            return handler(self, data)
        if b'"chat.completion' in data[:200] or name.startswith(b"response."):
            raise MalformedResponseError("the server answers with an API of OpenAI's: use OpenAIProvider, or its name")
        return iter(())

    def _message_start(self, data: bytes) -> Iterator[Chunk]:
        return self._start(decode(_message_start_event, b"message_start", data).message or self._message)

    def _start(self, message: Message) -> Iterator[Chunk]:
        """What the message holds already: all of it in a document, in a stream calls that a program of theirs made."""
        self._message = message
        content = message.content or ()
        if isinstance(content, str):
            self._begun = self._counts.content = True
            yield TextChunk(content)
            content = ()
        for block in content:
            yield from self._begin(_WHOLE, bytes(block))
            yield from self._end_block(self._blocks.pop(_WHOLE))
        self._end = MessageEnd(message.stop_reason, message.stop_sequence, message.container)
        self._usage.answered(message.model)
        yield from self._usage.report(message.usage)

    def _block_start(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_block_start_event, b"content_block_start", data)
        raw = bytes(event.content_block)
        return iter(()) if raw == b"null" else self._begin(event.index, raw)

    def _begin(self, index: int | None, raw: bytes) -> Iterator[Chunk]:
        raw = raw.decode("utf-8", "replace").encode()  # parts of it are handed on as text, so it must be text
        self._begun = True
        if (before := self._latest) is not None and before.call is None:
            yield from self._end_block(before)
        self._blocks[index] = self._latest = block = _Block(raw)
        yield from self._calls.deliver(None)
        head = decode(_block_type, b"content_block_start", raw)
        kind = head.type or ""
        self._usage.note_block(kind, bytes(head.caller))
        if kind not in _NEUTRAL:
            block.kept = True
            return
        start = decode(_block_start, b"content_block_start", raw)
        if kind == "text":
            if start.citations is not None:
                self._cites = True
                block.text = [start.text or ""]
                block.citations = start.citations
            if start.text:
                self._counts.content = True
                yield TextChunk(start.text)
        elif kind == "thinking":
            if start.thinking:
                yield ReasoningChunk(text=start.thinking, vendor=self._wanted_by, account=self._account)
            if start.signature:
                yield ReasoningChunk(proof=start.signature, vendor=self._vendor)
        elif kind == "redacted_thinking":
            if start.data:
                yield ReasoningChunk(proof=start.data, redacted=True, vendor=self._vendor)
        else:
            given = bytes(start.input).decode()
            beside = bytes(start.caller), bytes(start.toolset_name)
            block.call = Call(start.id or "", start.name or "", given, *beside)
            yield from self._calls.begin(block.call)

    def _delta(self, index: int | None, delta: Delta, data: bytes) -> Iterator[Chunk]:
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
            self.held += 1
            if block.call is not None:
                yield self._calls.add(block.call, delta.partial_json)
            else:
                self._calls.grow(len(delta.partial_json))
                block.json.append(delta.partial_json)
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
                if value := getattr(rare, field):
                    block.fields[field] = value

    def _block_stop(self, data: bytes) -> Iterator[Chunk]:
        block = self._blocks.pop(decode(_block_stop_event, b"content_block_stop", data).index, None)
        return iter(()) if block is None else self._end_block(block)

    def _end_block(self, block: _Block) -> Iterator[Chunk]:
        if block.ended:
            return
        block.ended = True
        if self._halves.held and (rest := self._halves.rest("text")):
            self._counts.content = True
            yield TextChunk(rest)
        fields: dict[str, object] = dict(block.fields)
        if block.call is not None:
            block.call.ended = True
            yield from self._calls.deliver(self._latest.call if self._latest is not None else None)
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

    def _message_delta(self, data: bytes) -> Iterator[Chunk]:
        event = decode(_message_delta_event, b"message_delta", data)
        if event.delta is not None and event.delta.stop_reason is not None:
            container = event.delta.container or self._end.container
            self._end = MessageEnd(event.delta.stop_reason, event.delta.stop_sequence, container)
        self.may_end = self._end.stop_reason is not None and bytes(event.usage).startswith(b"{")
        return self._usage.report(event.usage)

    def _finish(self, data: bytes) -> Iterator[Chunk]:
        yield from self._usage.fail(failure(self._end.stop_reason))
        if self._end.stop_reason is None and not self._begun and not self._meter.total.output_tokens:
            raise StreamInterruptedError("the answer is empty, and the vendor gave no reason for its end")
        for block in list(self._blocks.values()):
            yield from self._end_block(block)
        reason = stop_reason(self._end.stop_reason)
        yield from self._calls.deliver(self._latest.call if self._latest is not None else None, reason)
        self.done = True
        if bytes(self._end.container).startswith(b"{"):
            yield OpaqueChunk(vendor=self._vendor, data=_with(bytes(self._end.container), {"type": CONTAINER}))
        yield from self._usage.end()
        yield StopChunk(
            reason=self._calls.reason(reason),
            raw_reason=self._end.stop_reason,
            stop_sequence=self._end.stop_sequence,
            response_id=self._message.id,
            model=self._message.model,
        )

    def _error(self, data: bytes) -> Iterator[Chunk]:
        error = stream_error(data, self._dialect.request_faults)
        if not self._begun or not says_limit(error.message):
            raise error
        self._end = MessageEnd(_LIMIT)  # there is no more room for the answer: that is an end
        return self._finish(b"")


def _with(raw: bytes, fields: dict[str, object]) -> str:
    """The block's JSON text with *fields* set; untouched if there are none."""
    text = raw.decode("utf-8", "replace")  # a container comes as its server wrote it
    if not fields:
        return text
    changed = {**msgspec.json.decode(text, type=dict[str, msgspec.Raw]), **fields}
    return json_text(changed)


_HANDLERS: dict[bytes, Callable[[AnthropicDecoder, bytes], Iterator[Chunk]]] = {
    b"message_start": AnthropicDecoder._message_start,
    b"content_block_start": AnthropicDecoder._block_start,
    b"content_block_stop": AnthropicDecoder._block_stop,
    b"message_delta": AnthropicDecoder._message_delta,
    b"message_stop": AnthropicDecoder._finish,
    b"error": AnthropicDecoder._error,
}
