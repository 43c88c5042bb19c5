"""The event stream decoder against the standard, wherever the bytes are cut."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Chunk, ModelInfo, ProviderError, StreamInterruptedError
from penstock.core.cost import Meter
from penstock.core.errors import MalformedResponseError
from penstock.wire.answer_reader import AnswerReader
from penstock.wire.openai.responses_answer import ResponsesDecoder
from penstock.wire.sse import MAX_EVENT, Event, SSEDecoder
from penstock.wire.vendors import DIALECTS
from reading import DAY


def event(data: str | bytes, name: str = "", id_: str = "") -> Event:
    return name.encode(), data if isinstance(data, bytes) else data.encode(), id_.encode()


# https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; an event without a name
# is a "message". The numbers are those of our own table of cases.
STANDARD = [
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [event("a")], id="1 one byte order mark is dropped"),
    pytest.param(b"data: a\r\rdata: b\r\r", [event("a"), event("b")], id="2 CR ends lines"),
    pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [event("a"), event("b")], id="3 CRLF ends lines"),
    pytest.param(b"data: a\r\ndata: b\n\r", [event("a\nb")], id="4 line ends mix"),
    pytest.param(b"data: a\ndata: b\n\n", [event("a\nb")], id="5 data lines are joined by LF"),
    pytest.param(b"data\n\ndata:\n\n", [event(""), event("")], id="6 an empty data line is data"),
    pytest.param(b"data\ndata\n\n", [event("\n")], id="7 two empty data lines are one LF"),
    pytest.param(b"data: a\n\ndata: b", [event("a")], id="8 an unfinished line is no event"),
    pytest.param(b"data: a\n\ndata: b\n", [event("a")], id="9 an event without its blank line is none"),
    pytest.param(b": x\n\ndata: a\n\n", [event("a")], id="10 a comment is not an event"),
    pytest.param(b"event: ping\n\ndata: a\n\n", [event("a")], id="11 a name without data is dropped"),
    pytest.param(b"data:  a\ndata:b\n\n", [event(" a\nb")], id="12 one space is dropped"),
    pytest.param(
        b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n",
        [event("a", id_="1"), event("b", id_="1"), event("c")],
        id="13 an id with NUL is ignored and an empty one resets",
    ),
    pytest.param(b"id: 1\ndata: a\n\ndata: b\n\n\n\n", [event("a", id_="1"), event("b", id_="1")], id="14 an id stays"),
    pytest.param(b"retry: 10\ndata: a\n\nretry: 1x\nretry: -5\ndata: b\n\n", [event("a"), event("b")], id="15 retry"),
    pytest.param(b"foo: bar\ndata: a\n\n", [event("a")], id="16 an unknown field is ignored"),
    pytest.param(b"Data: x\nDATA: y\ndata: a\n\n", [event("a")], id="17 fields are case-sensitive"),
    pytest.param(
        "data: a\u0085b\u2028c\x0bd\n\n".encode(), [event("a\u0085b\u2028c\x0bd")], id="18 only LF and CR end"
    ),
    pytest.param(b"data: \xff\xfe\n\n", [event(b"\xff\xfe")], id="19 invalid UTF-8 is the reader's to replace"),
    pytest.param(b"event: x\ndata: a\n\ndata: b\n\n", [event("a", "x"), event("b")], id="20 a name does not stay"),
    pytest.param(b":\n:data: no\ndata: a\n\n", [event("a")], id="21 comments look like fields"),
    pytest.param(b" data: no\ndata: a\n\n", [event("a")], id="22 a leading space makes another field"),
    pytest.param('data: {"t":"é"}\n\n'.encode(), [event('{"t":"é"}')], id="23 a character is cut in two"),
    pytest.param(b"data: a\r\n\r\n", [event("a")], id="24 a cut inside CRLF ends one line"),
    pytest.param(b"data: a\r\r\n", [event("a")], id="25 the LF behind a CR is swallowed"),
    pytest.param(b"data: [DONE]", [], id="26 the end of file ends no event"),
    pytest.param(b"\n\n\ndata: a\n\n", [event("a")], id="27 blank lines in front"),
    pytest.param(b'data:{"a":1}\n\n', [event('{"a":1}')], id="28 no space"),
    pytest.param(b'event: error\ndata: {"type":"error"}\n\n', [event('{"type":"error"}', "error")], id="29 a name"),
    pytest.param(b"data: a\nevent: x\n\n", [event("a", "x")], id="30 the order of fields does not matter"),
    pytest.param(b"event: x\nevent:\ndata: a\n\n", [event("a")], id="31 an empty name is the default one"),
    pytest.param(b"id: 7\r\ndata: a\r\n\r\ndata: b\n\n", [event("a", id_="7"), event("b", id_="7")], id="ids by line"),
    pytest.param(
        b"event: x\ndata: a\n\nevent: y\ndata: b\ndata: c\n\n", [event("a", "x"), event("b\nc", "y")], id="mix"
    ),
]


def decoded(body: bytes, size: int) -> list[Event]:
    decoder = SSEDecoder()
    return [event for start in range(0, len(body), size) for event in decoder.feed(body[start : start + size])]


@pytest.mark.parametrize(("body", "events"), STANDARD)
def test_cuts_never_matter(body: bytes, events: list[Event]) -> None:
    """Every row of the standard comes out the same, whole and in pieces of every size."""
    for size in range(1, len(body) + 1):
        assert decoded(body, size) == events, size


@pytest.mark.parametrize(("body", "events"), STANDARD)
def test_two_cuts_never_matter(body: bytes, events: list[Event]) -> None:
    """Nor do any two cuts, however near to each other."""
    for first in range(len(body)):
        for second in range(first, len(body)):
            decoder = SSEDecoder()
            parts = body[:first], body[first:second], body[second:]
            assert [event for part in parts for event in decoder.feed(part)] == events


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: x", b"event", b"id: 1", b"id", b": c", b"", b"", b"junk", b"data:  d e"]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.data())
def test_any_lines_cut_anywhere(lines: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """The quick way and the way by line agree: whole, one byte at a time, and cut at random."""
    body = b"".join(line + end for line, end in lines)
    whole = decoded(body, max(1, len(body)))
    assert decoded(body, 1) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    decoder = SSEDecoder()
    places = [0, *cuts, len(body)]
    parts = [body[start:end] for start, end in pairwise(places)]
    assert [event for part in parts for event in decoder.feed(part)] == whole


def test_retry_is_kept_when_it_is_a_number() -> None:
    """Only digits set the time for a reconnection."""
    decoder = SSEDecoder()
    decoder.feed(b"retry: 10\ndata: a\n\nretry: 1x\nretry: -5\ndata: b\n\n")
    assert decoder.retry == 10


@pytest.mark.parametrize(
    ("body", "last"),
    [
        pytest.param(b"data: a\n\ndata: b", event("b"), id="an unterminated line"),
        pytest.param(b"data: a\n\nevent: x\ndata: b\n", event("b", "x"), id="no blank line"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n", event("b"), id="no blank line with CRLF"),
        pytest.param(b"data: a\r\n\r\ndata: b", event("b"), id="an unterminated line with CRLF"),
        pytest.param(b"data: a\n\n", None, id="nothing is left"),
        pytest.param(b"", None, id="nothing came"),
        pytest.param(b"event: x\n", None, id="a name alone is no event"),
    ],
)
def test_the_end_hands_over_what_a_strict_reader_drops(body: bytes, last: Event | None) -> None:
    """`close` gives the event that lacks its blank line, wherever the bytes were cut."""
    for size in range(1, len(body) + 2):
        decoder = SSEDecoder()
        for start in range(0, len(body), size):
            decoder.feed(body[start : start + size])
        assert decoder.close() == last


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_line_of_ten_megabytes_takes_linear_time(end: bytes) -> None:
    """Twice the bytes take about twice the time, not four times: the buffer is not searched again and again."""

    def seconds(size: int) -> float:
        body = b": start" + end + b"data: " + b"x" * size + end + end
        best = float("inf")
        for _ in range(3):
            before = time.process_time()
            assert len(decoded(body, 65536)) == 1
            best = min(best, time.process_time() - before)
        return best

    assert seconds(10_000_000) < 10 * seconds(2_500_000) + 0.05


@pytest.mark.parametrize("line", [b"data: " + b"x" * 50, b"data: x\n" * 60], ids=["one line", "many lines"])
@pytest.mark.parametrize("end", [b"\n", b"\r"], ids=["plain", "by line"])
def test_the_buffer_has_a_bound_and_the_error_names_it(line: bytes, end: bytes) -> None:
    """An event that never ends does not fill the memory."""
    decoder = SSEDecoder(max_event=40)
    decoder.feed(line.replace(b"\n", end))
    with pytest.raises(MalformedResponseError, match="40 bytes"):
        decoder.feed(b"x")


@pytest.mark.parametrize(("bound", "kind"), [(MAX_EVENT, StreamInterruptedError), (2**20, MalformedResponseError)])
def test_the_owner_of_a_reader_sets_the_bound(bound: int, kind: type[ProviderError]) -> None:
    """One event of a picture is larger than most would think; whoever wants less says so."""
    picture = b'data: {"type":"response.output_item.done","item":{"type":"x","result":"%b"}}\n\n' % (b"A" * 17 * 2**20)
    reader = AnswerReader(ResponsesDecoder(Meter(ModelInfo(), DAY), DIALECTS["openai"]), max_event=bound)
    pieces = [picture[start : start + 2**20] for start in range(0, len(picture), 2**20)]

    def chunks() -> list[Chunk]:
        return [chunk for piece in pieces for chunk in reader.feed(piece)] + list(reader.close())

    with pytest.raises(kind):
        chunks()
