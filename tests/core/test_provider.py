"""The one verb and what hangs on it, for a provider that writes nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal

import pytest

from penstock import (
    AnthropicProvider,
    BaseProvider,
    Chunk,
    ConfigError,
    Message,
    Model,
    ModelInfo,
    Options,
    ProviderConfig,
    StopChunk,
    TextChunk,
    UsageChunk,
)


class Parrot(BaseProvider):
    """Repeats what it hears."""

    def __init__(self) -> None:
        self.closed = False

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        try:
            yield TextChunk(str(messages[-1].content))
            yield UsageChunk(output_tokens=1)
            yield StopChunk(reason="stop")
        finally:
            self.closed = True


@pytest.mark.anyio
async def test_a_provider_needs_only_the_one_verb() -> None:
    """The rest has an answer that claims nothing."""
    async with Parrot() as parrot:
        chunks = [chunk async for chunk in parrot.create_message("", [Message("user", "Hi")])]
    assert chunks[0] == TextChunk("Hi")
    assert parrot.get_model() == Model("", ModelInfo())
    assert parrot.calculate_cost(UsageChunk(output_tokens=1)) is None


@pytest.mark.anyio
async def test_stream_closes_at_once_on_break() -> None:
    """Leaving the block runs the generator's end, before anything else happens."""
    parrot = Parrot()
    async with parrot.stream("", [Message("user", "Hi")]) as chunks:
        async for _ in chunks:
            break
        assert not parrot.closed
    assert parrot.closed


def test_the_model_and_the_price() -> None:
    """`get_model` and `calculate_cost` speak of the config's model."""
    info = ModelInfo(input_price=Decimal(3), output_price=Decimal(15))
    provider = AnthropicProvider(ProviderConfig(model_id="claude-x", model_info=info, api_key="k"))
    assert provider.get_model() == Model("claude-x", info)
    assert provider.calculate_cost(UsageChunk(input_tokens=1000, output_tokens=100)) == Decimal("0.0045")
    assert provider.calculate_cost(UsageChunk(cache_read_tokens=1)) is None


def test_a_wire_that_anthropic_has_not_is_refused() -> None:
    """Instead of being ignored."""
    with pytest.raises(ConfigError, match="wire"):
        AnthropicProvider(ProviderConfig(model_id="m", api_key="k", wire="chat"))


def test_a_config_does_not_show_its_key() -> None:
    """Nor its headers' values, which may hold one."""
    config = ProviderConfig(model_id="m", api_key="sk-canary-123456", headers={"x-key": "sk-canary-123456"})
    assert "canary" not in repr(config)
    assert "canary" not in str(config)
    assert "canary" not in f"{config.__rich_repr__()}"
    assert "'***'" in repr(config)
