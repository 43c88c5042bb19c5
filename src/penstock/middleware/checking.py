"""What a middleware is built with is checked when it is built: a wrong value is a ConfigError that names it."""

from __future__ import annotations

from penstock.errors import ConfigError
from penstock.provider import BaseProvider

__all__ = ["check_count", "check_provider", "check_seconds"]


def check_seconds(name: str, value: object) -> float:
    """*value*, a number of seconds above 0, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(f"`{name}` is {value!r}, expected a number of seconds above 0")
    return value


def check_count(name: str, value: object) -> int:
    """*value*, a whole number of 1 or more, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"`{name}` is {value!r}, expected a whole number of 1 or more")
    return value


def check_provider(name: str, value: object) -> BaseProvider:
    """*value*, a provider, or ConfigError. The value is not shown: it may be a key that stands in the wrong place."""
    if not isinstance(value, BaseProvider):
        raise ConfigError(f"`{name}` is of type {type(value).__name__}, expected a provider")
    return value
