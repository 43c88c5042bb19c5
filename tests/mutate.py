"""Breaks recorded answers at random and reads them: `python tests/mutate.py [COUNT] [SEED]`.

Whatever a server sends, nothing comes out but chunks and a ProviderError. It prints how many came to which end, and
what else came out; then its status is 1. Needs the recorded exchanges beside the checkout.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent / "support"))

from penstock import ModelInfo, StopChunk
from penstock.wire.vendors import DIALECTS
from places import CORPORA
from reading import attempt, attempt_openai, cut

LARGEST: Final = 20_000
"""Bytes of the recordings that are taken: others say no more, and take longer."""
VALUES: Final = (
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b'""',
    b'"x"',
    b'"\\ud83d"',
    b"[]",
    b"{}",
    b"[[1]]",
    b"9" * 30,
)
BYTES: Final = (
    b"\n\n",
    b"\r\n",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[",
    b"\0",
    b"data: [DONE]\n\n",
    b"event: error\n",
    b"\xef\xbb\xbf",
)
WIRES: Final = {"/v1/messages": "messages", "/v1/chat/completions": "chat", "/v1/responses": "responses"}

Mutation = Callable[[bytes, random.Random], bytes]


def flipped(body: bytes, chance: random.Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def span(body: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(body))
    return start, min(len(body), start + chance.randint(1, 1 + len(body) // 4))


def shortened(body: bytes, chance: random.Random) -> bytes:
    """A piece is missing."""
    start, end = span(body, chance)
    return body[:start] + body[end:]


def repeated(body: bytes, chance: random.Random) -> bytes:
    """A piece comes twice."""
    start, end = span(body, chance)
    return body[:end] + body[start:end] + body[end:]


def inserted(body: bytes, chance: random.Random) -> bytes:
    """What means something stands where it should not."""
    place = chance.randrange(len(body))
    return body[:place] + chance.choice(BYTES) + body[place:]


def retyped(body: bytes, chance: random.Random) -> bytes:
    """A field has a value of another type."""
    fields = list(re.finditer(rb'":\s*("(?:[^"\\]|\\.)*"|-?[\d.]+|true|false|null|\[\]|\{\})', body))
    if not fields:
        return flipped(body, chance)
    for field in sorted(chance.sample(fields, min(len(fields), chance.randint(1, 3))), key=lambda one: -one.start()):
        body = body[: field.start(1)] + chance.choice(VALUES) + body[field.end(1) :]
    return body


def shuffled(body: bytes, chance: random.Random) -> bytes:
    """Events change places."""
    events = body.split(b"\n\n")
    first, second = chance.randrange(len(events)), chance.randrange(len(events))
    events[first], events[second] = events[second], events[first]
    return b"\n\n".join(events)


def renamed(body: bytes, chance: random.Random) -> bytes:
    """A name of a field is another's."""
    names = list(re.finditer(rb'"(\w+)":', body))
    if len(names) < 2:
        return flipped(body, chance)
    one, other = chance.sample(names, 2)
    return body[: one.start(1)] + other[1] + body[one.end(1) :]


MUTATIONS: Final[tuple[Mutation, ...]] = (flipped, shortened, repeated, inserted, retyped, retyped, shuffled, renamed)


def recordings() -> list[tuple[str, str, bytes]]:
    """Wire, dialect and body of all that are small enough, errors too."""
    found = []
    for file in CORPORA:
        with gzip.open(file) as lines:
            for row in map(json.loads, lines):
                body = (row["response_body"] or "").encode()
                if row["endpoint"] in WIRES and 0 < len(body) <= LARGEST:
                    dialect = row["provider"] if row["provider"] in DIALECTS else "openai-compatible"
                    found.append((WIRES[row["endpoint"]], dialect, body))
    return found


def read(wire: str, dialect: str, pieces: list[bytes]) -> str:
    """The end that it came to."""
    info = ModelInfo()
    if wire == "messages":
        chunks, error = attempt(pieces, info)
    else:
        chunks, error = attempt_openai(pieces, dialect, "chat" if wire == "chat" else "responses", info)
    assert all(not isinstance(chunk, StopChunk) for chunk in chunks[:-1])
    assert (error is None) == (bool(chunks) and isinstance(chunks[-1], StopChunk))
    return "an end" if error is None else type(error).__name__


def main(count: int, seed: int) -> int:
    """The status."""
    chance, bodies = random.Random(seed), recordings()
    ends: Counter[str] = Counter()
    faults: dict[str, Any] = {}
    began = time.monotonic()
    for _ in range(count):
        wire, dialect, body = chance.choice(bodies)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            body = chance.choice(MUTATIONS)(body, chance) or b"x"
        pieces = cut(body, chance.choice((len(body), len(body), 61, 1000)))
        try:
            ends[read(wire, dialect, pieces)] += 1
        except Exception as error:  # noqa: BLE001 - whatever is no ProviderError is what we look for
            where = "".join(traceback.format_exception(error)[-2:])
            faults.setdefault(where, (wire, dialect, body[:3000]))
            ends[f"FAULT {type(error).__name__}"] += 1
    print(f"{count} mutated answers, seed {seed}, {time.monotonic() - began:.0f} s: {dict(ends.most_common())}")
    for where, sample in faults.items():
        print(where, sample, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [1_000_000, 1][len(given) :])))
