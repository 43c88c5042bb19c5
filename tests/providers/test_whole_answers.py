"""Answers that came by another way than a call, as those of a batch: read as a call's are, and priced as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from penstock import (
    AnthropicProvider,
    InvalidRequestError,
    MalformedResponseError,
    OpenAIProvider,
    OverloadedError,
    PriceChange,
    ProviderConfig,
    ProviderError,
    RateLimitError,
    Reply,
    StreamInterruptedError,
    collect,
)
from penstock.core.models import PriceSheet
from penstock.providers.leaf import Leaf
from penstock.testing import Emulator, chat_document, responses_document
from penstock.testing.events import json_reply
from reading import PRICED
from three_wires import ASK, KEY

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

LATER: Final = dt.date(2030, 1, 1)
HALF: Final = PriceSheet(input_price=Decimal("1.5"), output_price=Decimal("7.5"))
FAST: Final = PriceSheet(input_price=Decimal(6), output_price=Decimal(30))
INFO: Final = msgspec.structs.replace(
    PRICED,
    variants={"batch": HALF, "fast": FAST},
    changes=[PriceChange(from_date=LATER, input_price=Decimal(1), output_price=Decimal(1), variants={})],
)
ITEM: Final = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}


def anthropic(url: str) -> Leaf:
    return AnthropicProvider(ProviderConfig(model_id="m", model_info=INFO, api_key=KEY, base_url=url))


def openai(wire: str) -> Callable[[str], Leaf]:
    return lambda url: OpenAIProvider(
        ProviderConfig(model_id="m", model_info=INFO, api_key=KEY, base_url=url, wire=wire)  # type: ignore[arg-type]
    )


def message(**usage: Any) -> bytes:
    content = [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]
    counts = {"input_tokens": 1_000, "output_tokens": 1_000, **usage}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    return msgspec.json.encode({**head, "content": content, "usage": counts})


def chat(**more: Any) -> bytes:
    call = {"id": "1", "name": "f", "arguments": {"a": 1}}
    counts = {"prompt_tokens": 1_000, "completion_tokens": 1_000}
    document = msgspec.json.decode(chat_document(text="Hi", tool_calls=[call], usage=counts))
    return msgspec.json.encode({**document, **more})


def response(**more: Any) -> bytes:
    document = msgspec.json.decode(responses_document(ITEM, usage={"input_tokens": 1_000, "output_tokens": 1_000}))
    return msgspec.json.encode({**document, **more})


Make = Callable[[str], Leaf]
WIRES: Final[dict[str, tuple[Make, Callable[..., bytes]]]] = {
    "messages": (anthropic, message),
    "chat": (openai("chat"), chat),
    "responses": (openai("responses"), response),
}
each_wire = pytest.mark.parametrize(("make", "document"), WIRES.values(), ids=WIRES)


@each_wire
async def test_it_is_read_as_a_call_reads_it(make: Make, document: Callable[..., bytes]) -> None:
    """From a server that ignores `stream`."""
    async with Emulator(json_reply(document())) as emulator, make(emulator.url) as provider:
        called: Reply = await collect(provider.create_message("", ASK))
        assert await collect(provider.read_answer(document())) == called
        assert len(emulator.requests) == 1
    assert (called.text, called.usage.cost) == ("Hi", Decimal("0.018"))


# What is asked for, what the answer says, and the dollars; None where no price is known.
PRICES: Final[dict[str, tuple[dict[str, Any], dict[str, str], str | None]]] = {
    "as it says": ({}, {}, "0.018"),
    "of a batch": ({"variant": "batch"}, {}, "0.009"),
    "of a batch, as it says too": ({"variant": "batch"}, {"service_tier": "batch"}, "0.009"),
    "of a batch, as it says alone": ({}, {"service_tier": "batch"}, "0.009"),
    "of a batch with what has no price there": ({"variant": "batch"}, {"service_tier": "fast"}, None),
    "of a day": ({"at": LATER}, {}, "0.002"),
    "of a day on which batches have no price": ({"at": LATER, "variant": "batch"}, {}, None),
}


@pytest.mark.parametrize(("asked", "said", "dollars"), PRICES.values(), ids=PRICES)
@each_wire
async def test_prices(
    make: Make, document: Callable[..., bytes], asked: dict[str, Any], said: dict[str, str], dollars: str | None
) -> None:
    """Never the full one in place of an unknown one."""
    provider = make("http://127.0.0.1:9")
    reply = await collect(provider.read_answer(document(**said), **asked))
    assert reply.usage.cost == (None if dollars is None else Decimal(dollars))
    assert reply.usage.unsettled == (dollars is None)


def refusal(kind: str) -> bytes:
    error = {"type": kind, "message": f"no: {KEY}", "code": None}
    return msgspec.json.encode({"type": "error", "error": error})


# The document, its status, the error, and whether a bill is left open.
FAILURES: Final[dict[str, tuple[bytes, int, type[ProviderError], bool]]] = {
    "a refusal": (refusal("invalid_request_error"), 400, InvalidRequestError, False),
    "a limit": (refusal("rate_limit_error"), 429, RateLimitError, False),
    "a refusal without a status": (refusal("overloaded_error"), 200, OverloadedError, False),
    "nothing": (b"", 200, StreamInterruptedError, True),
    "null": (b"null", 200, MalformedResponseError, True),
    "half a document": (chat()[:-20], 200, MalformedResponseError, True),
    "a web page": (b"<html>", 200, MalformedResponseError, True),
}


@pytest.mark.parametrize(("document", "status", "error", "is_open"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("make", [make for make, _ in WIRES.values()], ids=WIRES)
async def test_failures(make: Make, document: bytes, status: int, error: type[ProviderError], is_open: bool) -> None:
    """Those of a call: by whom, without the key, and with what may be billed."""
    provider = make("http://127.0.0.1:9")
    with pytest.raises(error) as raised:
        await collect(provider.read_answer(document, status=status))
    assert (raised.value.vendor, raised.value.model) == (provider.vendor, "m")
    assert raised.value.usage.unsettled == is_open
    assert KEY not in f"{raised.value!r} {raised.value}"
