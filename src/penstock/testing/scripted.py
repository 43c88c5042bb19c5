"""A provider without a network: it plays a script for each call, and keeps what it was asked.

provider = ScriptedProvider([OverloadedError("busy")], [TextChunk("Hi"), StopChunk(reason="stop")])
answer = Retry(provider)
"""

from __future__ import annotations

import copy
import math
from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

import anyio
import anyio.lowlevel

from penstock.core.chunks import Chunk, StopChunk, UsageChunk
from penstock.core.errors import ConfigError, ProviderError, StreamInterruptedError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo
from penstock.core.provider import BaseProvider
from penstock.testing.emulator import Hang, Pause

__all__ = ["ScriptedCall", "ScriptedProvider", "ScriptedStep"]

ScriptedStep: TypeAlias = Chunk | Exception | Pause | Hang
"""A chunk is yielded, an error raised, a Pause slept, and a Hang waits until it is cancelled."""


class ScriptedCall:
    """One call: what was asked, and what became of it. closed: whether its generator has ended, in whatever way."""

    def __init__(self, system_prompt: str, messages: Sequence[Message], options: Options | None) -> None:
        self.system_prompt = system_prompt
        self.messages = messages
        self.options = options
        self.yielded: list[Chunk] = []
        self.closed = False


class ScriptedProvider(BaseProvider):
    """Plays its scripts one after the other, one a call; with *repeat* it begins again after the last.

    It keeps the contract of `create_message`: a call exists from its first `__anext__` on, an error carries the usage
    that was yielded before it (unless it has one of its own), and a script that ends without a StopChunk is a stream
    that was cut. Each error is raised as a copy, so that it can be raised again.

    calls: all calls so far. closed: how many times `aclose` was called.
    """

    def __init__(self, *scripts: Sequence[ScriptedStep], repeat: bool = False, model: str = "scripted") -> None:
        given: Sequence[object] = scripts
        for script in given:
            if not isinstance(script, Sequence) or isinstance(script, str):
                raise ConfigError(
                    f"a script is of type {type(script).__name__}, expected a list of steps for each call: "
                    "[TextChunk(...), StopChunk(...)]"
                )
        self._scripts = scripts
        self._repeat = repeat
        self._model = Model(model, ModelInfo())
        self.calls: list[ScriptedCall] = []
        self.closed = 0

    @property
    def running(self) -> int:
        """How many calls have begun and not ended."""
        return sum(not call.closed for call in self.calls)

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    async def aclose(self) -> None:
        """See BaseProvider."""
        self.closed += 1

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        call = ScriptedCall(system_prompt, messages, options)
        self.calls.append(call)
        usage = UsageChunk()
        try:
            for step in self._script():
                await anyio.lowlevel.checkpoint()
                if isinstance(step, Exception):
                    raise self._raised(step, usage)
                if isinstance(step, Pause | Hang):
                    await anyio.sleep(step.seconds if isinstance(step, Pause) else math.inf)
                    continue
                if isinstance(step, UsageChunk):
                    usage += step
                call.yielded.append(step)
                yield step
                if isinstance(step, StopChunk):
                    return
            raise self._raised(StreamInterruptedError("the script ends without a StopChunk"), usage)
        finally:
            call.closed = True

    def _script(self) -> Sequence[ScriptedStep]:
        number = len(self.calls)
        if self._scripts and (self._repeat or number <= len(self._scripts)):
            return self._scripts[(number - 1) % len(self._scripts)]
        count = f"{len(self._scripts)} script{'' if len(self._scripts) == 1 else 's'}"
        said = f"ScriptedProvider has {count} and this is call {number}: give another script, or `repeat=True`"
        return [ConfigError(said)]

    def _raised(self, error: Exception, usage: UsageChunk) -> Exception:
        if not isinstance(error, ProviderError):
            return error
        raised = copy.copy(error)
        raised.__cause__ = error.__cause__
        raised.usage = usage if error.usage == UsageChunk() else error.usage
        raised.model = error.model or self._model.id
        return raised
