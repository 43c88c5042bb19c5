"""What a network does to an answer below the wire: the same bytes for whatever transport reads them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from penstock.testing import TEXT, Cut, Hang, Pause, Reset, ServerReply, Step, WireName, pieces
from penstock.testing.answers import answer

__all__ = ["FAULTS", "Broken"]


class Broken(NamedTuple):
    """The replies that one call after the other gets, and which deadline is short in the last of them, if any."""

    replies: Callable[[WireName], Sequence[ServerReply]]
    deadline: str | None = None


HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED: Final = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def whole(wire: WireName) -> bytes:
    """The body of an answer."""
    return b"".join(answer(wire, TEXT))


def others(wire: WireName) -> bytes:
    """The body of an answer that nobody has asked for."""
    return b"".join(answer(wire, "The secret of somebody else."))


def half(wire: WireName) -> bytes:
    """The first half of it, to the end of an event."""
    events = answer(wire, TEXT)
    return b"".join(events[: len(events) // 2])


def chunk(data: bytes, more: bytes = b"") -> bytes:
    """One HTTP chunk. more: stands behind its size."""
    return b"%x%b\r\n%b\r\n" % (len(data), more, data)


def sized(body: bytes, size: object, *more: bytes) -> bytes:
    """An answer with a length, and header lines."""
    return HEAD + b"".join(line + b"\r\n" for line in more) + b"content-length: %b\r\n\r\n" % str(size).encode() + body


def raw(*steps: Step | Callable[[WireName], bytes], deadline: str | None = None) -> Broken:
    """All that one call gets, each as it is or as it is on the wire."""

    def replies(wire: WireName) -> list[ServerReply]:
        return [ServerReply([step(wire) if callable(step) else step for step in steps], raw=True)]

    return Broken(replies, deadline)


def begun(*steps: Step, deadline: str | None = None) -> Broken:
    """A chunked answer that has begun, and what follows half of it."""
    return raw(CHUNKED, lambda wire: chunk(half(wire)), *steps, deadline=deadline)


def after(*steps: Step, deadline: str | None = None) -> Broken:
    """On the connection of an answer that was whole."""
    return Broken(
        lambda wire: [ServerReply(answer(wire, TEXT)), ServerReply(steps, raw=True)],
        deadline,
    )


def answered(body: bytes, *more: bytes) -> bytes:
    """A whole answer."""
    return sized(body, len(body), *more)


def headed(*lines: bytes) -> Broken:
    """A whole answer with more header lines."""
    return raw(lambda wire: answered(whole(wire), *lines))


def zipped(cut: int = 0, encoding: bytes = b"gzip") -> Broken:
    """A compressed body, of which bytes are missing at the end."""

    def reply(wire: WireName) -> bytes:
        body = gzip.compress(whole(wire))
        body = body[: len(body) - cut]
        return sized(body, len(body), b"content-encoding: " + encoding)

    return raw(reply)


HALF_A_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-ty"
DRIPPING: Final = pieces(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 200, 4, pause=0.05)

FAULTS: Final[dict[str, Broken]] = {
    # before the answer
    "closed before the first byte": raw(Cut()),
    "reset before the first byte": raw(Reset()),
    "closed in the first line": raw(b"HTTP/1.1 2", Cut()),
    "closed in the head": raw(HALF_A_HEAD, Cut()),
    "reset in the head": raw(HALF_A_HEAD, Pause(0.05), Reset()),
    "closed after the head": raw(CHUNKED, Cut()),
    "silence in the head": raw(HALF_A_HEAD, Hang(), deadline="first_chunk"),
    "silence in the head, within the total": raw(HALF_A_HEAD, Hang(), deadline="total"),
    "a head that drips": raw(*DRIPPING, deadline="first_chunk"),
    "no HTTP, and closed": raw(b"SSH-2.0-OpenSSH_9.2\r\n", Cut()),
    "no HTTP, and open": raw(b"SSH-2.0-OpenSSH_9.2\r\n", Hang(), deadline="first_chunk"),
    "a first line of another protocol": raw(b"HTTP/9.9 what\r\n\r\n", Cut()),
    "a status that is no number": raw(b"HTTP/1.1 two OK\r\n\r\n", Cut()),
    "a page without a head": raw(b"<html>Bad Gateway</html>\r\n", Cut()),
    "TLS where none was asked for": raw(bytes.fromhex("15030300020228"), Cut()),
    "a head of 20 kB": headed(b"x-a: " + b"x" * 20_000),
    "a head of 60 kB": headed(b"x-a: " + b"x" * 60_000),
    "a head of 200 kB": headed(b"x-a: " + b"x" * 200_000),
    "100 header lines": headed(*(b"x-%d: b" % number for number in range(100))),
    "500 header lines": headed(*(b"x-%d: b" % number for number in range(500))),
    "a head of 200 kB in many lines": headed(*[b"x-a: " + b"x" * 500] * 400),
    "a head without an end": raw(b"HTTP/1.1 200 OK\r\n", *[b"x-a: " + b"b" * 1000 + b"\r\n"] * 1_100, Hang()),
    "a header without a colon": headed(b"what is this"),
    "a header with a space in its name": headed(b"x a: b"),
    "a header over two lines": headed(b"x-a: b\r\n c"),
    "a header with letters that are not ASCII": headed(b"x-a: \xc3\xa9\xff"),
    "a header with a zero byte": headed(b"x-a: b\0c"),
    "lines that end without a return": raw(lambda wire: answered(whole(wire)).replace(b"\r\n", b"\n")),
    "a reason that is missing": raw(lambda wire: answered(whole(wire)).replace(b"200 OK", b"200", 1)),
    "100 before the answer": raw(b"HTTP/1.1 100 Continue\r\n\r\n", lambda wire: answered(whole(wire))),
    "102 and 103 before it": raw(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n",
        Pause(0.02),
        lambda wire: answered(whole(wire)),
    ),
    "102, and closed": raw(b"HTTP/1.1 102 Processing\r\n\r\n", Cut()),
    "101": raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", Cut()),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "an empty answer": raw(sized(b"", 0)),
    # its framing
    "closed in a chunk": begun(b"ff\r\nhalf", Cut()),
    "closed after a chunk": begun(Cut()),
    "reset after a chunk": begun(Pause(0.05), Reset()),
    "closed in a chunk's header": begun(b"f", Cut()),
    "a broken chunk header": begun(b"zz\r\n", Hang()),
    "a chunk header with a minus": begun(b"-5\r\n", Hang()),
    "a chunk header without an end": begun(b"1" * 200, Hang(), deadline="stall"),
    "a chunk that is too large for any machine": begun(b"f" * 30 + b"\r\n", Hang()),
    "no line end behind a chunk": begun(b"3\r\nabcdef\r\n", Hang()),
    "silence after a chunk": begun(Hang(), deadline="stall"),
    "silence after a chunk, within the total": begun(Hang(), deadline="total"),
    "silence after the head": raw(CHUNKED, Hang(), deadline="first_chunk"),
    "silence after the head, within the total": raw(CHUNKED, Hang(), deadline="total"),
    "words behind the size of each chunk": raw(CHUNKED, lambda wire: chunk(whole(wire), b";name=value") + b"0\r\n\r\n"),
    "trailers": raw(CHUNKED, lambda wire: chunk(whole(wire)) + b"0\r\nx-checksum: 1\r\n\r\n"),
    "trailers after half": begun(b"0\r\nx-checksum: 1\r\n\r\n"),
    "two encodings of the transfer": headed(b"transfer-encoding: gzip, chunked"),
    "a length and chunks": raw(
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        lambda wire: chunk(whole(wire)) + b"0\r\n\r\n",
    ),
    "a length that is too long": raw(lambda wire: sized(half(wire), 100_000), Cut()),
    "a length that is too short": raw(lambda wire: sized(whole(wire), len(half(wire)))),
    "a length that is no number": raw(lambda wire: sized(whole(wire), "many"), Cut()),
    "a length below nothing": raw(lambda wire: sized(whole(wire), -5), Cut()),
    "two lengths": headed(b"content-length: 5"),
    "neither length nor chunks": raw(lambda wire: HEAD + b"\r\n" + whole(wire), Cut()),
    "HTTP/1.0": raw(lambda wire: HEAD.replace(b"1.1", b"1.0") + b"\r\n" + whole(wire), Cut()),
    "closed in half, without a length": raw(lambda wire: HEAD + b"\r\n" + half(wire), Cut()),
    # its compression
    "gzip": zipped(),
    "gzip that is cut": zipped(cut=20),
    "gzip that is none": raw(sized(b"junk", 4, b"content-encoding: gzip")),
    "deflate that is none": raw(sized(b"junk", 4, b"content-encoding: deflate")),
    "an unknown compression": raw(lambda wire: answered(whole(wire), b"content-encoding: penstock")),
    # the connection
    "a kept connection that was closed": after(Cut()),
    "a kept connection that was reset": after(Reset()),
    "a kept connection that is closed in the head": after(HALF_A_HEAD, Cut()),
    "a kept connection on which no HTTP comes": after(b"what\r\n\r\n", Cut()),
    "a kept connection that is silent": after(Hang(), deadline="first_chunk"),
    "an answer that closes": headed(b"connection: close"),
    "an answer that keeps for no time": headed(b"keep-alive: timeout=1"),
    "two answers at once": raw(lambda wire: answered(whole(wire)) + answered(others(wire))),
    "bytes after the answer": raw(lambda wire: answered(whole(wire)) + b"what\r\n\r\n"),
    # what is no answer
    "a redirect": raw(b"HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:9/v1\r\ncontent-length: 0\r\n\r\n"),
    "a redirect of another kind": raw(b"HTTP/1.1 301 Away\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
    "a redirect to nowhere": raw(b"HTTP/1.1 302 Away\r\nlocation: http://[\r\ncontent-length: 0\r\n\r\n"),
    "407": raw(b"HTTP/1.1 407 Who\r\ncontent-length: 4\r\n\r\nwho?"),
    "511": raw(b"HTTP/1.1 511 Sign in\r\ncontent-length: 8\r\n\r\nsign in?"),
    "304": raw(b"HTTP/1.1 304 Same\r\n\r\n"),
    "a status beyond all": raw(b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"),
    "429, and reset in its body": raw(
        b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 90\r\n\r\nslow", Pause(0.05), Reset()
    ),
    "500 whose body never ends": raw(
        b"HTTP/1.1 500 No\r\ncontent-length: 90\r\n\r\nbroken", Hang(), deadline="first_chunk"
    ),
    "500 whose compression is broken": raw(
        b"HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\njunk"
    ),
    "500 whose chunks are broken": raw(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Cut()),
}
"""By name: before the answer, in its framing, in its compression, of its connection, and refusals."""
