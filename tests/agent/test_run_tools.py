"""The agent's loop: what it yields, what it runs, when it ends, and what is in the history whenever it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histories import check_history
from patience import PATIENCE, drain_patiently
from penstock import (
    AnthropicProvider,
    BaseProvider,
    Chunk,
    ConfigError,
    FunctionTool,
    ImagePart,
    LoopChunk,
    Message,
    Options,
    ProviderConfig,
    ReasoningChunk,
    ReasoningPart,
    Reply,
    ServerError,
    StopChunk,
    StopReason,
    StreamInterruptedError,
    TextChunk,
    TextPart,
    Tool,
    ToolCallChunk,
    ToolCallPart,
    ToolResultChunk,
    ToolResultPart,
    TurnLimitError,
    UsageChunk,
    coalesce,
    run_tools,
    text_of,
    tool,
)
from penstock.testing import Emulator, ServerReply, anthropic_message
from playing import cancelled_while_waiting

USAGE = UsageChunk(input_tokens=10, output_tokens=1, known_cost=Decimal("0.000045"))
HI = Message("user", "Hi")
DONE: list[Chunk] = [TextChunk("Done."), USAGE, StopChunk(reason="stop")]
DONE_MESSAGE = Message("assistant", [TextPart("Done.")])


def call(id_: str, name: str = "echo", arguments: str = '{"text": "a"}') -> ToolCallChunk:
    return ToolCallChunk(id=id_, name=name, arguments=arguments)


def turn(*chunks: Chunk, reason: StopReason = "tool_calls") -> list[Chunk]:
    """An answer with its usage."""
    return [*chunks, USAGE, StopChunk(reason=reason)]


class Scripted(BaseProvider):
    """Gives one answer after the other, and keeps what it was sent. An exception in an answer is raised there."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = list(answers)
        self.histories: list[Sequence[Message]] = []
        self.options: list[Options] = []
        self.open = 0

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        assert options is not None
        check_history(messages)
        self.histories.append(messages)
        self.options.append(options)
        self.open += 1
        try:
            for chunk in self.answers.pop(0):
                await anyio.lowlevel.checkpoint()
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.open -= 1


@tool
def echo(text: str) -> str:
    """Says it again."""
    return text.upper()


@tool
async def hang() -> None:
    """Never ends."""
    await anyio.sleep_forever()


@tool
def fails() -> None:
    """Raises."""
    raise ValueError("no such thing")


@tool
def block() -> None:
    """Takes too long in a thread."""
    time.sleep(3 * TIMEOUT)


TIMEOUT = 1.0  # seconds, for what hangs; what does not has as much time

TOOLS = [echo, hang, fails, block]


async def run(provider: BaseProvider, messages: list[Message], **more: Any) -> list[LoopChunk]:
    return [chunk async for chunk in run_tools(provider, "", messages, more.pop("tools", TOOLS), **more)]


def result(id_: str, content: str, name: str = "echo", is_error: bool = False) -> ToolResultChunk:
    return ToolResultChunk(id=id_, name=name, content=content, is_error=is_error)


def results_of(chunks: Sequence[LoopChunk]) -> list[ToolResultChunk]:
    return [chunk for chunk in chunks if isinstance(chunk, ToolResultChunk)]


@pytest.mark.anyio
async def test_the_whole_way() -> None:
    """Chunks of all turns as they come, results after their turn; the history has everything that goes back."""
    thinking = ReasoningChunk(text="hm", proof="sig", vendor="v")
    first = turn(thinking, TextChunk("Let me see."), call("c1"), call("c2", arguments='{"text": "b"}'))
    provider = Scripted(first, DONE)
    messages = [HI]
    options = Options(max_tokens=99)
    chunks = await run(provider, messages, options=options)
    assert chunks == [*first, result("c1", "A"), result("c2", "B"), *DONE]
    asked = [
        HI,
        Message(
            "assistant",
            [
                ReasoningPart(text="hm", proof="sig", vendor="v"),
                TextPart("Let me see."),
                ToolCallPart(id="c1", name="echo", arguments='{"text": "a"}'),
                ToolCallPart(id="c2", name="echo", arguments='{"text": "b"}'),
            ],
        ),
        Message("user", [ToolResultPart(id="c1", content="A"), ToolResultPart(id="c2", content="B")]),
    ]
    assert messages == [*asked, DONE_MESSAGE]
    assert provider.histories == [[HI], asked]
    assert [each.max_tokens for each in provider.options] == [99, 99]
    assert all(list(each.tools) == [one.definition for one in TOOLS] for each in provider.options)
    assert options.tools == ()
    usage = sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    assert usage.cost == Decimal("0.000090")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "content", "name", "logged"),
    [
        pytest.param(
            call("c", arguments='{"text": 1}'), "The arguments .* `int` - at `$.text`", "echo", 0, id="misfit"
        ),
        pytest.param(call("c", "fails", "{}"), "ValueError: no such thing", "fails", 1, id="it raises"),
        pytest.param(
            call("c", "gone", "{}"), "There is no tool `gone`; there are: echo, hang, ", "gone", 0, id="unknown"
        ),
        pytest.param(call("c", "hang", "{}"), "TimeoutError: it did not finish within 1 s", "hang", 1, id="it hangs"),
        pytest.param(call("c", "block", "{}"), "TimeoutError: it did not finish within 1 s", "block", 1, id="blocked"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    answer: ToolCallChunk, content: str, name: str, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As an error result; the loop goes on, and what the other calls gave is not lost."""
    messages = [HI]
    chunks = await run(Scripted(turn(answer, call("c2")), DONE), messages, tool_timeout=TIMEOUT)
    failed, other = results_of(chunks)
    assert (failed.id, failed.name, failed.is_error) == ("c", name, True)
    assert isinstance(failed.content, str)
    assert failed.content.startswith(content.split(" .* ")[0])
    assert failed.content.endswith(content.split(" .* ")[-1]) or " .* " not in content
    assert other == result("c2", "A")
    assert messages[-1] == DONE_MESSAGE
    assert len(caplog.records) == logged


@pytest.mark.anyio
async def test_calls_run_at_the_same_time_and_results_keep_their_order() -> None:
    """The second call ends first, as the first waits for it."""
    second_ran = anyio.Event()

    @tool
    async def first() -> str:
        """Waits for the second."""
        await second_ran.wait()
        return "1"

    @tool
    async def second() -> str:
        """Lets the first go on."""
        second_ran.set()
        return "2"

    answer = turn(call("c1", "first", "{}"), call("c2", "second", "{}"))
    with anyio.fail_after(PATIENCE):
        chunks = await run(Scripted(answer, DONE), [HI], tools={"first": first, "second": second})
    assert results_of(chunks) == [result("c1", "1", "first"), result("c2", "2", "second")]


@pytest.mark.anyio
async def test_the_other_folds_take_it() -> None:
    """Text for display, joined for a slow screen, of all turns."""
    provider = Scripted(turn(TextChunk("a"), TextChunk("b\n"), TextChunk("c"), call("c1")), DONE)
    stream = coalesce(run_tools(provider, "", [HI], TOOLS), at="line")
    assert [text async for text in text_of(stream)] == ["ab\n", "c", "Done."]


@pytest.mark.anyio
async def test_parts_go_back_as_parts() -> None:
    """An image that a tool returns is one for the model."""
    image = ImagePart(data=b"\x89PNG", media_type="image/png")
    by_hand = FunctionTool(Tool(name="look"), lambda arguments: image)
    messages = [HI]
    chunks = await run(Scripted(turn(call("c", "look", "{}")), DONE), messages, tools=[by_hand])
    assert results_of(chunks) == [ToolResultChunk(id="c", name="look", content=[image])]
    assert messages[2] == Message("user", [ToolResultPart(id="c", content=[image])])
    line = msgspec.json.encode(results_of(chunks)[0])
    assert msgspec.json.decode(line, type=LoopChunk) == results_of(chunks)[0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "results", "history"),
    [
        pytest.param([TextChunk("a"), StopChunk(reason="stop")], [], [TextPart("a")], id="an answer"),
        pytest.param([TextChunk("a"), StopChunk(reason="length")], [], [TextPart("a")], id="one that was cut off"),
        pytest.param([TextChunk("a"), StopChunk(reason="other")], [], [TextPart("a")], id="another reason"),
        pytest.param([StopChunk(reason="stop")], [], None, id="an answer with nothing in it is left out"),
        pytest.param([TextChunk("No."), StopChunk(reason="refusal")], [], None, id="a refusal is left out"),
        pytest.param(
            [TextChunk("a"), StopChunk(reason="tool_calls")], [], [TextPart("a")], id="calls, but there are none"
        ),
    ],
)
async def test_where_it_ends(
    answer: list[Chunk], results: list[ToolResultChunk], history: list[TextPart] | None
) -> None:
    """After the answer, whatever its reason, when there is nothing to run."""
    messages = [HI]
    assert await run(Scripted(answer), messages) == [*answer, *results]
    assert messages == [HI, *([Message("assistant", history)] if history else [])]


@pytest.mark.anyio
@pytest.mark.parametrize("reason", ["length", "other", "stop"])
async def test_calls_of_an_answer_that_was_cut_off_are_not_run(reason: StopReason) -> None:
    """They have results that say so, so that the history is legal."""
    ran = []

    @tool
    def note(text: str) -> None:
        """Must not run."""
        ran.append(text)

    messages = [HI]
    answer = turn(TextChunk("a"), call("c1", "note"), call("c2", "note"), reason=reason)
    chunks = await run(Scripted(answer), messages, tools=[note])
    why = f"Not run: the answer ended with `{reason}` before it was whole."
    assert chunks == [*answer, result("c1", why, "note", True), result("c2", why, "note", True)]
    assert not ran
    assert len(messages) == 3
    check_history(messages)


@pytest.mark.anyio
async def test_a_pause_goes_on_by_itself() -> None:
    """The answer goes back as it is; the turns count."""
    half = turn(TextChunk("a"), reason="pause")
    provider = Scripted(half, half, DONE)
    messages = [HI]
    assert await run(provider, messages) == [*half, *half, *DONE]
    paused = Message("assistant", [TextPart("a")])
    assert messages == [HI, paused, paused, DONE_MESSAGE]
    assert provider.histories[-1] == [HI, paused, paused]
    with pytest.raises(TurnLimitError):
        await run(Scripted(half, half), [HI], max_turns=2)


@pytest.mark.anyio
async def test_the_limit_of_turns() -> None:
    """An error that cannot be taken for an answer; the last turn's tools have run, and the same messages go on."""
    provider = Scripted(turn(call("c1")), turn(call("c2")), DONE)
    messages = [HI]
    chunks: list[LoopChunk] = []
    stream = run_tools(provider, "", messages, TOOLS, max_turns=2)

    async def drain() -> None:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 - what came before the error is kept

    with pytest.raises(TurnLimitError, match="called 2 times") as caught:
        await drain()
    assert results_of(chunks) == [result("c1", "A"), result("c2", "A")]
    assert caught.value.usage == USAGE + USAGE
    assert isinstance(caught.value.partial, Reply)
    assert caught.value.partial.tool_calls == (call("c2"),)
    assert len(messages) == 5
    check_history(messages)
    assert await run(provider, messages) == DONE


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(True, None, id="yes"),
        pytest.param(False, "Not run: it was not approved.", id="no"),
        pytest.param("too dear", "Not run: too dear", id="no, with a reason"),
        pytest.param("", "Not run: it was not approved.", id="no, with an empty reason"),
        pytest.param(None, "Not run: it was not approved.", id="a function that forgets to answer"),
        pytest.param(1, "Not run: it was not approved.", id="what is not True"),
    ],
)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_approval(answer: Any, why: str | None, sync: bool) -> None:
    """Only True lets a call run; all are asked for before any runs, in their order."""
    log = []

    @tool
    def note(text: str) -> str:
        """Says that it ran."""
        log.append(f"ran {text}")
        return "ok"

    def approve(asked: ToolCallChunk) -> Any:
        log.append(f"asked {asked.id}")
        return answer if asked.id == "c1" else True

    async def approve_later(asked: ToolCallChunk) -> Any:
        await anyio.lowlevel.checkpoint()
        return approve(asked)

    calls = [call("c1", "note", '{"text": "1"}'), call("c2", "note", '{"text": "2"}'), call("c3", "gone")]
    chunks = await run(Scripted(turn(*calls), DONE), [HI], tools=[note], approve=approve if sync else approve_later)
    assert log[:2] == ["asked c1", "asked c2"]
    assert sorted(log[2:]) == (["ran 2"] if why else ["ran 1", "ran 2"])
    first, second, _ = results_of(chunks)
    assert first == (result("c1", why, "note", True) if why else result("c1", "ok", "note"))
    assert second == result("c2", "ok", "note")


@pytest.mark.anyio
async def test_an_approval_that_raises() -> None:
    """It gets out; nothing of the turn has run, and the history says so."""
    ran = []

    @tool
    def note(text: str) -> None:
        """Must not run."""
        ran.append(text)

    def approve(asked: ToolCallChunk) -> bool:
        if asked.id == "c2":
            raise KeyError("the terminal is gone")
        return True

    messages = [HI]
    with pytest.raises(KeyError, match="terminal"):
        await run(Scripted(turn(call("c1", "note"), call("c2", "note"))), messages, tools=[note], approve=approve)
    assert not ran
    cancelled = "Not run: the turn was broken off."
    assert messages[-1] == Message(
        "user", [ToolResultPart(id=id_, content=cancelled, is_error=True) for id_ in ("c1", "c2")]
    )
    check_history(messages)


@pytest.mark.anyio
async def test_each_turn_can_be_saved_and_counted() -> None:
    """`on_turn` sees the history with the turn in it, before the turn's last chunks come out."""
    messages = [HI]
    saved: list[list[Message]] = []
    costs: list[Decimal | None] = []
    seen: list[LoopChunk] = []

    async def on_turn(reply: Reply) -> None:
        await anyio.lowlevel.checkpoint()
        saved.append(list(messages))
        costs.append(reply.cost)
        assert not isinstance(seen[-1], ToolResultChunk)

    provider = Scripted(turn(call("c1")), turn(TextChunk("a"), reason="pause"), DONE)
    async for chunk in run_tools(provider, "", messages, TOOLS, on_turn=on_turn):
        seen.append(chunk)  # noqa: PERF401 - `on_turn` looks at it
    assert [len(each) for each in saved] == [3, 4, 5]
    for each in saved:
        check_history(each)
    assert costs == [USAGE.cost] * 3


@pytest.mark.anyio
async def test_it_stops_when_told() -> None:
    """By `on_turn`, which sees the answer; the turn's results still come."""
    messages = [HI]
    provider = Scripted(turn(call("c1")), turn(call("c2")))
    told: list[bool | None] = [None, True]
    chunks = await run(provider, messages, on_turn=lambda reply: told.pop(0))
    assert results_of(chunks) == [result("c1", "A"), result("c2", "A")]
    assert len(messages) == 5
    paused = turn(TextChunk("a"), reason="pause")
    assert await run(Scripted(paused), [HI], on_turn=lambda reply: True) == paused
    with pytest.raises(ZeroDivisionError):
        await run(Scripted(turn(call("c1"))), messages := [HI], on_turn=lambda reply: 1 / 0 > 0)
    assert len(messages) == 3


@pytest.mark.anyio
async def test_a_stream_that_breaks() -> None:
    """The turn is not in the history; the error has what came of it, and the usage of the whole run."""
    error = ServerError("it broke", usage=USAGE)
    provider = Scripted(turn(call("c1")), [TextChunk("a"), USAGE, error])
    messages = [HI]
    with pytest.raises(ServerError) as caught:
        await run(provider, messages)
    assert caught.value is error
    assert isinstance(error.partial, Reply)
    assert (error.partial.text, error.usage) == ("a", USAGE + USAGE)
    assert len(messages) == 3
    provider.answers = [[TextChunk("a"), USAGE]]
    with pytest.raises(StreamInterruptedError) as interrupted:
        await run(provider, messages)
    assert interrupted.value.usage == USAGE
    provider.answers = [DONE]
    assert await run(provider, messages) == DONE
    assert provider.open == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("until", "left"),
    [
        pytest.param(TextChunk, 1, id="in the answer"),
        pytest.param(StopChunk, 3, id="before the tools run"),
        pytest.param(ToolResultChunk, 3, id="at the first result"),
    ],
)
async def test_leaving_it_early(until: type, left: int) -> None:
    """The stream is closed, no tool runs, and a turn is in the history with all of its results or not at all."""
    provider = Scripted(turn(TextChunk("a"), call("c1"), call("c2")), DONE)
    messages = [HI]
    stream = run_tools(provider, "", messages, TOOLS)
    async for chunk in stream:
        if isinstance(chunk, until):
            break
    await stream.aclose()
    assert provider.open == 0
    assert len(messages) == left
    check_history(messages)
    provider.answers = [DONE]
    await run(provider, messages)


@pytest.mark.anyio
async def test_leaving_it_at_the_answers_end() -> None:
    """The answer is in the history by then."""
    messages = [HI]
    stream = run_tools(Scripted(DONE), "", messages, TOOLS)
    async for chunk in stream:
        if isinstance(chunk, StopChunk):
            break
    assert messages == [HI, DONE_MESSAGE]
    await stream.aclose()


@pytest.mark.anyio
async def test_cancelled_while_tools_run() -> None:
    """The turn is in the history: what is done has its result, the rest an error that says so."""
    done = anyio.Event()

    @tool
    async def quick() -> str:
        """Ends at once."""
        done.set()
        return "ok"

    provider = Scripted(turn(call("c1", "quick", "{}"), call("c2", "hang", "{}"), call("c3", "block", "{}")))
    messages = [HI]
    chunks: list[LoopChunk] = []

    async def consume() -> None:
        async for chunk in run_tools(provider, "", messages, [*TOOLS, quick]):
            chunks.append(chunk)  # noqa: PERF401 - what came before it was cancelled is kept

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await done.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    late = "Cancelled before it finished; it may have done a part of its work."
    assert messages[2] == Message(
        "user",
        [
            ToolResultPart(id="c1", content="ok"),
            ToolResultPart(id="c2", content=late, is_error=True),
            ToolResultPart(id="c3", content=late, is_error=True),
        ],
    )
    check_history(messages)
    assert not results_of(chunks)
    provider.answers = [DONE]
    await run(provider, messages)


@pytest.mark.anyio
async def test_cancelled_while_a_human_thinks() -> None:
    """Nothing has run, and the history says so."""
    messages = [HI]

    async def approve(asked: ToolCallChunk) -> bool:
        await anyio.sleep_forever()
        return True

    await cancelled_while_waiting(lambda: run(Scripted(turn(call("c1"))), messages, approve=approve))
    assert messages[2] == Message(
        "user", [ToolResultPart(id="c1", content="Not run: the turn was broken off.", is_error=True)]
    )


@pytest.mark.anyio
async def test_cancelled_in_the_answer() -> None:
    """The turn is not in the history, and the stream is closed."""

    class Slow(Scripted):
        async def create_message(
            self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
        ) -> AsyncGenerator[Chunk, None]:
            """See BaseProvider."""
            self.open += 1
            try:
                yield TextChunk("a")
                await anyio.sleep_forever()
            finally:
                self.open -= 1

    provider, messages = Slow(), [HI]
    await cancelled_while_waiting(lambda: run(provider, messages))
    assert (provider.open, messages) == (0, [HI])


def test_asyncios_own_cancel_passes_through() -> None:
    """`Task.cancel` comes out as CancelledError, and as nothing else."""
    messages = [HI]

    async def main() -> None:
        task = asyncio.create_task(run(Scripted(turn(call("c1", "hang", "{}"))), messages))
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(messages) == 3
    check_history(messages)


def test_what_a_tool_cancels_itself_is_its_own_failure() -> None:
    """A task of the tool's that was cancelled is no cancellation of the loop (asyncio only)."""

    @tool
    async def awaits_cancelled() -> None:
        """Waits for a task that somebody cancels."""
        task = asyncio.create_task(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    provider = Scripted(turn(call("c1", "awaits_cancelled", "{}"), call("c2")), DONE)
    chunks = asyncio.run(run(provider, [HI], tools=[awaits_cancelled, echo]))
    first, second = results_of(chunks)
    assert first.is_error
    assert str(first.content).startswith("CancelledError")
    assert second == result("c2", "A")
    assert chunks[-len(DONE) :] == DONE


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        pytest.param("required", ["required", None], id="some tool"),
        pytest.param("echo", ["echo", None], id="one tool"),
        pytest.param("auto", ["auto", "auto"], id="auto"),
        pytest.param("none", ["none", "none"], id="none"),
        pytest.param(None, [None, None], id="nothing said"),
    ],
)
async def test_a_forced_call_is_for_the_first_turn(choice: str | None, sent: list[str | None]) -> None:
    """Otherwise the loop would have no end."""
    provider = Scripted(turn(call("c1")), DONE)
    await run(provider, [HI], options=Options(tool_choice=choice))
    assert [each.tool_choice for each in provider.options] == sent


SEARCH = {"type": "web_search_20260318", "name": "web_search"}


@pytest.mark.anyio
async def test_a_vendors_own_tools_go_along() -> None:
    """After those that run here."""
    provider = Scripted(DONE)
    await run(provider, [HI], tools=[echo], options=Options(tools=[SEARCH]))
    assert list(provider.options[0].tools) == [echo.definition, SEARCH]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        pytest.param({"tools": [echo, echo]}, "two tools are called 'echo'", id="two tools of one name"),
        pytest.param({"tools": {"say": echo}}, "under 'say' is called 'echo'", id="a wrong key"),
        pytest.param({"tools": echo}, r"`tools` is <DecoratedTool echo>, expected a list of tools", id="one tool"),
        pytest.param({"tools": [print]}, "is not a tool", id="a function that is no tool"),
        pytest.param(
            {"options": Options(tools=[{"type": "x", "name": "echo"}])}, "two tools are called 'echo'", id="a vendor's"
        ),
        pytest.param({"options": Options(tools=[Tool(name="f")])}, "nothing runs the tool 'f'", id="no function"),
        pytest.param({"provider": "sonnet"}, "`provider` is of type str, expected a provider", id="a name"),
        pytest.param({"max_turns": 0}, "`max_turns` is 0, expected a whole number of 1 or more", id="no turns"),
        pytest.param({"max_turns": -1}, "`max_turns` is -1", id="less than no turns"),
        pytest.param({"tool_timeout": 0}, "`tool_timeout` is 0, expected a number", id="no time"),
        pytest.param({"tool_timeout": float("nan")}, "`tool_timeout` is nan", id="not a time"),
        pytest.param({"approve": True}, "`approve` is True, expected a function", id="no function to approve"),
        pytest.param({"on_result": "save"}, "`on_result` is 'save', expected a function", id="no function to tell"),
        pytest.param({"options": {"seed": 1}}, "`options` is of type dict, expected Options", id="other options"),
        pytest.param({"messages": (HI,)}, "`messages` is a tuple, expected a list", id="a history that cannot grow"),
    ],
)
def test_what_is_refused_before_anything_is_sent(arguments: dict[str, Any], why: str) -> None:
    """When it is called, not when it is iterated."""
    provider = Scripted()
    given: dict[str, Any] = {"provider": provider, "system_prompt": "", "messages": [HI], "tools": TOOLS} | arguments
    with pytest.raises(ConfigError, match=why):
        run_tools(**given)
    assert not provider.histories


REASONS = st.sampled_from(["stop", "length", "tool_calls", "refusal", "pause", "other"])
PIECES = st.one_of(
    st.just(TextChunk("a")),
    st.just(ReasoningChunk(text="hm", proof="sig", vendor="v")),
    st.just(USAGE),
    st.builds(call, st.just("c"), st.sampled_from(["echo", "fails", "gone", "hang"]), st.sampled_from(["{}", "[]"])),
    st.just(ServerError("it broke")),
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(PIECES, max_size=4), REASONS), max_size=5),
    st.integers(0, 30),
    st.sampled_from([None, True, False, "no"]),
    st.booleans(),
)
def test_the_history_is_legal_whatever_happens(
    script: list[tuple[list[Any], StopReason]], leave_at: int, approval: bool | str | None, eager: bool
) -> None:
    """Any answers, failures, refusals, limits and cancellations, the loop left after any chunk."""
    answers = []
    for place, (pieces, reason) in enumerate(script):
        numbered = [
            msgspec.structs.replace(piece, id=f"c{place}_{number}") if isinstance(piece, ToolCallChunk) else piece
            for number, piece in enumerate(pieces)
        ]
        answers.append([*numbered, StopChunk(reason=reason)])
    messages: list[Message] = [HI]
    approve: Callable[[ToolCallChunk], bool | str | Awaitable[bool | str]] | None = None
    if approval is not None:
        approve = lambda asked: approval  # noqa: E731

    async def main() -> None:
        stream = run_tools(
            Scripted(*answers, DONE), "", messages, TOOLS, max_turns=3, approve=approve, tool_timeout=0.001, eager=eager
        )
        with anyio.move_on_after(5 if leave_at % 2 else 0.003):
            try:
                for _ in range(leave_at):
                    await anext(stream)
            except (StopAsyncIteration, ServerError, TurnLimitError):
                pass
            await stream.aclose()

    anyio.run(main)
    check_history(messages)


@pytest.mark.anyio
async def test_against_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real provider, over HTTP: the second request has the call as it came and its result, on one connection."""
    drain_patiently(monkeypatch)
    asked = {"type": "tool_use", "id": "toolu_1", "name": "echo", "input": {"text": "a"}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig=="}
    first = anthropic_message(thinking, asked, stop_reason="tool_use")
    second = anthropic_message({"type": "text", "text": "Done."})
    async with Emulator(ServerReply(first), ServerReply(second)) as emulator:
        config = ProviderConfig(model_id="m", api_key="none", base_url=emulator.url)
        async with AnthropicProvider(config) as provider:
            chunks = await run(provider, [HI], options=Options(cache="off"))
    assert results_of(chunks) == [ToolResultChunk(id="toolu_1", name="echo", content="A")]
    assert emulator.connections == 1
    body = msgspec.json.decode(emulator.requests[1].body)
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [thinking, asked]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "A"}]},
    ]
    assert body["tools"][0] == {
        "name": "echo",
        "input_schema": echo.definition.parameters,
        "description": "Says it again.",
    }
