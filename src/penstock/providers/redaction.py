"""Takes keys out of errors and tracebacks: a server may echo what it was sent, and a library quote it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import FrameType
from typing import Any, Final, NoReturn

import msgspec

from penstock.core.dialect import userinfo, without_userinfo
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.provider_config import ProviderConfig

__all__ = [
    "Secrets",
    "check_headers",
    "check_secrets",
    "config_secrets",
    "redact",
    "request_secrets",
    "settings_secrets",
    "shown_config",
    "shown_url",
    "strip_tracebacks",
    "url_secrets",
]

_MIN: Final = 8
"""Shorter keys (`none`, `sk-test`) are no secrets, and would be found in ordinary words."""

_HIDDEN: Final = "•••"
"""In place of a key in what a provider says of its config; not ASCII, so that it is refused before it is sent."""
_SECRET_HEADER: Final = re.compile(r"auth|key|token|secret|cookie|credential|passw|signature|^sig$", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")
_FRAMING: Final = ("content-length", "expect", "transfer-encoding")
"""Headers that say how a body is sent. With another's value, what is left of it would be read as the next request."""
_UNFIT: Final = {
    "a line end": re.compile(r"[\r\n]"),
    "a space": re.compile(" "),
    "one that is not ASCII": re.compile(r"[^\x00-\x7f]"),
    "a control character": re.compile(r"[^!-~]"),
}
"""What no header can carry of a key."""
_BEGIN: Final = r"(?:(?<!\\)|(?!\\))"
"""Of a run of backslashes only the first: else one of n takes n * n steps."""
_SCHEME: Final = re.compile(r"^(?:bearer|basic|token|api-?key)\s+", re.IGNORECASE)


class Secrets:
    """The keys of one client. It shows none of them, in whatever traceback or dump it stands."""

    __slots__ = ("__weakref__", "_keys", "_patterns", "fit_headers")

    def __init__(self, keys: Iterable[object] = (), *, fit_headers: bool = True) -> None:
        """fit_headers: a header can carry those of them that are meant for one."""
        self.fit_headers = fit_headers
        found = {key for key in keys if isinstance(key, str) and len(key) >= _MIN}
        # The longest first, as one may be a part of another.
        self._keys = sorted(found, key=len, reverse=True)
        self._patterns: list[re.Pattern[str]] | None = None

    def __repr__(self) -> str:
        return f"Secrets({len(self._keys)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")

    def plus(self, keys: Iterable[object]) -> Secrets:
        """These and more."""
        return Secrets([*self._keys, *keys], fit_headers=self.fit_headers)

    def unknown(self, keys: Iterable[str]) -> list[str]:
        """Those of *keys* that are secrets and none of these."""
        return [key for key in keys if len(key) >= _MIN and key not in self._keys]

    def cleaned(self, text: str, instead: str = "***") -> str:
        """*text* with *instead* for each key: as it is, as an URL, JSON or HTML has it, and where "…" cuts it off."""
        if self._patterns is None:
            self._patterns = [re.compile(_BEGIN + "".join(map(_forms, key))) for key in self._keys]
        for key, pattern in zip(self._keys, self._patterns, strict=True):
            text = _without_start(pattern.sub(lambda _: instead, text), key, instead)
        return text


@lru_cache(256)
def _may_hold_key(name: str) -> bool:
    """By its name. Each request has the same dozen headers."""
    return _SECRET_HEADER.search(name) is not None


def _header_secrets(headers: Mapping[str, str]) -> Iterator[str]:
    """The values of the headers that may hold keys, by their names; without the scheme in front."""
    for name, value in headers.items():
        if _may_hold_key(str(name)):
            yield _SCHEME.sub("", str(value))
            if str(name).lower() == "cookie":
                yield from (part.partition("=")[2] for part in str(value).split("; "))


def url_secrets(*urls: object) -> Iterator[str]:
    """What stands before the host of each URL: the password, or the user where there is none, and both as a header."""
    for user, _, password in (found.partition(":") for found in map(userinfo, urls) if found):
        from base64 import b64encode  # for URLs that hold a password
        from urllib.parse import unquote

        yield from (password or user, unquote(password or user))
        yield b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def request_secrets(url: str, headers: Mapping[str, str]) -> list[str]:
    """The keys that a request carries: one may be newer than all that the config and the client know."""
    query = (part.partition("=") for part in url.partition("?")[2].split("&"))
    asked = [value for name, _, value in query if _SECRET_HEADER.search(name)]
    return [*asked, *_header_secrets(headers), *url_secrets(url)]


def settings_secrets(value: object, name: str = "") -> Iterator[str]:
    """The keys in the settings of somebody's provider, however deep: by the names above them, and in URLs."""
    if isinstance(value, Mapping):
        for inner in value:
            yield from settings_secrets(value[inner], f"{name}.{inner}")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from settings_secrets(each, name)
    else:
        yield from _header_secrets({name: str(value)})
        yield from url_secrets(value)


def shown_url(url: str, secrets: Secrets) -> str:
    """As much of a base URL as may be shown: no user, no password, no query, and no key in its path."""
    return secrets.cleaned(re.split("[?#]", str(without_userinfo(url)), maxsplit=1)[0])


def config_secrets(config: ProviderConfig) -> Secrets:
    """All that a config holds of them."""
    headers = list(_header_secrets(config.headers))
    fit = all(value.isascii() and value.isprintable() for value in headers)
    return Secrets([config.api_key, *headers, *url_secrets(config.base_url)], fit_headers=fit)


def shown_config(config: ProviderConfig) -> ProviderConfig:
    """*config* as it may be shown: a provider that is built of it sends nothing, as no header can carry a dot."""
    headers = {name: _HIDDEN if _SECRET_HEADER.search(name) else value for name, value in config.headers.items()}
    url = None if config.base_url is None else shown_url(config.base_url, config_secrets(config))
    key = None if config.api_key is None else _HIDDEN
    return msgspec.structs.replace(config, api_key=key, headers=headers, base_url=url)


def check_secrets(keys: Iterable[object], secrets: Secrets) -> None:
    """Raise AuthenticationError for a key, or another of the *secrets*, that no header can carry.

    The HTTP library's own error would show it, and in a form in which it cannot be found and replaced.
    """
    unfit = "" if secrets.fit_headers else "a line end, perhaps"
    for key in keys:
        if not isinstance(key, str) or not key:
            raise AuthenticationError("the API key is empty or no text")
        unfit = unfit or next((what for what, sign in _UNFIT.items() if sign.search(key)), "")
    if unfit:
        raise AuthenticationError(f"the API key holds a character that no header can carry: {unfit}")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ConfigError for a header that cannot be sent. Values of those that may hold a key are left to the others.

    The HTTP library's own error would show the value, and not say which header it is.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(str(name)):
            raise ConfigError(f"`headers` holds the name {name!r}, in which HTTP allows no such character")
        if name.lower() in _FRAMING:
            raise ConfigError(f"`headers` holds {name!r}, which is the HTTP client's to say for each request")
        if not _SECRET_HEADER.search(name) and not _HEADER_VALUE.fullmatch(str(value)):
            raise ConfigError(f"`headers` holds for {name!r} what no header can carry: a line end, perhaps")


def redact(error: BaseException | None, secrets: Secrets) -> None:
    """Replace *secrets* in all that *error* and what it was raised from say; the requests they hold are dropped."""
    for one in _chain(error):
        one.args = tuple(_without(arg, secrets) for arg in one.args)
        held = vars(one)
        for name, value in list(held.items()):
            if name == "request":
                del held[name]  # the SDK's errors have it, with all that was sent
            elif name == "_request":
                held[name] = None  # the HTTP library's
            else:
                held[name] = _without(value, secrets)


def strip_tracebacks(error: BaseException | None) -> None:
    """Drop the frames of *error* and of all that it was raised from: those of the libraries hold the key."""
    for one in _chain(error):
        one.__traceback__ = None


def _chain(error: BaseException | None) -> list[BaseException]:
    """*error* and all that it was raised from; but not what a caller of ours is handling, which is the caller's."""
    callers = _callers()
    found: dict[int, BaseException] = {}
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in found:
            continue
        if one is error or one.__traceback__ is None or one.__traceback__.tb_frame not in callers:
            found[id(one)] = one
            left += [one.__cause__, one.__context__]
    return list(found.values())


def _callers() -> set[FrameType]:
    """The frames that wait for the outermost of ours that are running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("penstock."):
        frame = frame.f_back
    found = set()
    while frame is not None:
        found.add(frame)
        frame = frame.f_back
    return found


def _without(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return secrets.cleaned(value)
    if isinstance(value, bytes):
        return secrets.cleaned(value.decode("latin-1")).encode("latin-1", "replace")
    if type(value) is dict:
        return {_without(name, secrets): _without(inner, secrets) for name, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_without(inner, secrets) for inner in value)
    return value


def _forms(character: str) -> str:
    """A pattern for one character of a key, itself or escaped: `%2B`, also twice; `\\u002b`, `\\/`; `&#43;`."""
    code = ord(character)
    plain = re.escape(character) if character.isalnum() else rf"\\*{re.escape(character)}"
    return rf"(?:{plain}|(?i:%(?:25)*{code:02x}|\\+u00{code:02x}|\\+x{code:02x}|&#0*{code};|&#x0*{code:x};))"


def _without_start(text: str, key: str, instead: str) -> str:
    """Without the first part of *key*, where the text was cut off in the middle of it: at any of its "…"."""
    end = text.rfind("…")
    while end >= 0:
        text = _without_start_at(text, key, end, instead)
        end = text.rfind("…", 0, end)
    return text


def _without_start_at(text: str, key: str, end: int, instead: str) -> str:
    forms = [re.compile(_forms(character)) for character in key]
    for start in range(max(0, end - 8 * len(key)), end):
        at, size = start, 0
        while at < end and size < len(forms) and (found := forms[size].match(text, at, end)):
            at, size = found.end(), size + 1
        if size >= _MIN and (at == end or text[at] in "%\\&"):
            return f"{text[:start]}{instead}{text[end:]}"
    return text
