"""`penstock models`: a table of 80 columns, filters, JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import tables
from penstock.cli.main import main
from penstock.cli.terminal import columns
from penstock.config.catalog import catalog


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["models", *arguments])
    return (status, *capsys.readouterr())


def write(written: dict[str, Any]) -> None:
    Path("models.json").write_text(json.dumps({"active": next(iter(written)), "models": written}))


def test_models_are_listed_with_their_prices(capsys: pytest.CaptureFixture[str]) -> None:
    """The active one is marked, and a model whose id is its alias has it once."""
    status, out, err = run(capsys)
    assert status == 0
    assert re.search(r"^\*  sonnet +anthropic +claude-sonnet-5-5 +1\.00M +2 +10 +0\.1$", out, re.MULTILINE)
    assert re.search(r"^   claude-opus-5-5 +anthropic +1\.00M +4 +20 +0\.2$", out, re.MULTILINE)
    assert err == (
        "packaged catalogue; * active; dollars per million tokens; read: input from the cache; -: not known; "
        "prices of 2026-11-21 to 2026-11-30; the demo's prices are made up\n"
    )


def test_a_file_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its models, whose keys need not be set, with the host where that is not the vendor's; `--all` adds others."""
    config = {"modelId": "m", "apiKey": "${NOT_SET}"}
    local = {"modelId": "q", "baseUrl": "http://127.0.0.1:9/v1"}
    off = {"provider": "anthropic", "enabled": False, "providerConfig": config}
    write({"here": {"provider": "llamacpp", "providerConfig": local}, "off": off})
    _, out, err = run(capsys)
    head, here, disabled = out.splitlines()
    assert head.split() == ["alias", "provider", "model", "context", "input", "output", "read"]
    assert (disabled.split()[:4], here.split()[:4]) == (
        ["off", "off", "anthropic", "m"],
        ["*", "here", "llamacpp@127.0.0.1:9/v1", "q"],
    )
    assert err.startswith(f"{tmp_path / 'models.json'}; ")
    assert "claude-opus-5-5" in run(capsys, "--all")[1]


@pytest.mark.parametrize("arguments", [(), ("--all",), ("--provider", "google"), ("--supports", "images")], ids=str)
def test_the_table_fits_80_columns(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal of 80, however long the names are, and each alias of the catalogue can be copied."""
    monkeypatch.setattr(tables, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "80")
    long = {"modelId": "m" * 200, "baseUrl": f"https://{'h' * 60}.example/v1", "modelInfo": {"inputPrice": 0.123456}}
    write({"e\u0301\u6c34" * 30: {"provider": "openai", "providerConfig": long}})
    _, out, _ = run(capsys, "--all", *arguments)
    assert max(map(columns, out.splitlines())) <= 80
    Path("models.json").unlink()
    _, out, _ = run(capsys, *arguments)
    assert max(map(columns, out.splitlines())) <= 80
    assert "\u2026" not in "".join(line[:15] for line in out.splitlines())


def test_nothing_is_cut_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, and at a terminal that is wide enough."""
    piped = run(capsys)[1]
    assert "claude-sonnet-5-5" in piped
    assert "\u2026" not in piped
    monkeypatch.setattr(tables, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "160")
    assert run(capsys)[1] == piped
    monkeypatch.setenv("COLUMNS", "0")
    assert "\u2026" in run(capsys)[1]


@pytest.mark.parametrize(
    ("arguments", "listed", "missing"),
    [
        (["--provider", "openai"], "gpt", "sonnet"),
        (["--provider", "demo"], "demo", "gpt"),
        (["--supports", "images"], "sonnet", "mistral"),
        (["--supports", "documents"], "sonnet", "deepseek"),
        (["--supports", "schemas"], "gpt", "deepseek"),
        (["--supports", "cache", "--supports", "images"], "opus", "mistral"),
    ],
    ids=str,
)
def test_filters(arguments: list[str], listed: str, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By provider and by what is known of a model; several hold at once."""
    aliases = [model["alias"] for model in json.loads(run(capsys, "--json", *arguments)[1])]
    assert (listed in aliases, missing in aliases) == (True, False)


def test_what_is_not_known_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not taken for a no."""
    _, _, err = run(capsys, "--supports", "images")
    assert re.search(r"; [1-9]\d* not shown, as it is not known of them$", err.strip())


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """All of a model that is known, with its host."""
    found = json.loads(run(capsys, "--json")[1])
    assert [each["alias"] for each in found] == list(catalog().models)
    sonnet = found[0]
    assert (sonnet["active"], sonnet["model"], sonnet["host"]) == (
        True,
        "claude-sonnet-5-5",
        "https://api.anthropic.com",
    )
    assert (sonnet["info"]["input_price"], sonnet["info"]["prices_as_of"]) == (2, "2026-11-21")
    assert sonnet["transport"] == "httpx2"
    assert None not in sonnet["info"].values()


def test_an_unknown_provider_has_a_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    status, out, err = run(capsys, "--provider", "opnai")
    assert (status, out) == (2, "")
    assert err.endswith("; did you mean 'openai'?\n")


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON."""
    assert json.loads(run(capsys, "--schema")[1])["$schema"].startswith("https://json-schema.org/")


@pytest.mark.usefixtures("tmp_path")
def test_a_model_that_retires_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With its alias and what its vendor names instead."""
    info = {"retires": "2026-01-01", "replacedBy": "claude-sonnet-5-5"}
    write({"old": {"provider": "anthropic", "providerConfig": {"modelId": "claude-old", "modelInfo": info}}})
    status, _, err = run(capsys)
    assert status == 0
    assert "\nold: claude-old retired on 2026-01-01; its vendor names claude-sonnet-5-5 in its place\n" in err
