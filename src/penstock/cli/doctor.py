"""`penstock doctor`: what can be seen for nothing, then one tiny call to a model, and what of it works."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import anyio
import msgspec

from penstock.cli.commands import Commands, say_where
from penstock.cli.doctor_all import show_all
from penstock.cli.free_checks import MARKS, Finding, Line, advised, key_hint, key_of, preliminary
from penstock.config.factories import OWN
from penstock.config.models_file import load_models
from penstock.config.open import open_provider
from penstock.core.chunks import Chunk, StopChunk, TextChunk, ToolCallChunk, ToolCallDeltaChunk, UsageChunk
from penstock.core.cost import format_dollars
from penstock.core.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    StreamInterruptedError,
)
from penstock.core.messages import Deadlines, Message, Options, Tool
from penstock.core.provider import BaseProvider

__all__ = ["Finding", "add", "examine", "run"]

_ABOUT_DEMO: Final = (
    "No models.json and no key for its model, so there is no model to ask. What is looked at below is the demo: an "
    "emulator in this program, not a model. It repeats what it is told, calls tools, fits schemas, and bills nothing."
)
_TOOL = Tool(name="ping", description="Takes no arguments and answers pong.")
_PROMPT = "Write one short sentence, then call the tool `ping`."
_LINES: Final[Sequence[Line]] = (
    "reachable", "key accepted", "model known", "answers", "streams", "usage", "terminal event", "tools"
)  # fmt: skip
"""What a call shows, if it can."""
_DEADLINES = Deadlines(connect=10, first_chunk=120, stall=60, total=180)


class _Call(msgspec.Struct):
    """What came of the call."""

    chunks: list[Chunk]
    times: list[float]
    error: ProviderError | None
    seconds: float


async def examine(provider: BaseProvider, key: str = "") -> list[Finding]:
    """Make one tiny call with one tool, a second one without it if the tool is refused, and say what works.

    There is a line of each kind: what the call has not shown is not known. key: what to do about a key that is refused,
    empty for what the error says.
    """
    call = await _call(provider, [_TOOL])
    refused = call.error
    if isinstance(refused, InvalidRequestError):
        call = await _call(provider, [])
    else:
        refused = None
    findings = (
        *_connection(call, provider.get_model().id, key),
        *_answer(call, key, pretended=provider.vendor in OWN),
        *_tools(call, refused),
    )
    found = {finding.what: finding for finding in findings}
    return [found.get(what, Finding(what=what)) for what in _LINES]


async def _call(provider: BaseProvider, tools: Sequence[Tool]) -> _Call:
    chunks: list[Chunk] = []
    times: list[float] = []
    error = None
    start = time.monotonic()
    options = Options(max_tokens=1000, tools=tools, deadlines=_DEADLINES)
    try:
        async with provider.stream(
            "", [Message("user", _PROMPT if tools else "Write one short sentence.")], options
        ) as s:
            async for chunk in s:
                chunks.append(chunk)
                times.append(time.monotonic() - start)
    except ConfigError:
        raise
    except ProviderError as failed:
        error = failed
    return _Call(chunks, times, error, time.monotonic() - start)


def _connection(call: _Call, asked: str, key: str) -> Iterator[Finding]:
    error = call.error
    advice = advised(error, key) if error is not None else ""
    unreachable = isinstance(error, NetworkError) or (isinstance(error, ProviderTimeoutError) and error.deadline)
    if unreachable and not call.chunks:
        yield Finding(what="reachable", works=False, said=str(error and error.message), advice=advice)
        return
    if isinstance(error, AuthenticationError) and error.status is None:
        yield Finding(what="reachable", works=None, said="not tried")
    else:
        yield Finding(what="reachable", works=True, said=f"{call.seconds:.2f} s for the whole call")
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        yield Finding(what="key accepted", works=False, said=error.message, advice=advice)
    elif isinstance(error, NotFoundError):
        yield Finding(what="model known", works=False, said=error.message, advice=advice)
    elif error is None or call.chunks:
        yield Finding(what="key accepted", works=True, said="accepted, or not needed")
        yield _known_model(call, asked)


def _known_model(call: _Call, asked: str) -> Finding:
    stop = call.chunks[-1] if call.chunks else None
    answered = stop.model if isinstance(stop, StopChunk) else None
    if answered is None or asked in answered or answered in asked:
        return Finding(what="model known", works=True, said=f"{answered} answered" if answered else "yes")
    advice = "Some servers take any name: check modelId, and that the prices are those of what answers."
    return Finding(what="model known", works=None, said=f"asked for {asked}, {answered} answered", advice=advice)


def _answer(call: _Call, key: str, *, pretended: bool) -> Iterator[Finding]:
    error = call.error
    pieces = [time for time, chunk in zip(call.times, call.chunks, strict=True)
              if isinstance(chunk, TextChunk | ToolCallDeltaChunk)]  # fmt: skip
    if error is not None:
        advice = "Top up the account." if isinstance(error, QuotaExceededError) else advised(error, key)
        yield Finding(what="answers", works=False, said=f"{type(error).__name__}: {error.message}", advice=advice)
    else:
        yield Finding(what="answers", works=True, said=f"{len(call.chunks)} chunks")
    if len(pieces) > 1:
        yield Finding(what="streams", works=True, said=f"{len(pieces)} pieces over {pieces[-1] - pieces[0]:.2f} s")
    elif error is None:
        yield Finding(
            what="streams", works=None, said="the answer came in one piece", advice="Ask for more to be sure of it."
        )
    usage = sum((chunk for chunk in call.chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    if usage.prompt_tokens or usage.output_tokens:
        cost = format_dollars(usage) if usage.cost is not None or usage.known_cost else "price unknown"
        shown = f"would have cost {cost}" if pretended else cost
        said = f"{usage.prompt_tokens} tokens in, {usage.output_tokens} out, {shown}"
        advice = "Give the prices in modelInfo of models.json." if cost == "price unknown" else ""
        yield Finding(what="usage", works=True, said=said, advice=advice)
    elif error is None:
        advice = "Calls to this server cannot be counted: see streamUsage of its dialect."
        yield Finding(what="usage", works=False, said="the server reports none", advice=advice)
    if error is None:
        yield Finding(what="terminal event", works=True, said=str(_reason(call)))
    elif isinstance(error, StreamInterruptedError):
        advice = "If whole answers end so, set saysEnd to false in the server's dialect."
        yield Finding(what="terminal event", works=False, said=error.message, advice=advice)


def _reason(call: _Call) -> str:
    stop = call.chunks[-1]
    return f"stopped with {stop.reason}" if isinstance(stop, StopChunk) else "none"


def _tools(call: _Call, refused: ProviderError | None) -> Iterator[Finding]:
    made = [chunk.name for chunk in call.chunks if isinstance(chunk, ToolCallChunk)]
    if refused is not None:
        yield Finding(what="tools", works=False, said=refused.message, advice="Use this model without tools.")
    elif made:
        yield Finding(what="tools", works=True, said=f"called {', '.join(made)}")
    elif call.error is None:
        advice = "It may still do so: a model is free to. A local server may need a template or a flag for tools."
        yield Finding(what="tools", works=None, said="offered, and not called", advice=advice)


def add(commands: Commands) -> None:
    """Add it to the command line."""
    doctor = commands.add_parser("doctor", help="check what is free, make one tiny call, and report what works")
    which = doctor.add_mutually_exclusive_group()
    which.add_argument("model", nargs="?", metavar="ALIAS", help="as for chat; the active one if none is named")
    which.add_argument("--all", action="store_true", help="every enabled model of models.json, without a call")
    doctor.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    models = load_models()
    if arguments.all:
        return show_all(models)
    alias = arguments.model or models.active
    lacking = [] if arguments.model or models.source is not None else [key_of(models, alias)]
    is_demo = any(finding.works is False for finding in lacking)
    if is_demo:
        alias = "demo"
        print(_ABOUT_DEMO, file=sys.stderr)

    async def examined() -> list[Finding]:
        async with open_provider(alias, models=models) as provider:
            say_where(models, alias)
            free = await preliminary(models, alias, provider)
            if any(finding.what == "host" and finding.works is False for finding in free):
                return [*free, Finding(what="answers", works=None, said="skipped: the host cannot be reached")]
            asked = await examine(provider, key_hint(models, alias))
            if any(finding.what == "key accepted" and finding.works for finding in asked):
                # What an SDK finds by itself, as in a profile, is a key too.
                free = [finding for finding in free if finding.what != "key" or finding.works is not False]
            return [*lacking, *free, *asked]

    findings = anyio.run(examined)
    for finding in findings:
        print(f"{finding.what:<15} {MARKS[finding.works]:<4} {finding.said}")
        if finding.advice:
            print(f"{'':<20} {finding.advice}")
    return 1 if any(finding.works is False for finding in findings) else 0
