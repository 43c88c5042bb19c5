"""Tells why a call read less from the vendor's prompt cache than it could have, and what caching saves."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

from penstock.core.chunks import EXACT, Chunk, StopChunk, UsageChunk
from penstock.core.closing import aclosing
from penstock.core.cost import cache_savings, prompt_of
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.validation import check_count
from penstock.middleware.cache_watch.blocks import Block, Chain
from penstock.middleware.cache_watch.events import BlockChange, CacheMiss, MissCause, find_change
from penstock.middleware.cache_watch.memory import Call, Conversation, Expected, Memory
from penstock.middleware.events import Event
from penstock.middleware.listeners import Telling, check_listener
from penstock.middleware.wrapper import Wrapper

__all__ = ["CacheListener", "CacheWatch"]

CacheListener: TypeAlias = Callable[[CacheMiss], None]
"""Receives each miss, in the task that reads the stream."""

# In seconds, by Options.cache: of Anthropic's cache, and of OpenAI's since gpt-5.6 (ModelInfo.supports_cache_options).
# Others report no writes and say nothing certain; OpenAI's older one, 5 to 10 minutes.
_LIFETIMES: Final = {"auto": 300.0, "extended": 3600.0, "off": 300.0}
_CHOSEN_LIFETIMES: Final = {"auto": 1800.0, "extended": 43_200.0, "off": 1800.0}
_PROBABLE: Final = 300.0
_LEAST: Final = 1024
"""Tokens under which nothing is expected of a cache that reports no writes, where its least is not known: OpenAI's."""
_SLACK: Final = 256
"""Tokens by which a guess may be wrong: such caches work in steps, of 128 tokens at OpenAI."""


class CacheWatch(Wrapper):
    """Compares what each call reads from the cache with what the calls before made readable, and says why it is less.

    Conversations are told apart by the beginning that they share, so several may run at the same time. Of each prompt
    it keeps hashes, and the beginning of each block's text. What calls made readable is what they read and wrote; where
    a vendor reports no writes, all of their prompt, and nothing as long as neither a price nor a read says that it
    caches. Silent after an answer with a vendor's own blocks: its prompt may have been counted several times.

    Put it inside of Retry and Fallback: around them, the prompts of all tries count as one.

    listener: called with each CacheMiss. What it raises is logged. conversations: how many are remembered.

    reports: the last hundred misses. saved: see there.
    """

    def __init__(
        self,
        inner: BaseProvider,
        listener: CacheListener | None = None,
        *,
        conversations: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._listener = None if listener is None else check_listener(listener)  # type: ignore[arg-type]
        self._books = _Books(inner, check_count("conversations", conversations))
        self._clock = clock
        self.reports: deque[CacheMiss] = deque(maxlen=100)

    @property
    def last(self) -> CacheMiss | None:
        """The newest miss, None if there was none."""
        return self.reports[-1] if self.reports else None

    @property
    def saved(self) -> Decimal | None:
        """US dollars that caching has saved: what all prompts would have cost as input, less what they cost.

        Writes cost more than input, so it can be negative. Exact, at standard prices, with the tier of each call; None
        once a price was not known.
        """
        return self._books.saved

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        begun = self._clock()
        options, scope = in_scope(options or Options())
        tell = Telling(self._take, scope, self, self._clock).tell
        call = self._books.open(system_prompt, messages, options, begun, tell)
        try:
            async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
                async for chunk in chunks:
                    if type(chunk) is UsageChunk:
                        call.usage += chunk
                    elif type(chunk) is StopChunk:
                        call.close(chunk)
                    yield chunk
        finally:
            # Without an await. What was read and written until a stream broke is billed, and stays in the cache.
            call.close(None)

    def _take(self, event: Event) -> None:
        if isinstance(event, CacheMiss):  # there is no other
            self.reports.append(event)
            if self._listener is not None:
                self._listener(event)


class _Books:
    """What is known after all calls until now."""

    def __init__(self, inner: BaseProvider, conversations: int) -> None:
        self.inner = inner
        self.memory = Memory(conversations)
        self.reads_seen = self.writes_seen = False
        self.saved: Decimal | None = Decimal(0)
        # Calls may run in several threads. Never held while a listener is told, which may call us again.
        self.lock = threading.Lock()

    def open(
        self,
        system_prompt: str,
        messages: Sequence[Message],
        options: Options,
        begun: float,
        tell: Callable[..., object],
    ) -> _Call:
        """Begin with a call."""
        try:
            with self.lock:
                known = self.memory.chains()
            return _Call(self, Chain(system_prompt, messages, options, known), options, begun, tell)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            return _Call(self, None, options, begun, tell)  # what is inside refuses it, and says it better

    def is_first(self, conversation: Conversation) -> bool:
        """Whether nobody has been told yet that this conversation is too short: once is enough."""
        with self.lock:
            told, conversation.told_small = conversation.told_small, True
        return not told

    def count(self, usage: UsageChunk) -> None:
        """Add what a call saved; with the lock."""
        self.reads_seen = self.reads_seen or usage.cache_read_tokens > 0
        self.writes_seen = self.writes_seen or usage.cache_write_tokens > 0
        more = cache_savings(usage, self.inner.calculate_cost)
        self.saved = None if self.saved is None or more is None else EXACT.add(self.saved, more)


class _Call:
    """One call. usage: what it has reported until now."""

    def __init__(
        self, books: _Books, chain: Chain | None, options: Options, begun: float, tell: Callable[..., object]
    ) -> None:
        self._books = books
        self._model = books.inner.get_model()
        self._options = options
        self._begun = begun
        self._tell = tell
        self._over = False
        self._chain = chain
        self._expected: Expected | None = None
        self._new: list[Block] = []
        self.usage = UsageChunk()
        if chain is not None:
            with books.lock:
                self._expected = books.memory.expect(chain, everywhere=not self._marked)
            self._new = chain.blocks(0 if self._expected is None else self._expected.shared)

    @property
    def _chosen(self) -> bool:
        """Whether the vendor caches by itself and says how long."""
        return self._model.info.supports_cache_options is True

    @property
    def _reporting(self) -> bool:
        """Whether writes are reported."""
        return self._books.writes_seen or (self._model.info.cache_writes_price is not None and not self._chosen)

    @property
    def _marked(self) -> bool:
        """Whether the cache holds what was marked in a request, and nothing else."""
        return self._reporting and not self._chosen

    def close(self, stop: StopChunk | None) -> None:
        """Say what was missed, and remember the call, once; one that broke before it reported anything is none."""
        if self._over or (stop is None and not self.usage.prompt_tokens):
            return
        self._over = True
        with self._books.lock:
            self._books.count(self.usage)
        if self._chain is None:
            return
        answered = None if stop is None else stop.model
        expected = self._expected
        if expected is not None and expected.since is not None and not any(block.opaque for block in self._new):
            self._compare(expected, expected.since, answered)
        usage, least = self.usage, self._model.info.min_cache_tokens
        call = Call(
            length=len(self._chain.hashes),
            readable=self._readable(),
            prompt=usage.prompt_tokens,
            begun=self._begun,
            lifetime=self._lifetime(),
            asked=self._model.id,
            answered=answered,
            small=least is not None and usage.prompt_tokens < least and self._options.cache != "off",
        )
        with self._books.lock:
            self._books.memory.remember(self._chain, self._new, call, expected)

    def _readable(self) -> int:
        if self._reporting:
            return self.usage.cache_read_tokens + self.usage.cache_write_tokens
        info = self._model.info
        caches = self._books.reads_seen or info.cache_reads_price is not None
        least = _LEAST if info.min_cache_tokens is None else info.min_cache_tokens
        return self.usage.prompt_tokens if caches and self.usage.prompt_tokens >= least else 0

    def _lifetime(self) -> float | None:
        if self._chosen:
            return _CHOSEN_LIFETIMES[self._options.cache]
        return _LIFETIMES[self._options.cache] if self._marked else None

    def _compare(self, expected: Expected, since: Call, answered: str | None) -> None:
        usage = self.usage
        least = self._model.info.min_cache_tokens
        small = least is not None and usage.prompt_tokens < least
        tokens = min(expected.tokens, usage.prompt_tokens)
        estimated = expected.estimated or not self._marked
        if small and since.small and not tokens and self._books.is_first(expected.conversation):
            tokens, estimated = min(since.prompt, usage.prompt_tokens), True
        elif tokens - usage.cache_read_tokens <= (_SLACK if estimated else 0):
            return
        seconds = self._begun - expected.touched
        missed = tokens - usage.cache_read_tokens
        self._tell(
            CacheMiss,
            answered=answered,
            causes=self._causes(expected, since, answered, seconds, small=small),
            expected_tokens=tokens,
            read_tokens=usage.cache_read_tokens,
            missed_tokens=missed,
            cost=self._cost_of(missed),
            seconds=seconds,
            lifetime=since.lifetime,
            change=self._change(expected),
            estimated=estimated,
        )

    def _causes(
        self, expected: Expected, since: Call, answered: str | None, seconds: float, *, small: bool
    ) -> tuple[MissCause, ...]:
        answers = {answered, since.answered} - {None}
        found: dict[MissCause, bool] = {
            "model": since.asked != self._model.id or len(answers) > 1,
            "off": self._options.cache == "off" and self._marked,
            "changed": expected.changed,
            "expired": seconds >= (_PROBABLE if since.lifetime is None else since.lifetime),
            "minimum": small,
        }
        return tuple(cause for cause, holds in found.items() if holds) or ("evicted",)

    def _change(self, expected: Expected) -> BlockChange | None:
        if not expected.changed or self._chain is None:
            return None
        before = expected.conversation.blocks[expected.shared]
        return find_change(expected.seen, before, self._chain, self._new[0], expected.shared)

    def _cost_of(self, missed: int) -> Decimal | None:
        """What the missed tokens cost more than reading them: as writes first, since they would be written again."""
        usage = prompt_of(self.usage)
        written = min(missed, usage.cache_write_tokens)
        read = msgspec.structs.replace(
            usage,
            input_tokens=usage.input_tokens - (missed - written),
            cache_write_tokens=usage.cache_write_tokens - written,
            cache_write_extended_tokens=usage.cache_write_extended_tokens
            - min(written, usage.cache_write_extended_tokens),
            cache_read_tokens=usage.cache_read_tokens + missed,
        )
        paid, better = self._books.inner.calculate_cost(usage), self._books.inner.calculate_cost(read)
        return None if paid is None or better is None else EXACT.subtract(paid, better)
