"""What the tests of `run_tools` share that are not about its whole way: models that play answers, and what came."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import anyio.lowlevel

from penstock import (
    BaseProvider,
    Chunk,
    LoopChunk,
    Message,
    Options,
    StopChunk,
    StopReason,
    TextChunk,
    ToolCallChunk,
    ToolResultChunk,
    run_tools,
    tool,
)

__all__ = ["DONE", "HI", "Waiting", "call", "calling", "echo", "results_of", "run"]

HI = Message("user", "Hi")
DONE: list[Chunk] = [TextChunk("Done."), StopChunk(reason="stop")]


def call(id_: str, name: str = "echo", arguments: str = '{"text": "a"}', **more: Any) -> ToolCallChunk:
    """A call of the model's."""
    return ToolCallChunk(id=id_, name=name, arguments=arguments, **more)


def calling(*chunks: Chunk, reason: StopReason = "tool_calls") -> list[Chunk]:
    """An answer."""
    return [*chunks, StopChunk(reason=reason)]


@tool
async def echo(text: str) -> str:
    """Says it again."""
    await anyio.lowlevel.checkpoint()
    return text.upper()


class Waiting(BaseProvider):
    """Plays one answer after the other; a function in an answer is waited for, an exception raised."""

    def __init__(self, *answers: Sequence[Chunk | Exception | Callable[[], Awaitable[object]]]) -> None:
        self.answers = list(answers)
        self.options: list[Options | None] = []

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        self.options.append(options)
        for step in self.answers.pop(0):
            await anyio.lowlevel.checkpoint()
            if isinstance(step, Exception):
                raise step
            if callable(step):
                await step()
            else:
                yield step


async def run(provider: BaseProvider, messages: list[Message], **more: Any) -> list[LoopChunk]:
    """All that a run yields."""
    return [chunk async for chunk in run_tools(provider, "", messages, more.pop("tools", [echo]), **more)]


def results_of(chunks: Sequence[object]) -> list[ToolResultChunk]:
    """What its tools gave."""
    return [chunk for chunk in chunks if isinstance(chunk, ToolResultChunk)]
