"""A conversation with a model: its history, its turns, what it has cost, and what is kept of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager

import anyio
import anyio.lowlevel

from penstock.agent.collect import Collector, Reply
from penstock.agent.run_tools import run_tools
from penstock.agent.tools import FunctionTool
from penstock.cli.rendering import Output, output_for
from penstock.cli.sessions import Session
from penstock.cli.terminal import notice
from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.factories import OWN
from penstock.config.models_file import entry_of
from penstock.config.open import open_provider, resolve
from penstock.core.chunks import StopChunk, TextChunk, UsageChunk
from penstock.core.cost import format_dollars
from penstock.core.errors import AuthenticationError, ConfigError, InvalidRequestError
from penstock.core.messages import Message, Options, Part, ToolResultPart
from penstock.core.provider import BaseProvider
from penstock.histories.repair import repair

__all__ = ["Conversation", "counts_of", "interruptible"]


class Conversation:
    """What is said, and how to reach the model. Leave it with `aclose`.

    model: an alias. session: None for one that is not kept.
    """

    def __init__(
        self,
        model: str,
        *,
        models: ModelsConfig,
        system: str = "",
        options: Options,
        tools: Mapping[str, FunctionTool],
        json: bool = False,
    ) -> None:
        self.model = model
        self.models = models  # read once: what is said to be asked is what is asked
        self.system = system
        self.options = options
        self.tools = tools
        self.history: list[Message] = []
        self.attached: list[Part] = []  # what goes with the next prompt
        self.session: Session | None = None
        self.usage = UsageChunk()
        self.turns = 0
        self._json = json
        self._unanswered: str | Sequence[Part] | None = None
        self._stack = AsyncExitStack()
        self._provider: BaseProvider | None = None

    async def ask(self, content: str | Sequence[Part], began: float | None = None) -> None:
        """Ask, show the answer as it comes, and say what it took, also when it breaks off.

        What was said stays, also of an answer that broke off; of a call that had no answer at all nothing does.
        began: when somebody began to wait for it, by the monotonic clock; None for now.
        """
        began = time.monotonic() if began is None else began
        asked = [*self.history, Message("user", content)]
        self._unanswered = content
        provider = await self.connect()
        await anyio.lowlevel.checkpoint()  # to connect may take a second: who has had enough is not billed
        turn = _Turn(output_for(json=self._json), began)
        sent = True
        try:
            answers = run_tools(provider, self.system, asked, self.tools, self.options, on_answer=turn.whole)
            async with aclosing(answers) as chunks:
                async for chunk in chunks:
                    turn.take(chunk)
        except (AuthenticationError, InvalidRequestError) as error:
            sent = error.status is not None
            raise
        finally:
            turn.output.close()
            if sent:
                notice(turn.summary(demo=self.demo))
                self.turns += 1
            self.usage += turn.usage
            self._keep(asked, content, turn.unfinished)

    def _keep(self, asked: list[Message], content: str | Sequence[Part], said: str) -> None:
        """Take a turn into the history. said: what came of an answer that broke off."""
        if said.strip():
            asked.append(Message("assistant", said))
        before = len(self.history)
        if len(asked) == before + 1:
            return
        self._unanswered = None
        self.history = repair(asked).messages
        if self.session is not None:
            try:
                self.session.append(before, self.history[before:], model=self.model, system=self.system)
            except (OSError, ConfigError) as error:
                notice(f"(this session is not kept any more: {error})")
                self.session = None

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing came of what was asked last."""
        return self._unanswered is not None

    def take_back(self) -> str | Sequence[Part] | None:
        """The last thing that was asked, which is in the history no more; None if nothing was."""
        content, self._unanswered = self._unanswered, None
        if content is not None:
            return content
        for place in range(len(self.history) - 1, -1, -1):
            message = self.history[place]
            results = isinstance(message.parts[0], ToolResultPart)
            if message.role == "user" and not results:
                del self.history[place:]
                return message.content
        return None

    async def change_model(self, model: str) -> None:
        """Ask another model from now on. Raises ConfigError for one that is not there, and then nothing changes."""
        resolve(model, models=self.models)
        await self._stack.aclose()
        self.model, self._provider = model, None

    async def connect(self) -> BaseProvider:
        """The provider, the same for all turns: its connections stay warm, its limits and budgets hold."""
        if self._provider is None:
            provider = open_provider(self.model, models=self.models)
            self._provider = await self._stack.enter_async_context(provider)
        return self._provider

    @property
    def entry(self) -> ModelEntry:
        """What is known of the model that is asked. Raises ConfigError for one that is not there."""
        return entry_of(self.models, self.model)

    @property
    def demo(self) -> bool:
        """Whether nobody is billed."""
        return self.entry.provider in OWN

    def described(self) -> str:
        """Which model is asked, for a line of the terminal."""
        return f"{self.entry.provider_config.model_id} ({self.model})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._stack.aclose()


class _Turn:
    """What comes in one turn, shown as it comes."""

    def __init__(self, output: Output, began: float) -> None:
        self.output = output
        self.usage = UsageChunk()
        self._start = began
        self._first: float | None = None
        self._stopped = ""
        self._collector = Collector()  # of the answer that comes

    def take(self, chunk: object) -> None:
        """Count and show a chunk."""
        if isinstance(chunk, UsageChunk):
            self.usage += chunk
        elif isinstance(chunk, TextChunk):
            self._first = self._first or time.monotonic()
            self._collector.feed(chunk)
        elif isinstance(chunk, StopChunk):
            self._stopped = f"; stopped: {chunk.reason}" if chunk.reason not in ("stop", "tool_calls") else ""
        self.output.show(chunk)

    def whole(self, answer: Reply) -> None:
        """That answer is in the history."""
        self._collector = Collector()

    @property
    def unfinished(self) -> str:
        """The text of the answer that was begun and not ended."""
        return self._collector.reply().text

    def summary(self, *, demo: bool) -> str:
        """What it took, in a line."""
        shown = "no text" if self._first is None else f"first text {self._first - self._start:.2f} s"
        times = f"{shown}; {time.monotonic() - self._start:.2f} s"
        if not (self.usage.prompt_tokens or self.usage.output_tokens):  # unknown is not zero
            return f"[no usage was reported; {times}]{self._stopped}"
        return f"[{counts_of(self.usage, demo=demo)}; {times}]{self._stopped}"


def counts_of(usage: UsageChunk, *, demo: bool) -> str:
    """Tokens and dollars in a few words. demo: the emulator bills nobody."""
    counts = [f"{usage.input_tokens} in"]
    if usage.cache_write_tokens:
        counts.append(f"{usage.cache_write_tokens} cache write")
    if usage.cache_read_tokens:
        counts.append(f"{usage.cache_read_tokens} cache read")
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    counts.append(f"{usage.output_tokens} out{reasoning}")
    cost = format_dollars(usage) if usage.cost is not None or usage.known_cost else "price unknown"
    return f"{', '.join(counts)} tokens; {'would have cost ' if demo else ''}{cost}"


@contextmanager
def interruptible() -> Iterator[anyio.CancelScope]:
    """Ctrl-C ends what runs inside, and nothing else; another one, if that takes over a second, is Python's own."""
    loop, scope, pressed = asyncio.get_running_loop(), anyio.CancelScope(), float("inf")

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        now = time.monotonic()
        if now > pressed + 1:
            raise KeyboardInterrupt
        pressed = min(now, pressed)
        loop.call_soon_threadsafe(scope.cancel)

    before = signal.signal(signal.SIGINT, press)
    try:
        with scope:
            yield scope
    finally:
        signal.signal(signal.SIGINT, before)
