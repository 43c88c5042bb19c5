"""Anthropic's Messages API, the events of an answer: the fields that are read of them."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "CONTAINER",
    "BlockStart",
    "BlockStartEvent",
    "BlockStopEvent",
    "BlockType",
    "Delta",
    "DeltaEvent",
    "Message",
    "MessageDeltaEvent",
    "MessageEnd",
    "MessageStartEvent",
    "RareDeltaEvent",
    "WholeMessage",
]

CONTAINER: Final = "container"
"""The type of what stands in a history for the container of an answer: no block, but a field of the next request."""


class Delta(msgspec.Struct, gc=False):
    """A piece of a block."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None


class DeltaEvent(msgspec.Struct, gc=False):
    """What comes nine times of ten."""

    delta: Delta | None = None
    index: int | None = None


class RareDelta(msgspec.Struct):
    """The fields of the deltas that are too rare to be looked for in each; empty where there is none."""

    citation: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()


class RareDeltaEvent(msgspec.Struct):
    """A delta with all its fields."""

    delta: RareDelta


class BlockType(msgspec.Struct):
    """What a block is."""

    type: str | None = None
    caller: msgspec.Raw = msgspec.Raw()  # who made a call


class BlockStart(msgspec.Struct):
    """The fields of the blocks that have a neutral form. Other blocks may use the same names for other things."""

    text: str | None = None
    citations: list[msgspec.Raw] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    caller: msgspec.Raw = msgspec.Raw()
    toolset_name: msgspec.Raw = msgspec.Raw()


class BlockStartEvent(msgspec.Struct):
    """A block begins."""

    content_block: msgspec.Raw  # required: without it a call would be lost, and nothing would say so
    index: int | None = None


class BlockStopEvent(msgspec.Struct):
    """A block has ended."""

    index: int | None = None


class Message(msgspec.Struct):
    """What the first event says of the answer, and a whole answer of itself."""

    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    content: list[msgspec.Raw] | str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    container: msgspec.Raw = msgspec.Raw()


class MessageStartEvent(msgspec.Struct):
    """The first event."""

    message: Message | None = None


class MessageEnd(msgspec.Struct):
    """Why the answer ended."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    container: msgspec.Raw = msgspec.Raw()


class MessageDeltaEvent(msgspec.Struct):
    """The last event but one."""

    delta: MessageEnd | None = None
    usage: msgspec.Raw = msgspec.Raw()


class WholeMessage(Message):
    """An answer that came as one document."""

    type: str | None = None
