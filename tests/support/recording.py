"""Where cassettes come from: llama.cpp's server, our own emulator, and the real APIs wherever a key is set."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import vcr.serializers.yamlserializer

from penstock import AnthropicProvider, BaseProvider, Deadlines, ModelInfo, OpenAIProvider, ProviderConfig, catalog
from penstock.core.dialect import Wire
from penstock.testing import Emulator, Request, ServerReply

# Before any test forgets the environment.
REAL_KEYS = {"anthropic": os.environ.get("ANTHROPIC_API_KEY"), "openai": os.environ.get("OPENAI_API_KEY")}
LLAMA = "http://127.0.0.1:18090"
EMULATOR = "http://127.0.0.1:18089"  # the ports are fixed, as they stand in the cassettes
_LLAMA_SERVER = "llama.cpp's llama-server (llama-cpp-python 0.3.36) with a scripted model, over its own"
_MADE_UP = "penstock.testing.Emulator: made up after the API's documentation, not recorded from a model"


class Source(NamedTuple):
    """A server and an API of it that cassettes are recorded from. dialect: empty for Anthropic's API."""

    what: str
    model: str
    key: str
    url: str | None
    dialect: str = ""
    wire: Wire | None = None


SOURCES = {
    "llama.cpp": Source(f"{_LLAMA_SERVER} /v1/messages", "tiny-scripted", "sk-test", LLAMA),
    "llama.cpp-chat": Source(
        f"{_LLAMA_SERVER} /v1/chat/completions", "tiny-scripted", "sk-test", f"{LLAMA}/v1", "llamacpp", "chat"
    ),
    "llama.cpp-responses": Source(
        f"{_LLAMA_SERVER} /v1/responses", "tiny-scripted", "sk-test", f"{LLAMA}/v1", "llamacpp", "responses"
    ),
    "emulator": Source(_MADE_UP, "claude-sonnet-5-5", "sk-emulator", EMULATOR),
    "emulator-chat": Source(_MADE_UP, "gpt-6.1-sol", "sk-emulator", f"{EMULATOR}/v1", "openai", "chat"),
    "emulator-responses": Source(_MADE_UP, "gpt-6.1-sol", "sk-emulator", f"{EMULATOR}/v1", "openai", "responses"),
    "emulator-dialects": Source(_MADE_UP, "some-model", "sk-emulator", f"{EMULATOR}/dialects", wire="chat"),
    "anthropic": Source("the real Messages API", "claude-haiku-5-5", REAL_KEYS["anthropic"] or "replayed", None),
    "openai": Source("the real Responses API", "gpt-6-luna", REAL_KEYS["openai"] or "replayed", None, "openai"),
}
_PATHS = {"messages": "", "completions": "-chat", "responses": "-responses"}


def source_of(uri: str) -> str:
    """The name of the source that a request went to."""
    if uri.startswith(f"{EMULATOR}/dialects"):
        return "emulator-dialects"
    kind = _PATHS[uri.rpartition("/")[2]]
    server = next((name for name, url in (("llama.cpp", LLAMA), ("emulator", EMULATOR)) if uri.startswith(url)), None)
    if server is None:
        return "anthropic" if kind == "" else "openai"
    return f"{server}{kind}"


def header(cassette: dict[str, Any]) -> str:
    """The first lines of a cassette."""
    name = source_of(cassette["interactions"][0]["request"]["uri"])
    day = dt.datetime.now(dt.UTC).date()
    return (
        f"# Recorded on {day} from {SOURCES[name].what}.\n"
        f"# `nox -s record -- {name.partition('-')[0]}` makes it again; penstock.testing.cassettes "
        "takes keys and ids out.\n"
    )


@asynccontextmanager
async def talking_to(
    name: str,
    replies: list[ServerReply | Callable[[Request], ServerReply]],
    *,
    key: str | None = None,
    recording: bool,
    dialect: str = "",
    info: ModelInfo | None = None,
    model: str | None = None,
) -> AsyncIterator[BaseProvider]:
    """A provider that asks a source. The emulator runs only while it is being recorded.

    info: of a model that the catalogue does not know. model: another one than the source's.
    """
    source = SOURCES[name]
    known = catalog().models.get(source.model)
    config = ProviderConfig(
        model_id=model or source.model,
        model_info=known.provider_config.model_info if known else info,
        api_key=key or source.key,
        base_url=source.url,
        wire=source.wire,
        deadlines=Deadlines(first_chunk=60, stall=60),
    )
    row = dialect or source.dialect
    async with OpenAIProvider(config, row) if row else AnthropicProvider(config) as provider:
        if recording and source.url is not None and source.url.startswith(EMULATOR):
            async with Emulator(*replies, port=18089):
                yield provider
        else:
            yield provider


class WithAHeader:
    """Cassettes whose first lines say what they were recorded from."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        """YAML under the header."""
        return header(cassette) + str(vcr.serializers.yamlserializer.serialize(cassette))

    @staticmethod
    def deserialize(text: str) -> Any:
        """YAML knows the header as a comment."""
        return vcr.serializers.yamlserializer.deserialize(text)
