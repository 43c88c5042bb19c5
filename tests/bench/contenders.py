"""Who is measured: our provider and the SDK underneath it on each of three wires, and the transports alone.

A transport alone posts a body of the same bytes and reads the same answer, without looking into it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec

from measuring import FAST, OURS, SDK, NotMeasuredError
from penstock.core.cost import Meter
from penstock.core.messages import Message, Options, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from penstock.core.models import Model, ModelInfo
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import ProviderConfig
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.anthropic import request as anthropic_request
from penstock.wire.anthropic.answer import AnthropicDecoder
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.openai.chat_answer import ChatDecoder
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.vendors import DIALECTS
from server import ANSWERS, GPT, MODEL, PIECES, PLANS

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "CONTENDERS",
    "INFO",
    "KEY",
    "QUESTION",
    "SYSTEM",
    "Call",
    "Contender",
    "Side",
    "alone",
    "mixed_history",
    "sides",
]

OPENAI: Final = DIALECTS["openai"]
KEY: Final = "no-key-is-needed"
SYSTEM: Final = "You are a careful assistant."
QUESTION: Final = (Message("user", "Tell me a story."),)
INFO: Final = ModelInfo(input_price=Decimal(2), output_price=Decimal(10), cache_reads_price=Decimal("0.2"))
DAY: Final = dt.date(2026, 11, 21)

KEPT: Final = 60.0
"""Seconds that a connection is kept, by all sides alike: while the others have their turns, it rests."""

Call: TypeAlias = Callable[[], Awaitable[AsyncIterator[object]]]
"""Asks once, and gives what comes: chunks, an SDK's events, or bytes."""
Side: TypeAlias = Callable[[str, Sequence[Message]], AbstractAsyncContextManager[Call]]
"""Makes calls with a history to the server at a URL, and closes its client in the end."""


class Contender(NamedTuple):
    """One wire: our provider, what it sends, how it reads, and the SDK that lies underneath it."""

    provider: Callable[[ProviderConfig], BaseProvider]
    settings: dict[str, Any]
    encode: Callable[[Sequence[Message]], bytes]
    theirs: Side
    reader: Callable[[], AnswerReader]


def ours(name: str, transport: Literal["httpx2", "aiohttp"] = "httpx2") -> Side:
    """The provider."""
    contender = CONTENDERS[name]

    @asynccontextmanager
    async def side(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
        config = ProviderConfig(api_key=KEY, base_url=url, model_info=INFO, transport=transport, **contender.settings)
        async with contender.provider(config) as provider:

            async def call() -> AsyncIterator[object]:
                return provider.create_message(SYSTEM, history)

            yield call

    return side


def limits() -> httpx2.Limits:
    """Those of the SDKs, but for how long a connection is kept."""
    import httpx2  # here and not above: the rows without it do not pay for it

    return httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEPT)


@asynccontextmanager
async def anthropic_theirs(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
    """The SDK's typed stream."""
    import anthropic  # here and not above: the rows without it do not pay for it

    body = msgspec.json.decode(CONTENDERS["anthropic"].encode(history))
    for message, written in zip(history, body["messages"], strict=True):
        if isinstance(message.content, str):
            written["content"] = message.content
    client: Any = anthropic.AsyncAnthropic(
        api_key=KEY, base_url=url, max_retries=0, http_client=anthropic.DefaultAsyncHttpxClient(limits=limits())
    )
    asked = {"model": MODEL, "max_tokens": 8192, "system": SYSTEM, "messages": body["messages"]}
    async with client:
        yield partial(client.messages.create, **asked, stream=True)


@asynccontextmanager
async def openai_theirs(url: str, history: Sequence[Message], name: str) -> AsyncIterator[Call]:
    """The SDK's typed stream, of chat completions or of a response."""
    import openai  # here and not above: the rows without it do not pay for it

    body = msgspec.json.decode(CONTENDERS[name].encode(history))
    client: Any = openai.AsyncOpenAI(
        api_key=KEY, base_url=url, max_retries=0, http_client=openai.DefaultAsyncHttpx2Client(limits=limits())
    )
    if name == "chat":
        ask = partial(client.chat.completions.create, messages=body["messages"], stream_options={"include_usage": True})
    else:
        ask = partial(client.responses.create, instructions=SYSTEM, input=body["input"], store=False)
    async with client:
        yield partial(ask, model=GPT, stream=True)


CONTENDERS: Final = {
    "anthropic": Contender(
        provider=AnthropicProvider,
        settings={"model_id": MODEL},
        encode=lambda history: anthropic_request.encode(SYSTEM, history, Options(cache="off"), Model(MODEL, INFO)),
        theirs=anthropic_theirs,
        reader=lambda: AnswerReader(AnthropicDecoder(Meter(INFO, DAY))),
    ),
    "chat": Contender(
        provider=OpenAIProvider,
        settings={"model_id": GPT, "wire": "chat"},
        encode=lambda history: chat_request.encode(SYSTEM, history, Options(), Model(GPT, INFO), OPENAI),
        theirs=partial(openai_theirs, name="chat"),
        reader=lambda: AnswerReader(ChatDecoder(Meter(INFO, DAY), OPENAI)),
    ),
    "responses": Contender(
        provider=OpenAIProvider,
        settings={"model_id": GPT, "wire": "responses"},
        encode=lambda history: responses_request.encode(SYSTEM, history, Options(), Model(GPT, INFO), OPENAI),
        theirs=partial(openai_theirs, name="responses"),
        reader=lambda: AnswerReader(ResponsesDecoder(Meter(INFO, DAY), OPENAI)),
    ),
}


def sides(name: str) -> dict[str, Side]:
    """Whoever reads the answers of a wire as a user has them."""
    return {OURS: ours(name), FAST: ours(name, "aiohttp"), SDK: CONTENDERS[name].theirs}


async def httpx2_pieces(url: str, body: bytes) -> AsyncGenerator[Callable[[], AsyncGenerator[bytes]]]:
    """Over one client, as the bytes come."""
    import httpx2  # here and not above: the rows without it do not pay for it

    async with httpx2.AsyncClient(limits=limits(), timeout=None) as client:

        async def pieces() -> AsyncGenerator[bytes]:
            async with client.stream("POST", url, content=body, headers=HEADERS) as response:
                async for piece in response.aiter_raw():
                    yield piece

        yield pieces


async def aiohttp_pieces(url: str, body: bytes) -> AsyncGenerator[Callable[[], AsyncGenerator[bytes]]]:
    """Over one session, straight from its buffer."""
    import aiohttp  # here and not above: the rows without it do not pay for it

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=KEPT)) as session:

        async def pieces() -> AsyncGenerator[bytes]:
            async with session.post(url, data=body, headers=HEADERS) as response:
                while piece := await response.content.readany():
                    yield piece

        yield pieces


async def socket_pieces(url: str, body: bytes) -> AsyncGenerator[Callable[[], AsyncGenerator[bytes]]]:
    """Over one of asyncio's streams; nobody takes the chunks of HTTP apart."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"

    async def pieces() -> AsyncGenerator[bytes]:
        writer.write(head.encode() + body)
        piece = b""
        while not piece.endswith(b"\r\n0\r\n\r\n"):
            new = await reader.read(65536)
            yield new
            piece = piece[-7:] + new

    try:
        yield pieces
    finally:
        writer.close()


HEADERS: Final = {"content-type": "application/json", "accept": "text/event-stream"}
TRANSPORTS: Final = {
    "httpx2": asynccontextmanager(httpx2_pieces),
    "aiohttp": asynccontextmanager(aiohttp_pieces),
    "socket": asynccontextmanager(socket_pieces),
}


def alone(name: str, key: str) -> dict[str, Side]:
    """The transports, which read the answer of a wire and a plan, and fail if it is shorter than that."""
    size = sum(map(len, ANSWERS[name](PLANS[key].deltas)))

    def side(transport: str) -> Side:
        @asynccontextmanager
        async def made(url: str, history: Sequence[Message]) -> AsyncIterator[Call]:
            async with TRANSPORTS[transport](f"{url}/bytes", CONTENDERS[name].encode(history)) as pieces:

                async def whole() -> AsyncIterator[bytes]:
                    got = 0
                    async with aclosing(pieces()) as read:
                        async for piece in read:
                            got += len(piece)
                            yield piece
                    if got < size:
                        raise NotMeasuredError(f"{got} bytes came, expected {size} or more")

                async def call() -> AsyncIterator[object]:
                    return whole()

                yield call

        return made

    return {transport: side(transport) for transport in TRANSPORTS}


def mixed_history(size: int, vendor: str) -> list[Message]:
    """An agent's history: questions, reasoning with its proof, tool calls and their results, answers. About 0.9 MB."""
    history = []
    for place in range(0, size, 4):
        text = f"{place}:{''.join(PIECES) * 10}"
        call = ToolCallPart(id=f"toolu_{place:020}", name="read_file", arguments=f'{{"path":"{place}.py","lines":200}}')
        item = {"type": "reasoning", "id": f"rs_{place}", "summary": [], "encrypted_content": "gAAAAABn" * 60}
        thoughts = [
            ReasoningPart(text=text[:240], proof="EqQBCkYIBxgC" * 30, vendor="anthropic"),
            ReasoningPart(proof=msgspec.json.encode(item).decode(), vendor="openai"),
        ]
        history += [
            Message("user", text[:180]),
            Message("assistant", [thoughts[vendor == "openai"], TextPart(text[:100]), call]),
            Message("user", [ToolResultPart(id=call.id, content=text[:430])]),
            Message("assistant", [TextPart(text[:130])]),
        ]
    return [*history[: size - 1], Message("user", "And now?")]
