"""Chat Completions, the answer: events to chunks, whoever of the many that speak this wire has sent them. Pure.

Nothing is final before `[DONE]` or the end of the bytes: text, whole calls and usage come after a finish reason.
Sources: https://platform.openai.com/docs/api-reference/chat-streaming, the openai SDK 3.54, the dialects' rows, and the
recorded streams of ten vendors, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final

import msgspec

from penstock.core.chunks import Chunk, ReasoningChunk, StopChunk, StopReason, TextChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import (
    MalformedResponseError,
    OverloadedError,
    ProviderError,
    ServerError,
    StreamInterruptedError,
)
from penstock.wire.event_json import UNDECODABLE, decode, repaired
from penstock.wire.openai.errors import decode_whole, stream_error
from penstock.wire.openai.tool_calls import CallPiece, Calls, merged_details
from penstock.wire.openai.usage import UsageState
from penstock.wire.sse import Event

__all__ = ["ChatDecoder"]

# What servers of this wire have been seen to say, in small letters; any other word is `other`.
_REASONS: dict[str, StopReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "load", "unload"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens", "max_completion_tokens"), "length"),
    **dict.fromkeys(("context_length", "model_context_window_exceeded", "incomplete"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "sensitive", "refusal"), "refusal"),
}
_FAILURES: dict[str, type[ProviderError]] = {
    "error": ServerError,
    "abort": ServerError,
    "aborted": ServerError,
    "cancelled": ServerError,
    "canceled": ServerError,
    "timeout": ServerError,
    "insufficient_system_resource": OverloadedError,  # DeepSeek
}


class _Delta(msgspec.Struct, gc=False):
    """Of an event, or the message of a whole answer."""

    content: str | list[msgspec.Raw] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece | None] | None = None
    refusal: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = msgspec.Raw()
    extra_content: msgspec.Raw = msgspec.Raw()
    executed_tools: msgspec.Raw = msgspec.Raw()  # Groq's own, for a fee


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()  # Moonshot
    error: msgspec.Raw = msgspec.Raw()  # OpenRouter


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice | None] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    cost: msgspec.Raw = msgspec.Raw()  # Venice
    service_tier: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    x_groq: _Groq | None = None


class _Head(msgspec.Struct):
    """Which answer it is; read only until it is known."""

    id: str | int | None = None
    model: str | None = None
    service_tier: str | None = None  # on the first event perhaps, and on no other


class _Part(msgspec.Struct):
    """Of a content that is a list: Mistral's."""

    type: str | None = None
    text: str | None = None
    thinking: str | list[msgspec.Raw] | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_event = msgspec.json.Decoder(_Event)
_head = msgspec.json.Decoder(_Head)
_part = msgspec.json.Decoder(_Part)
_piece = msgspec.json.Decoder(dict[str, Any])
_call_piece = msgspec.json.Decoder(CallPiece)
_PROOFS: Final = ("text", "summary", "data", "signature")  # of OpenRouter's details
_DONE: Final = b"[DONE]"
_NOTHING: Final = (b"", b"null", b"false", b'""', b"{}", b"[]")
_NULL: Final = len(b"null")


class ChatDecoder:
    """Turns the events of one answer into chunks. It holds the state of that answer and of no other."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        self.done = False
        """The vendor has said that the message is complete; what comes after that is not looked at."""
        self.held = 0
        """How many events have brought content for which there is no chunk yet."""
        self._dialect = dialect
        echo = dialect.reasoning_echo
        self._echoes_text = dialect.name if echo in ("reasoning_content", "reasoning") else ""
        self._details: list[dict[str, Any]] | None = [] if echo == "reasoning_details" else None
        self._is_stream = True
        self._calls = Calls(dialect.name if echo == "extra_content" else "")
        self._extra = b""
        self._usage = UsageState(meter, dialect)
        self._counts = self._usage.counts
        self._finish_reason: str | None = None
        self._refused = False
        self._seen = self._has_deltas = False
        self._id: str | None = None
        self._model: str | None = None

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """The chunks of *events*, each as soon as it is known.

        Raises, after the chunks before it, MalformedResponseError or what the vendor's own error event says.
        """
        for name, data, _ in events:
            if self.done:
                return
            try:
                event: _Event | None = _decode_event(data)
            except UNDECODABLE as error:
                event = self._undecodable(name, data, error)
            if event is None:
                yield from self._finish()
                return
            choice = event.choices[0] if event.choices else None
            if choice is None or choice.index or event.error or event.x_groq is not None:
                choice = yield from self._rare(name, data, event)
                if choice is None:
                    continue
            if self._id is None or self._model is None:
                self._identify(data)
                self._has_deltas = self._has_deltas or choice.delta is not None
            # Where there are deltas, even empty ones, `message` is all that has been said already: Perplexity's.
            delta = choice.delta or (None if self._has_deltas else choice.message)
            if delta is not None:
                content = delta.content
                # Nine of ten events are a piece of text and nothing else: the short way for them.
                if (
                    delta.reasoning_content or delta.reasoning or delta.reasoning_details or delta.tool_calls
                    or delta.refusal or delta.function_call or delta.extra_content or isinstance(content, list)
                    or delta.executed_tools
                ):  # fmt: skip
                    yield from self._delta(delta)
                elif content:
                    self._counts.content = True
                    yield TextChunk(content)
            if (
                choice.finish_reason or (event.usage and len(event.usage) > _NULL)
                or (choice.usage and len(choice.usage) > _NULL) or choice.error
            ):  # fmt: skip
                yield from self._ending(event, choice)

    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """The chunks of an answer that came as one JSON document, as from a server that ignores `stream`."""
        event = decode_whole(_event, b"chat.completion", body)
        choice = next((choice for choice in event.choices or () if choice is not None), None)
        if choice is None or bytes(event.error) not in _NOTHING:
            yield from self._report(event)
            yield from self._usage.fail()
            raise stream_error(body)
        self._identify(body)
        self._is_stream = False
        yield from self._delta(choice.message or choice.delta or _Delta())
        yield from self._ending(event, choice)
        yield from self._finish()

    def close(self) -> Iterator[Chunk]:
        """The chunks that only the end of the bytes completes.

        Raises StreamInterruptedError unless the vendor has said that the message is complete.
        """
        if self.done:
            return
        if self._finish_reason is None and (self._dialect.says_end or not self._seen):
            raise StreamInterruptedError("the stream ended before the vendor said that the message is complete")
        yield from self._finish(plain_end=self._finish_reason is None)

    def _undecodable(self, name: bytes, data: bytes, error: Exception) -> _Event | None:
        """None for the end, an empty event for one without data."""
        if data.strip() == _DONE:
            if not self._seen:
                raise StreamInterruptedError("the stream ended before the answer began")
            return None
        if not data.strip() or name not in (b"", b"message", b"error"):
            return _Event()  # what an event of an unknown name holds is its own business
        return repaired(_decode_event, name, data, error)

    def _identify(self, data: bytes) -> None:
        head = decode(_head, b"", data)
        self._id = self._id or (str(head.id) if head.id else None)  # Azure's first event has neither
        self._model = self._model or head.model or None
        self._calls.response_id = self._id or ""
        self._usage.tier = self._usage.tier or head.service_tier
        self._usage.answered(head.model)
        self._seen = True

    def _report(self, event: _Event, choice: _Choice | None = None) -> Iterator[Chunk]:
        usage = event.usage if len(event.usage) > _NULL or choice is None else choice.usage
        return self._usage.report(usage, event.service_tier, cost=event.cost)

    def _rare(self, name: bytes, data: bytes, event: _Event) -> Generator[Chunk, None, _Choice | None]:
        """Errors, and events without the choice, which is the only one that we ask for."""
        groq = event.x_groq or _Groq()
        if bytes(groq.error) not in _NOTHING:
            raise stream_error(b'{"error":' + bytes(groq.error) + b"}")
        if bytes(event.error) not in _NOTHING or name == b"error":
            yield from self._report(event)
            yield from self._usage.fail()
            raise stream_error(data)
        yield from self._usage.report(groq.usage, event.service_tier)
        if not event.usage and event.choices is None:
            self._check(data)
        choice = next((choice for choice in event.choices or () if choice is not None and not choice.index), None)
        if choice is None:
            yield from self._report(event)
        return choice

    def _check(self, data: bytes) -> None:
        """Raise if an event without any field of this wire is an error in a form of its own: an old vLLM's, say."""
        try:
            fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except UNDECODABLE:
            return
        if bytes(fields.get("type", b"")).startswith(b'"response.'):
            raise MalformedResponseError(
                "the server answers with the Responses API: set the config's `wire` to responses"
            )
        if bytes(fields.get("type", b"")) == b'"message_start"':
            raise MalformedResponseError("the server answers with Anthropic's API: use AnthropicProvider, or its name")
        if bytes(fields.get("object", b"")) == b'"error"' or "detail" in fields or {"message", "code"} <= fields.keys():
            raise stream_error(data)

    def _reasoning(self, delta: _Delta) -> Iterator[Chunk]:
        text = delta.reasoning_content or delta.reasoning or ""
        if delta.reasoning_details:
            pieces = [decode(_piece, b"reasoning_details", bytes(raw)) for raw in delta.reasoning_details]
            if self._details is not None:
                self._details += pieces
                self.held += any(piece.get(name) for piece in pieces for name in _PROOFS)
            text = text or "".join(str(piece.get("text") or piece.get("summary") or "") for piece in pieces)
        if text:
            yield ReasoningChunk(text=text, vendor=self._echoes_text)

    def _parts(self, content: list[msgspec.Raw]) -> Iterator[Chunk]:
        for raw in content:
            part = decode(_part, b"content", bytes(raw))
            if part.thinking:
                inner = part.thinking
                yield from (
                    (ReasoningChunk(text=inner),)
                    if isinstance(inner, str)
                    else (
                        ReasoningChunk(text=chunk.text) for chunk in self._parts(inner) if isinstance(chunk, TextChunk)
                    )
                )
            elif part.text:
                yield TextChunk(part.text)

    def _delta(self, delta: _Delta) -> Iterator[Chunk]:
        for chunk in self._chunks(delta):
            self._counts.content = True
            yield chunk

    def _chunks(self, delta: _Delta) -> Iterator[Chunk]:
        if bytes(delta.executed_tools) not in _NOTHING:
            self._usage.has_fee = True
        yield from self._reasoning(delta)
        if isinstance(delta.content, list):
            yield from self._parts(delta.content)
        elif delta.content:
            yield TextChunk(delta.content)
        if delta.refusal:
            self._refused = True
            yield TextChunk(delta.refusal)
        if bytes(delta.extra_content) not in _NOTHING:
            self._extra = bytes(delta.extra_content)
        pieces = list(delta.tool_calls or ())
        if not pieces and bytes(delta.function_call) not in _NOTHING:  # what was before `tool_calls`: one, without id
            function = decode(_call_piece, b"function_call", b'{"function":' + bytes(delta.function_call) + b"}")
            pieces.append(msgspec.structs.replace(function, index=-1))
        if pieces:
            self.held += any(piece and piece.function and piece.function.arguments for piece in pieces)
            yield from self._calls.feed(pieces)

    def _ending(self, event: _Event, choice: _Choice) -> Iterator[Chunk]:
        """A finish reason, and the usage that may come with it."""
        yield from self._report(event, choice)
        if bytes(choice.error) not in _NOTHING:
            raise stream_error(b'{"error":' + bytes(choice.error) + b"}")
        reason = choice.finish_reason
        if not reason:
            return
        if reason.lower() in _FAILURES and max(len(event.usage), len(choice.usage)) > _NULL:
            yield from self._usage.fail()
            raise self._failure(reason)
        if self._finish_reason is None:  # some servers say it again on each event that follows
            yield from self._calls.deliver()
        self._finish_reason = reason

    @staticmethod
    def _failure(reason: str) -> ProviderError:
        return _FAILURES[reason.lower()](f"the vendor stopped with the reason {reason!r}", code=reason)

    def _finish(self, *, plain_end: bool = False) -> Iterator[Chunk]:
        """The end. plain_end: of the bytes only, without a word of the vendor."""
        if (self._finish_reason or "").lower() in _FAILURES:  # only now: what it has cost may come after it
            yield from self._usage.fail()
            raise self._failure(self._finish_reason or "")
        reason = _REASONS.get((self._finish_reason or "").lower(), "other")
        yield from self._calls.deliver(final=True, cut=plain_end or reason in ("length", "refusal"))
        if plain_end and self._calls.cut:
            raise StreamInterruptedError("the stream ended inside a tool call")
        if self._details:
            details = merged_details(self._details) if self._is_stream else self._details
            proof = msgspec.json.encode(details).decode("utf-8", "replace")
            yield ReasoningChunk(proof=proof, vendor=self._dialect.name)
        elif self._extra and self._dialect.reasoning_echo == "extra_content":
            yield ReasoningChunk(proof=self._extra.decode("utf-8", "replace"), vendor=self._dialect.name)
        self.done = True
        if self._refused and reason in ("stop", "other"):
            reason = "refusal"
        yield from self._usage.end()
        yield StopChunk(
            reason="tool_calls" if self._calls.delivered and not self._calls.cut else reason,
            raw_reason=self._finish_reason,
            response_id=self._id,
            model=self._model,
        )
