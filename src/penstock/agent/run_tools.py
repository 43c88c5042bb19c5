"""The agent's loop: ask the model, run the tools that it calls, give it the results, until it has its answer.

The history can be saved at any moment, and `run_tools` goes on from there: an answer is in it as soon as it is whole,
each result as soon as its tool has ended, so it may end in calls that have no result yet. Those it runs first. In this
process it is left as vendors take it, whatever happens: each call that was cut off, or never ran, has an error result.
Only calls stay open for which `approve` says PENDING.

Nothing is yielded inside a task group or a cancel scope.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableSequence, Sequence
from typing import TypeAlias

import msgspec

from penstock.agent.caller import Approve, Caller, NextTurn, OnAnswer, OnResult, OnTurn, ToolResultChunk, awaited
from penstock.agent.collect import Reply
from penstock.agent.run import Run
from penstock.agent.tools import FunctionTool, tool_table
from penstock.agent.turn import Turn
from penstock.core.chunks import Chunk, StopChunk, ToolCallChunk, UsageChunk
from penstock.core.client_calls import is_client_tool, tool_name
from penstock.core.closing import Stream, aclosing
from penstock.core.errors import ConfigError, TurnLimitError
from penstock.core.messages import Message, Options, Tool, ToolResultPart
from penstock.core.provider import BaseProvider, check_provider
from penstock.core.validation import check_count

__all__ = ["LoopChunk", "run_tools"]

LoopChunk: TypeAlias = Chunk | ToolResultChunk


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
    on_answer: OnAnswer | None = None,
    on_result: OnResult | None = None,
    on_turn: OnTurn | None = None,
    eager: bool = False,
    context: Mapping[str, object] | None = None,
) -> AsyncGenerator[LoopChunk, None]:
    """Call the model until it has its answer, running the tools that it calls; yield all chunks of all calls.

    The calls of a turn run at the same time; their results come as ToolResultChunks, in the order of the calls, once
    all have ended. The loop ends with the first answer that calls no tool or does not stop for `tool_calls`: its calls
    are not run, as a later one was cut off. It goes on by itself after `pause`. It ends with a TurnLimitError when it
    may not call the model again, by `on_turn`, by leaving it, and with a StopChunk `pending` after PENDING.

    messages: the history, extended in place by each whole answer, but for refusals, and by the results of its calls.
        Calls at its end that have no result are run first: saved at any moment, it goes on where it was.
    options: its `tools` may hold a vendor's own; one whose work is the client's is run by the function of its name in
        *tools*. A `tool_choice` that forces a call is for the first turn only, as there would be no end.
    max_turns: how often the model may be called. The last turn's tools do run, so that the same messages can go on.
    approve, on_answer, on_result, on_turn: functions, sync or async; see Approve, OnAnswer, OnResult and OnTurn. What
        one raises gets out, and cuts off the tools that run; the history says so.
    tool_timeout: seconds that each call may take; then its result says so. A thread goes on alone, unheard.
    eager: run each call as soon as it has come, however the answer then ends; for tools that only read, as all do so,
        also those of a NextTurn. If the answer breaks or is left after one has begun, what had come of it stays in
        *messages*, with a result for each call.
    context: what the parameters that `@tool(context=...)` names get, by name; all calls share it. See `tool`.

    A ProviderError that gets out has the turn's `partial` Reply and the `usage` of the whole run. Raises ConfigError
    at once for what is wrong with the arguments, as two tools of one name, or a Tool in the options that nothing runs.
    """
    check_provider("provider", provider)
    check_count("max_turns", max_turns)
    facts = {} if context is None else context
    caller = Caller(messages, facts, tool_timeout, approve, on_answer, on_result, on_turn)
    caller.check()
    return Stream(_loop(_Given(provider, system_prompt, tools, options, caller), caller, max_turns, eager))


class _Given:
    """What the model's next call is made with, as `on_turn` wants it."""

    def __init__(
        self,
        provider: BaseProvider,
        system_prompt: str,
        tools: Sequence[FunctionTool] | Mapping[str, FunctionTool],
        options: Options | None,
        caller: Caller,
    ) -> None:
        self.provider = provider
        self._system_prompt = system_prompt
        self._caller = caller
        self.table = tool_table(tools, caller.context)
        self._bare = Options() if options is None else options
        self.options = _with_tools(self._bare, self.table)

    def ask(self, run: Run) -> AsyncGenerator[Chunk, None]:
        """The model's answer to the history, of which it gets a copy: whoever keeps what it was sent keeps that."""
        messages = list(self._caller.messages)
        return self.provider.create_message(self._system_prompt, messages, run.next_turn(self.options))

    async def goes_on(self, turn: Turn, reply: Reply) -> bool:
        """Whether the model is asked again after a turn, of which `on_turn` is told if it is whole."""
        self.unforce()
        if turn.is_pending:
            return False
        told: object = None if self._caller.on_turn is None else await awaited(self._caller.on_turn(reply))
        going_on = reply.stop_reason == "pause" or (reply.stop_reason == "tool_calls" and turn.runs)
        if going_on and isinstance(told, NextTurn):
            self._change(told)
        elif going_on and (told is NextTurn or isinstance(told, Options | FunctionTool)):
            raise ConfigError(f"`on_turn` returned {told!r}, expected NextTurn(tools=..., options=...), True or None")
        return going_on and told is not True

    def _change(self, to: NextTurn) -> None:
        if to.tools is not None:
            self.table = tool_table(to.tools, self._caller.context)
        if to.options is not None:
            self._bare = to.options
        self.options = _with_tools(self._bare, self.table)

    def unforce(self) -> None:
        """Force no call any more: that was for the first turn."""
        if self._bare.tool_choice not in (None, "auto", "none"):
            self._bare = msgspec.structs.replace(self._bare, tool_choice=None)
            self.options = msgspec.structs.replace(self.options, tool_choice=None)


async def _loop(given: _Given, caller: Caller, max_turns: int, eager: bool) -> AsyncGenerator[LoopChunk, None]:
    usage = UsageChunk()
    with Run(given.provider, given.options) as run:
        async with Turn(caller, given.table, run).reopen() as turn:
            await turn.run()
        for last in turn.ending():
            yield last
        if turn.is_pending:
            return
        said = caller.messages[-1].parts if caller.messages else ()
        if turn.runs or (said and all(isinstance(part, ToolResultPart) for part in said)):
            given.unforce()  # an earlier run has had that turn
        for _ in range(max_turns):
            async with Turn(caller, given.table, run, eager=eager) as turn:
                with turn.answering(usage):
                    async with aclosing(given.ask(run)) as chunks:
                        async for chunk in chunks:
                            if type(chunk) is ToolCallChunk:  # faster than isinstance, which each chunk would pay for
                                yield turn.start(chunk)
                                continue
                            turn.collector.feed(chunk)
                            if type(chunk) is StopChunk:  # it comes below: until then the connection is in use
                                await turn.take(chunk)
                                continue
                            yield chunk
                    stop = turn.collector.close()
                reply = turn.collector.reply()
                usage += reply.usage
                if turn.runs:
                    yield stop
                    await turn.run()
                going_on = await given.goes_on(turn, reply)
                if not turn.runs:
                    yield stop
            for last in turn.ending():
                yield last
            if not going_on:
                return
        limit = TurnLimitError(f"the model was called {max_turns} times and wants to go on", usage=usage)
        limit.partial = reply
        raise limit


def _with_tools(options: Options, table: Mapping[str, FunctionTool]) -> Options:
    if not isinstance(options, Options):
        raise ConfigError(f"`options` is of type {type(options).__name__}, expected Options(...)")
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
