"""What `penstock doctor` looks at for nothing, before it makes a call: the file, the key, the host, the counting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import anyio
import msgspec

from penstock.cli.commands import KEYS, address
from penstock.config.catalog import needs_key
from penstock.config.entries import ModelsConfig
from penstock.config.factories import OWN
from penstock.config.keys import COMMAND, KEYRING, VARIABLE, misspelt_keys
from penstock.config.models_file import entry_of
from penstock.config.platforms import variables_of
from penstock.core.errors import AuthenticationError, ProviderError
from penstock.core.messages import Message
from penstock.core.provider import BaseProvider
from penstock.providers.environment import proxies

__all__ = ["MARKS", "Finding", "Line", "advised", "key_hint", "key_of", "preliminary"]

_CONNECT: Final = 10.0
"""Seconds for a name to be found and a connection to be opened."""
MARKS: Final = {True: "yes", False: "NO", None: "?"}
"""What a table says of what works, does not, or cannot be told."""

Line: TypeAlias = Literal[
    "models.json", "key", "host", "count",
    "reachable", "key accepted", "model known", "answers", "streams", "usage", "terminal event", "tools",
]  # fmt: skip
"""What a line of the table is about."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. works: None where it cannot be told. advice: what to do, empty where nothing is."""

    what: Line
    works: bool | None = None
    said: str = "not known"
    advice: str = ""


async def preliminary(models: ModelsConfig, alias: str, provider: BaseProvider) -> list[Finding]:
    """The lines of the table that cost nothing, none for what does not apply. No key is in any of them."""
    leaf = next(provider.leaves())
    return [
        *_file(models),
        *([] if leaf.vendor in OWN else [key_of(models, alias)]),
        *await _host(models, alias),
        *await _count(leaf, key_hint(models, alias)),
    ]


def _file(models: ModelsConfig) -> Iterator[Finding]:
    if models.source is None:
        said = "none was found: these are the models of the packaged catalogue"
    elif models.found:
        said = f"{models.source}, which was found; it asks for nothing that needs trust"
    else:
        said = f"{models.source}, which was named or is trusted"
    yield Finding(what="models.json", works=True, said=said)


def key_of(models: ModelsConfig, alias: str) -> Finding:
    """Where the key of a model comes from, or that there is none; a variable that looks misspelt is named then."""
    entry = entry_of(models, alias)
    given = entry.provider_config.api_key
    if isinstance(given, str):
        return Finding(what="key", works=True, said=_place(given))
    variables = variables_of(entry)
    variables = KEYS if KEYS[0] in variables else variables
    found = next((name for name in variables if os.environ.get(name)), None)
    if found is not None:
        return Finding(what="key", works=True, said=f"from {found}")
    if entry.provider_config.platform is not None:
        return Finding(what="key", works=None, said="none is set: the identity of this machine asks")
    if not needs_key(entry.provider):
        return Finding(what="key", works=None, said="none is set, and none is needed")
    if "authorization" in map(str.lower, entry.provider_config.headers):
        return Finding(what="key", works=True, said="in a header of models.json")
    odd = [f"{name} is set, but nothing reads it." for name, meant in misspelt_keys().items() if meant in variables]
    advice = " ".join([*odd, f"Set {' or '.join(variables)}."])
    return Finding(what="key", works=False, said="none was found", advice=advice)


def key_hint(models: ModelsConfig, alias: str) -> str:
    """What to do about a key that is refused, with where it is from; the vendor's error knows only where it may be."""
    found = key_of(models, alias)
    if not found.works:
        return ""
    place = f"$.models.{alias}.providerConfig.apiKey, " if entry_of(models, alias).provider_config.api_key else ""
    return f"Check the API key: {place}{found.said}."


def advised(error: ProviderError, key: str) -> str:
    """What to do about an error. key: for a key that was refused, empty where nothing better is known."""
    is_refused = isinstance(error, AuthenticationError) and error.status is not None and not error.retryable
    return key if key and is_refused else error.hint


def _place(given: str) -> str:
    if (variable := VARIABLE.fullmatch(given)) is not None:
        return f"from {variable[1]}, which models.json names"
    if given.startswith(KEYRING):
        return "from the keyring, as models.json says"
    return "from a command, as models.json says" if given.startswith(COMMAND) else "in models.json"


async def _host(models: ModelsConfig, alias: str) -> list[Finding]:
    """Whether the name is known and somebody listens there; behind a proxy only the proxy can tell."""
    from penstock.providers.hosts import server_of  # imports the HTTP client

    url = address(models, entry_of(models, alias))
    host, port = server_of(url)
    if not host:
        return []
    port = port or (80 if str(url).startswith("http:") else 443)
    if proxies():
        return [Finding(what="host", works=None, said=f"{host}:{port} is behind the proxy of the environment")]
    try:
        with anyio.fail_after(_CONNECT):
            await (await anyio.connect_tcp(host, port)).aclose()
    except (OSError, TimeoutError) as error:
        said = f"no connection to {host}:{port} ({error.__cause__ or error!s})"
        advice = "Check the network, and baseUrl if models.json has one."
        return [Finding(what="host", works=False, said=said, advice=advice)]
    return [Finding(what="host", works=True, said=f"{host}:{port} takes connections")]


async def _count(leaf: BaseProvider, key: str) -> list[Finding]:
    """Whether the vendor counts a prompt, which asks for the key and the model and bills nothing."""
    try:
        count = await leaf.count_tokens("", [Message("user", "Hello!")])
    except ProviderError as error:
        return [Finding(what="count", works=False, said=error.message, advice=advised(error, key))]
    if not count.exact:
        return [Finding(what="count", works=None, said="this API has no free count of prompts")]
    return [Finding(what="count", works=True, said=f"counted {count.tokens} prompt tokens (free)")]
