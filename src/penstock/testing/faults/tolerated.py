"""What servers and proxies do to an answer that is whole all the same: none of it may change what comes out."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from penstock.testing.answers import TEXT_DELTA, WIRES, CalledTool, WireName, answer, until
from penstock.testing.anthropic import anthropic_message
from penstock.testing.emulator import Hang, ServerReply, Step, pieces
from penstock.testing.events import data_event, named_event
from penstock.testing.faults.fault import TEXT, Fault, Outcome
from penstock.testing.openai import ChatForm, chat_completion, responses_message

__all__ = ["ODDITIES"]

_WIDE: Final = "Grüße, 世界 🙂!"
_WEATHER: Final[CalledTool] = ("get_weather", '{"city":"Paris"}')
_TIME: Final[CalledTool] = ("get_time", '{"zone":"Europe/Paris"}')
_NOW: Final[CalledTool] = ("get_now", "")
_NOVEL: Final = {"type": "novel", "value": [1, {"deep": None}]}
_GZIP: Final = {"content-type": "text/event-stream", "content-encoding": "gzip"}
_FIVE_MB: Final = "penstock " * 600_000
_MANY: Final = 200_000  # events
_PIECE: Final = 64 * 1024  # bytes, where a body is too large for an HTTP chunk to be an event


def _odd(
    name: str,
    body: Callable[[WireName], Sequence[Step]],
    *,
    text: str = TEXT,
    calls: Sequence[CalledTool] = (),
    reason: str = "stop",
    usage: tuple[int, int] | None = (10, 10),
    **more: Any,
) -> Fault:
    outcome = Outcome(text=text, calls=calls, reason=reason, usage=usage)  # type: ignore[arg-type]
    return Fault(name=name, reply=lambda wire: ServerReply(body(wire)), outcome=outcome, **more)


def _calling(name: str, body: Callable[[WireName], Sequence[Step]], *calls: CalledTool) -> Fault:
    return _odd(name, body, text="", calls=[(tool, given or "{}") for tool, given in calls], reason="tool_calls")


def _rewritten(name: str, rewrite: Callable[[bytes], bytes]) -> Fault:
    """Other bytes for the same events, each an HTTP chunk."""
    return _odd(name, lambda wire: [rewrite(event) for event in answer(wire, TEXT)])


def _inserted(name: str, events: Mapping[WireName, Sequence[bytes]]) -> Fault:
    """More events after the second piece of text."""

    def body(wire: WireName) -> list[bytes]:
        whole = answer(wire, TEXT)
        place = len(until(whole, TEXT_DELTA[wire], 2))
        return [*whole[:place], *events[wire], *whole[place:]]

    return _odd(name, body, wires=tuple(events))


def _after_cr(wire: WireName) -> list[Step]:
    """Each HTTP chunk ends between a carriage return and its line feed."""
    return [piece for piece in re.split(rb"(?<=\r)", _body(wire).replace(b"\n", b"\r\n")) if piece]


def _body(wire: WireName) -> bytes:
    return b"".join(answer(wire, TEXT))


def _more_fields(event: bytes) -> bytes:
    """Unknown fields, at the top and inside of all that is an object."""
    return re.sub(rb"\{(?=\")", b'{"novel":{"type":"x","deep":[null]},', event)


def _over_lines(event: bytes) -> bytes:
    """A document of JSON over several lines of data."""
    return event.replace(b"data: {", b"data: {\ndata:   ", 1).replace(b"}\n", b"\ndata: }\n")


def _no_last_line(wire: WireName) -> list[bytes]:
    *events, last = answer(wire, TEXT)
    return [*events, last.rstrip()]


def _unknown_block(wire: WireName) -> Sequence[bytes]:
    said = {"type": "message", "content": [{"type": "output_text", "text": TEXT}]}
    if wire == "messages":
        return anthropic_message(_NOVEL, {"type": "text", "text": TEXT})
    if wire == "responses":
        return responses_message({"id": "n", **_NOVEL}, said)
    first, *rest = answer(wire, TEXT)
    return [first, data_event(choices=[{"index": 0, "delta": {"content": [_NOVEL]}}]), *rest]


def _no_usage(wire: WireName) -> list[bytes]:
    events = chat_completion(text=TEXT, form=ChatForm(usage_place="none")) if wire == "chat" else answer(wire, TEXT)
    return [re.sub(rb'"usage":\{[^{}]*(\{[^{}]*\}[^{}]*)*\}', b'"usage":null', event) for event in events]


def _split_usage(wire: WireName) -> list[bytes]:
    if wire == "messages":  # it always comes in two; here the second has nothing of the first
        return answer(wire, TEXT)
    *events, done = chat_completion(text=TEXT, form=ChatForm(usage_place="none"))
    halves = [data_event(choices=[], usage={name: 10}) for name in ("prompt_tokens", "completion_tokens")]
    return [*events, *halves, done]


def _growing_usage(wire: WireName) -> Sequence[bytes]:
    if wire == "chat":
        return chat_completion(text=TEXT, form=ChatForm(usage_place="every"))
    events: list[bytes] = []
    for event in answer(wire, TEXT):
        events.append(event)
        if TEXT_DELTA[wire] in event:
            so_far = {"input_tokens": 10, "output_tokens": min(10, len(events))}
            events.append(
                named_event("message_delta", delta={"stop_reason": None}, usage=so_far)
                if wire == "messages"
                else named_event("response.in_progress", response={"id": "resp_emulated", "usage": so_far})
            )
    return events


def _interleaved(wire: WireName) -> list[bytes]:
    """The pieces of two calls in turn, where a wire has that; the Messages API sends one block after the other."""
    events = answer(wire, calls=[_WEATHER, _TIME])
    if wire != "chat":
        return events
    first, second = ([event for event in events if b'"tool_calls":[{"index":%d' % index in event] for index in (0, 1))
    start = events.index(first[0])
    turns = [event for pair in zip(first, second, strict=False) for event in pair]
    longer = second[len(first) :] or first[len(second) :]
    return [*events[:start], *turns, *longer, *events[start + len(first) + len(second) :]]


def _cut_by_length(wire: WireName) -> list[bytes]:
    return answer(wire, "Let me see.", [("get_weather", '{"city":"Par')], reason="length")


def _many_events(wire: WireName) -> list[Step]:
    whole = "ab" * _MANY
    events = answer(wire, whole, piece=len(whole))
    place = len(until(events, TEXT_DELTA[wire], 1))
    piece = until(answer(wire, "ab"), TEXT_DELTA[wire], 1)[-1]
    return [*events[: place - 1], *pieces(piece * _MANY, _PIECE), *events[place:]]


_UNKNOWN_EVENT: Final = named_event("novel.thing", value=1)
_UNKNOWN_DELTAS: Final[Mapping[WireName, Sequence[bytes]]] = {
    "messages": [named_event("content_block_delta", index=0, delta=_NOVEL)],
    "chat": [data_event(choices=[{"index": 0, "delta": {"novel": _NOVEL}, "finish_reason": None}])],
    "responses": [named_event("response.novel.delta", output_index=0, delta="x")],
}
_NULLS: Final[Mapping[WireName, Sequence[bytes]]] = {
    "messages": [
        named_event("content_block_delta", index=0, delta={"type": "text_delta", "text": None}),
        named_event("content_block_delta", index=0, delta=None),
        named_event("message_delta", delta=None, usage=None),
    ],
    "chat": [
        data_event(choices=[{"index": 0, "delta": {"role": None, "content": None, "tool_calls": None}}], usage=None),
        data_event(choices=[{"index": 0, "delta": None, "finish_reason": None}], usage=None),
        data_event(choices=None, usage=None),
    ],
    "responses": [
        named_event("response.output_text.delta", output_index=0, delta=None),
        named_event("response.output_item.added", output_index=None, item=None),
        named_event("response.in_progress", response={"usage": None, "output": None}),
    ],
}

ODDITIES: Final[Sequence[Fault]] = [
    _odd("a connection left open after the last event", lambda wire: [*answer(wire, TEXT), Hang()]),
    _odd("text after the last event", lambda wire: answer(wire, TEXT) * 2),
    # Shown as U+FFFD: a byte that was lost is no reason to lose the answer.
    _odd(
        "text that is not UTF-8",
        lambda wire: [event.replace(b"Hell", b"H\xffll") for event in answer(wire, TEXT)],
        text=TEXT.replace("e", "\ufffd", 1),
    ),
    _inserted("an unknown event", {wire: [_UNKNOWN_EVENT] for wire in WIRES}),
    _inserted("an unknown delta", _UNKNOWN_DELTAS),
    _odd("an unknown block", _unknown_block),
    _rewritten("unknown fields", _more_fields),
    _inserted("null for content and usage", _NULLS),
    _odd("characters cut in the middle", lambda wire: pieces(b"".join(answer(wire, _WIDE)), 3), text=_WIDE),
    _rewritten("CRLF", lambda event: event.replace(b"\n", b"\r\n")),
    _rewritten("CR", lambda event: event.replace(b"\n", b"\r")),
    _odd("CRLF cut in the middle", _after_cr),
    _odd("one byte at a time", lambda wire: pieces(_body(wire), 1), seconds=5),
    _odd("a byte order mark", lambda wire: [b"\xef\xbb\xbf", *answer(wire, TEXT)]),
    _rewritten("fields without a space", lambda event: re.sub(rb"^(data|event): ", rb"\1:", event, flags=re.MULTILINE)),
    _rewritten("comments, ids and retry lines", lambda event: b": hello\nid: 7\nretry: 3000\n" + event),
    _rewritten("a document over several data lines", _over_lines),
    _odd("no blank line at the end", _no_last_line),
    _odd("everything in one segment", lambda wire: [_body(wire)]),
    Fault(
        name="gzip",
        reply=lambda wire: ServerReply(pieces(gzip.compress(_body(wire)), 50), headers=_GZIP),
        outcome=Outcome(text=TEXT, reason="stop", usage=(10, 10)),
    ),
    _odd("a finish reason without [DONE]", lambda wire: answer(wire, TEXT)[:-1], wires=("chat",)),
    _odd("no usage", _no_usage, usage=None),
    _odd("usage in two events", _split_usage, wires=("messages", "chat")),
    _odd("growing usage on every event", _growing_usage),
    _calling("arguments cut at every character", lambda wire: answer(wire, calls=[_WEATHER], piece=1), _WEATHER),
    _calling("two calls in parallel", _interleaved, _WEATHER, _TIME),
    _calling("a call without arguments", lambda wire: answer(wire, calls=[_NOW]), _NOW),
    _odd("arguments cut by the length limit", _cut_by_length, text="Let me see.", reason="length"),
    _odd(
        "an event of 5 MB",
        lambda wire: [step for event in answer(wire, _FIVE_MB, piece=len(_FIVE_MB)) for step in pieces(event, _PIECE)],
        text=_FIVE_MB,
    ),
    _odd("200,000 events", _many_events, text="ab" * _MANY, seconds=20),
]
"""In the order of what they touch: the end, what is said, how it is said, how large it is."""
