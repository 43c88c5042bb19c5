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
from rich.pretty import pretty_repr

from models_files import CONFIG, DOCUMENT, GONE, INFO, KEY, OTHER, at, edited, fits, written
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
    UsageChunk,
    calculate_cost,
    load_models,
    open_provider,
)
from penstock.config.catalog import catalog
from penstock.config.models_file import find_models_file, models_schema
from penstock.core.cost import prices_at
from penstock.core.models import PriceHours, Prices
from penstock.wire.vendors import DIALECTS


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


def settled(provider: str) -> dict[str, object]:
    return {**model(provider), "settings": {"room": 5}}


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
    missing("hours without their beginning", f"{INFO}.hours.0.from"),
    missing("hours without their end", f"{INFO}.hours.1.to"),
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
    wrong(
        "an unknown wire",
        f"{CONFIG}.wire",
        "chatt",
        "one of: chat, messages, responses; did you mean 'chat'?",
        '"chatt"',
    ),
    wrong("a wire like no other", f"{CONFIG}.wire", "zzz", 'expected one of: chat, messages, responses; found "zzz"'),
    wrong("one number for all deadlines", f"{CONFIG}.deadlines", 5, "`object`", "found 5"),
    wrong("a text for seconds", f"{CONFIG}.deadlines.stall", "5", "`float`", "without quotes", 'found "5"'),
    wrong("a truth value for a price", f"{INFO}.inputPrice", True, "found true"),
    wrong("a list for a price", f"{INFO}.inputPrice", [1], "`array`"),
    wrong("a word for a price", f"{INFO}.inputPrice", "two", "decimal", 'found "two"'),
    wrong("no token at all", f"{INFO}.maxTokens", 0, "`int` >= 1", "found 0"),
    wrong("a window without a token", f"{INFO}.contextWindow", 0, "`int` >= 1", "found 0"),
    wrong("a border below zero", f"{INFO}.tiers.1.aboveInputTokens", -1, "`int` >= 0", "found -1"),
    wrong("half a token", f"{INFO}.maxTokens", 1.5, "`int | null`", "found 1.5"),
    wrong("a month for a day", f"{INFO}.pricesAsOf", "May", "date", 'found "May"'),
    wrong("a year for a day", f"{INFO}.changes.1.from", 2028, "found 2028"),
    wrong("a number for a time of the day", f"{INFO}.hours.0.to", 4, "found 4"),
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
    unknown("an unknown key of hours", f"{INFO}.hours.0.form", "from"),
    unknown("a tier of hours", f"{INFO}.hours.0.tiers", None, "outputPrice"),
    unknown("an unknown key of a change", f"{INFO}.changes.1.form", "from"),
    unknown("an unknown key of a change's variant", f"{INFO}.changes.1.variants.fast.x", None, "tiers"),
    *(
        wrong(f"a negative price: {price}", f"{INFO}.{price}", -0.5, "found -0.5", "expected a price of 0 or more")
        for price in (
            "inputPrice",
            "cacheWritesExtendedPrice",
            "tiers.1.outputPrice",
            "hours.0.inputPrice",
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
    wrong("an alias that is not there", "active", "mien", 'alias "mien"', "mean 'mine'?; `penstock models --all`"),
    wrong("an alias like one of the catalogue", "active", "sonet", 'alias "sonet"', "did you mean 'sonnet'?"),
    wrong("an empty alias", "active", "", 'alias ""'),
    wrong("no time at all", f"{CONFIG}.deadlines.firstChunk", 0, "found 0", "expected a number of seconds above 0"),
    wrong("a word for a time of the day", f"{INFO}.hours.0.from", "noon", "RFC3339 encoded time", 'found "noon"'),
    wrong("time runs backwards", f"{CONFIG}.deadlines.total", -1, "found -1", "expected a number of seconds above 0"),
]
TWICE_WRONG = [  # the decoder's first error is told, at its own place
    models("in the same way", "$.models.a.provider", "found 5", a=model(5), b=model(6)),
    models("in two ways", "$.models.a.providerConfig.wire", "found 7", a=model("anthropic", wire=7), b=model(5)),
    models("by one word and another", "$.models.a.providerConfig.wire", '"x"', a=model("", wire="x"), b=model(1, w=1)),
    models("not in the first", "$.models.b", "`providerConfig`", a=model("anthropic"), b={"provider": "anthropic"}),
    models("in meaning", "$.models.a.settings", "demo takes none", a=settled("demo"), b=settled("openai")),
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
        load_models(file)
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
        open_provider()
    assert (f'"{text}"' in str(caught.value)) == (text in str(caught.value)) == shown
    assert ("a text that may be a key and is not shown" in str(caught.value)) != shown


def places(value: Any, where: str = "") -> list[str]:
    """Every place of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in (f"{where}{key}", *places(one, f"{where}{key}."))]


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
    schema, file = models_schema(), Path("models.json")
    for where in places(DOCUMENT):
        file.write_bytes(data := edited(where, value))
        error: ConfigError | None = None
        try:
            load_models(file)
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
        hours=[
            PriceHours(from_time=dt.time(1), to_time=dt.time(4), input_price=Decimal(5)),
            PriceHours(from_time=dt.time(23, 30), to_time=dt.time(0, 30)),
        ],
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
        supports_sampling="unless_reasoning",
        supports_forced_tools="unless_budget",
        supports_cache_options=True,
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
    """What a log line, a traceback or `rich` shows of a config has neither the key nor the values of the headers."""
    assert KEY not in repr(config) + str(config) + f"{config!r:>9}" + pretty_repr(config)
    assert "'***'" in repr(config)
    assert "x-key" in repr(config)


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
    path = find_models_file()
    assert path is not None
    assert path.samefile(tmp_path / found)
    assert load_models().source == path
    assert load_models(tmp_path / there[0]).source == tmp_path / there[0], "an argument wins over both"


def test_the_search_may_start_elsewhere(tmp_path: Path) -> None:
    """`find_models_file` looks upwards from where it is told to."""
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/models.json").touch()
    assert find_models_file(tmp_path / "x/y") == (tmp_path / "x/models.json").resolve()


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


def test_what_is_no_path_is_refused() -> None:
    """As a mapping in place of a ModelsConfig."""
    with pytest.raises(ConfigError, match=r"^the models are of type dict, expected a path or a ModelsConfig$"):
        load_models({"active": "x"})  # type: ignore[arg-type]


def test_without_a_file_there_is_the_catalogue() -> None:
    """Where no file is found the packaged default is used."""
    assert find_models_file() is None
    assert load_models() == catalog()
    assert catalog().source is None


def known(alias: str, limits: str, prices: str, above: str = "", variants: str = "") -> Any:
    """A row of prices.md, which was compiled from two sources on 2026-11-21.

    limits: most output tokens, window. prices: input, output, cache reads; above: those of a long prompt.
    variants: input and output of each.
    """
    return pytest.param(alias, limits, prices, above, variants, id=alias)


LONG = {"openai": 272_000, "xai": 199_999, "google": 200_000}
OPENAI = [
    known("gpt-6-astra", "128000 1050000", "10 50 1", "20 75 2", "flex 5/25; priority 20/100; batch 5/25"),
    known("gpt-6.1-sol", "128000 1050000", "2 10 0.1", "4 15 0.2", "flex 1/5; priority 4/20; batch 1/5"),
    known("gpt-6.1-terra", "128000 1050000", "1 5 0.05", "2 7.5 0.1", "flex 0.5/2.5; priority 2/10; batch 0.5/2.5"),
    known("gpt-6-sol", "128000 1050000", "2 10 0.2", "4 15 0.4", "flex 1/5; priority 4/20; batch 1/5"),
    known(
        "gpt-6-luna",
        "128000 1050000",
        "0.1 0.5 0.01",
        "0.2 0.75 0.02",
        "flex 0.05/0.25; priority 0.2/1; batch 0.05/0.25",
    ),
    known("gpt-6-rosalind", "128000 1050000", "15 75 1.5", "30 112.5 3"),
    known("gpt-5.6-sol", "128000 1050000", "4 20 0.4", "8 30 0.8", "flex 2/10; priority 8/40; batch 2/10"),
    known("gpt-5.6-terra", "128000 1050000", "2 12 0.2", "4 18 0.4", "flex 1/6; priority 4/24; batch 1/6"),
    known(
        "gpt-5.6-luna",
        "128000 1050000",
        "0.2 1.2 0.02",
        "0.4 1.8 0.04",
        "flex 0.1/0.6; priority 0.4/2.4; batch 0.1/0.6",
    ),
    known("gpt-5.5", "128000 1050000", "5 30 0.5", "10 45 1", "flex 2.5/15; priority 12.5/75; batch 2.5/15"),
    known("gpt-5.5-pro", "128000 1050000", "30 180 -", "60 270 -", "flex 15/90; batch 15/90"),
    known("gpt-5.4", "128000 1050000", "2.5 15 0.25", "5 22.5 0.5", "flex 1.25/7.5; priority 5/30; batch 1.25/7.5"),
    known("gpt-5.4-pro", "128000 1050000", "30 180 -", "60 270 -", "flex 15/90; batch 15/90"),
    known("gpt-5.4-mini", "128000 400000", "0.75 4.5 0.075", "", "flex 0.375/2.25; priority 1.5/9; batch 0.375/2.25"),
    known("gpt-5.4-nano", "128000 400000", "0.2 1.25 0.02", "", "flex 0.1/0.625; batch 0.1/0.625"),
    known("gpt-5.3-codex", "128000 400000", "1.75 14 0.175", "", "priority 3.5/28"),
    known("gpt-5.2", "128000 400000", "1.75 14 0.175", "", "flex 0.875/7; priority 3.5/28; batch 0.875/7"),
    known("gpt-5.2-pro", "128000 400000", "21 168 -", "", "batch 10.5/84"),
    known("gpt-5.1", "128000 400000", "1.25 10 0.125", "", "flex 0.625/5; priority 2.5/20; batch 0.625/5"),
    known("gpt-5", "128000 400000", "1.25 10 0.125", "", "flex 0.625/5; priority 2.5/20; batch 0.625/5"),
    known("gpt-5-mini", "128000 400000", "0.25 2 0.025", "", "flex 0.125/1; priority 0.45/3.6; batch 0.125/1"),
    known("gpt-5-nano", "128000 400000", "0.05 0.4 0.005", "", "flex 0.025/0.2; batch 0.025/0.2"),
    known("gpt-5-pro", "272000 400000", "15 120 -", "", "batch 7.5/60"),
    known("gpt-4.1", "32768 1047576", "2 8 0.5", "", "priority 3.5/14; batch 1/4"),
    known("gpt-4.1-mini", "32768 1047576", "0.4 1.6 0.1", "", "priority 0.7/2.8; batch 0.2/0.8"),
    known("gpt-4o", "16384 128000", "2.5 10 1.25", "", "priority 4.25/17; batch 1.25/5"),
    known("gpt-4o-2024-05-13", "4096 128000", "5 15 -", "", "priority 8.75/26.25; batch 2.5/7.5"),
    known("gpt-4o-mini", "16384 128000", "0.15 0.6 0.075", "", "priority 0.25/1; batch 0.075/0.3"),
    known("o3", "100000 200000", "2 8 0.5", "", "flex 1/4; priority 3.5/14; batch 1/4"),
    known("o3-pro", "100000 200000", "20 80 -", "", "batch 10/40"),
]
DEEPSEEK = [  # off the peak
    known("deepseek-flash", "393216 1000000", "0.15 0.6 0.003"),
    known("deepseek-v4-flash", "393216 1000000", "0.15 0.6 0.003"),
    known("deepseek-v4-flash-vision-exp", "393216 1000000", "0.15 0.6 0.003"),
    known("deepseek-v4-pro", "393216 1000000", "0.66 1.98 0.022"),
]
XAI = [
    known("grok-4.7", "500000 500000", "2 6 0.5", "4 12 1"),
    known("grok-4.6", "500000 500000", "2 6 0.5", "4 12 1"),
    known("grok-4.5", "500000 500000", "2 6 0.3", "4 12 0.6"),
    known("grok-4.3", "1000000 1000000", "1.25 2.5 0.2", "2.5 5 0.4", "batch 1/2"),
    known("grok-4.20", "1000000 1000000", "1.25 2.5 0.2", "2.5 5 0.4", "batch 1/2"),
    known("grok-4.20-multi-agent-0309", "1000000 1000000", "1.25 2.5 0.2", "2.5 5 0.4", "batch 1/2"),
    known("grok-build-0.1", "256000 256000", "1 2 0.2", "2 4 0.4"),
]
GOOGLE = [
    known("gemini-4-argon", "- 1048576", "2 10 0.1", "", "batch 1/5"),
    known("gemini-3.8-flash", "65536 1048576", "0.75 3.75 0.075", "", "batch 0.375/1.875"),
    known("gemini-3.7-flash", "65536 1048576", "0.75 3.75 0.075"),
    known("gemini-3.6-flash", "65536 1048576", "0.75 3.75 0.075", "", "batch 0.375/1.875"),
    known("gemini-3.5-flash", "65536 1048576", "1.5 9 0.15"),
    known("gemini-3.5-flash-lite", "65536 1048576", "0.3 2.5 0.03", "", "batch 0.15/1.25"),
    known("gemini-3.1-pro-preview", "65536 1048576", "2 12 0.2", "4 18 0.4", "batch 1/6"),
    known("gemini-3.1-flash-lite", "65536 1048576", "0.25 1.5 0.025", "", "batch 0.125/0.75"),
    known("gemini-3-flash-preview", "65536 1048576", "0.5 3 0.05", "", "batch 0.25/1.5"),
    known("gemini-2.5-pro", "65536 1048576", "1.25 10 0.125", "2.5 15 0.25", "batch 0.625/5"),
    known("gemini-2.5-flash", "65536 1048576", "0.3 2.5 0.03", "", "batch 0.15/1.25"),
    known("gemini-2.5-flash-lite", "65536 1048576", "0.1 0.4 0.01", "", "batch 0.05/0.2"),
]
VENDORS = {"openai": OPENAI, "deepseek": DEEPSEEK, "xai": XAI, "google": GOOGLE}
SHORT = [
    pytest.param("gpt", "openai", "gpt-6.1-sol", True, id="gpt"),
    pytest.param("gpt-mini", "openai", "gpt-6-luna", True, id="gpt-mini"),
    pytest.param("openai", "openai", "gpt-6.1-sol", True, id="openai"),
    pytest.param("deepseek", "deepseek", "deepseek-flash", True, id="deepseek"),
    pytest.param("grok", "xai", "grok-4.7", True, id="grok"),
    pytest.param("xai", "xai", "grok-4.7", True, id="xai"),
    pytest.param("gemini", "google", "gemini-3.8-flash", True, id="gemini"),
    pytest.param("google", "google", "gemini-3.8-flash", True, id="google"),
    pytest.param("mistral", "mistral", "mistral-large-latest", False, id="mistral"),
    pytest.param("openrouter", "openrouter", "openai/gpt-oss-120b", False, id="openrouter"),
    pytest.param("moonshot", "moonshot", "kimi-k3.1-pro", True, id="moonshot"),
    pytest.param("kimi", "moonshot", "kimi-k3.1-pro", True, id="kimi"),
    pytest.param("zai", "zai", "glm-5.3", True, id="zai"),
    pytest.param("glm", "zai", "glm-5.3", True, id="glm"),
    pytest.param("alibaba", "alibaba", "qwen3.8-max", True, id="alibaba"),
    pytest.param("qwen", "alibaba", "qwen3.8-max", True, id="qwen"),
    pytest.param("minimax", "minimax", "MiniMax-M3", True, id="minimax"),
    pytest.param("xiaomi", "xiaomi", "mimo-v2.6-pro", False, id="xiaomi"),
    pytest.param("mimo", "xiaomi", "mimo-v2.6-pro", False, id="mimo"),
    pytest.param("sambanova", "sambanova", "gpt-oss-120b", False, id="sambanova"),
    *(
        pytest.param(name, name, "openai/gpt-oss-120b", False, id=name)
        for name in ("nvidia", "deepinfra", "nebius", "huggingface")
    ),
    pytest.param("github-models", "github-models", "openai/gpt-4.1", False, id="github-models"),
    pytest.param("ollama", "ollama", "gpt-oss:20b", False, id="ollama"),
    pytest.param("llamacpp", "llamacpp", "default", False, id="llamacpp"),
    pytest.param("lmstudio", "lmstudio", "default", False, id="lmstudio"),
]


ROWS = [row for rows in VENDORS.values() for row in rows]


def named(rows: list[Any]) -> list[str]:
    return [row.values[0] for row in rows]


def packaged(alias: str) -> ModelInfo:
    info = catalog().models[alias].provider_config.model_info
    assert info is not None
    return info


def numbers(text: str, between: str | None = None) -> list[Decimal | None]:
    """The numbers of a cell; a dash is one that is not known."""
    return [None if word == "-" else Decimal(word) for word in text.split(between)]


def paid(prices: Prices) -> list[Decimal | None]:
    return [prices.input_price, prices.output_price, prices.cache_reads_price]


@pytest.mark.parametrize(("alias", "limits", "prices", "above", "variants"), ROWS)
def test_the_catalogue_has_what_was_read(alias: str, limits: str, prices: str, above: str, variants: str) -> None:
    """Each model has the limits and prices of its row, those of long prompts and variants too, and no others."""
    entry, info = catalog().models[alias], packaged(alias)
    assert (entry.provider_config.model_id, info.prices_as_of) == (alias, dt.date(2026, 11, 21))
    assert [info.max_tokens, info.context_window] == numbers(limits)
    assert paid(info) == numbers(prices)
    tiers = [(tier.above_input_tokens, paid(tier)) for tier in info.tiers or ()]
    assert tiers == ([(LONG[entry.provider], numbers(above))] if above else [])
    special = dict(cell.split() for cell in variants.split("; ") if cell)
    assert {name: paid(sheet)[:2] for name, sheet in info.variants.items()} == {
        name: numbers(cell, "/") for name, cell in special.items()
    }


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_model_of_the_catalogue_was_read(vendor: str) -> None:
    """None stands in the catalogue that has no row."""
    there = [alias for alias, entry in catalog().models.items() if entry.provider == vendor]
    assert [alias for alias in there if alias not in named(SHORT)] == named(VENDORS[vendor])


@pytest.mark.parametrize(("alias", "provider", "model_id", "is_known"), SHORT)
def test_a_short_alias_leads_to_a_model(alias: str, provider: str, model_id: str, is_known: bool) -> None:
    """A vendor's name, or a family's, leads to one model with what is known of it; the key is the environment's."""
    config = ProviderConfig(model_id=model_id, model_info=packaged(model_id) if is_known else None)
    assert catalog().models[alias] == ModelEntry(provider=provider, provider_config=config)


@pytest.mark.parametrize("alias", named(ROWS))
def test_only_new_models_of_openai_bill_what_they_write_to_the_cache(alias: str) -> None:
    """From gpt-5.6 on: 1.25 times the input, for twelve hours 2.5 times, whatever the tier and the variant."""
    info = packaged(alias)
    billed = alias.startswith(("gpt-5.6-", "gpt-6"))
    sheets: list[PriceSheet] = [info, *info.variants.values(), *info.changes]
    for prices in (*sheets, *(tier for sheet in sheets for tier in sheet.tiers or ()), *info.hours):
        assert prices.input_price is not None
        written = [prices.cache_writes_price, prices.cache_writes_extended_price]
        assert written == ([prices.input_price * 5 / 4, prices.input_price * 5 / 2] if billed else [None, None])
    assert info.supports_cache_options is (billed if catalog().models[alias].provider == "openai" else None)


@pytest.mark.parametrize("alias", named(OPENAI))
def test_what_openai_bills_for_searches_and_regions(alias: str) -> None:
    """A search costs the same at all models but gpt-4.1 and gpt-4o, of which no price was read; where data stays in a
    region, models since gpt-5.4 cost a tenth more.
    """
    info = packaged(alias)
    searches = None if alias.startswith(("gpt-4.1", "gpt-4o")) else Decimal(10)
    assert {sheet.web_search_price for sheet in (info, *info.variants.values(), *(info.tiers or ()))} == {searches}
    factor = Decimal("1.1") if alias.startswith(("gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6")) else Decimal(1)
    assert info.input_price is not None
    for host, times in (("api.openai.com", Decimal(1)), ("eu.api.openai.com", factor), ("proxy.test", Decimal(1))):
        here = prices_at(info, DIALECTS["openai"], f"https://{host}/v1")
        assert (here.input_price, here.web_search_price) == (info.input_price * times, searches), host


def test_every_claude_says_how_much_it_can_write() -> None:
    """So that no answer is cut at what some other model can."""
    infos = [entry.provider_config.model_info for entry in catalog().models.values() if entry.provider == "anthropic"]
    assert [info.max_tokens for info in infos if info is not None and info.input_price is not None].count(None) == 0
    newest = {packaged(f"claude-{name}").max_tokens for name in ("fable-5-2", "opus-5-5", "sonnet-5-5", "haiku-5-5")}
    assert newest == {128_000}


def bill(name: str, alias: str, on: str, counts: tuple[int, int, int, int, int], dollars: str | None) -> Any:
    """alias: a variant after a colon. on: day or UTC time. counts: input, output, write, extended of these, read."""
    return pytest.param(*alias.partition(":")[::2], on, counts, dollars, id=name)


DAY = "2026-11-21"
BILLS = [
    bill("a write", "gpt-6-astra", DAY, (0, 0, 1000, 0, 0), "0.0125"),
    bill("a write for twelve hours", "gpt-6-astra", DAY, (0, 0, 1000, 1000, 0), "0.025"),
    bill("the same in a long prompt", "gpt-6-astra", DAY, (271_001, 0, 1000, 1000, 0), "5.47002"),
    bill("the same with priority", "gpt-6.1-sol:priority", DAY, (271_001, 0, 1000, 1000, 0), "2.188008"),
    bill("OpenAI's border", "gpt-6-astra", DAY, (272_000, 0, 0, 0, 0), "2.72"),
    bill("a variant that OpenAI reports as priority", "gpt-6-astra:fast", DAY, (1, 0, 0, 0, 0), None),
    bill("a write to what does not bill it", "gpt-5.5", DAY, (0, 0, 1, 0, 0), None),
    bill("a read that has no price", "gpt-5.4-pro", DAY, (0, 0, 0, 0, 1), None),
    bill("priority at the border", "gpt-5.5:priority", DAY, (272_000, 0, 0, 0, 0), "3.4"),
    bill("priority has no price for a long prompt", "gpt-5.5:priority", DAY, (272_001, 0, 0, 0, 0), None),
    bill("neither has gpt-5.4's", "gpt-5.4:priority", DAY, (272_001, 0, 0, 0, 0), None),
    bill("nor has a batch of the pro", "gpt-5.5-pro:batch", DAY, (272_001, 0, 0, 0, 0), None),
    bill("flex has one", "gpt-5.5:flex", DAY, (272_001, 0, 0, 0, 0), "1.360005"),
    bill("a rounded half", "gpt-5.4:flex", DAY, (0, 0, 0, 0, 100_000), "0.013"),
    bill("a half in a long prompt", "gpt-5.4:flex", DAY, (200_000, 0, 0, 0, 100_000), "0.525"),
    bill("a read of a batch is not halved", "gpt-4o:batch", DAY, (0, 0, 0, 0, 100_000), "0.125"),
    bill("priority is not always double", "gpt-5-mini:priority", DAY, (0, 0, 0, 0, 100_000), "0.0045"),
    bill("before the first peak", "deepseek-flash", "2026-11-20T00:59:59", (10**5, 10**5, 0, 0, 10**5), "0.0753"),
    bill("the first peak begins", "deepseek-flash", "2026-11-20T01:00:00", (10**5, 10**5, 0, 0, 10**5), "0.1506"),
    bill("the first peak ends", "deepseek-v4-flash", "2026-11-20T04:00:00", (10**5, 10**5, 0, 0, 10**5), "0.0753"),
    bill("the second peak begins", "deepseek-v4-pro", "2026-11-20T06:00:00", (10**5, 10**5, 0, 0, 10**5), "0.5324"),
    bill("the second peak's end", "deepseek-v4-pro", "2026-11-20T09:59:59", (10**5, 10**5, 0, 0, 10**5), "0.5324"),
    bill("after both peaks", "deepseek-v4-pro", "2026-11-20T10:00:00", (10**5, 10**5, 0, 0, 10**5), "0.2662"),
    bill("xAI's border", "grok-4.7", DAY, (199_999, 0, 0, 0, 0), "0.399998"),
    bill("xAI's border counts as long", "grok-4.7", DAY, (200_000, 0, 0, 0, 0), "0.8"),
    bill("a long batch", "grok-4.3:batch", DAY, (200_000, 0, 0, 0, 100_000), "0.432"),
    bill("Google's border", "gemini-2.5-pro", DAY, (200_000, 0, 0, 0, 0), "0.25"),
    bill("above Google's border", "gemini-2.5-pro", DAY, (200_001, 0, 0, 0, 0), "0.5000025"),
    bill("a long batch reads at the full price", "gemini-2.5-pro:batch", DAY, (200_000, 0, 0, 0, 10**5), "0.275"),
    bill("a batch reads at two thirds", "gemini-3.5-flash-lite:batch", DAY, (0, 0, 0, 0, 10**5), "0.002"),
    bill("argon's last day", "gemini-4-argon", "2026-11-30", (10**5, 10**5, 0, 0, 10**5), "1.21"),
    bill("argon doubles", "gemini-4-argon", "2026-12-01", (10**5, 10**5, 0, 0, 10**5), "2.42"),
    bill("argon's batch too", "gemini-4-argon:batch", "2026-12-01", (10**5, 10**5, 0, 0, 10**5), "1.21"),
    bill("flash's last day", "gemini-3.8-flash", "2026-12-31", (10**5, 10**5, 0, 0, 10**5), "0.4575"),
    bill("flash doubles", "gemini-3.8-flash", "2027-01-01", (10**5, 10**5, 0, 0, 10**5), "0.915"),
    bill("flash's batch too", "gemini-3.8-flash:batch", "2027-01-01", (10**5, 10**5, 0, 0, 10**5), "0.4575"),
    bill("3.7 as well", "gemini-3.7-flash", "2027-01-01", (10**5, 10**5, 0, 0, 10**5), "0.915"),
    bill("and 3.6", "gemini-3.6-flash", "2027-01-01", (10**5, 10**5, 0, 0, 10**5), "0.915"),
    bill("but not 3.5", "gemini-3.5-flash", "2027-01-01", (10**5, 10**5, 0, 0, 10**5), "1.065"),
]


@pytest.mark.parametrize(("alias", "variant", "on", "counts", "dollars"), BILLS)
def test_the_catalogue_bills_what_was_worked_out(
    alias: str, variant: str, on: str, counts: tuple[int, int, int, int, int], dollars: str | None
) -> None:
    """The sums that follow from prices.md and its sources: borders, hours, changes, and what nobody has published."""
    fresh, output, write, extended, read = counts
    usage = UsageChunk(
        input_tokens=fresh,
        output_tokens=output,
        cache_write_tokens=write,
        cache_write_extended_tokens=extended,
        cache_read_tokens=read,
    )
    moment = dt.datetime.fromisoformat(on).replace(tzinfo=dt.UTC)
    cost = calculate_cost(usage, packaged(alias), variant=variant or None, on=moment)
    assert cost == (None if dollars is None else Decimal(dollars))


ALWAYS, BY_DEFAULT = ["adaptive"], ["adaptive", "off"]
EFFORTS = ["low", "medium", "high", "xhigh", "max"]
TRAITS = [  # reasoning, its efforts, sampling, forced tools
    pytest.param("gpt-6-astra gpt-6.1-sol gpt-6-rosalind", ALWAYS, EFFORTS, False, None, id="always on, to the max"),
    pytest.param(
        "gpt-6.1-terra gpt-6-sol gpt-6-luna gpt-5.6-sol gpt-5.6-terra gpt-5.6-luna",
        *(BY_DEFAULT, EFFORTS, "unless_reasoning", None),
        id="on and off, to the max",
    ),
    pytest.param(
        "gpt-5.5 gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.3-codex gpt-5.2 gpt-5.1",
        *(BY_DEFAULT, EFFORTS[:4], "unless_reasoning", None),
        id="on and off",
    ),
    pytest.param("gpt-5.5-pro gpt-5.4-pro gpt-5.2-pro", ALWAYS, EFFORTS[1:4], False, None, id="no low effort"),
    pytest.param("gpt-5-pro", ALWAYS, ["high"], False, None, id="high only"),
    pytest.param("gpt-5 gpt-5-mini gpt-5-nano", ALWAYS, ["minimal", *EFFORTS[:3]], False, None, id="minimal is a word"),
    pytest.param("o3 o3-pro", ALWAYS, EFFORTS[:3], False, None, id="three efforts"),
    pytest.param("gpt-4.1 gpt-4.1-mini gpt-4o gpt-4o-2024-05-13 gpt-4o-mini", [], [], True, None, id="no reasoning"),
    pytest.param(
        "deepseek-flash deepseek-v4-flash deepseek-v4-flash-vision-exp deepseek-v4-pro",
        *(BY_DEFAULT, ["minimal", *EFFORTS], None, "unless_reasoning"),
        id="all efforts, and tools are forced without",
    ),
    pytest.param(" ".join(named([*XAI, *GOOGLE])), None, None, None, None, id="not known"),
]


@pytest.mark.parametrize(("aliases", "modes", "efforts", "sampling", "forced"), TRAITS)
def test_the_catalogue_has_the_traits_that_were_read(
    aliases: str, modes: list[str] | None, efforts: list[str] | None, sampling: object, forced: object
) -> None:
    """What each model takes; None where nobody has said it."""
    for info in map(packaged, aliases.split()):
        assert (info.reasoning_modes, info.efforts) == (modes, efforts)
        assert (info.supports_sampling, info.supports_forced_tools, info.supports_prefill) == (sampling, forced, None)


def test_the_traits_of_every_model_were_read() -> None:
    """No model lacks a row; all but one take images; what the caches of some take at least is known."""
    all_of_them = " ".join(named(TRAITS)).split()
    assert sorted(all_of_them) == sorted(named(ROWS))
    assert [alias for alias in all_of_them if not packaged(alias).supports_images] == ["deepseek-v4-pro"]
    least = {alias: packaged(alias).min_cache_tokens for alias in all_of_them if packaged(alias).min_cache_tokens}
    assert least == {
        **dict.fromkeys((f"gemini-{name}-flash" for name in ("3.5", "3.6", "3.7", "3.8")), 4096),
        "gemini-4-argon": 4096,
        "gemini-3.1-pro-preview": 4096,
        "gemini-2.5-pro": 2048,
    }
