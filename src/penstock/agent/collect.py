"""Folds over the chunks of one answer: the whole of it, its text, or fewer and longer pieces of text.

Each closes the stream that it reads. None of them knows a vendor.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from penstock.core.arguments import kept_arguments
from penstock.core.chunks import (
    Chunk,
    OpaqueChunk,
    ReasoningChunk,
    StopChunk,
    StopReason,
    TextChunk,
    ToolCallChunk,
    ToolCallDeltaChunk,
    UsageChunk,
)
from penstock.core.closing import Stream, closable
from penstock.core.errors import ConfigError, ProviderError, StreamInterruptedError
from penstock.core.messages import Message, OpaquePart, Options, Part, ReasoningPart, TextPart, ToolCallPart
from penstock.core.provider import ENTER_IT, BaseProvider, check_provider

__all__ = ["Collector", "Reply", "coalesce", "collect", "generate_text", "history_of", "text_of"]

T = TypeVar("T")

# After a full stop comes a blank, or it may be the one in 3.5; ideographic ones need none. A line's end is one too.
_ENDS: Final = {
    "line": r"\n",
    "sentence": r"[.!?…][\"'”’»)\]]*\s|[。！？][」』”’）]*|\n",
}
_LONGEST_END: Final = 8  # so many characters before a new piece may belong to an end that the piece completes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, or what came of it before it broke.

    text: all that was visible. reasoning: all of its text. tool_calls: the whole ones, in order.
    usage: the sum of what was reported; an empty one when the vendor reported nothing.
    stop: how the vendor said that the answer ended; None when it broke before that.
    message: the answer as the assistant's message, with all that the vendor wants back, in order. None when nothing
        came that a message could hold, as an empty message is refused: then leave the turn out.
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCallChunk, ...]
    usage: UsageChunk
    stop: StopChunk | None
    message: Message | None

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact; None when a price is not known."""
        return self.usage.cost

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the answer ended; None when it broke before its end."""
        return None if self.stop is None else self.stop.reason


class Collector:
    """Folds the chunks of one answer into a Reply. It holds the state of that answer and of no other.

    Text is one part until something else with a place of its own comes. Reasoning is one part until its proof, or, as
    there may be none, until such a thing comes; without a proof and without a vendor it is kept to be shown and
    stored, and not sent.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._text: list[str] = []  # all of it
        self._kept = 0  # how many pieces of that are in parts already; the others are of the part that goes on
        self._reasoning: list[str] = []  # of the part that goes on
        self._all_reasoning: list[str] = []
        self._vendor = self._account = ""  # that want the reasoning back, proof or not
        self._calls: list[ToolCallChunk] = []
        self._usage = UsageChunk()
        self._stop: StopChunk | None = None

    def feed(self, chunk: Chunk) -> None:
        """Add the next chunk. Raises TypeError for what is none of a provider's."""
        if type(chunk) is TextChunk and not self._reasoning:  # most are, and each pays for what is looked at
            self._text.append(chunk.text)
            return
        fold = _FOLDS.get(type(chunk))
        if fold is None:
            raise TypeError(f"a {type(chunk).__name__} is not a chunk of an answer")
        fold(self, chunk)

    def reply(self) -> Reply:
        """What has come until now."""
        parts = [*self._parts, *self._pending()]
        return Reply(
            text="".join(self._text),
            reasoning="".join(self._all_reasoning),
            tool_calls=tuple(self._calls),
            usage=self._usage,
            stop=self._stop,
            message=Message("assistant", parts) if parts else None,
        )

    def close(self) -> StopChunk:
        """How the answer ended. Raises StreamInterruptedError when nothing has said that it did."""
        if self._stop is None:
            raise StreamInterruptedError("the stream ended without a StopChunk", usage=self._usage)
        return self._stop

    def _pending(self, but: str = "") -> list[Part]:
        # At most one of the two goes on: each ends when the other comes.
        text = "".join(self._text[self._kept :]).removesuffix(but)
        reasoning = "".join(self._reasoning)
        parts: list[Part] = [TextPart(text)] if text else []
        return (
            [*parts, ReasoningPart(text=reasoning, vendor=self._vendor, account=self._account)] if reasoning else parts
        )

    def _end_part(self, but: str = "") -> None:
        """Keep the part that goes on, without the text *but* at its end."""
        self._parts += self._pending(but)
        self._kept = len(self._text)
        self._reasoning = []
        self._vendor = self._account = ""

    def _feed_text(self, chunk: TextChunk) -> None:
        self._end_part()  # of reasoning
        self._text.append(chunk.text)

    def _feed_reasoning(self, chunk: ReasoningChunk) -> None:
        if len(self._text) > self._kept:
            self._end_part()
        self._vendor = chunk.vendor or self._vendor
        self._account = chunk.account or self._account
        if chunk.text:
            self._reasoning.append(chunk.text)
            self._all_reasoning.append(chunk.text)
        if chunk.proof:
            text, self._reasoning = "".join(self._reasoning), []
            self._parts.append(
                ReasoningPart(
                    text=text, proof=chunk.proof, redacted=chunk.redacted, vendor=chunk.vendor, account=chunk.account
                )
            )
            self._vendor = self._account = ""

    def _feed_call(self, chunk: ToolCallChunk) -> None:
        self._end_part()
        arguments = chunk.arguments if chunk.problem is None else kept_arguments(chunk.arguments)
        self._parts.append(
            ToolCallPart(id=chunk.id, name=chunk.name, arguments=arguments, extra=chunk.extra, vendor=chunk.vendor)
        )
        self._calls.append(chunk)

    def _feed_opaque(self, chunk: OpaqueChunk) -> None:
        self._end_part(but=chunk.text)  # which the block holds, and which has come before it
        self._parts.append(OpaquePart(vendor=chunk.vendor, data=chunk.data, text=chunk.text))

    def _feed_usage(self, chunk: UsageChunk) -> None:
        self._usage += chunk

    def _feed_stop(self, chunk: StopChunk) -> None:
        self._stop = chunk

    def _pass(self, chunk: ToolCallDeltaChunk) -> None:
        """For live display only: the call comes again, whole."""


_FOLDS: Mapping[type, Callable[[Collector, Any], None]] = {
    TextChunk: Collector._feed_text,
    ReasoningChunk: Collector._feed_reasoning,
    ToolCallDeltaChunk: Collector._pass,
    ToolCallChunk: Collector._feed_call,
    OpaqueChunk: Collector._feed_opaque,
    UsageChunk: Collector._feed_usage,
    StopChunk: Collector._feed_stop,
}


async def collect(stream: AsyncGenerator[Chunk, None]) -> Reply:
    """The whole answer, once it is there. What comes out of `create_message` goes in.

    A ProviderError that the stream raises passes through, with what came before it as a Reply in its `partial`. A
    stream that ends without a StopChunk raises StreamInterruptedError.
    """
    _check_stream(stream)
    collector = Collector()
    try:
        async with aclosing(stream):
            async for chunk in stream:
                collector.feed(chunk)
        collector.close()
    except ProviderError as error:
        error.partial = collector.reply()
        raise
    return collector.reply()


def text_of(stream: AsyncGenerator[object, None]) -> AsyncGenerator[str, None]:
    """The visible text as it comes, for display only: usage and the stop reason are passed over."""
    _check_stream(stream)
    return Stream(_text_of(stream), lambda: stream.usage if isinstance(stream, Stream) else UsageChunk())


async def _text_of(stream: AsyncGenerator[object, None]) -> AsyncGenerator[str, None]:
    async with aclosing(stream):
        async for chunk in stream:
            if isinstance(chunk, TextChunk):
                yield chunk.text


async def generate_text(
    provider: BaseProvider,
    prompt: str | Sequence[Part] | Sequence[Message],
    *,
    system_prompt: str = "",
    options: Options | None = None,
) -> str:
    """The text that answers one prompt, also when it was cut off at `max_tokens` or refused.

    prompt: text, the parts of one message, or the history. Whoever wants the usage or the stop reason uses `collect`.
    """
    check_provider("provider", provider)
    reply = await collect(provider.create_message(system_prompt, history_of(prompt), options))
    return reply.text


def history_of(prompt: str | Sequence[Part] | Sequence[Message]) -> list[Message]:
    """The history that a prompt stands for: text or parts are one message of the user."""
    if isinstance(prompt, str):
        return [Message("user", prompt)]
    if isinstance(prompt, type):
        raise ConfigError(f"`prompt` is the class {prompt.__name__}, expected text: the type comes before the prompt")
    if isinstance(prompt, Message) or not isinstance(prompt, Sequence):
        raise ConfigError(f"`prompt` is a {type(prompt).__name__}, expected text, or a list of parts or of messages")
    parts = [part for part in prompt if isinstance(part, Part)]
    # What is neither part nor message is refused where it is written, with its place.
    return [Message("user", parts)] if parts and len(parts) == len(prompt) else list(prompt)  # type: ignore[arg-type]


def _check_stream(stream: object) -> None:
    """Raise ConfigError for what comes out of no `create_message`: it says what to write."""
    if isinstance(stream, AsyncIterator) and hasattr(stream, "aclose"):
        return
    what = f"a {type(stream).__name__}, expected the chunks of provider.create_message(...)"
    if isinstance(stream, BaseProvider):
        what = "the provider: pass what its create_message(...) gives"
    elif isinstance(stream, AbstractAsyncContextManager):
        what = ENTER_IT
    elif isinstance(stream, Coroutine):
        stream.close()  # or Python would warn that nobody awaits it
        what = "a coroutine: pass the chunks of provider.create_message(...), which is not awaited"
    elif callable(stream):
        what = "a function: call it, and pass what it gives"
    raise ConfigError(f"`stream` is {what}")


@closable
async def coalesce(
    stream: AsyncGenerator[T, None],
    *,
    seconds: float = 0.05,
    at: Literal["sentence", "line"] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[T | TextChunk, None]:
    """The same stream with fewer and longer text chunks, for a slow screen. No text is changed or lost.

    seconds: how long after the last text the next is held back, so a slow answer is not delayed at all. The clock is
        looked at only when a chunk comes: there is no timer, and text held back when the model pauses waits for it.
    at: let text out only up to the end of a line or, by its punctuation, of a sentence; then `seconds` does not count.

    Any other chunk passes at once, after the text held back, and usage before it. When the stream ends or fails, the
    text held back comes first.
    """
    if at is not None and at not in _ENDS:
        raise ConfigError(f"`at` is {at!r}, expected one of {', '.join(_ENDS)}")
    _check_stream(stream)
    held, ends = "", None if at is None else re.compile(_ENDS[at])
    shown_at = float("-inf")
    async with aclosing(stream):
        try:
            async for chunk in stream:
                if isinstance(chunk, TextChunk):
                    before = len(held)
                    held += chunk.text  # alone, as Python then lengthens it in place
                    ready = _border(held, before, ends) if ends else len(held) * (clock() - shown_at >= seconds)
                else:
                    # Usage has no place in the text, and comes with every piece of it at some vendors.
                    ready = 0 if isinstance(chunk, UsageChunk) else len(held)
                if ready:
                    text, held = held[:ready], held[ready:]
                    yield TextChunk(text)
                    shown_at = clock()
                if not isinstance(chunk, TextChunk):
                    yield chunk
        except Exception:
            if held:
                yield TextChunk(held)
            raise
        if held:
            yield TextChunk(held)


def _border(text: str, before: int, ends: re.Pattern[str]) -> int:
    """Where the last line or sentence of *text* ends; 0 if none does. The first *before* characters are known to hold
    no end, but they may hold the beginning of one.
    """
    last, start = 0, max(0, before - _LONGEST_END)
    while end := ends.search(text, start):
        last = start = end.end()
    return last
