"""An agent that dies at every await, and is started again from what it had saved. Prints a table.

python tests/support/killing.py

A death leaves what is outside of the process as it is at that moment, and nothing that a process does at its end. So
the agent runs once, what is outside is looked at whenever a task waits, and each state of it is one from which an agent
then starts anew.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from penstock import (
    PENDING,
    AnthropicProvider,
    FunctionTool,
    LoopChunk,
    Message,
    Options,
    ProviderConfig,
    Reply,
    StopChunk,
    ToolCallChunk,
    ToolCallPart,
    ToolResultPart,
    dump_messages,
    load_messages,
    run_tools,
    tool,
)
from penstock.middleware import Completed, Event
from penstock.middleware.observe import listen
from penstock.testing import Emulator, Request, ServerReply, anthropic_message
from stepping import run_stepping

ASK: Final = [Message("user", "Look at three things, pay, and tell me.")]
DONE: Final = ("tool_calls", "pause")
"""Why an answer stops after which the model is asked again."""


def asked(id_: str, name: str, **arguments: object) -> dict[str, Any]:
    """A call, as the server writes it; the tool is told its id."""
    return {"type": "tool_use", "id": id_, "name": name, "input": {"which": id_, **arguments}}


ANSWERS: Final = (
    ({"type": "text", "text": "First."}, asked("a", "look", n=5), asked("b", "read"), asked("c", "look", n=2)),
    (asked("d", "pay", n=3), asked("e", "look", n=1)),
    ({"type": "text", "text": "Done."},),
)


class Outside(msgspec.Struct, frozen=True):
    """What is outside of the process: a death leaves it as it is."""

    history: bytes
    is_over: bool = False
    day: int = 0
    """On the first the person has not decided yet."""
    begun: tuple[tuple[str, str, bool], ...] = ()
    """Which tools have begun: the key and the id of the call, and whether they were told that they may have before."""
    ended: tuple[str, ...] = ()
    """Of those that are async, the ids: it is known to the loop at once."""
    whole: int = 0
    """How many answers have come whole."""


class Played(msgspec.Struct, frozen=True):
    """How often it died, and what was wrong with the agents that went on."""

    points: int
    states: int
    lost: int
    """States in which an answer was whole and not saved."""
    paid_twice: int
    """Answers that were saved, and asked for again."""
    run_twice: int
    """Tools that ran again, of an answer that was saved."""
    not_cut: int
    """Of them those that had ended, or whose result was saved."""
    not_told: int
    """Of them those that were not told so."""
    other_key: int
    """Of them those that had another key."""
    unsaved: int
    """Tools that ran again as they had begun while their answer streamed, which was not whole: with `eager` only."""
    others: int
    """States that led to another history in the end."""


class Agent:
    """One agent, in whatever process it is."""

    def __init__(self, outside: Outside, provider: AnthropicProvider, *, eager: bool, pending: bool) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE TABLE run (history BLOB, is_over INTEGER)")
        self.database.execute("INSERT INTO run VALUES (?, ?)", (outside.history, outside.is_over))
        self.day, self.whole = outside.day, outside.whole
        self.begun, self.ended = list(outside.begun), list(outside.ended)
        self._provider = provider
        self._eager = eager
        self._pending = pending

    def outside(self) -> Outside:
        """What a death leaves now."""
        history, is_over = self.database.execute("SELECT * FROM run").fetchone()
        return Outside(history, bool(is_over), self.day, tuple(self.begun), tuple(self.ended), self.whole)

    async def run(self) -> None:
        """Go on from what is saved until it is over; a call that waits for a decision waits for the next day."""
        while not (saved := self.outside()).is_over:
            history = load_messages(saved.history)

            def save(is_over: bool, history: list[Message] = history) -> None:
                with self.database:
                    self.database.execute("UPDATE run SET history = ?, is_over = ?", (dump_messages(history), is_over))

            def on_answer(reply: Reply, save: Callable[[bool], None] = save) -> None:
                save(reply.stop_reason not in DONE)

            def on_result(call: object, result: object, save: Callable[[bool], None] = save) -> None:
                save(False)

            last: LoopChunk | None = None
            async for chunk in run_tools(
                self._provider, "", history, self._tools(), Options(cache="off"), approve=self._approve,
                on_answer=on_answer, on_result=on_result, eager=self._eager,
            ):  # fmt: skip
                last = chunk
            if last == StopChunk(reason="pending"):
                await anyio.lowlevel.checkpoint()
                self.day += 1

    def hear(self, event: Event) -> None:
        """Count the answers that are whole."""
        self.whole += isinstance(event, Completed)

    async def _approve(self, call: ToolCallChunk) -> Any:
        await anyio.lowlevel.checkpoint()
        return PENDING if self._pending and call.name == "pay" and not self.day else True

    def _tools(self) -> list[FunctionTool]:
        async def look(which: str, n: int, call_key: str, repeated: bool) -> str:
            """Look."""
            self.begun.append((call_key, which, repeated))
            for _ in range(n):
                await anyio.lowlevel.checkpoint()
            self.ended.append(which)
            return f"saw {n}"

        def read(which: str, call_key: str, repeated: bool) -> str:
            """Read, in a thread."""
            self.begun.append((call_key, which, repeated))
            return which

        given = ("call_key", "repeated")
        return [tool(look, context=given), tool(look, name="pay", context=given), tool(read, context=given)]


def answer(request: Request) -> ServerReply:
    """The server's next answer, by how many the history has."""
    body = msgspec.json.decode(request.body)
    blocks = ANSWERS[sum(message["role"] == "assistant" for message in body["messages"])]
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    return ServerReply(anthropic_message(*blocks, stop_reason=reason))


def play(backend: str, *, eager: bool, pending: bool) -> Played:
    """Let it die at every await."""
    states: dict[Outside, None] = {}
    points = 0
    first: list[Agent] = []
    found: list[Played] = []

    def look() -> None:
        nonlocal points
        if first:
            points += 1
            states[first[0].outside()] = None

    async def main() -> None:
        async with Emulator(answer) as emulator:
            config = ProviderConfig(model_id="m", api_key="none", base_url=emulator.url)
            async with AnthropicProvider(config) as provider:
                begin = Outside(dump_messages(ASK))

                async def go_on(outside: Outside, watched: bool = False) -> tuple[Outside, int]:
                    agent = Agent(outside, provider, eager=eager, pending=pending)
                    provider.listeners = ()
                    listen(provider, agent.hear)
                    before = len(emulator.exchanges)
                    with closing(agent.database):
                        first.extend([agent] * watched)
                        await agent.run()
                        first.clear()
                        return agent.outside(), len(emulator.exchanges) - before

                end, _ = await go_on(begin, watched=True)
                assert end.is_over
                found.append(await judge(states, end, go_on, points))

    run_stepping(main, backend, look)
    return found[0]


async def judge(
    states: dict[Outside, None],
    end: Outside,
    go_on: Callable[[Outside], Coroutine[Any, Any, tuple[Outside, int]]],
    points: int,
) -> Played:
    """Start an agent from each state, and count what is wrong."""
    played = dict.fromkeys(Played.__struct_fields__, 0) | {"points": points, "states": len(states)}
    for state in states:
        then, requests = await go_on(state)
        saved = load_messages(state.history)
        parts = [part for message in saved for part in message.parts]
        calls = {part.id for part in parts if isinstance(part, ToolCallPart)}
        results = {part.id for part in parts if isinstance(part, ToolResultPart)}
        answers = sum(message.role == "assistant" for message in saved)
        played["lost"] += state.whole != answers
        played["paid_twice"] += requests - (len(ANSWERS) - answers)
        before = {id_: key for key, id_, _ in state.begun}
        for key, id_, was_told in then.begun[len(state.begun) :]:
            if id_ in before and id_ in calls:
                played["run_twice"] += 1
                played["not_cut"] += id_ in state.ended or id_ in results
                played["not_told"] += not was_told
                played["other_key"] += key != before[id_]
            played["unsaved"] += id_ in before and id_ not in calls
            played["not_cut"] += id_ in results
        played["others"] += then.history != end.history
    return Played(**played)


def main() -> None:
    """Print the table."""
    print("loop     eager  pending  ", *(f"{name:>10}" for name in Played.__struct_fields__))
    for backend in ("asyncio", "trio"):
        for eager in (False, True):
            for pending in (False, True):
                played = msgspec.structs.astuple(play(backend, eager=eager, pending=pending))
                print(f"{backend:8} {eager!s:6} {pending!s:8} ", *(f"{number:>10}" for number in played))


if __name__ == "__main__":
    main()
