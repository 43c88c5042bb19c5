"""`penstock models --update`: what differs from genai-prices is shown, and written only if that is asked for."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from models_files import written
from penstock import load_models
from penstock.cli.main import main
from penstock.config.catalog import catalog

pytest.importorskip("genai_prices")

ENTRY: dict[str, Any] = {
    "provider": "anthropic",
    "retry": {"attempts": 5},
    "providerConfig": {
        "modelId": "claude-sonnet-4-6",
        "apiKey": "${MY_KEY}",
        "modelInfo": {"inputPrice": 9, "outputPrice": 15, "pricesAsOf": "2026-01-01", "supportsImages": True},
    },
}
OWN: dict[str, Any] = {
    "provider": "anthropic",
    "providerConfig": {"modelId": "claude-opus-5-5", "modelInfo": {"inputPrice": 1}},
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["models", *arguments])
    return (status, *capsys.readouterr())


def test_differences_are_shown_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each, the source's version, and a status that says that something differs."""
    file = written({"active": "mine", "models": {"mine": ENTRY, "own": OWN}})
    before = file.read_bytes()
    status, out, err = run(capsys, "--update")
    assert status == 1
    assert out.splitlines()[0].split() == ["model", "field", "old", "new"]
    assert re.search(r"^mine +inputPrice +9 +3$", out, re.MULTILINE)
    assert "outputPrice" not in out
    assert "own: not compared: it has no `pricesAsOf`, so its prices are your own" in err
    assert re.search(
        r"genai-prices \d+\.\d+\.\d+: 1 of 2 compared, 6 differences; .*models.json is not\s+changed; `--yes`",
        err,
        re.DOTALL,
    )
    assert file.read_bytes() == before


def test_yes_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of the file is as it was, it stays trusted, and then nothing differs any more."""
    file = written({"active": "mine", "models": {"mine": ENTRY, "own": OWN}})
    status, _, err = run(capsys, "--update", "--yes")
    assert status == 0
    assert "models.json is written" in " ".join(err.split())
    document = json.loads(file.read_bytes())
    known = catalog().models["claude-sonnet-4-6"].provider_config.model_info
    info = load_models().models["mine"].provider_config.model_info
    assert known is not None
    assert info is not None
    assert (info.input_price, info.cache_reads_price) == (known.input_price, known.cache_reads_price)
    assert document["models"]["mine"]["providerConfig"]["apiKey"] == "${MY_KEY}"
    assert (document["models"]["mine"]["retry"], document["models"]["own"]) == (ENTRY["retry"], OWN)
    assert load_models().untrusted is None
    status, out, err = run(capsys, "--update")
    assert (status, out) == (0, "")
    assert ": 1 of 2 compared, no differences; " in " ".join(err.split())


def test_what_is_not_compared_is_not_said_to_be_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that the source does not know is named."""
    config = ENTRY["providerConfig"] | {"baseUrl": "http://127.0.0.1:33119"}
    written({"active": "mine", "models": {"mine": ENTRY | {"providerConfig": config}}})
    status, out, err = run(capsys, "--update")
    said = " ".join(err.split())
    assert (status, out) == (0, "")
    assert "mine: not compared: genai-prices has no prices for claude-sonnet-4-6 at http://127.0.0.1:33119" in said
    assert ": 0 of 1 compared; " in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--update",), "there is no models.json to update", id="no file"),
        pytest.param(("--yes",), "`--yes` is for `--update`", id="nothing to write"),
    ],
)
def test_what_cannot_be_updated(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why, and the status is that of a wrong command."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_without_the_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    written({"active": "mine", "models": {"mine": ENTRY}})
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    status, _, err = run(capsys, "--update")
    assert status == 2
    assert "pip install 'penstock[prices]'" in " ".join(err.split())
    assert Path("models.json").exists()
