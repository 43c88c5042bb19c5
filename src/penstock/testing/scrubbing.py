"""What a recording may hold: headers by name, all else in placeholders; and what it must not. Text in, text out.

A placeholder is left as it is wherever it is read again, so that what is scrubbed at recording and at replay is equal.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from penstock.core.dialect import without_userinfo
from penstock.providers.known_secrets import live_secrets
from penstock.providers.redaction import Secrets, request_secrets
from penstock.wire.vendors import DIALECTS

__all__ = ["Scrubber", "coding_of", "credentials", "decoded", "key_variables"]

_REQUEST_HEADERS: Final = re.compile(r"content-type|anthropic-version|anthropic-beta")
_RESPONSE_HEADERS: Final = re.compile(
    r"content-type|content-encoding|retry-after(?:-ms)?|x-should-retry|(?:anthropic-|x-)?ratelimit-[a-z-]+"
)
# Of whom an account is, and which request it was: dropped, and their values replaced in the body.
_ID_HEADERS: Final = re.compile(r"organi[sz]ation|project|workspace|account|request-id|trace|cf-ray|cookie")
_PLACEHOLDER: Final = re.compile(r"key-\d+")
# Behind what is no part of a word, or an escape in JSON.
_AT: Final = r"(?:(?<=\\[bfnrt])|(?<![A-Za-z0-9]))"
_IDS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(_AT + r"(org-|proj_|wrkspc_|req_)(?=\w*\d)\w{8,}"), r"\1scrubbed"),
    (
        re.compile(_AT + r"(?!0{8}-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE),
        lambda found: _pseudonym(found[0]),
    ),
    (
        re.compile(r"((?<!\\)\\(?:u[0-9a-fA-F]{4}|.)|(?<![\w.+\\-]))[\w.+-]{1,64}@[\w-]+\.[\w.]*\w"),
        r"\1someone@example.com",
    ),
)
# Whose keys look how: the vendors' own pages on keys, and gitleaks's config/gitleaks.toml; read 2026-11-30.
_KEYS: Final = tuple(
    (whose, re.compile(rf"(?:(?<=\\[bfnrt])|(?<![\w-]))(?:{pattern})"))
    for whose, pattern in (
        ("Anthropic, OpenAI, DeepSeek or OpenRouter", r"sk-(?=[\w-]*\d)[\w-]{20,}"),
        ("Google", r"AIza[\w-]{35}|ya29\.[\w-]{20,}"),
        ("xAI", r"xai-\w{40,}"),
        ("Groq", r"gsk_\w{40,}"),
        ("Cerebras", r"csk-\w{40,}"),
        ("Perplexity", r"pplx-\w{40,}"),
        ("Fireworks", r"fw_(?=\w*\d)\w{20,}"),
        ("Together", r"tgp_v1_[\w-]{40,}"),
        ("Hugging Face", r"hf_[A-Za-z]{30,}"),
        ("NVIDIA", r"nvapi-[\w-]{40,}"),
        ("AWS", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
        ("GitHub", r"gh[opsur]_\w{36}|github_pat_\w{50,}"),
        ("a web login, a JSON Web Token", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
        ("somebody, a private one", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    )
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_PRINTED: Final = re.compile(rb"[\t\n\r -~]{20,}")
_CODINGS: Final[Mapping[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]] = {
    "gzip": (gzip.decompress, lambda body: gzip.compress(body, mtime=0)),
    "deflate": (zlib.decompress, zlib.compress),
}
_GZIP: Final = b"\x1f\x8b"
_BROKEN: Final = (OSError, EOFError, zlib.error)


class Scrubber:
    """The placeholders of one recording. secrets: what else must not be seen. environment: variables that hold keys.

    hide_hosts: whether hosts become `host-1.invalid`, and so on.
    """

    def __init__(self, secrets: Iterable[str], environment: Mapping[str, str], *, hide_hosts: bool) -> None:
        self._hide_hosts = hide_hosts
        self._roles: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._cookies: set[str] = set()
        self._others: set[Secrets] = set()
        self._known: dict[str, tuple[Secrets, str]] = {}
        for number, secret in enumerate(secrets, 1):
            self._know(secret, f"secret-{number}")
        for name, value in environment.items():
            self._know(value, f"${name}")

    def request(self, request: Any) -> Any:
        """A request of vcrpy's, as it is compared and written. Each of its credentials gets its role by first use."""
        self._others |= set(live_secrets())
        headers = {str(name).lower(): str(value) for name, value in request.headers.items()}
        self._drop_given_cookies(headers)
        for value in request_secrets(request.uri, {}):
            self._role(value)
        kept = {}
        for name, value in headers.items():
            if _ID_HEADERS.search(name) and name != "cookie":
                self._know(value, "id-scrubbed")
            elif found := request_secrets("", {name: value}):
                # The last part of it, behind a scheme; a cookie's parts are roles of their own.
                whole, *_ = map(self._role, found)
                kept[name] = value.removesuffix(found[0]) + whole
            elif _REQUEST_HEADERS.fullmatch(name):
                kept[name] = self._text(value)
        body = request.body_bytes  # also of a file or an iterator, which could not be read twice
        body = decoded(body, "gzip") if body else b""
        scrubbed = type(request)(request.method, self._uri(request.uri), self._cleaned(body), kept)
        # The key of a replay may be a word that the recording's bodies have for themselves.
        roles = self._roles.values()
        scrubbed.as_it_is = self._cleaned(body, [known for known in self._known.values() if known[1] not in roles])
        return scrubbed

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """A response of vcrpy's: its body stays as compressed as its headers say."""
        headers = {name.lower(): values for name, values in response["headers"].items()}
        ids = [value for name, values in headers.items() if _ID_HEADERS.search(name) for value in values]
        given = {value.partition(";")[0].partition("=")[2] for value in headers.get("set-cookie", ())}
        self._cookies |= given
        # Of this response alone: each has its own, and a long loop has many.
        known = [*self._known.values(), *((Secrets([value]), "id-scrubbed") for value in (*ids, *given))]
        coding = coding_of(headers)
        body = self._cleaned(decoded(response["body"]["string"], coding), known)
        kept = {
            name: [self._text(value, known) for value in values]
            for name, values in headers.items()
            if _RESPONSE_HEADERS.fullmatch(name)
        }
        encode = _CODINGS[coding][1] if coding in _CODINGS else bytes
        status = {**response["status"], "message": self._text(response["status"]["message"] or "")}
        return {**response, "status": status, "headers": kept, "body": {"string": encode(body)}}

    def leaks(self, request: Any, response: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with an exchange that is about to be written, and where. Never shows it."""
        coding = coding_of(response["headers"])
        if coding not in ("", "identity", *_CODINGS):
            yield f"no looking into the encoding {coding}"
        answer = decoded(response["body"]["string"], coding)
        if answer.startswith(_GZIP):
            yield "no looking into a body whose compression is broken off, or not told"
        places = [("the address", request.uri), *_places("the request", request.headers, request.body)]
        places += _places("the response", response["headers"], answer)
        for where, text in places:
            if what := self.found(text) or next(filter(None, map(self.found, _unpacked(text))), None):
                yield f"{what} in {where}"

    def found(self, text: str) -> str | None:
        """What it is that must not be seen in *text*, in words; None if there is nothing."""
        known = [*(secrets for secrets, _ in self._known.values()), *self._others, *live_secrets()]
        if any(secrets.cleaned(text) != text for secrets in known):
            return "a secret that this process knows"
        whose = next((whose for whose, pattern in _KEYS if pattern.search(text)), None)
        return whose and f"what looks like a key of {whose}"

    def _know(self, value: str, instead: str) -> None:
        self._known[value] = (Secrets([value, value.upper(), value.lower()]), instead)
        # The longest first, as one may be a part of another.
        self._known = dict(sorted(self._known.items(), key=lambda known: -len(known[0])))

    def _role(self, value: str) -> str:
        if not value or _PLACEHOLDER.fullmatch(value):
            return value
        if value not in self._roles:
            self._roles[value] = f"key-{len(self._roles) + 1}"
            self._know(value, self._roles[value])
        return self._roles[value]

    def _drop_given_cookies(self, headers: dict[str, str]) -> None:
        """What the server itself has given is sent back at recording only: at replay it gives none."""
        if "cookie" in headers:
            left = [part for part in headers["cookie"].split("; ") if part.partition("=")[2] not in self._cookies]
            headers["cookie"] = "; ".join(left)
            if not left:
                del headers["cookie"]

    def _uri(self, uri: str) -> str:
        path, mark, query = str(without_userinfo(uri)).replace("***@", "", 1).partition("?")
        host = urlsplit(path).hostname or ""
        if self._hide_hosts and host and not host.endswith(".invalid"):
            instead = self._hosts.setdefault(host, f"host-{len(self._hosts) + 1}.invalid")
            self._know(host, instead)
            path = path.replace(urlsplit(path).netloc, instead, 1)
        parts = [part.partition("=") for part in query.split("&")]
        query = "&".join("".join((name, equals, self._roles.get(value, value))) for name, equals, value in parts)
        return self._text(f"{path}{mark}{query}")

    def _cleaned(self, body: bytes, known: Collection[tuple[Secrets, str]] | None = None) -> bytes:
        return self._text(body.decode("utf-8", "surrogateescape"), known).encode("utf-8", "surrogateescape")

    def _text(self, text: str, known: Collection[tuple[Secrets, str]] | None = None) -> str:
        for secrets, instead in self._known.values() if known is None else known:
            text = secrets.cleaned(text, instead)
        for pattern, to in _IDS:
            text = pattern.sub(to, text)
        return _BASE64.sub(self._packed, text)

    def _packed(self, found: re.Match[str]) -> str:
        """A run of base64 without the secrets inside. An escape may stand before it: `\\n` makes it begin one later."""
        run = found[0]
        for start in range(4):
            inside = unpacked = _decoded_base64(run[start:])
            for value, (_, instead) in self._known.items():
                if len(value) >= len(instead) and len(value) >= 8:
                    unpacked = unpacked.replace(value.encode(), instead.encode())
            if unpacked != inside:
                return run[:start] + base64.b64encode(unpacked).decode()
        return run


def key_variables() -> dict[str, str]:
    """The environment's keys, by the variables that the vendors' rows name."""
    names = {name for row in DIALECTS.values() for name in row.key_variables}
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def credentials(request: Any) -> list[str]:
    """The roles of a scrubbed request's credentials, each once."""
    headers = (value for name, value in request.headers.items() if not _REQUEST_HEADERS.fullmatch(name.lower()))
    return sorted({role for value in headers for role in _PLACEHOLDER.findall(value)})


def coding_of(headers: Mapping[str, list[str]]) -> str:
    """How a body is compressed; empty where it is not."""
    return next((values[0].lower() for name, values in headers.items() if name.lower() == "content-encoding"), "")


def decoded(body: bytes, coding: str) -> bytes:
    """The body itself, also where it is not in this coding, or in none that is known."""
    try:
        return _CODINGS[coding][0](body) if coding in _CODINGS else body
    except _BROKEN:
        return body


def _pseudonym(uuid: str) -> str:
    """Another UUID, always the same for one: ids that differed still do."""
    return f"00000000-0000-4000-8000-{sha256(uuid.lower().encode()).hexdigest()[:12]}"


def _decoded_base64(run: str) -> bytes:
    try:
        return base64.b64decode(run.rstrip("=").replace("-", "+").replace("_", "/") + "==")
    except binascii.Error:
        return b""


def _unpacked(text: str) -> Iterator[str]:
    """The texts that stand in *text* as base64, also those within other bytes, or as base64 once more."""
    for run in _BASE64.findall(text):
        for start in range(4):
            for inside in _PRINTED.findall(_decoded_base64(run[start:])):
                yield inside.decode()
                yield from _unpacked(inside.decode())


def _places(whose: str, headers: Mapping[str, Any], body: bytes | None) -> Iterator[tuple[str, str]]:
    """Every text of a request or a response, with where it is."""
    for name, value in headers.items():
        yield f"the header {name} of {whose}", value if isinstance(value, str) else "\n".join(value)
    for path, text in _texts(body or b""):
        yield f"{path} of {whose}", text


def _texts(body: bytes) -> Iterator[tuple[str, str]]:
    """Every text of a JSON document; of a stream's events, and what those at one place say in sum; else all."""
    try:
        yield from _leaves("$", msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        joined: dict[str, str] = {}
        for line in body.splitlines():
            if line.startswith(b"data:"):
                try:
                    leaves = list(_leaves("$", msgspec.json.decode(line[5:])))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                for path, text in leaves:
                    joined[path] = joined.get(path, "") + text
        yield from ((f"{path} (of all events)", text) for path, text in joined.items())
        yield "$", body.decode("utf-8", "replace")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(f"{path}[{place}]", inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield path, name
            yield from _leaves(f"{path}.{name}", inner)
