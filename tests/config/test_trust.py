"""Trust: what a models.json may say that was only found, and that nothing is sent for one that says more."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import ConfigError, ModelEntry, ProviderConfig, load_models, open_provider, save_models
from penstock.config.entries import ModelsFile, OptionsTable
from penstock.config.models_file import find_models_file, read_models_file
from penstock.config.open import resolve
from penstock.config.trust import FREE, JUDGED, trust, wanted
from penstock.config.trust_store import forget, store_path, trusted_files

SECRET = "sk-secret-0123456789"
HOSTILE = "http://evil.example"

# What needs trust, and why. A new field of models.json belongs here or among FREE, and fails the test until it does.
ASKED: dict[type, dict[str, str]] = {
    ModelsFile: {
        "ledger": "a file that is written",
        "budgets": "dollars are the owner's to raise",
        "store": "a host, with a password",
    },
    ModelEntry: {
        "dialect": "an address and a variable of its own",
        "settings": "whatever they are to code that is not ours: a host, a path, a program",
    },
    OptionsTable: {
        "tools": "they run at the vendor, and may name hosts and hold keys",
        "extra": "raw fields may be anything",
        "user": "whom the vendor holds to account",
    },
    ProviderConfig: {
        "wire": "not on the list of design.md part 3: it changes what is sent",
        "headers": "they may hold a key, or choose an account",
        "platform": "it names a host, and asks with the identity of whoever runs this",
        "max_arguments": "a bound that protects the owner's memory is the owner's to raise",
    },
}


def of(provider: str = "anthropic", **config: Any) -> dict[str, Any]:
    """A file with one entry; `entry` holds what stands beside its providerConfig."""
    entry = config.pop("entry", {})
    models = {"a": {"provider": provider, "providerConfig": {"modelId": "m", **config}, **entry}}
    return {"active": "a", "models": models}


def found(document: object) -> Path:
    """A file in the working directory that nobody has named or trusted."""
    file = Path.cwd() / "models.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return file


def structs(kind: object) -> Iterator[type]:
    """All structs that a decoder of *kind* may make."""
    seen: set[type] = set()
    waiting = [kind]
    while waiting:
        now = waiting.pop()
        if isinstance(now, msgspec.inspect.StructType) and now.cls not in seen:
            seen.add(now.cls)
            yield now.cls
        elif isinstance(now, msgspec.inspect.StructType):
            continue
        if isinstance(now, msgspec.inspect.Type):
            for name in ("fields", "types", "item_type", "item_types", "key_type", "value_type"):
                inner = getattr(now, name, ())
                waiting += [getattr(one, "type", one) for one in (inner if isinstance(inner, tuple) else (inner,))]


def test_every_field_is_classified() -> None:
    """A field of models.json is free, judged by its value, or asks for trust: somebody has thought about it."""
    kinds = set(structs(msgspec.inspect.type_info(ModelsFile)))
    inside_asked = {
        kind for kind in kinds if kind.__name__ in ("Batches", "BudgetTable", "Dialect", "Platform", "StoreTable")
    }
    assert len(kinds) > 10
    for kind in kinds - inside_asked:
        classified = [*FREE.get(kind, ()), *JUDGED.get(kind, ()), *ASKED.get(kind, ())]
        assert sorted(classified) == sorted(field.name for field in msgspec.structs.fields(kind)), kind


def test_a_field_that_nobody_has_classified_needs_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deny by default: without its row, even a deadline does."""
    plain = msgspec.json.decode(json.dumps(of(deadlines={"connect": 5})), type=ModelsFile)
    assert wanted(plain) == {}
    monkeypatch.setitem(FREE, ProviderConfig, FREE[ProviderConfig] - {"deadlines"})
    assert list(wanted(plain)) == ["$.models.a.providerConfig.deadlines"]


FREE_FILES = {
    "a model": of(),
    "the variable of the provider": of(apiKey="${ANTHROPIC_API_KEY}"),
    "the second variable of a provider": of("google", apiKey="${GOOGLE_API_KEY}"),
    "the provider's own address": of(baseUrl="https://api.anthropic.com"),
    "its own address, written otherwise": of(baseUrl="https://API.anthropic.com:443/"),
    "its own address with a slash": of("openai", baseUrl="https://api.openai.com/v1/"),
    "a server on this machine": of("ollama"),
    "another port of this machine": of("openai-compatible", baseUrl="http://127.0.0.1:9000/v1"),
    "this machine in IPv6": of("vllm", baseUrl="http://[::1]:8000/v1"),
    "prices and limits": of(modelInfo={"inputPrice": 1, "maxTokens": 5, "tiers": [{"aboveInputTokens": 9}]}),
    "deadlines": of(deadlines={"connect": 1, "total": 9}),
    "middleware": of(entry={"retry": {"attempts": 2}, "circuitBreaker": {}, "concurrency": 3, "enabled": True}),
    "plain options": of(entry={"options": {"maxTokens": 9, "temperature": 0, "reasoning": "low", "lenient": True}}),
    "a fallback": of(entry={"fallback": ["haiku"], "rateLimit": {"requestsPerMinute": 6}}),
    "a schema for editors": {"$schema": "https://evil.example/schema.json", **of()},
}


@pytest.mark.parametrize("document", FREE_FILES.values(), ids=FREE_FILES)
def test_what_any_file_may_say(document: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names models and limits, and sends a key only where it belongs."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    file = found(document)
    assert wanted(read_models_file(file)) == {}
    assert open_provider().get_model().id == "m"
    assert not store_path().exists()


URL, KEY, HEADERS = (f"$.models.a.providerConfig.{name}" for name in ("baseUrl", "apiKey", "headers"))
ASKING: dict[str, tuple[object, list[str]]] = {
    "another host": (of(baseUrl=HOSTILE), [URL]),
    "another host behind the own one": (of(baseUrl="https://api.anthropic.com@evil.example"), [URL]),
    "a host that begins like the own one": (of(baseUrl="https://api.anthropic.com.evil.example"), [URL]),
    "the own host in clear text": (of(baseUrl="http://api.anthropic.com"), [URL]),
    "another port of the own host": (of(baseUrl="https://api.anthropic.com:8443"), [URL]),
    "a user at the own host": (of(baseUrl="https://me@api.anthropic.com"), [URL]),
    "letters that look alike": (of(baseUrl="https://аpi.anthropic.com"), [URL]),  # a Cyrillic a
    "beside its own path": (of("openrouter", baseUrl="https://openrouter.ai/evil"), [URL]),
    "a path that leads back": (of("openrouter", baseUrl="https://openrouter.ai/api/v1/%2e%2e/evil"), [URL]),
    "this machine with a key": (of(baseUrl="http://localhost:9000"), [URL]),
    "this machine with another key": (
        of("ollama", apiKey="${OPENAI_API_KEY}"),
        [KEY],
    ),
    "a name that begins like this machine": (of("ollama", baseUrl="http://localhost.evil.example/v1"), [URL]),
    "this machine with the variable of a local server": (
        of("vllm", baseUrl="http://localhost:9/v1", apiKey="${VLLM_API_KEY}"),
        [URL],
    ),
    "below its own path": (of("openrouter", baseUrl="https://openrouter.ai/api/v1/evil"), [URL]),
    "a name that no client can read": (of(baseUrl="http://-xn--a/"), [URL]),
    "a number that hides a host": (of("ollama", baseUrl="http://0x7f.1/v1"), [URL]),
    "a local provider elsewhere": (of("ollama", baseUrl=f"{HOSTILE}/v1"), [URL]),
    "a provider without an address": (of("openai-compatible", baseUrl=f"{HOSTILE}/v1"), [URL]),
    "somebody's resource": (of("azure", baseUrl="https://evil.openai.azure.com/openai/v1"), [URL]),
    "a cloud, at somebody's resource": (
        of(platform={"name": "foundry", "resource": "evil"}),
        ["$.models.a.providerConfig.platform"],
    ),
    "any variable": (of(apiKey="${AWS_SECRET_ACCESS_KEY}"), [KEY]),
    "another provider's variable": (of("openai", apiKey="${ANTHROPIC_API_KEY}"), [KEY]),
    "more than its variable": (of(apiKey="x${ANTHROPIC_API_KEY}"), [KEY]),
    "a literal key": (of(apiKey=SECRET), [KEY]),
    "an entry of the keyring": (of(apiKey="keyring:bank/me"), [KEY]),
    "a program that prints a key": (of(apiKey="command: touch was-run"), [KEY]),
    "headers": (of(headers={"x-api-key": SECRET}), [HEADERS]),
    "a wire": (of("openai", wire="chat"), ["$.models.a.providerConfig.wire"]),
    "a dialect of its own": (
        of("openai-compatible", baseUrl="http://127.0.0.1:1/v1", entry={"dialect": {"baseUrl": HOSTILE}}),
        ["$.models.a.dialect"],
    ),
    "another entry than the active one": (
        {"active": "sonnet", "models": of(baseUrl=HOSTILE)["models"]},
        [URL],
    ),
    "an alias of two lines": (
        {"active": "sonnet", "models": {"a": of()["models"]["a"], "x\ny": of(baseUrl=HOSTILE)["models"]["a"]}},
        ['$.models."x\\ny".providerConfig.baseUrl'],
    ),
    "tools of the vendor's": (
        of(entry={"options": {"tools": [{"type": "mcp", "server_url": HOSTILE, "authorization": SECRET}]}}),
        ["$.models.a.options.tools"],
    ),
    "raw fields": (of(entry={"options": {"extra": {"token": SECRET}}}), ["$.models.a.options.extra"]),
    "somebody's name": (of(entry={"options": {"user": "me"}}), ["$.models.a.options.user"]),
    "a disabled entry": (of(baseUrl=HOSTILE, entry={"enabled": False}), [URL]),
}


@pytest.mark.parametrize(("document", "places"), ASKING.values(), ids=ASKING)
def test_what_a_found_file_may_not_say(document: object, places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the file is opened, the message says what it asks for and what to do, and no key is in it."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("VLLM_API_KEY", SECRET)
    file = found(document)
    assert list(wanted(read_models_file(file))) == places
    for alias, models in ((None, None), ("sonnet", None), (None, load_models())):
        with pytest.raises(ConfigError) as caught:
            open_provider(alias, models=models)
        said = str(caught.value)
        assert said.startswith(f"{file}: this file was found and not named, and it asks for:\n  {places[0]}: ")
        assert all(place in said for place in places)
        assert f"`penstock trust {file}`" in said
        assert "PENSTOCK_MODELS" in said
        assert "open_provider(models=...)" in said
        assert said.count("\n") == len(places) + 1, "a line for each"
        assert SECRET not in said
    assert load_models().models["a"].provider_config.model_id == "m", "it may be looked at"


@pytest.mark.parametrize("way", ["trusted", "named", "in the environment", "saved"])
def test_each_way_on_is_an_act_of_the_users(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusting the file, naming it, or having written it."""
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    path = None
    if way == "trusted":
        trust(file, read_models_file(file))
    elif way == "named":
        path = str(file)
    elif way == "in the environment":
        monkeypatch.setenv("PENSTOCK_MODELS", str(file))
    else:
        save_models(load_models(file))
    assert open_provider(models=path).get_model().id == "m"


def test_saving_what_was_found_does_not_trust_it() -> None:
    """A program that reads a hostile file, changes something and saves it does not speak for its user."""
    file = found(of(baseUrl=HOSTILE))
    save_models(msgspec.structs.replace(load_models(), active="sonnet"))
    with pytest.raises(ConfigError, match="found and not named"):
        open_provider()
    assert not trusted_files(), file


def test_what_a_program_adds_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A harmless file with an entry that the program itself has made."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    found(of())
    config = load_models()
    mine = ModelEntry(provider="anthropic", provider_config=ProviderConfig(model_id="mine", base_url=HOSTILE))
    models = msgspec.structs.replace(config, models={**config.models, "mine": mine})
    assert open_provider("mine", models=models).get_model().id == "mine"


def test_an_address_that_a_caller_gives_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the vendor's own, though there is another in the environment and the file was found."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://proxy.example")
    found(of(baseUrl="https://api.anthropic.com"))
    assert open_provider().server[0] == "proxy.example"
    assert open_provider(base_url="https://api.anthropic.com").server[0] == "api.anthropic.com"


TRUSTED = of(baseUrl="https://gateway.example", apiKey="${GATEWAY_KEY}", modelInfo={"inputPrice": 1})
CHANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": (TRUSTED, True),
    "a price": (of(baseUrl="https://gateway.example", apiKey="${GATEWAY_KEY}", modelInfo={"inputPrice": 2}), True),
    "a model": (of(baseUrl="https://gateway.example", apiKey="${GATEWAY_KEY}", deadlines={"stall": 9}), True),
    "a harmless entry": (
        {**TRUSTED, "models": {**TRUSTED["models"], "b": of()["models"]["a"]}, "active": "b"},
        True,
    ),
    "the order of keys": ({"models": TRUSTED["models"], "active": "a"}, True),
    "the host": (of(baseUrl="https://other.example", apiKey="${GATEWAY_KEY}"), False),
    "the variable": (of(baseUrl="https://gateway.example", apiKey="${OTHER_KEY}"), False),
    "the provider's own variable": (of(baseUrl="https://gateway.example", apiKey="${ANTHROPIC_API_KEY}"), False),
    "no variable, so that the SDK looks for one": (of(baseUrl="https://gateway.example"), False),
    "the provider, and so the key": (of("openai", baseUrl="https://gateway.example", apiKey="${GATEWAY_KEY}"), False),
    "a header": (of(baseUrl="https://gateway.example", apiKey="${GATEWAY_KEY}", headers={"x": "y"}), False),
    "another alias": (
        {"active": "b", "models": {"b": TRUSTED["models"]["a"]}},
        False,
    ),
}


@pytest.mark.parametrize(("document", "holds"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_asked_for_again_and_a_changed_price_is_not(
    document: dict[str, Any], holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trust is in where requests go and with which key."""
    for name in ("GATEWAY_KEY", "OTHER_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    file = found(TRUSTED)
    trust(file, read_models_file(file))
    found(document)
    if holds:
        assert open_provider().get_model().id == "m"
        return
    with pytest.raises(ConfigError, match=r"has changed since you trusted it on \d{4}-\d\d-\d\d, and it asks for"):
        open_provider()


def test_a_file_that_is_forgotten_is_asked_for_again() -> None:
    """And forgetting twice does no harm."""
    file = found(of(baseUrl=HOSTILE))
    trust(file, read_models_file(file))
    assert list(trusted_files()) == [os.path.realpath(file)]
    assert (forget(file), forget(file)) == (True, False)
    with pytest.raises(ConfigError, match="found and not named"):
        open_provider()


def test_trust_goes_with_the_real_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to a trusted file is that file; one that is turned to another is not trusted."""
    real, other = tmp_path / "real.json", tmp_path / "other.json"
    real.write_text(json.dumps(of(baseUrl=HOSTILE, apiKey=SECRET)))
    other.write_text(json.dumps(of(baseUrl="http://worse.example", apiKey=SECRET)))
    trust(real, read_models_file(real))
    link = tmp_path / "models.json"
    link.symlink_to(real)
    assert open_provider().get_model().id == "m"
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(ConfigError, match="found and not named"):
        open_provider()


def test_a_copy_of_a_trusted_file_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was trusted in one folder is somebody else's in the next."""
    file = found(of(baseUrl=HOSTILE))
    trust(file, read_models_file(file))
    elsewhere = tmp_path / "clone"
    elsewhere.mkdir()
    (elsewhere / "models.json").write_bytes(file.read_bytes())
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ConfigError, match="found and not named"):
        open_provider()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such modes")
def test_the_store_is_its_owners_and_holds_no_key() -> None:
    """Readable and writable for nobody else, in a folder of the same kind, whatever the umask."""
    before = os.umask(0)
    try:
        file = found(of(baseUrl=HOSTILE, apiKey=SECRET, headers={"x-key": SECRET}))
        trust(file, read_models_file(file))
    finally:
        os.umask(before)
    path = store_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["trusted.json"], "written in one step"
    assert SECRET not in path.read_text()


DAMAGED = {
    "no JSON": b"{",
    "not text": b"\xff\xfe",
    "a list": b"[]",
    "a file of another kind": b'{"trusted": 5}',
    "nothing in it": b"",
    "nested without end": b'{"trusted":' + b"[" * 100_000,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_store_is_said_and_counts_as_empty(data: bytes) -> None:
    """The file must be trusted again, which writes a new store and keeps the old one."""
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    trust(file, read_models_file(file))
    store_path().write_bytes(data)
    with pytest.raises(ConfigError, match=r"(?s)found and not named.*\(the trust store .* counts as empty: ") as caught:
        open_provider()
    assert str(caught.value).count("\n") == 3
    for ask in (trusted_files, lambda: forget(file)):
        with pytest.raises(ConfigError, match="counts as empty"):
            ask()
    trust(file, read_models_file(file))
    assert open_provider().get_model().id == "m"
    assert store_path().with_name("trusted.json.damaged").read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
@pytest.mark.parametrize(("what", "mode"), [("file", 0o666), ("file", 0o644), ("folder", 0o777)])
def test_a_store_that_is_not_its_owners_alone_counts_as_empty(what: str, mode: int) -> None:
    """Whoever can write it could trust himself; and a checkout of git, which may lie at HOME, has no file of 0600."""
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    trust(file, read_models_file(file))
    (store_path() if what == "file" else store_path().parent).chmod(mode)
    with pytest.raises(ConfigError, match="others than you can read or write it"):
        open_provider()


@pytest.mark.skipif(sys.platform == "win32", reason="it finds its home elsewhere")
def test_a_home_that_is_not_absolute_is_no_place_for_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be whatever folder one is in: the repository's own."""
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", ".")
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    with pytest.raises(ConfigError, match=r"(?s)found and not named.*not absolute"):
        open_provider()
    with pytest.raises(ConfigError, match="not absolute"):
        trust(file, read_models_file(file))


def test_many_at_once_keep_all_entries(tmp_path: Path) -> None:
    """Each reads, adds and writes while no other does."""
    files = []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "models.json").write_text(json.dumps(of(baseUrl=HOSTILE)))
        files.append(folder / "models.json")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: trust(file, read_models_file(file)), files))
    assert sorted(trusted_files()) == sorted(os.path.realpath(file) for file in files)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_folder_whose_name_is_no_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be trusted and saved to as any other."""
    folder = tmp_path / os.fsdecode(b"b\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    trust(file, read_models_file(file))
    assert open_provider().get_model().id == "m"
    save_models(load_models(file))


LOCAL = {"vllm": "http://127.0.0.1:9/v1", "ollama": None, "openai-compatible": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize(("provider", "url"), LOCAL.items(), ids=LOCAL)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_local_server_gets_no_key_that_the_file_does_not_name(
    provider: str, url: str | None, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What listens there may be anybody's, whenever the variable is set; a file that is named is another matter."""
    found(of(provider, **({} if url is None else {"baseUrl": url})))
    variables = ("VLLM_API_KEY", "OLLAMA_API_KEY", "OPENAI_API_KEY")
    for name in variables if when == "before" else ():
        monkeypatch.setenv(name, SECRET)
    config = load_models()
    for name in variables:
        monkeypatch.setenv(name, SECRET)
    assert resolve(models=config).provider_config.api_key == "none"
    assert resolve(models="models.json").provider_config.api_key is None
    assert config.models["a"].provider_config.api_key is None, "what is saved again is what was read"
    if provider != "openai-compatible":  # which has no variable, so that trust makes no difference
        trust(Path("models.json"), read_models_file(Path("models.json")))
        assert resolve().provider_config.api_key is None
        found(of(provider, baseUrl="http://127.0.0.1:10/v1"))
        assert resolve().provider_config.api_key == "none", "another port is another server"


def test_a_vendors_own_address_does_not_undo_the_users_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, so that ANTHROPIC_BASE_URL holds."""
    found(of(baseUrl="https://api.anthropic.com/"))
    assert resolve().provider_config.base_url is None
    assert resolve(models="models.json").provider_config.base_url == "https://api.anthropic.com/"


def test_a_long_list_and_long_names_make_a_short_message() -> None:
    """What the file says cannot look like words of ours, nor fill the screen."""
    name = "a (https://api.anthropic.com) and nothing else; all is well" + "x" * 100_000
    entries = {name: of(baseUrl=HOSTILE)["models"]["a"]}
    entries |= {f"s{number}": of(baseUrl=f"{HOSTILE}/{'y' * 70_000}")["models"]["a"] for number in range(30)}
    found({"active": "s1", "models": entries})
    with pytest.raises(ConfigError, match="and 11 more") as caught:
        open_provider()
    assert len(str(caught.value)) < 8_000
    assert '$.models."a (https' in str(caught.value)


SHOWN = {
    "a password": (of(baseUrl="http://me:password-1@evil.example"), "http://***@evil.example"),
    "a key in the query": (of(baseUrl=f"http://evil.example/v1?key={SECRET}"), "http://evil.example/v1?..."),
    "letters that look alike": (of(baseUrl="https://аpi.anthropic.com"), '"https://\\u0430pi.anthropic.com"'),
    "which entry of the keyring": (of(apiKey="keyring:bank/me"), "keyring:bank/me"),
    "the whole of a command": (
        of(apiKey=f"command: true {'x' * 200} && evil"),
        f'"command: true {"x" * 200} && evil"',
    ),
    "which variable a dialect wants": (
        of("openai-compatible", baseUrl="http://[::1]:1", entry={"dialect": {"keyVariables": ["BANK_PASSWORD"]}}),
        "a dialect with no address, the key of BANK_PASSWORD",
    ),
    "a platform as it stands in the file": (
        of(platform={"name": "bedrock", "region": "eu-central-1", "profile": f"{'ü' * 30} of the bank"}),
        f'{{"name": "bedrock", "region": "eu-central-1", "profile": "{chr(92) + "u00fc"}'
        + f"{chr(92)}u00fc" * 29
        + ' of the bank"}',
    ),
    "headers by name": (of(headers={"x-key": SECRET}), "the headers x-key"),
}


@pytest.mark.parametrize(("document", "shown"), SHOWN.values(), ids=SHOWN)
def test_what_is_asked_for_is_shown_without_secrets(document: object, shown: str) -> None:
    """So that its reader can decide."""
    assert shown in wanted(read_models_file(found(document))).values()


def layers(count: int) -> dict[str, Any]:
    """Each alias of a layer falls back on both of the next: 2 to the power of *count* ways."""
    models: dict[str, Any] = {}
    for number in range(count):
        for side in "ab":
            below = [f"{number + 1}a", f"{number + 1}b"] if number + 1 < count else []
            models[f"{number}{side}"] = {**of()["models"]["a"], "fallback": below}
    return {"active": "0a", "models": models}


def chain(count: int) -> dict[str, Any]:
    """Each alias falls back on the next."""
    models = {
        str(number): {**of()["models"]["a"], "fallback": [str(number + 1)] if number + 1 < count else []}
        for number in range(count)
    }
    return {"active": "0", "models": models}


@pytest.mark.parametrize("document", [layers(40), chain(2_000)], ids=["a net", "a chain"])
def test_fallbacks_without_end_are_refused(document: object) -> None:
    """At once, and with a ConfigError."""
    found(document)
    with pytest.raises(ConfigError, match="falls back on more than 100 models"):
        load_models()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_the_owner_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of another user counts as empty."""
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    trust(file, read_models_file(file))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ConfigError, match="others than you"):
        open_provider()


def test_a_store_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trust` says so; `save_models` has written its file all the same."""
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no folder"))
    file = found(of(baseUrl=HOSTILE, apiKey=SECRET))
    with pytest.raises(ConfigError, match="trust cannot be remembered"):
        trust(file, read_models_file(file))
    assert save_models(load_models(file), file) == file


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_DATA_HOME": "/data"}, "/data/penstock/trusted.json"),
        ({"XDG_DATA_HOME": "", "HOME": "/home/me"}, "/home/me/.local/share/penstock/trusted.json"),
        ({"XDG_DATA_HOME": "not/absolute", "HOME": "/home/me"}, "/home/me/.local/share/penstock/trusted.json"),
    ],
    ids=["named", "the home folder", "a relative path is ignored"],
)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folder has another name there")
def test_where_the_store_lies(environment: Mapping[str, str], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rules of XDG, and never in the folder where it is run."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert store_path() == Path(path)


FOREIGN = {
    "a list of models": {"models": [{"name": "x"}]},
    "models of another form": {"models": {"gpt": {"price": 1}}, "version": 3},
    "models with a provider": {"models": {"m": {"provider": "x", "url": "y"}}},
    "a list": [1],
    "a text": '"models"',
    "no models": {"name": "a package"},
    "an active of another kind": {"active": True, "models": ["x"]},
}


@pytest.mark.parametrize("document", FOREIGN.values(), ids=FOREIGN)
def test_a_file_in_somebody_elses_form_is_passed_over(
    document: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The search goes on above it, with a word in the log; named, it is an error."""
    caplog.set_level(logging.INFO, "penstock")
    file = found(document)
    assert find_models_file() is None
    assert str(file) in caplog.text
    assert load_models().source is None
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "models.json").write_bytes(file.read_bytes())
    monkeypatch.chdir(folder)
    file.write_text(json.dumps(of()))
    assert load_models().source == file
    monkeypatch.setenv("PENSTOCK_MODELS", str(folder / "models.json"))
    with pytest.raises(ConfigError):
        load_models()


@pytest.mark.parametrize(
    "text", ['{"active": "a", "modles": {}}', '{"active": "a", "models": {', '{"models": {"a": {"providerConfig": 1}}}']
)
def test_a_file_of_ours_that_is_wrong_is_not_passed_over(text: str) -> None:
    """Whoever mistypes a key must not silently get other models and prices."""
    file = found(text)
    with pytest.raises(ConfigError) as caught:
        load_models()
    assert caught.value.file == file
