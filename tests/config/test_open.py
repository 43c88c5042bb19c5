"""The registry: models.json written back, the provider that an alias opens, its key; and the packaged catalogue."""

from __future__ import annotations

import datetime as dt
import json
import os
from decimal import Decimal, localcontext
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_files import CONFIG, DOCUMENT, INFO, KEY, at, edited, fits, written
from penstock import (
    AnthropicProvider,
    ConfigError,
    ModelEntry,
    ModelInfo,
    ModelsConfig,
    OpenAIProvider,
    PriceChange,
    PriceSheet,
    PriceTier,
    ProviderConfig,
    UsageChunk,
    calculate_cost,
    load_models,
    open_provider,
    save_models,
)
from penstock.config.catalog import PROVIDERS, catalog
from penstock.config.models_file import models_schema
from penstock.config.open import resolve
from penstock.core.cost import Meter
from penstock.core.models import Prices
from penstock.wire.vendors import DIALECTS


@pytest.mark.parametrize(
    "price", ["0", "0.1", "1e-7", "1e999", "1e-999", "12345678901234567890.1234567890123456789", "0.10"]
)
def test_a_price_is_what_is_written(price: str) -> None:
    """A price never goes through a float, and the program's own decimal context does not round it."""
    file = written(edited(f"{INFO}.inputPrice", "PRICE").replace(b'"PRICE"', price.encode()))
    with localcontext(prec=2):
        info = resolve(models=save_models(load_models(file))).provider_config.model_info
    assert info is not None
    assert info.input_price == Decimal(price)


EVERYTHING = ModelsConfig(
    active="mine",
    models={"mine": msgspec.convert(DOCUMENT, ModelsConfig).models["mine"], "sonnet": catalog().models["sonnet"]},
    schema_url="models.schema.json",
)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ModelsConfig(active="sonnet", models={}), id="nothing of its own"),
        pytest.param(EVERYTHING, id="everything"),
        pytest.param(catalog(), id="the whole catalogue"),
    ],
)
def test_what_is_saved_is_read_again(config: ModelsConfig) -> None:
    """A config comes back equal from the file that it was saved to; keys stand in it as they were."""
    file = save_models(config, "models.json")
    again = load_models()
    assert again == msgspec.structs.replace(config, source=again.source)
    before = file.read_bytes()
    assert save_models(again) == again.source, "without a path it goes to where it came from"
    assert file.read_bytes() == before


def test_what_is_not_said_is_not_written() -> None:
    """A file has no `"$schema"` when the config names none, and an editor's line stays when it does."""
    config = msgspec.structs.replace(EVERYTHING, schema_url=None)
    assert list(json.loads(save_models(config, "models.json").read_bytes())) == ["active", "models"]
    assert load_models() == msgspec.structs.replace(config, source=Path.cwd() / "models.json")
    assert json.loads(save_models(EVERYTHING, "models.json").read_bytes())["$schema"] == "models.schema.json"


dollars = st.none() | st.decimals(0, 10**12, places=15) | st.decimals(0, allow_nan=False, allow_infinity=False)
sheets = dict.fromkeys(("input_price", "output_price", "cache_reads_price", "web_search_price"), dollars)
words = st.text(min_size=1, max_size=8)
infos = st.builds(
    ModelInfo,
    tiers=st.none() | st.lists(st.builds(PriceTier, above_input_tokens=st.integers(0), **sheets), max_size=2),
    variants=st.dictionaries(words, st.builds(PriceSheet, **sheets), max_size=2),
    changes=st.lists(st.builds(PriceChange, from_date=st.dates(), **sheets), max_size=2),
    max_tokens=st.none() | st.integers(1),
    **sheets,
)


@given(st.dictionaries(words, infos, min_size=1, max_size=2), words)
@settings(max_examples=25, deadline=None)
def test_any_config_survives_saving(models: dict[str, ModelInfo], key: str) -> None:
    """Any name, key and price can be written and read again, and prices are written as numbers."""
    entries = {
        alias: ModelEntry(
            provider="anthropic", provider_config=ProviderConfig(model_id=alias, model_info=info, api_key=key)
        )
        for alias, info in models.items()
    }
    file = save_models(ModelsConfig(active=min(entries), models=entries), "any.json")
    assert load_models(file).models == entries
    for entry in json.loads(file.read_bytes())["models"].values():
        prices = [value for name, value in entry["providerConfig"]["modelInfo"].items() if name.endswith("Price")]
        assert all(isinstance(price, int | float) for price in prices)


WRONG_TYPE: Any = 5
FETCHED = ProviderConfig(model_id="m", api_key=lambda: "sk-fetched-0001")


@pytest.mark.parametrize(
    ("config", "path"),
    [
        pytest.param(ModelsConfig(active="nobody", models={}), "$.active", id="an alias that is not there"),
        pytest.param(ModelsConfig(active=WRONG_TYPE, models={}), "$.active", id="an alias that is no text"),
        pytest.param(
            ModelsConfig(active="sonnet", models={"a": WRONG_TYPE}), "$.models.a", id="a model that is a number"
        ),
        pytest.param(
            ModelsConfig(active="a", models={"a": ModelEntry(provider="anthropic", provider_config=FETCHED)}),
            "$.models.a.providerConfig.apiKey",
            id="a key that is a function",
        ),
    ],
)
def test_nonsense_is_not_saved(config: ModelsConfig, path: str) -> None:
    """What could not be read again is refused, and the file that was there stays, with nothing beside it."""
    file = written(DOCUMENT)
    before = file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        save_models(config, file)
    assert (caught.value.file, caught.value.path) == (file, path)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_config_from_nowhere_needs_a_place() -> None:
    """What was not read from a file is not saved without saying where."""
    with pytest.raises(ConfigError, match="say where"):
        save_models(catalog())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400], ids=oct)
def test_a_file_is_replaced_in_one_step(mode: int) -> None:
    """Who has the old file open reads it to its end, nothing is left beside the new one, and its mode stays."""
    file = written(DOCUMENT)
    file.chmod(mode)
    with file.open("rb") as old:
        save_models(EVERYTHING, file)
        assert json.loads(old.read()) == DOCUMENT
    assert load_models(file).models == EVERYTHING.models
    assert file.stat().st_mode & 0o777 == mode
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_is_its_owners_alone() -> None:
    """A file that may hold a key is made readable for nobody else, whatever the umask."""
    before = os.umask(0)
    try:
        file = save_models(EVERYTHING, "new.json")
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_written_through(there: bool, tmp_path: Path) -> None:
    """Where the path is a link, the file that it points to is replaced, and the link stays."""
    link, file = tmp_path / "models.json", tmp_path / "dotfiles/mine.json"
    file.parent.mkdir()
    link.symlink_to("dotfiles/mine.json")
    if there:
        file.write_bytes(b"{}")
    assert save_models(EVERYTHING, link) == file
    assert link.is_symlink()
    assert load_models(file).models == load_models(link).models == EVERYTHING.models
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("folder", "Is a directory", id="a folder"),
        pytest.param("nowhere/models.json", "No such file or directory", id="no folder"),
        pytest.param("file/models.json", "Not a directory", id="a file for a folder"),
    ],
)
def test_a_save_that_fails_leaves_nothing(path: str, said: str, tmp_path: Path) -> None:
    """When the file cannot be put in place, a ConfigError says why and the half-made one goes away."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        save_models(EVERYTHING, tmp_path / path)
    assert (caught.value.file, caught.value.path) == (tmp_path / path, None)
    assert str(caught.value) == f"{tmp_path / path}: cannot be written: {said}"
    assert isinstance(caught.value.__cause__, OSError)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "folder"]


@pytest.mark.parametrize(
    ("alias", "model_id"),
    [
        pytest.param(None, "my-model", id="none is the active one"),
        pytest.param("other", "claude-haiku-5-5", id="an alias of the file"),
        pytest.param("opus", "claude-opus-5-5", id="an alias of the catalogue"),
        pytest.param("claude-opus-4-1", "claude-opus-4-1", id="a model id of the catalogue"),
    ],
)
def test_an_alias_opens_its_model(alias: str | None, model_id: str) -> None:
    """An alias is looked up in the file and then in the catalogue, however the file is given."""
    file = written(DOCUMENT)
    for models in (None, file, str(file), load_models(file)):
        provider = open_provider(alias, models=models)
        assert isinstance(provider, AnthropicProvider)
        assert provider.get_model().id == model_id


@pytest.mark.parametrize(
    ("config", "price"),
    [
        pytest.param({"modelId": "claude-opus-5-5"}, Decimal(4), id="what the catalogue knows"),
        pytest.param({"modelId": "claude-opus-5-5", "modelInfo": None}, Decimal(4), id="null is nothing known"),
        pytest.param({"modelId": "claude-opus-5-5", "modelInfo": {"inputPrice": 7}}, Decimal(7), id="its own"),
        pytest.param({"modelId": "claude-opus-5-5", "modelInfo": {}}, None, id="its own, without a price"),
        pytest.param({"modelId": "who-knows"}, None, id="what nobody knows is unknown"),
    ],
)
def test_a_model_without_info_has_the_catalogues(config: dict[str, Any], price: Decimal | None) -> None:
    """A model's own info counts whole; without one it has that of the catalogue's entry of the same id."""
    written({"active": "mine", "models": {"mine": {"provider": "anthropic", "providerConfig": config}}})
    assert open_provider().calculate_cost(UsageChunk(input_tokens=10**6)) == price


@pytest.mark.parametrize(
    ("written_key", "key"),
    [
        pytest.param(None, None, id="none is the SDK's own search"),
        pytest.param(KEY, KEY, id="a literal"),
        pytest.param("${PENSTOCK_KEY}", "k-1", id="a variable"),
        pytest.param("Bearer ${PENSTOCK_KEY}-${PENSTOCK_MORE}", "Bearer k-1-k-${2}", id="a text around two variables"),
        pytest.param("$penstock", "$penstock", id="what is like no variable is a literal"),
    ],
)
def test_a_key_is_looked_up(written_key: str | None, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` stands for the environment variable, once, and shows in no repr."""
    monkeypatch.setenv("PENSTOCK_KEY", "k-1")
    monkeypatch.setenv("PENSTOCK_MORE", "k-${2}")
    written(edited(f"{CONFIG}.apiKey", written_key))
    entry = resolve()
    assert entry.provider_config.api_key == key
    assert "k-1" not in repr(entry)


@pytest.mark.parametrize(
    ("data", "alias", "path", "said"),
    [
        pytest.param(
            edited("active", "mine"),
            "sonnt",
            "$.models",
            ['alias "sonnt"', "did you mean 'sonnet'?; `penstock models --all` lists them"],
            id="an alias nobody knows",
        ),
        pytest.param(
            edited("active", "mine"),
            "nope",
            "$.models",
            ['no model has the alias "nope"; `penstock models --all` lists them'],
            id="a short word that is like no other",
        ),
        pytest.param(
            edited("models.mine.enabled", False), None, "$.models.mine", ["disabled", "expected true"], id="disabled"
        ),
        pytest.param(
            edited(f"{CONFIG}.apiKey", "$PENSTOCK_KEY"),
            None,
            "$.models.mine.providerConfig.apiKey",
            ["a variable is written in braces: `${PENSTOCK_KEY}`"],
            id="a variable without braces",
        ),
        pytest.param(
            edited(f"{CONFIG}.apiKey", "${PENSTOCK_KYE}"),
            "mine",
            at(f"{CONFIG}.apiKey"),
            ["the environment variable PENSTOCK_KYE is not set", "did you mean 'PENSTOCK_KEY'?"],
            id="a variable that is not set",
        ),
        pytest.param(
            edited(f"{CONFIG}.apiKey", "${PENSTOCK_KEY}${PENSTOCK_EMPTY}"),
            "mine",
            at(f"{CONFIG}.apiKey"),
            ["PENSTOCK_EMPTY is empty"],
            id="a variable that is empty",
        ),
    ],
)
def test_what_cannot_be_opened_says_why(
    data: bytes, alias: str | None, path: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is not there, not enabled or has no key gives a ConfigError before anything is sent."""
    monkeypatch.setenv("PENSTOCK_KEY", KEY)
    monkeypatch.setenv("PENSTOCK_EMPTY", "")
    file = written(data)
    with pytest.raises(ConfigError) as caught:
        open_provider(alias)
    assert (caught.value.file, caught.value.path) == (file, path)
    assert str(caught.value).startswith(f"{file}, at {path}: ")
    assert [words for words in said if words not in str(caught.value)] == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a b", "1A", "A-B", KEY, "A.B", " A", "É", "A:-x"])
@pytest.mark.parametrize("around", ["${%s}", "x${PENSTOCK_KEY}y${%s}z", "${%s"], ids=["alone", "after one", "no end"])
def test_a_variable_has_a_name(text: str, around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between the braces and is no name may be a key: it is refused, and in no message."""
    monkeypatch.setenv("PENSTOCK_KEY", "k-1")
    key = around % text
    file = written(edited(f"{CONFIG}.apiKey", key))
    with pytest.raises(ConfigError) as caught:
        open_provider()
    assert (caught.value.file, caught.value.path) == (file, at(f"{CONFIG}.apiKey"))
    said = "expected the name of an environment variable between `${` and `}`"
    assert str(caught.value) == f"{file}, at {at(CONFIG)}.apiKey: {said}"


@pytest.mark.parametrize("ask", [open_provider, resolve])
def test_a_provider_nobody_knows_is_refused(ask: Any) -> None:
    """A config that was made in Python is checked as well: what it names must exist."""
    entry = ModelEntry(provider="antropic", provider_config=ProviderConfig(model_id="m", api_key=KEY))
    with pytest.raises(ConfigError) as caught:
        ask("a", models=ModelsConfig(active="a", models={"a": entry}))
    assert (caught.value.file, caught.value.path) == (None, "$.models.a.provider")
    why = "no installed package brings it, and it is no built-in name (see `penstock guide vendors`)"
    said = f"no provider \"antropic\": {why}; did you mean 'anthropic'?"
    assert str(caught.value) == f"$.models.a.provider: {said}"


def test_a_model_nobody_opens_needs_no_key() -> None:
    """A variable that is not set troubles only who opens its model."""
    written(edited(f"{CONFIG}.apiKey", "${NOWHERE_TO_BE_FOUND}"))
    assert open_provider("other").get_model().id == "claude-haiku-5-5"


# The vendors of whose models the catalogue knows all prices.
PRICED_BY = ("anthropic", "openai", "deepseek", "xai", "google")
PRICED = {
    alias: (entry.provider, info)
    for alias, entry in catalog().models.items()
    if (info := entry.provider_config.model_info) is not None
}


def priced_by(provider: str) -> pytest.MarkDecorator:
    models = [pytest.param(info, id=alias) for alias, (owner, info) in PRICED.items() if owner == provider]
    return pytest.mark.parametrize("info", models)


TOKEN_PRICES = [name for name in Prices.__struct_fields__ if name != "web_search_price"]


def test_the_catalogue_is_a_good_models_json() -> None:
    """The packaged file is one that a workspace could have: the loader reads it and the schema accepts it."""
    data = files("penstock.config").joinpath("models.json").read_bytes()
    schema = models_schema()
    assert fits(json.loads(data), schema, schema["$defs"])
    read = load_models(written(data)).models
    assert read.keys() == catalog().models.keys()
    for alias, entry in catalog().models.items():
        assert read[alias].provider_config.model_info in (None, entry.provider_config.model_info)


@pytest.mark.parametrize(
    ("model_id", "known_as"),
    [
        pytest.param("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", id="a dated id"),
        pytest.param("claude-sonnet-4-5@20250929", "claude-sonnet-4-5", id="a dated id as another cloud writes it"),
        pytest.param("claude-sonnet-4-20250514", "claude-sonnet-4-0", id="a dated id without its zero"),
        pytest.param("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest", id="a dated id of a latest one"),
        pytest.param("claude-opus-5-5-latest", "claude-opus-5-5", id="the latest"),
        pytest.param("claude-sonet-5-5", None, id="nobody's id"),
        pytest.param("gpt-4o-2024-08-06", "gpt-4o", id="a dated id as OpenAI writes it"),
        pytest.param("gpt-4o-2024-05-13", "gpt-4o-2024-05-13", id="a dated id with a price of its own"),
        pytest.param("gpt-5.4-2026-03-05", "gpt-5.4", id="a dated id with a point in it"),
        pytest.param("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini", id="a dated id of the smaller one"),
        pytest.param("gpt-4o-2024", None, id="half a date"),
        pytest.param("gpt-4", None, id="the beginning of an id"),
    ],
)
def test_dated_ids_are_known(model_id: str, known_as: str | None) -> None:
    """Production pins ids by date; their prices and limits are those of the plain id, unless they have their own."""
    provider = "openai" if model_id.startswith("gpt") else "anthropic"
    entry = ModelEntry(provider=provider, provider_config=ProviderConfig(model_id=model_id))
    info = resolve("a", models=ModelsConfig(active="a", models={"a": entry})).provider_config.model_info
    assert info == (catalog().models[known_as].provider_config.model_info if known_as else None)


ANSWERED: list[Any] = [
    pytest.param({}, "gpt-5.6-sol", "gpt-5.6-sol", id="another one of the catalogue"),
    pytest.param({}, "gpt-5.6-sol-2026-09-01", "gpt-5.6-sol", id="a dated one"),
    pytest.param({}, "gpt-6-sol", None, id="the one that was asked"),
    pytest.param({}, "gpt-6-sol-2026-09-01", "gpt-6-sol", id="the one that was asked, dated"),
    pytest.param({}, "gpt-99", None, id="one that nobody knows"),
    pytest.param({"modelInfo": {"inputPrice": 77}}, "gpt-5.6-sol", None, id="a price of one's own for what was asked"),
    pytest.param(
        {"modelInfo": {"inputPrice": 77, "outputPrice": 7}},
        "gpt-6-sol-2026-09-01",
        None,
        id="one for what is dated too",
    ),
]
ELSEWHERE: Final = {
    "modelId": "gpt-6-sol",
    "baseUrl": "https://gateway.example/v1",
    "modelInfo": {"inputPrice": 9, "outputPrice": 9},
}
"""The same model, whose price is another one there."""


@pytest.mark.parametrize(("config", "answered", "known_as"), ANSWERED)
def test_the_model_that_answered_is_paid(config: dict[str, Any], answered: str, known_as: str | None) -> None:
    """At its own price if the file or the catalogue knows it, found by its id and not by its words."""
    entry = {"provider": "openai", "providerConfig": {"modelId": "gpt-6-sol", **config}}
    other = {"provider": "openai", "providerConfig": ELSEWHERE}
    file = written({"active": "mine", "models": {"other": other, "mine": entry}})
    provider: Any = open_provider(models=file)
    asked = provider.get_model()
    meter = Meter(asked.info, dt.date(2026, 11, 30), model_id=asked.id, find_info=provider._find_info)
    meter.answered(answered)
    used = UsageChunk(input_tokens=1000, output_tokens=10)
    info = asked.info if known_as is None else catalog().models[known_as].provider_config.model_info
    assert info is not None
    assert meter.price(used, None) == calculate_cost(used, info, on=dt.date(2026, 11, 30))


@pytest.mark.parametrize("alias", [alias for alias in catalog().models if alias != "demo"])
def test_every_alias_of_the_catalogue_opens(alias: str) -> None:
    """Each alias leads to its vendor's model, with a price for all that the vendor bills, read on a day that is said.

    Where there is no price the cost is unknown, not 0.
    """
    entry = catalog().models[alias]
    provider = open_provider(alias)
    assert isinstance(provider, AnthropicProvider if entry.provider == "anthropic" else OpenAIProvider)
    assert provider.get_model().id == entry.provider_config.model_id
    info = provider.get_model().info
    used = UsageChunk(input_tokens=1, output_tokens=1)
    if info.input_price is None or DIALECTS[entry.provider].is_free:
        assert entry.provider not in PRICED_BY
        assert provider.calculate_cost(used) == (0 if DIALECTS[entry.provider].is_free else None)
        return
    assert info.prices_as_of is not None
    assert info.context_window is not None
    assert calculate_cost(used, info) is not None
    if entry.provider not in PRICED_BY:
        return
    # OpenAI's large models have no cache, nor has its oldest; writing to it is free at others: nobody reports it.
    reads = info.cache_reads_price is not None
    assert reads != (entry.provider == "openai" and provider.get_model().id.endswith(("-pro", "-2024-05-13")))
    writes = entry.provider == "anthropic" or info.supports_cache_options is True
    cached = [(reads, UsageChunk(cache_read_tokens=1)), (writes, UsageChunk(cache_write_tokens=1))]
    cached.append((writes, UsageChunk(cache_write_tokens=1, cache_write_extended_tokens=1)))
    for has_price, usage in cached:
        assert (calculate_cost(usage, info) is not None) == has_price


def test_every_provider_has_an_alias_of_its_name() -> None:
    """`-m deepseek` and so on open something, but for those that need a model's name or an address of one's own."""
    without = {name for name in PROVIDERS if "anthropic" in name}  # `claude-...` and `deepseek` are their aliases
    assert set(PROVIDERS) - set(catalog().models) == {*without, "azure", "cloudflare", "vllm", "openai-compatible"}
    for name in set(PROVIDERS) & set(catalog().models):
        assert catalog().models[name].provider == name


@priced_by("anthropic")
def test_prices_of_anthropic_keep_their_proportions(info: ModelInfo) -> None:
    """Cache writes cost 1.25 and 2 times the input, fast mode twice, a batch half, the United States 1.1 of all."""
    tenfold = {"batch": 5, "fast": 20, "us": 11}
    assert set(info.variants) <= set(tenfold)
    for sheet in (info, *info.variants.values()):
        for prices in (sheet, *(sheet.tiers or ())):
            assert prices.input_price is not None
            assert prices.cache_writes_price == prices.input_price * 5 / 4
            assert prices.cache_writes_extended_price == prices.input_price * 2
    for name, variant in info.variants.items():
        assert len(variant.tiers or ()) == len(info.tiers or ())
        for special, plain in zip((variant, *(variant.tiers or ())), (info, *(info.tiers or ())), strict=True):
            for price in TOKEN_PRICES:
                assert getattr(special, price) * 10 == getattr(plain, price) * tenfold[name], (name, price)
            assert special.web_search_price == plain.web_search_price


def times(special: Prices, plain: Prices) -> dict[str, Fraction]:
    """How many times each price of *plain* that of *special* is; both have the same ones."""
    ratios = {}
    for name in TOKEN_PRICES:
        one, other = getattr(special, name), getattr(plain, name)
        assert (one is None) == (other is None), name
        if one is not None:
            ratios[name] = Fraction(one) / Fraction(other)
    return ratios


# What OpenAI's priority service costs, where it is not twice as much. A batch of these older ones reads for the full
# price, and half of the price of reading gpt-5.4 is rounded up by the vendor.
PRIORITY = {
    "gpt-5.5": Fraction(5, 2),
    "gpt-5-mini": Fraction(9, 5),
    **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4o-2024-05-13", "o3"), Fraction(7, 4)),
    "gpt-4o": Fraction(17, 10),
    "gpt-4o-mini": Fraction(5, 3),
}
FULL_READS = {"gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3"}


@priced_by("openai")
def test_prices_of_openai_keep_their_proportions(info: ModelInfo, request: pytest.FixtureRequest) -> None:
    """From gpt-5.6 on a cache write costs 1.25 times the input, and 2.5 times for 12 hours; before, nothing.

    Above 272,000 tokens input costs twice as much and output half as much again; flex and batch cost half.
    """
    alias = request.node.callspec.id
    for sheet in (info, *info.variants.values()):
        for prices in (sheet, *(sheet.tiers or ())):
            assert prices.input_price is not None
            writes = (
                (prices.input_price * 5 / 4, prices.input_price * 5 / 2) if info.supports_cache_options else (None,) * 2
            )
            assert (prices.cache_writes_price, prices.cache_writes_extended_price) == writes
        for tier in sheet.tiers or ():
            assert tier.above_input_tokens == 272_000
            ratios = times(tier, sheet)
            assert ratios.pop("output_price") == Fraction(3, 2)
            if sheet is info:
                assert set(ratios.values()) == {2}
    assert set(info.variants) <= {"batch", "flex", "priority"}
    for name, variant in info.variants.items():
        ratios = times(variant, info)
        reads = ratios.pop("cache_reads_price", None)
        factor = PRIORITY.get(alias, Fraction(2)) if name == "priority" else Fraction(1, 2)
        assert set(ratios.values()) == {factor}
        if alias in FULL_READS and name == "batch":
            assert reads == 1
        elif alias != "gpt-5.4" or name == "priority":
            assert reads in (None, factor)


@priced_by("deepseek")
def test_prices_of_deepseek_double_by_day(info: ModelInfo) -> None:
    """From 1 to 4 and from 6 to 10 o'clock UTC everything costs twice as much; nothing else is told apart."""
    assert [(hours.from_time.hour, hours.to_time.hour) for hours in info.hours] == [(1, 4), (6, 10)]
    for hours in info.hours:
        assert set(times(hours, info).values()) == {2}
    assert [*(info.tiers or ()), *info.variants, *info.changes] == []


@priced_by("xai")
def test_prices_of_xai_double_with_length(info: ModelInfo) -> None:
    """From 200,000 tokens on everything costs twice as much, in a batch as well, which is a fifth cheaper."""
    for sheet in (info, *info.variants.values()):
        (tier,) = sheet.tiers or ()
        assert tier.above_input_tokens == 199_999, "the border itself costs more"
        assert set(times(tier, sheet).values()) == {2}
    assert set(info.variants) <= {"batch"}
    for variant in info.variants.values():
        assert set(times(variant, info).values()) == {Fraction(4, 5)}


@priced_by("google")
def test_prices_of_google_keep_their_proportions(info: ModelInfo) -> None:
    """Above 200,000 tokens input costs twice as much and output half as much again; a batch half, but for the cache.

    The announced changes double everything.
    """
    for sheet in (info, *info.variants.values()):
        for tier in sheet.tiers or ():
            assert tier.above_input_tokens == 200_000
            assert times(tier, sheet) == {"input_price": 2, "output_price": Fraction(3, 2), "cache_reads_price": 2}
    assert set(info.variants) <= {"batch"}
    for variant in info.variants.values():
        ratios = times(variant, info)
        assert Fraction(1, 2) <= ratios.pop("cache_reads_price") <= 1
        assert set(ratios.values()) == {Fraction(1, 2)}
    for change in info.changes:
        assert set(times(change, info).values()) == {2}
        assert change.variants.keys() == info.variants.keys()
        for name, variant in change.variants.items():
            assert set(times(variant, info.variants[name]).values()) == {2}


# The worked example and the cliff of prices.md, 2026-11-21; input, output, write, extended of these, read.
@pytest.mark.parametrize(
    ("alias", "variant", "counts", "dollars"),
    [
        pytest.param("claude-opus-5-5", None, (4000, 100, 6000, 1000, 90_000), "0.069", id="the worked example"),
        pytest.param("opus", "fast", (4000, 100, 6000, 1000, 90_000), "0.138", id="the same in fast mode"),
        pytest.param("claude-opus-5-5", "us", (4000, 100, 6000, 1000, 90_000), "0.0759", id="the same in the US"),
        pytest.param("claude-opus-5-5", "fast+us", (4000, 100, 6000, 1000, 90_000), None, id="both: not represented"),
        pytest.param("haiku", None, (100_000, 1000, 0, 0, 0), "0.0105", id="haiku at the cliff"),
        pytest.param("haiku", None, (100_001, 1000, 0, 0, 0), "0.0525005", id="haiku above the cliff"),
        pytest.param("sonnet", None, (0, 0, 0, 0, 10**6), "0.1", id="a read is not always a tenth"),
        pytest.param("fable", None, (0, 0, 0, 0, 10**6), "0.2", id="nor a twentieth"),
        pytest.param("gpt", None, (4000, 100, 6000, 1000, 90_000), "0.0355", id="OpenAI, with writes of both kinds"),
        pytest.param("gpt", None, (272_000, 1000, 0, 0, 0), "0.554", id="OpenAI at the cliff"),
        pytest.param("gpt", None, (272_001, 1000, 0, 0, 0), "1.103004", id="OpenAI above the cliff"),
        pytest.param("gpt", None, (0, 0, 1, 0, 272_000), "0.054405", id="the whole prompt counts: reads and writes"),
        pytest.param("gpt", "flex", (4000, 100, 0, 0, 0), "0.0045", id="OpenAI's slower service"),
        pytest.param("gpt", "priority", (4000, 100, 0, 0, 0), "0.018", id="OpenAI's faster service"),
        pytest.param("gpt-5.5", "priority", (272_001, 1, 0, 0, 0), None, id="faster and long: not known"),
        pytest.param("gpt-5.5", None, (0, 0, 1, 0, 0), None, id="a write where none is billed: not known"),
        pytest.param("gpt-5.4-pro", None, (0, 1, 0, 0, 1), None, id="a read where there is no cache: not known"),
        pytest.param("grok", None, (199_999, 0, 0, 0, 0), "0.399998", id="xAI below the cliff"),
        pytest.param("grok", None, (200_000, 0, 0, 0, 0), "0.8", id="xAI at the cliff, which is in the dear part"),
        pytest.param("gemini-2.5-pro", None, (200_000, 0, 0, 0, 0), "0.25", id="Google at the cliff"),
        pytest.param("gemini-2.5-pro", None, (200_001, 1000, 0, 0, 0), "0.5150025", id="Google above the cliff"),
        pytest.param("mistral", None, (1, 1, 0, 0, 0), None, id="a vendor of which no price is known"),
    ],
)
def test_the_catalogue_bills_as_prices_md_says(
    alias: str, variant: str | None, counts: tuple[int, int, int, int, int], dollars: str | None
) -> None:
    """The packaged prices give the sums that were worked out by hand."""
    fresh, output, write, extended, read = counts
    usage = UsageChunk(
        input_tokens=fresh,
        output_tokens=output,
        cache_write_tokens=write,
        cache_write_extended_tokens=extended,
        cache_read_tokens=read,
    )
    cost = calculate_cost(usage, open_provider(alias).get_model().info, variant=variant, on=dt.date(2026, 11, 21))
    assert cost == (None if dollars is None else Decimal(dollars))
