"""One answer's bytes to chunks, whatever the server made of it: an event stream, one JSON document, or a web page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from penstock.core.chunks import Chunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import MalformedResponseError, StreamInterruptedError
from penstock.wire.event_json import UNDECODABLE, Halves, shown
from penstock.wire.sse import MAX_EVENT, Event, SSEDecoder, too_large

__all__ = ["AnswerReader", "EventDecoder"]

_MAX_WHOLE: Final = 64 * 1024 * 1024
"""Most bytes of an answer that came as one document, if an event may not be larger; the largest of 1,200 recorded ones
has under 2 MB.
"""

_BLANK: Final = b"\xef\xbb\xbf \t\r\n"  # a byte order mark and white space may come first, in any pieces


class EventDecoder(ABC):
    """What a wire turns one answer's events into chunks with. It holds the state of that answer and of no other.

    Pure: its test needs a list, never an event loop.
    """

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        self.done = False
        """The vendor has said that the message is complete; what comes after that is not looked at."""
        self.held = 0
        """How many events have brought content for which there is no chunk yet."""
        self.may_end = False
        """The vendor has said why it ended and what that cost; it may say no more, although it should."""
        self._meter = meter
        self._dialect = dialect
        self._halves = Halves()

    @abstractmethod
    def feed(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """The chunks of *events*, each as soon as it is known.

        Raises, after the chunks before it, MalformedResponseError or what the vendor's own error event says.
        """

    @abstractmethod
    def feed_whole(self, body: bytes) -> Iterator[Chunk]:
        """The chunks of an answer that came as one JSON document, as from a server that ignores `stream`."""

    def close(self, *, waited: bool = False) -> Iterator[Chunk]:
        """The chunks that only the end of the bytes completes.

        waited: they have not ended; nothing came any more after the message might end. Raises StreamInterruptedError
        unless the vendor has said that the message is complete.
        """
        if not self.done:
            raise StreamInterruptedError("the stream ended before the vendor said that the message is complete")
        return iter(())


class AnswerReader:
    """Reads one answer. The first byte tells what it is: recorded answers show that a header does not."""

    def __init__(self, decoder: EventDecoder, max_event: int = MAX_EVENT) -> None:
        """max_event: most bytes of one event."""
        self.decoder = decoder
        """What it gives the events to; its `done`, `held` and `may_end` are that of the answer."""
        self._sse = SSEDecoder(max_event)
        self._is_stream = False
        self._start = b""
        self._whole: list[bytes] = []
        self._whole_size = 0
        self._max_whole = max(_MAX_WHOLE, max_event)

    @property
    def done(self) -> bool:
        """Whether the vendor has said that the message is complete: nothing that follows matters."""
        return self.decoder.done

    @property
    def held(self) -> int:
        """How many events have brought content for which there is no chunk yet."""
        return self.decoder.held

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that *data* completes. Raises what the decoder raises, and MalformedResponseError."""
        if self._is_stream:
            return self.decoder.feed(self._sse.feed(data))
        return self._begin(data)

    def read_whole(self, body: bytes) -> Iterator[Chunk]:
        """The chunks of an answer that is one JSON document for sure. Raises what `feed` and `close` raise."""
        self._whole.append(body)
        return self.close()

    def close(self, *, waited: bool = False) -> Iterator[Chunk]:
        """The chunks that only the end of the bytes completes. Raises StreamInterruptedError for half an answer.

        waited: they have not ended; nothing came any more after the message might end.
        """
        if self._is_stream:
            last = self._sse.close()
            if last is not None and _is_whole(last[1]):
                yield from self.decoder.feed([last])
        elif body := b"".join(self._whole).lstrip(_BLANK):
            if body[:1] not in b"{[":
                kind = "a web page" if body[:1] == b"<" else "no answer of this API"
                raise MalformedResponseError(f"the server sent {kind}: {shown(body)}")
            yield from self.decoder.feed_whole(body)
        else:
            raise StreamInterruptedError("the answer is empty")
        yield from self.decoder.close(waited=waited)

    def _begin(self, data: bytes) -> Iterator[Chunk]:
        self._whole.append(data)
        self._whole_size += len(data)
        self._start = self._start or data.lstrip(_BLANK)[:1]
        if self._start and self._start not in b"{[<":
            self._is_stream = True
            body = b"".join(self._whole)
            self._whole.clear()
            yield from self.decoder.feed(self._sse.feed(body))
        elif self._whole_size > self._max_whole:
            raise too_large("the answer, which is one document,", self._max_whole)


def _is_whole(data: bytes) -> bool:
    # Some proxies swallow the last blank line. What it should have ended is taken only if it cannot have been cut.
    try:
        msgspec.json.decode(data)
    except UNDECODABLE:
        return data.strip() == b"[DONE]"
    return True
