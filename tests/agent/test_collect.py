"""Folds over chunks: what goes into a Reply comes out of it, whatever the stream, however it ends."""

from __future__ import annotations

import copy
import gc
import pickle
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Literal

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import (
    BaseProvider,
    Chunk,
    Collector,
    ConfigError,
    Message,
    OpaqueChunk,
    OpaquePart,
    Options,
    Part,
    ProviderError,
    ReasoningChunk,
    ReasoningPart,
    Reply,
    ServerError,
    StopChunk,
    StreamInterruptedError,
    TextChunk,
    TextPart,
    ToolCallChunk,
    ToolCallDeltaChunk,
    ToolCallPart,
    UsageChunk,
    coalesce,
    collect,
    generate_object,
    generate_text,
    text_of,
)
from penstock.testing import ScriptedProvider
from penstock.wire.event_json import is_object
from playing import cancelled_while_waiting
from reading import read

STOP = StopChunk(reason="stop")
USAGE = UsageChunk(output_tokens=1, known_cost=Decimal("0.000015"))
CALL = ToolCallChunk(id="c1", name="f", arguments='{"a": 1.50}')
CALL_PART = ToolCallPart(id="c1", name="f", arguments='{"a": 1.50}')
DELTA = ToolCallDeltaChunk(id="c1", name="f", arguments='{"a"')


def thought(text: str = "", proof: str | None = None, vendor: str = "", redacted: bool = False) -> ReasoningChunk:
    return ReasoningChunk(text=text, proof=proof, vendor=vendor, redacted=redacted)


def kept(text: str = "", proof: str | None = None, vendor: str = "", redacted: bool = False) -> ReasoningPart:
    return ReasoningPart(text=text, proof=proof, vendor=vendor, redacted=redacted)


def cited(text: str = "") -> OpaqueChunk:
    return OpaqueChunk(vendor="v", data="{}", text=text)


def block(text: str = "") -> OpaquePart:
    return OpaquePart(vendor="v", data="{}", text=text)


class Source:
    """A stream of chunks that ends with an error if there is one, and says whether it was closed."""

    def __init__(self, *chunks: Any, error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.closed = False

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Each chunk as if it came from afar."""
        try:
            for chunk in self.chunks:
                await anyio.lowlevel.checkpoint()
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        pytest.param([TextChunk("He"), TextChunk("llo")], [TextPart("Hello")], id="text is one part"),
        pytest.param([TextChunk(" ")], [TextPart(" ")], id="blank text is kept"),
        pytest.param([TextChunk("a"), USAGE, TextChunk("b")], [TextPart("ab")], id="usage does not part text"),
        pytest.param([CALL], [CALL_PART], id="a call's arguments stay as they came"),
        pytest.param([DELTA, DELTA, CALL], [CALL_PART], id="a piece of a call is no part"),
        pytest.param([DELTA], [], id="a call that was cut off leaves nothing"),
        pytest.param([TextChunk("a"), CALL, TextChunk("b")], [TextPart("a"), CALL_PART, TextPart("b")], id="in order"),
        pytest.param([TextChunk("a"), cited()], [TextPart("a"), block()], id="a block without text follows the text"),
        pytest.param(
            [TextChunk("a"), TextChunk("b"), cited("b")], [TextPart("a"), block("b")], id="cited text is once"
        ),
        pytest.param([TextChunk("a"), TextChunk("b"), cited("ab")], [block("ab")], id="text that is all cited"),
        pytest.param(
            [TextChunk("ab"), cited("b"), TextChunk("bc"), cited("c")],
            [TextPart("a"), block("b"), TextPart("b"), block("c")],
            id="each block holds the text before it",
        ),
        pytest.param(
            [thought("so"), thought("on", "sig", "v"), TextChunk("a")],
            [kept("soon", "sig", "v"), TextPart("a")],
            id="a proof ends its block",
        ),
        pytest.param([thought("", "x", "v", True)], [kept("", "x", "v", True)], id="redacted reasoning has no text"),
        pytest.param(
            [thought("a", "1", "v"), thought("b"), thought("", "2", "v")],
            [kept("a", "1", "v"), kept("b", "2", "v")],
            id="two blocks one after the other",
        ),
        pytest.param(
            [thought("a", vendor="v"), thought("b", vendor="v"), TextChunk("c")],
            [kept("ab", vendor="v"), TextPart("c")],
            id="text that the vendor wants back ends where other content begins",
        ),
        pytest.param(
            [thought("a", vendor="v"), CALL, thought("b", vendor="v"), cited()],
            [kept("a", vendor="v"), CALL_PART, kept("b", vendor="v"), block()],
            id="also before a call and a vendor's own block",
        ),
        pytest.param([thought("a", vendor="v")], [kept("a", vendor="v")], id="also at the end"),
        pytest.param(
            [thought("a", vendor="v"), thought("b")], [kept("ab", vendor="v")], id="a vendor is that of the whole block"
        ),
        pytest.param(
            [thought("a", vendor="v"), USAGE, thought("b", vendor="v")], [kept("ab", vendor="v")], id="not at usage"
        ),
        pytest.param(
            [thought("a", vendor="v"), TextChunk("b"), thought("c"), TextChunk("d")],
            [kept("a", vendor="v"), TextPart("b"), kept("c"), TextPart("d")],
            id="a block's vendor is not the next one's",
        ),
        pytest.param([thought("a"), TextChunk("b")], [kept("a"), TextPart("b")], id="reasoning of no vendor is kept"),
        pytest.param([thought(vendor="v")], [], id="reasoning that says nothing"),
        pytest.param([], [], id="an answer with nothing in it"),
    ],
)
def test_the_message_has_all_parts_in_order(chunks: list[Chunk], parts: list[Part]) -> None:
    """What the vendor wants back goes back; a message with nothing in it is none, as vendors refuse it."""
    collector = Collector()
    for chunk in [*chunks, STOP]:
        collector.feed(chunk)
    message = collector.reply().message
    assert message == (Message("assistant", parts) if parts else None)


CHUNKS = st.one_of(
    st.text(min_size=1).map(TextChunk),
    st.builds(ReasoningChunk, text=st.text(), vendor=st.sampled_from(["", "v"])),
    st.builds(ReasoningChunk, text=st.text(), proof=st.text(min_size=1), vendor=st.just("v")),
    st.just(CALL),
    st.just(DELTA),
    st.just(cited()),
    st.just(USAGE),
)


@given(st.lists(CHUNKS))
def test_nothing_is_lost(chunks: list[Chunk]) -> None:
    """Text, reasoning, calls and usage of any stream are in the Reply and, but for usage, in its message."""
    collector = Collector()
    for chunk in chunks:
        collector.feed(chunk)
    reply = collector.reply()
    parts = reply.message.content if reply.message else []
    assert not isinstance(parts, str)
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))
    reasoning = "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningChunk))
    assert text == reply.text == "".join(part.text for part in parts if isinstance(part, TextPart))
    assert reasoning == reply.reasoning == "".join(part.text for part in parts if isinstance(part, ReasoningPart))
    assert [chunk for chunk in chunks if isinstance(chunk, ToolCallChunk)] == list(reply.tool_calls)
    assert len(reply.tool_calls) == sum(isinstance(part, ToolCallPart) for part in parts)
    proofs = [chunk.proof for chunk in chunks if isinstance(chunk, ReasoningChunk) and chunk.proof]
    assert proofs == [part.proof for part in parts if isinstance(part, ReasoningPart) and part.proof]
    assert reply.usage == sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    assert collector.reply() == reply
    assert msgspec.json.decode(msgspec.json.encode(reply), type=Reply) == reply


def test_a_collector_takes_only_an_answers_chunks() -> None:
    """What is no chunk of a provider is not passed over."""
    with pytest.raises(TypeError, match="a TextPart is not a chunk of an answer"):
        Collector().feed(TextPart("a"))  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_collect_returns_the_whole() -> None:
    """Everything, once the stream has ended."""
    source = Source(thought("hm"), TextChunk("a"), CALL, USAGE, USAGE, StopChunk(reason="tool_calls"))
    reply = await collect(source.stream())
    assert reply == Reply(
        text="a",
        reasoning="hm",
        tool_calls=(CALL,),
        usage=UsageChunk(output_tokens=2, known_cost=Decimal("0.000030")),
        stop=StopChunk(reason="tool_calls"),
        message=Message("assistant", [kept("hm"), TextPart("a"), CALL_PART]),
    )
    assert (reply.cost, reply.stop_reason) == (Decimal("0.000030"), "tool_calls")
    assert source.closed


@pytest.mark.anyio
async def test_a_broken_stream_leaves_what_came() -> None:
    """The error is the same one; what came is its `partial`, which survives pickle and copy."""
    error = ServerError("it broke", usage=USAGE)
    source = Source(TextChunk("a"), USAGE, error=error)
    with pytest.raises(ServerError) as caught:
        await collect(source.stream())
    assert caught.value is error
    assert source.closed
    for again in (error, copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(again.partial, Reply)
        assert again.partial.message == Message("assistant", [TextPart("a")])
        assert (again.partial.usage, again.partial.stop, again.partial.stop_reason) == (USAGE, None, None)


def test_an_error_of_another_way_has_no_partial() -> None:
    """The attribute is there on every error."""
    assert ProviderError("it broke").partial is None


@pytest.mark.anyio
async def test_a_stream_without_an_end_is_not_whole() -> None:
    """Even when its provider does not say so."""
    with pytest.raises(StreamInterruptedError) as caught:
        await collect(Source(TextChunk("a"), USAGE).stream())
    assert isinstance(caught.value.partial, Reply)
    assert (caught.value.partial.text, caught.value.usage) == ("a", USAGE)


@pytest.mark.anyio
async def test_what_is_not_the_providers_passes_through() -> None:
    """A mistake in a wrapper is not dressed up."""
    with pytest.raises(KeyError):
        await collect(Source(TextChunk("a"), error=KeyError("k")).stream())
    source = Source(TextChunk("a"), "b", STOP)
    with pytest.raises(TypeError, match="a str is not a chunk"):
        await collect(source.stream())
    assert source.closed


@pytest.mark.anyio
async def test_text_of_is_the_text() -> None:
    """Nothing else; and the stream is closed at the end, and when it is left."""
    source = Source(thought("hm"), TextChunk("a"), USAGE, TextChunk("b"), STOP)
    assert [text async for text in text_of(source.stream())] == ["a", "b"]
    assert source.closed
    left = Source(TextChunk("a"), TextChunk("b"))
    texts = text_of(left.stream())
    assert await anext(texts) == "a"
    await texts.aclose()
    assert left.closed


class Echo(BaseProvider):
    """Says what it was asked."""

    async def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        yield TextChunk(f"{system_prompt}|{messages[0].content}|")
        yield TextChunk(f"{options.max_tokens if options else None}")
        yield StopChunk(reason="length")


@pytest.mark.anyio
async def test_generate_text_takes_a_provider() -> None:
    """And says so of a word, without showing it: it may be a key."""
    with pytest.raises(ConfigError, match="`provider` is of type str, expected a provider") as caught:
        await generate_text("sk-secret", "Hi")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.anyio
async def test_generate_text_is_one_line() -> None:
    """System prompt and options go along; text that was cut off is text."""
    assert await generate_text(Echo(), "Hi") == "|Hi|None"
    assert (
        await generate_text(Echo(), "Hi", system_prompt="Be brief.", options=Options(max_tokens=3)) == "Be brief.|Hi|3"
    )
    assert "TextPart" in await generate_text(Echo(), [TextPart("Hi")])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prompt", "history"),
    [
        pytest.param("Hi", [Message("user", "Hi")], id="text"),
        pytest.param([TextPart("Hi")], [Message("user", [TextPart("Hi")])], id="parts"),
        pytest.param((TextPart("Hi"),), [Message("user", [TextPart("Hi")])], id="a tuple of them"),
        pytest.param([Message("user", "Hi")], [Message("user", "Hi")], id="messages"),
        pytest.param(
            (Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "Hm")),
            [Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "Hm")],
            id="a tuple of them, in order",
        ),
        pytest.param([], [], id="nothing, which the wire refuses"),
        pytest.param([{"role": "user"}], [{"role": "user"}], id="what the wire refuses with its place"),
        pytest.param([TextPart("Hi"), "Ho"], [TextPart("Hi"), "Ho"], id="a mixture, in the same way"),
    ],
)
async def test_a_prompt_is_text_or_parts_or_the_history(prompt: Any, history: Any) -> None:
    """The same for text and for objects; what was given stays as it is."""
    before = copy.copy(prompt)
    text, object_ = ScriptedProvider([TextChunk("Ho"), STOP]), ScriptedProvider([TextChunk('{"value": 1}'), STOP])
    await generate_text(text, prompt)
    await generate_object(object_, int, prompt)
    assert [call.messages for provider in (text, object_) for call in provider.calls] == [history] * 2
    assert prompt == before


@pytest.mark.anyio
@pytest.mark.parametrize("prompt", [Message("user", "Hi"), TextPart("Hi"), None, {"role": "user"}])
async def test_a_prompt_that_is_none_of_them(prompt: Any) -> None:
    """It says what may stand there."""
    said = f"`prompt` is a {type(prompt).__name__}, expected text, or a list of parts or of messages"
    for ask in (lambda: generate_text(Echo(), prompt), lambda: generate_object(Echo(), int, prompt)):
        with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
            await ask()


async def waited() -> None:
    """A coroutine, as of a function of one's own that awaits `create_message`."""


class Endless:
    """It can be read, and not closed."""

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        raise StopAsyncIteration


TO_ENTER = "`async with provider.stream(...) as chunks`, or use provider.create_message(...)"
THE_CHUNKS = "the chunks of provider.create_message(...)"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            lambda: Echo().stream("", []), f"the context manager of provider.stream(...): write {TO_ENTER}", id="stream"
        ),
        pytest.param(
            lambda: aclosing(Echo().create_message("", [])),
            f"the context manager of provider.stream(...): write {TO_ENTER}",
            id="another context manager",
        ),
        pytest.param(Echo, "the provider: pass what its create_message(...) gives", id="a provider"),
        pytest.param(waited, f"a coroutine: pass {THE_CHUNKS}, which is not awaited", id="a coroutine"),
        pytest.param(lambda: Echo().create_message, "a function: call it, and pass what it gives", id="a function"),
        pytest.param(lambda: [TextChunk("Hi")], f"a list, expected {THE_CHUNKS}", id="a list"),
        pytest.param(Endless, f"a Endless, expected {THE_CHUNKS}", id="what cannot be closed"),
        pytest.param(lambda: None, f"a NoneType, expected {THE_CHUNKS}", id="nothing"),
    ],
)
async def test_what_is_no_stream_is_refused(given: Callable[[], Any], said: str) -> None:
    """By each that reads one: in one line that says what to write, and with no warning."""
    for fold in (collect, lambda stream: anext(text_of(stream)), lambda stream: anext(coalesce(stream))):
        with pytest.raises(ConfigError) as refused:
            await fold(given())
        assert str(refused.value) == f"`stream` is {said}"
    gc.collect()


class Clock:
    """Says the times that it is told, the last one for ever."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)

    def __call__(self) -> float:
        """The next one."""
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def words(text: str) -> list[TextChunk]:
    return [TextChunk(word) for word in text.split("|")]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("at", "pieces", "joined"),
    [
        pytest.param("line", "a|b\nc|d\n|e", "ab\n|cd\n|e", id="lines, and what is left"),
        pytest.param("line", "a\nb\nc", "a\nb\n|c", id="up to the last line's end"),
        pytest.param("line", "a. b|c", "a. bc", id="a sentence is no line"),
        pytest.param("sentence", "Hel|lo. W|orld! ", "Hello. |World! ", id="sentences"),
        pytest.param("sentence", "It is 3|.|5 m. Ye|s.", "It is 3.5 m. |Yes.", id="a point in a number"),
        pytest.param("sentence", 'Really|?|!|" |x', 'Really?!" |x', id="a quotation's end, in pieces"),
        pytest.param("sentence", "一。|二！三", "一。|二！|三", id="ideographic stops need no blank"),
        pytest.param("sentence", "- a|\n- b|\nc", "- a\n|- b\n|c", id="a line's end is a sentence's"),
        pytest.param("sentence", "a|b|c", "abc", id="no end at all"),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
async def test_coalesce_at_borders(at: Literal["sentence", "line"], pieces: str, joined: str, size: int | None) -> None:
    """Text comes by whole lines or sentences, and each character that may end one is enough to let it out."""
    chunks = words(pieces) if size is None else [TextChunk(letter) for letter in pieces.replace("|", "")]
    found = [chunk.text async for chunk in coalesce(Source(*chunks).stream(), at=at)]
    if size is None:
        assert "|".join(found) == joined
    assert "".join(found) == pieces.replace("|", "")
    assert all(text[-1] in "\n 。！" for text in found[:-1])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("times", "found"),
    [
        pytest.param([0.0], ["a", "bcd"], id="at one time: the first at once, the rest at the end"),
        # The clock is asked before a piece is let out and after it was taken.
        pytest.param([0.0, 0.0, 0.03, 0.06, 0.06, 0.2], ["a", "bc", "d"], id="when the time has passed"),
        pytest.param([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0], ["a", "b", "c", "d"], id="a slow answer is not delayed"),
        pytest.param([0.0, 9.0, 9.01, 9.02], ["a", "bcd"], id="counted from when the screen has taken it"),
    ],
)
async def test_coalesce_by_time(times: list[float], found: list[str]) -> None:
    """At most one text in each span."""
    stream = coalesce(Source(*words("a|b|c|d")).stream(), seconds=0.05, clock=Clock(*times))
    assert [chunk.text async for chunk in stream] == found


@pytest.mark.anyio
async def test_coalesce_delays_nothing_else() -> None:
    """A call comes at once and after the text before it; usage comes at once and does not part the text."""
    source = Source(*words("a|b"), USAGE, TextChunk("c"), CALL, TextChunk("d"), STOP)
    stream = coalesce(source.stream(), clock=Clock(0.0))
    assert [chunk async for chunk in stream] == [
        TextChunk("a"),
        USAGE,
        TextChunk("bc"),
        CALL,
        TextChunk("d"),
        STOP,
    ]
    assert source.closed


@pytest.mark.anyio
async def test_coalesce_loses_no_text_when_the_stream_breaks() -> None:
    """The text that was held back comes before the error."""
    source = Source(*words("a|b|c"), error=ServerError("it broke"))
    stream = coalesce(source.stream(), at="line")
    assert await anext(stream) == TextChunk("abc")
    with pytest.raises(ServerError):
        await anext(stream)
    assert source.closed


@pytest.mark.anyio
async def test_coalesce_closes_what_it_reads_and_yields_nothing_more() -> None:
    """Left early, and cancelled while it waits."""
    source = Source(*words("a|b\n|c"))
    stream = coalesce(source.stream(), at="line")
    await anext(stream)
    await stream.aclose()
    assert source.closed

    async def forever() -> AsyncGenerator[Chunk, None]:
        yield TextChunk("a")
        await anyio.sleep_forever()

    found = []

    async def read() -> None:
        async for chunk in coalesce(forever(), at="line"):
            found.append(chunk)  # noqa: PERF401

    await cancelled_while_waiting(read)
    assert found == []


@pytest.mark.anyio
async def test_coalesce_takes_what_it_knows() -> None:
    """A word of another kind is refused by name."""
    with pytest.raises(ConfigError, match="'word', expected one of line, sentence"):
        await anext(coalesce(Source(STOP).stream(), at="word"))  # type: ignore[arg-type]


@given(st.lists(st.text(alphabet='a.!? \n。"', min_size=1)), st.sampled_from([None, "line", "sentence"]))
def test_coalesce_changes_no_text(pieces: list[str], at: Literal["sentence", "line"] | None) -> None:
    """Whatever the pieces."""

    async def run() -> str:
        stream = coalesce(Source(*map(TextChunk, pieces)).stream(), at=at)
        return "".join([chunk.text async for chunk in stream])

    assert anyio.run(run) == "".join(pieces)


def test_recorded_answers_keep_their_blocks(corpus: list[dict[str, Any]]) -> None:
    """Of every whole answer of the real API: one part for each block, in order, with its proof, id and bytes."""
    rows = [row for row in corpus if row["endpoint"] == "/v1/messages" and row["status"] == 200 and not row["sse"]]
    for row in rows:
        collector = Collector()
        for chunk in read([row["response_body"].encode()]):
            collector.feed(chunk)
        message = collector.reply().message
        answer = msgspec.json.decode(row["response_body"])
        blocks = [each for each in answer["content"] if each.get("text") != ""]
        # The container is no block: it stands behind them, for the next request to name it.
        held = [("opaque", {**answer["container"], "type": "container"})] if answer.get("container") else []
        assert [shape(part) for part in (message.content if message else ())] == [*map(raw_shape, blocks), *held]
    assert len(rows) == 620


def shape(part: Part | str) -> tuple[object, ...]:
    if isinstance(part, OpaquePart):
        assert is_object(part.data)
        return ("opaque", msgspec.json.decode(part.data))
    if isinstance(part, ReasoningPart):
        return ("reasoning", part.text, part.proof)
    if isinstance(part, ToolCallPart):
        return ("call", part.id, part.name, msgspec.json.decode(part.arguments))
    assert isinstance(part, TextPart)
    return ("text", part.text)


def raw_shape(raw: dict[str, Any]) -> tuple[object, ...]:
    kind = raw["type"]
    if kind == "text" and not raw.get("citations"):
        return ("text", raw["text"])
    if kind == "thinking":
        return ("reasoning", raw["thinking"], raw["signature"])
    if kind == "redacted_thinking":
        return ("reasoning", "", raw["data"])
    return ("call", raw["id"], raw["name"], raw["input"]) if kind == "tool_use" else ("opaque", raw)
