"""Takes keys out of errors: a server may echo what it was sent, and an HTTP library may quote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from penstock.errors import AuthenticationError

__all__ = ["check_secrets", "redact", "secret_headers"]

_MIN: Final = 8
"""Shorter keys (`none`, `sk-test`) are no secrets, and would be found in ordinary words."""

_SECRET_HEADERS: Final = ("authorization", "x-api-key", "api-key", "proxy-authorization", "cookie")
_FIELDS: Final = ("message", "body", "api_message", "code", "request_id")


def secret_headers(headers: Mapping[str, str]) -> list[str]:
    """The values of the headers that hold keys, without the scheme in front."""
    return [str(value).removeprefix("Bearer ") for name, value in headers.items() if name.lower() in _SECRET_HEADERS]


def check_secrets(secrets: Iterable[object]) -> None:
    """Raise AuthenticationError for a key that no header can carry.

    The HTTP library's own error would show it, and in a form in which it cannot be found and replaced.
    """
    for key in secrets:
        if not isinstance(key, str) or not key:
            raise AuthenticationError("the API key is empty or no text")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise AuthenticationError("the API key holds a character that no header can carry: a line end, perhaps")


def redact(error: BaseException | None, secrets: Iterable[str], seen: set[int] | None = None) -> None:
    """Replace *secrets* in the texts of *error* and of all that it was raised from."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    keys = [key for key in secrets if len(key) >= _MIN]
    error.args = tuple(_without(arg, keys) for arg in error.args)
    for name in _FIELDS:
        value = vars(error).get(name)
        if value is not None:
            setattr(error, name, _without(value, keys))
    redact(error.__cause__, keys, seen)
    redact(error.__context__, keys, seen)


def _without(value: Any, keys: list[str]) -> Any:
    if isinstance(value, str):
        for key in keys:
            value = _cut_key(value.replace(key, "***"), key)
        return value
    if isinstance(value, bytes):
        for key in keys:
            value = value.replace(key.encode(), b"***")
        return value
    if isinstance(value, dict):
        return {_without(name, keys): _without(inner, keys) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without(inner, keys) for inner in value)
    return value


def _cut_key(text: str, key: str) -> str:
    """Without the first part of *key*, where the text was cut in the middle of it."""
    end = text.find("…")
    if end < 0:
        return text
    for size in range(min(len(key), end), _MIN - 1, -1):
        if text.startswith(key[:size], end - size):
            return f"{text[: end - size]}***{text[end:]}"
    return text
