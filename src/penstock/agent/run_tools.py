"""The agent's loop: ask the model, run the tools that it calls, give it the results, until it has its answer.

The history is legal after every step, so it can be saved and sent again whatever happens: it grows a whole turn at a
time, by the answer and, if it calls tools, the message with their results. A turn whose stream breaks, or that is left
before its tools run, is not in it. One that is cancelled while its tools run is, with an error result for each call
that did not finish, since what the others did is done.

Nothing is yielded inside a task group or a cancel scope.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableSequence, Sequence
from typing import Final, TypeAlias, TypeVar

import anyio
import msgspec

from penstock.agent.collect import Collector, Reply
from penstock.agent.run import Run
from penstock.agent.tools import FunctionTool, ToolContent, report_failure, tool_table
from penstock.core.arguments import problem_of
from penstock.core.chunks import Chunk, StopChunk, ToolCallChunk, UsageChunk
from penstock.core.client_calls import is_client_tool, tool_name
from penstock.core.closing import Stream, aclosing
from penstock.core.errors import ConfigError, ProviderError, TurnLimitError
from penstock.core.messages import (
    Message,
    Options,
    Part,
    ReasoningPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.scope import running_tools
from penstock.core.validation import check_count, check_seconds

__all__ = ["Approve", "LoopChunk", "OnTurn", "ToolResultChunk", "run_tools"]

T = TypeVar("T")

_BROKEN_OFF: Final = "Not run: the turn was broken off."


class ToolResultChunk(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a call of a tool gave, as it goes back to the model; `run_tools` yields one for each ToolCallChunk.

    is_error: the tool failed or was not run, and the content tells the model why.
    """

    id: str
    name: str
    content: ToolContent
    is_error: bool = False


LoopChunk: TypeAlias = Chunk | ToolResultChunk

Approve: TypeAlias = Callable[[ToolCallChunk], bool | str | Awaitable[bool | str]]
"""Whether a call may run: True, and nothing else, says yes; a str tells the model why not."""

OnTurn: TypeAlias = Callable[[Reply], bool | Awaitable[bool | None] | None]
"""Receives the Reply of a turn that is in the history; the loop ends when it returns True."""


def run_tools(
    provider: BaseProvider,
    system_prompt: str,
    messages: MutableSequence[Message],
    tools: Sequence[FunctionTool] | Mapping[str, FunctionTool],
    options: Options | None = None,
    *,
    max_turns: int = 50,  # pydantic-ai's limit too
    approve: Approve | None = None,
    tool_timeout: float | None = None,
    on_turn: OnTurn | None = None,
    context: Mapping[str, object] | None = None,
) -> AsyncGenerator[LoopChunk, None]:
    """Call the model until it has its answer, running the tools that it calls; yield all chunks of all calls.

    The calls of one turn run at the same time; their results come as ToolResultChunks, in the order of the calls, once
    every call of the turn has ended. The loop ends with the first answer that calls no tool, or whose stop reason is
    not `tool_calls`: its calls are not run, as a later one was cut off, and their results say so. It goes on by itself
    after `pause`. It ends with TurnLimitError when it may not call the model again, and when told, by `on_turn` or by
    leaving it.

    messages: the history, extended in place by each whole turn. A refusal is left out, as vendors advise. Calls at its
        end that have no result are run first, so a history that was saved at any moment goes on where it was.
    options: its `tools` may hold a vendor's own; one whose work is the client's, as a shell, is run by the function of
        its name in *tools*, and sent as it stands here. A `tool_choice` that forces a call is for the first turn only,
        as there would be no end.
    max_turns: how often the model may be called. The last turn's tools do run, so that the same messages can go on.
    approve: called with each call of a turn before any runs, one after the other, in the event loop. What it raises
        gets out; nothing of the turn has run then, and the history says so.
    tool_timeout: seconds that each call may take; then its result says so. A thread goes on alone, unheard.
    on_turn: called once a turn is in *messages* and before its last chunks are yielded. What it raises gets out.
    context: what the parameters that `@tool(context=...)` names get, by name; all calls share it. More may be there.

    Whoever listens to the provider is told of the run, its turns and its tools.

    A ProviderError that gets out has the turn's `partial` Reply and the `usage` of the whole run. Raises ConfigError
    at once for what is wrong with the arguments, as two tools of one name, or a Tool in the options that nothing runs.
    """
    check_provider("provider", provider)
    if not isinstance(messages, MutableSequence):
        raise ConfigError(f"`messages` is a {type(messages).__name__}, expected a list: it is extended")
    check_count("max_turns", max_turns)
    if tool_timeout is not None:
        check_seconds("tool_timeout", tool_timeout)
    table = tool_table(tools, context)
    turns = _Turns(messages, table, context, approve, tool_timeout, on_turn)
    return Stream(_loop(provider, system_prompt, _with_tools(options, table), turns, max_turns))


async def _loop(
    provider: BaseProvider, system_prompt: str, options: Options, turns: _Turns, max_turns: int
) -> AsyncGenerator[LoopChunk, None]:
    usage = UsageChunk()
    with Run(provider, options) as run:
        for result in await turns.resume(run):
            yield result
        for _ in range(max_turns):
            collector = Collector()
            try:
                # A copy: whoever keeps what it was sent keeps what it was sent.
                stream = provider.create_message(system_prompt, list(turns.messages), run.next_turn(options))
                async with aclosing(stream) as chunks:
                    async for chunk in chunks:
                        collector.feed(chunk)
                        if not isinstance(chunk, StopChunk):  # it comes below: until then the connection is in use
                            yield chunk
                stop = collector.close()
            except ProviderError as error:
                error.partial = collector.reply()
                error.usage = usage + error.usage
                raise
            reply = collector.reply()
            usage += reply.usage
            if options.tool_choice not in (None, "auto", "none"):
                options = msgspec.structs.replace(options, tool_choice=None)
            if stop.reason == "tool_calls" and reply.tool_calls:
                yield stop
                results = await turns.run(reply, run)
                going_on = not await turns.told(reply)
            else:
                results = turns.settle(reply, stop)
                going_on = not await turns.told(reply) and stop.reason == "pause"
                yield stop
            for result in results:
                yield result
            if not going_on:
                return
        limit = TurnLimitError(f"the model was called {max_turns} times and wants to go on", usage=usage)
        limit.partial = reply
        raise limit


class _Turns:
    """Takes answers into the history, with the results of their calls."""

    def __init__(
        self,
        messages: MutableSequence[Message],
        table: Mapping[str, FunctionTool],
        context: Mapping[str, object] | None,
        approve: Approve | None,
        timeout: float | None,
        on_turn: OnTurn | None,
    ) -> None:
        self.messages = messages
        self._table = table
        self._context = context
        self._approve = approve
        self._timeout = timeout
        self._on_turn = on_turn

    def settle(self, reply: Reply, stop: StopChunk) -> list[ToolResultChunk]:
        """Take an answer none of whose calls is run."""
        why = f"Not run: the answer ended with `{stop.reason}` before it was whole."
        results = [_failed(call, why) for call in reply.tool_calls]
        if stop.reason != "refusal":
            self._take(reply, results)
        return results

    async def run(self, reply: Reply, run: Run) -> list[ToolResultChunk]:
        """Run the calls of an answer and take it, with a result for each call, also if this is cancelled."""
        results = [_failed(call, _BROKEN_OFF) for call in reply.tool_calls]
        try:
            await self._run(reply.tool_calls, results, run)
        finally:
            self._take(reply, results)
        return results

    async def resume(self, run: Run) -> list[ToolResultChunk]:
        """Run the calls that the history leaves open, and give it their results, also if this is cancelled."""
        place, calls = _open_calls(self.messages)
        if not calls:
            return []
        results = [_failed(call, _BROKEN_OFF) for call in calls]
        try:
            await self._run(calls, results, run)
        finally:
            parts = [part for message in self.messages[place + 1 : place + 2] for part in message.parts]
            there = [part for part in parts if isinstance(part, ToolResultPart)]
            rest = [part for part in parts if not isinstance(part, ToolResultPart)]
            self.messages[place + 1 : place + 2] = [Message("user", [*there, *_parts(results), *rest])]
        return results

    async def _run(self, calls: Sequence[ToolCallChunk], results: list[ToolResultChunk], run: Run) -> None:
        refusals = [await self._refusal(call) for call in calls]
        with running_tools(run.scope):
            async with anyio.create_task_group() as group:
                for place, (call, refusal) in enumerate(zip(calls, refusals, strict=True)):
                    if refusal is None:
                        group.start_soon(self._call, call, results, place, run)
                    else:
                        results[place] = _failed(call, refusal)

    async def told(self, reply: Reply) -> bool:
        """Whether the caller says that this turn is the last."""
        return self._on_turn is not None and await _awaited(self._on_turn(reply)) is True

    async def _refusal(self, call: ToolCallChunk) -> str | None:
        if call.problem is not None:
            return f"Not run: {call.problem} Make the call again, with one JSON object that fits the tool's schema."
        if call.name not in self._table:
            there = f"there are: {', '.join(self._table)}" if self._table else "there is none at all"
            return f"There is no tool `{call.name}`; {there}."
        answer = True if self._approve is None else await _awaited(self._approve(call))
        if answer is True:
            return None
        return f"Not run: {answer}" if answer and isinstance(answer, str) else "Not run: it was not approved."

    async def _call(self, call: ToolCallChunk, results: list[ToolResultChunk], place: int, run: Run) -> None:
        results[place] = _failed(call, "Cancelled before it finished; it may have done a part of its work.")
        with run.tool(call, lambda: results[place].is_error):
            await self._result_of(call, results, place)

    async def _result_of(self, call: ToolCallChunk, results: list[ToolResultChunk], place: int) -> None:
        try:
            with anyio.move_on_after(self._timeout) as scope:
                result = await self._table[call.name].run(call.arguments, self._context)
                results[place] = ToolResultChunk(
                    id=call.id, name=call.name, content=result.content, is_error=result.is_error
                )
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # Nobody cancelled the turn: on asyncio, something that the tool waited for was cancelled.
            results[place] = _failed(call, report_failure(call.name, error))
        if scope.cancelled_caught:
            late = TimeoutError(f"it did not finish within {self._timeout:g} seconds")
            results[place] = _failed(call, report_failure(call.name, late))

    def _take(self, reply: Reply, results: Sequence[ToolResultChunk]) -> None:
        # Thoughts that nothing follows are refused, and so is an answer with nothing in it.
        said = reply.message is not None and any(not isinstance(part, ReasoningPart) for part in reply.message.content)
        turn = [reply.message] if said and reply.message is not None else []
        if results:
            turn.append(Message("user", _parts(results)))
        self.messages.extend(turn)


def _open_calls(messages: Sequence[Message]) -> tuple[int, list[ToolCallChunk]]:
    """The place of the last answer, and its calls that have no result behind it."""
    place = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "assistant"), -1)
    if place < 0:
        return place, []
    parts = [part for message in messages[place:] for part in message.parts]
    results = Counter(part.id for part in parts if isinstance(part, ToolResultPart))
    made = []
    for part in parts:
        if not isinstance(part, ToolCallPart):
            continue
        if results[part.id]:  # of one id the first calls have the results
            results[part.id] -= 1
        else:
            made.append(part)
    return place, [
        ToolCallChunk(
            id=part.id, name=part.name, arguments=part.arguments, problem=problem_of(part.arguments),
            extra=part.extra, vendor=part.vendor,
        )
        for part in made
    ]  # fmt: skip


def _parts(results: Sequence[ToolResultChunk]) -> list[Part]:
    return [ToolResultPart(id=each.id, content=each.content, is_error=each.is_error) for each in results]


def _with_tools(options: Options | None, table: Mapping[str, FunctionTool]) -> Options:
    options = Options() if options is None else options
    names = set(table)
    for theirs in options.tools:
        name = theirs.name if isinstance(theirs, Tool) else tool_name(theirs)
        if name in names and (isinstance(theirs, Tool) or not is_client_tool(theirs)):
            raise ConfigError(f"two tools are called {name!r}")
        if isinstance(theirs, Tool):
            raise ConfigError(f"nothing runs the tool {name!r} of the options: give it to run_tools as a FunctionTool")
    # A vendor's own tool that has a function here goes to the vendor as it defines it.
    defined = {tool_name(theirs) for theirs in options.tools if not isinstance(theirs, Tool)}
    mine = [each.definition for name, each in table.items() if name not in defined]
    return msgspec.structs.replace(options, tools=[*mine, *options.tools])


def _failed(call: ToolCallChunk, why: str) -> ToolResultChunk:
    return ToolResultChunk(id=call.id, name=call.name, content=why, is_error=True)


async def _awaited(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value
