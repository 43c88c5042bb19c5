"""Numbers that somebody has configured: a wrong one is a ConfigError that names it, what was found and expected."""

from __future__ import annotations

from penstock.errors import ConfigError

__all__ = ["check_count", "check_seconds"]

_LONGEST = 1e9  # seconds, some thirty years: more is a mistake, and too much of it is no number to a clock


def check_seconds(name: str, value: object) -> float:
    """*value*, a number of seconds above 0, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise ConfigError(f"`{name}` is {value!r}, expected a number of seconds above 0")
    return value


def check_count(name: str, value: object) -> int:
    """*value*, a whole number of 1 or more, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST:
        raise ConfigError(f"`{name}` is {value!r}, expected a whole number of 1 or more")
    return value
