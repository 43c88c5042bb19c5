"""What the system says after others have spoken, and what a user shows that only some chat servers take."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from penstock import Message, OpaquePart, Options, Part, TextPart, ToolCallPart, ToolResultPart
from penstock.core.dialect import Wire
from penstock.core.messages import CHAT_PARTS
from writing import encode

WIRES: Final[list[tuple[str, Wire]]] = [("anthropic", "messages"), ("openai", "chat"), ("openai", "responses")]
each_wire = pytest.mark.parametrize(("vendor", "wire"), WIRES, ids=[wire for _, wire in WIRES])
CALL: Final = Message("assistant", [ToolCallPart(id="a", name="get")])
RESULT: Final = ToolResultPart(id="a", content="r")


def turns(parts: list[Part], vendor: str, wire: Wire, options: Options | None = None) -> list[Any]:
    """What is written of a user's parts, after a call of a tool."""
    body = encode([Message("user", "Hi"), CALL, Message("user", parts)], vendor, wire, options=options or Options())
    request = msgspec.json.decode(body)
    written: list[Any] = request["input" if wire == "responses" else "messages"]
    return written[2:]


def system(vendor: str, content: Any = "Be kind.") -> OpaquePart:
    data = msgspec.json.encode({"role": "system", "content": content}).decode()
    return OpaquePart(vendor=vendor, data=data, text="Be kind.")


@each_wire
def test_it_is_a_message_of_its_own_at_its_vendor(vendor: str, wire: Wire) -> None:
    """In its place between what the user says."""
    written = turns([RESULT, TextPart("a"), system(vendor), TextPart("b")], vendor, wire)
    assert [turn.get("role") for turn in written[-3:]] == ["user", "system", "user"]
    text = [{"type": "text", "text": "Be kind."}] if wire == "messages" else "Be kind."
    assert written[-2] == {"role": "system", "content": text}


@each_wire
def test_another_vendors_is_the_users(vendor: str, wire: Wire) -> None:
    """As text."""
    written = turns([RESULT, system("elsewhere")], vendor, wire)
    assert {turn.get("role", "user") for turn in written} <= {"user", "tool"}
    assert "Be kind." in str(written)


def test_it_may_hold_more_than_text() -> None:
    """At Anthropic; and it does not change where the marks of the cache stand."""
    blocks = [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}]
    written = turns([RESULT, TextPart("a"), system("anthropic", blocks)], "anthropic", "messages")
    assert written[-1] == {"role": "system", "content": blocks}
    assert written[-2]["content"][-1]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize("kind", sorted(CHAT_PARTS))
def test_what_some_chat_servers_take_goes_to_its_vendor_as_it_came(kind: str) -> None:
    """And not to another, nor to another API of the vendor's."""
    part = OpaquePart(vendor="openai", data=msgspec.json.encode({"type": kind, kind: {"x": 1.5}}).decode())
    assert turns([RESULT, TextPart("a"), part], "openai", "chat")[-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": kind, kind: {"x": 1.5}}],
    }
    others: list[tuple[str, Wire]] = [("vllm", "chat"), ("openai", "responses"), ("anthropic", "messages")]
    for vendor, wire in others:
        assert kind not in str(turns([RESULT, TextPart("a"), part], vendor, wire))
