"""Providers that are no vendor's row: the demo, those of other packages by their entry points, and a program's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.config.catalog import PROVIDERS
from penstock.config.entries import ModelEntry
from penstock.config.mistakes import quoted
from penstock.core.errors import ConfigError, said_by
from penstock.core.provider import BaseProvider
from penstock.core.validation import near

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = [
    "BUILT_IN",
    "GROUP",
    "OWN",
    "Factory",
    "find_factory",
    "is_known",
    "make_provider",
    "package_of",
    "register_provider",
    "unknown",
]

Factory: TypeAlias = Callable[[ModelEntry], BaseProvider]
"""Makes the provider of an entry; it raises ConfigError for an entry that it cannot use."""

GROUP: Final = "penstock.providers"
"""The group of the entry points; the name of one is what `provider` is in models.json."""
OWN: Final[Mapping[str, str]] = {"demo": "penstock.testing.demo.provider:open_demo"}
"""The package's own, which are found without a look at what is installed and cannot be taken by others."""

BUILT_IN: Final = (*PROVIDERS, *OWN)
"""What `provider` can be in models.json without another package or a program's own."""

_NAME: Final = re.compile(r"[\w.-]+")
_LONGEST: Final = 300
"""How many characters of a stranger's exception stand in a message."""
_registered: Final[dict[str, Factory]] = {}


def register_provider(name: str, factory: Factory) -> None:
    """Let *name* be a provider in this process: in models.json, and as `NAME/MODEL-ID`.

    factory: called with each entry that is opened, in which the key is the key itself, or what fetches it, and
    `settings` are the file's. One that is defined anew, as in a cell of a notebook that runs again, takes the place of
    its former self. A name that an installed package has as well means the registered one.

    Raises ConfigError for a name that is built in, that another factory has, or that is not made of letters, digits,
    `_`, `-` and `.`.
    """
    if not callable(factory):
        raise ConfigError(f"`factory` is of type {type(factory).__name__}, expected a function that takes a ModelEntry")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"`name` is {name!r}, expected letters, digits, `_`, `-` and `.`")
    if name in BUILT_IN:
        raise ConfigError(f"the provider {name!r} is built in: take another name")
    before = _registered.get(name, factory)
    if before != factory and _place(before) != _place(factory):
        raise ConfigError(f"the provider {name!r} is registered already, by {_place(before)}: take another name")
    _registered[name] = factory


def is_known(provider: str) -> bool:
    """Whether there is such a provider: built in, registered or installed. Nothing of it is imported."""
    return provider in BUILT_IN or provider in _registered or bool(_entry_points(provider))


def package_of(provider: str) -> str | None:
    """The package that brings a provider, by its name on the index; None for one that is built in or registered."""
    own = provider in BUILT_IN or provider in _registered
    return None if own else " and ".join(_entry_points(provider)) or None


def unknown(provider: str) -> str:
    """What is wrong with the name of a provider that is not there."""
    why = "no installed package brings it, and it is no built-in name (see `penstock guide vendors`)"
    return f"no provider {quoted(provider)}: {why}{near(provider, (*BUILT_IN, *_registered))}"


def find_factory(provider: str) -> Factory:
    """The factory of that name. Raises ConfigError if there is none, if two have it, and if it cannot be imported."""
    if provider in OWN:
        module, _, name = OWN[provider].partition(":")
        own: Factory = getattr(import_module(module), name)
        return own
    if provider in _registered:
        return _registered[provider]
    points = _entry_points(provider)
    if not points:
        raise ConfigError(unknown(provider))
    if len(points) > 1:
        owners = " and ".join(f"{owner} ({point.value})" for owner, point in points.items())
        raise ConfigError(f"the provider {provider!r} is in {owners}: uninstall all but one")
    try:
        found: Factory = next(iter(points.values())).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a stranger's module raises, SystemExit too
        raise _failed(provider, "cannot be loaded", error) from error
    return found


def make_provider(entry: ModelEntry) -> BaseProvider:
    """The provider of an entry, by the factory of that name. Whatever that raises is a ConfigError without a key."""
    factory = find_factory(entry.provider)
    try:
        provider: object = factory(entry)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from penstock.providers.redaction import config_secrets, redact, settings_secrets

        redact(error, config_secrets(entry.provider_config).plus(settings_secrets(entry.settings)))
        if entry.provider in OWN and isinstance(error, ConfigError):
            raise
        raise _failed(entry.provider, "cannot be made", error) from error
    if not isinstance(provider, BaseProvider):
        if inspect.iscoroutine(provider):
            provider.close()  # or Python would warn of one that nobody awaits
        kind = type(provider).__name__
        raise ConfigError(f"{_shown(entry.provider)} returned a {kind}, expected a BaseProvider")
    return provider


def _failed(provider: str, how: str, error: BaseException) -> ConfigError:
    # One of ours is for the user, and says what to do.
    said = (
        " ".join(str(error).split()) if isinstance(error, ConfigError) else " ".join(said_by(error).split())[:_LONGEST]
    )
    return ConfigError(f"{_shown(provider)} {how}: {said}")


def _shown(provider: str) -> str:
    """A provider with the package that it is of, and where in it."""
    if provider in OWN or provider in _registered:
        return f"the provider {provider!r} ({OWN.get(provider) or _place(_registered[provider])})"
    owner, point = next(iter(_entry_points(provider).items()))
    return f"the provider {provider!r} of {owner} ({point.value})"


def _place(factory: Factory) -> str:
    kind = factory if hasattr(factory, "__qualname__") else type(factory)
    return f"{kind.__module__}:{kind.__qualname__}"


def _entry_points(provider: str) -> dict[str, EntryPoint]:
    """Those of this name, by their packages; of a package that is found twice, the first on `sys.path`."""
    from importlib.metadata import distributions  # only who asks for an unknown name pays for the look

    found: dict[str, EntryPoint] = {}
    for distribution in distributions():
        with suppress(Exception):  # one that is damaged is passed over
            for point in distribution.entry_points.select(group=GROUP, name=provider):
                found.setdefault(_owner(distribution), point)
    return found


def _owner(distribution: Distribution) -> str:
    try:
        return str(distribution.name)
    except Exception:  # noqa: BLE001 - of a package that was deleted by halves, as Python's versions differ in
        return "a package without METADATA"
