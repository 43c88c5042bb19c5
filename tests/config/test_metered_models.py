"""`ledger` and `budgets` in models.json: every model that is opened from the file is metered, each try by itself."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metering import booked
from penstock import (
    BudgetExceededError,
    ConfigError,
    Message,
    Options,
    collect,
    load_models,
    open_provider,
    save_models,
)
from penstock.config.models_file import ledger_of
from penstock.meter import Budget, Ledger
from penstock.testing import DemoModel, Emulator, anthropic_error

pytestmark = pytest.mark.anyio

ASK = [Message("user", "Hi")]


def write(folder: Path, url: str = "http://127.0.0.1:1", **more: Any) -> Path:
    """A file with two models, of which the first falls back on the second."""
    entry = {
        "provider": "anthropic",
        "providerConfig": {"modelId": "claude-sonnet-5-5", "apiKey": "sk-none", "baseUrl": url},
        "retry": {"attempts": 2, "base": 0.001},
    }
    models = {"a": {**entry, "fallback": ["b"]}, "b": entry}
    file = folder / "models.json"
    file.write_bytes(msgspec.json.encode({"active": "a", "models": models, **more}))
    return file


async def test_every_try_of_every_alias_is_booked(tmp_path: Path) -> None:
    """In a file beside models.json, whatever the working directory is."""
    busy = anthropic_error(529, "overloaded_error", "busy")
    (tmp_path / "folder").mkdir()
    async with Emulator(busy, busy, then=DemoModel()) as emulator:
        file = write(tmp_path / "folder", emulator.url, ledger="spend.db", budgets=[{"limit": 5, "per": "day"}])
        async with open_provider(models=file) as provider:
            reply = await collect(provider.create_message("", ASK, Options(tags={"user": "ann"})))
    async with Ledger(tmp_path / "folder" / "spend.db") as ledger:
        rows = await booked(ledger)
        status = await ledger.status(Budget(1, per="day"))
    assert [(row.alias, row.attempt, row.error) for row in rows] == [
        ("a", 1, "OverloadedError"), ("a", 2, "OverloadedError"), ("b", 1, None),
    ]  # fmt: skip
    assert status.spent == reply.cost == rows[-1].usage.cost != Decimal(0)


async def test_its_budgets_hold(tmp_path: Path) -> None:
    """Without a request."""
    file = write(tmp_path, ledger="spend.db", budgets=[{"limit": 0.0001, "per": "call"}])
    async with open_provider(models=file) as provider:
        with pytest.raises(BudgetExceededError):
            await collect(provider.create_message("", ASK))


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no ledger": ({"budgets": [{"limit": 5, "per": "day"}]}, "budgets need a ledger"),
    "a budget of nothing": ({"ledger": "x.db", "budgets": [{"limit": 0, "per": "day"}]}, "expected dollars above 0"),
    "an unknown period": ({"ledger": "x.db", "budgets": [{"limit": 5, "per": "dya"}]}, "did you mean 'day'"),
    "an unknown field": ({"ledger": "x.db", "budgets": [{"limit": 5, "per": "day", "by": "user"}]}, "tags.user"),
    "an unknown setting": ({"ledger": "x.db", "budgets": [{"limit": 5, "per": "day", "maxwait": 3}]}, "maxWait"),
    "no path": ({"ledger": ""}, "ledger"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_told_when_the_file_is_read(mistake: str, tmp_path: Path) -> None:
    """With its place."""
    more, said = MISTAKES[mistake]
    file = write(tmp_path, **more)
    with pytest.raises(ConfigError, match=said) as caught:
        load_models(file)
    assert str(file) in str(caught.value)
    assert "$." in str(caught.value)


async def test_they_are_written_back(tmp_path: Path) -> None:
    """By `save_models`."""
    config = load_models(write(tmp_path, ledger="spend.db", budgets=[{"limit": 5, "per": "day", "lower": True}]))
    again = load_models(save_models(config, tmp_path / "again.json"))
    assert (again.ledger, again.budgets) == (config.ledger, config.budgets)


async def test_a_file_that_was_only_found_needs_trust(tmp_path: Path) -> None:
    """It would write a file, and its owner's dollars are not somebody else's to set."""
    write(tmp_path, ledger="../elsewhere.db", budgets=[{"limit": 5, "per": "day"}])
    with pytest.raises(ConfigError, match=r"\$\.ledger.*elsewhere"):
        open_provider("a")
    assert not (tmp_path.parent / "elsewhere.db").exists()


@pytest.mark.parametrize(
    ("ledger", "shown"),
    [
        pytest.param(
            "postgresql://ann:${PGPASSWORD}@db.example/spend", "postgresql://ann@db.example/spend", id="a part"
        ),
        pytest.param("${SPEND}", "postgresql://bob@db.example/spend", id="all of it"),
    ],
)
def test_an_address_is_filled_in(ledger: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may hold any character, and stands nowhere."""
    monkeypatch.setenv("PGPASSWORD", "hunter2@/#%?hunter2")
    monkeypatch.setenv("SPEND", "postgresql://bob:hunter2hunter2@db.example/spend")
    config = load_models(write(tmp_path, ledger=ledger))
    address = str(ledger_of(config))
    assert repr(Ledger(address)) == f"Ledger({shown!r})"
    assert "hunter2" in address
    provider = open_provider("a", models=config)
    assert "hunter2" not in f"{config} {provider}"


MISTAKEN = {
    "postgresql://ann:${NO_SUCH_PASSWORD}@db/spend": r"\$\.ledger.*NO_SUCH_PASSWORD is not set",
    "mysql://ann:hunter2hunter2@db/spend": r"\$\.ledger.*postgresql://USER",
    "postgresql://ann:hunter2@hunter2@db/spend": r"\$\.ledger.*%40",
}


@pytest.mark.parametrize("ledger", MISTAKEN)
def test_a_bad_address(ledger: str, tmp_path: Path) -> None:
    """Names the file and the place in it, and no password."""
    config = load_models(write(tmp_path, ledger=ledger))
    with pytest.raises(ConfigError, match=MISTAKEN[ledger]) as caught:
        open_provider("a", models=config)
    assert "hunter2" not in f"{caught.value} {config}"


def test_whoever_asks_for_trust_shows_no_password(tmp_path: Path) -> None:
    """Of a ledger's address."""
    write(tmp_path, ledger="postgresql://ann:hunter2hunter2@db/spend?password=hunter2")
    with pytest.raises(ConfigError, match=r"\$\.ledger.*@db/spend") as caught:
        open_provider("a")
    assert "hunter2" not in str(caught.value)
