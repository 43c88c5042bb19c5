"""How far many jobs are, on standard error: a bar where rich is, else a line, and nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from penstock.cli.terminal import is_styled, is_terminal, raw, width_of
from penstock.core.cost import format_dollars
from penstock.fleet.jobs import Progress

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int | None) -> Iterator[Callable[[Progress], None]]:
    """What is to be told of each Progress. total: None where it is not known."""
    if not is_terminal(sys.stderr):
        yield lambda now: None
    elif is_styled(sys.stderr) and find_spec("rich") is not None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(file=raw(sys.stderr))
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total, said="")
            yield lambda now: bar.update(task, completed=now.done + now.failed, said=_said(now))
    else:
        screen = raw(sys.stderr)
        width = width_of(sys.stderr) - 1  # a line that is broken in two is not written over
        try:
            yield lambda now: print(f"\r{_line(now):{width}.{width}}", end="", file=screen, flush=True)
        finally:
            print(file=screen)


def _line(now: Progress) -> str:
    ended = f"{now.done + now.failed:,}"
    counted = ended if now.total is None else f"{ended}/{now.total:,}"
    return f"{counted}  {_said(now)}"


def _said(now: Progress) -> str:
    parts = [f"{now.failed:,} failed"] if now.failed else []
    parts += [f"{now.waiting:,} wait for room at the vendor"] if now.waiting else []
    parts += [f"{now.rate:.3g}/s"] if now.rate else []
    parts += [format_dollars(round(now.usage.known_cost, 4))]
    if now.seconds_left is not None and now.left:
        minutes, seconds = divmod(round(now.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts += [f"{hours}:{minutes:02}:{seconds:02} left"]
    return "  ".join(parts)
