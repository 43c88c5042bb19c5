"""`find_models`: by what is known of models, in a file and in the catalogue."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from penstock import (
    ConfigError,
    Dialect,
    ModelEntry,
    ModelInfo,
    ModelsConfig,
    Platform,
    ProviderConfig,
    find_models,
    open_provider,
)
from penstock.config.catalog import catalog


def entry(provider: str = "groq", *, enabled: bool = True, dialect: Dialect | None = None, **known: Any) -> ModelEntry:
    info = ModelInfo(**known) if known else None
    return ModelEntry(
        provider=provider,
        provider_config=ProviderConfig(model_id="m", api_key="sk-none-0123", base_url="http://x/v1", model_info=info),
        enabled=enabled,
        dialect=dialect,
    )


FILE = ModelsConfig(
    active="plain",
    models={
        "plain": entry(),
        "sees": entry(supports_images=True, context_window=100_000, input_price=Decimal(1), output_price=Decimal(5)),
        "blind": entry(supports_images=False, supports_tools=False, supports_schema=False, supports_documents=True),
        "thinks": entry(efforts=["low"], context_window=200_000, input_price=Decimal("0.5")),
        "off": entry(enabled=False, supports_images=True),
        "bare": entry(
            "openai-compatible", dialect=Dialect(tool_choices=[], option_fields={"response_schema": None}), max_tokens=1
        ),
    },
)
ALL = ("plain", "sees", "blind", "thinks", "bare")


@pytest.mark.parametrize(("wanted", "found"), [
    pytest.param({}, ALL, id="all that are enabled"),
    pytest.param({"provider": "openai-compatible"}, ("bare",), id="a provider"),
    pytest.param({"supports_images": True}, ("sees",), id="known to take images"),
    pytest.param({"supports_images": False}, ("blind",), id="known not to"),
    pytest.param({"supports_tools": True}, ("plain", "sees", "thinks"), id="tools, as the vendor's row says"),
    pytest.param({"supports_tools": False}, ("blind", "bare"), id="no tools, by the model or the row"),
    pytest.param({"supports_schema": False}, ("blind", "bare"), id="no schemas"),
    pytest.param({"supports_documents": True}, ("blind", "bare"), id="documents"),
    pytest.param({"supports_reasoning": True}, ("thinks",), id="reasoning"),
    pytest.param({"min_context_window": 100_000}, ("sees", "thinks"), id="a context of a length"),
    pytest.param({"max_input_price": 0.5}, ("thinks",), id="a price, as it prints"),
    pytest.param({"max_input_price": "1", "max_output_price": Decimal(5)}, ("sees",), id="two prices"),
    pytest.param({"supports_images": True, "supports_reasoning": True}, (), id="nobody"),
])  # fmt: skip
def test_models_are_found_by_what_is_known_of_them(wanted: dict[str, Any], found: Sequence[str]) -> None:
    """What is not known of a model finds it with neither answer."""
    mine = [alias for alias in find_models(FILE, **wanted) if alias in FILE.models]
    assert mine == list(found)


def test_the_catalogue_is_searched_too() -> None:
    """With what it knows of each; what is found can be opened."""
    found = find_models(FILE, provider="anthropic", supports_images=True, max_input_price=2)
    assert "sonnet" in found
    assert found["sonnet"] == catalog().models["sonnet"]
    assert open_provider("sonnet", models=FILE).get_model().info == found["sonnet"].provider_config.model_info


def test_what_cannot_answer_is_not_found() -> None:
    """Neither the demo, unless it is asked for, nor a model on the day on which it retires, or after it."""
    day = dt.date(2026, 10, 23)
    cloud = Platform(name="vertex", project="mine", region="global")
    elsewhere = entry(retires={"vertex": day})
    config = msgspec.structs.replace(elsewhere.provider_config, platform=cloud)
    there = msgspec.structs.replace(elsewhere, provider_config=config)
    known = {"ends": entry(retires=day), "ends elsewhere": elsewhere, "demo too": entry("demo"), "there": there}
    file = ModelsConfig(active="ends", models=known)

    def mine(today: dt.date, provider: str | None = None) -> list[str]:
        return [alias for alias in find_models(file, provider=provider, today=today) if alias in file.models]

    assert mine(day - dt.timedelta(days=1)) == ["ends", "ends elsewhere", "there"]
    assert mine(day) == ["ends elsewhere"]
    assert "demo" not in find_models(file)
    assert {"demo", *mine(day, "demo")} == {*find_models(file, provider="demo")} == {"demo", "demo too"}


def test_an_alias_of_the_file_hides_that_of_the_catalogue() -> None:
    """Disabled ones too: somebody has switched them off."""
    file = ModelsConfig(active="sonnet", models={"sonnet": entry(enabled=False)})
    assert "sonnet" not in find_models(file)


@pytest.mark.parametrize("price", ["cheap", float("nan"), -1, True])
def test_a_bound_that_is_no_price_is_named(price: Any) -> None:
    """In place of an error of the decimal module's."""
    with pytest.raises(ConfigError, match="`output_price` is "):
        find_models(FILE, max_output_price=price)
