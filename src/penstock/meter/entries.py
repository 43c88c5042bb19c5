"""What a ledger holds of each attempt, and the sums of them."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.errors import ConfigError
from penstock.core.validation import near

__all__ = ["Entry", "Instant", "State", "Total", "Where"]

State: TypeAlias = Literal["open", "done", "failed", "left", "lost"]

Instant: TypeAlias = dt.datetime | dt.date | str | None
"""A moment: a datetime (a naive one is UTC), a date in UTC, ISO text, or an age such as `30m`, `24h`, `7d`, `2w`."""

Where: TypeAlias = Mapping[str, str | Sequence[str | None] | None]
"""What rows must have, as `{"model": "gpt-5", "tags.user": ["ann", "bob"]}`; None is a row that has no such value."""

COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "cache_write_extended_tokens",
    "reasoning_tokens",
    "web_searches",
    "unsettled",
)
_PLAIN: Final = ("alias", "vendor", "model", "answered", "state", "reason", "error", "run", "call", "attempt")
TIMES: Final = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
"""The fields that are times, in UTC, and how people read them: both `strftime`s know these letters."""
_PERIODS: Final = {"hour": 3_600, "day": 86_400}
"""Seconds of those that can be counted, which is faster than to write them out for each row."""
FIELDS: Final = (*TIMES, *_PLAIN)
TAG: Final = "tags."

_NANO: Final = 10**9
_MOST_NANO: Final = 10**15  # of one row, a million dollars: SQLite refuses sums beyond 9.2 * 10**18
_MOST_COUNT: Final = 10**12
_MICRO: Final = 1_000_000
_AGE: Final = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: who, what, how and when. None is unknown."""

    id: int
    """Grows with each attempt that a ledger opens."""
    at: dt.datetime
    """When it was opened, in UTC."""
    state: State
    """`open` until it ends; then `done`, `failed` with an error, `left` by its caller, or `lost` with its process."""
    alias: str | None
    """The name under which the provider was opened."""
    vendor: str
    """Who was asked, the name of a dialect."""
    model: str
    """The model that was asked."""
    answered: str | None
    """The model that answered, None as long as the vendor has not said so."""
    usage: UsageChunk
    """What was reported. Its `cost` is None while a part of the bill is not known."""
    estimated_cost: Decimal | None
    """US dollars that are guessed to be billed beyond `usage.known_cost`; None where nothing is open or no price known.
    """
    saved: Decimal | None
    """US dollars that the prompt cache saved, against ordinary input; negative if writing cost more. None: unknown."""
    reason: str | None
    """Why the answer ended, `StopChunk.reason`."""
    error: str | None
    """The class of the error that was raised."""
    request_id: str | None
    """What the vendor's own list of calls has it under."""
    first_chunk: float | None
    """Seconds from sending to the first chunk that is not usage."""
    seconds: float | None
    """Seconds from sending to the end."""
    call: str
    """The call's id: tries of Retry and providers of Fallback have the same."""
    attempt: int
    """The number of the try, from 1."""
    run: str | None
    """The run of an agent that it is a part of."""
    tags: Mapping[str, str]
    """Whom or what it is booked on."""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a group of attempts."""

    by: Mapping[str, str | None]
    """What was grouped by, and its value in this group."""
    calls: int
    """How many attempts."""
    usage: UsageChunk
    """Their sum, with its `known_cost`; its `cost` is None while a part of a bill is not known."""
    estimated_cost: Decimal
    """US dollars that are guessed to be billed beyond `usage.known_cost`."""
    saved: Decimal
    """US dollars that the prompt cache saved, as far as prices are known."""


def split(dollars: Decimal) -> tuple[int, int, str | None]:
    """Dollars as whole 10^-9, the rest in 10^-18, and what is beyond both, almost always None."""
    atto = int(dollars.scaleb(18, EXACT))
    nano, rest = divmod(atto, _NANO)
    kept = max(-_MOST_NANO, min(nano, _MOST_NANO))
    more = EXACT.subtract(dollars, joined(kept, rest))
    return kept, rest, str(more) if more else None


def joined(nano: int | None, atto: int | None, more: str | None = None) -> Decimal:
    """The dollars of `split`, or of sums of it."""
    exact = EXACT.create_decimal((nano or 0) * _NANO + (atto or 0)).scaleb(-18, EXACT)
    for each in (more or "").split():
        exact = EXACT.add(exact, Decimal(each))
    return exact.normalize(EXACT) if exact else Decimal(0)


def counts_of(usage: UsageChunk) -> list[int]:
    """The counts of a row. No model has had 10^12 tokens: more is a gateway's mistake that no sum survives."""
    return [max(-_MOST_COUNT, min(getattr(usage, name), _MOST_COUNT)) for name in COUNTS]


def usage_of(counts: Sequence[int | None], cost: Decimal) -> UsageChunk:
    """What was counted and is known to be billed, of a row or a sum of rows."""
    found: dict[str, Any] = {name: count or 0 for name, count in zip(COUNTS, counts, strict=True)}
    return UsageChunk(known_cost=cost, **found)


def micros(when: dt.datetime) -> int:
    """Microseconds since 1970."""
    return (when - _EPOCH) // dt.timedelta(microseconds=1)


def moment(micro: int) -> dt.datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return _EPOCH + dt.timedelta(microseconds=micro)


def to_the_minute(micro: int | None) -> str | None:
    """That moment as people read it, not before 1970; None for None."""
    return None if micro is None else f"{moment(max(0, micro)):%Y-%m-%d %H:%M}"


def instant(name: str, value: Instant, now: float) -> int | None:
    """Microseconds since 1970, None for None. Raises ConfigError for what is no moment.

    name: what the error calls it. now: seconds since 1970, from which an age counts back.
    """
    given = value
    if value is None:
        return None
    if isinstance(value, str):
        age = _AGE.fullmatch(value.strip().lower())
        if age is not None:
            return int(now * _MICRO) - int(age[1]) * _UNITS[age[2]] * _MICRO
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if isinstance(value, dt.datetime):
        return micros(value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC))
    if isinstance(value, dt.date):
        return micros(dt.datetime.combine(value, dt.time(), dt.UTC))
    raise ConfigError(
        f"`{name}` is {given!r}, which is no moment; expected a datetime, a date, ISO text, or an age such as "
        "30m (minutes), 12h, 7d or 4w"
    )


def column(name: str) -> tuple[str, tuple[str, ...]]:
    """The SQL of a field of FIELDS or `tags.NAME`, and its parameters. Raises ConfigError for any other."""
    if name in _PERIODS:
        return f"at / {_PERIODS[name] * _MICRO}", ()
    if name in TIMES:
        return written(name), ()
    if name in _PLAIN:
        return name, ()
    if str(name).startswith(TAG) and len(name) > len(TAG):
        return "(SELECT value FROM json_each(tags) WHERE key = ?)", (name.removeprefix(TAG),)
    raise ConfigError(f"{name!r} is no field, expected one of: {', '.join(FIELDS)}, tags.NAME{near(name, FIELDS)}")


def shown(name: str, value: Any) -> str | None:
    """A value of `column` as people read it."""
    if value is None:
        return None
    return moment(value * _PERIODS[name] * _MICRO).strftime(TIMES[name]) if name in _PERIODS else str(value)


def written(name: str) -> str:
    """The SQL of a field of TIMES, as people read it."""
    return f"strftime('{TIMES[name]}', at / {_MICRO}, 'unixepoch')"


def text(value: str | None) -> str | None:
    """What a database takes: text without halves of characters."""
    return None if value is None else value.encode("utf-8", "replace").decode().replace("\0", "")


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


ENTRY_COLUMNS: Final = (
    "id, at, state, alias, vendor, model, answered, tags, estimated_nano, estimated_atto, saved_nano, saved_atto, "
    "reason, error, request_id, first_chunk, seconds, call, attempt, run, cost_nano, cost_atto, cost_more, "
    + ", ".join(COUNTS)
)


def entry_of(row: Sequence[Any]) -> Entry:
    """An Entry of a row of ENTRY_COLUMNS."""
    (number, at, state, alias, vendor, model, answered, tags, estimated, estimated_rest, saved, saved_rest, *rest) = row
    reason, error, request_id, first_chunk, seconds, call, attempt, run, nano, atto, more, *counts = rest
    return Entry(
        id=number, at=moment(at), state=state, alias=alias, vendor=vendor, model=model, answered=answered,
        usage=usage_of(counts, joined(nano, atto, more)),
        estimated_cost=None if estimated is None else joined(estimated, estimated_rest),
        saved=None if saved is None else joined(saved, saved_rest),
        reason=reason, error=error, request_id=request_id, first_chunk=first_chunk, seconds=seconds,
        call=call, attempt=attempt, run=run, tags=json.loads(tags),
    )  # fmt: skip
