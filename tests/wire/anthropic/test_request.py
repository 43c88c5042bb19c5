"""Requests to Anthropic's Messages API: parts as blocks, what is refused, and bytes that begin the next turn's."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import (
    DocumentPart,
    ImagePart,
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
from penstock.wire.anthropic.request import encode
from writing import closed

UNKNOWN = Model("claude-x", ModelInfo())
PLAIN = Options(cache="off")
HELLO = Message("user", "hi")
CALL = ToolCallPart(id="toolu_1", name="grep", arguments='{"pattern": "x"}')
ASKED = [HELLO, Message("assistant", [CALL])]
NEEDED = {"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b", "a"]}
SEARCH = {"type": "web_search_20260318", "name": "web_search", "max_uses": 2}


def known(alias: str) -> Model:
    config = catalog().models[alias].provider_config
    return Model(config.model_id, config.model_info or ModelInfo())


def sent(
    messages: Sequence[Message], options: Options = PLAIN, *, system: str = "", model: Model = UNKNOWN
) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(encode(system, messages, options, model))
    return body


BLOCKS = [
    pytest.param("user", TextPart("é"), '{"type":"text","text":"é"}', id="a user's text"),
    pytest.param("assistant", TextPart(" a\n"), r'{"type":"text","text":" a\n"}', id="an answer's text"),
    *(
        pytest.param(
            "user",
            ImagePart(data=b"\xff\x00", media_type=media_type),
            f'{{"type":"image","source":{{"type":"base64","media_type":"{media_type}","data":"/wA="}}}}',
            id=f"an image as {media_type}",
        )
        for media_type in ("image/jpeg", "image/png", "image/gif", "image/webp")
    ),
    pytest.param(
        "user",
        ImagePart(url="https://a/b.png"),
        '{"type":"image","source":{"type":"url","url":"https://a/b.png"}}',
        id="an image by url",
    ),
    pytest.param(
        "user",
        DocumentPart(data=b"%PDF", media_type="application/pdf", title="t", citations=True),
        '{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="},'
        '"title":"t","citations":{"enabled":true}}',
        id="a PDF to be cited",
    ),
    pytest.param(
        "user",
        DocumentPart(data="dé".encode(), media_type="text/plain"),
        '{"type":"document","source":{"type":"text","media_type":"text/plain","data":"dé"}}',
        id="a document of plain text is not base64",
    ),
    pytest.param(
        "user",
        DocumentPart(url="https://a/b.pdf"),
        '{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}',
        id="a document by url",
    ),
    pytest.param(
        "assistant",
        CALL,
        '{"type":"tool_use","id":"toolu_1","name":"grep","input":{"pattern": "x"}}',
        id="the arguments of a call go back byte by byte",
    ),
    pytest.param(
        "assistant",
        ToolCallPart(id="toolu_2", name="now"),
        '{"type":"tool_use","id":"toolu_2","name":"now","input":{}}',
        id="a call without arguments",
    ),
    pytest.param(
        "user",
        ToolResultPart(id="toolu_1", content="done"),
        '{"type":"tool_result","tool_use_id":"toolu_1","content":"done"}',
        id="a result of text",
    ),
    pytest.param(
        "user",
        ToolResultPart(id="toolu_1", content=""),
        '{"type":"tool_result","tool_use_id":"toolu_1"}',
        id="a result of nothing has no content",
    ),
    pytest.param(
        "user",
        ToolResultPart(id="toolu_1", content="no such file", is_error=True),
        '{"type":"tool_result","tool_use_id":"toolu_1","content":"no such file","is_error":true}',
        id="a result that is an error",
    ),
    pytest.param(
        "user",
        ToolResultPart(id="toolu_1", content=[TextPart("a"), ImagePart(url="u"), DocumentPart(url="v")]),
        '{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"a"},'
        '{"type":"image","source":{"type":"url","url":"u"}},{"type":"document","source":{"type":"url","url":"v"}}]}',
        id="a result of several parts",
    ),
    pytest.param(
        "assistant",
        ReasoningPart(text="hm", proof="c2ln", vendor="anthropic"),
        '{"type":"thinking","thinking":"hm","signature":"c2ln"}',
        id="reasoning with its proof",
    ),
    pytest.param(
        "assistant",
        ReasoningPart(proof="c2ln", vendor="anthropic"),
        '{"type":"thinking","thinking":"","signature":"c2ln"}',
        id="reasoning whose text was kept back",
    ),
    pytest.param(
        "assistant",
        ReasoningPart(proof="cmVk", redacted=True, vendor="anthropic"),
        '{"type":"redacted_thinking","data":"cmVk"}',
        id="redacted reasoning",
    ),
    *(
        pytest.param(role, OpaquePart(vendor="anthropic", data=data), data, id=f"an own block of the {role}'s")
        for role, data in (
            ("assistant", '{"type":"server_tool_use", "id":"srvtoolu_1","name":"web_search","input":{"b":1,"a":2}}'),
            ("user", '{"type":"search_result","source":"s","title":"t","content":[]}'),
        )
    ),
    pytest.param(
        "assistant",
        OpaquePart(vendor="openai", data='{"type":"x"}', text="found it"),
        '{"type":"text","text":"found it"}',
        id="another vendor's block is its text",
    ),
]
DROPPED = [
    pytest.param("assistant", TextPart(" \n\t"), id="blank text of the assistant's"),
    pytest.param("assistant", ReasoningPart(text="hm", vendor="anthropic"), id="reasoning without a proof"),
    pytest.param("assistant", ReasoningPart(text="hm", proof="p", vendor="openai"), id="another vendor's reasoning"),
    pytest.param("assistant", ReasoningPart(text="hm", proof="p"), id="nobody's reasoning"),
    pytest.param("assistant", OpaquePart(vendor="openai", data="{}"), id="another vendor's block without text"),
    pytest.param("assistant", OpaquePart(vendor="openai", data="{}", text=" "), id="another vendor's blank block"),
]


@pytest.mark.parametrize(("role", "part", "block"), BLOCKS)
def test_each_part_is_its_block(role: Any, part: Part, block: str) -> None:
    """A part becomes these very bytes, in its place."""
    asked = ASKED if isinstance(part, ToolResultPart) else [HELLO]
    body = encode("", closed([*asked, Message(role, [part, TextPart("after")])]), PLAIN, UNKNOWN)
    assert b'"content":[%b,{"type":"text","text":"after"}]}' % block.encode() in body


@pytest.mark.parametrize(("role", "part"), DROPPED)
def test_what_cannot_go_back_is_left_out(role: Any, part: Part) -> None:
    """Of such a part nothing is sent, and of a message that has nothing else nothing either."""
    beside = [HELLO, Message(role, [part, TextPart("after")]), HELLO]
    assert sent(beside)["messages"][1]["content"] == [{"type": "text", "text": "after"}]
    assert sent([HELLO, Message(role, [part]), HELLO])["messages"] == sent([HELLO, HELLO])["messages"]


def test_the_body_begins_with_what_does_not_change() -> None:
    """The fields stand in one order, tools before the system prompt and both before the messages."""
    options = Options(max_tokens=10, stop="END", tools=[Tool(name="f")], tool_choice="none", extra={"container": "c"})
    names = ["model", "max_tokens", "stream", "stop_sequences", "tool_choice", "tools", "system", "container"]
    assert list(sent([HELLO], options, system="be kind")) == [*names, "messages"]


@pytest.mark.parametrize(
    ("tool", "written"),
    [
        pytest.param(
            Tool(name="now"),
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
            id="no description is none",
        ),
        pytest.param(
            Tool(name="f", description="does it", parameters=NEEDED, strict=True),
            {"name": "f", "description": "does it", "input_schema": NEEDED, "strict": True},
            id="strict with its schema",
        ),
        pytest.param(SEARCH, SEARCH, id="a vendor's own tool as it is"),
    ],
)
@pytest.mark.parametrize("cache", ["off", "auto", "extended"])
def test_tools(tool: Any, written: dict[str, Any], cache: Any) -> None:
    """A tool is written as the API has it, and what the caller gave stays as it was."""
    before = copy.deepcopy(tool)
    (block,) = sent([HELLO], Options(tools=[tool], cache=cache))["tools"]
    marked = cache != "off" and isinstance(tool, Tool)
    assert ("cache_control" in block) == marked
    assert {name: value for name, value in block.items() if name != "cache_control"} == written
    assert tool == before


@pytest.mark.parametrize("wrap", [dict, MappingProxyType], ids=["a dictionary", "a read-only view"])
@pytest.mark.parametrize("cache", ["off", "auto", "extended"])
def test_a_callers_mapping_of_a_clients_tool_stays_as_it_was(wrap: Callable[[Any], Any], cache: Any) -> None:
    """A tool given as the API has it is sent so, and gets no mark: it is the caller's."""
    inside = {"name": "f", "input_schema": {"type": "object", "required": ["b", "a"]}}
    before = copy.deepcopy(inside)
    tool: Mapping[str, object] = wrap(inside)
    options = Options(tools=[tool], cache=cache)
    first = encode("", [HELLO], options, UNKNOWN)
    assert inside == before
    assert msgspec.json.decode(first)["tools"] == [before]
    assert encode("", [HELLO], options, UNKNOWN) == first


def ids(foreign: Sequence[str]) -> list[str]:
    """What the calls are sent with; their results are sent in the opposite order."""
    calls = [ToolCallPart(id=id_, name="f") for id_ in foreign]
    results = [ToolResultPart(id=id_, content="r") for id_ in reversed(foreign)]
    messages = sent([HELLO, Message("assistant", calls), Message("user", results)])["messages"]
    written = [block["id"] for block in messages[1]["content"]]
    assert [block["tool_use_id"] for block in messages[2]["content"]] == written[::-1]
    return written


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_vendors_call_and_its_result_have_one_legal_id(id_: str) -> None:
    """Whatever another vendor called it, the id is one that the API takes, and the same in both places."""
    (written,) = ids([id_])
    assert re.fullmatch("[a-zA-Z0-9_-]+", written)


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(["a.b", "a:b", "a b"], id="three that differ in what the API does not take"),
        pytest.param(["a_b", "a.b"], id="one that another already has"),
        pytest.param(["a.b", "a_b"], id="one that another was given"),
        pytest.param(["a.b", "a:b", "a_b_"], id="one that another was given in the second place"),
        pytest.param(["", "call"], id="the one in place of an empty one"),
        pytest.param(["call", ""], id="an empty one after it"),
    ],
)
def test_ids_that_would_be_the_same_stay_distinct(foreign: list[str]) -> None:
    """Each call has an id of its own, and each result finds its call."""
    written = ids(foreign)
    assert len(set(written)) == len(foreign)
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", id_) for id_ in written)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("a_.:", max_size=3), min_size=1, max_size=12, unique=True))
def test_any_ids_stay_distinct_and_legal(foreign: list[str]) -> None:
    """However many of them would be the same; and those that come later do not change those before."""
    written = ids(foreign)
    assert len(set(written)) == len(foreign)
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", id_) for id_ in written)
    assert ids(foreign[:-1] or foreign) == (written[:-1] or written)


@pytest.mark.parametrize("system", ["", " ", " \n\t"], ids=["empty", "a space", "blank lines"])
@pytest.mark.parametrize("cache", ["off", "auto"])
def test_a_blank_system_prompt_is_not_sent(system: str, cache: Any) -> None:
    """The API refuses an empty text, and a blank one says nothing."""
    assert list(sent([HELLO], Options(cache=cache), system=system)) == ["model", "max_tokens", "stream", "messages"]
    assert sent([HELLO], system=" a\n")["system"] == [{"type": "text", "text": " a\n"}]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        pytest.param(Options(extra={"inference_geo": "us"}), {"inference_geo": "us"}, id="a new field is added"),
        pytest.param(Options(max_tokens=5, extra={"max_tokens": 7}), {"max_tokens": 7}, id="a value is replaced"),
        pytest.param(
            Options(stop=["a"], extra={"stop_sequences": ["b"]}), {"stop_sequences": ["b"]}, id="so is a list"
        ),
        pytest.param(
            Options(
                reasoning="high", extra={"thinking": {"display": "summarized"}, "output_config": {"effort": "low"}}
            ),
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
            id="objects are merged",
        ),
        pytest.param(Options(user="u", extra={"metadata": None}), {"metadata": None}, id="an object may be taken away"),
    ],
)
def test_extra_is_laid_over_the_body(options: Options, fields: dict[str, Any]) -> None:
    """Raw fields win, and all others stay."""
    plain = sent([HELLO], msgspec.structs.replace(options, extra={}))
    assert sent([HELLO], options) == {**plain, **fields}


def test_a_mark_of_ones_own_replaces_ours() -> None:
    """With `cache_control` in the extra fields the server places the mark, and no other is sent."""
    body = encode("be kind", [HELLO], Options(tools=[Tool(name="f")], extra={"cache_control": {"a": 1}}), UNKNOWN)
    assert body.count(b"cache_control") == 1


PDF = DocumentPart(data=b"%PDF", media_type="application/pdf")
WRONG_IN_RESULTS: list[tuple[Any, str]] = [
    (CALL, "a ToolCallPart has no place in a tool result"),
    (ReasoningPart(text="hm"), "a ReasoningPart has no place in a tool result"),
    (OpaquePart(vendor="anthropic", data="{}"), "a OpaquePart has no place in a tool result"),
    (ToolResultPart(id="toolu_1", content="r"), "a ToolResultPart has no place in a tool result"),
    ("text", "a str has no place in a tool result"),
    (ImagePart(), "give either data with its media_type, or a url"),
]
REFUSED_HISTORIES = [
    pytest.param([], "the history is empty", id="an empty history"),
    *(
        pytest.param([message], "the history is empty", id=f"nothing left of {id_}")
        for message, id_ in (
            (Message("assistant", " \n"), "a blank answer"),
            (Message("assistant", [TextPart(" \n")]), "a blank part"),
            (Message("assistant", [ReasoningPart(text="hm")]), "nobody's reasoning"),
            (Message("assistant", [OpaquePart(vendor="openai", data="{}")]), "another vendor's block"),
            (Message("user", [OpaquePart(vendor="openai", data="{}")]), "a user's block of another vendor"),
        )
    ),
    pytest.param(
        [Message("assistant", " "), Message("assistant", [ReasoningPart(text="hm", proof="p", vendor="openai")])],
        "the history is empty",
        id="nothing left of two answers",
    ),
    *(
        pytest.param(
            [HELLO, SimpleNamespace(role="system", content=content)],
            "messages[1]: the role is 'system', expected user or assistant",
            id=f"an unknown role with {id_}, of what is no Message",
        )
        for content, id_ in (("be kind", "text"), ([TextPart("be kind")], "parts"))
    ),
    pytest.param([Message("user", "")], "messages[0]: the text is empty", id="an empty text"),
    pytest.param([Message("user", " \n")], "messages[0]: the text is empty", id="a blank text of the user's"),
    pytest.param([HELLO, Message("assistant", "")], "messages[1]: the text is empty", id="an empty answer"),
    pytest.param([Message("user", [])], "messages[0] is empty: leave it out", id="a message of no parts"),
    pytest.param([Message("user", [PDF, TextPart("")])], "messages[0].content[1]: the text", id="an empty text part"),
    pytest.param(
        [*ASKED, Message("user", [ToolResultPart(id="toolu_1", content=[PDF, TextPart("")])])],
        "messages[2].content[0].content[1]: the text is empty",
        id="an empty text in a result",
    ),
    *(
        pytest.param(
            [*ASKED, Message("user", [TextPart("a"), ToolResultPart(id="toolu_1", content=[PDF, wrong])])],
            f"messages[2].content[1].content[1]: {said}",
            id=f"in a result {said}",
        )
        for wrong, said in WRONG_IN_RESULTS
    ),
    pytest.param(
        [*ASKED, Message("user", [ToolResultPart(id="toolu_9", content="r")])],
        "messages[2].content[0]: a result for the tool call 'toolu_9', which no message before it makes",
        id="a result without its call",
    ),
    pytest.param(
        [Message("user", [ToolResultPart(id="toolu_1", content="r")]), ASKED[1]],
        "messages[0].content[0]: a result for the tool call 'toolu_1'",
        id="a result before its call",
    ),
    pytest.param(
        [HELLO, Message("assistant", [OpaquePart(vendor="anthropic", data="[]")])],
        "messages[1].content[0]: the data is not a JSON object: []",
        id="an own block that is not an object",
    ),
    *(
        pytest.param([Message("user", [part])], f"messages[0].content[0]: {said}", id=id_)
        for part, said, id_ in (
            (
                ImagePart(data=b"", media_type="image/bmp"),
                "an image of type 'image/bmp', expected image/jpeg, image/png, image/gif or image/webp",
                "an image of an unknown type",
            ),
            (ImagePart(data=b""), "an image of type None", "an image without a type"),
            (ImagePart(data=b"", url="u"), "give either data with its media_type, or a url", "an image with both"),
            (ImagePart(), "give either data with its media_type, or a url", "an image with neither"),
            (
                DocumentPart(data=b"", media_type="text/html"),
                "a document of type 'text/html', expected application/pdf or text/plain",
                "a document of an unknown type",
            ),
            (DocumentPart(data=b"", url="u"), "give either data", "a document with both"),
            (DocumentPart(), "give either data", "a document with neither"),
            (CALL, "a ToolCallPart has no place in a message of the user", "a call by the user"),
            (ReasoningPart(text="hm"), "a ReasoningPart has no place in a message of the user", "a user's reasoning"),
        )
    ),
    *(
        pytest.param(
            [*ASKED, Message("assistant", [part])],
            f"messages[2].content[0]: {said} has no place in a message of the assistant",
            id=f"{said} by the assistant",
        )
        for part, said in (
            (ImagePart(url="u"), "a ImagePart"),
            (PDF, "a DocumentPart"),
            (ToolResultPart(id="toolu_1", content="r"), "a ToolResultPart"),
        )
    ),
    pytest.param([Message("user", "\ud800")], "cannot be written as JSON: 'utf-8' codec", id="half a surrogate pair"),
]


@pytest.mark.parametrize(("messages", "said"), REFUSED_HISTORIES)
def test_a_wrong_history_is_refused_before_sending(messages: list[Message], said: str) -> None:
    """The message names the place and what is wrong there."""
    with pytest.raises(InvalidRequestError) as refused:
        encode("", messages, PLAIN, UNKNOWN)
    assert said in refused.value.message
    assert refused.value.status is None


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(object(), "objects of type object is unsupported", id="an object"),
        pytest.param({(1, 2): 3}, "Encoding objects of type tuple is unsupported", id="a key that is no text"),
        pytest.param(ENDLESS, "maximum recursion depth exceeded", id="a list in itself"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: object, said: str) -> None:
    """It is an error of ours, whatever the encoder raises."""
    with pytest.raises(InvalidRequestError, match=f"the request cannot be written as JSON: .*{said}"):
        encode("", [HELLO], Options(cache="off", extra={"container": value}), UNKNOWN)


CYCLE: dict[str, object] = {"type": "object"}
CYCLE["properties"] = {"child": CYCLE}
NOT_JSON = "the request cannot be written as JSON: "


@pytest.mark.parametrize(
    ("messages", "options", "said"),
    [
        pytest.param([Message("user", "\ud800")], Options(), f"{NOT_JSON}'utf-8' codec", id="a user's text"),
        pytest.param(
            [*ASKED, Message("user", [ToolResultPart(id="toolu_1", content="\ud800")])],
            Options(),
            f"{NOT_JSON}'utf-8' codec",
            id="a tool's result",
        ),
        pytest.param(
            [HELLO, Message("assistant", [OpaquePart(vendor="anthropic", data='{"a": "\ud800"}')]), HELLO],
            Options(),
            "messages[1].content[0]: the data is not a JSON object",
            id="an own block",
        ),
        *(
            pytest.param([HELLO], Options(tools=[tool]), f"{NOT_JSON}{said}", id=f"{id_} in the schema of {whose}")
            for schema, said, id_ in (
                (
                    {"type": "object", "default": object()},
                    "Encoding objects of type object is unsupported",
                    "an object",
                ),
                (CYCLE, "maximum recursion depth exceeded", "a cycle"),
            )
            for whose, tool in (
                ("a tool", Tool(name="f", parameters=schema)),
                ("a mapping", {"name": "f", "input_schema": schema}),
            )
        ),
    ],
)
@pytest.mark.parametrize("least", [None, 1, 1024], ids=["no minimum", "a low minimum", "a minimum"])
def test_caching_does_not_change_what_is_refused(
    messages: list[Message], options: Options, said: str, least: int | None
) -> None:
    """Where marks are placed, and the prompt is measured for that, the error is the same."""
    with pytest.raises(InvalidRequestError) as refused:
        encode("be kind", messages, options, Model("claude-x", ModelInfo(min_cache_tokens=least)))
    assert refused.value.message.startswith(said)
    assert refused.value.status is None


PREFILL = [HELLO, Message("assistant", "{")]


@pytest.mark.parametrize(
    ("alias", "messages", "said"),
    [
        pytest.param("claude-sonnet-5-5", PREFILL, "takes no history that ends with the assistant", id="a prefill"),
        pytest.param("claude-opus-4-6", PREFILL, "messages[1]: claude-opus-4-6", id="a prefill, named by its place"),
        pytest.param("claude-opus-4-5", PREFILL, None, id="a prefill for a model that takes it"),
        pytest.param("claude-opus-4-1", PREFILL, None, id="a prefill for a model of which it is not known"),
        pytest.param(
            "claude-sonnet-5-5",
            [HELLO, Message("assistant", [OpaquePart(vendor="anthropic", data='{"type":"server_tool_use"}')])],
            None,
            id="a paused turn is no prefill",
        ),
    ],
)
def test_prefill(alias: str, messages: list[Message], said: str | None) -> None:
    """A history that ends with the assistant is refused where the model is known not to take it."""
    if said is None:
        assert len(sent(messages, model=known(alias))["messages"]) == 2
    else:
        with pytest.raises(InvalidRequestError, match=re.escape(said)):
            encode("", messages, PLAIN, known(alias))


@pytest.mark.parametrize("wrap", [False, True], ids=["in a message", "in a result"])
def test_images_are_refused_where_the_model_takes_none(wrap: bool) -> None:
    """The message names the model; where nothing is known of it the image is sent."""
    image = ImagePart(url="u")
    shown = [ToolResultPart(id="toolu_1", content=[image]) if wrap else image]
    history = [*(ASKED if wrap else [HELLO, HELLO]), Message("user", shown)]
    assert "image" in str(sent(history)["messages"][2])
    with pytest.raises(InvalidRequestError, match=r"messages\[2\].content\[0\].*blind-1 takes no images"):
        encode("", history, PLAIN, Model("blind-1", ModelInfo(supports_images=False)))


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: not text.isspace())
ARGUMENTS = st.sampled_from(["{}", '{"b": 1, "a": [2]}', '{"path":"é\\n"}', ' { "x" : 1e3 } '])
REASONING = st.builds(
    ReasoningPart,
    text=TEXTS,
    proof=st.sampled_from([None, "c2ln"]),
    redacted=st.booleans(),
    vendor=st.sampled_from(["anthropic", "anthropic", "openai"]),
)
SAID = st.one_of(
    st.builds(TextPart, TEXTS | st.just(" ")),
    st.just(OpaquePart(vendor="anthropic", data='{"type": "server_tool_use"}')),
    st.just(OpaquePart(vendor="openai", data="{}", text="t")),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """A user's question, then rounds of an answer with calls and of their results with what the user adds."""
    history = [Message("user", draw(TEXTS))]
    for place in range(draw(st.integers(1, 5))):
        ids = [f"call:{place}/{number}" for number in range(draw(st.integers(0, 3)))]
        calls = [ToolCallPart(id=id_, name="f", arguments=draw(ARGUMENTS)) for id_ in ids]
        results = [ToolResultPart(id=id_, content=draw(TEXTS), is_error=draw(st.booleans())) for id_ in ids]
        said = [*draw(st.lists(REASONING, max_size=2)), *draw(st.lists(SAID, min_size=not ids, max_size=2))]
        asked = [TextPart(draw(TEXTS))] if not ids or draw(st.booleans()) else []
        history += [Message("assistant", [*said, *calls]), Message("user", [*results, *asked])]
    return history


OPTIONS = [
    PLAIN,
    Options(reasoning="high", max_tokens=4096, user="u", stop=["END"]),
    Options(tools=[Tool(name="f", description="d"), SEARCH], tool_choice="auto", parallel_tool_calls=False),
    Options(tools=[Tool(name="f")], cache="extended", extra={"metadata": {"user_id": "u"}, "container": "c"}),
]


def unmarked(body: dict[str, Any]) -> dict[str, Any]:
    for block in (*body.get("tools", ()), *body["system"], *(b for m in body["messages"] for b in m["content"])):
        block.pop("cache_control", None)
    return body


@settings(max_examples=60, deadline=None)
@given(conversations(), st.sampled_from(OPTIONS))
def test_the_bytes_of_a_turn_begin_those_of_the_next(history: list[Message], options: Options) -> None:
    """Without caching to the byte; with it, but for the marks, block by block."""
    off = msgspec.structs.replace(options, cache="off")
    for length in range(1, len(history)):
        if closed(history[:length]) != history[:length]:
            continue  # such a history is refused
        last = sent(history[:length])["messages"][-1]["content"][-1].get("text")
        if history[length - 1].role == "assistant" and last != getattr(history[length - 1].content[-1], "text", last):
            continue  # of words that the model is to continue the blanks at the end are not sent
        turn, later = (encode("be kind", history[:end], off, UNKNOWN) for end in (length, len(history)))
        assert turn.endswith(b"]}")
        assert later.startswith(turn[:-2])
        now, then = (unmarked(sent(history[:end], options, system="be kind")) for end in (length, len(history)))
        messages = now.pop("messages")
        assert then.pop("messages")[: len(messages)] == messages
        assert list(then.items()) == list(now.items())


@settings(max_examples=60, deadline=None)
@given(conversations(), st.sampled_from(OPTIONS))
def test_the_same_arguments_give_the_same_bytes(history: list[Message], options: Options) -> None:
    """Encoding twice gives the same, a list is as good as a tuple, and nothing that was given is changed."""
    before = copy.deepcopy((history, options))
    first = encode("be kind", history, options, UNKNOWN)
    assert (history, options) == before
    assert encode("be kind", tuple(history), options, UNKNOWN) == first
