"""Writes requests as a provider does, without a network: for the tests of the pure parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock import Message, Model, ModelInfo, Options, ToolCallPart, ToolResultPart
from penstock.core.dialect import Dialect
from penstock.wire.anthropic import request as anthropic_request
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.vendors import DIALECTS

UNKNOWN: Final = Model("m-1", ModelInfo())
_WRITERS: Final = {
    "messages": anthropic_request.encode,
    "chat": chat_request.encode,
    "responses": responses_request.encode,
}
PLAIN: Final = Options(cache="off")


def encode(
    messages: Sequence[Message],
    vendor: str | Dialect = "openai",
    wire: str = "chat",
    *,
    system: str = "",
    options: Options = PLAIN,
    model: Model = UNKNOWN,
    account: str = "",
) -> bytes:
    """The body of a request. account: whose proofs may go back."""
    row = DIALECTS[vendor] if isinstance(vendor, str) else vendor
    return _WRITERS[wire](system, messages, options, model, row, account)


def closed(history: Sequence[Message]) -> list[Message]:
    """The history with a result, in a message of its own at the end, for each call that has none."""
    waiting: list[str] = []
    for message in history:
        for part in message.content if not isinstance(message.content, str) else ():
            if isinstance(part, ToolCallPart):
                waiting.append(part.id)
            elif isinstance(part, ToolResultPart) and part.id in waiting:
                waiting.remove(part.id)
    results = [ToolResultPart(id=id_, content="r") for id_ in waiting]
    return [*history, Message("user", results)] if results else list(history)
