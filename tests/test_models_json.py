"""models.json: found, read, refused with reasons, written; and the provider that an alias of it opens."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import traceback
from decimal import Decimal, localcontext
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    AnthropicProvider,
    ConfigError,
    Deadlines,
    ModelEntry,
    ModelInfo,
    ModelsConfig,
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
from penstock.models import Prices
from penstock.registry import catalog, find_models, models_schema, resolve

KEY = "sk-ant-api03-literal-0123456789"
CONFIG = "models.mine.providerConfig"
INFO = f"{CONFIG}.modelInfo"
TIER = {"aboveInputTokens": 200000, "inputPrice": 4}
OTHER = {"provider": "anthropic", "providerConfig": {"modelId": "claude-haiku-5-5"}}
DOCUMENT: dict[str, Any] = {
    "active": "mine",
    "models": {
        "other": OTHER,
        "mine": {
            "enabled": True,
            "provider": "anthropic",
            "providerConfig": {
                "modelId": "my-model",
                "apiKey": KEY,
                "headers": {"x-team": "a", "x-key": KEY},
                "deadlines": {"connect": 5},
                "modelInfo": {
                    "inputPrice": 2,
                    "tiers": [TIER, {"aboveInputTokens": 400000}],
                    "variants": {"batch": {"inputPrice": 1}, "fast": {"inputPrice": 4, "tiers": [TIER]}},
                    "changes": [
                        {"from": "2027-01-01", "inputPrice": 3},
                        {"from": "2028-01-01", "tiers": [TIER], "variants": {"batch": {}, "fast": {"inputPrice": 8}}},
                    ],
                    "pricesAsOf": "2026-11-21",
                    "maxTokens": 1000,
                    "supportsImages": True,
                    "supportsForcedTools": "unless_budget",
                    "efforts": ["low", "high"],
                },
            },
        },
    },
}
GONE = object()


def at(where: str) -> str:
    """The path that errors write for a place such as `models.mine.providerConfig.modelInfo.tiers.1`."""
    return "$" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in where.split(".") if step)


def edited(where: str, value: object) -> bytes:
    """The document with another value at one place, or with nothing there."""
    document = json.loads(json.dumps(DOCUMENT))
    *steps, last = (int(step) if step.isdigit() else step for step in where.split("."))
    inner: Any = document
    for step in steps:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document).encode()


def written(data: bytes | object) -> Path:
    """A models.json in the working directory, which is the test's own."""
    file = Path.cwd() / "models.json"
    file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return file


def wrong(name: str, where: str, value: object, *said: str) -> Any:
    """The error names the place itself."""
    return pytest.param(edited(where, value), at(where), said, id=name)


def missing(name: str, where: str) -> Any:
    """The error names the object that lacks the key."""
    parent, _, key = where.rpartition(".")
    return pytest.param(edited(where, GONE), at(parent), ["missing", f"`{key}`"], id=name)


def unknown(name: str, where: str, near: str | None, *said: str) -> Any:
    """The error names the object that has the key, and the known key that is most like it."""
    parent, _, key = where.rpartition(".")
    hint = [f"; did you mean {near!r}?"] if near else []
    return pytest.param(
        edited(where, KEY), at(parent), [f"unknown key {key!r}", "expected one of", *hint, *said], id=name
    )


def broken(name: str, data: bytes, path: str | None, *said: str) -> Any:
    return pytest.param(data, path, said, id=name)


NOT_JSON = [
    broken("an empty file", b"", None, "not JSON", "line 1, column 1"),
    broken("a comma too many", b'{"active":\n "mine",}', None, "not JSON", "line 2, column"),
    broken("single quotes", b"{'active': 'mine'}", None, "not JSON", "double quotes"),
    broken("two documents", b'{"active": "mine"} {}', None, "not JSON", "column 20"),
    broken("not UTF-8", b'{"active": "\xff"}', None, "not JSON", "utf-8"),
    broken("a bomb of brackets", b"[" * 100_000, None, "not JSON", "recursion"),
    broken("NaN without quotes", edited(f"{INFO}.inputPrice", float("nan")), "$", "malformed"),
    broken("Infinity without quotes", edited(f"{CONFIG}.deadlines.stall", float("inf")), "$", "malformed"),
]
STRUCTURE = [
    broken("a list at the top", b"[]", "$", "`object`", "`array`"),
    broken("null at the top", b"null", "$", "`object`", "null"),
    broken("a text at the top", b'"mine"', "$", "`object`", "`str`"),
    missing("no active alias", "active"),
    missing("no models", "models"),
    missing("no provider", "models.mine.provider"),
    missing("no config of a provider", CONFIG),
    missing("no model id", f"{CONFIG}.modelId"),
    missing("a tier without its border", f"{INFO}.tiers.1.aboveInputTokens"),
    missing("a variant's tier without its border", f"{INFO}.variants.fast.tiers.0.aboveInputTokens"),
    missing("a change without its day", f"{INFO}.changes.1.from"),
    wrong("a number for an alias", "active", 5, "`str`", "found 5"),
    wrong("a list of models", "models", [], "`object`", "`array`"),
    wrong("a text for a model", "models.mine", "x", "`object`", 'found "x"'),
    wrong("a word for a truth value", "models.mine.enabled", "no", "`bool`", 'found "no"'),
    wrong("null for a model id", f"{CONFIG}.modelId", None, "`str`", "found null"),
    wrong("a number for a key", f"{CONFIG}.apiKey", 5, "`str | null`", "`int`"),
    wrong("a key in a list", f"{CONFIG}.apiKey", [KEY], "`str | null`", "`array`"),
    wrong("a key in an object", f"{CONFIG}.apiKey", {"env": KEY}, "`str | null`", "`object`"),
    wrong("a key for the headers", f"{CONFIG}.headers", KEY, "`object`", "`str`"),
    wrong("a key in a list for a header", f"{CONFIG}.headers.x-key", [KEY], "`str`", "`array`"),
    wrong("an unknown wire", f"{CONFIG}.wire", "chatt", 'found "chatt"'),
    wrong("one number for all deadlines", f"{CONFIG}.deadlines", 5, "`object`", "found 5"),
    wrong("a text for seconds", f"{CONFIG}.deadlines.stall", "5", "`float`", 'found "5"'),
    wrong("a truth value for a price", f"{INFO}.inputPrice", True, "found true"),
    wrong("a list for a price", f"{INFO}.inputPrice", [1], "`array`"),
    wrong("a word for a price", f"{INFO}.inputPrice", "two", "decimal", 'found "two"'),
    wrong("half a token", f"{INFO}.maxTokens", 1.5, "`int | null`", "found 1.5"),
    wrong("a month for a day", f"{INFO}.pricesAsOf", "May", "date", 'found "May"'),
    wrong("a year for a day", f"{INFO}.changes.1.from", 2028, "found 2028"),
    wrong("an unknown effort", f"{INFO}.efforts.1", "hihg", 'found "hihg"'),
    wrong("a number for a variant", f"{INFO}.variants.fast", 4, "`object`", "found 4"),
    unknown("an unknown key at the top", "modles", "models"),
    unknown("an unknown key of a model", "models.mine.enable", "enabled"),
    unknown("a small letter in a key's name", f"{CONFIG}.apikey", "apiKey"),
    unknown("a name spelled as in Python", f"{CONFIG}.api_key", "apiKey"),
    unknown("an unknown deadline", f"{CONFIG}.deadlines.first", "firstChunk", "connect, firstChunk, stall, total"),
    unknown("an unknown key of the info", f"{INFO}.inputPrize", "inputPrice"),
    unknown("a name like no other", f"{INFO}.zzz", None, "efforts"),
    unknown("an unknown key of a tier", f"{INFO}.tiers.1.aboveTokens", "aboveInputTokens"),
    unknown("an unknown key of a variant", f"{INFO}.variants.fast.tier", "tiers"),
    unknown("an unknown key of a variant's tier", f"{INFO}.variants.fast.tiers.0.variants", None, "aboveInputTokens"),
    unknown("an unknown key of a change", f"{INFO}.changes.1.form", "from"),
    unknown("an unknown key of a change's variant", f"{INFO}.changes.1.variants.fast.x", None, "tiers"),
    *(
        wrong(f"a negative price: {price}", f"{INFO}.{price}", -0.5, "found -0.5", "expected a price of 0 or more")
        for price in (
            "inputPrice",
            "cacheWritesExtendedPrice",
            "tiers.1.outputPrice",
            "variants.fast.cacheReadsPrice",
            "variants.fast.tiers.0.inputPrice",
            "changes.1.webSearchPrice",
            "changes.1.tiers.0.inputPrice",
            "changes.1.variants.fast.inputPrice",
        )
    ),
    wrong("NaN in quotes", f"{INFO}.inputPrice", "NaN", "found NaN", "expected a price of 0 or more"),
    wrong("less than everything", f"{INFO}.tiers.1.inputPrice", "-Infinity", "found -Infinity", "0 or more"),
]
MEANING = [  # what the types, and so the schema, cannot say
    wrong("an unknown provider", "models.mine.provider", "antropic", "expected one of: anthropic", "mean 'anthropic'?"),
    wrong(
        "an alias that is not there", "active", "mien", "alias 'mien'", "one of: other, mine, sonnet", "mean 'mine'?"
    ),
    wrong("an alias like one of the catalogue", "active", "sonet", "alias 'sonet'", "did you mean 'sonnet'?"),
    wrong("an empty alias", "active", "", "alias ''"),
    wrong("no time at all", f"{CONFIG}.deadlines.firstChunk", 0, "found 0", "expected a number of seconds above 0"),
    wrong("time runs backwards", f"{CONFIG}.deadlines.total", -1, "found -1", "expected a number of seconds above 0"),
]


@pytest.mark.parametrize(("data", "path", "said"), [*NOT_JSON, *STRUCTURE, *MEANING])
def test_a_bad_file_is_refused_with_reasons(data: bytes, path: str | None, said: list[str]) -> None:
    """A bad file gives a ConfigError that names file, path and what is wrong there; a key never shows."""
    file = written(data)
    with pytest.raises(ConfigError) as caught:
        load_models()
    error = caught.value
    assert (error.file, error.path) == (file, path)
    assert str(error).startswith(f"{file}, at {path}: " if path else f"{file}: ")
    assert [words for words in said if words not in str(error)] == []
    assert KEY not in "".join(traceback.format_exception(error)) + repr(error)


def places(value: Any, where: str = "") -> list[str]:
    """Every place of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in (f"{where}{key}", *places(one, f"{where}{key}."))]


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether a JSON Schema of the few keywords that ours uses accepts a value."""
    assert set(schema) <= {
        *("$schema", "$ref", "$defs", "title", "description", "default", "type", "properties", "required"),
        *("additionalProperties", "anyOf", "enum", "items", "minimum", "exclusiveMinimum", "format"),
    }
    if "$ref" in schema:
        return fits(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in schema:
        return any(fits(value, one, defs) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    if kind.get(type(value), "null") not in (schema["type"], "integer" if schema["type"] == "number" else ""):
        return False
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema["additionalProperties"]
        rest = [one for key, one in value.items() if key not in known]
        return (
            set(schema.get("required", ())) <= set(value)
            and all(fits(value[key], one, defs) for key, one in known.items() if key in value)
            and (not rest if others is False else all(fits(one, others, defs) for one in rest))
        )
    if isinstance(value, list):
        return all(fits(one, schema["items"], defs) for one in value)
    if schema.get("format") == "date":
        return len(value) == 10 and value[4::3] == "--"
    return "minimum" not in schema or bool(value >= schema["minimum"])


@pytest.mark.parametrize(("data", "path", "said"), STRUCTURE)
def test_the_schema_refuses_what_the_loader_refuses(data: bytes, path: str, said: list[str]) -> None:
    """An editor with the schema underlines what the loader would refuse, all but what only the loader can know."""
    schema = models_schema()
    assert fits(DOCUMENT, schema, schema["$defs"])
    assert not fits(json.loads(data), schema, schema["$defs"])


@pytest.mark.parametrize(
    "value", [5, True, None, [5], {"zzz": 1}, {"fast": [5]}, pytest.param(GONE, id="nothing")], ids=str
)
def test_a_wrong_value_anywhere_is_found(value: object) -> None:
    """Whatever stands wherever: the file is read, or the error names that place; and the schema says the same."""
    schema = models_schema()
    for where in places(DOCUMENT):
        data = edited(where, value)
        error: ConfigError | None = None
        try:
            load_models(written(data))
        except ConfigError as refused:
            error = refused
            place = at(where.rpartition(".")[0] if value is GONE else where)
            assert (error.path or "").startswith(place) or error.path == "$.active", (where, str(error))
            assert KEY not in str(error)
        sees_all = error is None or error.path != "$.active" or where == "active"
        assert fits(json.loads(data), schema, schema["$defs"]) == (error is None) or not sees_all, (where, str(error))


def test_a_good_file_is_read_whole() -> None:
    """Names become Python's, prices exact decimals, days dates, and what is not said has its default."""
    file = written(DOCUMENT)
    config = load_models()
    assert (config.active, config.source, list(config.models)) == ("mine", file, ["other", "mine"])
    assert config.models["other"] == ModelEntry(
        provider="anthropic", provider_config=ProviderConfig(model_id="claude-haiku-5-5")
    )
    mine = config.models["mine"].provider_config
    assert (mine.model_id, mine.api_key, mine.base_url) == ("my-model", KEY, None)
    assert mine.deadlines == Deadlines(connect=5)
    four = PriceTier(above_input_tokens=200_000, input_price=Decimal(4))
    assert mine.model_info == ModelInfo(
        input_price=Decimal(2),
        tiers=[four, PriceTier(above_input_tokens=400_000)],
        variants={
            "batch": PriceSheet(input_price=Decimal(1)),
            "fast": PriceSheet(input_price=Decimal(4), tiers=[four]),
        },
        changes=[
            PriceChange(from_date=dt.date(2027, 1, 1), input_price=Decimal(3)),
            PriceChange(
                from_date=dt.date(2028, 1, 1),
                tiers=[four],
                variants={"batch": PriceSheet(), "fast": PriceSheet(input_price=Decimal(8))},
            ),
        ],
        prices_as_of=dt.date(2026, 11, 21),
        max_tokens=1000,
        supports_images=True,
        supports_forced_tools="unless_budget",
        efforts=["low", "high"],
    )


@pytest.mark.parametrize("price", ["0", "0.1", "1e-7", "12345678901234567890.1234567890123456789", "0.10"])
def test_a_price_is_what_is_written(price: str) -> None:
    """A price never goes through a float, and the program's own decimal context does not round it."""
    file = written(edited(f"{INFO}.inputPrice", "PRICE").replace(b'"PRICE"', price.encode()))
    with localcontext(prec=2):
        info = resolve(models=save_models(load_models(file))).provider_config.model_info
    assert info is not None
    assert info.input_price == Decimal(price)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ProviderConfig(model_id="m", api_key=KEY, headers={"x-key": KEY}), id="a provider's config"),
        pytest.param(msgspec.convert(DOCUMENT, ModelsConfig), id="a whole file"),
        pytest.param(msgspec.convert(DOCUMENT, ModelsConfig).models["mine"], id="one model"),
    ],
)
def test_a_key_is_in_no_repr(config: object) -> None:
    """What a log line or a traceback shows of a config has neither the key nor the values of the headers."""
    assert KEY not in repr(config) + str(config) + f"{config!r:>9}"
    assert "'***'" in repr(config)
    assert "x-key" in repr(config)


def test_rich_shows_no_key() -> None:
    """What `rich` prints of a config is what repr shows."""
    config = ProviderConfig(model_id="m", api_key=KEY, headers={"x-key": KEY})
    assert config.__rich_repr__() == [("", repr(config))]


@pytest.mark.parametrize(
    ("there", "named", "found"),
    [
        pytest.param(["a/b/models.json"], None, "a/b/models.json", id="in the working directory"),
        pytest.param(["a/models.json"], None, "a/models.json", id="one above"),
        pytest.param(["models.json", "a/b/c/models.json"], None, "models.json", id="two above and not below"),
        pytest.param(["models.json", "a/models.json"], None, "a/models.json", id="the nearest"),
        pytest.param(["models.json", "a/models.json/x"], None, "models.json", id="a folder of that name is none"),
        pytest.param(["x.json", "a/b/models.json"], "../../x.json", "x.json", id="the variable wins"),
        pytest.param(["x.json"], "~/x.json", "x.json", id="the variable may speak of home"),
        pytest.param(["a/models.json"], "", "a/models.json", id="an empty variable is none"),
    ],
)
def test_the_file_is_found(
    there: list[str], named: str | None, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace's file is what PENSTOCK_MODELS names, else the nearest upwards."""
    for name in (*there, "a/b/other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"active": "sonnet", "models": {}}')
    monkeypatch.chdir(tmp_path / "a/b")
    monkeypatch.setenv("HOME", str(tmp_path))
    if named is not None:
        monkeypatch.setenv("PENSTOCK_MODELS", named)
    path = find_models()
    assert path is not None
    assert path.samefile(tmp_path / found)
    assert load_models().source == path
    assert load_models(tmp_path / there[0]).source == tmp_path / there[0], "an argument wins over both"


def test_the_search_may_start_elsewhere(tmp_path: Path) -> None:
    """`find_models` looks upwards from where it is told to."""
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/models.json").touch()
    assert find_models(tmp_path / "x/y") == (tmp_path / "x/models.json").resolve()


@pytest.mark.parametrize("named", ["nowhere.json", "."])
def test_a_named_file_must_be_there(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the variable or the argument names and that cannot be read is an error, not a reason to go on."""
    written(DOCUMENT)
    with pytest.raises(ConfigError, match=r"cannot be read") as caught:
        load_models(named)
    assert caught.value.file == Path(named)
    monkeypatch.setenv("PENSTOCK_MODELS", named)
    with pytest.raises(ConfigError, match="no such file, but PENSTOCK_MODELS names it"):
        load_models()


def test_without_a_file_there_is_the_catalogue() -> None:
    """Where no file is found the packaged default is used."""
    assert find_models() is None
    assert load_models() == catalog()
    assert catalog().source is None


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
@settings(max_examples=50, deadline=None)
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


@pytest.mark.parametrize(
    ("config", "path"),
    [
        pytest.param(ModelsConfig(active="nobody", models={}), "$.active", id="an alias that is not there"),
        pytest.param(ModelsConfig(active=WRONG_TYPE, models={}), "$.active", id="an alias that is no text"),
        pytest.param(
            ModelsConfig(
                active="a", models={"a": ModelEntry(provider="nope", provider_config=ProviderConfig(model_id="m"))}
            ),
            "$.models.a.provider",
            id="an unknown provider",
        ),
        pytest.param(
            ModelsConfig(active="sonnet", models={"a": WRONG_TYPE}), "$.models.a", id="a model that is a number"
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


def test_a_file_is_replaced_in_one_step() -> None:
    """Who has the old file open reads it to its end, nothing is left beside the new one, and its mode stays."""
    file = written(DOCUMENT)
    file.chmod(0o640)
    with file.open("rb") as old:
        save_models(EVERYTHING, file)
        assert json.loads(old.read()) == DOCUMENT
    assert load_models(file).models == EVERYTHING.models
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When the file cannot be put in place, the half-made one goes away."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        save_models(EVERYTHING, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


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
        pytest.param("$PENSTOCK_KEY", "$PENSTOCK_KEY", id="without braces it is a literal"),
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
            ["alias 'sonnt'", "expected one of: other, mine, sonnet", "did you mean 'sonnet'?"],
            id="an alias nobody knows",
        ),
        pytest.param(
            edited("models.mine.enabled", False), None, "$.models.mine", ["disabled", "expected true"], id="disabled"
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
            ["PENSTOCK_EMPTY is not set"],
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


def test_a_model_nobody_opens_needs_no_key() -> None:
    """A variable that is not set troubles only who opens its model."""
    written(edited(f"{CONFIG}.apiKey", "${NOWHERE_TO_BE_FOUND}"))
    assert open_provider("other").get_model().id == "claude-haiku-5-5"


KEYRING = "def get_password(service, user): return {('a team', 'me/x'): 'found'}.get((service, user))"


@pytest.mark.parametrize(
    ("keyring", "entry", "code", "said"),
    [
        pytest.param(KEYRING, "a team/me/x", 0, "found", id="service and user are parted at the first slash"),
        pytest.param(KEYRING, "a team/you", 1, "no entry for service 'a team' and user 'you'", id="no such entry"),
        pytest.param(KEYRING, "a team", 1, "no entry for service 'a team' and user ''", id="no user"),
        pytest.param("raise ImportError", "a/b", 1, "pip install 'penstock[keyring]'", id="the extra is not installed"),
    ],
)
def test_a_key_may_be_in_the_keyring(keyring: str, entry: str, code: int, said: str) -> None:
    """A key is asked of the `keyring` module, here a small one of the test's own; what is missing is named."""
    file = written(edited(f"{CONFIG}.apiKey", f"keyring:{entry}"))
    Path("keyring.py").write_text(keyring)  # `python -c` looks into its working directory first
    script = "from penstock.registry import resolve; print(resolve().provider_config.api_key)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in (done.stderr or done.stdout)
    assert code == 0 or f"ConfigError: {file}, at {at(CONFIG)}.apiKey: " in done.stderr


PRICED = {
    alias: info for alias, entry in catalog().models.items() if (info := entry.provider_config.model_info) is not None
}
each_priced = pytest.mark.parametrize("info", [pytest.param(info, id=alias) for alias, info in PRICED.items()])
TOKEN_PRICES = [name for name in Prices.__struct_fields__ if name != "web_search_price"]


def test_the_catalogue_is_a_good_models_json() -> None:
    """The packaged file is one that a workspace could have: the loader reads it and the schema accepts it."""
    data = files("penstock").joinpath("models.json").read_bytes()
    schema = models_schema()
    assert fits(json.loads(data), schema, schema["$defs"])
    assert load_models(written(data)).models == catalog().models


@pytest.mark.parametrize("alias", list(catalog().models))
def test_every_alias_of_the_catalogue_opens(alias: str) -> None:
    """Each alias leads to a model with a price for all that is billed, read on a day that is said."""
    info = open_provider(alias).get_model().info
    used = UsageChunk(
        input_tokens=1, output_tokens=1, cache_write_tokens=2, cache_write_extended_tokens=1, cache_read_tokens=1
    )
    assert calculate_cost(used, info) is not None
    assert info.prices_as_of is not None
    assert info.context_window is not None


@each_priced
def test_prices_of_the_catalogue_keep_their_proportions(info: ModelInfo) -> None:
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
