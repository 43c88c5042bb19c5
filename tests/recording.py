"""Where cassettes come from: llama.cpp's server, our own emulator, and the real API wherever a key is set."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from penstock import AnthropicProvider, Deadlines, ProviderConfig, catalog
from penstock.testing import Emulator, Reply, Request

# Before any test forgets the environment.
REAL_KEY = os.environ.get("ANTHROPIC_API_KEY")


class Source(NamedTuple):
    """A server that cassettes are recorded from. The ports are fixed, as they stand in the cassettes."""

    what: str
    model: str
    key: str
    url: str | None


SOURCES = {
    "llama.cpp": Source(
        "llama.cpp's llama-server (llama-cpp-python 0.3.36) with a scripted model, over its own /v1/messages",
        "tiny-scripted",
        "sk-test",
        "http://127.0.0.1:18090",
    ),
    "emulator": Source(
        "penstock.testing.Emulator: made up after the API's documentation, not recorded from a model",
        "claude-sonnet-5-5",
        "emulator",
        "http://127.0.0.1:18089",
    ),
    "anthropic": Source("the real Messages API", "claude-haiku-5-5", REAL_KEY or "replayed", None),
}


def header(cassette: dict[str, Any]) -> str:
    """The first lines of a cassette."""
    uri = cassette["interactions"][0]["request"]["uri"] if cassette["interactions"] else ""
    name = next((name for name, source in SOURCES.items() if source.url and uri.startswith(source.url)), "anthropic")
    day = dt.datetime.now(dt.UTC).date()
    return (
        f"# Recorded on {day} from {SOURCES[name].what}.\n"
        f"# `nox -s record -- {name}` makes it again; keys and ids are scrubbed (tests/scrubbing.py).\n"
    )


@asynccontextmanager
async def talking_to(
    name: str, replies: list[Reply | Callable[[Request], Reply]], *, key: str | None = None, recording: bool
) -> AsyncIterator[AnthropicProvider]:
    """A provider that asks a source. The emulator runs only while it is being recorded."""
    source = SOURCES[name]
    known = catalog().models.get(source.model)
    config = ProviderConfig(
        model_id=source.model,
        model_info=known.provider_config.model_info if known else None,
        api_key=key or source.key,
        base_url=source.url,
        deadlines=Deadlines(first_chunk=60, stall=60),
    )
    async with AnthropicProvider(config) as provider:
        if recording and name == "emulator":
            async with Emulator(*replies, port=18089):
                yield provider
        else:
            yield provider
