"""Tables that fit a terminal of 80 columns: names are cut in the middle, numbers never."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

from penstock.cli.terminal import columns, is_terminal, printable

__all__ = ["WIDTH", "line", "lines_of", "screen_width", "told_apart"]

WIDTH: Final = 80
"""Columns of a whole table."""


def line(text: str | None) -> str:
    """*text* as one printable line; a dash for none."""
    return "-" if text is None else printable(" ".join(text.split()))


def screen_width() -> int | None:
    """The columns of the terminal that standard output is, at least those of WIDTH; None where it is a pipe or file."""
    return max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if is_terminal(sys.stdout) else None


def lines_of(
    names: Sequence[Sequence[str]],
    numbers: Sequence[Sequence[str]] = (),
    least: Sequence[int] = (),
    width: int | None = None,
) -> list[str]:
    """The lines of a table of these columns: names, and then numbers at the right of theirs.

    width: most columns of the whole, for which names are cut, the widest first; None for all of each. least: how many
    columns each of the names keeps.
    """
    widths = [max(map(columns, column), default=0) for column in names]
    if width is not None:
        room = width - sum(max(map(len, column)) + 2 for column in numbers) - 2 * (len(names) - 1)
        widths = _fitted(widths, least, room)
    cells = [told_apart(column, width) for column, width in zip(names, widths, strict=True)]
    cells += [[text.rjust(max(map(len, column))) for text in column] for column in numbers]
    return ["  ".join(row).rstrip() for row in zip(*cells, strict=True)]


def _fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The columns' widths, of which the widest gives up one after the other until they fit."""
    found = [min(width, WIDTH) for width in widths]
    while sum(found) > room and (free := [place for place, width in enumerate(found) if width > least[place]]):
        found[max(free, key=found.__getitem__)] -= 1
    return found


def told_apart(column: Sequence[str], width: int) -> list[str]:
    """The names of a column, cut to just so many columns at a place that tells most of them apart."""
    cuts = [[_cut(text, width, share) for text in column] for share in (0.5, 0.25, 0.0, 0.75)]
    return max(cuts, key=lambda cut: len(set(cut)))


def _cut(text: str, width: int, share: float) -> str:
    """*text* in just so many columns: padded, or with so much of its head, the rest of its tail, and a mark between."""
    head, tail = text, ""
    while columns(head) + columns(tail) + (len(head) + len(tail) < len(text)) > width:
        if len(head) == len(text):
            middle = int(len(text) * share)
            head, tail = text[:middle], text[middle + 1 :]
        elif columns(head) * (1 - share) > columns(tail) * share:
            head = head[:-1]
        else:
            tail = tail[1:]
    cut = text if head == text else f"{head}…{tail}"
    return cut + " " * (width - columns(cut))
