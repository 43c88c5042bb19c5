"""Histories that travel: to and from JSON, made to fit, mended for whoever reads them next."""

from __future__ import annotations

import re
from collections import UserList
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import anyio.lowlevel
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strict
from histories import histories, legal, sound
from penstock import (
    ConfigError,
    DocumentPart,
    ImagePart,
    InvalidRequestError,
    Message,
    Model,
    ModelInfo,
    OpaquePart,
    Options,
    ReasoningPart,
    TextPart,
    TokenLimitError,
    ToolCallPart,
    ToolResultPart,
    dump_messages,
    fit,
    fit_with_summary,
    load_messages,
    repair,
)
from penstock.histories import Summarise
from penstock.histories.fit import count_message
from penstock.wire.anthropic import request as anthropic_request
from penstock.wire.openai import chat_request, responses_request
from penstock.wire.vendors import DIALECTS

MODEL = Model("m", ModelInfo(max_tokens=1000))
LAWS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Encode = Callable[[Sequence[Message]], bytes]
ENCODERS: dict[str, Encode] = {}


def _speak(name: str) -> None:
    """Add the wires of a dialect."""
    row = DIALECTS[name]
    if "messages" in row.wires:
        ENCODERS[f"{name}, messages"] = lambda history: anthropic_request.encode("", history, Options(), MODEL, row)
        return
    ENCODERS[f"{name}, chat"] = lambda history: chat_request.encode("", history, Options(), MODEL, row)
    ENCODERS[f"{name}, responses"] = lambda history: responses_request.encode("", history, Options(), MODEL, row)


for _name in DIALECTS:
    _speak(_name)

# What only some vendors refuse, and no mending of the history can know.
DOCUMENTED = re.compile(r"takes neither text nor images after a tool's results|takes no images|the history is empty")


def call(id_: str, arguments: str = "{}", name: str = "get") -> ToolCallPart:
    return ToolCallPart(id=id_, name=name, arguments=arguments)


def result(id_: str, content: str = "done") -> ToolResultPart:
    return ToolResultPart(id=id_, content=content)


def user(*parts: Any) -> Message:
    return Message("user", list(parts))


def assistant(*parts: Any) -> Message:
    return Message("assistant", list(parts))


ASK = Message("user", "Hi")
ANSWER = Message("assistant", "Hello")


# To and from JSON


@given(histories.filter(sound))
@LAWS
def test_what_is_dumped_is_loaded(history: list[Message]) -> None:
    """Every kind of part, without loss."""
    assert load_messages(dump_messages(history)) == history


def test_the_form_of_a_stored_history() -> None:
    """It is other people's data: it changes only with its version."""
    history = [
        user(
            TextPart("Hi"),
            ImagePart(data=b"\0\xff", media_type="image/png"),
            DocumentPart(url="https://x.test/a.pdf", title="A", citations=True),
            ToolResultPart(id="a", content=[TextPart("t")], is_error=True),
        ),
        assistant(
            ReasoningPart(text="r", proof="p", redacted=True, vendor="v", account="h"),
            OpaquePart(vendor="v", data='{"x":1}', text="t"),
            ToolCallPart(id="a", name="get", arguments="{}", extra='{"caller":{}}', vendor="v"),
        ),
        ASK,
    ]
    assert msgspec.json.decode(dump_messages(history)) == {
        "version": 2,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "image", "data": "AP8=", "media_type": "image/png", "url": None},
                    {
                        "type": "document",
                        "data": None,
                        "media_type": None,
                        "url": "https://x.test/a.pdf",
                        "title": "A",
                        "citations": True,
                    },
                    {"type": "tool_result", "id": "a", "content": [{"type": "text", "text": "t"}], "is_error": True},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {
                        "type": "reasoning",
                        "text": "r",
                        "proof": "p",
                        "redacted": True,
                        "vendor": "v",
                        "account": "h",
                    },
                    {"type": "opaque", "vendor": "v", "data": '{"x":1}', "text": "t"},
                    {
                        "type": "tool_call",
                        "id": "a",
                        "name": "get",
                        "arguments": "{}",
                        "extra": '{"caller":{}}',
                        "vendor": "v",
                    },
                ],
            },
            {"role": "user", "content": "Hi"},
        ],
    }
    assert load_messages(dump_messages(history).decode()) == history


def test_older_forms_are_read() -> None:
    """A history outlives the Penstock that wrote it: what a version lacked is empty."""
    stored = msgspec.json.encode(
        {
            "version": 1,
            "messages": [{"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "get"}]}],
        }
    )
    assert load_messages(stored) == [assistant(ToolCallPart(id="a", name="get", arguments="{}", extra="", vendor=""))]


def test_other_sequences_come_back_as_lists() -> None:
    """JSON knows but one."""
    assert load_messages(dump_messages((Message("user", (TextPart("a"),)),))) == [user(TextPart("a"))]
    assert load_messages(dump_messages([Message("user", UserList([TextPart("a")]))])) == [user(TextPart("a"))]


@pytest.mark.parametrize(
    ("data", "path", "what"),
    [
        (b"{", "$", "truncated"),
        (b"\xff", "$", "malformed"),
        (b'{"version": 1, "messages": [{"role": "\xff"}]}', "$.messages", "can't decode byte 0xff in position 11"),
        (b"[]", "$", "Expected `object`, got `array`"),
        (b"{}", "$", "missing required field `version`"),
        (b'{"version": 1}', "$", "missing required field `messages`"),
        (b'{"version": 2, "reply": {}}', "$", "this is a reply: use `load_reply`"),
        (b'{"version": "1", "messages": []}', "$.version", "Expected `int`, got `str`"),
        (
            b'{"version": 3, "messages": 7}',
            "$.version",
            "the version is 3, expected 1 to 2; a newer Penstock has written it",
        ),
        (b'{"version": 0, "messages": []}', "$.version", "the version is 0, expected 1 to 2"),
        (b'{"version": 1, "messages": {}}', "$.messages", "Expected `array`, got `object`"),
        (b'{"version": 1, "messages": [{"role": "tool", "content": ""}]}', "$.messages[0].role", "'tool'"),
        (
            b'{"version": 1, "messages": [{"role": "user", "content": [{"type": "video"}]}]}',
            "$.messages[0].content[0].type",
            "'video'",
        ),
        (
            b'{"version": 1, "messages": [{"role": "user", "content": [{"type": "image", "data": "%"}]}]}',
            "$.messages[0].content[0].data",
            "base64",
        ),
    ],
)
def test_what_is_no_stored_history(data: bytes, path: str, what: str) -> None:
    """An error that says where, and is a ValueError as well."""
    with pytest.raises(ConfigError, match=re.escape(what)) as caught:
        load_messages(data)
    assert caught.value.path == path
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (user(TextPart("\ud83d")), "$.messages[1]"),
        (Message("user", 5), "$.messages[1].content"),  # type: ignore[arg-type]
        (SimpleNamespace(role="user", content="Hi"), "$.messages[1]"),
        ({"role": "system", "content": "Hi"}, "$.messages[1].role"),
        (Message("user", {1: object()}), "$.messages[1]"),  # type: ignore[arg-type]
        (5, "$.messages[1]"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(wrong: Any, path: str) -> None:
    """It is found when the history is saved, not when it is needed."""
    with pytest.raises(ConfigError) as caught:
        dump_messages([ASK, wrong])
    assert caught.value.path == path
    with pytest.raises(ConfigError):
        dump_messages(message for message in [ASK])  # type: ignore[arg-type]


# Mended


REPAIRS: list[tuple[str, list[Message], list[Message], list[tuple[str, str]]]] = [
    ("nothing to do", [ASK, ANSWER, ASK], [ASK, ANSWER, ASK], []),
    ("nothing at all", [], [], []),
    (
        "a result without a call",
        [ASK, ANSWER, user(result("x"), TextPart("go on"))],
        [ASK, ANSWER, user(TextPart("go on"))],
        [("orphan_result", "messages[2].content[0]")],
    ),
    (
        "a result before its call",
        [ASK, ANSWER, user(result("a")), assistant(call("a")), user(result("a"))],
        [ASK, assistant(TextPart("Hello"), call("a")), user(result("a"))],
        [("orphan_result", "messages[2].content[0]"), ("joined", "messages[3].content[0]")],
    ),
    (
        "a crash while the tools ran",
        [ASK, assistant(call("a"), call("b"))],
        [ASK, assistant(call("a"), call("b")), user("missing a", "missing b")],
        [("missing_result", "messages[1].content[0]"), ("missing_result", "messages[1].content[1]")],
    ),
    (
        "a crash, and the user went on",
        [ASK, assistant(call("a"), call("b")), user(result("b")), ASK],
        [ASK, assistant(call("a"), call("b")), user(result("b"), "missing a", TextPart("Hi"))],
        [("joined", "messages[3]"), ("missing_result", "messages[1].content[0]")],
    ),
    (
        "a result that came late",
        [ASK, assistant(call("a")), ASK, ANSWER, user(result("a")), assistant(TextPart("ok"))],
        [
            ASK,
            assistant(call("a")),
            user(result("a"), TextPart("Hi")),
            assistant(TextPart("Hello"), TextPart("ok")),
        ],
        [("moved_result", "messages[4].content[0]"), ("joined", "messages[5].content[0]")],
    ),
    (
        "words before a result",
        [ASK, assistant(call("a")), user(TextPart("look"), result("a"))],
        [ASK, assistant(call("a")), user(result("a"), TextPart("look"))],
        [("moved_result", "messages[2].content[1]")],
    ),
    (
        "two results of one call",
        [ASK, assistant(call("a")), user(result("a", "1"), result("a", "2")), ANSWER],
        [ASK, assistant(call("a")), user(result("a", "1")), ANSWER],
        [("duplicate_result", "messages[2].content[1]")],
    ),
    (
        "one call a message, as another API keeps them",
        [ASK, assistant(call("a")), assistant(call("b")), user(result("a")), user(result("b"))],
        [ASK, assistant(call("a"), call("b")), user(result("a"), result("b"))],
        [("joined", "messages[2]"), ("joined", "messages[4]")],
    ),
    (
        "ids used again",
        [ASK, assistant(call("a")), user(result("a", "1")), assistant(call("a")), user(result("a", "2"))],
        [ASK, assistant(call("a")), user(result("a", "1")), assistant(call("a_2")), user(result("a_2", "2"))],
        [("call_id", "messages[3].content[0]")],
    ),
    (
        "ids used again after a crash",
        [ASK, assistant(call("a")), ASK, assistant(call("a"), call("a_2")), user(result("a", "2"), result("a_2"))],
        [
            ASK,
            assistant(call("a")),
            user("missing a", TextPart("Hi")),
            assistant(call("a_3"), call("a_2")),
            user(result("a_3", "2"), result("a_2")),
        ],
        [("call_id", "messages[3].content[0]"), ("missing_result", "messages[1].content[0]")],
    ),
    (
        "no ids",
        [ASK, assistant(call(""), call("")), user(result("", "1"), result("", "2"))],
        [ASK, assistant(call("call"), call("call_2")), user(result("call", "1"), result("call_2", "2"))],
        [("call_id", "messages[1].content[0]"), ("call_id", "messages[1].content[1]")],
    ),
    (
        "empty texts and messages",
        [Message("user", " "), ASK, assistant(TextPart(""), TextPart("ok")), user(), assistant()],
        [ASK, assistant(TextPart("ok"))],
        [
            ("empty", "messages[0]"),
            ("empty", "messages[2].content[0]"),
            ("empty", "messages[3]"),
            ("empty", "messages[4]"),
        ],
    ),
    (
        "two of the user in a row",
        [ASK, Message("user", "Hello?"), ANSWER],
        [user(TextPart("Hi"), TextPart("Hello?")), ANSWER],
        [("joined", "messages[1]")],
    ),
    (
        "the assistant begins",
        [ANSWER, ASK],
        [Message("user", "[The conversation begins with the assistant.]"), ANSWER, ASK],
        [("beginning", "messages[0]")],
    ),
    (
        "broken arguments",
        [ASK, assistant(call("a", '{"ci'), call("b", " ")), user(result("a"), result("b"))],
        [
            ASK,
            assistant(call("a", '{"INVALID_JSON":"{\\"ci"}'), call("b", "{}")),
            user(result("a"), result("b")),
        ],
        [("arguments", "messages[1].content[0]"), ("arguments", "messages[1].content[1]")],
    ),
    (
        "a name that no vendor takes",
        [ASK, assistant(call("a", name="fs.read")), user(result("a"))],
        [ASK, assistant(call("a", name="fs_read")), user(result("a"))],
        [("tool_name", "messages[1].content[0]")],
    ),
    (
        "all in one message",
        [ASK, assistant(TextPart("I look"), call("a"), result("a"), TextPart("It is"))],
        [ASK, assistant(TextPart("I look"), call("a")), user(result("a")), assistant(TextPart("It is"))],
        [("role", "messages[1].content[2]")],
    ),
    (
        "halves of a pair",
        [user(TextPart("a\ud83db"), TextPart("\ud83d\ude00"))],
        [user(TextPart("a\ufffdb"), TextPart("😀"))],
        [("unicode", "messages[0].content[0]"), ("unicode", "messages[0].content[1]")],
    ),
    (
        "images of nothing, and of two things",
        [user(ImagePart(), ImagePart(data=b"x", media_type="image/png", url="https://x.test"), TextPart("?"))],
        [user(ImagePart(data=b"x", media_type="image/png"), TextPart("?"))],
        [("source", "messages[0].content[0]"), ("source", "messages[0].content[1]")],
    ),
    (
        "blocks of a vendor that are broken",
        [ASK, assistant(OpaquePart(vendor="v", data="{", text="cited"), OpaquePart(vendor="v", data=""))],
        [ASK, assistant(TextPart("cited"))],
        [("block", "messages[1].content[0]"), ("block", "messages[1].content[1]")],
    ),
    (
        "empty pieces of a result",
        [ASK, assistant(call("a")), user(ToolResultPart(id="a", content=[TextPart(""), TextPart("x")]))],
        [ASK, assistant(call("a")), user(ToolResultPart(id="a", content=[TextPart("x")]))],
        [("empty", "messages[2].content[0]")],
    ),
    (
        "empty reasoning",
        [ASK, assistant(ReasoningPart(), TextPart("x")), user(TextPart("y"))],
        [ASK, assistant(TextPart("x")), user(TextPart("y"))],
        [("empty", "messages[1].content[0]")],
    ),
]
REPAIRS.append(
    (
        "reasoning that was cut off",
        [
            ASK,
            assistant(ReasoningPart(proof="p", vendor="v"), ReasoningPart(text="only to be shown")),
            ASK,
            assistant(ReasoningPart(proof="p", vendor="v")),
        ],
        [ASK, assistant(ReasoningPart(text="only to be shown")), ASK],
        [("reasoning", "messages[1].content[0]"), ("reasoning", "messages[3].content[0]")],
    )
)


def shown(message: Message) -> Message:
    """With what is put in for a missing result in short."""
    if isinstance(message.content, str):
        return message
    missing = "The tool call was interrupted"
    return Message(
        message.role,
        [
            f"missing {part.id}"  # type: ignore[misc]
            if isinstance(part, ToolResultPart) and str(part.content).startswith(missing) and part.is_error
            else part
            for part in message.content
        ],
    )


@pytest.mark.parametrize(
    ("given_", "mended", "notes"), [case[1:] for case in REPAIRS], ids=[case[0] for case in REPAIRS]
)
def test_repair(given_: list[Message], mended: list[Message], notes: list[tuple[str, str]]) -> None:
    """What is wrong is put right, and noted with its place."""
    repaired = repair(given_)
    assert [shown(message) for message in repaired.messages] == mended
    assert [(note.kind, note.place) for note in repaired.notes] == notes
    assert all(note.what for note in repaired.notes)


@given(legal())
@LAWS
def test_what_is_legal_is_left_alone(history: list[Message]) -> None:
    """Object for object, so that a cache is not lost for nothing."""
    repaired = repair(history)
    assert repaired.notes == []
    assert all(new is old for new, old in zip(repaired.messages, history, strict=True))


@given(histories)
@LAWS
def test_mending_twice_is_mending_once(history: list[Message]) -> None:
    """And what was not noted was not done."""
    once = repair(history)
    twice = repair(once.messages)
    assert (twice.messages, twice.notes) == (once.messages, [])
    assert (once.messages == history) == (not once.notes)


@pytest.mark.parametrize("wire", ENCODERS)
@given(history=histories)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_vendor_takes_what_is_mended(wire: str, history: list[Message]) -> None:
    """But for what is documented. The encoders refuse some of what is wrong, a strict reader of the rules the rest."""
    mended = repair(history).messages
    body, refusal = b"", ""
    try:
        body = ENCODERS[wire](mended)
    except InvalidRequestError as error:
        refusal = str(error)
    assert not refusal or DOCUMENTED.search(refusal), mended
    begins = mended and not all(isinstance(part, OpaquePart) for part in mended[0].content)
    assert not body or strict.faults(wire, body, begins=bool(begins)) == [], mended
    assert load_messages(dump_messages(mended)) == mended


@pytest.mark.parametrize("wire", ENCODERS)
def test_the_strict_reader_is_strict(wire: str) -> None:
    """It sees what no encoder lets through: two calls of one id, and calls that have no result."""
    first, second = "a" * 9, "b" * 9
    body = ENCODERS[wire]([ASK, assistant(call(first), call(second)), user(result(first), result(second))])
    assert strict.faults(wire, body, begins=True) == []
    assert strict.faults(wire, body.replace(first.encode(), second.encode()), begins=True)
    request = msgspec.json.decode(body)
    del request["input" if "input" in request else "messages"][-1]
    assert strict.faults(wire, msgspec.json.encode(request), begins=True)


# To another vendor


@pytest.mark.parametrize("wire", ENCODERS)
def test_a_history_of_several_vendors_goes_to_each(wire: str) -> None:
    """The proofs of others are left out; all else goes, their blocks as text."""
    proofs = [ReasoningPart(text="", proof=f"proof-of-{vendor}", vendor=vendor) for vendor in ("here", "there")]
    block = OpaquePart(vendor="there", data='{"secret":1}', text="cited-text")
    history = [
        Message("user", "the-question"),
        assistant(*proofs, TextPart("the-words"), block, call("toolu_1", '{"city":"Ulm"}')),
        user(result("toolu_1", "the-result")),
    ]
    body = ENCODERS[wire](history).decode()
    assert all(word in body for word in ("the-question", "the-words", "cited-text", "Ulm", "the-result"))
    assert "proof-of" not in body
    assert "secret" not in body


# Made to fit


def one(message: Message) -> int:
    return 1


def letters(message: Message) -> int:
    return len(msgspec.json.encode(message.content))


@given(legal(), st.integers(1, 1500), st.integers(1, 3), st.booleans())
@LAWS
def test_what_fits(history: list[Message], tokens: int, keep_last: int, keep_proofs: bool) -> None:
    """It fits, begins with the user, parts no call from its result, and is what was there, in order."""
    too_long = None
    try:
        kept = fit(history, tokens, count=letters, keep_last=keep_last, keep_proofs=keep_proofs)
    except TokenLimitError as error:
        too_long = error
    if too_long is not None:
        assert too_long.limit == tokens < (too_long.tokens or 0) <= sum(map(letters, history))
        return
    assert sum(map(letters, kept)) <= tokens
    assert kept[0].role == "user"
    assert {note.kind for note in repair(kept).notes} <= set() if keep_proofs else {"joined"}
    for wire in ("anthropic, messages", "openai, chat", "openai, responses"):
        assert strict.faults(wire, ENCODERS[wire](kept), begins=True) == []
    if keep_proofs:
        rest = iter(history)
        assert all(message in rest for message in kept)
    assert (kept == history) == (sum(map(letters, history)) <= tokens)


LONG = [
    Message("user", "first"),
    assistant(TextPart("one")),
    Message("user", "second"),
    assistant(ReasoningPart(text="hm", proof="sig", vendor="v"), call("a")),
    user(result("a")),
    assistant(call("b"), call("c")),
    user(result("b"), result("c")),
    assistant(TextPart("two")),
]


@pytest.mark.parametrize(
    ("tokens", "places"),
    [(8, [0, 1, 2, 3, 4, 5, 6, 7]), (7, [2, 3, 4, 5, 6, 7]), (6, [2, 3, 4, 5, 6, 7]), (5, [2, 5, 6, 7]), (3, [2, 7])],
)
def test_whole_turns_go_first_and_then_rounds(tokens: int, places: list[int]) -> None:
    """The question of a turn and its last round stay."""
    assert fit(LONG, tokens, count=one, keep_proofs=True) == [LONG[place] for place in places]


def test_more_than_fits() -> None:
    """The least that must be kept, and the room that there is, in numbers."""
    with pytest.raises(TokenLimitError, match="has 2 tokens, and 1 are free") as caught:
        fit(LONG, 1, count=one)
    assert (caught.value.tokens, caught.value.limit) == (2, 1)
    with pytest.raises(TokenLimitError):
        fit(LONG, 3, count=one, keep_last=2)
    assert fit(LONG, 4, count=one, keep_last=2) == [LONG[place] for place in (0, 1, 2, 7)]
    with pytest.raises(TokenLimitError):
        fit([ANSWER, ANSWER], 1, count=one)  # nobody asked anything


def test_a_proof_behind_a_gap_is_left_out() -> None:
    """It is bound to what came before it."""
    thought = ReasoningPart(text="hm", proof="sig", vendor="v")
    history = [ASK, ANSWER, ASK, assistant(thought, call("a")), user(result("a")), assistant(thought), ASK, ANSWER]
    assert fit(history, 6, count=one) == [ASK, assistant(call("a")), user(result("a")), ASK, ANSWER]
    assert fit(history, 6, count=one, keep_proofs=True) == history[2:]
    assert fit(history, 8, count=one) == history


def test_what_stands_before_the_first_question_goes_first() -> None:
    """A history that was cut somewhere."""
    assert fit([user(result("x")), ANSWER, ASK, ANSWER], 3, count=one) == [ASK, ANSWER]


def test_a_result_that_stands_far_from_its_call_is_not_parted_from_it() -> None:
    """No cut between the two, wherever they are."""
    history = [ASK, assistant(call("a")), ASK, ANSWER, user(result("a"), TextPart("so")), ANSWER, ASK, ANSWER]
    assert fit(history, 7, count=one) == history[6:]
    assert fit(history[:6], 5, count=one) == [ASK, ANSWER]


def test_the_guess() -> None:
    """By kind of text, and some for each message."""
    assert count_message(Message("user", "word " * 100)) == 117
    assert count_message(ASK) == 6
    assert fit([ASK] * 10, 60) == [ASK] * 10


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"tokens": True}, {"keep_last": 0}, {"tokens": 1.5}])
def test_wrong_arguments_of_fit(wrong: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fit([ASK], **({"tokens": 5} | wrong))


def written(dropped: list[Message]) -> str:
    return f"{len(dropped)} messages"


async def awaited(dropped: list[Message]) -> str:
    await anyio.lowlevel.checkpoint()
    return f"{len(dropped)} messages"


@pytest.mark.anyio
@pytest.mark.parametrize("summarise", [written, awaited])
async def test_a_summary_of_dropped_turns(summarise: Summarise) -> None:
    """It stands before the first words that are kept, and is summed up with them the next time."""
    kept = await fit_with_summary(LONG, 7, summarise, summary_tokens=1, count=one)
    summary = TextPart("Summary of the conversation until here:\n\n2 messages")
    # Its proof is bound to what was dropped.
    assert kept == [user(summary, TextPart("second")), assistant(call("a")), *LONG[4:]]
    dropped: list[Message] = []

    def forget(gone: list[Message]) -> str:
        dropped.extend(gone)
        return " "

    again = await fit_with_summary([*kept, ASK, ANSWER], 3, forget, summary_tokens=0, count=one)
    assert dropped == kept
    assert again == [ASK, ANSWER]  # and a blank one leaves nothing


@pytest.mark.anyio
async def test_a_summary_of_dropped_rounds() -> None:
    """It stands behind the question."""
    kept = await fit_with_summary(LONG[2:], 4, written, summary_tokens=0, count=one)
    summary = TextPart("Summary of the conversation until here:\n\n2 messages")
    assert kept == [user(TextPart("second"), summary), *LONG[5:]]


@pytest.mark.anyio
async def test_a_summary_that_is_not_needed_or_does_not_fit() -> None:
    """Nobody is asked; and its length is checked."""
    assert await fit_with_summary(LONG, 8, written, summary_tokens=2, count=one) == LONG
    with pytest.raises(TokenLimitError):
        await fit_with_summary(LONG, 60, lambda dropped: "x" * 500, summary_tokens=10, count=letters)
    with pytest.raises(ConfigError, match="summary_tokens"):
        await fit_with_summary(LONG, 8, written, count=one)
