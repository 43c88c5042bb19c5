"""A provider that answers each prompt with itself and keeps what it was asked, and ways to read results."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel

from penstock import (
    BaseProvider,
    Chunk,
    Message,
    Model,
    ModelInfo,
    Options,
    ProviderError,
    StopChunk,
    TextChunk,
    UsageChunk,
)
from penstock.fleet import JobResult, gather

__all__ = ["PRICE", "Answering", "Death", "read"]

PRICE: Final = Decimal("0.25")
"""Dollars of an answer."""


class Answering(BaseProvider):
    """Answers a prompt with itself. failing: what it raises, for a prompt; hanging: those that it never answers.

    at: told of each point that a call comes to: `begin`, `text`, `stop`.
    """

    def __init__(
        self,
        failing: dict[str, Exception] | None = None,
        *,
        hanging: Sequence[str] = (),
        at: Callable[[str, str], object] = lambda point, prompt: None,
        model: str = "answering",
    ) -> None:
        self.failing = failing or {}
        self.hanging = set(hanging)
        self.asked: list[str] = []
        self.running: set[str] = set()
        self.silent: set[str] = set()
        """Those that hang."""
        self.most = 0
        """How many have run at once."""
        self._at = at
        self._model = Model(model, ModelInfo())

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        prompt: Any = messages[0].content
        self.asked.append(prompt)
        self.running.add(prompt)
        self.most = max(self.most, len(self.running))
        try:
            self._at("begin", prompt)
            await anyio.lowlevel.checkpoint()
            yield UsageChunk(unsettled=1)
            if prompt in self.failing:
                raise self._failure(self.failing[prompt])
            yield TextChunk(prompt)
            self._at("text", prompt)
            if prompt in self.hanging:
                self.silent.add(prompt)
                await anyio.sleep(math.inf)
            await anyio.lowlevel.checkpoint()
            yield UsageChunk(output_tokens=1, known_cost=PRICE, unsettled=-1)
            self._at("stop", prompt)
            yield StopChunk(reason="stop")
        finally:
            self.running.discard(prompt)

    def _failure(self, error: Exception) -> Exception:
        raised = copy.copy(error)
        if isinstance(raised, ProviderError):
            raised.usage = UsageChunk(known_cost=PRICE)  # what failed may cost as well
        return raised


async def read(*args: Any, **more: Any) -> tuple[list[JobResult], Exception | None]:
    """The results of `gather`, and the error that ended it if one did."""
    results: list[JobResult] = []
    try:
        async for result in gather(*args, **more):
            results.append(result)  # noqa: PERF401 - what came before an error is kept
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return results, error
    return results, None


class Death:
    """A process that is killed in the middle: at a point it keeps the journal as it would be left.

    point: `begin`, `text`, `stop` or `yield`, the so-and-so-many-th time that a run comes to it.
    """

    def __init__(self, journal: Path, point: str, when: int) -> None:
        self._journal = journal
        self._point = point
        self._more = when
        self.begun = set[str]()
        """What had been asked by then."""
        self.left: Path | None = None
        """The copy, once it is dead."""

    def __call__(self, point: str, prompt: str) -> None:
        """The run has come to a point."""
        if self.left is not None:
            return
        if point == "begin":
            self.begun.add(prompt)
        self._more -= point == self._point
        if not self._more:
            self.left = self._journal.with_name(f"dead-{self._journal.name}")
            for ending in ("", "-wal"):
                shutil.copyfile(f"{self._journal}{ending}", f"{self.left}{ending}")

    def leave(self) -> None:
        """Put the copy in the place of the journal, which has been closed since."""
        for ending in ("", "-wal"):
            Path(f"{self.left}{ending}").rename(f"{self._journal}{ending}")
