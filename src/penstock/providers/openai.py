"""OpenAI's models, and everyone else who speaks OpenAI's APIs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final

from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import FindInfo
from penstock.core.provider_config import ProviderConfig
from penstock.core.validation import near
from penstock.providers.arguments import check_call, priced
from penstock.providers.credentials import Credentials, find_credentials, sdk_headers
from penstock.providers.exchange import Exchange
from penstock.providers.hosts import check_path, host_of
from penstock.providers.leaf import Leaf
from penstock.providers.redaction import check_headers
from penstock.wire.answer_reader import EventDecoder
from penstock.wire.openai.failed_calls import failed_answer

__all__ = ["OpenAIProvider"]

_SDK: Final = "openai"
_BASE_URL: Final = "OPENAI_BASE_URL"
_PATHS: Final[Mapping[str, str]] = {"chat": "/chat/completions", "responses": "/responses"}


class OpenAIProvider(Leaf):
    """Asks a model over Chat Completions or the Responses API. One provider may serve many calls, and several loops.

    dialect: the name of a row of `penstock.wire.vendors`, or a row of one's own. The config's `wire` chooses the API,
    None the vendor's best one. `/chat/completions` or `/responses` is appended to the base URL. The key is the
    config's, or that of the row's environment variables; local servers need none. A config with a `platform` asks that
    cloud, with a key or an identity for it. Raises ConfigError for an unknown dialect, wire or platform, and where
    there is no base URL. The first call of a process imports the SDK, which takes about a second, in a thread.

    find_info: what is known of another of the vendor's models, which may answer in place of the one that is asked.
    client: an `httpx2.AsyncClient` or `AsyncOpenAI` of the caller's, see `penstock.providers.lent`; None for ours.
    """

    _refused = staticmethod(failed_answer)

    def __init__(
        self,
        config: ProviderConfig,
        dialect: str | Dialect = "openai",
        *,
        find_info: FindInfo | None = None,
        client: object = None,
    ) -> None:
        self._settle(config, dialect, client, (_SDK, "AsyncOpenAI"), "chat", "responses")
        config, row = self._config, self._dialect
        self._wire = _wire(config, row)
        if config.base_url is None and row.base_url is None:
            raise ConfigError(f"`base_url` is not set, and {row.name} has no usual one: give it, with its /v1")
        check_path(config.base_url, *_PATHS.values())
        check_headers(config.headers)
        credentials = find_credentials(config, row)
        self._headers = self._left_out(client)
        self._model, self._find_info = priced(config, find_info, row, self._base_url())
        self._transport = self._connected(_SDK, partial(self._client, credentials), [credentials.key], client)

    def _client(self, credentials: Credentials, http_client: Any) -> Any:
        import openai  # here and not above: it is loaded by now

        if credentials.missing:
            raise AuthenticationError(credentials.missing)
        # The SDK's own environment (OPENAI_BASE_URL, OPENAI_ORG_ID and so on) is for OpenAI and for nobody else.
        ours = self._dialect.name == Dialect().name and self._cloud is None
        theirs = ["OpenAI-Organization", "OpenAI-Project", *sdk_headers("OPENAI_CUSTOM_HEADERS")]
        omitted: dict[str, Any] = {} if ours else dict.fromkeys(theirs, openai.Omit())
        if self._cloud is not None:
            return self._cloud.client(openai, http_client, {"default_headers": {**omitted, **self._config.headers}})
        return openai.AsyncOpenAI(
            api_key=credentials.key,
            base_url=self._base_url(),
            http_client=http_client,
            max_retries=0,
            # The first in so many words, as the SDK would prefer one of OPENAI_CUSTOM_HEADERS to the key it is given.
            default_headers={**omitted, "Authorization": f"Bearer {credentials.key}", **credentials.headers},
        )

    @cached_property
    def _account(self) -> str:
        """Who has made what must go back as it is."""
        return host_of(self._config.base_url) if self._dialect.proofs_bound else ""

    def _base_url(self) -> str | None:
        ours = self._dialect.name == Dialect().name
        return self._config.base_url or (os.environ.get(_BASE_URL) if ours else None) or self._dialect.base_url

    def _repr_own(self) -> Iterator[str]:
        yield f"dialect={self._dialect.name!r}, wire={self._wire!r}"

    def _decoder(self, meter: Meter) -> EventDecoder:
        # Here and not above, as below: of the two wires most programs call one.
        most = self._config.max_arguments
        if self._wire == "chat":
            from penstock.wire.openai.chat_answer import ChatDecoder

            return ChatDecoder(meter, self._dialect, most)
        from penstock.wire.openai.responses_answer import ResponsesDecoder

        return ResponsesDecoder(meter, self._dialect, self._account, most)

    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        check_call(messages, options)
        if self._wire == "chat":
            from penstock.wire.openai.chat_request import encode
        else:
            from penstock.wire.openai.responses_request import encode
        body = encode(system_prompt, messages, options, self._model, self._dialect, self._account)
        return self._exchange(_PATHS[self._wire], body, self._headers, options)


def _wire(config: ProviderConfig, row: Dialect) -> Wire:
    wire = config.wire or row.wires[0]
    if wire not in row.wires:
        raise ConfigError(f"`wire` is {wire!r}, but {row.name} has {' and '.join(row.wires)}{near(wire, row.wires)}")
    return wire
