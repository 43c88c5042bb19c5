"""A second set of books: what a server says was used, priced call by call, against what an agent printed."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from penstock import BaseProvider, Chunk, Message, ModelInfo, Options, UsageChunk
from penstock.core.cost import calculate_cost
from penstock.middleware.wrapper import Wrapper

__all__ = ["Bill", "Books", "printed_bill", "reported", "totals"]

_PRINTED: Final = re.compile(r"\n(\d+) tokens in, (\d+) out: (-?)\$(\S+); caching saved (-?)\$(\S+)\n\Z")
_DATA: Final = re.compile(rb"^data: (\{.*\})$", re.MULTILINE)
_PROMPTS: Final = ("prompt_tokens", "input_tokens")
_ANSWERS: Final = ("completion_tokens", "output_tokens")


class Bill(NamedTuple):
    """What the last line of the agent says. Dollars to the last digit."""

    tokens_in: int
    tokens_out: int
    cost: Decimal
    saved: Decimal


class Books(Wrapper):
    """Keeps the usage chunks that come out of a provider, as they come."""

    def __init__(self, inner: BaseProvider) -> None:
        super().__init__(inner)
        self.chunks: list[UsageChunk] = []

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        async with aclosing(self._inner.create_message(system_prompt, messages, options)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, UsageChunk):
                    self.chunks.append(chunk)
                yield chunk


def printed_bill(output: str) -> Bill:
    """The last line of what the agent printed."""
    found = _PRINTED.search(output)
    assert found is not None, output
    return Bill(int(found[1]), int(found[2]), Decimal(found[3] + found[4]), Decimal(found[5] + found[6]))


def totals(calls: Sequence[UsageChunk], info: ModelInfo) -> Bill:
    """What these calls cost, each priced by itself, and what they would have cost more without a cache."""
    cost = without = Decimal(0)
    for call in calls:
        all_as_input = UsageChunk(input_tokens=call.prompt_tokens, output_tokens=call.output_tokens)
        paid, full = calculate_cost(call, info), calculate_cost(all_as_input, info)
        assert paid is not None
        assert full is not None
        cost, without = cost + paid, without + full
    tokens_in, tokens_out = sum(call.prompt_tokens for call in calls), sum(call.output_tokens for call in calls)
    return Bill(tokens_in, tokens_out, cost, without - cost)


def reported(body: bytes) -> UsageChunk:
    """The usage in a streamed answer, by the names that the three wires have for it and by nothing of the package."""
    seen: dict[str, Any] = {}
    for line in _DATA.findall(body):
        _merge(msgspec.json.decode(line), seen)
    (prompt,) = [seen[name] for name in _PROMPTS if name in seen]
    (answer,) = [seen[name] for name in _ANSWERS if name in seen]
    details = seen.get("prompt_tokens_details") or seen.get("input_tokens_details")
    if details is not None:  # OpenAI's count of the prompt has the cached tokens in it
        cached = details.get("cached_tokens", 0)
        return UsageChunk(input_tokens=prompt - cached, cache_read_tokens=cached, output_tokens=answer)
    written = seen.get("cache_creation_input_tokens", 0)
    read = seen.get("cache_read_input_tokens", 0)
    return UsageChunk(input_tokens=prompt, cache_read_tokens=read, cache_write_tokens=written, output_tokens=answer)


def _merge(event: Mapping[str, Any], seen: dict[str, Any]) -> None:
    """Anthropic's in `message_start` and `message_delta`, the later one winning; OpenAI's in one place."""
    for place in (event, event.get("message") or {}, event.get("response") or {}):
        seen.update(place.get("usage") or {})
