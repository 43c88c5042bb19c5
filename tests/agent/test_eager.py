"""Tools that begin while their answer still streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from histories import check_history
from looping import DONE, HI, Waiting, call, results_of, run
from patience import PATIENCE, until
from penstock import (
    PENDING,
    Message,
    ServerError,
    StopChunk,
    StopReason,
    StreamInterruptedError,
    TextChunk,
    ToolCallChunk,
    ToolResultChunk,
    ToolResultPart,
    run_tools,
    tool,
)

pytestmark = pytest.mark.anyio


Script = list[Any]


class Tools:
    """`quick` ends at once, `hang` never; both tell that they have begun, and `hang` that it is cut off."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cut = 0

        @tool
        async def quick(text: str) -> str:
            """Ends at once."""
            self.begun.append(text)
            await anyio.lowlevel.checkpoint()
            self.ended.append(text)
            return text

        @tool
        async def hang(text: str) -> None:
            """Never ends."""
            self.begun.append(text)
            try:
                await anyio.sleep_forever()
            finally:
                self.cut += 1

        self.all = [quick, hang]

    def have(self, count: int) -> Callable[[], Any]:
        """Wait until so many have begun, and those that end have ended."""
        return lambda: until(lambda: len(self.begun) == count)

    async def ended_first(self) -> None:
        """Wait until one has ended."""
        await until(lambda: self.ended)


def asks(id_: str, name: str = "quick") -> ToolCallChunk:
    return call(id_, name, f'{{"text": "{id_}"}}')


def contents(message: Message) -> list[object]:
    return [part.content for part in message.parts if isinstance(part, ToolResultPart)]


CUT = "Cancelled before it finished; it may have done a part of its work."


async def test_a_tool_begins_while_its_answer_streams() -> None:
    """And ends in it; results come in the order of the calls, after the answer, and the turn is told as ever."""
    tools, messages, log = Tools(), [HI], list[str]()
    answer: Script = [
        asks("1"),
        tools.ended_first,
        TextChunk("a"),
        asks("2"),
        tools.have(2),
        StopChunk(reason="tool_calls"),
    ]
    with anyio.fail_after(PATIENCE):
        chunks = await run(
            Waiting(answer, DONE), messages, tools=tools.all, eager=True,
            on_answer=lambda reply: log.append(f"answer {len(messages)}"),
            on_result=lambda asked, result: log.append(asked.id), on_turn=lambda reply: log.append("turn"),
        )  # fmt: skip
    assert [each.content for each in results_of(chunks)] == ["1", "2"]
    assert [type(chunk) for chunk in chunks[:6]] == [
        *(ToolCallChunk, TextChunk, ToolCallChunk, StopChunk),
        *(ToolResultChunk, ToolResultChunk),
    ]
    assert (log[0], sorted(log[1:3]), log[3:]) == ("answer 3", ["1", "2"], ["turn", "answer 4", "turn"])
    check_history(messages)


async def test_approval_does_not_stop_the_answer() -> None:
    """It is asked for one call after the other, while the rest of the answer comes."""
    tools, decided, asked = Tools(), anyio.Event(), list[str]()

    async def approve(one: ToolCallChunk) -> bool:
        asked.append(one.id)
        await decided.wait()
        return one.id == "1"

    async def decide() -> None:
        assert asked == ["1"]  # and not the second one before there is an answer
        decided.set()

    answer: Script = [
        asks("1"),
        asks("2"),
        lambda: until(lambda: asked),
        TextChunk("a"),
        decide,
        StopChunk(reason="tool_calls"),
    ]
    with anyio.fail_after(PATIENCE):
        chunks = await run(Waiting(answer, DONE), [HI], tools=tools.all, eager=True, approve=approve)
    assert [each.content for each in results_of(chunks)] == ["1", "Not run: it was not approved."]
    assert asked == ["1", "2"]


@pytest.mark.parametrize(
    ("reason", "results", "kept"),
    [
        pytest.param("length", ["1", "2"], 3, id="cut off"),
        pytest.param("other", ["1", "2"], 3, id="another reason"),
        pytest.param("refusal", ["1", CUT], 1, id="a refusal is left out, and what runs is cut off"),
    ],
)
async def test_an_answer_that_ends_in_another_way(reason: StopReason, results: list[str], kept: int) -> None:
    """All of its calls that are whole run to their end, wherever they were; the run ends then."""
    tools, messages = Tools(), [HI]
    second = "hang" if reason == "refusal" else "quick"
    answer: Script = [asks("1"), tools.ended_first, asks("2", second), tools.have(2), StopChunk(reason=reason)]
    told: list[str] = []
    with anyio.fail_after(PATIENCE):
        chunks = await run(
            Waiting(answer),
            messages,
            tools=tools.all,
            eager=True,
            on_result=lambda asked, result: told.append(asked.id),
        )
    assert [each.content for each in results_of(chunks)] == results
    assert len(messages) == kept
    assert sorted(told) == ([] if reason == "refusal" else ["1", "2"])  # what is in the history, and nothing else
    check_history(messages)


@pytest.mark.parametrize("begun", [True, False], ids=["a tool had begun", "none had"])
async def test_an_answer_that_breaks(begun: bool) -> None:
    """What tools did is not lost: what had come is kept with their results, and the error says so."""
    tools, messages, told = Tools(), [HI], list[str]()
    calls: list[Any] = [asks("1"), tools.ended_first, asks("2", "hang"), tools.have(2), TextChunk("And")]
    error = ServerError("it broke")
    more: dict[str, Any] = {"tools": tools.all, "eager": True}
    with anyio.fail_after(PATIENCE), pytest.raises(ServerError) as caught:
        await run(
            Waiting([TextChunk("a"), *(calls if begun else []), error]), messages,
            on_result=lambda asked, result: told.append(f"{asked.id} {len(messages)}"), **more,
        )  # fmt: skip
    assert caught.value is error
    assert tools.cut == begun
    check_history(messages)
    assert told == (["1 3"] if begun else [])
    if begun:
        assert contents(messages[2]) == ["1", CUT]
        assert "is in the history" in error.__notes__[0]
    else:
        assert messages == [HI]
        assert not hasattr(error, "__notes__")
    assert (await run(Waiting(DONE), messages, **more)) == DONE


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio says so of one that is dropped
@pytest.mark.parametrize("way", ["closed", "cancelled", "closed by another", "dropped"])
async def test_it_is_left_in_the_answer(way: str) -> None:
    """The tools that run are cut off before that is over, and the history says what had come."""
    tools, messages = Tools(), [HI]
    answer: Script = [
        asks("1"),
        tools.ended_first,
        asks("2", "hang"),
        tools.have(2),
        TextChunk("a"),
        anyio.sleep_forever,
    ]
    chunks = run_tools(Waiting(answer), "", messages, tools.all, eager=True)

    async def read(to_the_end: bool) -> None:
        try:
            async for chunk in chunks:
                if isinstance(chunk, TextChunk) and not to_the_end:
                    return
        except StreamInterruptedError:
            assert way == "closed by another"

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            if way in ("closed", "dropped"):
                await read(False)
            else:
                group.start_soon(read, True)
                await until(lambda: len(tools.begun) == 2)
                await anyio.wait_all_tasks_blocked()
            if way == "cancelled":
                group.cancel_scope.cancel()
            elif way == "dropped":
                del chunks
            else:
                await chunks.aclose()
        await until(lambda: tools.cut)
        await until(lambda: len(messages) == 3)
    assert contents(messages[2]) == ["1", CUT]
    check_history(messages)


@pytest.mark.parametrize("count", [1, 2])
async def test_left_at_a_call_that_call_does_not_begin(count: int) -> None:
    """Whoever sees it and stops has stopped it; what had begun before has its result."""
    tools, messages, left = Tools(), [HI], count
    answer: Script = [asks("1"), anyio.wait_all_tasks_blocked, asks("2"), anyio.sleep_forever]
    chunks = run_tools(Waiting(answer), "", messages, tools.all, eager=True)
    async for chunk in chunks:
        left -= isinstance(chunk, ToolCallChunk)
        if not left:
            break
    await chunks.aclose()
    assert tools.begun == ["1"][: count - 1]
    check_history(messages)


async def test_a_tool_that_cannot_be_cut_off_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving takes about a second then, not longer; here less."""
    monkeypatch.setattr("penstock.agent.alone._TO_STOP", 0.05)
    done, ended, told = anyio.Event(), anyio.Event(), list[object]()

    @tool
    async def stubborn(text: str) -> None:
        """Does not hear."""
        with anyio.CancelScope(shield=True):
            await done.wait()
        ended.set()

    messages = [HI]
    answer: Script = [asks("1", "stubborn"), TextChunk("a"), anyio.sleep_forever]
    chunks = run_tools(
        Waiting(answer), "", messages, [stubborn], eager=True, on_result=lambda *facts: told.append(facts)
    )
    with anyio.fail_after(PATIENCE):
        async for chunk in chunks:
            if isinstance(chunk, TextChunk):
                await anyio.wait_all_tasks_blocked()
                break
        await chunks.aclose()
        assert contents(messages[2]) == [CUT]
        messages[2:] = after = [Message("user", "Forget it.")]  # the history is its owner's again
        done.set()
        await ended.wait()
        await anyio.wait_all_tasks_blocked()
    assert messages[2:] == after
    assert not told


async def test_nothing_is_pending_in_a_refusal() -> None:
    """It is not in the history, so nobody could decide on its calls later."""
    messages = [HI]
    answer: Script = [asks("1"), anyio.wait_all_tasks_blocked, StopChunk(reason="refusal")]
    chunks = await run(Waiting(answer), messages, approve=lambda one: PENDING, eager=True)
    assert [chunk.reason for chunk in chunks if isinstance(chunk, StopChunk)] == ["refusal"]
    assert messages == [HI]


async def test_without_it_nothing_begins_before_the_end() -> None:
    """The answer is whole then."""
    tools = Tools()

    async def nothing_has() -> None:
        await anyio.wait_all_tasks_blocked()
        assert not tools.begun

    answer: Script = [asks("1"), nothing_has, StopChunk(reason="tool_calls")]
    chunks = await run(Waiting(answer, DONE), [HI], tools=tools.all)
    assert [each.content for each in results_of(chunks)] == ["1"]
