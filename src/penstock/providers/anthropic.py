"""Anthropic's models, and servers that speak its Messages API."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import Any

from penstock.core.chunks import Chunk
from penstock.core.cost import Meter
from penstock.core.errors import AuthenticationError, ConfigError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo, ProviderConfig
from penstock.core.provider import BaseProvider
from penstock.providers.redaction import config_secrets
from penstock.providers.transport import Exchange, Transport
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic.answer import VENDOR, AnthropicDecoder
from penstock.wire.anthropic.errors import response_error
from penstock.wire.anthropic.options import option_headers
from penstock.wire.anthropic.request import encode

__all__ = ["AnthropicProvider"]


class AnthropicProvider(BaseProvider):
    """Asks a model over Anthropic's Messages API. One provider may serve many calls, and several loops in turn.

    The key is the config's, or what the SDK finds: ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, its profiles.
    `/v1/messages` is appended to the config's base_url. Building the first one imports the SDK: about a second.
    """

    def __init__(self, config: ProviderConfig) -> None:
        if config.wire is not None:
            raise ConfigError(f"`wire` is {config.wire!r}, but Anthropic has only its own: leave it out")
        import anthropic  # here and not above: `import penstock` loads no SDK

        def make_client(http_client: Any) -> Any:
            client = anthropic.AsyncAnthropic(
                api_key=config.api_key,
                base_url=config.base_url,
                http_client=http_client,
                max_retries=0,
                default_headers=dict(config.headers),
                # Its spans end when its own decoder has read the stream, which never happens here.
                open_telemetry=False,
            )
            if client.api_key is None and client.auth_token is None and client.credentials is None:
                raise AuthenticationError("there is no API key: set ANTHROPIC_API_KEY, or give one in the config")
            return client

        self._config = config
        self._model = Model(config.model_id, config.model_info or ModelInfo())
        self._transport = Transport(
            anthropic,
            make_client,
            response_error,
            vendor=VENDOR,
            model=config.model_id,
            secrets=config_secrets(config),
            key_names=("ANTHROPIC_API_KEY",),
        )

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._transport.exchange(partial(self._prepare, system_prompt, messages, options or Options()))

    def _repr_parts(self) -> Iterator[str]:
        yield from super()._repr_parts()
        yield from self._transport.shown(self._config.base_url)

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    async def aclose(self) -> None:
        """See BaseProvider."""
        await self._transport.aclose()

    def _prepare(self, system_prompt: str, messages: Sequence[Message], options: Options) -> Exchange:
        meter = Meter(self._model.info, dt.datetime.now(dt.UTC))
        headers = option_headers(options)
        betas = [value for name, value in self._config.headers.items() if name.lower() == "anthropic-beta"]
        if betas and "anthropic-beta" in headers:
            headers["anthropic-beta"] = ",".join((*betas, headers["anthropic-beta"]))
        return Exchange(
            path="/v1/messages",
            body=encode(system_prompt, messages, options, self._model),
            headers=headers,
            deadlines=options.deadlines or self._config.deadlines,
            on_head=options.on_head,
            reader=AnswerReader(AnthropicDecoder(meter, self._config.max_arguments)),
            meter=meter,
        )
