"""Rows of `--peers`: the same answers read through pydantic-ai and litellm, where they are installed.

Both are asked as low as their public interface goes: a model of pydantic-ai without an agent, litellm's own functions.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

from contenders import KEY, SYSTEM, Call, Side, sides
from measuring import Bench, Row, Spent, by_turns
from penstock.core.messages import Message
from server import GPT, MODEL, PLANS, events
from streaming import KINDS, asking, opened, waiting

__all__ = ["ROWS", "installed"]

SHOWN: Final = (*((key, KINDS[key]) for key in ("one", "ones", "twenties")), ("small", "a call of 20 events"))


def model_of(name: str, url: str) -> Any:
    """A model of pydantic-ai."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    if name == "anthropic":
        return AnthropicModel(MODEL, provider=AnthropicProvider(api_key=KEY, base_url=url))
    model = OpenAIChatModel if name == "chat" else OpenAIResponsesModel
    return model(GPT, provider=OpenAIProvider(api_key=KEY, base_url=url))


def pydantic_ai(name: str) -> Side:
    """A request of a model, streamed."""

    @asynccontextmanager
    async def side(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
        from pydantic_ai.direct import model_request_stream
        from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart

        model = model_of(name, url)
        asked = ModelRequest([SystemPromptPart(SYSTEM), *(UserPromptPart(str(each.content)) for each in history)])

        async def streamed() -> AsyncIterator[object]:
            async with model_request_stream(model, [asked]) as stream:
                async for event in stream:
                    yield event

        async def call() -> AsyncIterator[object]:
            return streamed()

        yield call

    return side


def litellm(name: str) -> Side:
    """Its completion or response, streamed."""

    @asynccontextmanager
    async def side(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch the newest when it is imported
        import litellm

        messages = [{"role": each.role, "content": each.content} for each in history]
        with_system = [{"role": "system", "content": SYSTEM}, *messages]
        vendor, model = ("anthropic", MODEL) if name == "anthropic" else ("openai", GPT)
        common: dict[str, Any] = {"model": f"{vendor}/{model}", "api_key": KEY, "api_base": url, "stream": True}

        async def call() -> AsyncIterator[object]:
            answer: AsyncIterator[object]
            if name == "responses":
                answer = await litellm.aresponses(input=messages, instructions=SYSTEM, **common)
            else:
                answer = await litellm.acompletion(messages=with_system, **common)
            return answer

        yield call

    return side


PEERS: Final = {"pydantic-ai": ("pydantic_ai", pydantic_ai), "litellm": ("litellm", litellm)}


def installed() -> list[str]:
    """The peers that are."""
    return [peer for peer, (module, _) in PEERS.items() if find_spec(module) is not None]


async def compare(bench: Bench, name: str, key: str) -> Mapping[str, Spent]:
    """Ours, the SDK's and the peers'. The connections of the peers are their own affair."""
    plan = PLANS[key]
    found = {**sides(name), **{peer: PEERS[peer][1](name) for peer in installed()}}
    async with opened(bench, name, key, found, kept=False) as calls:
        works = {who: asking(call, plan.deltas) for who, call in calls.items()}
        if plan.pause:
            works = {who: waiting(work, events(name, key) // plan.per_chunk) for who, work in works.items()}
        return await by_turns(works, bench.rounds, 1 if key == "small" else events(name, key))


ROWS: Final = [
    Row(f"{kind}, with peers: {name}", "µs", functools.partial(compare, name=name, key=key))
    for key, kind in SHOWN
    for name in ("anthropic", "chat", "responses")
]
