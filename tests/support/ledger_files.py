"""Ledgers to read: files with rows of every kind, and what is in them as plain numbers."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from penstock.meter.place import place_of

P = TypeVar("P", Path, str, Path | str)

NOW: Final = dt.datetime(2026, 11, 30, 8, tzinfo=dt.UTC)
OWNED: Final = "<b id=owned>owned</b>"
HOSTILE: Final = (
    "<script>document.title='owned';alert(1)</script>",
    f"'\"></title></text></svg></style>{OWNED}<img src=http://owned.example/x onerror=console.error('owned')>",
    '=cmd|" /C calc"!A0',
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "first line\nsecond\r\nthird",
    "{{ 7 * 7 }}{% raw %}",
    "'; DROP TABLE calls; --",
    "javascript:alert(1)",
    "\x1b]0;owned\x07\u202ereversed",
    "ä" * 100,
    "中文标签",
    "",
)
"""Values of tags."""
MODELS: Final = (*(f"model-{letter}" for letter in "abcdefghijk"), f"m{OWNED}")
KEYS: Final = ("user", "session", f"\"{OWNED}'", "]]>")


def rows(number: int = 400, *, seed: int = 1, days: float = 20) -> Iterator[dict[str, Any]]:
    """Calls up to NOW: every state, bills that are not known, estimates, losses by caching, digits beyond 10^-18."""
    random_ = random.Random(seed)
    for place in range(number):
        state = random_.choices(("done", "failed", "left", "lost", "open"), (80, 8, 5, 4, 3))[0]
        sure = state in ("done", "failed")
        first = None if state in ("failed", "open") else random_.lognormvariate(-0.5, 0.6)
        read = random_.choice((0, 4000, 90_000))
        tags = {key: random_.choice((*HOSTILE, "ann", "bob")) for key in random_.sample(KEYS, random_.randint(0, 3))}
        saved = random_.choice((None, 70_000_000, -3_000_000))
        yield {
            "at": micros(NOW) - 1 - int((number - place) / number * days * 86_400_000_000),
            "state": state,
            "call": f"call-{place}",
            "attempt": 1,
            "run": random_.choice((None, f"run-{place // 10}")),
            "alias": random_.choice((None, "fast")),
            "vendor": "anthropic",
            "model": random_.choice(MODELS),
            "answered": None if state == "open" else "answered",
            "tags": json.dumps(tags, sort_keys=True),
            "input_tokens": random_.randrange(5000),
            "output_tokens": random_.randrange(900),
            "cache_write_tokens": random_.choice((0, 1200)),
            "cache_read_tokens": read,
            "reasoning_tokens": 0,
            "unsettled": 0 if sure else 1,
            "cost_nano": random_.choice((0, 7, 123_456_789, 40_000_000)),
            "cost_atto": random_.choice((0, 500_000_000, 999_999_999)),
            "cost_more": "0.0000000000000000001" if place % 50 == 0 else None,
            "estimated_nano": None if sure else random_.randrange(10**7),
            "estimated_atto": None if sure else 5,
            "saved_nano": saved,
            "saved_atto": None if saved is None else 1,
            "reason": "stop" if state == "done" else None,
            "error": random_.choice(("RateLimitError", "NetworkError")) if state == "failed" else None,
            "first_chunk": first,
            "seconds": None if first is None else first * 2,
        }


def write_ledger(path: P, calls: Iterable[dict[str, Any]], *, version: int | None = None) -> P:
    """The ledger, with these rows; version: of its tables, if not the one there is."""
    with closing(place_of(path).open()) as connection:
        connection.begin()
        for call in calls:
            marks = ", ".join("?" * len(call))
            connection.execute(f"INSERT INTO calls ({', '.join(call)}) VALUES ({marks})", list(call.values()))
        connection.commit()
        if version is not None:
            connection.execute(f"PRAGMA user_version = {version}")
    return path


def micros(when: dt.datetime) -> int:
    """The moment as a ledger has it."""
    return int(when.timestamp()) * 1_000_000


def cost(call: dict[str, Any]) -> Decimal:
    """The known cost of a row in dollars."""
    whole = Decimal(call["cost_nano"]) / 10**9 + Decimal(call["cost_atto"]) / 10**18
    return whole + Decimal(call["cost_more"] or 0)
