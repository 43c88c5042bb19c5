"""A client of the caller's own in place of ours: for a company's certificates, its proxies, its way to sign in.

It is used as it is, in its own event loop, and never closed here. What only our own connections do is then missing:
they are kept for 60 s, `max_connections` bounds them, they are watched while a model thinks, a request that finds one
closed is sent once more, and it is known whether a request that failed had left. So a call that is cancelled before its
answer begins counts as one that may be billed.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.provider_config import ProviderConfig
from penstock.core.waking import running_loop
from penstock.providers.answers import ERROR_BODY
from penstock.providers.environment import said_once
from penstock.providers.exchange import SDKClient
from penstock.providers.failures import RefusedError
from penstock.providers.redaction import request_secrets

if TYPE_CHECKING:
    import anthropic
    import httpx2
    import openai

    from penstock.providers.sending import Sending

    Client: TypeAlias = httpx2.AsyncClient | anthropic.AsyncAnthropic | openai.AsyncOpenAI

__all__ = ["Lent", "is_sdk", "lent_config"]


def is_sdk(client: object) -> bool:
    """Whether a client is an SDK's, which has a key of its own; an HTTP client sends ours."""
    return hasattr(client, "default_headers")


def lent_config(config: ProviderConfig, client: object, sdk: str, name: str) -> ProviderConfig:
    """*config* as it is with a client of the caller's: one of the SDK has its own key, base URL and headers.

    sdk, name: of its class. Raises ConfigError for what is no such client. It is not shown: it may be a key.
    """
    if client is None:
        return config
    # Whoever has a client has imported its class: nothing is imported to look.
    if isinstance(client, getattr(sys.modules.get("httpx2"), "AsyncClient", ())):
        return config
    if not isinstance(client, getattr(sys.modules.get(sdk), name, ())):
        found = type(client)
        raise ConfigError(
            f"`client` is of type {found.__module__.partition('.')[0]}.{found.__name__}, "
            f"expected httpx2.AsyncClient or {sdk}.{name}"
        )
    url = str(client.base_url).rstrip("/")  # type: ignore[attr-defined]
    return msgspec.structs.replace(config, api_key=None, base_url=url, headers={})


class Lent:
    """The caller's client, as the transport uses it."""

    def __init__(self, client: Any, sdk: str, transport: str) -> None:
        """sdk: its package. transport: the config's, which is not for such a client."""
        if transport == "aiohttp":
            said_once("client")
        self.client = client
        self._sdk = sdk
        self._loop: object = None  # in which it is used

    def check(self) -> None:
        """Raise ConfigError where it cannot be used: once it is closed, and in another event loop than before."""
        loop = running_loop()
        if self._loop not in (None, loop):
            raise ConfigError(
                "the client given as `client` is used in another event loop: give each loop one of its own"
            )
        self._loop = loop
        closed = self.client.is_closed
        if closed() if callable(closed) else closed:
            raise ConfigError("the client given as `client` is closed: close it after the last call")

    def taken(self, make: Callable[[Any], SDKClient]) -> SDKClient:
        """Itself if it is the SDK's, else what *make* builds around it."""
        client: SDKClient = self.client if is_sdk(self.client) else make(self.client)
        return client

    def secrets(self) -> Iterator[str]:
        """The keys that it holds, as far as they can be seen before it sends."""
        headers = self.client.default_headers if is_sdk(self.client) else self.client.headers
        shown = {name: value for name, value in headers.items() if isinstance(value, str)}
        yield from request_secrets(str(self.client.base_url), shown)

    async def answer(
        self, send: Callable[..., Awaitable[Any]], sending: Sending, learn: Callable[[Any], Awaitable[None]]
    ) -> httpx2.Response:
        """What *send* returns, or raises. learn: told of the request, once it was sent."""
        import httpx2

        sdk: Any = import_module(self._sdk)  # it is loaded by now
        sending.begun = sending.whole = True  # for all that can be seen
        try:
            # A client may have middleware, which gets to see an answer only in the SDK's own form.
            stream = await send(cast_to=object, stream_cls=sdk.AsyncStream[Any])
        except sdk.APIStatusError as error:
            await learn(error.request)
            refused = RefusedError(error.status_code, error.response.headers, error.response.content[:ERROR_BODY])
        except sdk.APIConnectionError as error:
            await learn(error.request)
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                sending.begin()
            raise
        else:
            response: httpx2.Response = stream.response
            await learn(response.request)
            return response
        raise refused  # outside, so that nothing hangs on it that holds the key
