"""Nothing of a request is kept once its call has ended, and who lends a client sees what it does."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import pytest

from penstock import AnthropicProvider, ProviderConfig, TextChunk
from penstock.testing import Emulator, ServerReply
from three_wires import KEY, WIRES, ThreeWire, each_wire, read

pytestmark = pytest.mark.anyio


@each_wire
async def test_a_request_does_not_outlive_its_call(wire: ThreeWire) -> None:
    """It holds the whole history as bytes, and the garbage collector may not run for long."""
    async with Emulator(then=ServerReply(wire.answer("Hi"))) as emulator, wire.provider(emulator.url) as provider:
        await read(provider)
        gc.collect()
        gc.disable()
        try:
            await read(provider)
            kept = [one for one in gc.get_objects() if isinstance(one, httpx2.Request)]
        finally:
            gc.enable()
    assert not kept


async def test_the_middleware_of_a_lent_client_sees_the_call() -> None:
    """And its answer in the SDK's own form, as everywhere else."""
    seen = []

    async def watching(request: Any, go_on: Callable[[Any], Awaitable[Any]]) -> Any:
        answer = await go_on(request)
        seen.append(answer.http_response.status_code)
        return answer

    async with (
        Emulator(then=ServerReply(WIRES[0].answer("Hi"))) as emulator,
        anthropic.AsyncAnthropic(api_key=KEY, base_url=emulator.url, middleware=[watching]) as client,
    ):
        chunks = await read(AnthropicProvider(ProviderConfig(model_id="m"), client=client))
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "Hi"
    assert seen == [200]
