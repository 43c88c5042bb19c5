"""Rows of an agent's loop: each of its parts beside doing nothing, or beside the same work done by hand.

All of it is in this process: a provider that yields what it has takes the place of the network.
"""

from __future__ import annotations

import asyncio
import functools
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from measuring import OURS, Bar, Bench, Row, Spent, Spread, Work, by_turns, plainly
from penstock import coalesce, collect, run_tools, tool
from penstock.agent.tools import FunctionTool
from penstock.core.chunks import Chunk, StopChunk, TextChunk, ToolCallChunk
from penstock.core.messages import Message, Options, Part, TextPart, Tool, ToolCallPart, ToolResultPart
from penstock.core.models import ModelInfo
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import ProviderConfig
from penstock.core.tokens import estimate_tokens
from penstock.histories import dump_messages, fit, load_messages
from penstock.meter import Ledger, Metered
from penstock.meter.telemetry import instrument
from penstock.middleware import CacheWatch, RateLimit
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from spout import Spout, exhaust

__all__ = ["ROWS"]

CHUNKS: Final = 50_000
CALLS: Final = 100
TURNS: Final = 200
MESSAGES: Final = 2_000
TOOLS: Final = 1_000
PLAIN: Final = "the stream alone"
BY_HAND: Final = "by hand"
ONE: Final = "with one message"
REQUEST: Final = "the request's body"
ENCODED: Final = "msgspec alone"
QUESTION: Final = [Message("user", "Tell me a story.")]
TEXT: Final = "word " * 90
CONFIG: Final = ProviderConfig(model_id="m", model_info=ModelInfo(), api_key="no-key-is-needed")


class Calling(Spout):
    """Calls so many tools in each of its first answers."""

    def __init__(self, calls: int, turns: int = 1) -> None:
        super().__init__(1)
        self._calls = [ToolCallChunk(id=f"call_{number}", name="add", arguments='{"a":1}') for number in range(calls)]
        self._turns = turns

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        calls = self._calls if len(messages) // 2 < self._turns else []
        yield TextChunk("a")
        for call in calls:
            yield call
        yield StopChunk(reason="tool_calls" if calls else "stop")


async def add(a: int) -> str:
    """Adds one."""
    return str(a + 1)


ADD: Final = tool(add)


async def read(stream: AsyncGenerator[object, None]) -> None:
    """To its end."""
    async for _ in stream:
        pass


async def by_hand(provider: BaseProvider) -> None:
    """What `run_tools` does, for one who needs nothing else of it."""
    history = [*QUESTION]
    while True:
        text: list[str] = []
        asked: list[ToolCallChunk] = []
        async for chunk in provider.create_message("", history):
            if type(chunk) is TextChunk:
                text.append(chunk.text)
            elif type(chunk) is ToolCallChunk:
                asked.append(chunk)
        parts: list[Part] = [TextPart("".join(text))]
        parts += [ToolCallPart(id=each.id, name=each.name, arguments=each.arguments) for each in asked]
        history.append(Message("assistant", parts))
        if not asked:
            return
        given = await asyncio.gather(*(add(**msgspec.json.decode(each.arguments)) for each in asked))
        results = [ToolResultPart(id=each.id, content=said) for each, said in zip(asked, given, strict=True)]
        history.append(Message("user", results))


Fold = Callable[[BaseProvider], Awaitable[object]]


async def traced(provider: BaseProvider) -> None:
    """Read while telemetry is on, whose spans nobody records."""
    end = instrument()
    try:
        await exhaust(provider)
    finally:
        end()


FOLDS: Final[dict[str, tuple[Fold, float]]] = {
    "run_tools, which calls none": (lambda spout: read(run_tools(spout, "", [*QUESTION], [ADD])), 0.25),
    "collect": (lambda spout: collect(spout.create_message("", QUESTION)), 0.2),
    "coalesce": (lambda spout: read(coalesce(spout.create_message("", QUESTION))), 0.25),
    "coalesce at sentences": (
        lambda spout: read(coalesce(spout.create_message("", QUESTION), at="sentence")),
        0.6,
    ),
    "telemetry": (traced, 0.4),
}
"""What reads a stream, and the most microseconds that it may add to a chunk."""


async def folded(bench: Bench, fold: Fold, pieces: int, calls: int) -> Mapping[str, Spent]:
    """So many streams through it, and without it; for each chunk, or for each of several calls."""

    async def many(reads: Fold) -> None:
        for _ in range(calls):
            await reads(Spout(pieces))

    works: dict[str, Work] = {OURS: lambda: many(fold), PLAIN: lambda: many(exhaust)}
    return await by_turns(works, bench.rounds, pieces if calls == 1 else calls)


async def turns(bench: Bench, calls: int, number: int) -> Mapping[str, Spent]:
    """So many turns of so many calls of a tool that does next to nothing, and the answer after them; for each call."""
    works: dict[str, Work] = {
        OURS: lambda: read(run_tools(Calling(calls, number), "", [*QUESTION], [ADD], max_turns=number + 1)),
        BY_HAND: lambda: by_hand(Calling(calls, number)),
    }
    return await by_turns(works, bench.rounds, calls * number)


def long_history(size: int) -> list[Message]:
    """An agent's: a question, then answers with a call, and their results, each of 450 characters."""
    history = [Message("user", f"Begin. {TEXT}")]
    while len(history) < size:
        place = len(history)
        call = ToolCallPart(id=f"toolu_{place:020}", name="add", arguments=f'{{"a":{place}}}')
        history.append(Message("assistant", [TextPart(f"{place}: {TEXT}"), call]))
        history.append(Message("user", [ToolResultPart(id=call.id, content=f"{place}: {TEXT}")]))
    return history[:size]


LAYERS: Final[dict[str, Callable[[BaseProvider], BaseProvider]]] = {
    "run_tools": lambda inner: inner,
    "RateLimit": lambda inner: RateLimit(inner, tokens_per_minute=10**9),
    "CacheWatch": CacheWatch,
    "Metered": lambda inner: Metered(inner, Ledger()),
}


async def growing(bench: Bench, layer: str) -> Mapping[str, Spent]:
    """A call with a long history that was asked before, and with a short one; and what the request itself takes."""
    provider, history = LAYERS[layer](Spout(20)), long_history(MESSAGES - 1)

    async def many(messages: Sequence[Message]) -> None:
        for _ in range(CALLS):
            if layer == "run_tools":
                await read(run_tools(provider, "", [*messages], [ADD]))
            else:
                await exhaust(provider, messages)

    def encode() -> None:
        for _ in range(CALLS):
            leaf.request_body("", history)

    leaf = AnthropicProvider(CONFIG)
    works: dict[str, Work] = {
        OURS: lambda: many(history),
        ONE: lambda: many(QUESTION),
        REQUEST: plainly(encode),
    }
    return await by_turns(works, bench.rounds, CALLS)


async def watching(bench: Bench) -> Mapping[str, Spent]:
    """What a cache watch keeps of one conversation that has had many turns."""
    history, watch = long_history(MESSAGES - 1), CacheWatch(Spout(20))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for end in range(1, len(history) + 1, 20):
            await exhaust(watch, history[:end])
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {OURS: Spent(Spread.of([(after - before) / 1e6]))}


def many_tools() -> list[FunctionTool]:
    """Tools of functions with schemas as they are in the wild."""

    async def search(query: str, limit: int = 10, sort: str | None = None, tags: list[str] | None = None) -> str:
        """Search the index.

        Args:
            query: what is looked for, in words
            limit: how many results there are at most
            sort: the field by which they are sorted
            tags: that results must have
        """
        return query

    return [tool(search, name=f"search_{place}") for place in range(TOOLS)]


async def defining(bench: Bench) -> Mapping[str, Spent]:
    """Tools of functions; by hand is a definition of which everything is there."""
    definitions = msgspec.to_builtins([each.definition for each in many_tools()])

    def make() -> None:
        for each in definitions:
            FunctionTool(msgspec.convert(each, Tool), lambda values: "")

    return await by_turns({OURS: plainly(lambda: void(many_tools())), BY_HAND: plainly(make)}, bench.rounds, TOOLS)


def void(value: object) -> None:
    """Nothing is made of it."""


async def offering(bench: Bench, provider: BaseProvider) -> Mapping[str, Spent]:
    """A request that offers many tools; each is looked at, as a schema may have been changed."""
    definitions = [each.definition for each in many_tools()]
    options = Options(max_tokens=100, tools=definitions)
    works = {
        OURS: plainly(lambda: void(provider.request_body("", QUESTION, options))),
        ENCODED: plainly(lambda: void(msgspec.json.encode(definitions))),
    }
    return await by_turns(works, bench.rounds, TOOLS)


PROVIDERS: Final[dict[str, Callable[[], BaseProvider]]] = {
    "anthropic": lambda: AnthropicProvider(CONFIG),
    "chat": lambda: OpenAIProvider(msgspec.structs.replace(CONFIG, wire="chat")),
    "responses": lambda: OpenAIProvider(msgspec.structs.replace(CONFIG, wire="responses")),
}


async def handling(bench: Bench, ours: Callable[[object], object], *, reads: bool = False) -> Mapping[str, Spent]:
    """Something that is done with a long history, for each message. reads: whether it gets that as JSON."""
    history = long_history(MESSAGES)
    stored, plain = dump_messages(history), msgspec.json.encode(history)
    decode = msgspec.json.Decoder(list[Message]).decode
    works = {
        OURS: plainly(lambda: void(ours(stored if reads else history))),
        ENCODED: plainly(lambda: void(decode(plain) if reads else msgspec.json.encode(history))),
    }
    return await by_turns(works, bench.rounds, MESSAGES)


HANDLED: Final[dict[str, tuple[Callable[..., object], float]]] = {
    "dump_messages": (dump_messages, 4),  # which reads what it has written
    "load_messages": (load_messages, 1.5),
    "estimate_tokens": (lambda history: estimate_tokens("", history), 25),
    "fit to a half": (lambda history: fit(history, 120_000), 25),
}
"""What is done with a history again and again, and its most ratio to msgspec's time for its JSON."""

ROWS: Final = [
    *(
        Row(f"a chunk through {name}", "µs", functools.partial(folded, fold=fold, pieces=CHUNKS, calls=1), [bar])
        for name, (fold, most) in FOLDS.items()
        for bar in [Bar(most, PLAIN, more=True)]
    ),
    *(
        Row(f"a call of 20 chunks through {name}", "µs", functools.partial(folded, fold=fold, pieces=20, calls=CALLS))
        for name, (fold, _) in FOLDS.items()
    ),
    *(
        Row(
            f"a call of a tool, {calls} in each of {number} turns",
            "µs",
            functools.partial(turns, calls=calls, number=number),
            [Bar(10, BY_HAND)],
        )
        for calls, number in ((1, 1), (10, 1), (100, 1), (1_000, 1), (1, TURNS))
    ),
    *(
        Row(f"a call with {MESSAGES:,} messages: {layer}", "µs", functools.partial(growing, layer=layer), [bar])
        for layer in LAYERS
        for bar in [Bar(0.5, REQUEST)]
    ),
    Row(f"CacheWatch of {MESSAGES:,} messages (0.9 MB)", "MB", watching, [Bar(2)]),
    Row("a tool made of a function", "µs", defining),
    *(
        Row(f"{TOOLS:,} tools in a request, each: {name}", "µs", functools.partial(offering, provider=make()), [bar])
        for name, make in PROVIDERS.items()
        for bar in [Bar(8, ENCODED)]
    ),
    *(
        Row(
            f"{name}, each of {MESSAGES:,} messages",
            "µs",
            functools.partial(handling, ours=ours, reads=name == "load_messages"),
            [Bar(most, ENCODED)],
        )
        for name, (ours, most) in HANDLED.items()
    ),
]
