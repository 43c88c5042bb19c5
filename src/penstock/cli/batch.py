"""`penstock batch`: a file of prompts, answered into another file; resumed by running it again."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

import anyio
import anyio.to_thread
import msgspec

from penstock.agent.collect import history_of
from penstock.cli.attachments import options_of
from penstock.cli.batch_lines import Lines
from penstock.cli.batch_progress import progress_bar
from penstock.cli.commands import Commands, say_where
from penstock.cli.terminal import failure_fields, notice
from penstock.config.models_file import load_models
from penstock.config.open import open_provider
from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.cost import calculate_cost, format_dollars
from penstock.core.errors import BatchUnsureError, ConfigError
from penstock.core.provider import BaseProvider
from penstock.fleet.jobs import Job, JobResult, Progress

__all__ = ["add", "run"]

_COLLECT: Final = "Run once without --cancel to collect what was answered; it sends nothing"
_NOTHING: Final = "no batch of this journal was running, so nothing was cancelled"
_line: Final = msgspec.json.Encoder(decimal_format="string").encode


def add(commands: Commands) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("batch", help="answer a file of prompts into another file; run it again to go on")
    parser.add_argument(
        "file", metavar="FILE.jsonl", help="a prompt or a request a line, as JSON; - for standard input"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="OUT.jsonl", help="an answer a line, as they come")
    parser.add_argument(
        "-m", "--model", metavar="ALIAS", help="of models.json or of the catalogue; or PROVIDER/MODEL-ID"
    )
    parser.add_argument("-o", "--option", metavar="KEY=VALUE", action="append", default=[], help="as reasoning=high")
    parser.add_argument("--max-tokens", type=int, help="most tokens of each answer")
    parser.add_argument("--concurrency", type=int, default=10, metavar="N", help="prompts at once (default: 10)")
    parser.add_argument("--half-price", action="store_true", help="by the vendor's batch API, within a day or so")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="what is done (default: OUT.jsonl.journal)")
    parser.add_argument("--cancel", action="store_true", help="with --half-price: cancel what runs at the vendor")
    parser.add_argument(
        "--resubmit",
        action="store_true",
        help="with --half-price: send what is unsure again, which may be billed twice",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    if arguments.cancel and not arguments.half_price:
        raise ConfigError("`--cancel` goes with --half-price: elsewhere nothing runs that Ctrl-C would not end")
    if arguments.resubmit and (arguments.cancel or not arguments.half_price):
        raise ConfigError("`--resubmit` goes with --half-price, without --cancel: it sends what is unsure again")
    arguments.journal = arguments.journal or arguments.out.with_name(f"{arguments.out.name}.journal")
    _check_files(arguments)
    models = load_models()
    provider = open_provider(arguments.model, models=models)
    say_where(models, arguments.model)
    if arguments.cancel:
        count = anyio.run(_cancel, provider, arguments.journal)
        told = f"{count:,} {'batch' if count == 1 else 'batches'} told to stop. {_COLLECT}" if count else _NOTHING
        notice(f"({told})")
        return 0
    lines = Lines(arguments.file, options_of(arguments.option, arguments.max_tokens))
    total = _look(provider, lines, half_price=arguments.half_price) if lines.is_file else None
    command = _Batch(provider, lines, total, arguments)
    try:
        return anyio.run(command.run)
    except KeyboardInterrupt:
        command.say_interrupted()
        return 130


def _check_files(arguments: argparse.Namespace) -> None:
    out, journal = arguments.out, arguments.journal
    if len({Path(each).absolute() for each in (arguments.file, out, journal)}) < 3:
        raise ConfigError("the prompts, --out and --journal are to be three files")
    if out.is_file() and out.stat().st_size and not journal.exists():
        raise ConfigError(f"{out} is there and its journal {journal} is not: name another --out, or remove it")


def _look(provider: BaseProvider, lines: Lines, *, half_price: bool) -> int:
    """Read the whole file before the first call, say what it may cost, and how many jobs it has."""
    count, tokens, price = 0, 0, Decimal(0)
    known = True
    info, variant = provider.get_model().info, "batch" if half_price else None
    for job in lines.checked():
        count += 1
        prompt = provider.tokens.estimate(job.system_prompt, history_of(job.prompt), job.options)
        cost = calculate_cost(UsageChunk(input_tokens=prompt), info, variant=variant)
        known, tokens = known and cost is not None, tokens + prompt
        price = EXACT.add(price, cost or Decimal(0))
    if lines.models - {provider.get_model().id}:
        notice(f"(the lines name {', '.join(sorted(lines.models)[:3])}; {provider.get_model().id} is asked)")
    for note in lines.notes:
        notice(f"({note})")
    said = f", {format_dollars(Decimal(f'{price:.2g}'))} before the answers" if known else ""
    notice(f"({count:,} prompts, about {tokens:,} tokens{said})")
    return count


async def _cancel(provider: BaseProvider, journal: Path) -> int:
    from penstock.fleet.batch_cancelling import cancel_batches

    async with provider:
        return await cancel_batches(provider, journal)


class _Batch:
    """One run of the command."""

    def __init__(self, provider: BaseProvider, lines: Lines, total: int | None, arguments: argparse.Namespace) -> None:
        self._provider = provider
        self._lines = lines
        self._total = total
        self._arguments = arguments
        self._now = Progress()
        self._unsure = 0
        self._twice: Decimal | None = Decimal(0)

    async def run(self) -> int:
        """All jobs; the exit status."""
        with ExitStack() as stack:
            show = stack.enter_context(progress_bar(self._total))

            def tell(now: Progress) -> None:
                self._now = msgspec.structs.replace(now, total=self._total)
                show(self._now)

            async with self._provider, aclosing(self._results(tell)) as results:
                # Only once the journal is ours: another process may be writing the file.
                out = None
                try:
                    async for result in results:
                        self._count_unsure(result)
                        if out is None:
                            out = stack.enter_context(_Output(self._arguments.out))
                        out.write(_line(_record(result)) + b"\n")
                    if out is not None:
                        out.replace()
                finally:
                    stack.close()
                    self._say()
            if out is None:
                self._arguments.out.touch()
        return 1 if self._now.failed else 0

    def _results(self, tell: Callable[[Progress], None]) -> AsyncGenerator[JobResult, None]:
        given = self._arguments
        jobs = self._lines.jobs() if self._lines.is_file else _waited_for(self._lines.jobs())
        if not given.half_price:
            from penstock.fleet.gathering import gather  # here and below: the other commands need neither

            return gather(self._provider, jobs, concurrency=given.concurrency, journal=given.journal, progress=tell)
        from penstock.fleet.batching import batch

        return batch(self._provider, jobs, journal=given.journal, progress=tell, resubmit=given.resubmit)

    def _say(self) -> None:
        now = self._now
        parts = [f"{now.done:,} answered"]
        parts += [f"{now.resumed:,} of them in an earlier run"] if now.resumed else []
        parts += [f"{now.failed:,} failed"] if now.failed else []
        parts += [f"{now.unmatched:,} answers in the journal belong to no line of this file"] if now.unmatched else []
        notice(f"[{'; '.join([*parts, format_dollars(now.usage)])}]")
        if self._unsure:
            about = None if self._twice is None else format_dollars(Decimal(f"{self._twice:.2g}"))
            cost = "nobody knows how much" if about is None else f"at the most about {about}"
            notice(
                f"({self._unsure:,} of those that failed may have been answered: with --resubmit they are sent again, "
                f"and {cost} may be billed twice)"
            )

    def _count_unsure(self, result: JobResult) -> None:
        """Add up what would be paid twice, at the most, if what is unsure were sent again."""
        if not isinstance(result.error, BatchUnsureError):
            return
        job, model = result.job, self._provider.get_model()
        prompt = self._provider.tokens.estimate(job.system_prompt, history_of(job.prompt), job.options)
        answer = (job.options and job.options.max_tokens) or model.info.max_tokens
        most = UsageChunk(input_tokens=prompt, output_tokens=answer or 0)
        cost = None if answer is None else calculate_cost(most, model.info, variant="batch")
        self._unsure += 1
        self._twice = None if cost is None or self._twice is None else EXACT.add(self._twice, cost)

    def say_interrupted(self) -> None:
        """What goes on, how to go on with it, and how to end it."""
        if self._arguments.half_price:
            notice(
                "(interrupted: batches that were submitted go on at the vendor, and are billed. The same command "
                "collects them; with --cancel it cancels them)"
            )
        else:
            notice("(interrupted: nothing runs any more. The same command goes on where this one was)")


class _Output:
    """The file of answers. Those of an earlier run stay until this one has written as much, as it may stop before."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._before = self._path.stat().st_size if self._path.is_file() else 0
        self._new = self._path.with_name(f"{self._path.name}.new") if self._before else None

    def __enter__(self) -> Self:
        self._file = (self._new or self._path).open("wb")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._new is not None:
            self._new.unlink()
        self._file.close()

    def write(self, line: bytes) -> None:
        """Add a line, which is there when this returns."""
        self._file.write(line)
        self._file.flush()
        if self._file.tell() >= self._before:
            self.replace()

    def replace(self) -> None:
        """Put what was written into the place of the earlier answers."""
        if self._new is not None:
            self._new.replace(self._path)
            self._new = None


async def _waited_for(jobs: Iterator[Job]) -> AsyncGenerator[Job, None]:
    """Those of a pipe, in which the next line may be long in coming, while the others go on."""
    while (job := await anyio.to_thread.run_sync(next, jobs, None, abandon_on_cancel=True)) is not None:
        yield job


def _record(result: JobResult) -> dict[str, Any]:
    """A line of the output."""
    usage = msgspec.to_builtins(result.usage, builtin_types=(Decimal,))
    found: dict[str, Any] = {"id": result.id, "text": None if result.reply is None else result.reply.text}
    if result.reply is not None and result.reply.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in result.reply.tool_calls
        ]
    if result.reply is not None:
        found["stop"] = result.reply.stop_reason
    found["usage"] = {name: count for name, count in usage.items() if isinstance(count, int)}
    return {**found, "cost": result.cost, "error": None if result.error is None else failure_fields(result.error)}
