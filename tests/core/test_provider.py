"""The one verb and what hangs on it, for a provider that writes nothing else."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal

import pytest

import penstock.middleware
from penstock import (
    AnthropicProvider,
    BaseProvider,
    CacheWatch,
    Chunk,
    ConfigError,
    Message,
    Model,
    ModelInfo,
    OpenAIProvider,
    Options,
    ProviderConfig,
    StopChunk,
    TextChunk,
    UsageChunk,
)
from penstock.core.closing import closable
from penstock.middleware import CircuitBreaker, Concurrency, Defaults, Fallback, Observe, RateLimit, Retry, Wrapper
from penstock.testing import ScriptedProvider

ASK = [Message("user", "Hi")]


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


@pytest.mark.anyio
@pytest.mark.parametrize("around", [lambda inner: inner, Retry], ids=["alone", "in a middleware"])
async def test_a_stream_that_is_not_entered_says_so(around: Callable[[BaseProvider], BaseProvider]) -> None:
    """Whoever iterates over it or awaits it; nothing has been asked then, and nothing warns."""
    parrot = Parrot()
    said = (
        "this is the context manager of provider.stream(...): write `async with provider.stream(...) as chunks`, "
        "or use provider.create_message(...)"
    )
    with pytest.raises(ConfigError) as iterated:
        async for _ in around(parrot).stream("", ASK):  # type: ignore[attr-defined]
            pass
    with pytest.raises(ConfigError) as awaited:
        await around(parrot).stream("", ASK)  # type: ignore[misc]
    assert str(iterated.value) == str(awaited.value) == said
    assert not parrot.closed
    gc.collect()


def test_what_is_used_without_async_says_what_to_write() -> None:
    """The provider, its stream and the chunks; a type checker refuses all three."""
    parrot = Parrot()
    with pytest.raises(ConfigError, match="`async with`; with a plain `with`, write `blocking"), parrot:  # type: ignore[attr-defined]
        pass
    with pytest.raises(ConfigError, match="write `async with provider"):
        list(parrot.stream("", ASK))  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="`async for`; for a plain `for`, write `blocking"):
        list(closable(parrot.create_message)("", ASK))  # type: ignore[call-overload]


@pytest.mark.anyio
async def test_an_error_inside_of_a_stream_closes_it_and_gets_out() -> None:
    """As it is."""
    parrot, error = Parrot(), RuntimeError("mine")

    async def use() -> None:
        async with parrot.stream("", ASK) as chunks:
            await anext(chunks)
            raise error

    with pytest.raises(RuntimeError) as caught:
        await use()
    assert caught.value is error
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


def test_what_is_no_config_is_told_by_the_arguments_name() -> None:
    """Without being shown: it may be a key."""
    for provider in (AnthropicProvider, penstock.OpenAIProvider):
        with pytest.raises(ConfigError, match=r"^`config` is of type str, expected ProviderConfig\(model_id=...\)$"):
            provider("sk-secret")  # type: ignore[arg-type]


def test_a_config_does_not_show_its_key() -> None:
    """Nor its headers' values, which may hold one."""
    config = ProviderConfig(model_id="m", api_key="sk-canary-123456", headers={"x-key": "sk-canary-123456"})
    assert "canary" not in repr(config)
    assert "canary" not in str(config)
    assert "canary" not in f"{config.__rich_repr__()}"
    assert "'***'" in repr(config)


class Louder(Wrapper):
    """A middleware of one's own, which says nothing of its repr."""

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        return self._inner.create_message(system_prompt.upper(), messages, options)


SECRET = "sk-canary-123456"


def claude(**config: object) -> AnthropicProvider:
    return AnthropicProvider(ProviderConfig(model_id="claude-x", api_key=SECRET, **config))  # type: ignore[arg-type]


def gpt(dialect: str = "openai", **config: object) -> OpenAIProvider:
    headers = {"x-key": SECRET}
    return OpenAIProvider(
        ProviderConfig(model_id="gpt-x", api_key=SECRET, headers=headers, **config),  # type: ignore[arg-type]
        dialect,
    )


def scripted(model: str = "a") -> ScriptedProvider:
    return ScriptedProvider(model=model)


REPRS = [
    pytest.param(claude(), "AnthropicProvider('claude-x')", id="the vendor's own server"),
    pytest.param(
        claude(base_url=f"https://me:{SECRET}@a.b:8/v/?key={SECRET}#{SECRET}"),
        "AnthropicProvider('claude-x', base_url='https://***@a.b:8/v/')",
        id="a URL with a password and a query",
    ),
    pytest.param(
        gpt(base_url=f"https://a.b/{SECRET}/v1"),
        "OpenAIProvider('gpt-x', dialect='openai', wire='responses', base_url='https://a.b/***/v1')",
        id="a URL with the key in its path",
    ),
    pytest.param(gpt(), "OpenAIProvider('gpt-x', dialect='openai', wire='responses')", id="the best wire"),
    pytest.param(
        gpt("deepseek", wire="chat"), "OpenAIProvider('gpt-x', dialect='deepseek', wire='chat')", id="another dialect"
    ),
    pytest.param(scripted("m"), "ScriptedProvider('m')", id="a script"),
    pytest.param(Parrot(), "Parrot()", id="one's own, without a model"),
    pytest.param(Louder(scripted()), "Louder(ScriptedProvider('a'))", id="one's own around one"),
    pytest.param(Louder.__new__(Louder), "Louder(...)", id="half built"),
    pytest.param(Retry(scripted()), "Retry(ScriptedProvider('a'), attempts=3)", id="retry"),
    pytest.param(
        Retry(Fallback(claude(), gpt(), scripted()), attempts=2),
        "Retry(Fallback(AnthropicProvider('claude-x'), OpenAIProvider('gpt-x', dialect='openai', wire='responses'), "
        "ScriptedProvider('a')), attempts=2)",
        id="all that it falls back on",
    ),
    pytest.param(
        CircuitBreaker(scripted(), failures=2),
        "CircuitBreaker(ScriptedProvider('a'), failures=2, window=60.0, pause=30.0)",
        id="circuit breaker",
    ),
    pytest.param(Concurrency(scripted(), 20), "Concurrency(ScriptedProvider('a'), limit=20)", id="concurrency"),
    pytest.param(
        RateLimit(scripted(), requests_per_minute=9),
        "RateLimit(ScriptedProvider('a'), requests_per_minute=9)",
        id="a limit that is not there is left out",
    ),
    pytest.param(
        Defaults(scripted(), Options(seed=1, extra={"key": SECRET})),
        "Defaults(ScriptedProvider('a'), options=['seed', 'extra'])",
        id="defaults",
    ),
    pytest.param(Observe(scripted(), print), "Observe(ScriptedProvider('a'))", id="observe"),
    pytest.param(CacheWatch(scripted()), "CacheWatch(ScriptedProvider('a'))", id="cache watch"),
]


@pytest.mark.parametrize(("provider", "shown"), REPRS)
def test_a_provider_says_what_it_is(provider: BaseProvider, shown: str) -> None:
    """Around what, and for which model; and no secret."""
    assert repr(provider) == shown
    assert "canary" not in shown


def test_every_middleware_stands_in_the_table() -> None:
    """A new one as well."""
    public = (getattr(penstock.middleware, name) for name in dir(penstock.middleware))
    wrappers = {thing for thing in public if isinstance(thing, type) and issubclass(thing, Wrapper)}
    assert wrappers - {Wrapper, Fallback} <= {type(row.values[0]) for row in REPRS}
