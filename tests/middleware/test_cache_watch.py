"""A cache that explains itself: what was missed, why, and what it cost; and what caching saves."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histories import histories
from penstock import (
    AnthropicProvider,
    BaseProvider,
    BlockChange,
    CacheMiss,
    CacheWatch,
    Chunk,
    ConfigError,
    ImagePart,
    InvalidRequestError,
    Message,
    Model,
    ModelInfo,
    OpaquePart,
    OpenAIProvider,
    Options,
    OverloadedError,
    PriceTier,
    ProviderConfig,
    ReasoningPart,
    StopChunk,
    TextChunk,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    UsageChunk,
    collect,
)
from penstock.middleware import Retry
from penstock.middleware.cache_watch.blocks import Chain
from penstock.testing import DemoModel, Emulator, ScriptedProvider
from playing import NOON, Clock, at_noon

pytestmark = pytest.mark.anyio

PRICES: dict[str, Any] = {"input_price": 2, "output_price": 10, "cache_reads_price": "0.2"}
MARKED = ModelInfo(
    **PRICES, cache_writes_price=Decimal("2.5"), cache_writes_extended_price=Decimal(4), min_cache_tokens=512
)
BY_ITSELF = ModelInfo(**PRICES)
CHOSEN = ModelInfo(**PRICES, cache_writes_price=Decimal("2.5"), supports_cache_options=True)


class Vendor(BaseProvider):
    """Reports what it is told to, as one usage a call."""

    def __init__(self, info: ModelInfo, *usages: UsageChunk, models: Sequence[str] = ()) -> None:
        self._info = info
        self._usages = iter(usages)
        self._models = iter(models)
        self.error: Exception | None = None

    def get_model(self) -> Model:
        """See BaseProvider."""
        return Model("m", self._info)

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        usage = next(self._usages)
        if usage != UsageChunk():
            yield usage
        if self.error is not None:
            raise self.error
        yield TextChunk("Hi")
        yield StopChunk(reason="stop", model=next(self._models, None))


def used(read: int = 0, write: int = 0, fresh: int = 0, *, extended: int = 0) -> UsageChunk:
    return UsageChunk(
        cache_read_tokens=read, cache_write_tokens=write, input_tokens=fresh, cache_write_extended_tokens=extended
    )


def turns(number: int, *, first: str = "question 0") -> list[Message]:
    """A history of so many questions, the last without an answer."""
    history = [Message("user", first)]
    for turn in range(1, number):
        answer = Message("assistant", f"answer {turn}" + "a" * 200)
        history += [answer, Message("user", f"{first.removesuffix(' 0')} {turn}" + "q" * 200)]
    return history


async def ask(
    watch: BaseProvider, history: Sequence[Message], options: Options | None = None, *, system: str = "Be brief."
) -> None:
    await collect(watch.create_message(system, history, options))


def tool(name: str, description: str = "") -> Tool:
    return Tool(name=name, description=description)


async def test_nothing_is_said_as_long_as_all_is_read() -> None:
    """A conversation, and what it saved: reads are cheaper, and writes dearer, than input."""
    watch = CacheWatch(Vendor(MARKED, used(write=1000), used(1000, 100), used(1100, 100, 7)))
    for number in (1, 2, 3):
        await ask(watch, turns(number))
    assert (list(watch.reports), watch.last) == ([], None)
    # 2100 read at 0.2 and 1200 written at 2.5 instead of 2, a million
    assert watch.saved == Decimal("0.00318")


async def test_why_less_was_read() -> None:
    """The listener has it before the stream ends, and so have `reports` and `last`."""
    misses: list[CacheMiss] = []
    clock = Clock()
    watch = CacheWatch(Vendor(MARKED, used(write=5000), used(write=5100)), misses.append, clock=clock)
    await ask(watch, turns(1))
    clock.now += 400
    await ask(watch, turns(2))
    assert misses == list(watch.reports) == [watch.last]
    assert at_noon(misses[0]) == CacheMiss(
        call="c",
        at=NOON,
        time=0.0,
        model="m",
        causes=("expired",),
        expected_tokens=5000,
        read_tokens=0,
        missed_tokens=5000,
        cost=Decimal("0.0115"),  # 5000 written at 2.5 instead of read at 0.2, a million
        seconds=400.0,
        lifetime=300.0,
    )
    assert str(misses[0]) == (
        "5000 of 5000 tokens were not read from the cache, for $0.0115 more: "
        "400 s have passed and the cache lives 300 s"
    )


AUTO, OFF, EXTENDED = Options(), Options(cache="off"), Options(cache="extended")
CAUSES: list[tuple[str, ModelInfo, Options, UsageChunk, float, Options, UsageChunk, tuple[str, ...]]] = [
    ("in time", MARKED, AUTO, used(write=900), 299, AUTO, used(900, 9), ()),
    ("in time, and gone", MARKED, AUTO, used(write=900), 299, AUTO, used(0, 909), ("evicted",)),
    ("one token less", MARKED, AUTO, used(write=900), 1, AUTO, used(899, 9), ("evicted",)),
    (
        "the longer lifetime",
        MARKED,
        EXTENDED,
        used(write=900, extended=900),
        3599,
        EXTENDED,
        used(0, 909),
        ("evicted",),
    ),
    ("the longer one ran out", MARKED, EXTENDED, used(write=900), 3600, EXTENDED, used(0, 909), ("expired",)),
    ("caching off", MARKED, AUTO, used(write=900), 1, OFF, used(0, 0, 909), ("off",)),
    ("caching was off", MARKED, OFF, used(0, 0, 900), 1, AUTO, used(0, 909), ()),
    ("too short", MARKED, AUTO, used(0, 0, 400), 1, AUTO, used(0, 0, 450), ("minimum",)),
    ("no longer too short", MARKED, AUTO, used(0, 0, 400), 1, AUTO, used(0, 600), ()),
    ("too short, and off", MARKED, OFF, used(0, 0, 400), 1, OFF, used(0, 0, 450), ()),
    ("writes known by their report", ModelInfo(), AUTO, used(write=900), 1, AUTO, used(0, 909), ("evicted",)),
    ("by itself", BY_ITSELF, AUTO, used(0, 0, 3000), 1, AUTO, used(2944, 0, 99), ()),
    ("by itself, and not", BY_ITSELF, AUTO, used(0, 0, 3000), 1, AUTO, used(0, 0, 3099), ("evicted",)),
    ("by itself, after a while", BY_ITSELF, AUTO, used(0, 0, 3000), 300, AUTO, used(0, 0, 3099), ("expired",)),
    ("by itself, off or not", BY_ITSELF, OFF, used(0, 0, 3000), 1, OFF, used(0, 0, 3099), ("evicted",)),
    ("by itself, but too little", BY_ITSELF, AUTO, used(0, 0, 1000), 1, AUTO, used(0, 0, 1023), ()),
    ("no cache that is known", ModelInfo(), AUTO, used(0, 0, 3000), 1, AUTO, used(0, 0, 3099), ()),
    ("it has a lifetime", CHOSEN, AUTO, used(write=3000), 1799, AUTO, used(0, 3099), ("evicted",)),
    ("which ran out", CHOSEN, AUTO, used(write=3000), 1800, AUTO, used(0, 3099), ("expired",)),
    ("the longer of them", CHOSEN, EXTENDED, used(write=3000), 43_199, AUTO, used(0, 3099), ("evicted",)),
]


@pytest.mark.parametrize(
    ("info", "before", "first", "seconds", "options", "second", "causes"),
    [case[1:] for case in CAUSES],
    ids=[case[0] for case in CAUSES],
)
async def test_causes(
    info: ModelInfo,
    before: Options,
    first: UsageChunk,
    seconds: float,
    options: Options,
    second: UsageChunk,
    causes: tuple[str, ...],
) -> None:
    """Two calls of one conversation, with so many seconds between."""
    clock = Clock()
    watch = CacheWatch(Vendor(info, first, second), clock=clock)
    await ask(watch, turns(1), before)
    clock.now += seconds
    await ask(watch, turns(2), options)
    assert (watch.last.causes if watch.last else ()) == causes


@pytest.mark.parametrize(
    ("models", "causes"),
    [(("a", "b"), ("model",)), (("a", "a"), ("evicted",)), (("a",), ("evicted",)), ((), ("evicted",))],
)
async def test_another_model(models: Sequence[str], causes: tuple[str, ...]) -> None:
    """As a fallback or a router may choose one; what is not said is not another."""
    watch = CacheWatch(Vendor(MARKED, used(write=900), used(0, 909), models=models))
    await ask(watch, turns(1))
    await ask(watch, turns(2))
    assert watch.last is not None
    assert watch.last.causes == causes


LONG = "You are a helpful agent. " * 100
TOOLS = [tool("read"), tool("write", "Writes a file"), tool("run")]


def history_with(**more: Message) -> list[Message]:
    """Five questions, some of the messages others: `_3=Message(...)`."""
    history = turns(5)
    for name, message in more.items():
        history[int(name[1:])] = message
    return history


CHANGES: list[tuple[str, list[Tool], str, Options, list[Message], BlockChange]] = [
    (
        "a tool's description",
        [TOOLS[0], tool("write", "Writes one file"), TOOLS[2]],
        LONG,
        AUTO,
        turns(6),
        BlockChange(
            kind="tool",
            what="changed",
            place="tools[1] (write)",
            before='…escription":"Writes a file","parameters":{"type":"object","properties":{},"strict…',
            after='…escription":"Writes one file","parameters":{"type":"object","properties":{}},"str…',
        ),
    ),
    (
        "a tool more",
        [tool("list"), *TOOLS],
        LONG,
        AUTO,
        turns(6),
        BlockChange(kind="tool", what="added", place="tools[0] (list)", after='{"name":"list"…'),
    ),
    (
        "a tool more at the end",
        [*TOOLS, tool("list")],
        LONG,
        AUTO,
        turns(6),
        BlockChange(kind="tool", what="added", place="tools[3] (list)", after='{"name":"list"…'),
    ),
    (
        "a tool less",
        TOOLS[1:],
        LONG,
        AUTO,
        turns(6),
        BlockChange(kind="tool", what="removed", place="tools[0] (read)", before='{"name":"read"…'),
    ),
    (
        "a tool elsewhere",
        [TOOLS[1], TOOLS[0], TOOLS[2]],
        LONG,
        AUTO,
        turns(6),
        BlockChange(kind="tool", what="moved", place="tools[0] (write)", after='{"name":"write"…'),
    ),
    (
        "the system prompt",
        TOOLS,
        LONG + "It is 12:01.",
        AUTO,
        turns(6),
        BlockChange(kind="system", what="changed", place="system", before="…re a helpful agent. ", after="…"),
    ),
    (
        "the tool choice",
        TOOLS,
        LONG,
        Options(tool_choice="required"),
        turns(6),
        BlockChange(kind="options", what="changed", place="options", before="", after='{"tool_choice":"required"}'),
    ),
    (
        "an older message",
        TOOLS,
        LONG,
        AUTO,
        [*history_with(_2=Message("user", "question one")), *turns(6)[-2:]],
        BlockChange(
            kind="message",
            what="changed",
            place="messages[2].content[0]",
            before="question 1qqq…",
            after="question one",
        ),
    ),
    (
        "the oldest turns",
        TOOLS,
        LONG,
        AUTO,
        turns(6)[4:],
        BlockChange(kind="message", what="removed", place="messages[0].content[0]", before="question 0"),
    ),
    (
        "a summary of the oldest turns",
        TOOLS,
        LONG,
        AUTO,
        [Message("user", [TextPart("So far: nothing"), TextPart("go on")]), *turns(6)[4:]],
        BlockChange(
            kind="message", what="changed", place="messages[0].content[0]", before="question 0", after="So far: nothing"
        ),
    ),
]


@pytest.mark.parametrize(
    ("tools", "system", "options", "history", "change"),
    [case[1:] for case in CHANGES],
    ids=[case[0] for case in CHANGES],
)
async def test_what_has_changed(
    tools: list[Tool], system: str, options: Options, history: list[Message], change: BlockChange
) -> None:
    """The first block that differs, with a little of its text."""
    watch = CacheWatch(Vendor(MARKED, used(write=9000), used(0, 9100), used(9100, 9)))
    await ask(watch, turns(5), Options(tools=TOOLS), system=LONG)
    await ask(watch, history, msgspec.structs.replace(options, tools=tools), system=system)
    assert watch.last is not None
    assert watch.last.causes == ("changed",)
    found = watch.last.change
    assert found is not None
    assert (found.kind, found.what, found.place) == (change.kind, change.what, change.place)
    for shown, wanted in ((found.before, change.before), (found.after, change.after)):
        assert shown.startswith(wanted.rstrip("…")[:20]), (shown, wanted)
    assert watch.last.estimated
    assert 0 < watch.last.missed_tokens <= 9000
    assert str(found) in str(watch.last)
    # It goes on from there.
    await ask(watch, [*history, *turns(2)[1:]], msgspec.structs.replace(options, tools=tools), system=system)
    assert len(watch.reports) == 1


async def test_a_change_behind_what_is_kept() -> None:
    """It is named all the same."""
    history = [Message("user", "x" * 1000), *turns(3)[1:]]
    watch = CacheWatch(Vendor(MARKED, used(write=9000), used(0, 9100)))
    await ask(watch, history)
    await ask(watch, [Message("user", "x" * 999 + "y"), *turns(4)[1:]])
    assert watch.last is not None
    assert str(watch.last.change) == "messages[0].content[0] was changed, beyond the part of its text that is kept"


PARTS = [
    TextPart("text"),
    ImagePart(data=b"x", media_type="image/png"),
    ReasoningPart(text="hm", proof="p", vendor="v"),
    ToolCallPart(id="a", name="get", arguments="{}"),
    ToolResultPart(id="a", content="done"),
    ToolResultPart(id="a", content=[TextPart("done"), ImagePart(url="https://x.test")]),
    OpaquePart(vendor="v", data="{}"),
]


@pytest.mark.parametrize("part", PARTS, ids=[type(part).__name__ for part in PARTS])
async def test_every_kind_of_part_is_seen(part: Any) -> None:
    """Also one that was changed in place."""
    watch = CacheWatch(Vendor(MARKED, used(write=9000), used(0, 9100)))
    parts = [part]
    history = [Message("user", "go"), Message("assistant", parts), *turns(3)]
    await ask(watch, history)
    parts[0] = TextPart("other")
    await ask(watch, [*history, *turns(2)[1:]])
    assert watch.last is not None
    assert watch.last.change is not None
    assert watch.last.change.place == "messages[1].content[0]"
    assert watch.last.change.after == "other"


async def test_text_and_one_part_of_text_are_the_same() -> None:
    """They are sent as the same bytes."""
    watch = CacheWatch(Vendor(MARKED, used(write=9000), used(0, 9100)))
    await ask(watch, [Message("user", "Hi")])
    await ask(watch, [Message("user", (TextPart("Hi"),)), *turns(2)[1:]])
    assert watch.last is not None
    assert watch.last.causes == ("evicted",)


async def test_several_conversations_are_told_apart() -> None:
    """As those of an agent and the agents that it starts, with the same tools and system prompt."""
    usages = [used(write=1000), used(write=2000), used(1000, 10), used(1990, 20)]
    watch = CacheWatch(Vendor(MARKED, *usages))
    await ask(watch, turns(1, first="a"))
    await ask(watch, turns(1, first="b"))
    await ask(watch, turns(2, first="a"))
    assert watch.last is None
    await ask(watch, turns(2, first="b"))
    assert watch.last is not None
    assert (watch.last.expected_tokens, watch.last.missed_tokens) == (2000, 10)


async def test_only_so_many_are_remembered() -> None:
    """The one that was asked longest ago is forgotten, and of it nothing is said."""
    usages = [used(write=1000), used(write=1000), used(1000, 10), used(write=1000), used(write=1000)]
    watch = CacheWatch(Vendor(MARKED, *usages), conversations=2)
    for number, first in ((1, "a"), (1, "b"), (2, "a"), (1, "c"), (2, "b")):
        await ask(watch, turns(number, first=first))
    assert watch.last is None


async def test_branches() -> None:
    """What both begin with can be read; what only the other has cannot. The trunk goes on as if nothing had been."""
    usages = [used(write=1000), used(1000, 500), used(1500, 500), used(1500, 9), used(2000, 9), used(900, 700)]
    watch = CacheWatch(Vendor(MARKED, *usages))
    for number in (1, 2, 3):
        await ask(watch, turns(number))
    other = [*turns(2), Message("assistant", "otherwise"), Message("user", "and?")]
    await ask(watch, other)
    await ask(watch, turns(4))
    assert watch.last is None
    await ask(watch, [*turns(1), Message("assistant", "otherwise"), Message("user", "and?")])
    assert watch.last is not None
    assert (watch.last.causes, watch.last.expected_tokens, watch.last.change) == (("evicted",), 1000, None)


async def test_a_branch_where_the_vendor_caches_by_itself() -> None:
    """All of what both begin with can be read, not only up to where a call ended."""
    watch = CacheWatch(Vendor(BY_ITSELF, used(0, 0, 10_000), used(0, 0, 10_000)))
    await ask(watch, turns(11))
    await ask(watch, [*turns(6), Message("assistant", "otherwise"), Message("user", "and?")])
    assert watch.last is not None
    assert 4000 < watch.last.expected_tokens < 6000
    assert watch.last.estimated


async def test_calls_at_the_same_time() -> None:
    """An entry can be read only once the answer has begun, so of the second nothing is expected."""
    watch = CacheWatch(Vendor(MARKED, used(write=1000), used(write=1000), used(1000, 9), used(1000, 9)))
    one, two = watch.create_message("", turns(1)), watch.create_message("", turns(1))
    async with aclosing(one), aclosing(two):
        for stream in (one, two, one, two, one, two):
            await anext(stream)
    other = [*turns(1), Message("assistant", "otherwise"), Message("user", "and?")]
    one, two = watch.create_message("", turns(2)), watch.create_message("", other)
    async with aclosing(one), aclosing(two):
        for stream in (one, two, one, two, one, two):
            await anext(stream)
    assert watch.last is None


async def test_a_stream_that_breaks_has_written_all_the_same() -> None:
    """So has one that is left; but not one that reported nothing."""
    vendor = Vendor(MARKED, used(write=1000), used(900, 109), UsageChunk(), used(1000, 109))
    watch = CacheWatch(vendor)
    vendor.error = OverloadedError("busy")
    with pytest.raises(OverloadedError):
        await ask(watch, turns(1))
    vendor.error = None
    async with watch.stream("Be brief.", turns(2)) as stream:
        await anext(stream)
    assert watch.last is not None
    assert watch.last.missed_tokens == 100
    async with watch.stream("Be brief.", turns(3)) as stream:
        await anext(stream)
    await ask(watch, turns(3))
    assert [miss.missed_tokens for miss in watch.reports] == [100, 9]


async def test_a_vendors_own_blocks() -> None:
    """Such an answer's prompt is counted once for each step of the vendor's, so nothing is expected of it."""
    watch = CacheWatch(Vendor(MARKED, used(8000, 1000), used(4000, 100), used(4000, 200)))
    await ask(watch, turns(1))
    searched = [*turns(1), Message("assistant", [OpaquePart(vendor="v", data="{}")]), Message("user", "and?")]
    await ask(watch, searched)
    assert watch.last is None
    await ask(watch, [*searched, *turns(2)[1:]])
    assert watch.last is not None
    assert watch.last.missed_tokens == 100


async def test_too_short_is_said_once() -> None:
    """For each conversation."""
    watch = CacheWatch(Vendor(MARKED, *[used(0, 0, 400)] * 5))
    for number in (1, 2, 3):
        await ask(watch, turns(number))
    assert len(watch.reports) == 1
    assert watch.last is not None
    assert "the prompt is shorter than what m caches" in str(watch.last)
    for number in (1, 2):
        await ask(watch, turns(number, first="other"))
    assert len(watch.reports) == 2


@pytest.mark.parametrize(
    ("info", "usage", "cost"),
    [
        (MARKED, used(0, 1100), Decimal("0.0023")),
        (MARKED, used(0, 1100, extended=1100), Decimal("0.0038")),
        (MARKED, used(0, 600, 500), Decimal("0.0021")),  # 600 written and 400 as input
        (MARKED, used(400, 700), Decimal("0.00138")),
        (
            ModelInfo(
                **PRICES,
                cache_writes_price=Decimal("2.5"),
                tiers=[PriceTier(above_input_tokens=1000, cache_writes_price=Decimal(5), cache_reads_price=Decimal(1))],
            ),
            used(0, 1100),
            Decimal("0.004"),
        ),
        (ModelInfo(cache_writes_price=Decimal(1)), used(0, 1100), None),
    ],
)
async def test_what_a_miss_costs(info: ModelInfo, usage: UsageChunk, cost: Decimal | None) -> None:
    """What was billed for the tokens, less what reading them costs; in the tier of the call."""
    watch = CacheWatch(Vendor(info, used(write=1000), usage))
    await ask(watch, turns(1))
    await ask(watch, turns(2))
    assert watch.last is not None
    assert watch.last.cost == cost


async def test_what_is_saved_is_not_known_without_prices() -> None:
    """But as long as nothing was cached it is nothing."""
    watch = CacheWatch(Vendor(ModelInfo(), used(fresh=1000), used(write=1000), used(1000)))
    await ask(watch, turns(1))
    assert watch.saved == 0
    await ask(watch, turns(2))
    assert watch.saved is None
    await ask(watch, turns(3))
    assert watch.saved is None


async def test_writes_that_were_never_read_cost() -> None:
    """What is saved can be less than nothing."""
    watch = CacheWatch(Vendor(MARKED, used(write=1000)))
    await ask(watch, turns(1))
    assert watch.saved == Decimal("-0.0005")


async def test_what_no_provider_takes_is_left_to_the_provider() -> None:
    """It says better what is wrong."""
    watch = CacheWatch(ScriptedProvider([InvalidRequestError("no")], repeat=True))
    nested: Any = [[]]
    number: Any = 5
    contents: list[Any] = [number, [number], [TextPart(number)], [ToolResultPart(id="a", content=nested)]]
    for message in (number, *(Message("user", content) for content in contents)):
        with pytest.raises(InvalidRequestError):
            await ask(watch, [message])
    with pytest.raises(InvalidRequestError):
        await ask(watch, turns(1), Options(tools=[{"x": object()}]))
    watch = CacheWatch(Vendor(MARKED, used(write=1000)))
    await ask(watch, turns(1), Options(tools=[MappingProxyType({"name": object()})]))
    assert watch.saved == Decimal("-0.0005")


@given(histories)
@settings(max_examples=200, deadline=None)
async def test_any_history_is_watched(history: list[Message]) -> None:
    """Whatever the types allow."""
    watch = CacheWatch(Vendor(MARKED, used(write=9000), used(0, 9000), used(0, 9000)))
    tools = [{"type": "function", "function": {"name": "raw"}}, MappingProxyType({"name": "web_search"})]
    await ask(watch, history, Options(tools=tools))
    await ask(watch, [*history, Message("user", "more")], Options(tools=tools))
    assert len(watch.reports) == (1 if history and any(message.content != [] for message in history) else 0)
    await ask(watch, history[1:], Options(tools=tools[:1]))


@given(histories, histories, st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_a_beginning_is_taken_over(first: list[Message], rest: list[Message], at: int) -> None:
    """A chain is the same whether another lends it the hashes of what both begin with or not."""
    tools = Options(tools=[Tool(name="f")])
    known = [Chain("Be brief.", first, tools), Chain("", first[1:], Options())]
    history = [*first[:at], *rest]
    alone, lent = Chain("", history, Options()), Chain("", history, Options(), known)
    assert lent.hashes == alone.hashes
    assert [*map(lent.place, range(len(lent.hashes)))] == [*map(alone.place, range(len(alone.hashes)))]
    assert lent.blocks(0) == alone.blocks(0)


async def test_a_listener_that_fails_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""

    def fail(miss: CacheMiss) -> None:
        raise LookupError("a bug")

    watch = CacheWatch(Vendor(MARKED, used(write=1000), used(0, 1000)), fail)
    await ask(watch, turns(1))
    await ask(watch, turns(2))
    assert watch.last is not None
    assert "a listener failed at CacheMiss" in caplog.text


async def test_arguments_are_checked() -> None:
    """By name."""
    with pytest.raises(ConfigError, match="inner"):
        CacheWatch(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="listener"):
        CacheWatch(Vendor(MARKED), 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="conversations"):
        CacheWatch(Vendor(MARKED), conversations=0)


async def test_the_chunks_pass_untouched() -> None:
    """As with every wrapper; and it can stand in others."""
    plain = [chunk async for chunk in Vendor(MARKED, used(write=1000)).create_message("", turns(1))]
    watch = CacheWatch(Vendor(MARKED, used(write=1000)))
    assert [chunk async for chunk in Retry(watch).create_message("", turns(1))] == plain
    assert watch.get_model() == Model("m", MARKED)


# Against the emulator, on each wire

WIRES: dict[str, Callable[[str], BaseProvider]] = {
    "anthropic": lambda url: AnthropicProvider(
        ProviderConfig(model_id="m", api_key="none", base_url=url, model_info=MARKED)
    ),
    "chat": lambda url: OpenAIProvider(
        ProviderConfig(model_id="m", api_key="none", base_url=f"{url}/v1", model_info=BY_ITSELF, wire="chat"), "openai"
    ),
    "responses": lambda url: OpenAIProvider(
        ProviderConfig(model_id="m", api_key="none", base_url=f"{url}/v1", model_info=BY_ITSELF, wire="responses"),
        "openai",
    ),
}
MARK = re.compile(rb',"cache_control":\{"type":"ephemeral"\}')


def open_end(body: bytes) -> bytes:
    """A body without the marks, which move by design, and without what closes the last message, list and object.

    Of Anthropic's messages the text stands in a list of one block; the last message is closed in all.
    """
    return MARK.sub(b"", body).removesuffix(b"]}")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # nothing waits, so the loop is of no account
@pytest.mark.parametrize("wire", WIRES)
async def test_sixty_turns(wire: str) -> None:
    """The bytes of each turn begin those of the next; a tool that changes in the middle is all that is to be said."""
    tools = [tool(f"tool_{number}", "Does something useful. " * 40) for number in range(3)]
    history: list[Message] = []
    spent = UsageChunk()
    async with Emulator(DemoModel(min_cache_tokens=512)) as emulator, CacheWatch(WIRES[wire](emulator.url)) as watch:
        for turn in range(60):
            if turn == 30:
                tools[1] = tool("tool_1", "Does something useful. " * 20 + "Or not. " + "Does something useful. " * 20)
                saved_before = watch.saved
            history.append(Message("user", f"Question {turn}: " + "why? " * 20))
            reply = await collect(watch.create_message("Be brief.", history, Options(max_tokens=500, tools=tools)))
            assert reply.message is not None
            history.append(reply.message)
            spent += reply.usage
            if turn == 29:
                assert watch.last is None
        bodies = [open_end(request.body) for request in emulator.requests]
    for number, (body, following) in enumerate(pairwise(bodies)):
        assert following.startswith(body) == (number != 29), number
    assert len(watch.reports) == 1
    miss = watch.reports[0]
    assert (len(miss.call), miss.causes) == (16, ("changed",))
    assert miss.change is not None
    assert (miss.change.kind, miss.change.what, miss.change.place) == ("tool", "changed", "tools[1] (tool_1)")
    assert "Or not." in miss.change.after
    assert miss.missed_tokens > 2_500
    price = MARKED.cache_writes_price if wire == "anthropic" else MARKED.input_price
    assert price is not None
    assert miss.cost == miss.missed_tokens * (price - Decimal("0.2")) / 1_000_000
    assert f"${miss.cost.normalize():f}" in str(miss)
    # The same calls without caching: all of the prompts as input.
    assert spent.cost is not None
    assert watch.saved == spent.prompt_tokens * Decimal(2) / 1_000_000 - (
        spent.cost - spent.output_tokens * Decimal(10) / 1_000_000
    )
    assert saved_before is not None
    assert watch.saved > saved_before > 0
