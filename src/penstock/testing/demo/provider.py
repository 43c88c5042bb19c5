"""The provider `demo`: an ordinary one, over HTTP, to the demo model in this process."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.config.catalog import catalog
from penstock.config.entries import ModelEntry
from penstock.core.dialect import Dialect
from penstock.core.errors import ConfigError
from penstock.core.provider import BaseProvider
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from penstock.testing.answers import WIRES
from penstock.testing.demo.server import SERVER
from penstock.wire.vendors import ANTHROPIC

__all__ = ["open_demo"]

_MODEL: Final = "demo"
_UNKNOWN: Final = "http://127.0.0.1"
"""Its address until it is started."""
_MESSAGES, _OPENAI = (
    msgspec.structs.replace(
        row, name=_MODEL, source="", base_url=_UNKNOWN, key_variables=(), unasked_variants=(), batches=None
    )
    for row in (ANTHROPIC, Dialect(encrypted_reasoning=True, count_paths={"responses": "/responses/input_tokens"}))
)


class DemoProvider(AnthropicProvider):
    """Over Anthropic's wire."""

    def _base_url(self) -> str:
        return SERVER.made or _UNKNOWN


class DemoOpenAIProvider(OpenAIProvider):
    """Over one of OpenAI's wires."""

    def _base_url(self) -> str:
        return f"{SERVER.made or _UNKNOWN}/v1"


def open_demo(entry: ModelEntry) -> BaseProvider:
    """The provider of an entry whose `provider` is demo. Its server is started by the first call.

    The model is `demo`, over the wire that the entry names, `messages` if it names none; a wire as the model's name
    stands for both. Its prices are pretended. Raises ConfigError.
    """
    config = entry.provider_config
    wire = config.model_id if config.model_id in WIRES else config.wire or WIRES[0]
    if config.model_id not in (_MODEL, *WIRES) or config.wire not in (None, wire):
        raise ConfigError(f"the demo has the models {', '.join(WIRES)}, found {config.model_id!r}")
    if config.base_url is not None:
        raise ConfigError("the demo runs in this process: leave out `base_url`")
    info = config.model_info or catalog().models[_MODEL].provider_config.model_info
    config = msgspec.structs.replace(config, model_id=_MODEL, model_info=info, wire=wire)
    provider = DemoProvider(config, _MESSAGES) if wire == "messages" else DemoOpenAIProvider(config, _OPENAI)
    provider._transport.start = SERVER.get
    return provider
