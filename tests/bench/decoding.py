"""Rows of the decoders: bytes to chunks without any I/O, against the least that a reader of JSON events could do."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

import msgspec

from contenders import CONTENDERS
from measuring import OURS, Bar, Bench, Row, Spent, by_turns, plainly
from server import ANSWERS

__all__ = ["ROWS"]

EVENTS: Final = 5_000
UNTYPED: Final = "untyped msgspec"


async def decode(bench: Bench, name: str) -> Mapping[str, Spent]:
    """In pieces as the transport gives them; the other side splits at blank lines."""
    body = b"".join(ANSWERS[name](EVENTS))
    pieces = [body[start : start + 16384] for start in range(0, len(body), 16384)]

    def decoded() -> None:
        reader = CONTENDERS[name].reader()
        for piece in pieces:
            for _ in reader.feed(piece):
                pass

    def untyped() -> None:
        for block in body.split(b"\n\n"):
            if block and block != b"data: [DONE]":
                msgspec.json.decode(block[block.index(b"data: ") + 6 :])

    return await by_turns({OURS: plainly(decoded), UNTYPED: plainly(untyped)}, 2 * bench.rounds, EVENTS)


ROWS: Final = [
    Row(f"decoding an event: {name}", "µs", functools.partial(decode, name=name), [Bar(1.5, UNTYPED)], page=True)
    for name in CONTENDERS
]
