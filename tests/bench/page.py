"""The two tables of the guide's page on speed, as `python tests/bench --write` puts them between two marks there."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias

import penstock
from measuring import FAST, OURS, SDK, WITHOUT, Bar, Row, Spent, figure

__all__ = ["COLUMNS", "IN_SHORT", "PAGE", "SUMMARY", "scattered", "tables", "tables_of", "title", "written"]

PAGE: Final = Path(penstock.__file__).parent / "guide" / "speed.md"
IN_SHORT: Final = ("what", OURS, "to SDK", "on aiohttp", "to SDK", "to Penstock", "SDK", "httpx2")
COLUMNS: Final = ("what", OURS, "on aiohttp", "SDK", "beside it", "ratio (target)")
PACKAGES: Final = ("anthropic", "openai", "httpx2", "aiohttp", "msgspec")
SUMMARY: Final = {
    **{
        f"{kind}: {vendor}": f"{what}: {name}"
        for kind, what in {
            "an event read alone": "an event read alone",
            "an event in bulk": "an event in bulk, twenty a chunk",
            "a call of 20 events": "a call of 20 events",
            "2,000 messages sent": "sending 2,000 messages (0.9 MB)",
        }.items()
        for vendor, name in {"Anthropic": "anthropic", "OpenAI": "chat"}.items()
    },
    **{
        f"{kind}: {vendor}": f"{what}: {vendor}"
        for kind, what in {
            "the first call": "the first call of a process",
            "a turn after a pause": "a turn after a tool of 6 s, over TLS",
        }.items()
        for vendor in ("Anthropic", "OpenAI")
    },
    "`import penstock`": "`import penstock`",
    "what `Retry` adds": "a chunk through Retry",
}
"""What a line of the summary is of: a row by *what*. It is narrow, or a terminal shows it as a list."""
_PLACE: Final = re.compile(r"(<!-- made by python tests/bench --write -->\n)(.*?)(<!-- end -->)", re.DOTALL)

Found: TypeAlias = Mapping[str, Mapping[str, Spent]]
"""The sides of each row that was measured, by *what*."""


def title(row: Row) -> str:
    """What stands in a row's first cell."""
    return f"{row.what}, {row.unit}{' (wall)' if row.wall else ''}"


def line(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def full(row: Row, sides: Mapping[str, Spent]) -> str:
    """One row of the bench: medians, and the ratios that have a target; empty cells if it was not measured."""
    shown = {who: cell(row, spent) for who, spent in sides.items()}
    named = [shown.pop(who, "") for who in (OURS, FAST, SDK)]
    beside = ", ".join(f"{who} {text}" for who, text in shown.items())
    bars = [bar for bar in row.bars if not bar.more] or row.bars
    return line([title(row), *named, beside, ", ".join(held(bar, row, sides) for bar in bars)])


def cell(row: Row, spent: Spent) -> str:
    """What a side took; wall time in parentheses where the row tells it."""
    wall = f" ({figure(spent.wall.median, row.unit)})" if row.wall and spent.wall is not None else ""
    return figure(spent.cpu.median, row.unit) + wall


def held(bar: Bar, row: Row, sides: Mapping[str, Spent]) -> str:
    """What was found, of what, and the target."""
    of = "" if bar.than is None or bar.more else f" of {bar.than}"
    return f"{bar.found(sides, row.unit) if sides else '?'}{of} ({bar.most:g})"


def short(what: str, row: Row, sides: Mapping[str, Spent]) -> str:
    """A line of the summary, of CPU time alone. Of a layer it tells what it adds."""
    less = sides[WITHOUT].cpu.median if WITHOUT in sides else 0

    def taken(who: str) -> str:
        return figure(sides[who].cpu.median - less, row.unit) if who in sides else ""

    def ratio(who: str, than: str) -> str:
        return Bar(1, than, who).found(sides, row.unit) if {who, than} <= sides.keys() else ""

    ours = [taken(OURS), ratio(OURS, SDK)]
    fast = [taken(FAST), ratio(FAST, SDK), ratio(FAST, OURS)]
    return line([f"{what}, {row.unit}", *ours, *fast, taken(SDK), taken("httpx2")])


def tables(rows: Sequence[Row], found: Found) -> tuple[str, str]:
    """The summary, and the table of all rows that the page has, below what they were measured with."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    day = dt.datetime.now(dt.UTC).date()
    said = f"Measured on {day}: {processor()}, {os.cpu_count()} cores, {platform.system()},\n"
    said += f"{platform.python_implementation()} {platform.python_version()}, {versions}.\n{scattered(found)}"
    named = {row.what: row for row in rows}
    summary = [short(what, named[one], found.get(one, {})) for what, one in SUMMARY.items()]
    body = [full(row, found.get(row.what, {})) for row in rows if row.page]
    heads = [[line(columns), "|---" * len(columns) + "|"] for columns in (IN_SHORT, COLUMNS)]
    return "\n".join([*heads[0], *summary, ""]), "\n".join([said, "", *heads[1], *body, ""])


def scattered(found: Found) -> str:
    """How far the rounds lie from their medians, in a sentence."""
    spreads = [spent.cpu for sides in found.values() for spent in sides.values()]
    widths = [(spread.high - spread.low) / spread.median / 2 for spread in spreads if spread.high > spread.low > 0]
    if len(widths) < 2:
        return "Too little was measured to tell how the rounds scatter."
    *_, most = statistics.quantiles(widths, n=10, method="inclusive")
    return (
        f"Half of the rounds lie within ±{statistics.median(widths):.0%} of the figure that is given, "
        f"in one row of ten beyond ±{most:.0%}."
    )


def processor() -> str:
    """The name of this machine's CPU."""
    said = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return said[1] if said else platform.machine()


def written(page: str, made: Iterable[str]) -> str:
    """A page with these tables between its marks, in their order."""
    left = iter(made)
    return _PLACE.sub(lambda place: f"{place[1]}{next(left)}{place[3]}", page)


def tables_of(page: str) -> list[list[list[str]]]:
    """The cells of the tables that a page has between its marks, the line below each head left out."""
    found = [[line for line in place.splitlines() if line.startswith("|")] for _, place, _ in _PLACE.findall(page)]
    return [[cells_of(line) for line in (head, *body)] for head, _, *body in found]


def cells_of(text: str) -> list[str]:
    """Those of a line."""
    return [cell.strip() for cell in text[1:-1].split("|")]
