"""Anthropic's models, and servers that speak its Messages API."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Final

import msgspec

from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import FindInfo
from penstock.core.provider_config import ProviderConfig
from penstock.providers.arguments import check_call, prepared, priced
from penstock.providers.credentials import NO_KEY, Credentials, find_credentials, sdk_headers
from penstock.providers.exchange import Exchange, Outgoing
from penstock.providers.hosts import check_path, host_of, is_at
from penstock.providers.leaf import Leaf
from penstock.providers.redaction import check_headers
from penstock.wire.answer_reader import EventDecoder
from penstock.wire.anthropic.options import option_headers
from penstock.wire.anthropic.request import encode, versioned
from penstock.wire.vendors import ANTHROPIC

__all__ = ["AnthropicProvider"]


_SDK: Final = "anthropic"
_BASE_URL: Final = "ANTHROPIC_BASE_URL"
_PATH: Final = "/v1/messages"
_VERSION: Final = "/v1"


class AnthropicProvider(Leaf):
    """Asks a model over Anthropic's Messages API. One provider may serve many calls, and several loops in turn.

    dialect: the name of a row of `penstock.wire.vendors`, or a row of one's own, for servers of this API that are not
    Anthropic's. The key is the config's, or that of the row's environment variables; at Anthropic what its SDK finds:
    ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, its profiles. `/v1/messages` is appended to the base URL, and `/messages`
    to one that ends in `/v1`. A config with a `platform` asks that cloud, with a key or an identity for it. Raises
    ConfigError for an unknown dialect or platform, and where there is no base URL. The first call of a process imports
    the SDK, which takes about a second, in a thread.

    find_info: what is known of another of the vendor's models, which may answer in place of the one that is asked.
    client: an `httpx2.AsyncClient` or `AsyncAnthropic` of the caller's, see `penstock.providers.lent`; None for ours.
    """

    _wire = "messages"

    def __init__(
        self,
        config: ProviderConfig,
        dialect: str | Dialect = "anthropic",
        *,
        find_info: FindInfo | None = None,
        client: object = None,
    ) -> None:
        self._settle(config, dialect, client, (_SDK, "AsyncAnthropic"), "messages")
        config, row, cloud = self._config, self._dialect, self._cloud
        if config.wire not in (None, "messages"):
            raise ConfigError(f"`wire` is {config.wire!r}, but {row.name} has only its own: leave it out")
        if config.base_url is None and row.base_url is None:
            raise ConfigError(f"`base_url` is not set, and {row.name} has no usual one: give it")
        check_path(config.base_url, _PATH)
        check_headers(config.headers)
        # The SDK's own environment and its search for credentials are for Anthropic and for nobody else.
        ours = row.name == ANTHROPIC.name and cloud is None
        credentials = None if ours else find_credentials(config, row)
        self._headers = self._left_out(client)
        self._model, self._find_info = priced(config, find_info, row, self._base_url())
        keys = [] if credentials is None else [credentials.key]
        self._transport = self._connected(_SDK, partial(self._client, credentials), keys, client)

    def _client(self, credentials: Credentials | None, http_client: Any) -> Any:
        import anthropic  # here and not above: it is loaded by now

        theirs: dict[str, Any] = {}
        # With one that each request gets anew the SDK does not search, as with one that it is given.
        given = self._config.api_key
        given = NO_KEY if given is not None and not isinstance(given, str) else given
        if credentials is not None:
            if credentials.missing:
                raise AuthenticationError(credentials.missing)
            # The key in so many words, as the SDK would prefer a header of its variable to the key that it is given.
            omitted = dict.fromkeys(sdk_headers("ANTHROPIC_CUSTOM_HEADERS"), anthropic.Omit())
            if self._cloud is not None:
                more = {"default_headers": {**omitted, **self._config.headers}, "open_telemetry": False}
                return self._cloud.client(anthropic, http_client, more)
            theirs = {**omitted, "Authorization": f"Bearer {credentials.key}", **credentials.headers}
        client = anthropic.AsyncAnthropic(
            api_key=given if credentials is None else credentials.key,
            # At Anthropic a profile that the SDK finds may have an address of its own.
            base_url=self._config.base_url if credentials is None else self._base_url(),
            http_client=http_client,
            max_retries=0,
            default_headers={**theirs, **self._config.headers},
            # Its spans end when its own decoder has read the stream, which never happens here.
            open_telemetry=False,
        )
        if client.api_key is None and client.auth_token is None and client.credentials is None:
            raise AuthenticationError("there is no API key: set ANTHROPIC_API_KEY, or give one in the config")
        return client

    def _repr_own(self) -> Iterator[str]:
        return iter(()) if self._dialect.name == ANTHROPIC.name else super()._repr_own()

    def _place(self, path: str) -> str:
        # The version may stand at the end of the base URL as well.
        return path.removeprefix(_VERSION) if self._base_url().rstrip("/").endswith(_VERSION) else path

    def _decoder(self, meter: Meter) -> EventDecoder:
        from penstock.wire.anthropic.answer import AnthropicDecoder  # here and not above: for those who call

        return AnthropicDecoder(meter, self._dialect, self._account, self._config.max_arguments)

    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        check_call(messages, options)
        headers = {**self._headers, **option_headers(options, self._dialect)}
        betas = [value for name, value in self._config.headers.items() if name.lower() == "anthropic-beta"]
        if betas and "anthropic-beta" in headers:
            headers["anthropic-beta"] = ",".join((*betas, headers["anthropic-beta"]))
        path, body = _PATH, encode(system_prompt, messages, options, self._model, self._dialect, self._account)
        if self._cloud is not None and self._cloud.path is not None:
            path, body = self._cloud.path, versioned(body, headers.pop("anthropic-version"))
        return self._exchange(path, body, headers, options)

    def call_headers(self, system_prompt: str, messages: Sequence[Message], options: Options) -> dict[str, str]:
        """See Leaf."""
        call = prepared(partial(self._taken, system_prompt, messages, options))
        return {name: value for name, value in call.headers.items() if value is not None}

    def _counting(self, path: str, system_prompt: str, messages: Sequence[Message], options: Options) -> Outgoing:
        call = super()._counting(path, system_prompt, messages, options)
        if self._cloud is None or self._cloud.path is None:
            return call
        version = option_headers(options, self._dialect)["anthropic-version"]
        return msgspec.structs.replace(call, body=versioned(call.body or b"", version, self._model.id))

    @cached_property
    def _account(self) -> str:
        """Who has made what must go back as it is. What Anthropic has not signed another server has, whoever it is."""
        url, own = self._base_url(), ANTHROPIC.base_url or ""
        # Of two that are the same nothing has to be read, by the HTTP client that is.
        foreign = self._dialect.name == ANTHROPIC.name and self._cloud is None and url != own and not is_at(url, own)
        return host_of(url) if foreign or self._dialect.proofs_bound else ""

    def _base_url(self) -> str:
        ours = self._dialect.name == ANTHROPIC.name
        return self._config.base_url or (os.environ.get(_BASE_URL) if ours else None) or self._dialect.base_url or ""
