"""`penstock chat`: ask a model, and see its answer stream in."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec

from penstock.cli.commands import KEYS, Commands, say_where
from penstock.cli.terminal import json_line
from penstock.config.catalog import catalog
from penstock.config.models_file import load_models
from penstock.config.open import open_provider, resolve
from penstock.core.chunks import StopChunk, TextChunk, UsageChunk
from penstock.core.cost import format_dollars
from penstock.core.errors import AuthenticationError, ConfigError, InvalidRequestError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.models import ModelInfo, ModelsConfig
from penstock.core.provider import BaseProvider
from penstock.providers.anthropic import AnthropicProvider
from penstock.testing.demo.model import DemoModel
from penstock.testing.emulator import Emulator
from penstock.wire.vendors import DIALECTS

__all__ = ["add", "run"]

_to_json = msgspec.json.Encoder(decimal_format="number").encode


def add(commands: Commands) -> None:
    """Add it to the command line."""
    chat = commands.add_parser("chat", help="ask a model and see the answer stream in, with its tokens and its price")
    chat.add_argument("prompt", nargs="*", help="without it: standard input, or several turns at a terminal")
    chat.add_argument("-m", "--model", metavar="ALIAS", help="of models.json or of the catalogue; or PROVIDER/MODEL-ID")
    chat.add_argument("--system", default="", help="the system prompt")
    chat.add_argument("--max-tokens", type=_count, help="most tokens of the answer")
    chat.add_argument("--json", action="store_true", help="one chunk a line, as JSON")
    chat.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if len(arguments.prompt) > 1:
        raise ConfigError(f'put the question in quotes: penstock chat "{" ".join(arguments.prompt)}"')
    demo, models = None, load_models()
    if _is_demo(arguments.model, models):
        demo = DemoModel(pause=0.02)
        print(f"No models.json and no {KEYS[0]}: this is the emulator, nothing is billed. {_other()}", file=sys.stderr)
    chat = _Chat(arguments, demo, models)
    if arguments.prompt or not sys.stdin.isatty():
        prompt = arguments.prompt[0] if arguments.prompt else _piped()
        anyio.run(chat.turn, prompt)
        return 0
    if demo is None:
        resolve(arguments.model, models=models)  # what is wrong with the file is said before anything is asked
    while True:
        try:
            prompt = input("> ")
        except EOFError:
            print(file=sys.stderr)
            return 0
        if not prompt.strip():
            continue
        try:
            # A loop for each turn, so that Ctrl-C ends the turn and not the conversation.
            anyio.run(chat.turn, prompt)
        except KeyboardInterrupt:
            print("(interrupted; Ctrl-C again or Ctrl-D to leave)", file=sys.stderr)
        except ConfigError:
            raise
        except ProviderError as error:
            print(f"penstock: {error}", file=sys.stderr)


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def _is_demo(alias: str | None, models: ModelsConfig) -> bool:
    """Whether there is nothing to ask: no file, no key, and no word of a model."""
    return alias is None and models.source is None and not any(os.environ.get(name) for name in KEYS)


def _other() -> str:
    """How to ask a real model."""
    for alias, entry in catalog().models.items():
        row = DIALECTS.get(entry.provider)
        found = next((name for name in (row.key_variables if row else ()) if os.environ.get(name)), None)
        if found is not None:
            return f"{found} is set: `-m {alias}` asks a real model."
    return "Set it to ask a real model, or name another vendor's with -m."


def _piped() -> str:
    try:
        prompt = sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8: {error}") from None
    if not prompt.strip():
        raise ConfigError("there is no prompt: give one as an argument or on standard input")
    return prompt


class _Chat:
    """A conversation at the terminal: the history, and how to reach the model."""

    def __init__(self, arguments: argparse.Namespace, demo: DemoModel | None, models: ModelsConfig) -> None:
        self._arguments = arguments
        self._demo = demo
        self._models = models  # read once: what is said to be asked is what is asked
        self._history: list[Message] = []

    async def turn(self, prompt: str) -> None:
        """Ask, show the answer as it comes, and say what it took, also when it breaks off."""
        asked = [*self._history, Message("user", prompt)]
        options = Options(max_tokens=self._arguments.max_tokens)
        usage = UsageChunk()
        answer: list[str] = []
        first: float | None = None
        stopped = ""
        sent = True
        async with self._provider() as provider:
            start = time.monotonic()
            try:
                async with provider.stream(self._arguments.system, asked, options) as chunks:
                    async for chunk in chunks:
                        if isinstance(chunk, UsageChunk):
                            usage += chunk
                        elif isinstance(chunk, TextChunk):
                            first = first or time.monotonic()
                            answer.append(chunk.text)
                        elif isinstance(chunk, StopChunk) and chunk.reason != "stop":
                            stopped = f"; stopped: {chunk.reason}"
                        self._show(chunk)
            except (AuthenticationError, InvalidRequestError) as error:
                sent = error.status is not None
                raise
            finally:
                if answer and not self._arguments.json:
                    print(flush=True)
                if sent:
                    print(_summary(usage, start, first, demo=self._demo is not None) + stopped, file=sys.stderr)
        if answer:
            self._history = [*asked, Message("assistant", "".join(answer))]

    def _show(self, chunk: object) -> None:
        if self._arguments.json:
            print(json_line(_to_json(chunk).decode()), flush=True)
        elif isinstance(chunk, TextChunk):
            print(chunk.text, end="", flush=True)

    @asynccontextmanager
    async def _provider(self) -> AsyncIterator[BaseProvider]:
        if self._demo is None:
            async with open_provider(self._arguments.model, models=self._models) as provider:
                if not self._history:
                    say_where(self._models, self._arguments.model)
                yield provider
            return
        entry = resolve(models=self._models)
        info = msgspec.structs.replace(entry.provider_config.model_info or ModelInfo(), min_cache_tokens=16)
        async with Emulator(self._demo) as emulator:
            config = msgspec.structs.replace(
                entry.provider_config, api_key="emulator", base_url=emulator.url, model_info=info
            )
            async with AnthropicProvider(config) as provider:
                yield provider


def _summary(usage: UsageChunk, start: float, first: float | None, *, demo: bool) -> str:
    shown = "no text" if first is None else f"first text {first - start:.2f} s"
    seconds = f"{time.monotonic() - start:.2f} s"
    if not (usage.prompt_tokens or usage.output_tokens):  # unknown is not zero
        return f"[no usage was reported; {shown}; {seconds}]"
    counts = [f"{usage.input_tokens} in"]
    if usage.cache_write_tokens:
        counts.append(f"{usage.cache_write_tokens} cache write")
    if usage.cache_read_tokens:
        counts.append(f"{usage.cache_read_tokens} cache read")
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    counts.append(f"{usage.output_tokens} out{reasoning}")
    cost = format_dollars(usage) if usage.cost is not None or usage.known_cost else "price unknown"
    cost = f"would have cost {cost}" if demo else cost  # the emulator bills nobody
    return f"[{', '.join(counts)} tokens; {cost}; {shown}; {seconds}]"
