"""What can go wrong with an answer that was recorded: cut anywhere, stalled, or with an error in it.

for reply in cut_at_events(body):  # each of them a ServerReply for an Emulator, and none of them a whole answer
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from penstock.testing.answers import ERROR_EVENT, WireName
from penstock.testing.emulator import Hang, ServerReply, Step

__all__ = ["cut_at_bytes", "cut_at_events", "events_of", "stalled", "with_error_event"]

_BLANK: Final = re.compile(rb"(?<=\n\n)|(?<=\r\r)|(?<=\r\n\r\n)")
# From the first of these on, an answer without the rest may count as whole: some servers send no more than this.
_END: Final = re.compile(
    rb'"finish_reason": ?"[^"]|"type": ?"(?:message_stop|response\.(?:completed|incomplete|failed))"|^data: ?\[DONE\]',
    re.MULTILINE,
)


def events_of(body: bytes | Iterable[bytes]) -> list[bytes]:
    """The events of a recorded body, each with its blank line; joined they are the body."""
    return [event for event in _BLANK.split(_joined(body)) if event]


def cut_at_events(body: bytes | Iterable[bytes]) -> Iterator[ServerReply]:
    """The body ended before each of its events, up to the one that says that the answer is complete."""
    events = events_of(body)
    for count in range(_last(events) + 1):
        yield ServerReply(events[:count])


def cut_at_bytes(body: bytes | Iterable[bytes], step: int = 1) -> Iterator[ServerReply]:
    """The body ended after 0, *step*, twice *step*... bytes, before the end of what says that it is complete."""
    events = events_of(body)
    whole = b"".join(events)
    last = _last(events)
    end = sum(map(len, events[:last])) + len(events[last].rstrip())
    for size in range(0, end, step):
        yield ServerReply([whole[:size]] if size else [])


def stalled(body: bytes | Iterable[bytes], after: int) -> ServerReply:
    """The body's first *after* events, and then nothing more on a connection that stays open."""
    steps: list[Step] = [*events_of(body)[:after], Hang()]
    return ServerReply(steps)


def with_error_event(body: bytes | Iterable[bytes], wire: WireName, after: int) -> ServerReply:
    """The body's first *after* events, and then the wire's event for a server that is overloaded."""
    return ServerReply([*events_of(body)[:after], ERROR_EVENT[wire]])


def _last(events: list[bytes]) -> int:
    """The place of the first event that says that the answer is complete. Raises ValueError if none does."""
    for place, event in enumerate(events):
        if _END.search(event):
            return place
    raise ValueError("the body is no whole stream: none of its events says that the answer is complete")


def _joined(body: bytes | Iterable[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)
