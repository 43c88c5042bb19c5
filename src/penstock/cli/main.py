"""The command line: `penstock chat`, `penstock models`, `penstock init`, `penstock doctor`.

The answer goes to standard output and nothing else does; what is said about it goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import anyio
import msgspec

from penstock.cli import guide
from penstock.cli.doctor import Finding, examine
from penstock.config.registry import (
    ANTHROPIC,
    FILE_NAME,
    catalog,
    find_models,
    load_models,
    models_schema,
    open_provider,
    resolve,
    save_models,
)
from penstock.core.chunks import StopChunk, TextChunk, UsageChunk
from penstock.core.errors import ConfigError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.models import ModelEntry, ModelInfo, ModelsConfig, ProviderConfig
from penstock.core.provider import BaseProvider
from penstock.providers.anthropic import AnthropicProvider
from penstock.testing.demo.model import DemoModel
from penstock.testing.emulator import Emulator
from penstock.wire.vendors import DIALECTS

__all__ = ["main"]

_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_to_json = msgspec.json.Encoder(decimal_format="number").encode


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit status: 1 when a call failed, 2 when the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    except ProviderError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the answer has had enough; without this, Python complains once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"penstock: cannot write the answer: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=version("penstock"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    chat = commands.add_parser("chat", help="ask a model and see the answer stream in, with its tokens and its price")
    chat.add_argument("prompt", nargs="?", help="without it: standard input, or several turns at a terminal")
    chat.add_argument("-m", "--model", metavar="ALIAS", help="of models.json or of the catalogue; or PROVIDER/MODEL-ID")
    chat.add_argument("--system", default="", help="the system prompt")
    chat.add_argument("--max-tokens", type=int, help="most tokens of the answer")
    chat.add_argument("--json", action="store_true", help="one chunk a line, as JSON")
    chat.set_defaults(run=_chat)

    models = commands.add_parser("models", help="what is configured, with prices in dollars per million tokens")
    models.add_argument("--all", action="store_true", help="the packaged catalogue too")
    models.add_argument("--schema", action="store_true", help="the JSON Schema of models.json instead")
    models.set_defaults(run=_models)

    init = commands.add_parser("init", help="write a starter models.json")
    init.add_argument("path", nargs="?", type=Path, default=Path(FILE_NAME))
    init.add_argument("--force", action="store_true", help="replace one that is there")
    init.set_defaults(run=_init)

    doctor = commands.add_parser("doctor", help="make one tiny call to a model and say what of it works")
    doctor.add_argument("model", nargs="?", metavar="ALIAS", help="as for chat; the active one if none is named")
    doctor.set_defaults(run=_doctor)
    guide.add(commands)
    return parser


def _chat(arguments: argparse.Namespace) -> int:
    demo = None
    if _is_demo(arguments.model):
        demo = DemoModel(pause=0.02)
        print(f"No models.json and no {_KEYS[0]}: this is the emulator, nothing is billed. {_other()}", file=sys.stderr)
    chat = _Chat(arguments, demo)
    if arguments.prompt is not None or not sys.stdin.isatty():
        prompt = arguments.prompt if arguments.prompt is not None else _piped()
        anyio.run(chat.turn, prompt)
        return 0
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


def _is_demo(alias: str | None) -> bool:
    """Whether there is nothing to ask: no file, no key, and no word of a model."""
    return alias is None and find_models() is None and not any(os.environ.get(name) for name in _KEYS)


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

    def __init__(self, arguments: argparse.Namespace, demo: DemoModel | None) -> None:
        self._arguments = arguments
        self._demo = demo
        self._history: list[Message] = []

    async def turn(self, prompt: str) -> None:
        """Ask, show the answer as it comes, and say what it took, also when it breaks off."""
        asked = [*self._history, Message("user", prompt)]
        options = Options(max_tokens=self._arguments.max_tokens)
        usage: UsageChunk | None = None
        answer: list[str] = []
        first: float | None = None
        stopped = ""
        async with self._provider() as provider:
            start = time.monotonic()
            try:
                async with provider.stream(self._arguments.system, asked, options) as chunks:
                    async for chunk in chunks:
                        if isinstance(chunk, UsageChunk):
                            usage = chunk if usage is None else usage + chunk
                        elif isinstance(chunk, TextChunk):
                            first = first or time.monotonic()
                            answer.append(chunk.text)
                        elif isinstance(chunk, StopChunk) and chunk.reason != "stop":
                            stopped = f"; stopped: {chunk.reason}"
                        self._show(chunk)
            finally:
                if answer and not self._arguments.json:
                    print(flush=True)
                print(_summary(usage, start, first) + stopped, file=sys.stderr)
        if answer:
            self._history = [*asked, Message("assistant", "".join(answer))]

    def _show(self, chunk: object) -> None:
        if self._arguments.json:
            print(_to_json(chunk).decode(), flush=True)
        elif isinstance(chunk, TextChunk):
            print(chunk.text, end="", flush=True)

    @asynccontextmanager
    async def _provider(self) -> AsyncIterator[BaseProvider]:
        if self._demo is None:
            async with open_provider(self._arguments.model) as provider:
                yield provider
            return
        entry = resolve(models=catalog())
        info = msgspec.structs.replace(entry.provider_config.model_info or ModelInfo(), min_cache_tokens=16)
        async with Emulator(self._demo) as emulator:
            config = msgspec.structs.replace(
                entry.provider_config, api_key="emulator", base_url=emulator.url, model_info=info
            )
            async with AnthropicProvider(config) as provider:
                yield provider


def _summary(usage: UsageChunk | None, start: float, first: float | None) -> str:
    shown = "no text" if first is None else f"first text {first - start:.2f} s"
    seconds = f"{time.monotonic() - start:.2f} s"
    if usage is None:  # unknown is not zero
        return f"[no usage was reported; {shown}; {seconds}]"
    counts = [f"{usage.input_tokens} in"]
    if usage.cache_write_tokens:
        counts.append(f"{usage.cache_write_tokens} cache write")
    if usage.cache_read_tokens:
        counts.append(f"{usage.cache_read_tokens} cache read")
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    counts.append(f"{usage.output_tokens} out{reasoning}")
    cost = "price unknown" if usage.cost is None else f"${_plain(usage.cost)}"
    return f"[{', '.join(counts)} tokens; {cost}; {shown}; {seconds}]"


def _plain(number: Decimal | None) -> str:
    return "-" if number is None else format(number.normalize(), "f")


def _models(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        print(msgspec.json.format(msgspec.json.encode(models_schema()), indent=2).decode())
        return 0
    config = load_models()
    models = {**catalog().models, **config.models} if arguments.all else config.models
    rows: list[tuple[str, ...]] = [
        ("", "alias", "provider", "model", "context", "input", "output", "write", "write 1h", "read")
    ]
    for alias, entry in models.items():
        info = _info(config, entry)
        prices = (
            info.input_price,
            info.output_price,
            info.cache_writes_price,
            info.cache_writes_extended_price,
            info.cache_reads_price,
        )
        mark = "*" if alias == config.active else "" if entry.enabled else "off"
        window = str(info.context_window or "-")
        rows.append((mark, alias, entry.provider, entry.provider_config.model_id, window, *map(_plain, prices)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{config.source or 'packaged catalogue'}; * active; dollars per million tokens", file=sys.stderr)
    return 0


def _info(config: ModelsConfig, entry: ModelEntry) -> ModelInfo:
    # Without its key, so that models can be listed where their variables are not set.
    bare = msgspec.structs.replace(entry.provider_config, api_key=None)
    shown = msgspec.structs.replace(entry, provider_config=bare, enabled=True)
    found = resolve("shown", models=ModelsConfig(active="shown", models={"shown": shown}, source=config.source))
    return found.provider_config.model_info or ModelInfo()


def _init(arguments: argparse.Namespace) -> int:
    path: Path = arguments.path
    if path.exists() and not arguments.force:
        raise ConfigError(f"{path} is there already; --force replaces it")
    entries = catalog().models
    aliases: dict[str, str] = {}  # the first one of each model
    for alias, entry in entries.items():
        if entry.provider_config.model_id != alias and entry.provider_config.model_info is not None:
            aliases.setdefault(entry.provider_config.model_id, alias)
    models = {
        alias: ModelEntry(
            provider=entries[alias].provider,
            provider_config=ProviderConfig(model_id=model_id, api_key=f"${{{_variable(entries[alias].provider)}}}"),
        )
        for model_id, alias in aliases.items()
    }
    save_models(ModelsConfig(active=catalog().active, models=models), path)
    variables = dict.fromkeys(_variable(entry.provider) for entry in models.values())
    print(f"Wrote {path} with {', '.join(models)}; the keys come from {', '.join(variables)}.", file=sys.stderr)
    return 0


def _variable(provider: str) -> str:
    return _KEYS[0] if provider == ANTHROPIC else DIALECTS[provider].key_variables[0]


def _doctor(arguments: argparse.Namespace) -> int:
    async def run() -> list[Finding]:
        async with open_provider(arguments.model) as provider:
            return await examine(provider)

    findings = anyio.run(run)
    marks = {True: "yes", False: "NO", None: "?"}
    for finding in findings:
        print(f"{finding.what:<15} {marks[finding.works]:<4} {finding.said}")
        if finding.advice:
            print(f"{'':<20} {finding.advice}")
    return 1 if any(finding.works is False for finding in findings) else 0
