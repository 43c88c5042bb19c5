"""Providers that are no vendor's row: the demo, and those of other packages, by the entry point that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

from penstock.core.entries import ModelEntry
from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "OWN", "Factory", "find_factory", "is_plugin"]

Factory: TypeAlias = Callable[[ModelEntry], BaseProvider]
"""Makes the provider of an entry; it raises ConfigError for an entry that it cannot use."""

GROUP: Final = "penstock.providers"
"""The group of the entry points; the name of one is what `provider` is in models.json."""
OWN: Final[Mapping[str, str]] = {"demo": "penstock.testing.demo.provider:open_demo"}
"""The package's own, which are found without a look at what is installed and cannot be taken by others."""


def is_plugin(provider: str) -> bool:
    """Whether a factory has this name. Nothing of it is imported."""
    return provider in OWN or _entry_point(provider) is not None


def find_factory(provider: str) -> Factory:
    """The factory of that name, which has to be there. Raises ConfigError for one that cannot be imported."""
    if provider in OWN:
        module, _, name = OWN[provider].partition(":")
        own: Factory = getattr(import_module(module), name)
        return own
    point = _entry_point(provider)
    if point is None:
        raise ConfigError(f"there is no provider {provider!r}")
    try:
        found: Factory = point.load()
    except Exception as error:  # whatever a stranger's module raises
        owner = point.dist.name if point.dist is not None else "a package"
        said = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the provider {provider!r} of {owner} ({point.value}) cannot be loaded: {said}") from error
    return found


def _entry_point(provider: str) -> EntryPoint | None:
    from importlib.metadata import entry_points  # only who asks for an unknown name pays for the look

    return next(iter(entry_points(group=GROUP, name=provider)), None)
