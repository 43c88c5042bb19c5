"""models.json: found, read, and refused with reasons."""

from __future__ import annotations

import datetime as dt
import json
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import (
    ConfigError,
    Deadlines,
    ModelEntry,
    ModelInfo,
    ModelsConfig,
    PriceChange,
    PriceSheet,
    PriceTier,
    ProviderConfig,
    load_models,
)
from penstock.registry import catalog, find_models, models_schema

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
        edited(where, KEY), at(parent), [f"unknown key {json.dumps(key)}", "expected one of", *hint, *said], id=name
    )


def models(name: str, path: str, *said: str, **entries: object) -> Any:
    """A file of these models after a good one."""
    document = {"active": "sonnet", "models": {"good": OTHER, **entries}}
    return pytest.param(json.dumps(document).encode(), path, said, id=name)


def model(provider: object, **config: object) -> dict[str, object]:
    return {"provider": provider, "providerConfig": {"modelId": "m", **config}}


def broken(name: str, data: bytes, path: str | None, *said: str) -> Any:
    return pytest.param(data, path, said, id=name)


NOT_JSON = [
    broken("an empty file", b"", None, "not JSON", "line 1, column 1"),
    broken("a comma too many", b'{"active":\n "mine",}', None, "not JSON", "line 2, column"),
    broken("single quotes", b"{'active': 'mine'}", None, "not JSON", "double quotes"),
    broken("two documents", b'{"active": "mine"} {}', None, "not JSON", "column 20"),
    broken("not UTF-8", b'{"active": "\xff"}', None, "not JSON", "utf-8"),
    broken("a bomb of brackets", b"[" * 100_000, None, "not JSON", "recursion"),
    broken("a mark of byte order before no JSON", b"\xef\xbb\xbf{,", None, "not JSON", "line 1, column 2"),
    broken("a mark of byte order before an error", b"\xef\xbb\xbf" + edited("active", 5), "$.active", "found 5"),
    broken("a number beyond all", b'{"active": 1e999}', "$.active", "out of range"),
    broken("a number below all", b'{"models": {"a": {"enabled": -1e999}}}', "$.models.a.enabled", "out of range"),
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
    wrong("an empty model id", f"{CONFIG}.modelId", "", "`str` of length >= 1", 'found ""'),
    wrong("an empty key", f"{CONFIG}.apiKey", "", "`str` of length >= 1"),
    wrong("an unknown wire", f"{CONFIG}.wire", "chatt", "one of: chat, responses; did you mean 'chat'?", '"chatt"'),
    wrong("a wire like no other", f"{CONFIG}.wire", "zzz", 'expected one of: chat, responses; found "zzz"'),
    wrong("one number for all deadlines", f"{CONFIG}.deadlines", 5, "`object`", "found 5"),
    wrong("a text for seconds", f"{CONFIG}.deadlines.stall", "5", "`float`", 'found "5"'),
    wrong("a truth value for a price", f"{INFO}.inputPrice", True, "found true"),
    wrong("a list for a price", f"{INFO}.inputPrice", [1], "`array`"),
    wrong("a word for a price", f"{INFO}.inputPrice", "two", "decimal", 'found "two"'),
    wrong("no token at all", f"{INFO}.maxTokens", 0, "`int` >= 1", "found 0"),
    wrong("a window without a token", f"{INFO}.contextWindow", 0, "`int` >= 1", "found 0"),
    wrong("a border below zero", f"{INFO}.tiers.1.aboveInputTokens", -1, "`int` >= 0", "found -1"),
    wrong("half a token", f"{INFO}.maxTokens", 1.5, "`int | null`", "found 1.5"),
    wrong("a month for a day", f"{INFO}.pricesAsOf", "May", "date", 'found "May"'),
    wrong("a year for a day", f"{INFO}.changes.1.from", 2028, "found 2028"),
    wrong("an unknown effort", f"{INFO}.efforts.1", "hihg", "one of: high, low, max", "did you mean 'high'?", '"hihg"'),
    wrong("an unknown trait", f"{INFO}.supportsForcedTools", "unless_budgt", "expected one of:", "an 'unless_budget'?"),
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
    wrong("an unknown provider", "models.mine.provider", "antropic", '"antropic", expected one of: anthropic; did you'),
    wrong("a known provider is near", "models.mine.provider", "antropic", "; did you mean 'anthropic'?"),
    wrong(
        "an alias that is not there", "active", "mien", 'alias "mien"', "one of: other, mine, sonnet", "mean 'mine'?"
    ),
    wrong("an alias like one of the catalogue", "active", "sonet", 'alias "sonet"', "did you mean 'sonnet'?"),
    wrong("an empty alias", "active", "", 'alias ""'),
    wrong("no time at all", f"{CONFIG}.deadlines.firstChunk", 0, "found 0", "expected a number of seconds above 0"),
    wrong("time runs backwards", f"{CONFIG}.deadlines.total", -1, "found -1", "expected a number of seconds above 0"),
]
TWICE_WRONG = [  # the decoder's first error is told, at its own place
    models("in the same way", "$.models.a.provider", "found 5", a=model(5), b=model(6)),
    models("in two ways", "$.models.a.providerConfig.wire", "found 7", a=model("anthropic", wire=7), b=model(5)),
    models("by one word and another", "$.models.a.providerConfig.wire", '"x"', a=model("", wire="x"), b=model(1, w=1)),
    models("not in the first", "$.models.b", "`providerConfig`", a=model("anthropic"), b={"provider": "anthropic"}),
    models("in meaning", "$.models.a.provider", 'unknown provider "x"', a=model("x"), b=model("y")),
    broken(
        "below", edited(f"{INFO}.variants", {"a": {}, "b": {"q": 1}, "c": {"q": 1}}), at(f"{INFO}.variants.b"), '"q"'
    ),
    broken(
        "by a price below zero",
        edited(f"{INFO}.variants", {"a": {}, "b": {"outputPrice": -1}, "c": {"inputPrice": -2}}),
        at(f"{INFO}.variants.b.outputPrice"),
        "found -1",
    ),
]


@pytest.mark.parametrize(("data", "path", "said"), [*NOT_JSON, *STRUCTURE, *MEANING, *TWICE_WRONG])
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


MISPLACED = ["models.mine.provider", f"{CONFIG}.wire", f"{CONFIG}.deadlines.stall", f"{INFO}.pricesAsOf"]


@pytest.mark.parametrize("where", [*MISPLACED, f"{INFO}.inputPrice", f"{INFO}.efforts.1", None])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("sk-1", False, id="the beginning of a key"),
        pytest.param("0123456789_abcdefghijk-L", False, id="24 characters of a word"),
        pytest.param("0123456789_abcdefghijk-", True, id="23 characters of a word"),
        pytest.param("0123456789 abcdefghijk L", True, id="24 characters of several words"),
    ],
)
def test_what_may_be_a_key_is_not_quoted(where: str | None, text: str, shown: bool) -> None:
    """A key that stands in the wrong place, or for a name, is not in the message; any other text is, JSON-style."""
    written(edited(where, text) if where else edited(text, 1))
    with pytest.raises(ConfigError) as caught:
        load_models()
    assert (f'"{text}"' in str(caught.value)) == (text in str(caught.value)) == shown
    assert ("a text that may be a key and is not shown" in str(caught.value)) != shown


def places(value: Any, where: str = "") -> list[str]:
    """Every place of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in (f"{where}{key}", *places(one, f"{where}{key}."))]


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether a JSON Schema of the few keywords that ours uses accepts a value."""
    assert set(schema) <= {
        *("$schema", "$ref", "$defs", "title", "description", "default", "type", "properties", "required"),
        *("additionalProperties", "anyOf", "enum", "items", "minimum", "minLength", "format"),
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
    if isinstance(value, str):
        return bool(len(value) >= schema.get("minLength", 0))
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


def test_a_mark_of_byte_order_is_no_matter() -> None:
    """What an editor on Windows puts before the text is not part of it."""
    plain = load_models(written(DOCUMENT))
    assert load_models(written(b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode())) == plain


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
