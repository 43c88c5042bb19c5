"""What may go wrong with a batch, one row each: at the request that makes it, while it runs, and in its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from penstock.testing.emulator import Cut, Hang, ServerReply, Step
from penstock.testing.events import json_reply

__all__ = ["BATCH_FAILURES", "BatchFailure"]

_ALWAYS: Final = 1_000_000
_FILES: Final = ("output_file_id", "error_file_id")


class BatchFailure(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which batches go wrong. The defaults are how all goes well."""

    on: str = ""
    """The requests that it spoils: `upload`, `create`, `list`, `poll`, `cancel`, `results`, or `any`; "" for none."""
    times: int = _ALWAYS
    """How many of them, from the first."""
    works: bool = True
    """Whether the server has done its work all the same: the batch is there, and nobody was told."""
    status: int = 0
    """The status of a refusal; 0 for none."""
    spoil: Callable[[ServerReply], ServerReply] = lambda reply: reply
    """What becomes of the answer."""
    outcome: Callable[[int, int], str] = lambda number, jobs: ""
    """What becomes of a job, by its number from 0 and how many there are: `invalid`, `overloaded`, `expired`,
    `cancelled`, or "" where it is answered.
    """
    ends: str = "completed"
    """The state that a batch of OpenAI's ends in."""
    queue: int = _ALWAYS
    """How many jobs may wait at once: one batch too many fails when it is looked at, or is refused."""
    lines: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
    """What becomes of the lines of results."""
    no_file: Mapping[str, object] = msgspec.field(default_factory=lambda: dict.fromkeys(_FILES))
    """What an ended batch of OpenAI's says of files that there are none of."""


def _cut(reply: ServerReply, end: Step = Cut()) -> ServerReply:  # noqa: B008 - it cannot change
    """The answer ends in the middle of its middle piece."""
    body = [piece for piece in reply.body if isinstance(piece, bytes)] or [b""]
    middle = len(body) // 2
    half = body[middle][: len(body[middle]) // 2]
    return msgspec.structs.replace(reply, body=[*body[:middle], half, end], whole=False)


def _silent(reply: ServerReply) -> ServerReply:
    return msgspec.structs.replace(reply, before=[Hang()])


def _unheard(reply: ServerReply) -> ServerReply:
    return msgspec.structs.replace(reply, before=[Cut()])


def _without_newest(reply: ServerReply) -> ServerReply:
    document: dict[str, Any] = msgspec.json.decode(b"".join(part for part in reply.body if isinstance(part, bytes)))
    return json_reply({**document, "data": document["data"][1:]})


def _tenth(number: int, jobs: int) -> str:
    return "" if number % 10 else "overloaded" if number % 20 else "invalid"


def _from_half(what: str) -> Callable[[int, int], str]:
    return lambda number, jobs: what if number >= jobs // 2 else ""


def _all(what: str) -> Callable[[int, int], str]:
    return lambda number, jobs: what


def _foreign(lines: list[bytes]) -> list[bytes]:
    line = msgspec.json.decode(lines[0])
    return [msgspec.json.encode({**line, "custom_id": "somebody-elses"}), *lines]


BATCH_FAILURES: Final[Mapping[str, BatchFailure]] = {
    "a wrong key": BatchFailure(on="any", status=401, works=False),
    "the upload's answer is cut": BatchFailure(on="upload", spoil=_cut, times=1),
    "the upload is refused once": BatchFailure(on="upload", status=503, works=False, times=1),
    "made, and the answer is cut": BatchFailure(on="create", spoil=_cut, times=1),
    "made, and the connection breaks": BatchFailure(on="create", spoil=_unheard, times=1),
    "made, and no answer comes": BatchFailure(on="create", spoil=_silent, times=1),
    "made, and a 500 comes": BatchFailure(on="create", status=500, times=1),
    "not made, and a 500 comes": BatchFailure(on="create", status=500, works=False, times=1),
    "not made, and the connection breaks": BatchFailure(on="create", spoil=_unheard, works=False, times=1),
    "too many requests to make it": BatchFailure(on="create", status=429, works=False, times=2),
    "looking at it is refused for a while": BatchFailure(on="poll", status=529, times=3),
    "looking at it breaks for a while": BatchFailure(on="poll", spoil=_unheard, times=3),
    "too many jobs wait": BatchFailure(queue=5),
    "some jobs fail": BatchFailure(outcome=_tenth),
    "all jobs fail": BatchFailure(outcome=_all("invalid")),
    "all jobs fail, and a file's id is empty": BatchFailure(outcome=_all("invalid"), no_file=dict.fromkeys(_FILES, "")),
    "all jobs fail, and a file's id is left out": BatchFailure(outcome=_all("invalid"), no_file={}),
    "expired half-way": BatchFailure(outcome=_from_half("expired"), ends="expired"),
    "cancelled half-way": BatchFailure(outcome=_from_half("cancelled"), ends="cancelled"),
    "expired before a job was done": BatchFailure(outcome=_all("expired"), ends="expired"),
    "the list has not heard of the newest": BatchFailure(on="list", spoil=_without_newest),
    "the list does not answer": BatchFailure(on="list", spoil=_silent),
    "the list is refused": BatchFailure(on="list", status=500),
    "results come later": BatchFailure(on="results", status=404, times=2),
    "results are cut in the middle of a line": BatchFailure(on="results", spoil=_cut, times=1),
    "results stall": BatchFailure(on="results", spoil=lambda reply: _cut(reply, Hang()), times=1),
    "a line comes twice": BatchFailure(lines=lambda lines: [*lines, lines[0]]),
    "a line is missing": BatchFailure(lines=lambda lines: lines[1:]),
    "a line is nobody's": BatchFailure(lines=_foreign),
    "a line is damaged": BatchFailure(lines=lambda lines: [lines[0][: len(lines[0]) // 2], *lines[1:]]),
    "no results at all": BatchFailure(lines=lambda lines: []),
}
"""By name. What is to be made of each is the client's affair: nothing twice, nothing lost, nothing that never ends."""
