"""What the caller of a run of tools brings: functions that decide and are told, and what they get and give."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from penstock.agent.collect import Reply
from penstock.agent.tools import FunctionTool, ToolContent
from penstock.core.chunks import ToolCallChunk
from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options
from penstock.core.validation import check_seconds

__all__ = [
    "PENDING",
    "Approve",
    "Caller",
    "NextTurn",
    "OnAnswer",
    "OnResult",
    "OnTurn",
    "Pending",
    "ToolResultChunk",
    "awaited",
]

T = TypeVar("T")


class Pending(enum.Enum):
    """The type of PENDING, for annotations: `-> bool | Pending`."""

    PENDING = "pending"

    def __repr__(self) -> str:
        return self.name


PENDING: Final = Pending.PENDING
"""What `approve` answers for a call that nobody has decided on yet: it stays open, and the run ends with that turn."""


class ToolResultChunk(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a call of a tool gave, as it goes back to the model; `run_tools` yields one for each ToolCallChunk.

    is_error: the tool failed or was not run, and the content tells the model why.
    """

    id: str
    name: str
    content: ToolContent
    is_error: bool = False


Verdict: TypeAlias = bool | str | Pending

Approve: TypeAlias = Callable[[ToolCallChunk], Verdict | Awaitable[Verdict]]
"""Whether a call may run: True, and nothing else, says yes; a str tells the model why not; PENDING decides later.

Called in the event loop with each call of a turn, one after the other, before any runs. After PENDING the approved ones
run, and the run ends; called with the same history, it asks again, for the open ones only. A yes is never kept: a call
that was cut off by a crash is asked for again, with the same arguments.
"""

OnAnswer: TypeAlias = Callable[[Reply], object]
"""Receives each answer as soon as it is whole and in the history, before its tools run and before anything is awaited:
what was paid can be saved. A refusal and an empty answer are left out of the history, and told too. The answer still
holds its place in a Concurrency: ask no model here.
"""

OnResult: TypeAlias = Callable[[ToolCallChunk, ToolResultChunk], object]
"""Receives each call and its result as soon as that is in the history, before anything else is awaited; never two at a
time. It is not called for what is cut off, nor for calls of an answer that ended early: `on_answer` finds theirs.
"""


class NextTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What `on_turn` returns to have the model's next calls made with other tools or options.

    tools: all that there are from now on; None for those that there were. A call of one that is gone is answered as one
        of a tool that does not exist. Other tools begin another prompt: what the vendor had cached of the old one is
        paid as new, the whole history included.
    options: in the place of those that there were; None for the same. A `tool_choice` that forces a call is for the
        next turn only. Tags are the run's.
    """

    tools: Sequence[FunctionTool] | Mapping[str, FunctionTool] | None = None
    options: Options | None = None


OnTurn: TypeAlias = Callable[[Reply], bool | NextTurn | Awaitable[bool | NextTurn | None] | None]
"""Receives the Reply of a turn that is whole in the history, before its last chunks are yielded; not of a turn that an
earlier run began. The loop ends when it returns True, and goes on with other tools or options after a NextTurn.
"""


class Caller(msgspec.Struct, frozen=True):
    """What the caller of a run brings; timeout: seconds a call, None for any."""

    messages: MutableSequence[Message]
    context: Mapping[str, object]
    timeout: float | None
    approve: Approve | None
    on_answer: OnAnswer | None
    on_result: OnResult | None
    on_turn: OnTurn | None

    def check(self) -> None:
        """Raise ConfigError for what cannot be meant."""
        if not isinstance(self.messages, MutableSequence):
            raise ConfigError(f"`messages` is a {type(self.messages).__name__}, expected a list: it is extended")
        if self.timeout is not None:
            check_seconds("tool_timeout", self.timeout)
        for name in ("approve", "on_answer", "on_result", "on_turn"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise ConfigError(f"`{name}` is {function!r}, expected a function")


async def awaited(value: T | Awaitable[T]) -> T:
    """What a function of the caller's gave, sync or async."""
    return await value if inspect.isawaitable(value) else value
