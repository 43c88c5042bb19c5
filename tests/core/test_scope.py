"""One call is one id, whatever is around it; whom it is booked on leaks nowhere.

Two agents run at the same time in every way in which context variables are known to leak: interleaved in one task, in
tasks, in threads, in each other's tools, closed elsewhere, left half-way.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
import pytest

from penstock import (
    BaseProvider,
    Chunk,
    ConfigError,
    Message,
    Options,
    ServerError,
    StopChunk,
    TextChunk,
    ToolCallChunk,
    run,
    run_tools,
    tags,
    tool,
)
from penstock.core.scope import Scope
from penstock.middleware import Completed, Event, Fallback, Observe, Retry, Started
from penstock.testing import Hang, ScriptedProvider
from playing import ASK, HI, Clock

pytestmark = pytest.mark.anyio

CALL: list[Chunk] = [ToolCallChunk(id="c", name="work", arguments="{}"), StopChunk(reason="tool_calls")]


class Heard:
    """A provider of many calls, and what was told of them, by whom they are booked on."""

    def __init__(self, *scripts: Any, repeat: bool = True) -> None:
        self.events: list[Event] = []
        self.inner = ScriptedProvider(*(scripts or (HI,)), repeat=repeat)
        self.provider: BaseProvider = Observe(self.inner, self.events.append)

    def started(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, Started)]

    def booked(self) -> list[dict[str, str]]:
        return [dict(event.tags) for event in self.started()]


async def ask(provider: BaseProvider, options: Options | None = None) -> None:
    async with provider.stream("", ASK, options) as stream:
        async for _ in stream:
            pass


def test_the_scope_is_nobodys_business() -> None:
    """It is neither shown nor compared; options are as equal as what was asked for."""
    plain, scoped = Options(max_tokens=3), Options(max_tokens=3, scope=Scope(call="secret-call"))
    assert plain == scoped
    assert plain != Options(max_tokens=4)
    assert plain != 3
    assert repr(scoped) == repr(plain) == "Options(max_tokens=3)"
    assert repr(Options()) == "Options()"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param({"user": 3}, "`tags` has 'user': 3, expected text for both", id="a number"),
        pytest.param({3: "a"}, "`tags` has 3: 'a', expected text for both", id="a name that is none"),
        pytest.param(["a"], "`tags` is of type list, expected a mapping", id="a list"),
        pytest.param("", "`tags` is of type str, expected a mapping", id="nothing of another type"),
    ],
)
def test_tags_are_text(wrong: Any, said: str) -> None:
    """In the options and in a `with` statement."""
    with pytest.raises(ConfigError, match=said):
        Options(tags=wrong)
    if isinstance(wrong, Mapping):
        with pytest.raises(ConfigError, match=said):
            tags(wrong)


@pytest.mark.parametrize("wrong", ["", 3, b"a"])
def test_a_run_has_a_name(wrong: Any) -> None:
    """Or none, and then it gets one."""
    with pytest.raises(ConfigError, match="the id of a run"):
        run(wrong)


async def test_one_id_through_all_middlewares_and_tries() -> None:
    """Two tries of the first provider and one of the second are one call, and each knows which try it is."""
    events: list[Event] = []
    clock = Clock()
    first = ScriptedProvider([ServerError("broke")], repeat=True)
    second = ScriptedProvider(HI, repeat=True)
    inner = Retry(Observe(first, events.append), attempts=2, sleep=clock.sleep, listener=events.append)
    outer = Observe(Fallback(inner, Observe(second, events.append), listener=events.append), events.append)
    for _ in range(2):
        await ask(outer, Options(tags={"user": "ann"}))
    half = len(events) // 2
    for told in (events[:half], events[half:]):
        assert len({event.call for event in told}) == 1
        assert all(event.tags == {"user": "ann"} for event in told)
        started = [event.attempt for event in told if isinstance(event, Started)]
        assert started == [1, 1, 2, 1]
    assert events[0].call != events[-1].call
    scopes = [call.options.scope for call in (*first.calls, *second.calls) if call.options is not None]
    assert {scope.call for scope in scopes if scope is not None} == {events[0].call, events[-1].call}


async def test_a_middleware_of_ones_own_keeps_the_call() -> None:
    """Whoever replaces options hands the scope on without knowing of it."""
    heard = Heard()

    class Short(ScriptedProvider):
        def create_message(self, system_prompt: str, messages: Any, options: Options | None = None) -> Any:
            shorter = msgspec.structs.replace(options or Options(), max_tokens=1)
            return heard.provider.create_message(system_prompt, messages, shorter)

    outer: list[Event] = []
    await ask(Observe(Short(), outer.append))
    assert outer[0].call == heard.events[0].call


@pytest.mark.parametrize(
    ("outside", "options", "booked"),
    [
        pytest.param({}, None, {}, id="nobody"),
        pytest.param({}, {"user": "ann"}, {"user": "ann"}, id="by the options"),
        pytest.param({"user": "ann"}, None, {"user": "ann"}, id="by a with statement"),
        pytest.param({"user": "ann"}, {"job": "7"}, {"user": "ann", "job": "7"}, id="by both"),
        pytest.param({"user": "ann"}, {"user": "bob"}, {"user": "bob"}, id="the options win"),
    ],
)
async def test_what_a_call_is_booked_on(
    outside: dict[str, str], options: dict[str, str] | None, booked: dict[str, str]
) -> None:
    """The tags of the options over those of the place where the first chunk is asked for."""
    heard = Heard()
    with tags(outside):
        await ask(heard.provider, None if options is None else Options(tags=options))
    await ask(heard.provider)
    assert heard.booked() == [booked, {}]


async def test_tags_and_runs_nest() -> None:
    """Inner ones win, and what was before comes back."""
    heard = Heard()
    with run("night") as name, tags(user="ann", team="x") as both:
        assert (name, both) == ("night", {"user": "ann", "team": "x"})
        with tags({"user": "bob"}):
            await ask(heard.provider)
        await ask(heard.provider)
        with run() as other:
            await ask(heard.provider)
    assert heard.booked() == [{"user": "bob", "team": "x"}, *[{"user": "ann", "team": "x"}] * 2]
    assert [event.run for event in heard.started()] == ["night", "night", other]


async def test_they_are_read_once_when_the_first_chunk_is_asked_for() -> None:
    """Not when the call is made, and not again while it goes on."""
    heard = Heard([TextChunk("a"), TextChunk("b"), *HI])
    stream = heard.provider.create_message("", ASK)
    with tags(user="ann"):
        await anext(stream)
    with tags(user="bob"):
        async for _ in stream:
            pass
    assert {dict(event.tags)["user"] for event in heard.events} == {"ann"}


# Where a variable that is set inside would be seen by whoever reads the generator.


async def generator(setting: Callable[[], Any]) -> AsyncIterator[int]:
    with setting():
        yield 1


async def stacked(setting: Callable[[], Any]) -> AsyncIterator[int]:
    with ExitStack() as stack:
        stack.enter_context(setting())
        yield 1


@pytest.mark.parametrize("inside", [generator, stacked], ids=["itself", "by a stack"])
@pytest.mark.parametrize("setting", [lambda: tags(user="ann"), run], ids=["tags", "run"])
async def test_an_async_generator_is_no_place_for_them(inside: Any, setting: Callable[[], Any]) -> None:
    """It is refused by name, and says what to do."""
    async with aclosing(inside(setting)) as items:
        with pytest.raises(ConfigError, match=r"cannot be used in an async generator.*Options\(tags=...\)"):
            await anext(items)


async def test_a_function_that_a_generator_awaits_is_a_place_for_them() -> None:
    """There nothing can leak, nor out of a context manager made of a plain generator."""
    heard = Heard()

    @contextmanager
    def tagged() -> Iterator[None]:
        with tags(user="ann"):
            yield

    async def tell() -> None:
        with tagged():
            await ask(heard.provider)

    async def items() -> AsyncIterator[int]:
        await tell()
        yield 1
        await ask(heard.provider)

    assert [item async for item in items()] == [1]
    assert heard.booked() == [{"user": "ann"}, {}]


# Two agents at the same time. Each has its own provider, tags and run; nothing of one may be seen at the other.


def agent(heard: Heard, name: str, work: Callable[[], Awaitable[str]]) -> Any:
    """An agent of two turns, whose one tool does *work*."""
    heard.inner = ScriptedProvider(CALL, HI, repeat=True)
    heard.provider = Observe(heard.inner, heard.events.append)

    @tool(name="work")
    async def its_tool() -> str:
        """Works."""
        return await work()

    return run_tools(heard.provider, "", [Message("user", "Go")], [its_tool], Options(tags={"agent": name}))


def check(*agents: Heard) -> None:
    """Each agent's calls are its own: one run, its tags, ids that no other has."""
    runs = [{event.run for event in heard.events} for heard in agents]
    assert all(len(found) == 1 and None not in found for found in runs)
    assert len(set.union(*runs)) == len(agents)
    calls = [event.call for heard in agents for event in heard.started()]
    assert len(set(calls)) == len(calls)
    for place, heard in enumerate(agents):
        assert {dict(event.tags)["agent"] for event in heard.events} == {str(place)}
        assert len(heard.started()) == 2


async def idle() -> str:
    await anyio.lowlevel.checkpoint()
    return "done"


async def test_two_agents_interleaved_in_one_task() -> None:
    """A chunk of one, a chunk of the other."""
    heard = Heard(), Heard()
    streams = [agent(one, str(place), idle) for place, one in enumerate(heard)]
    left = list(streams)
    while left:
        for stream in list(left):
            with contextlib.suppress(StopAsyncIteration):
                await anext(stream)
                continue
            left.remove(stream)
    check(*heard)


async def test_two_agents_in_two_tasks() -> None:
    """At the same time."""
    heard = Heard(), Heard()

    async def go(place: int) -> None:
        async for _ in agent(heard[place], str(place), idle):
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(go, 0)
        group.start_soon(go, 1)
    check(*heard)


async def test_two_agents_in_threads(anyio_backend: str) -> None:
    """Each with a loop of its own."""
    heard = Heard(), Heard()

    async def go(place: int) -> None:
        async for _ in agent(heard[place], str(place), idle):
            pass

    async def in_thread(place: int) -> None:
        await anyio.to_thread.run_sync(lambda: anyio.run(go, place, backend=anyio_backend))

    async with anyio.create_task_group() as group:
        for place in range(2):
            group.start_soon(in_thread, place)
    check(*heard)


async def test_an_agent_in_anothers_tool() -> None:
    """Its run is a part of the other's run, and its own tags win; a bare call in a tool is booked on the agent."""
    outer, inner, bare = Heard(), Heard(), Heard()

    async def work() -> str:
        await ask(bare.provider)
        async for _ in agent(inner, "1", idle):
            pass
        await ask(bare.provider)
        return "done"

    async for _ in agent(outer, "0", work):
        pass
    check(outer, inner)
    whole = outer.events[0].run
    assert whole is not None
    assert [event.run for event in bare.started()] == [whole, whole]
    assert bare.booked() == [{"agent": "0"}] * 2
    part = inner.events[0].run
    assert part is not None
    assert part.startswith(f"{whole}/")


async def test_two_agents_in_each_others_tools() -> None:
    """One calls the other while that waits for the one."""
    heard = Heard(), Heard(), Heard()

    async def deepest() -> str:
        async for _ in agent(heard[2], "2", idle):
            pass
        return "done"

    async def deeper() -> str:
        async for _ in agent(heard[1], "1", deepest):
            pass
        return "done"

    async for _ in agent(heard[0], "0", deeper):
        pass
    check(*heard)
    assert [(heard[place].events[0].run or "").count("/") for place in range(3)] == [0, 1, 2]


async def test_a_sync_tool_knows_its_agent() -> None:
    """Also in its thread."""
    seen: list[str] = []
    heard = Heard()
    heard.inner = ScriptedProvider(CALL, HI, repeat=True)
    heard.provider = Observe(heard.inner, heard.events.append)

    @tool(name="work")
    def work() -> str:
        """Works."""
        with tags() as known:
            seen.append(known["agent"])
        return "done"

    async for _ in run_tools(heard.provider, "", [Message("user", "Go")], [work], Options(tags={"agent": "0"})):
        pass
    assert seen == ["0"]


async def test_between_two_chunks_the_consumer_is_nobodys() -> None:
    """What an agent sets while its tools run is not there when it yields, nor after it is left or closed elsewhere."""
    heard, own = Heard(), Heard()
    async for _ in agent(heard, "0", idle):
        await ask(own.provider)
    async with aclosing(agent(Heard(), "0", idle)) as left:
        await anext(left)
    await ask(own.provider)

    stuck = Heard()

    async def hang() -> str:
        await anyio.sleep_forever()
        return "never"

    with anyio.move_on_after(0.05):
        async for _ in agent(stuck, "0", hang):
            pass
    await ask(own.provider)
    stream = agent(Heard(), "0", idle)
    await anext(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.aclose)
    await ask(own.provider)
    assert own.booked() == [{}] * len(own.started())
    assert {event.run for event in own.started()} == {None}


async def test_a_run_that_the_program_names_is_that_of_its_agents() -> None:
    """Of all that it starts."""
    heard = Heard(), Heard()
    with run("nightly"):
        for place in range(2):
            async for _ in agent(heard[place], str(place), idle):
                pass
    assert {event.run for one in heard for event in one.events} == {"nightly"}


async def test_a_call_that_is_left_keeps_its_id() -> None:
    """Its last event is of the same call."""
    heard = Heard([TextChunk("a"), Hang()])
    async with heard.provider.stream("", ASK, Options(tags={"user": "ann"})) as stream:
        await anext(stream)
    assert len({event.call for event in heard.events}) == 1
    assert heard.events[-1].tags == {"user": "ann"}


async def test_other_listeners_of_a_scope_are_told_too() -> None:
    """Whoever opens a provider for others can hear of each of their calls."""
    own: list[Event] = []
    others: list[Event] = []
    scope = Scope(call="c", listeners=(others.append,))
    await ask(Observe(ScriptedProvider(HI), own.append), Options(scope=scope))
    assert own == others
    assert isinstance(own[-1], Completed)


async def test_a_stack_of_calls_in_an_exit_stack() -> None:
    """Streams that are open at the same time do not see each other's tags."""
    heard = Heard()
    async with AsyncExitStack() as stack:
        streams = []
        for name in ("ann", "bob"):
            with tags(user=name):
                stream = await stack.enter_async_context(heard.provider.stream("", ASK))
                await anext(stream)
                streams.append(stream)
        for stream in reversed(streams):
            async for _ in stream:
                pass
    assert [dict(event.tags)["user"] for event in heard.events if isinstance(event, Completed)] == ["bob", "ann"]


@asynccontextmanager
async def unused() -> AsyncIterator[None]:
    with tags(user="ann"):
        yield


async def test_an_async_context_manager_is_a_generator_too() -> None:
    """Its body runs in the frame of one."""
    with pytest.raises(ConfigError, match="async generator"):
        async with unused():
            pass
