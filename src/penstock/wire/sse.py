"""Server-sent events out of bytes, as the WHATWG standard reads them ("event stream interpretation"). Pure, no JSON.

Two ways lead through. Bytes without a carriage return are cut at blank lines, and a block of plain events, which is
nearly all that vendors send, is taken apart by one regular expression. From the first carriage return on it goes line
by line. Both give the same events wherever the bytes are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from penstock.core.errors import MalformedResponseError

__all__ = ["MAX_EVENT", "Event", "SSEDecoder", "too_large"]

Event = tuple[bytes, bytes, bytes]
"""Name (empty, or as it was sent), data, and the last event id. Without a name an event is a "message"."""

MAX_EVENT = 64 * 1024 * 1024
"""Most bytes of one event, if its reader's owner sets no other. httpx2's own reader takes 1 MiB; a generated image is
one event, and of a 4K one 17 MiB have been seen.
"""

# A whole event of at most a name and one line of data; whatever is not one falls into the third group, to the end.
# No event of a plain block has an id, so that an empty third group is its id.
_PLAIN = re.compile(rb"(?:event: (.+)\n)?data: (.*)\n\n|([\s\S]+)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


def too_large(what: str, most: int) -> MalformedResponseError:
    """The error for *what* has more than *most* bytes."""
    error = MalformedResponseError(f"{what} is larger than the bound of {most} bytes")
    error.hint = "If it is right, as with a generated image, give the ProviderConfig a larger max_event_bytes."
    return error


class SSEDecoder:
    """Turns the bytes of one event stream into events. The bytes may be cut anywhere."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.retry: int | None = None
        """Milliseconds to wait before a reconnection, None if never said. A model's API has no use for it."""
        self._max_event = max_event
        self._by_line = False
        self._started = False
        # What has not ended yet: an event, or a line once it goes by line. Joined only once, to stay linear.
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._after_cr = False
        self._name = b""
        self._data: list[bytes] = []
        self._data_size = 0
        self._id = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that *data* completes. Raises MalformedResponseError when one has grown over `max_event`."""
        events: list[Event]
        if not (self._pending_size or self._by_line or self._id) and b"\r" not in data:
            # Where a model is read as it speaks, what comes mostly is one event and nothing else.
            events = _PLAIN.findall(data)
            if events and not events[-1][2]:
                self._started = True
                return events
        if self._pending_size + self._data_size > self._max_event:
            raise too_large("one event of the stream", self._max_event)
        if self._by_line or b"\r" in data:
            return self._feed_lines(data)
        if self._pending and self._pending[-1].endswith(b"\n") and data.startswith(b"\n"):
            data = self._pending.pop() + data  # the blank line lies across the cut
        cut = data.rfind(b"\n\n") + 2
        if cut < 2:
            self._hold(data)
            return []
        block = data if cut == len(data) else data[:cut]
        if self._pending_size:
            block = b"".join((*self._pending, block))
            self._drop_pending()
        if cut < len(data):
            self._hold(data[cut:])
        events = _PLAIN.findall(block)
        if not events[-1][2] and not self._id:
            self._started = True
            return events
        return self._lines(block.split(b"\n")[:-1])

    def close(self) -> Event | None:
        """The event that the end of the stream cut off before its blank line, None if there is none.

        A strict reader drops it; some proxies swallow the last blank line, so its reader decides.
        """
        rest = b"".join(self._pending)
        self._drop_pending()
        self._lines(line for line in rest.split(b"\n") if line)
        return (self._name, b"\n".join(self._data), self._id) if self._data else None

    def _feed_lines(self, data: bytes) -> list[Event]:
        self._by_line = True
        if not data:
            return []
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        if _LINE_END.search(data) is None:
            self._hold(data)
            return []
        lines = _LINE_END.split(b"".join((*self._pending, data)))
        self._drop_pending()
        self._hold(lines.pop())
        return self._lines(lines)

    def _lines(self, lines: Iterable[bytes]) -> list[Event]:
        """The standard's line machine; *lines* come without their ends."""
        events: list[Event] = []
        for raw in lines:
            line = raw
            if not self._started:
                self._started = True
                line = line.removeprefix(_BOM)
            if line:
                self._field(line)
                continue
            if self._data:
                events.append((self._name, b"\n".join(self._data), self._id))
            self._name = b""
            self._data = []
            self._data_size = 0
        return events

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data_size += len(value) + 1
            self._data.append(value)
        elif field == b"event":
            self._name = value
        elif field == b"id" and b"\0" not in value:
            self._id = value
        elif field == b"retry" and value.isdigit():
            self.retry = int(value)

    def _hold(self, data: bytes) -> None:
        if data:
            self._pending.append(data)
            self._pending_size += len(data)

    def _drop_pending(self) -> None:
        self._pending = []
        self._pending_size = 0
