"""A history repaired: what vendors refuse is put right, and each change is noted.

It works as vendors read: messages of one role in a row are one turn, and after a turn with calls comes one that begins
with their results. What is already so is left as it is, object for object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from penstock.core.messages import (
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from penstock.histories.clean import Note, NoteKind, Notes, clean

__all__ = ["Note", "NoteKind", "Repaired", "repair"]

INTERRUPTED: Final = "The tool call was interrupted and gave no result; it may have done a part of its work."
BEGINNING: Final = "[The conversation begins with the assistant.]"

Role: TypeAlias = Literal["user", "assistant"]

_ROLES: Final[Mapping[type, Role]] = {
    ImagePart: "user",
    DocumentPart: "user",
    ToolResultPart: "user",
    ToolCallPart: "assistant",
    ReasoningPart: "assistant",
}


class Repaired(msgspec.Struct, frozen=True):
    """messages: a history that vendors take. notes: what was done to it, in no order of importance; none if nothing."""

    messages: list[Message]
    notes: list[Note]


def repair(messages: Sequence[Message]) -> Repaired:
    """Repair what vendors refuse in a history, and say what was done; what is legal comes back as it is.

    For a history that is to be sent: a call at its end that has no result yet counts as interrupted. Empty texts and
    messages go; messages of one role in a row are joined; each call has exactly one result, at the beginning of the
    next message; ids of calls are unique. Results without a call are dropped, calls without a result get one that is an
    error. `Note` tells all kinds. Repairing twice is the same as repairing once.

    What it cannot repair is what only some vendors refuse: an image at a model that sees none, a user's words after a
    tool's results at some servers, an answer at the end where a model takes no prefill; and an empty history.
    """
    notes: list[Note] = []
    turns = _turns(messages, notes)
    parts = _Pairing(turns, notes).run()
    return Repaired(_written(turns, parts, notes), notes)


Placed: TypeAlias = tuple[Part, str]
"""A part and its place in the history that was given."""


class _Turn:
    """Messages of one role in a row, in parts. original: the message that they are, if one and as it came."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.parts: list[Placed] = []
        self.original: Message | None = None

    def add(self, parts: Sequence[Placed], original: Message | None) -> None:
        """Take what another message holds."""
        self.original = None if self.parts else original
        self.parts += parts

    def replace(self, parts: list[Placed]) -> None:
        """Have other parts, or the same."""
        same = len(parts) == len(self.parts)
        if not same or any(new[0] is not old[0] for new, old in zip(parts, self.parts, strict=True)):
            self.original = None
        self.parts = parts

    def message(self) -> Message:
        """What it is now."""
        return self.original or Message(self.role, [part for part, _ in self.parts])


def _turns(messages: Sequence[Message], notes: list[Note]) -> list[_Turn]:
    """The history in turns, whose parts are cleaned each by itself and stand in messages of the right role."""
    turns: list[_Turn] = []
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        parts, original = _parts(message, place, notes)
        pieces = list(_by_role(message.role, parts, notes))
        for role, piece in pieces:
            if not turns or turns[-1].role != role:
                turns.append(_Turn(role))
            else:
                notes.append(Note("joined", place, f"it was joined with the message of the {role} before it"))
            turns[-1].add(piece, original if len(pieces) == 1 and role == message.role else None)
    return turns


def _parts(message: Message, place: str, notes: list[Note]) -> tuple[list[Placed], Message | None]:
    """The cleaned parts, and the message itself if none needed it."""
    content = message.content
    if isinstance(content, str):
        text = TextPart(content)
        cleaned = clean(text, _noter(notes, place))
        return [] if cleaned is None else [(cleaned, place)], message if cleaned is text else None
    if not content:
        notes.append(Note("empty", place, "an empty message was dropped"))
    parts = []
    same = True
    for position, part in enumerate(content):
        where = f"{place}.content[{position}]"
        cleaned = clean(part, _noter(notes, where))
        same = same and cleaned is part
        if cleaned is not None:
            parts.append((cleaned, where))
    return parts, message if same else None


def _noter(notes: list[Note], place: str) -> Notes:
    return lambda kind, what: notes.append(Note(kind, place, what))


def _by_role(role: Role, parts: Sequence[Placed], notes: list[Note]) -> Iterator[tuple[Role, list[Placed]]]:
    """The parts of one message, in runs of the role in which they can stand."""
    run: list[Placed] = []
    run_role = role
    for part, place in parts:
        wanted = _ROLES.get(type(part), role)
        if wanted != role:
            notes.append(Note("role", place, f"a {type(part).__name__} has no place in a message of the {role}"))
        if wanted != run_role and run:
            yield run_role, run
            run = []
        run_role = wanted
        run.append((part, place))
    if run:
        yield run_role, run


class _Call:
    """A call, under the id that it has now. turn: the number of its turn."""

    def __init__(self, id_: str, place: str, turn: int) -> None:
        self.id = id_
        self.place = place
        self.turn = turn


class _Pairing:
    """Finds the result of each call, and puts it at the beginning of the turn that follows."""

    def __init__(self, turns: Sequence[_Turn], notes: list[Note]) -> None:
        self._turns = turns
        self._notes = notes
        self._given = {part.id for turn in turns for part, _ in turn.parts if isinstance(part, ToolCallPart)}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # by the id that calls came with, the last that was put behind it
        self._waiting: dict[str, list[_Call]] = {}  # likewise, those without a result, in order
        self._results: list[list[Placed]] = [[] for _ in range(len(turns) + 1)]

    def run(self) -> list[list[Placed]]:
        """The parts of each turn as they are to be, and of one more that may be needed at the end."""
        said: list[list[Placed]] = []
        for number, turn in enumerate(self._turns):
            said.append([])
            for part, place in turn.parts:
                if isinstance(part, ToolCallPart):
                    said[-1].append((self._call(part, place, number), place))
                elif isinstance(part, ToolResultPart):
                    self._result(part, place, number, first=not said[-1])
                else:
                    said[-1].append((part, place))
            said[-1] = self._finished(said[-1])
        for call in sorted((call for calls in self._waiting.values() for call in calls), key=lambda call: call.turn):
            self._note("missing_result", call.place, f"the call {call.id!r} got a result that says that it has none")
            result = ToolResultPart(id=call.id, content=INTERRUPTED, is_error=True)
            self._results[call.turn + 1].append((result, call.place))
        return [first + rest for first, rest in zip(self._results, [*said, []], strict=True)]

    def _finished(self, said: list[Placed]) -> list[Placed]:
        """Without the reasoning that nothing follows, as of an answer that was cut off: vendors refuse it."""
        kept: list[Placed] = []
        followed: set[str] | None = set()  # the vendors that something is sent to behind the part; None for all
        for part, place in reversed(said):
            if isinstance(part, ReasoningPart):
                if part.proof and followed is not None and part.vendor not in followed:
                    self._note("reasoning", place, "reasoning with a proof that nothing follows was dropped")
                    continue
            elif isinstance(part, OpaquePart) and not part.text.strip():
                if followed is not None:
                    followed.add(part.vendor)
            else:
                followed = None
            kept.append((part, place))
        return kept[::-1]

    def _call(self, part: ToolCallPart, place: str, turn: int) -> ToolCallPart:
        id_, number = part.id or "call", self._numbers.get(part.id, 1)
        while id_ in self._taken or (id_ != part.id and id_ in self._given):
            number += 1
            id_ = f"{part.id or 'call'}_{number}"
        self._taken.add(id_)
        self._numbers[part.id] = number
        self._waiting.setdefault(part.id, []).append(_Call(id_, place, turn))
        if id_ == part.id:
            return part
        self._note("call_id", place, f"the id {part.id!r} of a call became {id_!r}")
        return msgspec.structs.replace(part, id=id_)

    def _result(self, part: ToolResultPart, place: str, turn: int, *, first: bool) -> None:
        waiting = self._waiting.get(part.id)
        if not waiting:
            what = "a result without a call before it" if waiting is None else "a second result"
            kind: NoteKind = "orphan_result" if waiting is None else "duplicate_result"
            self._note(kind, place, f"{what}, of {part.id!r}, was dropped")
            return
        # Of the newest turn, if ids were used again, and of that the first.
        call = waiting.pop(next(at for at, call in enumerate(waiting) if call.turn == waiting[-1].turn))
        if turn != call.turn + 1 or not first:
            self._note("moved_result", place, f"the result of {call.id!r} was moved to its call")
        mended = part if call.id == part.id else msgspec.structs.replace(part, id=call.id)
        self._results[call.turn + 1].append((mended, place))

    def _note(self, kind: NoteKind, place: str, what: str) -> None:
        self._notes.append(Note(kind, place, what))


def _written(turns: Sequence[_Turn], parts: Sequence[list[Placed]], notes: list[Note]) -> list[Message]:
    """The messages of the turns with these parts: of those that are left without any, nothing."""
    written: list[_Turn] = []
    for turn, rest in zip([*turns, _Turn("user")], parts, strict=True):
        turn.replace(rest)
        if not rest:
            continue
        if written and written[-1].role == turn.role:
            notes.append(Note("joined", rest[0][1], f"it was joined with the message of the {turn.role} before it"))
            written[-1].add(rest, None)
        else:
            written.append(turn)
    if written and written[0].role == "assistant":
        notes.append(Note("beginning", written[0].parts[0][1], "a user's message was put before the assistant's"))
        return [Message("user", BEGINNING), *(turn.message() for turn in written)]
    return [turn.message() for turn in written]
