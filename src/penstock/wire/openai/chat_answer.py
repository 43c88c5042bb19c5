"""Chat Completions, the answer: events to chunks, whoever of the many that speak this wire has sent them. Pure.

Nothing is final before `[DONE]` or the end of the bytes: text, whole calls and usage come after a finish reason.
Sources: https://platform.openai.com/docs/api-reference/chat-streaming, the openai SDK 3.54, the dialects' rows, and the
recorded streams of ten vendors, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from penstock.core.chunks import Chunk, OpaqueChunk, ReasoningChunk, StopChunk, StopReason, TextChunk, ToolCallChunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.core.provider_config import MAX_ARGUMENTS
from penstock.wire.answer_reader import EventDecoder
from penstock.wire.errors import decode_whole, holds_error, stream_error
from penstock.wire.event_json import NOTHING, UNDECODABLE, decode, json_text, repaired, shown
from penstock.wire.finish import failure, says_limit, stop_reason
from penstock.wire.openai.chat_events import ChatEvent, Choice, Delta, Groq, Head, Part, is_report, true_word
from penstock.wire.openai.failed_calls import FAILED, failed_calls
from penstock.wire.openai.kept import Kept
from penstock.wire.openai.opening import Opening
from penstock.wire.openai.tool_calls import Calls, merged_details
from penstock.wire.openai.usage import UsageState
from penstock.wire.sse import Event

__all__ = ["ChatDecoder"]

_event = msgspec.json.Decoder(ChatEvent)
_head = msgspec.json.Decoder(Head)
_part = msgspec.json.Decoder(Part)
_piece = msgspec.json.Decoder(dict[str, Any])
_string = msgspec.json.Decoder(str)
_PROOFS: Final = ("text", "summary", "data", "signature")  # of OpenRouter's details
_DONE: Final = b"[DONE]"
_NULL: Final = len(b"null")


class ChatDecoder(EventDecoder):
    """The answers of the chat wire."""

    def __init__(self, meter: Meter, dialect: Dialect, max_arguments: int = MAX_ARGUMENTS) -> None:
        super().__init__(meter, dialect)
        self._decode = self._halves.decoding(_event)
        self._said = self._limit = False  # any text; an error that says that there is no more room for it
        self._kept = Kept(dialect.name)
        echo = dialect.reasoning_echo
        self._echoes_text = dialect.name if echo in ("reasoning_content", "reasoning") else ""
        self._opening: Opening | None = Opening(tags=bool(dialect.think_tags), vendor=self._echoes_text)
        self._details: list[dict[str, Any]] | None = [] if echo == "reasoning_details" else None
        self._is_stream = True
        self._calls = Calls(dialect.name, max_arguments, google=echo == "extra_content")
        self._extra = b""
        self._usage = UsageState(meter, dialect)
        self._counts = self._usage.counts
        self._finish_reason: str | None = None
        self._refused = False
        self._seen = self._has_deltas = False
        self._new = True  # not all is known that the first events tell
        self._id: str | None = None
        self._model: str | None = None

    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """See EventDecoder."""
        for name, data, _ in events:
            if self.done:
                return
            try:
                event: ChatEvent | None = self._decode(data)
            except UNDECODABLE as error:
                event = self._undecodable(name, data, error)
            if event is None:
                yield from self._finish(says_done=True)
                return
            choice = event.choices[0] if event.choices else None
            if choice is None or choice.index or event.error or event.x_groq is not None:
                choice = yield from self._rare(name, data, event)
                if choice is None:
                    continue
            if self._new:
                self._identify(data)
                self._has_deltas = self._has_deltas or choice.delta is not None
            # Where there are deltas, even empty ones, `message` is all that has been said already: Perplexity's.
            delta = choice.delta or (None if self._has_deltas else choice.message)
            if delta is not None:
                content = delta.content
                # Nine of ten events are a piece of text and nothing else: the short way for them.
                if (
                    self._opening is not None
                    or delta.reasoning_content or delta.reasoning or delta.reasoning_details or delta.tool_calls
                    or delta.refusal or delta.function_call or delta.extra_content or delta.audio or delta.images
                    or delta.annotations or delta.executed_tools or isinstance(content, list)
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
        """See EventDecoder."""
        event = decode_whole(_event, b"chat.completion", body)
        choice = next((choice for choice in event.choices or () if choice is not None), None)
        if choice is None or bytes(event.error) not in NOTHING:
            yield from self._report(event)
            if choice is None and b'"choices"' in body and not holds_error(body):
                error = StreamInterruptedError(f"the answer is empty: {shown(body)}")  # OpenRouter, now and then
                yield from self._usage.fail(error)
            yield from self._failed(body)
            return
        self._identify(body)
        self._is_stream = False
        yield from self._delta(choice.message or choice.delta or Delta())
        yield from self._ending(event, choice)
        if not self.done:
            yield from self._finish()

    def close(self, *, waited: bool = False) -> Iterator[Chunk]:
        """See EventDecoder."""
        may = self._has_end or (self._seen and not self._dialect.says_end)
        return self._finish() if may and not self.done else super().close()

    @property
    def _has_end(self) -> bool:
        return self._finish_reason is not None or self._limit

    def _undecodable(self, name: bytes, data: bytes, error: Exception) -> ChatEvent | None:
        """None for the end, an empty event for one without data."""
        if data.strip() == _DONE:
            if not self._seen:
                raise StreamInterruptedError("the stream ended before the answer began")
            return None
        if not data.strip() or name not in (b"", b"message", b"error"):
            return ChatEvent()  # what an event of an unknown name holds is its own business
        event = repaired(_event, name, data, error, self._halves)
        self._decode = self._halves.decoding(_event)
        return event

    def _identify(self, data: bytes) -> None:
        head = decode(_head, b"", data)
        self._id = self._id or (str(head.id) if head.id else None)  # Azure's first event has neither
        self._model = self._model or head.model or None
        self._calls.response_id = self._id or ""
        self._usage.tier = self._usage.tier or head.service_tier
        self._usage.answered(head.model)
        self._seen = True
        self._new = self._id is None or self._model is None

    def _report(self, event: ChatEvent, choice: Choice | None = None) -> Iterator[Chunk]:
        usage = event.usage if len(event.usage) > _NULL or choice is None else choice.usage
        return self._usage.report(usage, event.service_tier, cost=event.cost)

    def _rare(self, name: bytes, data: bytes, event: ChatEvent) -> Generator[Chunk, None, Choice | None]:
        """Errors, and events without the choice, which is the only one that we ask for."""
        groq = event.x_groq or Groq()
        has_error, of_groq = bytes(event.error) not in NOTHING, bytes(groq.error) not in NOTHING
        if has_error or of_groq or name == b"error":
            yield from self._usage.report(groq.usage, event.service_tier)
            yield from self._report(event)
            yield from self._failed(b'{"error":' + bytes(groq.error) + b"}" if of_groq and not has_error else data)
            return None
        yield from self._usage.report(groq.usage, event.service_tier)
        if not event.usage and event.choices is None:
            yield from self._check(data)
        choice = next((choice for choice in event.choices or () if choice is not None and not choice.index), None)
        if choice is None:
            yield from self._report(event)
            yield from self._beside(event, has_usage=is_report(event.usage) or is_report(groq.usage))
        return choice

    def _failed(self, data: bytes) -> Iterator[Chunk]:
        """The end that the error in *data* makes, or the error itself.

        An end is that the answer has no more room, and a call that the vendor has refused: that is for the model.
        """
        if refused := failed_calls(data):
            self._finish_reason = FAILED
            yield from self._finish(refused=refused)
            return
        error = stream_error(data, self._dialect.request_faults)
        if not self._seen or not says_limit(error.message):
            yield from self._usage.fail(error)
        self._limit = True

    def _beside(self, event: ChatEvent, *, has_usage: bool) -> Iterator[Chunk]:
        """What stands beside the choices."""
        if event.base_resp and holds_error(body := b'{"base_resp":' + bytes(event.base_resp) + b"}"):
            yield from self._failed(body)
        self._kept.note("citations", event.citations)
        self._kept.note("search_results", event.search_results)
        self.may_end = self.may_end or (self._has_end and has_usage)

    def _check(self, data: bytes) -> Iterator[Chunk]:
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
        # What has a message alone is a notice.
        named = "code" in fields or bytes(fields.get("object", b"")) == b'"error"'
        if holds_error(data) and ("message" not in fields or named):
            yield from self._failed(data)

    def _reasoning(self, delta: Delta) -> Iterator[Chunk]:
        text = delta.reasoning_content or delta.reasoning or ""
        if delta.reasoning_details:
            details = (bytes(raw) for raw in delta.reasoning_details)
            pieces = [decode(_piece, b"reasoning_details", raw) for raw in details if raw[:1] == b"{"]
            if self._details is not None:
                self._details += pieces
                self.held += any(piece.get(name) for piece in pieces for name in _PROOFS)
            text = text or "".join(str(piece.get("text") or piece.get("summary") or "") for piece in pieces)
        if text:
            yield ReasoningChunk(text=text, vendor=self._echoes_text)

    def _parts(self, content: list[msgspec.Raw]) -> Iterator[Chunk]:
        for raw in content:
            if bytes(raw)[:1] != b"{":  # a text by itself; anything else is no part
                if bytes(raw)[:1] == b'"' and (said := decode(_string, b"content", bytes(raw))):
                    yield TextChunk(said)
                continue
            part = decode(_part, b"content", bytes(raw))
            words = part.thinking or part.summary or ()
            if part.type in ("thinking", "reasoning"):
                if not isinstance(words, str):
                    words = "".join(decode(_part, b"content", bytes(piece)).text or "" for piece in words)
                if thought := words or part.text or "":
                    yield ReasoningChunk(text=thought)
            elif part.type in (None, "text", "output_text", "refusal"):
                self._refused = self._refused or bool(part.refusal)
                if text := part.text or part.refusal:
                    yield TextChunk(text)
            elif bytes(raw) not in NOTHING:
                yield OpaqueChunk(vendor=self._dialect.name, data=bytes(raw).decode("utf-8", "replace"))

    def _delta(self, delta: Delta) -> Iterator[Chunk]:
        for chunk in self._chunks(delta):
            self._counts.content = True
            yield chunk

    def _chunks(self, delta: Delta) -> Iterator[Chunk]:
        if bytes(delta.executed_tools) not in NOTHING:
            self._usage.has_fee = True
        thoughts = list(self._reasoning(delta))
        if thoughts:
            yield from self._no_tags()
        yield from thoughts
        if isinstance(delta.content, list):
            self._said = True
            yield from self._parts(delta.content)
        elif delta.content:
            yield from self._first(delta.content)
        if delta.refusal:
            self._refused = True
            yield TextChunk(delta.refusal)
        yield from self._kept.pictures(delta.images)
        if self._kept.sound(delta.audio):
            self._counts.content = True
            self.held += 1
        self._kept.add("annotations", delta.annotations)
        if bytes(delta.extra_content) not in NOTHING:
            self._extra = bytes(delta.extra_content)
        entries = [bytes(raw) for raw in delta.tool_calls or ()]
        if not entries and bytes(delta.function_call) not in NOTHING:  # what was before `tool_calls`: one, without id
            entries.append(b'{"index":-1,"function":' + bytes(delta.function_call) + b"}")
        if entries:
            yield from self._no_tags()
            before = self._calls.size
            yield from self._calls.feed(entries)
            self.held += self._calls.size > before

    def _first(self, text: str) -> Iterator[Chunk]:
        """Text, which may begin with tags."""
        self._said = self._counts.content = True
        if self._opening is None:
            yield TextChunk(text)
            return
        yield from self._opening.feed(text)
        self._opening = None if self._opening.over else self._opening

    def _no_tags(self) -> Iterator[Chunk]:
        if self._opening is not None:
            yield from self._opening.close()
            self._opening = None

    def _ending(self, event: ChatEvent, choice: Choice) -> Iterator[Chunk]:
        """A finish reason, and the usage that may come with it."""
        yield from self._report(event, choice)
        if bytes(choice.error) not in NOTHING:
            yield from self._failed(b'{"error":' + bytes(choice.error) + b"}")
            if self.done:
                return
        has_usage = is_report(event.usage) or is_report(choice.usage)
        reason = true_word(choice)
        if reason:
            if has_usage:
                yield from self._usage.fail(failure(reason))
            if self._finish_reason is None:  # some servers say it again on each event that follows
                yield from self._calls.deliver()
            self._finish_reason = reason
        yield from self._beside(event, has_usage=has_usage)

    def _finish(self, *, says_done: bool = False, refused: Sequence[ToolCallChunk] = ()) -> Iterator[Chunk]:
        """The end. says_done: with `[DONE]`. refused: calls that the vendor did not take."""
        # Only now: what it has cost may come after its word.
        if not refused:
            yield from self._usage.fail(failure(self._finish_reason))
        reason: StopReason = "length" if self._limit else stop_reason(self._finish_reason)
        reason = "tool_calls" if refused else reason
        bare = self._is_stream and not self._has_end
        if self._halves.held and (rest := self._halves.rest("content")):
            yield from self._first(rest)
        yield from self._no_tags()
        cut = bare or reason in ("length", "refusal")
        yield from self._calls.deliver(final=True, cut=cut, normal=reason in ("stop", "tool_calls"))
        if bare:
            self._check_bare(says_done=says_done)
        elif not (self._has_end or self._said or self._calls.delivered or self._kept.anything):
            self._check_empty()
        self._counts.content = self._counts.content or bool(refused)
        yield from refused
        if self._details:
            details = merged_details(self._details) if self._is_stream else self._details
            yield ReasoningChunk(proof=json_text(details), vendor=self._dialect.name)
        elif self._extra and self._dialect.reasoning_echo == "extra_content":
            yield ReasoningChunk(proof=self._extra.decode("utf-8", "replace"), vendor=self._dialect.name)
        yield from self._kept.blocks()
        self.done = True
        if self._refused and reason in ("stop", "other"):
            reason = "refusal"
        yield from self._usage.end()
        yield StopChunk(
            reason=self._calls.reason(reason),
            raw_reason=self._finish_reason,
            response_id=self._id,
            model=self._model,
        )

    def _check_bare(self, *, says_done: bool) -> None:
        """Raise if a stream without a finish reason is not known to be whole: a proxy says `[DONE]` after a cut too."""
        if self._calls.cut:
            raise StreamInterruptedError("the stream ended inside a tool call")
        if self._calls.delivered or self._kept.is_sound_whole:
            return
        if self._dialect.says_end and not (says_done and self._dialect.done_alone):
            raise StreamInterruptedError("the stream ended without a finish reason, so it may have been cut off")
        if not self._said:
            self._check_empty()

    def _check_empty(self) -> None:
        if not self._meter.total.output_tokens:
            raise StreamInterruptedError("the answer is empty, and the vendor gave no reason for its end")
