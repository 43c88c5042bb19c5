"""Runs that go on: what is saved when, calls that wait for a decision, and what a run that starts anew does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from histories import check_history
from killing import play
from looping import DONE, HI, Waiting, call, calling, echo, results_of, run
from patience import PATIENCE
from penstock import (
    PENDING,
    BaseProvider,
    ConfigError,
    Message,
    NextTurn,
    Options,
    Reply,
    StopChunk,
    StopReason,
    TextChunk,
    TextPart,
    Tool,
    ToolCallChunk,
    ToolCallPart,
    ToolResultChunk,
    ToolResultPart,
    dump_messages,
    load_messages,
    run_tools,
    tool,
)
from penstock.middleware import RunEnded
from penstock.middleware.observe import listen
from penstock.testing import ScriptedProvider
from playing import cancelled_after


class Unusual(BaseException):
    """No Exception."""


DONE_MESSAGE = Message("assistant", [TextPart("Done.")])
WAITS = StopChunk(reason="pending")


def made(*ids: str, name: str = "echo") -> Message:
    return Message("assistant", [ToolCallPart(id=id_, name=name, arguments='{"text": "a"}') for id_ in ids])


def given(*ids: str, content: str = "A") -> Message:
    return Message("user", [ToolResultPart(id=id_, content=content) for id_ in ids])


@pytest.mark.parametrize("pending", [False, True], ids=["", "pending"])
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_agent_that_dies_at_every_await(backend: str, eager: bool, pending: bool) -> None:
    """No whole answer is lost or asked for again, no tool that ended runs again, and one that does is told so."""
    played = play(backend, eager=eager, pending=pending)
    assert played.points > 50
    assert played.states > 8
    assert played.run_twice > 0  # or nothing was cut
    assert bool(played.unsaved) <= eager
    wrong = ("lost", "paid_twice", "not_cut", "not_told", "other_key", "others")
    assert {name: getattr(played, name) for name in wrong} == dict.fromkeys(wrong, 0)


@pytest.mark.anyio
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
async def test_an_agent_that_is_cancelled_at_every_step(eager: bool) -> None:
    """The history is as vendors take it; what was saved on the way goes on to the same end."""
    script = [calling(TextChunk("a"), call("c1"), call("c2")), calling(call("c3")), DONE]

    async def first(provider: BaseProvider, messages: list[Message], saved: list[bytes]) -> None:
        def save(*facts: object) -> None:
            saved.append(dump_messages(messages))

        await run(provider, messages, on_answer=save, on_result=save, eager=eager)

    whole: list[Message] = [HI]
    await first(ScriptedProvider(*script), whole, [])
    for turns in range(1000):
        messages, saved = [HI], [dump_messages([HI])]
        ended = await cancelled_after(turns, lambda: first(ScriptedProvider(*script), messages, saved))  # noqa: B023
        check_history(messages)
        again = load_messages(saved[-1])
        answers = sum(message.role == "assistant" for message in again)
        if answers < len(script):
            await run(ScriptedProvider(*script[answers:]), again)
        assert again == whole
        if ended:
            break
    assert turns > 10


@pytest.mark.anyio
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_what_is_in_the_history_when_somebody_is_told(sync: bool) -> None:
    """The answer before its tools run and before its StopChunk comes; each result when its tool has ended."""
    messages = [HI]
    log: list[object] = []

    @tool
    async def note(text: str) -> str:
        """The first ends last."""
        for _ in range(20 if text == "1" else 1):
            await anyio.lowlevel.checkpoint()
        log.append(f"ran {text}")
        return text

    def on_answer(reply: Reply) -> None:
        log.append((reply.stop_reason, list(messages)))

    def on_result(asked: ToolCallChunk, result: ToolResultChunk) -> None:
        log.append((asked.id, result.id, list(messages)))

    async def later(*facts: Any) -> None:
        log.append("(")
        for _ in range(30):
            await anyio.lowlevel.checkpoint()
        (on_answer if len(facts) == 1 else on_result)(*facts)
        log.append(")")

    calls = [call("c1", "note", '{"text": "1"}'), call("c2", "gone"), call("c3", "note", '{"text": "3"}')]
    stream = run_tools(
        ScriptedProvider(calling(*calls), DONE), "", messages, [note],
        on_answer=on_answer if sync else later, on_result=on_result if sync else later,
    )  # fmt: skip
    async for chunk in stream:
        if isinstance(chunk, StopChunk):
            log.append(chunk.reason)  # noqa: PERF401 - as they come among the others
    words = [entry if isinstance(entry, str) else entry[0] for entry in log if isinstance(entry, str | tuple)]
    assert [word for word in words if word not in "()"] == [
        *("tool_calls", "tool_calls", "c2", "ran 3", "c3", "ran 1", "c1"),
        *("stop", "stop"),
    ] or not sync
    assert "((" not in "".join(word for word in words if word in "()")  # never two at a time
    seen = [entry[-1] for entry in log if isinstance(entry, tuple)]
    assert [message.role for message in seen[0]] == ["user", "assistant"]
    grown = [[part.id for part in history[2].parts if isinstance(part, ToolResultPart)] for history in seen[1:4]]
    assert all(found == sorted(found) for found in grown)  # in the order of the calls
    assert [len(found) for found in grown] == ([1, 2, 3] if sync else [len(found) for found in grown])
    assert seen[-1] == messages
    check_history(messages)


@pytest.mark.anyio
@pytest.mark.parametrize("reason", ["refusal", "length"])
async def test_an_answer_whose_calls_are_not_run_is_told_with_their_results(reason: StopReason) -> None:
    """Whoever goes on from what was saved then does not run them either; a refusal is told, and not in the history."""
    messages, seen = [HI], []
    await run(
        ScriptedProvider(calling(call("c1"), reason=reason)), messages,
        on_answer=lambda reply: seen.append((reply.tool_calls, list(messages))), on_result=lambda *facts: 1 / 0,
    )  # fmt: skip
    assert seen == [((call("c1"),), messages)]
    assert len(messages) == (1 if reason == "refusal" else 3)
    check_history(messages)


@pytest.mark.anyio
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
@pytest.mark.parametrize("kind", [LookupError, Unusual, asyncio.CancelledError])
@pytest.mark.parametrize("who", ["on_answer", "on_result", "approve"])
async def test_what_they_raise_gets_out(who: str, eager: bool, kind: type[BaseException]) -> None:
    """As it is; the answer is in the history, the other tools are cut off, and the results say so."""

    def broken(*facts: object) -> bool:
        raise kind("the disk is full")

    @tool
    async def hang() -> None:
        """Never ends."""
        await anyio.sleep_forever()

    provider = ScriptedProvider(calling(call("c1"), call("c2", "hang", "{}")))
    messages = [HI]
    with anyio.fail_after(PATIENCE), pytest.raises(kind, match="full"):
        await run(provider, messages, tools=[echo, hang], eager=eager, **{who: broken})
    check_history(messages)
    assert len(messages) == 3
    assert provider.running == 0
    first, second = messages[2].parts
    assert isinstance(first, ToolResultPart)
    assert isinstance(second, ToolResultPart)
    assert second.is_error
    assert first.is_error == (who != "on_result" and not (eager and who == "on_answer" and first.content == "A"))


@pytest.mark.anyio
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
async def test_what_ends_a_program_gets_out_of_a_tool(eager: bool) -> None:
    """As `pytest.fail()`: no result is made of it, and it does not end the loop from within."""

    @tool
    async def fail() -> None:
        """Ends the program."""
        raise Unusual("enough")

    messages = [HI]
    with anyio.fail_after(PATIENCE), pytest.raises(Unusual, match="enough"):
        await run(ScriptedProvider(calling(call("c1", "fail", "{}"))), messages, tools=[fail], eager=eager)
    check_history(messages)
    assert len(messages) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
async def test_a_call_waits_until_somebody_decides(eager: bool) -> None:
    """The others run, the run ends; the next one asks for that call only, with the same arguments, and goes on."""
    messages, asked, told = [HI], list[ToolCallChunk](), list[Reply]()
    answers: dict[str, Any] = {"c1": True, "c2": PENDING, "c3": "no", "c4": True}
    broken = call("c4", arguments="{", problem="It is no JSON.")

    async def approve(one: ToolCallChunk) -> Any:
        await anyio.lowlevel.checkpoint()
        asked.append(one)
        return answers[one.id]

    more: dict[str, Any] = {"approve": approve, "on_turn": told.append, "eager": eager}
    first = calling(call("c1"), call("c2", arguments='{ "text":"\\u0061" }'), call("c3"), broken)
    provider = ScriptedProvider(first, DONE)
    ended: list[str] = []
    listen(provider, lambda event: ended.append(event.state) if isinstance(event, RunEnded) else None)
    chunks = await run(provider, messages, **more)
    assert [each.id for each in asked] == ["c1", "c2", "c3"]
    assert [each.id for each in results_of(chunks)] == ["c1", "c3", "c4"]
    assert chunks[-1] == WAITS
    assert not told  # the turn is not whole
    assert [part.id for part in messages[2].parts if isinstance(part, ToolResultPart)] == ["c1", "c3", "c4"]
    saved = load_messages(dump_messages(messages))
    assert await run(provider, saved, **more) == [WAITS]
    assert (asked[3], len(asked), saved) == (asked[1], 4, messages)
    answers["c2"] = True
    assert results_of(await run(provider, saved, **more)) == [ToolResultChunk(id="c2", name="echo", content="A")]
    assert [part.id for part in saved[2].parts if isinstance(part, ToolResultPart)] == ["c1", "c2", "c3", "c4"]
    assert len(provider.calls) == 2
    check_history(saved)
    assert ended == ["pending", "pending", "done"]
    assert repr(PENDING) == "PENDING"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("history", "forced"),
    [
        pytest.param([HI], True, id="a question"),
        pytest.param([HI, made("c1"), given("c1")], False, id="results"),
        pytest.param([HI, made("c1"), given("c1"), HI], True, id="a question after results"),
    ],
)
async def test_a_call_is_not_forced_again_after_a_crash(history: list[Message], forced: bool) -> None:
    """Between the results of the forced turn and the next answer: that one is as free as it would have been."""
    provider = Waiting(DONE)
    await run(provider, list(history), options=Options(tool_choice="required"))
    assert [options and options.tool_choice for options in provider.options] == ["required" if forced else None]


@pytest.mark.anyio
async def test_a_call_that_must_not_run_does_not_after_a_crash_either() -> None:
    """Some vendors refuse what can be read: a history does not say so, but for the result, which is there at once."""
    saved: list[bytes] = []
    messages = [HI]
    provider = ScriptedProvider(calling(call("c1", problem="The call was refused."), call("c2")), DONE)
    await run(provider, messages, on_answer=lambda reply: saved.append(dump_messages(messages)))
    again = load_messages(saved[0])
    await run(ScriptedProvider(DONE), again)
    assert again == messages
    assert isinstance(refused := messages[2].parts[0], ToolResultPart)
    assert refused.is_error


@pytest.mark.anyio
@pytest.mark.parametrize("who", ["on_answer", "on_result"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda messages: messages.__delitem__(slice(2)), id="what is old is dropped"),
        pytest.param(lambda messages: messages.insert(0, HI), id="something is put before it"),
        pytest.param(lambda messages: messages.append(HI), id="a user goes on"),
    ],
)
async def test_results_go_behind_their_answer_wherever_it_is_now(
    who: str, change: Callable[[list[Message]], None]
) -> None:
    """Whoever is told may change the history around the turn."""
    before = [HI, Message("assistant", "Yes?"), HI]
    messages, told = list(before), list[object]()

    def tell(*facts: object) -> None:
        told.append(facts)
        if len(told) == 1:
            change(messages)

    more: dict[str, Any] = {who: tell}
    await run(ScriptedProvider(calling(call("c1"), call("c2")), DONE), messages, **more)
    place = messages.index(made("c1", "c2"))
    assert messages[place + 1] == given("c1", "c2")
    change(before)
    assert [each for each in messages if each not in messages[place : place + 2]] == [*before, DONE_MESSAGE]


@pytest.mark.anyio
@pytest.mark.parametrize("id_", ["c", ""], ids=["repeated", "empty"])
async def test_results_find_their_calls_again_where_a_server_repeats_ids(id_: str) -> None:
    """The second has its result while the first waits: saved and loaded, it is not taken for the first one's."""
    messages, wait, said = [HI], True, list[str]()

    def approve(asked: ToolCallChunk) -> Any:
        said.append(asked.arguments)
        return PENDING if wait and len(said) == 1 else True

    calls = [call(id_, arguments=f'{{"text": "{text}"}}') for text in "abc"]
    provider = ScriptedProvider(calling(*calls), DONE)
    made = [chunk.id for chunk in await run(provider, messages, approve=approve) if isinstance(chunk, ToolCallChunk)]
    assert made == [id_, *(f"{id_ or 'call'}_{number}" for number in (2, 3))]
    wait = False
    again = load_messages(dump_messages(messages))
    await run(provider, again, approve=approve)
    assert said == [each.arguments for each in (*calls, calls[0])]
    assert [part.content for part in again[2].parts if isinstance(part, ToolResultPart)] == ["A", "B", "C"]
    check_history(again)


@pytest.mark.anyio
@pytest.mark.parametrize("eager", [False, True], ids=["", "eager"])
@pytest.mark.parametrize("where", ["tool", "approve"])
async def test_a_run_that_is_cancelled_leaves_what_is_pending_open(where: str, eager: bool) -> None:
    """A person is still to decide on it; what ran, or was asked for, is cut off, and says so."""

    @tool
    async def hang() -> None:
        """Never ends."""
        await anyio.sleep_forever()

    messages = [HI]
    provider = ScriptedProvider(calling(call("c1"), call("c2", "hang", "{}")), DONE)
    async with anyio.create_task_group() as group:

        async def approve(asked: ToolCallChunk) -> Any:
            if asked.id == "c1":
                return PENDING
            return True if where == "tool" else await anyio.sleep_forever()

        group.start_soon(lambda: run(provider, messages, tools=[echo, hang], approve=approve, eager=eager))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert [part.id for part in messages[2].parts if isinstance(part, ToolResultPart)] == ["c2"]
    await run(provider, messages)
    check_history(messages)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rest", "behind"),
    [
        pytest.param([], [given("c1", "c2", "c3")], id="nothing has run"),
        pytest.param([given("c1", "c3", content="B")], None, id="two have"),
        pytest.param([Message("user", "Go on")], None, id="a user has gone on"),
        pytest.param([given("c2", content="B"), Message("user", "Go on")], None, id="one has, and a user has gone on"),
    ],
)
async def test_open_calls_run_first(rest: list[Message], behind: list[Message] | None) -> None:
    """Those without a result, and no other; results stand in the order of the calls, before what a user said."""
    before = [part.id for message in rest for part in message.parts if isinstance(part, ToolResultPart)]
    messages = [HI, made("c1", "c2", "c3"), *rest]
    provider = ScriptedProvider(DONE)
    told: list[str] = []
    chunks = await run(
        provider,
        messages,
        options=Options(tool_choice="required"),
        on_result=lambda asked, result: told.append(asked.id),
    )
    assert (
        sorted(told)
        == [each.id for each in results_of(chunks)]
        == [id_ for id_ in ("c1", "c2", "c3") if id_ not in before]
    )
    results = [part for part in messages[2].parts if isinstance(part, ToolResultPart)]
    assert [part.id for part in results] == ["c1", "c2", "c3"]
    assert [part.content for part in results] == ["B" if part.id in before else "A" for part in results]
    said = [part for message in messages[2:-1] for part in message.parts if not isinstance(part, ToolResultPart)]
    assert said == [part for message in rest for part in message.parts if not isinstance(part, ToolResultPart)]
    assert behind is None or messages[2:] == [*behind, DONE_MESSAGE]
    options = provider.calls[0].options
    assert options is not None
    assert options.tool_choice is None  # the forced call is the one that was open


@pytest.mark.anyio
async def test_a_tool_knows_its_call_again() -> None:
    """By a key that is another for each call, and the same after a crash, when it is told so; the caller's own win."""
    seen: list[tuple[str, str, bool]] = []

    @tool(context=("call_key", "repeated"))
    def pay(text: str, call_key: str, repeated: bool) -> None:
        """Pays once."""
        seen.append((text, call_key, repeated))

    same = calling(call("c", "pay"), call("c", "pay"))
    saved: list[list[Message]] = []
    messages = [HI]
    await run(
        ScriptedProvider(same, same, DONE), messages, tools=[pay],
        on_answer=lambda reply: saved.append(list(messages)), context={"more": 1},
    )  # fmt: skip
    assert len({key for _, key, _ in seen}) == 4
    assert not any(repeated for *_, repeated in seen)
    first, seen[:] = list(seen), []
    await run(ScriptedProvider(DONE), load_messages(dump_messages(saved[1])), tools=[pay])
    assert sorted(seen) == sorted((text, key, True) for text, key, _ in first[2:])
    seen.clear()
    await run(ScriptedProvider(same, DONE), [HI], tools=[pay], context={"call_key": "mine", "repeated": True})
    assert seen == [("a", "mine", True)] * 2
    assert "needs `call_key`" in str((await asked_alone(pay)).value)


async def asked_alone(made: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        await made.run('{"text": "a"}')
    return caught


@tool
def other(text: str) -> str:
    """Another."""
    return text


@pytest.mark.anyio
async def test_tools_and_options_change_between_turns() -> None:
    """What is gone is unknown; what is not named stays; a forced call is for the next turn only."""
    changes: list[NextTurn | None] = [
        NextTurn(tools=[other]),
        NextTurn(options=Options(max_tokens=7, tool_choice="other")),
        None,
        NextTurn(tools={"echo": echo}, options=Options(max_tokens=8)),
        None,
    ]

    async def on_turn(reply: Reply) -> NextTurn | None:
        return changes.pop(0)

    provider = Waiting(calling(call("1")), calling(call("2")), calling(call("3", "other")), calling(call("4")), DONE)
    search = {"type": "web_search", "name": "search"}
    chunks = await run(provider, [HI], options=Options(max_tokens=5, tools=[search]), on_turn=on_turn, max_turns=5)
    first, second, third, fourth = results_of(chunks)
    assert (first.content, second.is_error, third.content, fourth.is_error) == ("A", True, "a", True)
    assert second.content == "There is no tool `echo`; there are: other."
    sent = [each for each in provider.options if each is not None]
    assert [each.max_tokens for each in sent] == [5, 5, 7, 7, 8]
    assert [each.tool_choice for each in sent] == [None, None, "other", None, None]
    of_echo, of_other = echo.definition, other.definition
    assert [list(each.tools) for each in sent] == [[of_echo, search], [of_other, search], *[[of_other]] * 2, [of_echo]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(NextTurn(tools=[echo, echo]), "two tools are called 'echo'", id="two of one name"),
        pytest.param(NextTurn(options=Options(tools=[Tool(name="f")])), "nothing runs the tool 'f'", id="no function"),
        pytest.param(NextTurn(tools=[print]), "is not a tool", id="no tool"),  # type: ignore[list-item]
        pytest.param(NextTurn, "expected NextTurn", id="the class"),
        pytest.param(Options(), "expected NextTurn", id="bare options"),
    ],
)
async def test_a_change_is_checked_as_the_beginning_is(change: NextTurn, why: str) -> None:
    """The turn is in the history by then; a change that comes after the last answer is nobody's."""
    messages = [HI]
    with pytest.raises(ConfigError, match=why):
        await run(ScriptedProvider(calling(call("c1"))), messages, on_turn=lambda reply: change)
    assert messages == [HI, made("c1"), given("c1")]
    assert await run(ScriptedProvider(DONE), [HI], on_turn=lambda reply: change) == DONE
