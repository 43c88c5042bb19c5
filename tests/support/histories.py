"""Histories made by hypothesis: any that the types allow, and such as a loop leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from penstock import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.wire.vendors import DIALECTS

VENDORS = list(DIALECTS)
IDS = st.sampled_from(["a", "b", "call_1", "toolu_01", "", "ü/1", "x" * 50])  # few, so that they meet
BROKEN = ["", " ", "\n\t", "\ud83d", "half \ude00 of it", "\ud83d\ude00"]
TEXTS = st.one_of(st.sampled_from(["Hi", "What now?", "ja, ön"]), st.text(max_size=20), st.sampled_from(BROKEN))
OBJECTS = ['{"city": "Paris"}', "{}", '{"x": [1, {"y": null}]}']
ARGUMENTS = st.sampled_from([*OBJECTS, "", "[1]", '{"ci', "null", '"{}"', '{"x": "\ud83d"}'])
PROOFS = {
    "openai": '{"type": "reasoning", "summary": []}',
    "openrouter": '[{"type": "reasoning.text"}]',
    "google": '{"google": {"thought_signature": "s"}}',
}

images = st.one_of(
    st.builds(ImagePart, data=st.binary(max_size=5), media_type=st.just("image/png")),
    st.just(ImagePart()),
)
documents = st.builds(DocumentPart, data=st.just(b"%PDF"), media_type=st.just("text/plain"), title=TEXTS)
shown: st.SearchStrategy[Any] = st.one_of(st.builds(TextPart, TEXTS), images, documents)
results = st.builds(
    ToolResultPart, id=IDS, content=st.one_of(TEXTS, st.lists(shown, max_size=3)), is_error=st.booleans()
)
calls = st.builds(ToolCallPart, id=IDS, name=st.sampled_from(["get", "", "a.b", "n" * 70]), arguments=ARGUMENTS)
reasoning = st.one_of(
    st.sampled_from(VENDORS).map(
        lambda vendor: ReasoningPart(text="t", proof=PROOFS.get(vendor, "sig"), vendor=vendor)
    ),
    st.builds(ReasoningPart, text=TEXTS, vendor=st.sampled_from(["", "deepseek"])),
)
opaque = st.builds(
    OpaquePart, vendor=st.sampled_from(VENDORS), data=st.sampled_from(['{"type":"x"}', "{", "[]"]), text=TEXTS
)
parts: st.SearchStrategy[Part] = st.one_of(shown, results, calls, reasoning, opaque)
messages: st.SearchStrategy[Message] = st.builds(
    Message, st.sampled_from(["user", "assistant"]), st.one_of(TEXTS, st.lists(parts, max_size=4))
)
histories = st.lists(messages, max_size=8)


def sound(history: list[Message]) -> bool:
    """Whether all of its text is Unicode, so that it can be written."""
    try:
        msgspec.json.encode(history)
    except UnicodeEncodeError:
        return False
    return True


@st.composite
def legal(draw: st.DrawFn) -> list[Message]:
    """Turns of a user's words and rounds of answers, the calls of each with their results behind them."""
    history: list[Message] = []
    number = 0
    for turn in range(draw(st.integers(1, 5))):
        history.append(Message("user", f"question {turn} " + "x" * draw(st.integers(0, 200))))
        for _ in range(draw(st.integers(0, 3))):
            ids = [f"call_{number + place}" for place in range(draw(st.integers(1, 3)))]
            number += len(ids)
            thought = [ReasoningPart(text="hm", proof="sig", vendor="anthropic")] if draw(st.booleans()) else []
            made = [ToolCallPart(id=id_, name="get", arguments="{}") for id_ in ids]
            given = [ToolResultPart(id=id_, content="y" * draw(st.integers(0, 200))) for id_ in ids]
            history += [Message("assistant", [*thought, *made]), Message("user", given)]
        history.append(Message("assistant", [TextPart(f"answer {turn}")]))
    return history if draw(st.booleans()) else history[:-1]


def check_history(messages: Sequence[Message]) -> None:
    """What every vendor asks of a history: a result for each call, in the next message, and for nothing else."""
    expected: list[str] = []
    for message in messages:
        assert message.content
        parts = [] if isinstance(message.content, str) else message.content
        assert [part.id for part in parts if isinstance(part, ToolResultPart)] == expected
        expected = [part.id for part in parts if isinstance(part, ToolCallPart)]
        assert not expected or message.role == "assistant"
    assert not expected
