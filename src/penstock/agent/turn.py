"""One turn of an agent: an answer and the results of its calls, on their way into the history.

An answer is in the history as soon as it is whole, and a result as soon as its tool has ended; whoever asked to be told
is told before anything else is awaited. So a history that is saved whenever somebody is told is a checkpoint: it lacks
at most what had not ended. A turn that is left or fails in this process gives the calls that it leaves a result that
says so. Only those stay open for which `approve` said PENDING.

Tools that begin while their answer streams run in a task of their own: nothing is yielded inside a task group or scope.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import count
from types import TracebackType
from typing import Final, Self

import anyio
import msgspec

from penstock.agent.alone import Beside
from penstock.agent.caller import PENDING, Caller, Pending, ToolResultChunk, awaited
from penstock.agent.collect import Collector, Reply
from penstock.agent.run import Run
from penstock.agent.tools import FunctionTool, report_failure
from penstock.core.arguments import problem_of
from penstock.core.chunks import StopChunk, ToolCallChunk, UsageChunk
from penstock.core.errors import ProviderError
from penstock.core.messages import Message, Part, ReasoningPart, ToolCallPart, ToolResultPart
from penstock.core.scope import running_tools

__all__ = ["Turn"]

_BROKEN_OFF: Final = "Not run: the turn was broken off."
_CUT: Final = "Cancelled before it finished; it may have done a part of its work."
_AGAIN: Final = "Make the call again, with one JSON object that fits the tool's schema."
_KEPT: Final = "Tools had begun, so what had come of the answer is in the history, with a result for each of its calls."


class Turn:
    """Enter it before the answer is asked for. Whatever way it is left, no tool of it runs any more.

    table: the tools that there are, by name. eager: a tool runs as soon as `start` gets its call, however the answer
    ends; else `run` runs those of a whole answer.
    """

    def __init__(self, caller: Caller, table: Mapping[str, FunctionTool], run: Run, *, eager: bool = False) -> None:
        self.collector = Collector()  # of its answer
        self._caller = caller
        self._table = table
        self._run = run
        self._eager = eager
        self._calls: list[ToolCallChunk] = []
        self._ids: dict[str, int] = {}  # of the answer's calls, and the last number that was put behind each
        # By the number of the call: the results of this run, those that the history had before, what began, what waits.
        self._results: dict[int, ToolResultChunk] = {}
        self._given: set[int] = set()
        self._order: list[int] = []  # the numbers of what the history has of them behind the answer, and its parts
        self._parts: list[Part] = []
        self._begun: set[int] = set()
        self._pending: set[int] = set()
        self._place = len(caller.messages)  # of the answer
        self._rest: list[Part] = []  # what stands behind the results in their message
        self._written: Message | None = None  # that message
        self._answer: Message | None = None  # once it is kept
        self._repeated = False
        self.runs = False  # whether `run` has anything to do, once the answer is there
        self._telling = anyio.Lock(fast_acquire=True)
        self._group: anyio.abc.TaskGroup | None = None
        self._failed: BaseException | None = None
        self._beside = Beside(self._admit_all) if eager else None

    def reopen(self) -> Self:
        """Be the turn that the history ends with, as far as its calls have no results."""
        messages = self._caller.messages
        last = (place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "assistant")
        place = next(last, -1)
        if place < 0:
            return self
        self._place, self._repeated, self._answer = place, True, messages[place]
        self._calls = [_call_of(part) for part in messages[place].parts if isinstance(part, ToolCallPart)]
        self._written = messages[place + 1] if place + 1 < len(messages) else None
        waiting: dict[str, list[int]] = {}
        for number in reversed(range(len(self._calls))):
            waiting.setdefault(self._calls[number].id, []).append(number)
        for at, message in enumerate(messages[place:], place):
            for part in message.parts:
                numbers = waiting.get(part.id) if isinstance(part, ToolResultPart) else None
                if numbers:  # of one id the first calls have the results
                    number = numbers.pop()
                    self._given.add(number)
                    if at == place + 1:  # else it stands elsewhere
                        self._put(number, part)
                elif at == place + 1:
                    self._rest.append(part)
        self.runs = bool(self._open())
        return self

    def _open(self) -> list[int]:
        done = self._given | self._results.keys()
        return [number for number in range(len(self._calls)) if number not in done]

    def _put(self, number: int, part: Part) -> None:
        """Have a result in its place, which is mostly the last. To make all anew for each would cost n² for n calls."""
        place = bisect(self._order, number)
        self._order.insert(place, number)
        self._parts.insert(place, part)

    def _has(self, number: int, result: ToolResultChunk) -> None:
        """There is the result of a call."""
        self._results[number] = result
        self._put(number, ToolResultPart(id=result.id, content=result.content, is_error=result.is_error))

    @property
    def is_pending(self) -> bool:
        """Whether calls stay open."""
        return bool(self._pending)

    def ending(self) -> list[StopChunk | ToolResultChunk]:
        """The results of this run, in the order of the calls; and how it ends, if calls stay open."""
        results = [self._results[number] for number in sorted(self._results)]
        return [*results, self._run.pending()] if self._pending else [*results]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._beside is not None:
            await self._beside.stop()
        if error is None:
            return
        early = [] if self._answer is not None else sorted(self._results)
        if self._begun and self._answer is None:
            self._keep(self.collector.reply())
            if isinstance(error, ProviderError):
                error.add_note(_KEPT)
        self._leave_off(_BROKEN_OFF)
        if self._answer is not None and isinstance(error, Exception):
            for number in early:
                await self._tell_result(number)

    @contextmanager
    def answering(self, spent: UsageChunk) -> Iterator[None]:
        """While the answer is read: an error has what came of it. spent: what the run has used before."""
        try:
            yield
        except ProviderError as error:
            error.partial = self.collector.reply()
            error.usage = spent + error.usage
            raise

    def start(self, call: ToolCallChunk) -> ToolCallChunk:
        """Take a call of the answer, and run it now if it is eager.

        An id that the answer has already becomes another: by it alone a saved history tells whose result is there, as
        long as others are missing.
        """
        id_ = call.id
        while id_ in self._ids:
            self._ids[call.id] += 1
            id_ = f"{call.id or 'call'}_{self._ids[call.id]}"
        self._ids[id_] = 1
        if id_ != call.id:
            call = msgspec.structs.replace(call, id=id_)
        self.collector.feed(call)
        if self._beside is not None:
            self._calls.append(call)
            self._beside.more()
        return call

    async def take(self, stop: StopChunk) -> None:
        """Put the answer, which is whole, into the history, with the results that there are, and say so."""
        reply = self.collector.reply()
        self._calls[:] = reply.tool_calls
        self.runs = bool(self._calls) and (stop.reason == "tool_calls" or (self._eager and stop.reason != "refusal"))
        for number, call in enumerate(self._calls if self.runs else ()):
            if call.problem is not None and number not in self._results:  # which a history does not hold
                self._has(number, _failed(call, f"Not run: {call.problem} {_AGAIN}"))
        early = sorted(self._results)
        if not self.runs:
            if self._beside is not None:
                await self._beside.stop()
            self._pending.clear()
            self._leave_off(f"Not run: the answer ended with `{stop.reason}` before it was whole.")
        if stop.reason != "refusal":
            self._keep(reply)
        await self._tell(self._caller.on_answer, reply)
        if self._failed is not None:  # beside the answer
            raise self._failed
        for number in early if self.runs else ():
            await self._tell_result(number)

    async def run(self) -> None:
        """Run the calls that have no result, and wait for all; pending ones stay open."""
        if self._beside is not None:
            await self._beside.finish()
        elif self.runs:
            verdicts = [(number, await self._verdict(number)) for number in self._open()]
            with running_tools(self._run.scope):
                async with anyio.create_task_group() as self._group:
                    try:
                        for number, verdict in verdicts:
                            await self._admit(number, verdict)
                    except BaseException as error:  # noqa: BLE001 - it is raised when the tools are cut off
                        self._fail(error)
        if self._failed is not None:
            raise self._failed

    async def _admit_all(self, calls: Beside) -> None:
        """The same beside the answer: each is asked for when it has come, and begins before the next is asked for."""
        with running_tools(self._run.scope):
            async with anyio.create_task_group() as self._group:
                try:
                    for number in count():
                        if not await calls.has(number):
                            break
                        await self._admit(number, await self._verdict(number))
                except BaseException as error:  # noqa: BLE001 - it is raised once the answer is whole
                    self._fail(error)

    async def _verdict(self, number: int) -> Pending | str | None:
        """Why a call does not run, PENDING, or None if it may."""
        call = self._calls[number]
        if call.problem is not None:
            return f"Not run: {call.problem} {_AGAIN}"
        if call.name not in self._table:
            there = f"there are: {', '.join(self._table)}" if self._table else "there is none at all"
            return f"There is no tool `{call.name}`; {there}."
        answer = True if self._caller.approve is None else await awaited(self._caller.approve(call))
        if answer is True:
            return None
        if answer is PENDING:
            self._pending.add(number)
            return PENDING
        return f"Not run: {answer}" if answer and isinstance(answer, str) else "Not run: it was not approved."

    async def _admit(self, number: int, verdict: Pending | str | None) -> None:
        if isinstance(verdict, str):
            await self._ended(number, _failed(self._calls[number], verdict))
        elif verdict is None and self._group is not None and number not in self._results:  # it may have been left
            self._begun.add(number)
            self._group.start_soon(self._call, number)

    async def _call(self, number: int) -> None:
        call = self._calls[number]
        result: ToolResultChunk | None = None
        try:
            with self._run.tool(call, lambda: result is None or result.is_error):
                result = await self._result_of(number, call)
            await self._ended(number, result)
        except BaseException as error:  # noqa: BLE001 - it is raised when the other tools are cut off
            self._fail(error)

    async def _result_of(self, number: int, call: ToolCallChunk) -> ToolResultChunk:
        result: ToolResultChunk | None = None
        own = {"call_key": self._key(number), "repeated": self._repeated}
        try:
            with nullcontext() if self._caller.timeout is None else anyio.move_on_after(self._caller.timeout):
                given = await self._table[call.name].run(call.arguments, own | dict(self._caller.context))
                result = ToolResultChunk(id=call.id, name=call.name, content=given.content, is_error=given.is_error)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # Nobody cancelled the turn: on asyncio, something that the tool waited for was cancelled.
            return _failed(call, report_failure(call.name, error))
        if result is None:
            late = TimeoutError(f"it did not finish within {self._caller.timeout:g} seconds")
            return _failed(call, report_failure(call.name, late))
        return result

    def _key(self, number: int) -> str:
        call = self._calls[number]
        where = f"{self._place}.{number}\0{call.id}\0{call.name}\0{call.arguments}"
        from hashlib import sha256  # here and not above: for turns with tools

        return sha256(where.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    async def _ended(self, number: int, result: ToolResultChunk) -> None:
        if number in self._results:
            return  # the turn was left meanwhile, and the history is the caller's
        self._has(number, result)
        if self._answer is not None:  # else the answer still streams: `take` puts both into the history
            self._write()
            await self._tell_result(number)

    def _fail(self, error: BaseException) -> None:
        """Cut off the tools that run, to raise it then; what cuts off all of them goes on its way."""
        if anyio.current_effective_deadline() == -math.inf:
            raise error
        self._failed = self._failed or error
        if self._group is not None:
            self._group.cancel_scope.cancel()

    async def _tell_result(self, number: int) -> None:
        await self._tell(self._caller.on_result, self._calls[number], self._results[number])

    async def _tell(self, function: Callable[..., object] | None, *what: object) -> None:
        """Tell the caller, never of two things at a time."""
        if function is not None:
            async with self._telling:
                await awaited(function(*what))

    def _keep(self, reply: Reply) -> None:
        # Thoughts that nothing follows are refused, and so is an answer with nothing in it.
        if reply.message is not None and any(not isinstance(part, ReasoningPart) for part in reply.message.content):
            self._place, self._answer = len(self._caller.messages), reply.message
            self._caller.messages.append(reply.message)
            if self._results:
                self._write()

    def _leave_off(self, why: str) -> None:
        """Give the calls that are open a result that says why they do not run any more; pending ones stay open."""
        for number in set(self._open()) - self._pending:
            self._has(number, _failed(self._calls[number], _CUT if number in self._begun else why))
        if self._answer is not None and self._results:
            self._write()

    def _write(self) -> None:
        """Put the results that there are behind the answer, in the order of the calls, wherever the caller has it."""
        messages = self._caller.messages
        place = next((at for at in range(len(messages) - 1, -1, -1) if messages[at] == self._answer), None)
        if place is None:
            return
        before, self._written = self._written, Message("user", [*self._parts, *self._rest])
        if place + 1 < len(messages) and messages[place + 1] == before:
            messages[place + 1] = self._written
        else:
            messages.insert(place + 1, self._written)


def _call_of(part: ToolCallPart) -> ToolCallChunk:
    return ToolCallChunk(
        id=part.id, name=part.name, arguments=part.arguments, problem=problem_of(part.arguments),
        extra=part.extra, vendor=part.vendor,
    )  # fmt: skip


def _failed(call: ToolCallChunk, why: str) -> ToolResultChunk:
    return ToolResultChunk(id=call.id, name=call.name, content=why, is_error=True)
