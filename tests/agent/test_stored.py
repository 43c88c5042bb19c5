"""A Reply as JSON: what goes in comes out, and what is no stored reply is named."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from penstock import (
    Chunk,
    Collector,
    ConfigError,
    Message,
    OpaqueChunk,
    ReasoningChunk,
    Reply,
    StopChunk,
    TextChunk,
    TextPart,
    ToolCallChunk,
    UsageChunk,
    dump_messages,
    dump_reply,
    load_reply,
)

STOP = StopChunk(reason="tool_calls", raw_reason="tool_use", response_id="msg_1", model="m-2026")
CHUNKS: dict[str, list[Chunk]] = {
    "nothing": [],
    "a text": [TextChunk("Hé\n\u2028"), STOP],
    "a text that broke off": [UsageChunk(unsettled=1), TextChunk("H")],
    "exact dollars": [
        UsageChunk(output_tokens=7, known_cost=Decimal("1E-7")),
        UsageChunk(known_cost=Decimal(12)),
        STOP,
    ],
    "more digits than a float has": [UsageChunk(known_cost=Decimal("0.1234567890123456789012345678901")), STOP],
    "a call that can be used": [ToolCallChunk(id="c", name="f", arguments='{"a": 1.50}', extra="{}", vendor="v"), STOP],
    "a call that cannot": [ToolCallChunk(id="c", name="f", arguments="{'a", problem="It is no JSON."), STOP],
    "reasoning with its proof": [ReasoningChunk(text="Hm."), ReasoningChunk(proof="s", vendor="v", account="a"), STOP],
    "a block of the vendor's": [TextChunk("cited"), OpaqueChunk(vendor="v", data='{"b":1}', text="cited"), STOP],
}


def reply_of(chunks: list[Chunk]) -> Reply:
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    return collector.reply()


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_what_is_stored_comes_back(chunks: list[Chunk]) -> None:
    """As bytes or text, with the cost to the last digit; and its message is one for a history."""
    reply = reply_of(chunks)
    stored = dump_reply(reply)
    assert load_reply(stored) == load_reply(stored.decode()) == reply
    assert str(load_reply(stored).usage) == str(reply.usage)
    assert dump_reply(load_reply(stored)) == stored
    assert list(json.loads(stored)) == ["version", "reply"]
    if reply.message is not None:
        assert json.loads(stored)["reply"]["message"] == json.loads(dump_messages([reply.message]))["messages"][0]


def test_contents_may_be_any_sequence() -> None:
    """They are lists when they come back."""
    reply = msgspec.structs.replace(reply_of([]), message=Message("assistant", (TextPart("a"),)))
    assert load_reply(dump_reply(reply)).message == Message("assistant", [TextPart("a")])


WHOLE = json.loads(dump_reply(reply_of(CHUNKS["a text"])))


def changed(**fields: Any) -> bytes:
    return json.dumps({**WHOLE, "reply": {**WHOLE["reply"], **fields}}).encode()


@pytest.mark.parametrize(
    ("data", "path", "what"),
    [
        pytest.param(b"", "$", "Input data was truncated", id="nothing"),
        pytest.param(b"<html>", "$", "a stored reply is wrong at $: JSON is malformed", id="no JSON"),
        pytest.param(b"[]", "$", "Expected `object`, got `array`", id="a list"),
        pytest.param(b'{"version": 9}', "$.version", "a newer Penstock has written it", id="a newer version"),
        pytest.param(dump_messages([]), "$", "this is a history: use `load_messages`", id="a history"),
        pytest.param(b'{"version": 2, "reply": {}}', "$.reply", "missing required field `text`", id="half of it"),
        pytest.param(changed(text=5), "$.reply.text", "Expected `str`, got `int`", id="a number in place of text"),
        pytest.param(changed(usage={"known_cost": "x"}), "$.reply.usage.known_cost", "decimal", id="no dollars"),
        *(
            pytest.param(
                changed(usage={"known_cost": cost}), "$.reply.usage.known_cost", "expected dollars", id=cost[:9]
            )
            for cost in ("NaN", "-Infinity", "1E+999999", "1E-999999", "9" * 5001)
        ),
        pytest.param(
            changed(stop={"type": "stop"}), "$.reply.stop", "missing required field `reason`", id="half a stop"
        ),
        pytest.param(
            changed(message={"role": "system", "content": "a"}),
            "$.reply.message.role",
            "Invalid enum value 'system'",
            id="a role",
        ),
        pytest.param(b'{"version": 2, "reply": {"text": "\xff"}}', "$", "utf-8", id="bytes that are no text"),
    ],
)
def test_what_is_no_stored_reply(data: bytes, path: str, what: str) -> None:
    """An error that says where, and is a ValueError as well."""
    with pytest.raises(ConfigError, match=re.escape(what)) as caught:
        load_reply(data)
    assert caught.value.path is not None
    assert caught.value.path.startswith(path)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(5, id="a number"),
        pytest.param(reply_of([TextChunk("\ud83d")]), id="half a character"),
        pytest.param(msgspec.structs.replace(reply_of([]), stop=UsageChunk()), id="a field of a wrong type"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(wrong: Any) -> None:
    """It is found when the reply is saved, not when it is needed."""
    with pytest.raises(ConfigError, match="a stored reply is wrong at"):
        dump_reply(wrong)
