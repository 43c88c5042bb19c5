"""`penstock spend`: where the money of a ledger went, as a table, CSV, JSON or a page."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from penstock.cli.commands import Commands, plain
from penstock.cli.tables import WIDTH, line, lines_of
from penstock.cli.terminal import columns, json_line, printable
from penstock.config.models_file import ledger_of, load_models
from penstock.core.chunks import UsageChunk
from penstock.core.cost import format_dollars
from penstock.core.errors import ConfigError
from penstock.meter.entries import COUNTS, TIMES, Total, cell, instant, to_the_minute
from penstock.meter.place import Place, place_of
from penstock.meter.sums import Chosen, format_count, summed, totals

__all__ = ["add", "run"]

_NAME: Final = 10
"""Columns of a name for which a cost gives up digits."""
_MOST: Final = 3
"""Fields that the table has room for."""


def add(commands: Commands) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("spend", help="where the money went: the sums of a ledger")
    parser.add_argument("--since", default="30d", metavar="WHEN", help="7d, 12h, 4w, or a date or time (default: 30d)")
    parser.add_argument("--until", metavar="WHEN", help="in the same way; calls before it")
    parser.add_argument("--by", default="model", metavar="FIELDS", help="day,model,tags.user (default: model)")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only such calls; again: any of a field's values, all fields",
    )
    parser.add_argument("--db", metavar="LEDGER", help="its file, or postgresql://... (default: that of models.json)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="all counts and all digits as CSV")
    form.add_argument("--json", action="store_true", help="the same as a JSON array")
    form.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts to FILE instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command; the result is the exit status."""
    now = dt.datetime.now(dt.UTC)
    chosen = Chosen(
        since=instant("--since", arguments.since, now.timestamp()),
        until=instant("--until", arguments.until, now.timestamp()),
        where=_conditions(arguments.where),
    )
    db = place_of(_ledger() if arguments.db is None else arguments.db)
    by = [name.strip() for name in arguments.by.split(",")]
    if arguments.html is not None:
        return _write_page(db, chosen, arguments.html, now)
    if len(by) > _MOST and not (arguments.csv or arguments.json):
        raise ConfigError(f"a table has room for {_MOST} fields, `--by` names {len(by)}; `--csv` takes more")
    with db.reading() as connection:
        found = totals(connection, by, chosen)
    if arguments.json:
        print(json_line([_record(total) for total in found]))
    elif arguments.csv:
        _write_csv(by, found)
    elif not found:
        print(f"No calls {_period(chosen)}.", file=sys.stderr)
    else:
        print("\n".join(_table(by, [*found, summed(found)])))
        print(f"{db.name}, {_period(chosen)}", file=sys.stderr)
    return 0


def _ledger() -> Path | str:
    models = load_models()
    if models.ledger is None:
        raise ConfigError('no ledger is configured: pass one with --db LEDGER, or set "ledger" in models.json')
    return ledger_of(models)


def _conditions(given: Sequence[str]) -> dict[str, list[str | None]]:
    """The values that each field may have: an empty one stands for none too."""
    found: dict[str, list[str | None]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"`--where` is {text!r}, expected FIELD=VALUE, such as model=claude-haiku-5-5")
        found.setdefault(name.strip(), []).extend([value] if value else ["", None])
    return found


def _period(chosen: Chosen) -> str:
    until = "" if chosen.until is None else f" until {to_the_minute(chosen.until)}"
    return f"since {to_the_minute(chosen.since)}{until} UTC"


def _write_page(db: Place, chosen: Chosen, file: Path, now: dt.datetime) -> int:
    from penstock.meter.report.figures import figures  # what only a page needs
    from penstock.meter.report.page import page

    with db.reading() as connection:
        text = page(figures(connection, chosen), ledger=db.name.rpartition("/")[2], chosen=chosen, now=now)
    try:
        file.write_text(printable(text), "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {str(file)!r}: {error.strerror}") from error
    print(f"wrote {file}", file=sys.stderr)
    return 0


def _record(total: Total) -> dict[str, Any]:
    """A line of CSV or JSON: what was grouped, all counts, and money as decimal text."""
    usage = total.usage
    money = {
        "known_cost": usage.known_cost,
        "cost": usage.cost,
        "estimated_cost": total.estimated_cost,
        "saved": total.saved,
    }
    return {
        **total.by,
        "calls": total.calls,
        **{name: getattr(usage, name) for name in COUNTS},
        **{name: None if dollars is None else plain(dollars) for name, dollars in money.items()},
    }


def _write_csv(by: Sequence[str], found: Sequence[Total]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    nothing = Total(by=dict.fromkeys(by), calls=0, usage=UsageChunk(), estimated_cost=Decimal(0), saved=Decimal(0))
    writer.writerow([cell(name) for name in _record(nothing)])
    for total in found:
        record = _record(total)
        writer.writerow([cell(value or "") if name in total.by else value for name, value in record.items()])


def _table(by: Sequence[str], found: Sequence[Total]) -> list[str]:
    """The lines of the table; the last of *found* is the sum of the others."""
    numbers = [
        ["calls", *(format_count(total.calls) for total in found)],
        ["+ estimate", *(_about(total.estimated_cost) if total.estimated_cost else "" for total in found)],
        ["in", *(format_count(total.usage.prompt_tokens) for total in found)],
        ["out", *(format_count(total.usage.output_tokens) for total in found)],
        ["cached", *(_share(total.usage) for total in found)],
    ]
    numbers = [column for column in numbers if any(column[1:])]
    names = [[name, *(line(total.by[name]) for total in found[:-1]), ""] for name in by]
    names[0][-1] = "total"
    room = WIDTH - sum(max(map(len, column)) + 2 for column in numbers) - 2 * len(by)
    widths = [max(map(columns, column)) for column in names]
    needed = [width if name in TIMES else min(width, _NAME) for name, width in zip(by, widths, strict=True)]
    costs = ["cost", *_aligned([total.usage for total in found], room - sum(needed))]
    numbers.insert(1, costs)
    lines = lines_of(names, numbers, [WIDTH if name in TIMES else 1 for name in by], WIDTH)
    return [*lines[:-1], "-" * max(map(columns, lines)), lines[-1]]


def _aligned(usages: Sequence[UsageChunk], room: int) -> list[str]:
    """Sums of money with their points below each other, all digits or as many as there is room for."""
    said = [f"{'≥ ' if usage.unsettled > 0 else ''}{format_dollars(usage.known_cost)}" for usage in usages]
    ends = [text.index(".") for text in said]
    most = max(len(text) - end for text, end in zip(said, ends, strict=True))
    most = max(3, min(most, room - max(ends)))
    cut = [text[: end + most] + " " * (end + most - len(text)) for text, end in zip(said, ends, strict=True)]
    if any(text.rstrip() != whole for text, whole in zip(cut, said, strict=True)):
        print("(costs are cut to fit; `--csv` has all digits)", file=sys.stderr)
    return cut


def _about(dollars: Decimal) -> str:
    """A guess, to two digits or to the cent: more of it would be made up."""
    return f"~${dollars:,.{max(2, 1 - dollars.adjusted())}f}"


def _share(usage: UsageChunk) -> str:
    """How much of the prompts was read from the cache."""
    return f"{usage.cache_read_tokens / usage.prompt_tokens:.0%}" if usage.prompt_tokens > 0 else ""
