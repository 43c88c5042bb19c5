"""What is said of a model that its vendor retires: before the day, after it, and when it is not there any more."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from penstock import Message, ModelEntry, ModelInfo, ModelsConfig, NotFoundError, ProviderConfig, collect, open_provider
from penstock.config.retiring import retirement_of
from penstock.core.retirement import retirement_hint, retirement_notice
from penstock.testing import Emulator, anthropic_error

TODAY = dt.date(2026, 11, 30)
NEW = {"new": ModelInfo(input_price=Decimal(4), output_price=Decimal("20.5"))}
OLD: dict[str, Any] = {"input_price": Decimal(2), "output_price": Decimal(10)}
PRICED = " at $4.00 in and $20.50 out per million tokens (yours: $2.00 in and $10.00 out)"
PLATFORMS = {"direct": dt.date(2026, 12, 1), "bedrock": dt.date(2027, 12, 1)}


def info(retires: object = None, replaced_by: str | None = None, **more: Any) -> ModelInfo:
    return ModelInfo(retires=retires, replaced_by=replaced_by, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("known", "platform", "said"), [
    pytest.param(info(), None, None, id="nothing is known"),
    pytest.param(info(replaced_by="new"), None, None, id="a successor without a day"),
    pytest.param(info(dt.date(2026, 12, 31)), None, None, id="in 31 days"),
    pytest.param(info(dt.date(2026, 12, 30)), None, "m retires on 2026-12-30, in 30 days", id="in 30 days"),
    pytest.param(info(TODAY), None, "m retired on 2026-11-30", id="today"),
    pytest.param(info(TODAY, "new", **OLD), None,
                 f"m retired on 2026-11-30; its vendor names new in its place{PRICED}", id="with both prices"),
    pytest.param(info(TODAY, "new"), None, "m retired on 2026-11-30; its vendor names new in its place at $4.00 in and "
                 "$20.50 out per million tokens", id="without a price of its own"),
    pytest.param(info(TODAY, "unknown"), None, "m retired on 2026-11-30; its vendor names unknown in its place",
                 id="a successor that nobody knows"),
    pytest.param(info(PLATFORMS), None, "m retires on 2026-12-01, in 1 day", id="at its vendor"),
    pytest.param(info(PLATFORMS), "bedrock", None, id="still sold on a platform"),
    pytest.param(info(TODAY), "bedrock", None, id="on a platform of which nothing is known"),
])  # fmt: skip
def test_a_model_is_warned_of_a_month_before(known: ModelInfo, platform: str | None, said: str | None) -> None:
    """And for ever after; what is retired at its vendor may still be sold elsewhere."""
    assert retirement_notice("m", known, NEW.get, TODAY, platform) == said


@pytest.mark.parametrize(("known", "said"), [
    pytest.param(info(), None, id="nothing is known"),
    pytest.param(info(dt.date(2026, 1, 1), "new", **OLD),
                 f"m retired on 2026-01-01; its vendor names new in its place{PRICED}.", id="after its day"),
    pytest.param(info(dt.date(2027, 9, 1)), "m retires on 2027-09-01.", id="long before its day"),
    pytest.param(info(replaced_by="new"),
                 "m may be retired; its vendor names new in its place at $4.00 in and $20.50 out per million tokens.",
                 id="without a day"),
])  # fmt: skip
def test_a_model_that_is_not_there_has_a_hint(known: ModelInfo, said: str | None) -> None:
    """With both prices: whoever follows it shall know what that costs."""
    assert retirement_hint("m", known, NEW.get, TODAY) == said


def test_days_are_written_in_models_json() -> None:
    """One for the vendor, or one for each platform."""
    for retires in (TODAY, PLATFORMS):
        document = msgspec.json.encode(info(retires, "new"))
        assert msgspec.json.decode(document, type=ModelInfo) == info(retires, "new")


def file_of(url: str | None = None, name: str = "old", **known: Any) -> ModelsConfig:
    """A file of a model and of its successor."""
    infos = {name: info(**known), "new": NEW["new"]}
    models = {}
    for model, each in infos.items():
        config = ProviderConfig(model_id=model, api_key="sk-none-0123", base_url=url, model_info=each)
        models[model] = ModelEntry(provider="anthropic", provider_config=config)
    return ModelsConfig(active=name, models=models)


def test_opening_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """In the log, and as often as it is opened."""
    config = file_of(name="opened-twice", retires=dt.date(2026, 1, 1), replaced_by="new", **OLD)
    for _ in range(2):
        open_provider(models=config)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("penstock", "WARNING")
    assert record.getMessage() == f"opened-twice retired on 2026-01-01; its vendor names new in its place{PRICED}"


@pytest.mark.parametrize("known", [{}, {"retires": dt.date(2027, 3, 1)}, {"replaced_by": "new"}], ids=str)
def test_nothing_is_said_of_what_stays(known: dict[str, Any]) -> None:
    """A day that is far, or none."""
    config = file_of(**known)
    assert retirement_of(config.models["old"], config, TODAY) is None


def test_a_price_of_another_server_is_not_put_beside_ones_own() -> None:
    """Of a successor that the catalogue alone knows, as of any model that answers."""
    config = file_of(retires=dt.date(2027, 1, 1), replaced_by="claude-haiku-5-5", **OLD)
    said = retirement_of(config.models["old"], config, dt.date(2027, 1, 1))
    assert said == "old retired on 2027-01-01; its vendor names claude-haiku-5-5 in its place"


@pytest.mark.anyio
async def test_a_call_to_a_retired_model_says_what_replaces_it() -> None:
    """It asks for the model that it was told to, once, and the usual hint follows."""
    gone = anthropic_error(404, "not_found_error", "model: old")
    async with Emulator(gone) as emulator:
        config = file_of(emulator.url, retires=dt.date(2026, 1, 1), replaced_by="new", **OLD)
        async with open_provider(models=config) as provider:
            with pytest.raises(NotFoundError) as caught:
                await collect(provider.create_message("", [Message("user", "Hi")]))
    assert caught.value.hint.startswith(
        f"old retired on 2026-01-01; its vendor names new in its place{PRICED}. Check the model's id"
    )
    [request] = emulator.requests
    assert msgspec.json.decode(request.body)["model"] == "old"
