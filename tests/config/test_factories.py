"""Providers that are not built in: of other packages, by their entry points, and of the program itself."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import (
    ConfigError,
    ModelEntry,
    ModelsConfig,
    ProviderConfig,
    load_models,
    open_provider,
    register_provider,
)
from penstock.cli.main import main
from penstock.config import factories
from penstock.config.factories import GROUP
from penstock.testing import ScriptedProvider

SECRET = "sk-secret-0123456789"

MODULE = """
import asyncio, sys
from penstock import ConfigError
from penstock.testing import ScriptedProvider

def make(entry):
    provider = ScriptedProvider(model=entry.provider_config.model_id)
    provider.entry = entry
    return provider

def nothing(entry):
    pass

async def later(entry):
    return make(entry)

def stops(entry):
    sys.exit("no license")

def cancels(entry):
    raise asyncio.CancelledError

def tells(entry):
    raise ValueError(f"bad key {entry.provider_config.api_key}\\n of {entry.settings}")

def refuses(entry):
    raise ConfigError(f"no room for {entry.provider_config.api_key}")

def at_once(entry):
    raise KeyboardInterrupt

class Mute(Exception):
    def __str__(self):
        raise ValueError

def mute(entry):
    raise Mute

class Thing:
    def close(self):
        raise ValueError

def kind(entry):
    return Thing

def thing(entry):
    return Thing()

class Broken(ScriptedProvider):
    def leaves(self):
        raise RuntimeError("of a key")

def breaks(entry):
    return Broken()

class Stuck(ScriptedProvider):
    async def aclose(self):
        raise RuntimeError("of a key")

def sticks(entry):
    return Stuck()
"""
NAMES = (
    *("make", "nothing", "later", "stops", "cancels", "tells", "refuses", "at_once", "freeze"),
    *("mute", "kind", "thing", "breaks", "sticks"),
)
POINTS = {
    **{name: f"water_plugin:{name}" for name in NAMES},
    "demo": "water_plugin:nothing",
    "openai": "water_plugin:nothing",
    "folder": "water_plugin",
    "gone": "deleted_plugin:make",
    "exits": "water_exits:make",
    "a/b": "water_plugin:make",
}

Install = Callable[[str, Mapping[str, str]], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package with these entry points; its module is there already."""
    (tmp_path / "water_plugin.py").write_text(MODULE)
    (tmp_path / "water_exits.py").write_text("import sys\nprint('noise')\nsys.exit('not on this machine')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, points: Mapping[str, str]) -> Path:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join((f"[{GROUP}]", *lines, "")))
        return info

    return installed


@pytest.fixture
def water(install: Install) -> Path:
    """The package `water`."""
    return install("water", POINTS)


@pytest.fixture(autouse=True)
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(factories, "_registered", {})


def of(provider: str, **entry: Any) -> ModelsConfig:
    """A config with one model of a provider."""
    config = ProviderConfig(model_id="m", api_key=SECRET)
    return ModelsConfig(active="a", models={"a": ModelEntry(provider=provider, provider_config=config, **entry)})


def make(entry: ModelEntry) -> ScriptedProvider:
    """A factory."""
    return ScriptedProvider(model=entry.provider_config.model_id)


@pytest.mark.usefixtures("water")
def test_a_provider_of_another_package_is_opened_by_its_name() -> None:
    """And our own names cannot be taken."""
    assert open_provider("make/h2o").get_model().id == "h2o"
    assert open_provider("demo").vendor == "demo"


@pytest.mark.usefixtures("water")
def test_a_factory_gets_the_whole_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the settings as they are in the file, the key itself, and what the file knows of the model."""
    monkeypatch.setenv("WATER_KEY", SECRET)
    config = {"modelId": "h2o", "apiKey": "${WATER_KEY}", "modelInfo": {"inputPrice": 3}}
    entry = {"provider": "make", "settings": {"roomName": 5, "of": [{"a_b": None}]}, "providerConfig": config}
    file = tmp_path / "mine.json"
    file.write_bytes(msgspec.json.encode({"active": "a", "models": {"a": entry}}))
    provider: Any = open_provider(models=file)
    assert provider.entry.settings == {"roomName": 5, "of": [{"a_b": None}]}
    assert (provider.entry.provider_config.api_key, provider.alias) == (SECRET, "a")
    assert provider.entry.provider_config.model_info.input_price == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(
            "freeze",
            "the provider 'freeze' of water (water_plugin:freeze) cannot be loaded: AttributeError: module",
            id="its module lacks it",
        ),
        pytest.param(
            "gone",
            "the provider 'gone' of water (deleted_plugin:make) cannot be loaded: ModuleNotFoundError: No module named",
            id="its package was deleted",
        ),
        pytest.param(
            "exits",
            "the provider 'exits' of water (water_exits:make) cannot be loaded: SystemExit: not on this machine",
            id="its module ends the program",
        ),
        pytest.param("folder", "'folder' of water (water_plugin) cannot be made: TypeError: 'module'", id="a module"),
        pytest.param(
            "nothing", "'nothing' of water (water_plugin:nothing) returned a NoneType, expected", id="nothing"
        ),
        pytest.param("later", "'later' of water (water_plugin:later) returned a coroutine, expected", id="async"),
        pytest.param("stops", "(water_plugin:stops) cannot be made: SystemExit: no license", id="it ends the program"),
        pytest.param("cancels", "(water_plugin:cancels) cannot be made: CancelledError", id="it cancels"),
        pytest.param("tells", "cannot be made: ValueError: bad key *** of {'token': '***'}", id="it tells the key"),
        pytest.param(
            "refuses",
            "$.models.a: the provider 'refuses' of water (water_plugin:refuses) cannot be made: no room for ***",
            id="it tells the key in an error of ours",
        ),
        pytest.param("mute", "(water_plugin:mute) cannot be made: Mute", id="its error cannot be said"),
        pytest.param("kind", "(water_plugin:kind) returned a type, expected", id="a class"),
        pytest.param("thing", "(water_plugin:thing) returned a Thing, expected", id="what cannot be closed"),
        pytest.param(
            "water", '$.models.a.provider: no provider "water": no installed package brings it', id="no such one"
        ),
    ],
)
@pytest.mark.usefixtures("water")
def test_what_is_wrong_with_one_is_said_in_a_line(name: str, said: str) -> None:
    """It names the entry point and its package, and tells no key."""
    with pytest.raises(ConfigError) as caught:
        open_provider(models=of(name, settings={"token": SECRET}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("water")
@pytest.mark.parametrize(
    "settings",
    [{"deep": {"token": SECRET}}, {"tokens": ["a", SECRET]}, {"store": f"redis://me:{SECRET}@127.0.0.1"}],
    ids=["in a table", "in a list", "in an address"],
)
def test_keys_in_settings_are_found_however_deep(settings: dict[str, Any]) -> None:
    """The factory's own error shows all of them."""
    with pytest.raises(ConfigError) as caught:
        open_provider(models=of("tells", settings=settings))
    assert "***" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("water")
def test_doctor_has_a_line_for_each_that_breaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its code raises, wherever: the others are looked at all the same."""
    names = ("make", "breaks", "sticks")
    entries = {name: {"provider": name, "providerConfig": {"modelId": "m"}} for name in names}
    (tmp_path / "models.json").write_text(json.dumps({"active": "make", "models": entries}))
    main(["trust", "models.json"])
    capsys.readouterr()
    assert main(["doctor", "--all"]) == 1
    lines = [line.split()[:3] for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    assert lines == [["make", "make", "?"], ["breaks", "breaks", "NO"], ["sticks", "sticks", "NO"]]


@pytest.mark.usefixtures("water")
def test_who_interrupts_is_heard() -> None:
    """Ctrl-C is no fault of the plugin."""
    with pytest.raises(KeyboardInterrupt):
        open_provider("at_once/m")


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    """Neither is chosen, unless the program registers one."""
    install("water", {"sea": "water_plugin:make"})
    install("salt", {"sea": "water_plugin:nothing"})
    both = r"^the provider 'sea' is in (water|salt) \(\w+:\w+\) and (water|salt) \(\w+:\w+\): uninstall all but one$"
    with pytest.raises(ConfigError, match=both):
        open_provider("sea/m")
    register_provider("sea", make)
    assert open_provider("sea/m").get_model().id == "m"


def test_a_damaged_package_is_passed_over(install: Install) -> None:
    """Whatever is left of it: others' providers are found, and its own is named by its module."""
    (install("broken", {}) / "entry_points.txt").write_text(f"[{GROUP}]\nno value\n")
    half = install("half", {"half": "half_gone:make"})
    (half / "METADATA").unlink()
    install("water", POINTS)
    assert open_provider("make/h2o").get_model().id == "h2o"
    with pytest.raises(ConfigError, match=r"\(half_gone:make\) cannot be loaded: ModuleNotFoundError"):
        open_provider("half/m")


@pytest.mark.usefixtures("water")
def test_only_its_own_model_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file serves its other models, `penstock models` shows which is broken and why, and doctor says it in a line."""
    entries = {name: {"provider": name, "providerConfig": {"modelId": "m"}} for name in ("make", "exits", "missing")}
    entries["back"] = {"provider": "make", "providerConfig": {"modelId": "m"}, "fallback": ["missing/m"]}  # type: ignore[dict-item]
    (tmp_path / "models.json").write_text(json.dumps({"active": "make", "models": entries}))
    assert main(["trust", "models.json"]) == 0
    assert open_provider().get_model().id == "m"
    capsys.readouterr()
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    marks = [line.split()[:3] for line in out.splitlines()[1:]]
    assert marks == [
        ["*", "make", "make"],
        ["!", "exits", "exits"],
        ["!", "missing", "missing"],
        ["back", "make", "(water)"],
    ]
    assert "; ! cannot be opened" in err
    assert "\nexits cannot be opened: the provider 'exits' of water (water_exits:make) cannot be loaded: Sys" in err
    assert '\nmissing cannot be opened: no provider "missing": ' in err
    for alias, said in {"exits": "SystemExit: not on", "missing": "no provider", "back": '"missing/m"'}.items():
        assert main(["doctor", alias]) == 2
        said_of_it = capsys.readouterr().err
        assert (said in said_of_it, said_of_it.count("\n")) == (True, 1), said_of_it
    main(["models", "--json"])
    found = {row["alias"]: row for row in json.loads(capsys.readouterr().out)}
    assert (found["make"]["package"], found["make"]["problem"], found["missing"]["package"]) == ("water", None, None)


@pytest.mark.usefixtures("water")
@pytest.mark.parametrize("entry", [{}, {"settings": {"room": SECRET}}], ids=["its name", "its settings"])
def test_a_file_that_was_found_may_not_name_it(
    entry: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would choose what runs; nothing of it is imported even to be listed, and no value of a setting is shown."""
    whole = {"provider": "exits", "providerConfig": {"modelId": "h2o"}, **entry}
    (tmp_path / "models.json").write_bytes(msgspec.json.encode({"active": "a", "models": {"a": whole}}))
    with pytest.raises(ConfigError, match=r"\$\.models\.a\.provider") as caught:
        open_provider()
    assert ("$.models.a.settings: the settings room" in str(caught.value)) == bool(entry)
    assert main(["models"]) == 0
    said = "".join(capsys.readouterr())
    assert "cannot be loaded" not in said
    assert SECRET not in f"{said}{caught.value}{load_models()!r}"


@pytest.mark.parametrize("provider", ["anthropic", "openai", "llamacpp", "demo"])
def test_settings_are_not_for_what_is_built_in(provider: str) -> None:
    """They would be read by nobody."""
    with pytest.raises(ConfigError, match=rf"^\$\.models\.a\.settings: {provider} takes none: they are for providers"):
        open_provider(models=of(provider, settings={"room": 5}))


def test_a_program_registers_one() -> None:
    """It is opened as if a package had brought it, also from a file."""
    register_provider("lake.v-1", make)
    assert open_provider("lake.v-1/h2o").get_model().id == "h2o"
    assert open_provider(models=of("lake.v-1")).alias == "a"


def test_what_is_registered_again() -> None:
    """The same or its newer self takes its place; another is refused, and so nothing is taken over in silence."""
    cell = "def factory(entry): return entry, {}"
    first: dict[str, Any] = {"__name__": "__main__"}
    second: dict[str, Any] = {"__name__": "__main__"}
    exec(cell, first)
    exec(cell, second)
    for one in (first["factory"], first["factory"], second["factory"]):
        register_provider("lake", one)
    assert factories.find_factory("lake") is second["factory"]
    with pytest.raises(ConfigError, match=r"^the provider 'lake' is registered already, by __main__:factory: take"):
        register_provider("lake", make)


@pytest.mark.parametrize(
    ("name", "factory", "said"),
    [
        pytest.param("openai", make, "the provider 'openai' is built in: take another name", id="a vendor's"),
        pytest.param("demo", make, "the provider 'demo' is built in: take another name", id="the demo's"),
        *(
            pytest.param(name, make, f"`name` is {name!r}, expected letters, digits, `_`, `-` and `.`", id=repr(name))
            for name in ("", "a/b", "a b", "a\n", "-\0")
        ),
        pytest.param("lake", "make", "`factory` is of type str, expected a function that takes a", id="no function"),
    ],
)
def test_what_cannot_be_registered(name: str, factory: Any, said: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as caught:
        register_provider(name, factory)
    assert str(caught.value).startswith(said)


def test_a_registered_one_that_fails_is_named_by_its_place() -> None:
    """As there is no package to name."""

    def broken(entry: ModelEntry) -> ScriptedProvider:
        raise OSError(5, "no water")

    register_provider("lake", broken)
    place = r"test_factories:test_a_registered_one_that_fails_is_named_by_its_place\.<locals>\.broken\)"
    with pytest.raises(ConfigError, match=rf"^the provider 'lake' \(.*{place} cannot be made: OSError: \[Errno 5\]"):
        open_provider("lake/m")
