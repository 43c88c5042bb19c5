"""What no cassette can hold: against llama.cpp's server itself, which `nox -s record -- --server llama.cpp` starts."""

from __future__ import annotations

import os
import urllib.request

import anyio
import msgspec
import pytest

from penstock import BaseProvider, Message, Options, TextChunk, is_available, list_models
from recording import LLAMA, SOURCES, talking_to

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        "PENSTOCK_LLAMACPP_LIVE" not in os.environ,
        reason="no llama.cpp server: `nox -s record -- --server llama.cpp` starts one and sets PENSTOCK_LLAMACPP_LIVE",
    ),
]
LLAMA_CONTEXT = 4_096  # of each slot, as serve.sh starts it
WIRES = [name for name in SOURCES if name.startswith("llama.cpp")]


async def busy() -> int:
    """How many of the server's slots are at work."""

    def ask() -> bytes:
        request = urllib.request.Request(f"{LLAMA}/slots", headers={"Authorization": "Bearer sk-test"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read())

    slots = msgspec.json.decode(await anyio.to_thread.run_sync(ask))
    return sum(slot["is_processing"] for slot in slots)


async def leave(provider: BaseProvider, how: str) -> None:
    """Begin an endless answer, and leave it after its first words."""

    async def read() -> None:
        stream = provider.create_message("", [Message("user", "LONG: never stop.")], Options(max_tokens=3000))
        try:
            async for chunk in stream:
                if not isinstance(chunk, TextChunk):
                    continue
                assert await busy()  # or it would prove nothing
                if how == "close":
                    break
                scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    with anyio.CancelScope() as scope:
        await read()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_a_stream_frees_the_servers_slot(wire: str, how: str) -> None:
    """Within a second, so that nobody pays for what nobody reads."""
    async with talking_to(wire, [], recording=False) as provider:
        await leave(provider, how)
        with anyio.fail_after(1):
            while await busy():  # noqa: ASYNC110 - another process: it can only be asked
                await anyio.sleep(0.02)


@pytest.mark.parametrize("wire", WIRES)
async def test_the_server_lists_its_model_and_whether_a_key_is_good(wire: str) -> None:
    """With the context that it is loaded with, on each wire."""
    async with talking_to(wire, [], recording=False) as provider:
        [model] = await list_models(provider)
        assert await is_available(provider)
    assert (model.id, model.listed, model.info.context_window) == ("tiny-scripted", "live", LLAMA_CONTEXT)
    async with talking_to(wire, [], key="sk-another-key", recording=False) as provider:
        seen = await is_available(provider)
    assert (seen.reachable, seen.key_accepted, seen.model_known) == (True, False, None)
