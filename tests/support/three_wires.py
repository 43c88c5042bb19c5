"""The three wires side by side, for what must hold on each of them: an answer, an error, and a provider for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from penstock import (
    AnthropicProvider,
    BaseProvider,
    Chunk,
    Message,
    OpenAIProvider,
    Options,
    ProviderConfig,
    ProviderError,
)
from penstock.testing import (
    ServerReply,
    anthropic_error,
    anthropic_message,
    chat_completion,
    openai_error,
    responses_message,
)
from penstock.wire import errors as anthropic_errors
from penstock.wire import errors as openai_errors
from reading import PRICED

__all__ = ["ASK", "KEY", "WIRES", "ThreeWire", "each_wire", "failure", "read"]

KEY: Final = "no-key-is-needed"


class ThreeWire(NamedTuple):
    """One wire. answer: the events of a text. begun: how many come before its first piece.

    error: a reply of a failing status with these words. no_content: an event that says nothing. make: the provider.
    """

    name: str
    answer: Callable[[str], list[bytes]]
    begun: int
    error: Callable[..., ServerReply]
    response_error: Callable[..., ProviderError]
    no_content: bytes
    make: Callable[..., BaseProvider]

    def provider(self, url: str, **config: Any) -> BaseProvider:
        """One that asks the server at *url*."""
        settings: dict[str, Any] = {"model_id": "m", "model_info": PRICED, "api_key": KEY, "base_url": url}
        dialect = {"dialect": config.pop("dialect")} if "dialect" in config else {}
        return self.make(ProviderConfig(**(settings | config)), **dialect)


ASK: Final = [Message("user", "Hi")]


async def read(provider: BaseProvider, into: list[Chunk] | None = None, options: Options | None = None) -> list[Chunk]:
    """The chunks of a call; *into* has those before an error too."""
    chunks = [] if into is None else into
    async with provider.stream("", ASK, options) as stream:
        async for chunk in stream:
            chunks.append(chunk)
    return chunks


async def failure(
    provider: BaseProvider, into: list[Chunk] | None = None, options: Options | None = None
) -> ProviderError:
    """What a call raises, which must be one of ours."""
    with pytest.raises(ProviderError) as raised:
        await read(provider, into, options)
    return raised.value


def _chat(text: str) -> list[bytes]:
    return list(chat_completion(text=text, piece=4))


def _responses(text: str) -> list[bytes]:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return list(responses_message(item, piece=4))


def _openai(wire: str) -> Callable[..., BaseProvider]:
    def make(config: ProviderConfig, dialect: str = "openai") -> BaseProvider:
        return OpenAIProvider(msgspec.structs.replace(config, wire=wire), dialect)

    return make


def _anthropic_error(status: int, message: str, **options: Any) -> ServerReply:
    return anthropic_error(status, "some_error", message, **options)


def _text(answer: Callable[[str], Sequence[bytes]]) -> int:
    """How many events come before the first piece of text."""
    return next(number for number, event in enumerate(answer("Zebra")) if b'"Zebr"' in event)


def _anthropic(text: str) -> list[bytes]:
    return list(anthropic_message({"type": "text", "text": text}, piece=4))


WIRES: Final = (
    ThreeWire(
        "anthropic",
        _anthropic,
        _text(_anthropic),
        _anthropic_error,
        anthropic_errors.response_error,
        b'event: ping\ndata: {"type":"ping"}\n\n',
        AnthropicProvider,
    ),
    ThreeWire(
        "chat",
        _chat,
        _text(_chat),
        partial(openai_error, kind="some_error"),
        openai_errors.response_error,
        b'data: {"choices":[],"usage":null}\n\n',
        _openai("chat"),
    ),
    ThreeWire(
        "responses",
        _responses,
        _text(_responses),
        partial(openai_error, kind="some_error"),
        openai_errors.response_error,
        b'event: response.in_progress\ndata: {"type":"response.in_progress","response":{}}\n\n',
        _openai("responses"),
    ),
)
each_wire: Final = pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.name) for wire in WIRES])
