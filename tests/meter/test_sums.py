"""Sums over a ledger's rows are exact, whatever they are grouped and chosen by."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger_files import KEYS, NOW, cost, micros, rows, write_ledger
from ledger_places import LedgerPlace
from penstock import ConfigError, LedgerError
from penstock.meter.entries import FIELDS
from penstock.meter.place import place_of
from penstock.meter.sums import Chosen, format_count, summed, totals

ROWS = list(rows())
DAY = 86_400_000_000


@pytest.fixture(scope="module", params=["file", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path | str:
    """One with all rows."""
    server = request.getfixturevalue("postgres").address if request.param == "postgres" else None
    return write_ledger(LedgerPlace(tmp_path_factory.mktemp("sums"), server).address, ROWS)


def value(call: dict[str, Any], name: str) -> str | None:
    """What a row has for a field."""
    when = dt.datetime.fromtimestamp(call["at"] // 1_000_000, dt.UTC)
    times = {"hour": f"{when:%Y-%m-%dT%H:00Z}", "day": f"{when:%Y-%m-%d}", "month": f"{when:%Y-%m}"}
    if name in times:
        return times[name]
    tags: dict[str, str] = json.loads(call["tags"])
    return (
        tags.get(name.removeprefix("tags."))
        if name.startswith("tags.")
        else None
        if call.get(name) is None
        else str(call[name])
    )


@pytest.mark.parametrize(
    "by", [(), *((name,) for name in FIELDS), *((f"tags.{key}",) for key in KEYS), ("day", "model", "tags.user")]
)
def test_the_sums_of_all_groups_are_those_of_their_rows(by: tuple[str, ...], ledger: Path | str) -> None:
    """To the last digit; a group is there once."""
    groups = defaultdict(list)
    for call in ROWS:
        groups[tuple(value(call, name) for name in by)].append(call)
    with place_of(ledger).reading() as connection:
        found = totals(connection, by, Chosen())
    assert {tuple(total.by.values()) for total in found} == set(groups)
    assert len(found) == len(groups)
    for total in found:
        calls = groups[tuple(total.by.values())]
        assert total.calls == len(calls)
        assert total.usage.known_cost == sum(map(cost, calls))
        for name in ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens", "unsettled"):
            assert getattr(total.usage, name) == sum(call[name] for call in calls)
        for name, dollars in (("estimated", total.estimated_cost), ("saved", total.saved)):
            nano = [call[f"{name}_nano"] for call in calls if call[f"{name}_nano"] is not None]
            assert round(dollars, 9) == Decimal(sum(nano)).scaleb(-9)


def test_a_sum_of_sums_is_the_sum(ledger: Path | str) -> None:
    """Of all groups."""
    with place_of(ledger).reading() as connection:
        assert [summed(totals(connection, ("model", "state"), Chosen()))] == totals(connection, (), Chosen())


def test_groups_come_by_time_and_the_dearest_first(ledger: Path | str) -> None:
    """Wherever the time stands among the fields."""
    with place_of(ledger).reading() as connection:
        found = totals(connection, ("model", "day"), Chosen())
    order = [(total.by["day"] or "", -total.usage.known_cost) for total in found]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        pytest.param(Chosen(since=micros(NOW) - 3 * DAY), lambda call: call["at"] >= micros(NOW) - 3 * DAY, id="since"),
        pytest.param(Chosen(until=micros(NOW) - 3 * DAY), lambda call: call["at"] < micros(NOW) - 3 * DAY, id="until"),
        pytest.param(
            Chosen(where={"model": ["model-a"], "state": ["done"]}),
            lambda call: call["model"] == "model-a" and call["state"] == "done",
            id="two conditions",
        ),
        pytest.param(Chosen(where={"error": ["", None]}), lambda call: not call["error"], id="none"),
        pytest.param(
            Chosen(where={"tags.user": ["", None]}), lambda call: not value(call, "tags.user"), id="no tag, or empty"
        ),
        pytest.param(
            Chosen(where={f"tags.{KEYS[2]}": ["'; DROP TABLE calls; --"]}),
            lambda call: value(call, f"tags.{KEYS[2]}") == "'; DROP TABLE calls; --",
            id="a hostile tag",
        ),
        pytest.param(
            Chosen(where={"day": ["2026-11-20"]}), lambda call: value(call, "day") == "2026-11-20", id="a day"
        ),
        pytest.param(Chosen(where={"model": ["nobody"]}), lambda _: False, id="nothing"),
    ],
)
def test_which_rows_are_chosen(chosen: Chosen, kept: Callable[[dict[str, Any]], bool], ledger: Path | str) -> None:
    """All conditions hold."""
    with place_of(ledger).reading() as connection:
        total = summed(totals(connection, (), chosen))
    assert (total.calls, total.usage.known_cost) == (
        sum(1 for call in ROWS if kept(call)),
        sum(cost(call) for call in ROWS if kept(call)),
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [("modle", "did you mean 'model'"), *((name, "is no field") for name in ("tags.", "tag.user", "id); DROP", ""))],
)
def test_an_unknown_field(name: str, said: str, tmp_path: Path) -> None:
    """It never reaches SQL; the nearest one is said."""
    with place_of(write_ledger(tmp_path / "spend.db", ROWS[:1])).reading() as connection:
        for by, chosen in (((name,), Chosen()), ((), Chosen(where={name: ["x"]}))):
            with pytest.raises(ConfigError, match=said):
                totals(connection, by, chosen)


def test_a_file_is_only_read(tmp_path: Path) -> None:
    """And its name may hold anything that an address would take for its own."""
    file = tmp_path / "a?mode=rwc#b%20.db"
    write_ledger(file, ROWS[:1])
    with pytest.raises(LedgerError, match="readonly"), place_of(file).reading() as connection:
        connection.execute("DELETE FROM calls")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_ledger_in_use_is_read(tmp_path: Path) -> None:
    """What its writer has committed, though it is not in the file itself yet."""
    file = write_ledger(tmp_path / "spend.db", ROWS[:1])
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE calls SET cost_nano = 5, cost_atto = 0, cost_more = NULL")
    writer.commit()
    with place_of(file).reading() as connection:
        (total,) = totals(connection, (), Chosen())
    writer.close()
    assert total.usage.known_cost == Decimal("5E-9")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no ledger"), (b"no database at all" * 100, "not a database"), (b"", "calls")]
)
def test_what_is_no_ledger(content: bytes | None, said: str, tmp_path: Path) -> None:
    """A ConfigError names it."""
    file = tmp_path / "spend.db"
    if content is not None:
        file.write_bytes(content)
    with (
        pytest.raises(ConfigError if content is None else LedgerError, match=said) as caught,
        place_of(file).reading() as connection,
    ):
        totals(connection, (), Chosen())
    assert str(file) in str(caught.value)


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    """Its columns may mean something else."""
    with (
        pytest.raises(LedgerError, match="is of version 99, and this Penstock knows 1"),
        place_of(write_ledger(tmp_path / "spend.db", ROWS[:1], version=99)).reading(),
    ):
        pass


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (99_960, "100k"), (999_499, "999k"), (999_500, "1.00M"),
     (7 * 10**9, "7.00G"), (10**12, "1.00T")],
)  # fmt: skip
def test_a_number_for_people(number: int, said: str) -> None:
    """At most five characters of it."""
    assert format_count(number) == said
