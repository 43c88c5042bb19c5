"""Where a vendor counts the tokens of a prompt for nothing: the request, and its answer. Pure.

Sources: the types of the anthropic SDK 2.11 (MessageCountTokensParams) and of the openai SDK 3.54
(InputTokenCountParams), read 2026-11-30; llama.cpp's server of 2026-10-01, which has one for each of its wires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from penstock.core.dialect import Wire
from penstock.core.errors import MalformedResponseError
from penstock.wire.event_json import UNDECODABLE

__all__ = ["counted", "counting_body"]

_TAKEN: Final[Mapping[Wire, frozenset[str]]] = {
    "messages": frozenset((
        "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "speed",
        "mcp_servers", "context_management",
    )),
    "responses": frozenset((
        "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text",
        "truncation", "previous_response_id", "conversation", "personality",
    )),
    "chat": frozenset(("model", "messages", "tools", "tool_choice", "response_format", "chat_template_kwargs")),
}  # fmt: skip


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_count: Final = msgspec.json.Decoder(_Count)


def counting_body(body: bytes, wire: Wire) -> bytes:
    """What of a request's body the counting of its prompt takes; the rest it refuses."""
    taken = _TAKEN[wire]
    return msgspec.json.encode({name: value for name, value in _fields.decode(body).items() if name in taken})


def counted(body: bytes) -> int:
    """The tokens that the answer says. Raises MalformedResponseError."""
    try:
        return _count.decode(body).input_tokens
    except UNDECODABLE as error:
        raise MalformedResponseError(f"the count of a prompt's tokens cannot be read ({error})") from error
