"""The page: one file that holds all numbers as tables, and nothing that a row's text could make run."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest

from browsing import visit
from ledger_files import HOSTILE, KEYS, MODELS, NOW, OWNED, cost, micros, rows, write_ledger
from penstock import ConfigError
from penstock.meter.place import place_of
from penstock.meter.report.figures import Figures, figures
from penstock.meter.report.page import page
from penstock.meter.sums import Chosen

ROWS: Final = list(rows())
WRAPPED: Final = (*MODELS, *KEYS, *(value for value in HOSTILE if value.isprintable()))


def shown(folder: Path, calls: Iterable[dict[str, Any]], chosen: Chosen | None = None) -> Figures:
    """What the page of these rows is made of."""
    with place_of(write_ledger(folder / "spend.db", calls)).reading() as connection:
        return figures(connection, chosen or Chosen())


def written(folder: Path, calls: Iterable[dict[str, Any]], chosen: Chosen | None = None) -> str:
    """The page."""
    found = shown(folder, calls, chosen)
    return page(found, ledger=f"spend{OWNED}.db", chosen=chosen or Chosen(), now=NOW)


class Reader(HTMLParser):
    """The elements of a document with their attributes, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.elements if name == tag)


def call(**fields: Any) -> dict[str, Any]:
    """A finished call of a model in the last hour."""
    usual = {
        "at": micros(NOW) - 1,
        "state": "done",
        "call": "c",
        "attempt": 1,
        "vendor": "v",
        "model": "m",
        "tags": "{}",
    }
    return {**usual, **fields}


def test_no_text_of_a_row_becomes_an_element(tmp_path: Path) -> None:
    """Nor does it get lost: all of it can be read, in the charts as well."""
    reader = Reader(written(tmp_path, ROWS))
    names = {name for name, _ in reader.elements}
    assert not names & {"script", "img", "b", "a", "link", "iframe", "object", "base", "form", "image", "use"}
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    assert not [name for _, attributes in reader.elements for name in attributes if name in ("href", "src", "srcset")]
    assert {attributes.get("id") for _, attributes in reader.elements} == {None}
    kept = [text for text in (*MODELS, *KEYS) if text in reader.words]
    assert len(kept) >= len(KEYS) + 8
    assert f"m{OWNED}" in reader.words


def test_it_loads_nothing(tmp_path: Path) -> None:
    """No address is in it but the name of SVG, and its own policy forbids all but its style."""
    document = written(tmp_path, [call(cost_nano=5)])
    assert document.replace('xmlns="http://www.w3.org/2000/svg"', "").count("://") == 0
    assert "kozea" not in document.lower()
    assert "url(" not in document
    assert "@import" not in document
    policies = [each for name, each in Reader(document).elements if name == "meta" and each.get("http-equiv")]
    assert [each["content"] for each in policies] == [
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]


def test_all_numbers_are_in_tables_that_can_be_read_aloud(tmp_path: Path) -> None:
    """Each has a caption, and each head says of what; the charts are left out."""
    reader = Reader(written(tmp_path, ROWS))
    assert reader.count("table") == reader.count("caption") == 11
    scopes = [attributes.get("scope") for name, attributes in reader.elements if name == "th"]
    assert set(scopes) == {"col", "row", "colgroup"}
    charts = [attributes for name, attributes in reader.elements if name == "svg"]
    assert {attributes["class"] for attributes in charts} == {"wide", "narrow"}
    assert {attributes["aria-hidden"] for attributes in charts} == {"true"}


def test_what_it_shows_adds_up(tmp_path: Path) -> None:
    """Each part is the whole, with the others."""
    found = shown(tmp_path, ROWS)
    whole = sum(map(cost, ROWS))
    assert found.total.usage.known_cost == whole
    assert sum(total.usage.known_cost for _, _, total in found.models) == whole
    assert sum(each.usage.known_cost for _, row, _ in found.models for each in row) == whole
    assert sum(found.states.values()) == len(ROWS)
    assert {name: total.calls for name, total in found.errors} == {
        name: sum(each["error"] == name for each in ROWS) for name in ("RateLimitError", "NetworkError")
    }
    for tag in found.tags:
        assert sum(total.usage.known_cost for _, total in (*tag.values, *tag.rest)) == whole
        assert sum(total.calls for _, total in (*tag.values, *tag.rest)) == len(ROWS)
    dearest = sorted(map(cost, ROWS), reverse=True)[:20]
    assert [each.usage.known_cost.quantize(Decimal("1E-18")) for each in found.dearest] == [
        each.quantize(Decimal("1E-18")) for each in dearest
    ]


def test_what_there_is_no_room_for_is_summed(tmp_path: Path) -> None:
    """Models, values of a tag and tags: those that cost or are used most have their own line."""
    calls = [
        call(model=f"m{place}", tags=f'{{"user": "u{place}", "k{place % 7}": "x"}}', cost_nano=10**9 + place)
        for place in range(100)
    ]
    found = shown(tmp_path, calls)
    names = [name for name, _, _ in found.models]
    assert names == [*(f"m{place}" for place in range(99, 91, -1)), "92 others"]
    assert found.models[-1][2].calls == 92
    assert len(found.tags) == 4
    assert found.tags[0].name == "user"
    assert [name for name, _ in found.tags[0].rest] == ["90 others"]
    assert [(name, total.calls) for name, total in found.tags[1].rest] == [("without k0", 85)]


def test_a_hostile_crowd_stays_small(tmp_path: Path) -> None:
    """As many models, tags and errors as rows: the page is no larger for it."""
    calls = [
        call(model=f"{place}" * 60, tags=f'{{"k{place}": "{"v" * 200}"}}', error=f"E{place}", state="failed")
        for place in range(3000)
    ]
    assert len(written(tmp_path, calls)) < 300_000


@pytest.mark.parametrize(
    ("days", "step", "columns"),
    [
        (0, "day", 7),
        (5, "day", 7),
        (6, "day", 7),
        (7, "day", 8),
        (61, "day", 62),
        (62, "week", 10),
        (433, "week", 63),
        (434, "month", 15),
        (4000, "month", 132),
    ],
)
def test_a_long_time_has_fewer_columns(days: int, step: str, columns: int, tmp_path: Path) -> None:
    """Without a gap: where nothing was spent there is an empty one."""
    found = shown(tmp_path, [call(cost_nano=1), call(at=micros(NOW - dt.timedelta(days)), cost_nano=1)])
    assert (found.step, len(found.starts)) == (step, columns)
    assert len(found.models[0][1]) == columns
    assert sum(each.calls for each in found.models[0][1]) == 2


def test_no_column_is_older_than_what_was_asked_for(tmp_path: Path) -> None:
    """Though a week would look better."""
    found = shown(tmp_path, [call()], Chosen(since=micros(NOW - dt.timedelta(2))))
    assert found.starts == [dt.date(2026, 11, 28), dt.date(2026, 11, 29), dt.date(2026, 11, 30)]


@pytest.mark.parametrize(
    ("times", "median", "most"),
    [([1.0], 1.0, 1.0), (list(range(1, 101)), 50, 95), ([0.004, 0.006, 2], 0.01, 2), ([5, 5, 5, 9], 5, 9)],
)
def test_how_long_calls_take(times: list[float], median: float, most: float, tmp_path: Path) -> None:
    """By nearest ranks, to a hundredth; only of calls that were finished."""
    calls = [call(first_chunk=time, seconds=time) for time in times]
    (speed,) = shown(tmp_path, [*calls, call(state="failed", seconds=1000)]).speeds
    assert (speed.calls, speed.first_chunk, speed.seconds) == (len(times), (median, most), (median, most))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"cost_nano": 1_234_567_890_123}, "$1,234.57", id="dollars"),
        pytest.param({"cost_nano": 1_239_999_999, "unsettled": 1}, "≥ $1.23", id="at least, never rounded upwards"),
        pytest.param({"cost_nano": 12_345_678}, "$0.0123", id="cents"),
        pytest.param({"cost_nano": 1500}, "$0.000002", id="less"),
        pytest.param({"cost_atto": 9}, "<$0.000001", id="next to nothing"),
        pytest.param({"unsettled": 1}, "≥ $0.000000", id="nothing is known"),
        pytest.param(
            {"unsettled": 1, "estimated_nano": 3 * 10**6, "cost_nano": 10**9},
            "1 bill is not wholly known: about <$0.01 more by estimate.",
            id="an estimate",
        ),
    ],
)
def test_how_money_is_said(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    """To the cent where there are dollars."""
    assert f">{said}<" in written(tmp_path, [call(**fields)]).replace("&lt;", "<")


def test_a_ledger_without_calls(tmp_path: Path) -> None:
    """It has a page that says so."""
    reader = Reader(written(tmp_path, []))
    assert "No calls." in reader.words
    assert reader.count("table") == reader.count("svg") == 0


def test_what_was_chosen_is_said(tmp_path: Path) -> None:
    """The time, and each condition."""
    chosen = Chosen(
        since=micros(NOW) - 3_600_000_000, until=micros(NOW), where={"tags.user": [OWNED], "error": ["", None]}
    )
    reader = Reader(written(tmp_path, [call(tags=f'{{"user": "{OWNED}"}}')], chosen))
    assert "2026-11-30 07:00 to 2026-11-30 08:00 UTC" in reader.words
    assert f"only tags.user = {OWNED} and error = none" in reader.words


@pytest.mark.parametrize("name", ["jinja2", "pygal"])
def test_what_draws_it_may_be_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how it is installed."""
    found = shown(tmp_path, [call()])
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "penstock.meter.report.charts", raising=False)
    with pytest.raises(ConfigError, match=rf"needs {name}: pip install 'penstock\[report\]'"):
        page(found, ledger="spend.db", chosen=Chosen(), now=NOW)


def test_the_chart_library_leaves_no_finder_behind() -> None:
    """Python 3.11 would warn at each later import."""
    import penstock.meter.report.charts  # noqa: F401

    assert not [finder for finder in sys.meta_path if type(finder).__module__ == "pygal"]


@pytest.mark.parametrize(
    "option", ["--window-size=1100,900", "--window-size=390,844", "--blink-settings=preferredColorScheme=0"]
)
def test_in_a_browser_nothing_is_asked_for_and_nothing_runs(option: str, tmp_path: Path) -> None:
    """Whatever the rows hold: no request, no word in the console, no element."""
    file = tmp_path / "page.html"
    file.write_text(written(tmp_path, ROWS), "utf-8")
    found = visit(file, tmp_path, option)
    reader = Reader(found.document)
    assert "Where the money went" in reader.words
    assert f"m{OWNED}" in reader.words
    assert (found.asked, found.console) == ([], [])
    assert not {name for name, _ in reader.elements} & {"script", "img", "b"}
    assert "<title>Spend," in found.document


def test_the_browser_would_tell(tmp_path: Path) -> None:
    """The same text in a page that does not escape it: it asks, it speaks, it becomes elements."""
    file = tmp_path / "page.html"
    file.write_text(f"<!DOCTYPE html><title>x</title>{HOSTILE[1]}", "utf-8")
    found = visit(file, tmp_path)
    assert "http://owned.example/x" in found.asked
    assert "owned" in "".join(found.console)
    assert "b" in {name for name, _ in Reader(found.document).elements}


def test_its_own_policy_would_stop_it(tmp_path: Path) -> None:
    """Even what came through as an element loads nothing and runs nothing."""
    file = tmp_path / "page.html"
    file.write_text(written(tmp_path, ROWS).replace("</main>", f"{HOSTILE[0]}{HOSTILE[1]}</main>"), "utf-8")
    found = visit(file, tmp_path)
    assert found.asked == []
    assert "<title>Spend," in found.document
    assert all("Content Security Policy" in line for line in found.console)
    assert found.console
