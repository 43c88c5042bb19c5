"""Anthropic's cache marks: where they land, what they never do, and that each turn reads what the one before wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import cycle, islice, pairwise
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    InvalidRequestError,
    Message,
    Model,
    ModelInfo,
    OpaquePart,
    Options,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    catalog,
)
from penstock.testing import DemoModel, Request
from penstock.wire.anthropic.blocks import (
    Block,
    Document,
    Image,
    Redacted,
    Text,
    Thinking,
    ToolDefinition,
    ToolResult,
    ToolUse,
    Turn,
)
from penstock.wire.anthropic.cache_marks import place_marks
from penstock.wire.anthropic.request import encode

# A layout is "tools | system | messages": a letter for each block, a word for each message, which begins with its role
# (u, a). Capital letters are marked.
KINDS = {
    "t": "text",
    "i": "image",
    "d": "document",
    "c": "tool_use",
    "r": "tool_result",
    "k": "thinking",
    "x": "redacted_thinking",
    "o": "opaque",
}
ROLES = {"u": "user", "a": "assistant"}
Prompt = tuple[list[ToolDefinition], list[Text], list[Turn]]
Written = tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]


def block(letter: str) -> Block:
    blocks: dict[str, Block] = {
        "t": Text(text="x"),
        "i": Image(source={"type": "url", "url": "u"}),
        "d": Document(source={"type": "url", "url": "u"}),
        "c": ToolUse(id="c", name="f", input=msgspec.Raw(b"{}")),
        "r": ToolResult(tool_use_id="c", content="x"),
        "k": Thinking(thinking="x", signature="p"),
        "x": Redacted(data="p"),
        # Blocks sent as they came are raw JSON, which the marks cannot see into.
        "o": msgspec.Raw(b'{"type":"opaque"}'),
    }
    return blocks[letter]


def prompt(layout: str) -> Prompt:
    tools, system, messages = layout.lower().split("|")
    turns = [Turn(role=ROLES[word[0]], content=[block(letter) for letter in word[1:]]) for word in messages.split()]
    definitions = [ToolDefinition(name="f", input_schema={}) for _ in tools.strip()]
    return definitions, [Text(text="x") for _ in system.strip()], turns


def written(prompt: Prompt) -> Written:
    """The JSON that is sent."""
    tools, system, messages = msgspec.json.decode(msgspec.json.encode(prompt))
    return tools, system, messages


def drawn(written: Written) -> str:
    """The layout with its marks."""
    letters = {kind: letter for letter, kind in KINDS.items()}

    def letter(block: dict[str, Any], known: str = "") -> str:
        plain = known or letters[block["type"]]
        return plain.upper() if "cache_control" in block else plain

    tools, system, messages = written
    turns = [message["role"][0] + "".join(map(letter, message["content"])) for message in messages]
    return f"{''.join(letter(tool, 'f') for tool in tools)}|{''.join(map(letter, system))}|{' '.join(turns)}"


def marked(layout: str, *, extended: bool = False, min_tokens: int = 0, slots: int = 4) -> Written:
    laid = prompt(layout)
    place_marks(*laid, extended=extended, min_tokens=min_tokens, slots=slots)
    return written(laid)


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param("ffF|T|uT", id="the last tool, the end of the system prompt, the only turn"),
        pytest.param("F|tT|uT at uT", id="both user turns"),
        pytest.param("F|T|ut at uT at uT", id="the last two of three turns"),
        pytest.param("||ut at uT at uT", id="slots that nothing needs stay free"),
        pytest.param("|T|uT akcc uttT at", id="the last block of a turn, also before an answer"),
        pytest.param("F||uT akxtcc urrR", id="the last of several results"),
        pytest.param("F||uT atc urT", id="what the user says after a result"),
        pytest.param("||uI ac uD at", id="images and documents"),
        pytest.param("||utT at uTo", id="not a block that is sent as it came, but the one before"),
        pytest.param("||uT ao uT", id="an answer of such blocks"),
        pytest.param("||uT at uo", id="no mark where a turn has nothing else"),
        pytest.param("||uT at ut uT", id="two messages of the user are one turn"),
        pytest.param("||uT at uT uo", id="the message before, where the last of two has nothing else"),
        pytest.param("||uT at utT uo uoo", id="the one before two that have nothing else"),
        pytest.param("||uT at uT ako uo", id="not the one before an answer, but the turn before has its own"),
        pytest.param("||ao uT", id="a history that begins with the assistant"),
        pytest.param("||at", id="a history without the user"),
        pytest.param(f"F|T|uT at u{'t' * 49}T", id="no slot is left for the middle of a long turn"),
        pytest.param(f"F|T|u{'t' * 29}T{'t' * 19}T", id="one is, where there is no turn before it"),
        pytest.param(f"||u{'t' * 19}T", id="20 positions need one mark"),
        pytest.param(f"||u{'t' * 20}T", id="the first block of all needs no second one"),
        pytest.param(f"||utT{'t' * 19}T", id="more positions need one more, as far as the first looks back"),
        pytest.param(f"||u{'t' * 9}T{'t' * 19}T{'t' * 19}T", id="50 positions need three"),
        pytest.param(f"||u{'t' * 39}T{'t' * 19}T{'t' * 19}T{'t' * 19}T", id="the start of a very long turn gets none"),
        pytest.param(f"F||uT at u{'t' * 29}T{'t' * 19}T", id="after the tools one is left over"),
        pytest.param(f"F||u{'t' * 29}T{'t' * 19}T{'t' * 19}T", id="two are, where there is no turn before it"),
        pytest.param(f"||uT a{'c' * 50} u{'r' * 49}R", id="a run of calls or of results is one position"),
        pytest.param(f"||utT{'o' * 10}{'t' * 9}T", id="blocks that cannot be marked are positions too"),
        pytest.param(f"||ut{'o' * 25}T{'t' * 8}T", id="where a mark cannot stand the one before it does"),
        pytest.param(f"|T|ut a{'tc' * 9}tC{'tc' * 9}t uR at uT", id="an old turn that was long"),
        pytest.param(f"F|T|uT a{'kt' * 30} uT", id="a long answer between two turns needs none"),
    ],
)
def test_where_marks_land(layout: str) -> None:
    """The marks stand where the layout has capital letters."""
    assert drawn(marked(layout)) == layout


@pytest.mark.parametrize("extended", [False, True], ids=["usual", "extended"])
def test_the_lifetime(extended: bool) -> None:
    """All marks of a request have the one lifetime that was asked for, and the usual one goes unsaid."""
    mark = {"type": "ephemeral", "ttl": "1h"} if extended else {"type": "ephemeral"}
    tools, system, messages = marked("F|T|uT at uT", extended=extended)
    blocks = (tools[0], system[0], messages[0]["content"][0], messages[2]["content"][0])
    assert [block["cache_control"] for block in blocks] == [mark] * 4


TOOL, TEXT = (len(msgspec.json.encode(block)) for block in (ToolDefinition(name="f", input_schema={}), Text(text="x")))


@pytest.mark.parametrize(
    ("min_tokens", "layout"),
    [
        pytest.param(2 * TOOL, "fF|tT|uttT", id="the tools are as long as it takes"),
        pytest.param(2 * TOOL + 1, "ff|tT|uttT", id="the tools are too short"),
        pytest.param(2 * TOOL + 2 * TEXT, "ff|tT|uttT", id="tools and system prompt are as long as it takes"),
        pytest.param(2 * TOOL + 2 * TEXT + 1, "ff|tt|uttT", id="tools and system prompt are too short"),
        pytest.param(2 * TOOL + 5 * TEXT, "ff|tt|uttT", id="the whole prompt is as long as it takes"),
        pytest.param(2 * TOOL + 5 * TEXT + 1, "ff|tt|uttt", id="the whole prompt is too short"),
    ],
)
def test_a_prefix_that_is_surely_too_short_gets_no_mark(min_tokens: int, layout: str) -> None:
    """A token has a byte or more, so a prefix with fewer bytes than the least number of tokens is not marked."""
    assert drawn(marked(layout, min_tokens=min_tokens)) == layout


LAYOUTS = st.builds(
    "{}|{}|{}".format,
    st.sampled_from(["", "f", "fff"]),
    st.sampled_from(["", "t"]),
    st.lists(
        st.one_of(
            st.text("tidro", min_size=1, max_size=30).map("u".__add__),
            st.text("tckxo", min_size=1, max_size=30).map("a".__add__),
        ),
        min_size=1,
        max_size=8,
    ).map(" ".join),
)


@settings(max_examples=200, deadline=None)
@given(LAYOUTS, st.booleans(), st.integers(0, 400), st.sampled_from([4, 4, 4, 3, 2, 1, 0, -1]))
def test_what_marks_never_do(layout: str, extended: bool, min_tokens: int, slots: int) -> None:
    """Never more than the slots, nor two lifetimes, nor where the API takes none, nor on too little; else no change."""
    after = marked(layout, extended=extended, min_tokens=min_tokens, slots=slots)
    found = drawn(after)
    assert sum(map(str.isupper, found)) <= max(0, slots)
    assert slots == 4 or "F" not in found
    assert not set(found) & {"K", "X", "O"}
    size, lifetimes = 0, set()
    for part, letters in zip(after, found.split("|"), strict=True):
        blocks = [block for turn in part for block in turn.get("content", [turn])]
        marks = [block.pop("cache_control") for block in blocks if "cache_control" in block]
        lifetimes |= {mark.get("ttl", "5m") for mark in marks}
        size += sum(len(msgspec.json.encode(block)) for block in blocks)
        assert letters.islower() or not letters or size >= min_tokens
    assert lifetimes <= {"1h" if extended else "5m"}
    assert after == written(prompt(layout))


@settings(max_examples=200, deadline=None)
@given(LAYOUTS)
def test_what_marks_always_do(layout: str) -> None:
    """The tools' end, the system prompt's and that of the newest turn are marked, and blocks after it never are."""
    tools, system, messages = drawn(marked(layout)).split("|")
    assert (tools, system) == (tools.lower()[:-1] + tools[-1:].upper(), system.upper())
    words = messages.split()
    newest = max((place for place, word in enumerate(words) if word[0] == "u"), default=-1)
    assert all(word.islower() for word in words[newest + 1 :])
    markable = [letter for letter in words[newest] if letter.lower() in "tidr"] if newest >= 0 else []
    assert not markable or markable[-1].isupper()


def test_a_message_with_only_an_own_block_leaves_the_mark_to_the_one_before() -> None:
    """Of two user messages in a row the earlier gets the mark, when nothing in the later one can take it."""
    own = OpaquePart(vendor="anthropic", data='{"type":"opaque"}')
    history = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("user", [own])]
    body = msgspec.json.decode(encode("", history, Options(), Model("claude-x", ModelInfo())))
    assert drawn(([], [], body["messages"])) == "||uT at uT uo"


@pytest.mark.parametrize(
    ("theirs", "layout"),
    [
        pytest.param(0, "F|T|ut at uT at uT", id="none"),
        pytest.param(1, "Ff|T|ut at uT at uT", id="one, in place of ours on the tools"),
        pytest.param(2, "FFf|T|ut at ut at uT", id="two"),
        pytest.param(3, "FFFf|T|ut at ut at ut", id="three"),
        pytest.param(4, "FFFFf|t|ut at ut at ut", id="four, all there are"),
    ],
)
@pytest.mark.parametrize("schema", [{}, {"input_schema": {"type": "object"}}], ids=["a vendor's", "a client's"])
def test_marks_on_the_callers_own_tools_are_counted(theirs: int, layout: str, schema: dict[str, Any]) -> None:
    """What they take of the four is not set by us, so that the API does not refuse a fifth."""
    own = [{"name": f"own{n}", **schema, "cache_control": {"type": "ephemeral"}} for n in range(theirs)]
    history = [Message("assistant" if place % 2 else "user", "x") for place in range(5)]
    options = Options(tools=[*own, Tool(name="f")])
    raw = encode("be kind", history, options, Model("claude-x", ModelInfo()))
    body = msgspec.json.decode(raw)
    assert drawn((body["tools"], body["system"], body["messages"])) == layout
    assert raw.count(b"cache_control") == 4


MARK = {"type": "ephemeral"}
MARKED: dict[str, Any] = {"type": "text", "text": "x", "cache_control": MARK}
LONG: dict[str, Any] = {**MARKED, "cache_control": {**MARK, "ttl": "1h"}}


def own(data: object) -> OpaquePart:
    return OpaquePart(vendor="anthropic", data=msgspec.json.encode(data).decode())


@pytest.mark.parametrize(
    ("block", "extra", "count"),
    [
        pytest.param({"type": "x"}, {}, 4, id="none of theirs"),
        pytest.param(MARKED, {}, 4, id="one in a block of the history"),
        pytest.param({"type": "x", "content": [MARKED, MARKED]}, {}, 4, id="two inside of one"),
        pytest.param({"type": "x", "input": {"cache_control": 1}}, {}, 4, id="what only is called so"),
        pytest.param({"type": "x", "cache_control": None}, {}, 4, id="none that is said"),
        pytest.param({"type": "x"}, {"system": [MARKED, MARKED]}, 4, id="two in the system prompt of `extra`"),
        pytest.param({"type": "x"}, {"system": [{"type": "text", "text": "x"}]}, 3, id="a system prompt without"),
        pytest.param({"type": "x"}, {"tools": [{"name": "f", "cache_control": MARK}]}, 4, id="tools of `extra`"),
        pytest.param({"type": "x"}, {"tools": [{"name": "f", "input_schema": MARKED}]}, 4, id="a schema's own"),
        pytest.param(MARKED, {"messages": [{"role": "user", "content": [MARKED]}]}, 2, id="all messages"),
        pytest.param(MARKED, {"cache_control": MARK}, 2, id="the server places one"),
        pytest.param(LONG, {}, 1, id="a longer one behind, which must not stand behind ours"),
    ],
)
def test_marks_are_counted_wherever_they_stand(block: dict[str, Any], extra: dict[str, Any], count: int) -> None:
    """At most four in all, so that the API does not refuse a fifth; those in a tool's schema or input are none."""
    history = [Message("user", [own(block), TextPart("q")]), Message("assistant", "a"), Message("user", "q")]
    history += [Message("assistant", "b"), Message("user", "q")]
    raw = encode("be kind", history, Options(tools=[Tool(name="f")], extra=extra), Model("claude-x", ModelInfo()))
    assert raw.count(b'"cache_control":{') == count


@pytest.mark.parametrize(
    ("tools", "block", "extra"),
    [
        pytest.param([{"name": f"f{n}", "cache_control": MARK} for n in range(5)], {"type": "x"}, {}, id="in tools"),
        pytest.param([], {"type": "x", "content": [MARKED] * 5}, {}, id="in a block"),
        pytest.param([{"name": "f", "cache_control": MARK}], MARKED, {"system": [MARKED] * 3}, id="in all places"),
    ],
)
def test_more_marks_than_there_may_be_are_refused(tools: Any, block: Any, extra: Any) -> None:
    """By name, before anything is sent."""
    with pytest.raises(InvalidRequestError, match="there are 5 cache marks in the tools, in blocks of the history and"):
        encode("", [Message("user", [own(block)])], Options(tools=tools, extra=extra), Model("claude-x", ModelInfo()))


SYSTEM = "You are a careful engineer who reads before writing. " * 20
TOOLS = [Tool(name=name, description=f"This does {name}. " * 20) for name in ("grep", "read_file", "edit")]


def answer(kind: str, place: int) -> list[Message]:
    """One round: an answer, and the user's next message."""
    calls = [ToolCallPart(id=f"c{place}_{n}", name="grep", arguments=f'{{"n":{n}}}') for n in range(25)]
    results = [ToolResultPart(id=call.id, content=f"line {place}") for call in calls]
    thought = ReasoningPart(text=f"hm {place}", proof="c2ln", vendor="anthropic")
    search = OpaquePart(vendor="anthropic", data=f'{{"type":"server_tool_use","id":"s{place}"}}')
    said, asked = TextPart(f"this is answer {place}"), TextPart(f"and question {place}?")
    rounds: dict[str, tuple[Sequence[Part], Sequence[Part]]] = {
        "talk": ([said], [asked]),  # 2 positions
        "tools": ([thought, said, *calls[:3]], results[:3]),  # 4
        "search": ([search, search, said], [asked]),  # 4
        "nothing": ([ReasoningPart(text="of another vendor's")], [asked]),  # 1, and two messages of the user's in a row
        "nearly": ([said], [asked] * 18),  # 19
        "half": ([said], [asked] * 58),  # 59
        "steps": ([part for call in calls for part in (said, call)], results),  # 51
        "pages": ([said], [asked] * 30),  # 31
    }
    return [Message("assistant", rounds[kind][0]), Message("user", rounds[kind][1])]


def caching(
    kinds: Sequence[str],
    *,
    unsent: Collection[int] = (),
    bare: bool = False,
    cache: Literal["auto", "extended", "off"] = "auto",
) -> list[tuple[int, int]]:
    """What each request of a growing conversation reads and writes, but for the unsent. bare: no tools, no system."""
    config = catalog().models["claude-sonnet-5-5"].provider_config
    model = Model(config.model_id, config.model_info or ModelInfo())
    server, options = DemoModel(), Options(cache=cache, tools=() if bare else TOOLS)
    history, bills = [Message("user", SYSTEM)], []
    for place, kind in enumerate(["", *kinds]):
        history += answer(kind, place) if kind else []
        if place in unsent:
            continue
        body = encode("" if bare else SYSTEM, history, options, model)
        assert cache == "off" or body.count(b"cache_control") >= (1 if bare else 3)
        first = server(Request("POST", "/v1/messages", {}, body)).body[0]
        assert isinstance(first, bytes)
        usage = msgspec.json.decode(first.split(b"data: ")[1])["message"]["usage"]
        bills.append((usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]))
    return bills


SHORT = ["talk", "tools", "search"]
ALL = [*SHORT, "nothing", "nearly", "steps", "pages", "half"]


@pytest.mark.parametrize(
    ("kinds", "unsent"),
    [
        pytest.param(["talk"] * 18, [], id="a talk"),
        pytest.param(["tools"] * 18, [], id="a loop of tools"),
        pytest.param(["steps"] * 18, [], id="answers of more than 20 positions"),
        pytest.param(["pages"] * 18, [], id="questions of more than 20 positions"),
        pytest.param(["nothing"] * 18, [], id="answers of which nothing goes back"),
        pytest.param(list(islice(cycle(ALL), 18)), [], id="all of them in turn"),
        pytest.param(["tools"] * 18, [15], id="a call that was never sent"),
        pytest.param(["tools"] * 18, [12, 13, 14, 15], id="four calls that were never sent"),
        pytest.param([*SHORT, "nearly", *SHORT], [4], id="the longest round that may go unsent"),
        pytest.param([*["steps", "tools"] * 9], [6, 14], id="short ones unsent between long ones"),
    ],
)
@pytest.mark.parametrize("bare", [False, True], ids=["with tools and system prompt", "without"])
def test_each_request_reads_all_that_the_one_before_cached(kinds: list[str], unsent: list[int], bare: bool) -> None:
    """From the second request on: what is read is what the one before wrote or read, and each writes its own part.

    Where something was never sent, with the longer lifetime: it changes no mark's place.
    """
    cache: Any = "extended" if unsent else "auto"
    bills = caching(kinds, unsent=unsent, cache=cache, bare=bare)
    assert len(bills) == len(kinds) + 1 - len(unsent)
    for before, (read, written) in pairwise(bills):
        assert read == sum(before) > 0
        assert written > 0


def test_without_tools_and_system_prompt_a_long_round_may_go_unsent() -> None:
    """The marks that are left over look back to the last entry over the round that was never sent."""
    bills = caching([*SHORT, "half", *SHORT], unsent=[4], bare=True)
    assert [read for read, _ in bills[1:]] == [sum(before) for before in bills[:-1]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=15), st.sampled_from(SHORT), st.booleans(), st.data())
def test_any_conversation_reads_all_that_it_cached(
    kinds: list[str], short: str, bare: bool, data: st.DataObject
) -> None:
    """In any order of rounds, and with any short one in the middle unsent."""
    middle = data.draw(st.integers(0, len(kinds) - 1))
    rounds = [*kinds[:middle], short, *kinds[middle:]]
    for unsent in ([], [middle + 1]):
        bills = caching(rounds, unsent=unsent, bare=bare)
        assert [read for read, _ in bills[1:]] == [sum(before) for before in bills[:-1]]


def test_without_caching_nothing_is_cached() -> None:
    """No mark, no entry."""
    assert set(caching(["tools"] * 5, cache="off")) == {(0, 0)}
