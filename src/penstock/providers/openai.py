"""OpenAI's models, and everyone else who speaks OpenAI's APIs."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from penstock.core.chunks import Chunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect, Wire
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo, ProviderConfig
from penstock.core.provider import BaseProvider
from penstock.core.validation import near
from penstock.providers.redaction import config_secrets
from penstock.providers.transport import Exchange, Transport
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.errors import response_error
from penstock.wire.openai.failed_calls import failed_answer
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS, completed

__all__ = ["OpenAIProvider"]

_BASE_URL: Final = "OPENAI_BASE_URL"
_NO_KEY: Final = "none"  # the SDK wants one; servers that need none do not look


class OpenAIProvider(BaseProvider):
    """Asks a model over Chat Completions or the Responses API. One provider may serve many calls, and several loops.

    dialect: the name of a row of `penstock.wire.vendors`, or a row of one's own. The config's `wire` chooses the API,
    None the vendor's best one. `/chat/completions` or `/responses` is appended to the base URL. The key is the
    config's, or that of the row's environment variables; local servers need none. Raises ConfigError for an unknown
    dialect or wire, and where there is no base URL. Building the first one imports the SDK: about a second.
    """

    def __init__(self, config: ProviderConfig, dialect: str | Dialect = "openai") -> None:
        self._dialect = row = _row(dialect)
        self._wire = _wire(config, row)
        if config.base_url is None and row.base_url is None:
            raise ConfigError(f"`base_url` is not set, and {row.name} has no usual one: give it, with its /v1")
        credentials = _credentials(config, row)
        import openai  # here and not above: `import penstock` loads no SDK

        def make_client(http_client: Any) -> Any:
            if credentials.missing:
                names = " or ".join(row.key_variables)
                how = f"set {names}, or give one in the config" if names else "give one in the config"
                raise AuthenticationError(f"there is no API key: {how}")
            return self._client(http_client, credentials)

        # The SDK takes it only from the request itself that there is to be no such header.
        bare = row.key_header is not None and not _authorized(config.headers)
        self._headers: dict[str, Any] = {"Authorization": openai.Omit()} if bare else {}
        self._config = config
        self._model = Model(config.model_id, config.model_info or ModelInfo())
        self._transport = Transport(
            openai,
            make_client,
            response_error,
            vendor=row.name,
            model=config.model_id,
            secrets=config_secrets(config).plus([credentials.key]),
            key_names=row.key_variables,
        )

    def _client(self, http_client: Any, credentials: _Credentials) -> Any:
        import openai

        # The SDK's own environment (OPENAI_BASE_URL, OPENAI_ORG_ID and so on) is for OpenAI and for nobody else.
        ours = self._dialect.name == Dialect().name
        omitted: dict[str, Any] = {} if ours else dict.fromkeys(_sdk_headers(), openai.Omit())
        return openai.AsyncOpenAI(
            api_key=credentials.key,
            base_url=self._config.base_url or (os.environ.get(_BASE_URL) if ours else None) or self._dialect.base_url,
            http_client=http_client,
            max_retries=0,
            # The first in so many words, as the SDK would prefer one of OPENAI_CUSTOM_HEADERS to the key it is given.
            default_headers={**omitted, "Authorization": f"Bearer {credentials.key}", **credentials.headers},
        )

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._transport.exchange(partial(self._prepare, system_prompt, messages, options or Options()))

    def _repr_parts(self) -> Iterator[str]:
        yield from super()._repr_parts()
        yield f"dialect={self._dialect.name!r}, wire={self._wire!r}"
        yield from self._transport.shown(self._config.base_url)

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    async def aclose(self) -> None:
        """See BaseProvider."""
        await self._transport.aclose()

    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        meter = Meter(self._model.info, dt.datetime.now(dt.UTC))
        chat = self._wire == "chat"
        encode = chat_request.encode if chat else responses_request.encode
        decoder = ChatDecoder if chat else ResponsesDecoder
        return Exchange(
            path="/chat/completions" if chat else "/responses",
            body=encode(system_prompt, messages, options, self._model, self._dialect),
            headers=self._headers,
            deadlines=options.deadlines or self._config.deadlines,
            on_head=options.on_head,
            reader=AnswerReader(decoder(meter, self._dialect, self._config.max_arguments)),
            meter=meter,
            refused=failed_answer,
        )


class _Credentials(NamedTuple):
    """What a client is made with. missing: a key is needed, and there is none."""

    key: str
    headers: Mapping[str, str]
    missing: bool

    def __repr__(self) -> str:
        """Nothing: it stands in frames that a traceback may show."""
        return "_Credentials(***)"


def _credentials(config: ProviderConfig, row: Dialect) -> _Credentials:
    # With a header of the caller's own for it, as for a token of another kind, no variable is looked at.
    given = {name.lower(): value for name, value in config.headers.items() if value}
    authorized = _authorized(config.headers)
    key = given.get((row.key_header or "").lower()) or config.api_key
    key = key or (None if authorized else _found(row.key_variables))
    needs_key = row.needs_key if row.needs_key is not None else bool(row.key_variables)
    own = {row.key_header: key} if key is not None and row.key_header is not None else {}
    return _Credentials(key or _NO_KEY, {**own, **config.headers}, missing=key is None and needs_key and not authorized)


def _authorized(headers: Mapping[str, str]) -> bool:
    return any(value and name.lower() == "authorization" for name, value in headers.items())


def _row(dialect: str | Dialect) -> Dialect:
    if isinstance(dialect, Dialect):
        return completed(dialect)
    row = DIALECTS.get(str(dialect))
    if row is None:
        hint = near(dialect, DIALECTS)
        raise ConfigError(f"unknown dialect {dialect!r}, expected one of: {', '.join(DIALECTS)}{hint}")
    return row


def _wire(config: ProviderConfig, row: Dialect) -> Wire:
    wire = config.wire or row.wires[0]
    if wire not in row.wires:
        raise ConfigError(f"`wire` is {wire!r}, but {row.name} has {' and '.join(row.wires)}{near(wire, row.wires)}")
    return wire


def _found(variables: Sequence[str]) -> str | None:
    return next((found for name in variables if (found := os.environ.get(name))), None)


def _sdk_headers() -> list[str]:
    """The headers that the SDK would send because of its environment variables."""
    custom = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    return [
        "OpenAI-Organization",
        "OpenAI-Project",
        *(line.partition(":")[0].strip() for line in custom if ":" in line),
    ]
