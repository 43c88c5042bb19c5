"""What a provider needs to know: the model, its key, its server, the cloud that serves it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from penstock.core.dialect import Wire, check_base_url, without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.keys import FetchedKey
from penstock.core.messages import Deadlines
from penstock.core.models import ModelInfo
from penstock.core.validation import check_count, near

__all__ = ["MAX_ARGUMENTS", "Form", "Key", "Platform", "ProviderConfig", "Transport"]

MAX_ARGUMENTS: Final = 64 * 1024 * 1024
"""Most characters of the arguments of one answer's tool calls, where the config says nothing else: a model that writes
as much as it can writes under 2 MB.
"""

if TYPE_CHECKING:
    Key: TypeAlias = str | Callable[[], str | FetchedKey] | Callable[[], Awaitable[str | FetchedKey]]
else:
    Key = Annotated[str, msgspec.Meta(min_length=1)]  # in a file it is text

Transport: TypeAlias = Literal["httpx2", "aiohttp"]


# Each becomes a part of a host or of a path, so nothing in it may end that: no slash, no dot in a host's name.
_LABEL: Final = r"(?ai)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SEGMENT: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}"


class Form(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """An object of models.json."""

    def __repr__(self) -> str:
        """As `rich` prints it, so that what is kept from one is kept from the other."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Platform(Form, frozen=True, kw_only=True):
    """The cloud that serves a model in place of its vendor. `penstock.wire.platforms` has what each of them needs."""

    name: str
    """The platform, as `bedrock`."""
    region: str | None = None
    """Where, as the platform spells it: `eu-central-1`, `us-east5`, `global`."""
    project: str | None = None
    """The project that is billed, at Google's."""
    workspace: str | None = None
    """The workspace, where Anthropic runs the models."""
    resource: str | None = None
    """The name of the resource, at Azure: the first part of its host."""
    profile: str | None = None
    """The profile of AWS's own files that signs; None for whatever identity this process has."""
    api_version: str | None = None
    """The dated version of Azure's older API, which has the deployment in its path; None for its `v1`."""

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(form, value):
                raise ConfigError(f"`{name}` is {value[:100]!r}, expected a name of letters, digits and hyphens")


_FORMS: Final = {
    "region": _LABEL,
    "resource": _LABEL,
    "project": _SEGMENT,
    "workspace": _SEGMENT,
    "api_version": _SEGMENT,
}


class ProviderConfig(Form, frozen=True, kw_only=True):
    """What a provider needs to know."""

    model_id: Annotated[str, msgspec.Meta(min_length=1)]
    """The model, as its vendor spells it."""
    model_info: ModelInfo | None = None
    """Prices, limits and traits; None when nothing is known, and then `open_provider` looks into the catalogue."""
    api_key: Key | None = None
    """The key, or a function that gives it, async or not, and is asked for each request. None for the vendor's
    environment variables, or the SDK's own search. In models.json also `${VARIABLE}`, `keyring:SERVICE/USER` or
    `command: PROGRAM ARGUMENT ...`.
    """
    base_url: str | None = None
    """The server, used as given; None for the vendor's own, or the platform's."""
    platform: Platform | None = None
    """The cloud that serves the model; None for its vendor."""
    wire: Wire | None = None
    """Which API of the vendor, `chat`, `responses` or `messages`; None for its default."""
    deadlines: Deadlines = Deadlines()
    """How long to wait, in seconds; `Options.deadlines` replaces them for one call."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """HTTP headers that are sent with every request."""
    max_connections: int = 1000
    """The most connections at the same time, in each event loop: as many streams can run. One more waits for
    `Deadlines.connect` and then fails.
    """
    transport: Transport = "httpx2"
    """What carries the requests: `httpx2`, or `aiohttp`, which takes about half the CPU time for an event that
    comes alone, works on asyncio, and needs the extra `aiohttp`.
    """
    max_event_bytes: int | None = None
    """The most bytes of one event of a stream, or of an answer in one document; None for what the reader takes. A
    generated image comes as one event.
    """
    max_arguments: int = MAX_ARGUMENTS
    """Most characters that the arguments of one answer's tool calls may have together, 67,108,864 if nothing is said:
    what a server can fill memory with.
    """

    def __post_init__(self) -> None:
        if not self.model_id:
            raise ConfigError(f"`model_id` is {self.model_id!r}, expected a model as its vendor spells it")
        key: object = self.api_key
        if not (key is None or isinstance(key, str) or callable(key)):
            raise ConfigError(
                f"`api_key` is of type {type(key).__name__}, expected a key, or a function that gives one"
            )
        check_base_url(self.base_url)
        check_count("max_connections", self.max_connections)
        if self.transport not in get_args(Transport):
            known = get_args(Transport)
            raise ConfigError(
                f"`transport` is {self.transport!r}, expected {' or '.join(known)}{near(self.transport, known)}"
            )
        if self.max_event_bytes is not None:
            check_count("max_event_bytes", self.max_event_bytes)
        if not isinstance(self.deadlines, Deadlines):
            raise ConfigError(f"`deadlines` is {self.deadlines!r}, expected Deadlines(...)")
        check_count("max_arguments", self.max_arguments)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The fields that tell providers apart, without the key, what the headers hold, and a password in the URL."""
        names = ["model_id", "api_key", "base_url", "platform", "wire", "headers", "model_info"]
        if self.transport != "httpx2":
            names.append("transport")
        key = "***" if self.api_key else None
        shown = {"api_key": key, "base_url": without_userinfo(self.base_url), "headers": sorted(self.headers)}
        return [(name, shown.get(name, getattr(self, name))) for name in names]
