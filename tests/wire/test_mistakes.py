"""The model's mistakes in its calls: what can mean one thing is read as that, the rest is told to the model.

The same on all three wires, streamed and as one document, wherever the bytes are cut.
"""

from __future__ import annotations

import pytest

from penstock import Chunk, Collector, Message, ProviderError, ToolCallChunk, ToolCallPart, ToolResultPart
from penstock.core.arguments import fixed_strings, kept_arguments, read_arguments
from penstock.histories.repair import repair
from penstock.histories.serialization import dump_messages, load_messages
from penstock.testing.answers import WIRES, WireName, answer
from reading import attempt, attempt_openai, calls_of, cut, keeps_the_contract, stop_of
from writing import encode

# What a model wrote, and what that is. Texts that are cut nowhere, and still are no JSON.
READ = [
    pytest.param('{"x":1}', '{"x":1}', id="an object"),
    pytest.param(' {"x":1}\n', '{"x":1}', id="white space around it"),
    pytest.param('{"x": "a\nb"}', '{"x": "a\\u000ab"}', id="a line end inside a string"),
    pytest.param('{"x\t": ["a\x00"]}', '{"x\\u0009": ["a\\u0000"]}', id="control characters in a name and in a list"),
    pytest.param('{\n"x": "\\\\\n"\n}', '{\n"x": "\\\\\\u000a"\n}', id="line ends inside and outside of strings"),
    pytest.param('{"x": "\\ud83d"}', '{"x": "\\ufffd"}', id="half of a surrogate pair"),
    pytest.param('{"x": "\\ude00\\ud83d\\ude00"}', '{"x": "\\ufffd\\ud83d\\ude00"}', id="a half before a whole pair"),
    pytest.param('{"x": "\\\\ud83d\n"}', '{"x": "\\\\ud83d\\u000a"}', id="what only looks like a half"),
    pytest.param('"{\\"x\\": 1}"', '{"x": 1}', id="an object inside a string"),
    pytest.param('"\\"{\\\\\\"x\\\\\\": 1}\\""', '{"x": 1}', id="an object inside a string inside a string"),
    pytest.param('"{\\"x\\": \\"a\\nb\\"}"', '{"x": "a\\u000ab"}', id="a line end inside an object inside a string"),
    pytest.param("", "{}", id="nothing"),
    pytest.param(" ", "{}", id="white space"),
    pytest.param("null", "{}", id="null, as Groq's for a tool without parameters"),
    pytest.param('"null"', "{}", id="null inside a string"),
    pytest.param('""', "{}", id="an empty string"),
]
MISTAKES = [
    pytest.param('{"x": "\\d+"}', "escape", id="a backslash that is not escaped"),
    pytest.param('{"x": 1,}', "trailing comma", id="a trailing comma"),
    pytest.param("{'x': 1}", "expected", id="single quotes"),
    pytest.param("{x: 1}", "expected", id="no quotes"),
    pytest.param('{"x": NaN}', "malformed", id="not a number"),
    pytest.param('{"x": True}', "malformed", id="Python's word"),
    pytest.param('{"x": 1}</tool_call>', "trailing", id="markup behind it"),
    pytest.param('```json\n{"x": 1}\n```', "malformed", id="a fence around it"),
    pytest.param('{"x": 1}{"x": 2}', "trailing", id="two objects"),
    pytest.param('{"{"ids": [1]}', "expected ':'", id="a brace too many"),
    pytest.param('{"x": [1}', "malformed", id="a bracket too few"),
    pytest.param('{"x": "1', "truncated", id="cut, though the vendor says that it is whole"),
    pytest.param("[]", "an array", id="an array"),
    pytest.param('"ls -l"', "a string", id="a string"),
    pytest.param("7", "a number", id="a number"),
    pytest.param("ls -l", "malformed", id="bare text"),
]


def read(wire: WireName, body: list[bytes], size: int) -> tuple[list[Chunk], ProviderError | None]:
    """The chunks of an answer that came in pieces of that size."""
    pieces = cut(b"".join(body), size)
    return attempt(pieces) if wire == "messages" else attempt_openai(pieces, "openai", wire)


def message_of(chunks: list[Chunk]) -> Message:
    """What goes into the history."""
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    message = collector.reply().message
    assert message is not None
    return message


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("text", "wanted"), READ)
def test_what_can_mean_one_thing_is_read_as_that(wire: WireName, text: str, wanted: str) -> None:
    """Alone, before another call, and when the length limit has ended the answer after it."""
    cases = [
        (answer(wire, calls=[("f", text)]), [wanted]),
        (answer(wire, calls=[("f", text), ("g", "{}")]), [wanted, "{}"]),
        (answer(wire, calls=[("f", text)], reason="length"), [] if wanted == "{}" else [wanted]),
    ]
    for body, arguments in cases:
        for size in (1 << 20, 7):
            chunks, error = read(wire, body, size)
            assert error is None
            assert [call.arguments.strip() for call in calls_of(chunks)] == arguments
            assert [call.problem for call in calls_of(chunks)] == [None] * len(arguments)
            keeps_the_contract(chunks)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("text", "why"), MISTAKES)
def test_a_mistake_is_told_to_the_model(wire: WireName, text: str, why: str) -> None:
    """The call comes with the text as it came and with the reason, in its place among the others."""
    for size in (1 << 20, 7):
        chunks, error = read(wire, answer(wire, calls=[("g", "{}"), ("f", text), ("h", "{}"), ("f", text)]), size)
        assert error is None
        assert stop_of(chunks).reason == "tool_calls"
        calls = calls_of(chunks)
        assert [call.name for call in calls] == ["g", "f", "h", "f"]
        assert [(call.arguments, why in (call.problem or "")) for call in calls[1::2]] == [(text, True)] * 2
        assert [call.problem for call in calls[::2]] == [None, None]
        keeps_the_contract(chunks)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("text", "why"), MISTAKES)
def test_with_any_other_end_it_is_dropped(wire: WireName, text: str, why: str) -> None:
    """It may have been cut, whatever it looks like; the vendor's reason stands, so that no loop runs the others."""
    chunks, error = read(wire, answer(wire, calls=[("g", "{}"), ("f", text)], reason="length"), 9)
    assert error is None
    assert [call.name for call in calls_of(chunks)] == ["g"]
    assert stop_of(chunks).reason == "length"
    del why


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("text", "why"), MISTAKES)
def test_in_a_history_it_is_an_object_around_the_text(wire: WireName, text: str, why: str) -> None:
    """As the reply has it, as it is stored, as `repair` leaves it and as it is sent; also when a part has bare text."""
    chunks, _ = read(wire, answer(wire, calls=[("f", text)]), 1 << 20)
    said = message_of(chunks)
    (part,) = [part for part in said.content if isinstance(part, ToolCallPart)]
    wanted = kept_arguments(text)
    assert wanted.startswith('{"INVALID_JSON":"')
    assert part.arguments == wanted
    bare = ToolCallPart(id=part.id, name="f", arguments=text)
    for call in (part, bare):
        turns = [
            Message("user", "go"),
            Message("assistant", [call]),
            Message("user", [ToolResultPart(id=part.id, content=why, is_error=True)]),
        ]
        body = encode(turns, wire=wire)
        if wire == "messages":
            assert f'"input":{wanted}'.encode() in body
        else:
            assert b'{\\"INVALID_JSON\\":' in body
        (mended,) = [part for part in repair(turns).messages[1].content if isinstance(part, ToolCallPart)]
        assert mended.arguments == wanted
        assert load_messages(dump_messages(turns)) == turns


@pytest.mark.parametrize(("text", "wanted"), READ)
def test_reading_twice_changes_nothing(text: str, wanted: str) -> None:
    """What was read is an object, and fixing its strings again leaves it alone."""
    assert read_arguments(wanted) == (wanted, None)
    assert fixed_strings(wanted) == wanted
    assert read_arguments(text) == (wanted, None)


def test_a_call_that_was_cut_in_a_file_full_of_quotes_is_read_at_once() -> None:
    """As at the output limit; it took minutes, in which the whole program stood still."""
    cut = '{"path": "a.json", "content": "' + '{\\"key\\": \\"value\\"},\\n' * 20_000
    text, problem = read_arguments(cut)
    assert text == cut
    assert problem is not None


def test_what_is_an_object_goes_back_byte_for_byte() -> None:
    """Other bytes would miss the prompt cache."""
    assert kept_arguments('{ "x" :1.0}') == '{ "x" :1.0}'
    assert kept_arguments(" ") == "{}"
    assert kept_arguments("\ud800") == '{"INVALID_JSON":"\ufffd"}'


def test_a_call_says_that_it_has_no_problem() -> None:
    """So that consumers that know nothing of problems, and stored chunks, still work."""
    call = ToolCallChunk(id="a", name="f", arguments="{}")
    assert (call.problem, call.extra, call.vendor) == (None, "", "")
