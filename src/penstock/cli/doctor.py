"""`penstock doctor`: one tiny call to a model, and what of it works."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import anyio
import msgspec

from penstock.cli.commands import Commands, say_where
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

_TOOL = Tool(name="ping", description="Takes no arguments and answers pong.")
_PROMPT = "Write one short sentence, then call the tool `ping`."
_DEADLINES = Deadlines(connect=10, first_chunk=120, stall=60, total=180)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. works: None where it cannot be told. advice: what to do, empty where nothing is."""

    what: Literal["reachable", "key accepted", "model known", "answers", "streams", "usage", "terminal event", "tools"]
    works: bool | None
    said: str
    advice: str = ""


class _Call(msgspec.Struct):
    """What came of the call."""

    chunks: list[Chunk]
    times: list[float]
    error: ProviderError | None
    seconds: float


async def examine(provider: BaseProvider) -> list[Finding]:
    """Make one tiny call with one tool, a second one without it if the tool is refused, and say what works."""
    call = await _call(provider, [_TOOL])
    refused = call.error
    if isinstance(refused, InvalidRequestError):
        call = await _call(provider, [])
    else:
        refused = None
    return [*_connection(call, provider.get_model().id), *_answer(call), _tools(call, refused)]


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


def _connection(call: _Call, asked: str) -> Iterator[Finding]:
    error = call.error
    advice = error.hint if error is not None else ""
    unreachable = isinstance(error, NetworkError) or (isinstance(error, ProviderTimeoutError) and error.deadline)
    if unreachable and not call.chunks:
        yield Finding(what="reachable", works=False, said=str(error and error.message), advice=advice)
        yield Finding(what="key accepted", works=None, said="not known")
        yield Finding(what="model known", works=None, said="not known")
        return
    if isinstance(error, AuthenticationError) and error.status is None:
        yield Finding(what="reachable", works=None, said="not tried")
    else:
        yield Finding(what="reachable", works=True, said=f"{call.seconds:.2f} s for the whole call")
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        yield Finding(what="key accepted", works=False, said=error.message, advice=advice)
        yield Finding(what="model known", works=None, said="not known")
    elif isinstance(error, NotFoundError):
        yield Finding(what="key accepted", works=None, said="not known")
        yield Finding(what="model known", works=False, said=error.message, advice=advice)
    else:
        known = None if error is not None and not call.chunks else True
        yield Finding(what="key accepted", works=known, said="not known" if known is None else "yes, or none is needed")
        yield _known_model(call, asked) if known else Finding(what="model known", works=None, said="not known")


def _known_model(call: _Call, asked: str) -> Finding:
    stop = call.chunks[-1] if call.chunks else None
    answered = stop.model if isinstance(stop, StopChunk) else None
    if answered is None or asked in answered or answered in asked:
        return Finding(what="model known", works=True, said=f"{answered} answered" if answered else "yes")
    advice = "Some servers take any name: check modelId, and that the prices are those of what answers."
    return Finding(what="model known", works=None, said=f"asked for {asked}, {answered} answered", advice=advice)


def _answer(call: _Call) -> Iterator[Finding]:
    error = call.error
    pieces = [time for time, chunk in zip(call.times, call.chunks, strict=True)
              if isinstance(chunk, TextChunk | ToolCallDeltaChunk)]  # fmt: skip
    if error is not None:
        advice = "Top up the account." if isinstance(error, QuotaExceededError) else error.hint
        yield Finding(what="answers", works=False, said=f"{type(error).__name__}: {error.message}", advice=advice)
    else:
        yield Finding(what="answers", works=True, said=f"{len(call.chunks)} chunks")
    if len(pieces) > 1:
        yield Finding(what="streams", works=True, said=f"{len(pieces)} pieces over {pieces[-1] - pieces[0]:.2f} s")
    elif error is None:
        yield Finding(
            what="streams", works=None, said="the answer came in one piece", advice="Ask for more to be sure of it."
        )
    else:
        yield Finding(what="streams", works=None, said="not known")
    usage = sum((chunk for chunk in call.chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    if usage.prompt_tokens or usage.output_tokens:
        cost = format_dollars(usage) if usage.cost is not None or usage.known_cost else "price unknown"
        said = f"{usage.prompt_tokens} tokens in, {usage.output_tokens} out, {cost}"
        advice = "Give the prices in modelInfo of models.json." if cost == "price unknown" else ""
        yield Finding(what="usage", works=True, said=said, advice=advice)
    elif error is None:
        advice = "Calls to this server cannot be counted: see streamUsage of its dialect."
        yield Finding(what="usage", works=False, said="the server reports none", advice=advice)
    else:
        yield Finding(what="usage", works=None, said="not known")
    if error is None:
        yield Finding(what="terminal event", works=True, said=str(_reason(call)))
    elif isinstance(error, StreamInterruptedError):
        advice = "If whole answers end so, set saysEnd to false in the server's dialect."
        yield Finding(what="terminal event", works=False, said=error.message, advice=advice)
    else:
        yield Finding(what="terminal event", works=None, said="not known")


def _reason(call: _Call) -> str:
    stop = call.chunks[-1]
    return f"stopped with {stop.reason}" if isinstance(stop, StopChunk) else "none"


def _tools(call: _Call, refused: ProviderError | None) -> Finding:
    if refused is not None:
        return Finding(what="tools", works=False, said=refused.message, advice="Use this model without tools.")
    made = [chunk for chunk in call.chunks if isinstance(chunk, ToolCallChunk)]
    if made:
        return Finding(what="tools", works=True, said=f"called {', '.join(chunk.name for chunk in made)}")
    if call.error is not None:
        return Finding(what="tools", works=None, said="not known")
    advice = "It may still do so: a model is free to. A local server may need a template or a flag for tools."
    return Finding(what="tools", works=None, said="offered, and not called", advice=advice)


def add(commands: Commands) -> None:
    """Add it to the command line."""
    doctor = commands.add_parser("doctor", help="make one tiny call to a model and report what works")
    doctor.add_argument("model", nargs="?", metavar="ALIAS", help="as for chat; the active one if none is named")
    doctor.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""

    models = load_models()

    async def examined() -> list[Finding]:
        async with open_provider(arguments.model, models=models) as provider:
            say_where(models, arguments.model)
            return await examine(provider)

    findings = anyio.run(examined)
    marks = {True: "yes", False: "NO", None: "?"}
    for finding in findings:
        print(f"{finding.what:<15} {marks[finding.works]:<4} {finding.said}")
        if finding.advice:
            print(f"{'':<20} {finding.advice}")
    return 1 if any(finding.works is False for finding in findings) else 0
