"""Everything that servers and networks have been seen to do to an answer, on all three wires, and what must come of it.

async with emulated(FAULTS["a reset after three pieces"], "chat") as emulator:
    provider = provider_on("chat", emulator.url)

The emulator plays the fault once (for ever where the fault says so), and then answers well: "Hello there, world!".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Any, Final

from penstock.core.errors import (
    AuthenticationError,
    FirstChunkTimeoutError,
    InvalidRequestError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StallTimeoutError,
    StreamInterruptedError,
    TokenLimitError,
)
from penstock.testing.answers import (
    ARGUMENTS_DELTA,
    ERROR_EVENT,
    PING,
    TEXT_DELTA,
    CalledTool,
    WireName,
    answer,
    error_answer,
    until,
)
from penstock.testing.emulator import Cut, Hang, Pause, Reset, ServerReply, Step, pieces
from penstock.testing.faults.fault import TEXT, Fault, Outcome
from penstock.testing.faults.tolerated import ODDITIES
from penstock.testing.openai import responses_message

__all__ = ["FAULTS"]

_BEFORE: Final = "Hello there,"  # what is said in three pieces
_MESSAGE: Final = {"type": "message", "content": [{"type": "output_text", "text": TEXT}]}
_CALL: Final[CalledTool] = ("get_weather", '{"city":"Paris"}')


_HTML: Final = {"content-type": "text/html"}
_PAGE: Final = b"<!doctype html><html><body>Service Unavailable</body></html>"


def _said(wire: WireName) -> list[bytes]:
    """Three pieces of text, and nothing that ends it."""
    return until(answer(wire, TEXT), TEXT_DELTA[wire], 3)


def _status(
    name: str, status: int, message: str, error: type[ProviderError], *, always: bool = True, **more: Any
) -> Fault:
    """What is wrong once more at the next try is so always."""
    retry_after = more.pop("retry_after", None)
    return Fault(
        name=name,
        reply=lambda wire: error_answer(wire, status, message, **more),
        outcome=Outcome(error=error, retry_after=retry_after),
        always=always,
    )


def _limited(name: str, seconds: float, headers: Callable[[], Mapping[str, str]]) -> Fault:
    return Fault(
        name=name,
        reply=lambda wire: error_answer(wire, 429, "Too many requests a minute.", headers=headers()),
        outcome=Outcome(error=RateLimitError, retry_after=seconds),
    )


def _overflow(wire: WireName) -> ServerReply:
    if wire == "messages":
        return error_answer(wire, 400, "prompt is too long: 208310 tokens > 200000 maximum")
    said = "This model's maximum context length is 200000 tokens. However, your messages resulted in 208310 tokens."
    return error_answer(wire, 400, said, code="context_length_exceeded")


def _exhausted(wire: WireName) -> ServerReply:
    said = "You exceeded your current quota, please check your plan and billing details."
    code = "enforced_spend_limit_reached" if wire == "messages" else "insufficient_quota"
    return error_answer(wire, 429, said, code=code)


def _json_error(wire: WireName) -> ServerReply:
    said = error_answer(wire, 529, "The server is overloaded.")
    return ServerReply(said.body, 200, said.headers, whole=True)


def _before(name: str, reply: ServerReply, error: type[ProviderError], **more: Any) -> Fault:
    """The same on each wire."""
    return Fault(name=name, reply=lambda wire: reply, outcome=Outcome(error=error), **more)


def _broken(
    name: str, steps: Callable[[WireName], Sequence[Step]], error: type[ProviderError], text: str = _BEFORE, **more: Any
) -> Fault:
    """A stream that begins well and ends in an error."""
    return Fault(
        name=name, reply=lambda wire: ServerReply(list(steps(wire))), outcome=Outcome(error=error, text=text), **more
    )


def _closed_by_the_server(wire: WireName) -> ServerReply:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return ServerReply([head, *_said(wire), Cut()], raw=True)


def _no_json(wire: WireName) -> bytes:
    """An event of a known name, cut in the middle of its data."""
    event = _said(wire)[-1]
    return event[: event.rindex(b"ere,")] + b"\n\n"


def _half_a_call(wire: WireName) -> list[bytes]:
    return until(answer(wire, calls=[_CALL]), ARGUMENTS_DELTA[wire], 3)


_ROWS: Final = [
    _status("401", 401, "Invalid API key.", AuthenticationError),
    _status("403", 403, "This key may not use this model.", PermissionDeniedError),
    _status("404", 404, "There is no such model.", NotFoundError),
    _status("400", 400, "temperature: is wrong.", InvalidRequestError),
    Fault(name="an overflow of the context", reply=_overflow, outcome=Outcome(error=TokenLimitError), always=True),
    _status("413", 413, "The request is too large.", TokenLimitError),
    _status("402", 402, "Payment is required.", QuotaExceededError),
    _limited("429 with retry-after: 1", 1, lambda: {"retry-after": "1"}),
    _limited("429 with retry-after-ms", 0.25, lambda: {"retry-after-ms": "250", "retry-after": "1"}),
    _limited("429 with a date", 2, lambda: {"retry-after": formatdate(time.time() + 2, usegmt=True)}),
    _limited("429 with retry-after: 3600", 3600, lambda: {"retry-after": "3600"}),
    Fault(name="429 for an exhausted quota", reply=_exhausted, outcome=Outcome(error=QuotaExceededError), always=True),
    _status("500 once", 500, "The server failed.", ServerError, always=False),
    _status("529 always", 529, "The server is overloaded.", OverloadedError),
    _before("503 with a web page", ServerReply([_PAGE], 503, _HTML, whole=True), ServerError),
    _before("200 with a web page", ServerReply([_PAGE], 200, _HTML, whole=True), MalformedResponseError, always=True),
    Fault(name="200 with an error", reply=_json_error, outcome=Outcome(error=OverloadedError)),
    _before("200 with an empty stream", ServerReply(), StreamInterruptedError),
    _before("a refused connection", ServerReply(), NetworkError, refused=True),
    _before("accepted, then reset", ServerReply(before=[Reset()], raw=True, unread=True), NetworkError),
    _before("the request read, then closed", ServerReply(before=[Cut()]), NetworkError),
    _before("headers, then the end of file", ServerReply([Cut()]), StreamInterruptedError),
    _before("no headers", ServerReply(before=[Hang()]), FirstChunkTimeoutError),
    _before(
        "headers that drip",
        ServerReply(pieces(b"HTTP/1.1 200 OK\r\nx-header: " + b"x" * 5000, 1, pause=0.05), raw=True),
        FirstChunkTimeoutError,
    ),
    _broken("a reset after three pieces", lambda wire: [*_said(wire), Pause(0.05), Reset()], StreamInterruptedError),
    _broken("the end of file without the last chunk", lambda wire: [*_said(wire), Cut()], StreamInterruptedError),
    _broken("a clean end without the last event", _said, StreamInterruptedError),
    Fault(
        name="a connection closed without the last event",
        reply=_closed_by_the_server,
        outcome=Outcome(error=StreamInterruptedError, text=_BEFORE),
    ),
    _broken("a clean end inside arguments", _half_a_call, StreamInterruptedError, ""),
    _broken("an error event first", lambda wire: [ERROR_EVENT[wire]], OverloadedError, ""),
    _broken("an error event after three pieces", lambda wire: [*_said(wire), ERROR_EVENT[wire]], OverloadedError),
    _broken(
        "a response that failed",
        lambda wire: responses_message(_MESSAGE, status="failed"),
        ServerError,
        TEXT,
        wires=("responses",),
    ),
    _broken("an event that is not JSON", lambda wire: [*_said(wire), _no_json(wire)], MalformedResponseError),
    _broken("silence", lambda wire: [Hang()], FirstChunkTimeoutError, ""),
    _broken("silence after three pieces", lambda wire: [*_said(wire), Hang()], StallTimeoutError),
    # A body is a sequence and has an end: here after a quarter of an hour.
    _broken(
        "pings for ever",
        lambda wire: [*_said(wire), *(PING[wire], Pause(0.05)) * 18_000],
        StallTimeoutError,
    ),
]
FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in (*_ROWS, *ODDITIES)}
"""All of them, by name: first those before the answer, then those inside it, at last what is only odd."""
