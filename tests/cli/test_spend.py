"""`penstock spend`: a table that fits, CSV that no spreadsheet calculates, JSON, and a page."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from ledger_files import KEYS, NOW, cost, micros, rows, write_ledger
from penstock import Message, Options, StopChunk, TextChunk, UsageChunk, collect
from penstock.cli.main import main
from penstock.cli.tables import told_apart
from penstock.meter import Metered
from penstock.testing import ScriptedProvider

ROWS = list(rows())
WIDTH = 80
ALL = ("--since", "2020-01-01")


def spend(db: Path, *options: str) -> int:
    """The exit status of the command on a ledger, over all of its time."""
    return main(["spend", "--db", str(db), *ALL, *options])


def call(**fields: Any) -> dict[str, Any]:
    """A finished call."""
    usual = {"at": micros(NOW), "state": "done", "call": "c", "attempt": 1, "vendor": "v", "model": "m", "tags": "{}"}
    return {**usual, **fields}


def wide(text: str) -> int:
    """Columns of a terminal."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


@pytest.mark.parametrize(
    "by", ["model", "day", "tags.user", f"tags.{KEYS[2]}", "call", "day,model,tags.user", "vendor,hour"]
)
def test_the_table_fits_a_terminal(by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a tag holds: a line for each group, one below the other, and the total."""
    write_ledger(tmp_path / "spend.db", ROWS)
    assert spend(tmp_path / "spend.db", "--by", by, "--json") == 0
    groups = json.loads(capsys.readouterr().out)
    assert spend(tmp_path / "spend.db", "--by", by) == 0
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert len(lines) == len(groups) + 3
    assert max(map(wide, lines)) <= WIDTH
    assert not [letter for line in lines for letter in line if unicodedata.category(letter) in ("Cc", "Cf")]
    assert set(lines[-2]) == {"-"}
    assert re.match(r"total +400 +≥ \$16\.58", lines[-1])
    points = {wide(line[: line.index(".", line.index("$"))]) for line in (*lines[1:-2], lines[-1])}
    assert len(points) == 1, "the points of the sums stand below each other"


@pytest.mark.parametrize(
    ("calls", "line"),
    [
        pytest.param([call(cost_nano=1_200_000_000)], r"m +1 +\$1\.20", id="a known bill"),
        pytest.param(
            [call(cost_nano=1_200_000_000, unsettled=1)], r"m +1 +≥ \$1\.20", id="a bill that is not wholly known"
        ),
        pytest.param(
            [call(cost_nano=1_200_000_000, unsettled=1, estimated_nano=34_567_000, estimated_atto=0)],
            r"m +1 +≥ \$1\.20 +~\$0\.035",
            id="with an estimate",
        ),
        pytest.param(
            [call(estimated_nano=1_234_567_000_000, estimated_atto=0)],
            r"m +1 +\$0\.00 +~\$1,234\.57",
            id="a large estimate",
        ),
        pytest.param(
            [call(cost_nano=1, cost_atto=500_000_000), call(cost_more="0.0000000000000000001")],
            r"m +2 +\$0\.0000000015000000001",
            id="all digits",
        ),
        pytest.param(
            [
                call(
                    input_tokens=2_000_000, cache_read_tokens=1_000_000, cache_write_tokens=1_000_000, output_tokens=345
                )
            ],
            r"m +1 +\$0\.00 +4\.00M +345 +25%",
            id="tokens",
        ),
        pytest.param([call(model="a-very-long-name-" * 9)], r"a-very-l.*…[-\w]+ +1 +\$0\.00", id="a long name"),
        pytest.param([call(model="中文" * 60)], r"中文中文[中文]+…[中文]+ +1 +\$0\.00", id="a long wide name"),
    ],
)
def test_what_a_line_says(
    calls: list[dict[str, Any]], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that would be empty are left out."""
    assert spend(write_ledger(tmp_path / "spend.db", calls)) == 0
    found = capsys.readouterr().out.split("\n")[1]
    assert re.fullmatch(line + ("" if line.endswith("%") else r" +0 +0"), found), found
    assert wide(found) <= WIDTH


def test_costs_are_cut_only_where_names_need_the_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And then it is said."""
    costly = {"cost_atto": 1, "cost_nano": 10**9, "estimated_nano": 10**9, "cache_read_tokens": 10**6}
    calls = [call(model=name * 30, tags=f'{{"user": "{name * 30}"}}', **costly) for name in "ab"]
    assert spend(write_ledger(tmp_path / "spend.db", calls)) == 0
    out, err = capsys.readouterr()
    assert out.count("$1.000000000000000001") == 2
    assert "costs are cut" not in err
    assert spend(tmp_path / "spend.db", "--by", "hour,model,tags.user") == 0
    out, err = capsys.readouterr()
    assert "$1.000000000000000001" not in out
    assert "costs are cut to fit" in err


def test_csv_gives_all_digits_back_and_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that a spreadsheet would calculate begins with an apostrophe."""
    write_ledger(tmp_path / "spend.db", ROWS)
    assert spend(tmp_path / "spend.db", "--by", "tags.user,run,model,day", "--csv") == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sum(int(row["calls"]) for row in found) == len(ROWS)
    assert sum(Decimal(row["known_cost"]) for row in found) == sum(map(cost, ROWS))
    assert {row["cost"] == "" for row in found if row["unsettled"] != "0"} == {True}
    texts = {row["tags.user"] for row in found}
    assert {'\'=cmd|" /C calc"!A0', "'-2+3", "'@SUM(A1)", "'\t=1", "first line\nsecond\r\nthird"} <= texts
    assert not [text for text in texts if text[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_json_is_one_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text is as it was, what is not there is null, and money is text."""
    write_ledger(
        tmp_path / "spend.db", [call(tags='{"user": "=1\\n"}', cost_nano=5), call(unsettled=1, estimated_nano=7)]
    )
    assert spend(tmp_path / "spend.db", "--by", "tags.user", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["tags.user"], second["tags.user"]) == ("=1\n", None)
    assert (first["known_cost"], first["cost"], first["estimated_cost"]) == ("0.000000005", "0.000000005", "0")
    assert (second["known_cost"], second["cost"], second["estimated_cost"]) == ("0", None, "0.000000007")


def test_half_of_a_character_in_a_tag_breaks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SQLite hands it on as bytes that are no UTF-8."""
    write_ledger(tmp_path / "spend.db", [call(tags='{"user": "a\\ud800b"}')])
    for form in ([], ["--csv"], ["--json"], ["--html", str(tmp_path / "page.html")]):
        assert spend(tmp_path / "spend.db", "--by", "tags.user", *form) == 0
    assert "a\ufffd" in capsys.readouterr().out


def test_the_last_thirty_days_are_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any call in them it says so, and prints nothing."""
    write_ledger(tmp_path / "spend.db", [call(at=0)])
    assert main(["spend", "--db", str(tmp_path / "spend.db")]) == 0
    out, err = capsys.readouterr()
    assert (out, err[:15]) == ("", "No calls since ")


def test_calls_are_chosen_by_time_and_by_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An equals sign may stand in a value."""
    write_ledger(tmp_path / "spend.db", [call(tags='{"user": "a=b"}'), call(), call(at=micros(NOW) + 10**6)])
    assert (
        spend(tmp_path / "spend.db", "--until", f"{NOW:%Y-%m-%dT%H:%M:%S}.5", "--where", "tags.user=a=b", "--json") == 0
    )
    (line,) = json.loads(capsys.readouterr().out)
    assert line["calls"] == 1


def test_a_page_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that cannot be printed is in it, and nothing goes to standard output."""
    write_ledger(tmp_path / "spend.db", ROWS)
    assert spend(tmp_path / "spend.db", "--html", str(tmp_path / "page.html")) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"wrote {tmp_path / 'page.html'}\n")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "modle"], "did you mean 'model'?"),
        (["--by", ""], "'' is no field"),
        (["--by", "day,model,vendor,alias"], "a table has room for 3 fields, `--by` names 4; `--csv` takes more"),
        (["--since", "7 dayz"], "`--since` is '"),
        (["--until", "tomorrow"], "`--until` is '"),
        (["--where", "model"], "expected FIELD=VALUE"),
        (["--where", "stat=done"], "did you mean 'state'?"),
        (["--html", "no/such/folder.html"], "cannot write 'no/such/folder.html'"),
    ],
)
def test_what_is_wrong_is_said(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the nearest word, and before anything is printed."""
    assert spend(write_ledger(tmp_path / "spend.db", ROWS), *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_which_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is named, or that of models.json; a file that is not there is not made."""
    assert main(["spend"]) == 2
    assert "no ledger is configured: pass one with --db LEDGER" in capsys.readouterr().err
    assert spend(tmp_path / "none.db") == 2
    assert f"there is no ledger '{tmp_path / 'none.db'}'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_ledger_of_models_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file lies that names it."""
    models = {"mine": {"enabled": True, "provider": "anthropic", "providerConfig": {"modelId": "m"}}}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "models.json").write_text(json.dumps({"active": "mine", "models": models, "ledger": "spend.db"}))
    monkeypatch.setenv("PENSTOCK_MODELS", str(tmp_path / "a" / "models.json"))
    write_ledger(tmp_path / "a" / "spend.db", [call()])
    assert main(["spend", *ALL, "--json"]) == 0
    assert [line["calls"] for line in json.loads(capsys.readouterr().out)] == [1]


def test_what_a_ledger_has_booked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only rows that a test has written itself."""
    usage = UsageChunk(input_tokens=7, output_tokens=3, known_cost=Decimal("0.000123"))
    script = ScriptedProvider([usage, TextChunk("Hi"), StopChunk(reason="stop")])

    async def ask() -> None:
        async with Metered(script, tmp_path / "spend.db") as provider:
            await collect(provider.create_message("", [Message("user", "Hi")], Options(tags={"user": "ann"})))

    anyio.run(ask)
    assert main(["spend", "--db", str(tmp_path / "spend.db"), "--by", "tags.user"]) == 0
    assert re.search(r"^ann +1 +\$0\.000123 +7 +3 +0%$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("names", [["claude-sonnet-5-5", "claude-haiku-5-5"], ["gpt-6-mini-2027", "gpt-6-nano-2027"]])
def test_names_that_are_cut_can_betold_apart(names: list[str]) -> None:
    """The mark stands where they do not differ."""
    cut = told_apart(names, 10)
    assert len(set(cut)) == len(names)
    assert all(len(each) == 10 and "…" in each for each in cut)
