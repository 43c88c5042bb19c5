"""What a middleware is built around is checked when it is built."""

from __future__ import annotations

from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider

__all__ = ["check_provider"]


def check_provider(name: str, value: object) -> BaseProvider:
    """*value*, a provider, or ConfigError. The value is not shown: it may be a key that stands in the wrong place."""
    if not isinstance(value, BaseProvider):
        raise ConfigError(f"`{name}` is of type {type(value).__name__}, expected a provider")
    return value
