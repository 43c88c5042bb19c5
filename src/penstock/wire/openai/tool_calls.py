"""Tool calls out of the pieces that servers of OpenAI's wires send, each in its own way. Pure.

The rules that hold for all of the chat wire: an index names a call, until an entry brings another id and a name, or
another name or arguments to a call that is whole; without an index an entry with a new id, or with a name, begins a
call, and any other continues the last one. On the Responses API a call's own id tells first, then its item's id, then
its index: gateways have been seen to change the second and to repeat the third.
Nothing is delivered before it is known to be whole; what parses as an object is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from penstock.core.chunks import Chunk, ReasoningChunk, ToolCallChunk, ToolCallDeltaChunk
from penstock.core.errors import MalformedResponseError
from penstock.wire.event_json import broken_call, is_object, shown

__all__ = ["Arguments", "CallPiece", "Calls", "Place", "merged_details"]

Arguments: TypeAlias = str | dict[str, msgspec.Raw] | None
"""JSON text, or the object itself: Mistral's."""

Place: TypeAlias = tuple[int | None, str | None]
"""Of an item of the Responses API: its index and its id, as far as an event says."""


_MOST_ASKED: Final = 20


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Arguments = None


class CallPiece(msgspec.Struct, gc=False):
    """An entry of `tool_calls`, whole or a piece of it."""

    index: int | None = None
    id: str | int | None = None
    function: _Function | None = None
    extra_content: msgspec.Raw = msgspec.Raw()  # Google


class _Call:
    __slots__ = ("asked", "broken", "extra", "id", "json", "name", "shown", "size", "whole")

    def __init__(self, id_: str) -> None:
        self.id = id_  # empty until it is known
        self.name = ""
        self.json: list[str] = []
        self.size = 0  # of `json`, in characters
        self.broken = -1  # the size at which it was no object
        self.asked = 0  # whether it is one because an entry came that may begin another
        self.extra = b""
        self.shown = False  # as a delta, which needs id and name
        self.whole = False  # delivered

    @property
    def arguments(self) -> str:
        return "".join(self.json)

    def parses(self) -> bool:
        """Whether the arguments are an object; asked again only when there are more of them."""
        if self.size != self.broken and is_object(self.arguments):
            return True
        self.broken = self.size
        return False

    def replace(self, arguments: str) -> None:
        self.json = [arguments]
        self.size = len(arguments)
        self.broken = -1


class Calls:
    """The calls of one answer. vendor: who wants what stands beside a call back, empty where nobody does."""

    def __init__(self, vendor: str = "") -> None:
        self.delivered = False
        """At least one has been."""
        self.cut = False
        """The last was cut off by the length limit and dropped."""
        self.response_id = ""
        """Makes ids for calls without one."""
        self._vendor = vendor
        self._calls: list[_Call] = []
        self._next = 0  # the first that is not delivered
        self._by_place: dict[int | str, _Call] = {}  # by index and by every id

    def feed(self, pieces: Sequence[CallPiece | None]) -> Iterator[Chunk]:
        """The chunks of one event's entries on the chat wire."""
        for piece in pieces:
            if piece is None:
                continue
            function = piece.function or _Function()
            name, arguments = function.name or "", _text(function.arguments)
            id_ = "" if piece.id in (None, "null") else str(piece.id)
            call = self._find(piece.index, id_, name, arguments)
            if call is None:
                call = self._new(id_ or self._own_id(), piece.index, id_)
                yield from self.deliver()
            if piece.extra_content and bytes(piece.extra_content) != b"null":
                call.extra = bytes(piece.extra_content)
            yield from self._add(call, name, arguments)

    def begin(self, place: Place, id_: str, name: str, *, ended: bool = False) -> Generator[Chunk, None, _Call]:
        """A call of the Responses API begins, or more is known of one that has. id_: its own, empty without one."""
        call = self._by_place.get(id_)
        if call is None:
            here = self._at(place)
            call = here if here is not None and not (id_ and here.id) else None  # with another id it is another call
        if call is None:
            call = self._new("")
            yield from self.deliver()
        call.id = call.id or id_ or ((place[1] or self._own_id()) if ended else "")
        self._by_place |= {key: call for key in (*place, id_) if key is not None and key != ""}
        yield from self._add(call, name, "")
        return call

    def add(self, place: Place, arguments: str) -> Iterator[Chunk]:
        """A piece of the arguments of the call at this place, which some servers begin only with its end."""
        yield from self._add(self._at(place) or self._new("", *place), "", arguments)

    def replace(self, place: Place, arguments: Arguments) -> None:
        """All arguments of the call at this place, empty if they are not said."""
        call = self._at(place) or self._new("", *place)
        text = _text(arguments)
        if text and not call.whole:
            call.replace(text)

    def end(self, place: Place, id_: str, name: str, arguments: Arguments) -> Iterator[Chunk]:
        """A call of the Responses API has ended."""
        call = yield from self.begin(place, id_, name, ended=True)
        text = _text(arguments)
        if text and not call.whole:
            call.replace(text)
        yield from self.deliver()

    def _find(self, index: int | None, id_: str, name: str, arguments: str) -> _Call | None:
        """The call that an entry of the chat wire continues, None if it begins one."""
        if index is None:
            if id_:
                return self._by_place.get(id_)
            return None if name or not self._calls else self._calls[-1]
        call = self._by_place.get(index)
        if call is None or not name:
            return call
        if id_:
            return call if id_ == call.id else None
        # Without ids, another name or more arguments for a call that is whole are another call. To find that out is
        # dear, so only where the arguments so far and the new ones look like it, and not without end.
        looks_whole = call.json and call.json[-1].endswith("}") and (name != call.name or arguments[:1] == "{")
        if not looks_whole or call.asked >= _MOST_ASKED:
            return call
        call.asked += 1
        return None if call.parses() and (name, arguments) != (call.name, call.arguments) else call

    def _at(self, place: Place) -> _Call | None:
        index, item_id = place
        return self._by_place.get(item_id or "") or (self._open() if index is None else self._by_place.get(index))

    def _open(self) -> _Call | None:
        """The last call, if it is not delivered."""
        return self._calls[-1] if self._calls and not self._calls[-1].whole else None

    def _new(self, id_: str, *places: int | str | None) -> _Call:
        call = _Call(id_)
        self._calls.append(call)
        self._by_place |= {place: call for place in places if place is not None and place != ""}
        return call

    def _own_id(self) -> str:
        return "_".join(filter(None, ("call", self.response_id[-24:], str(len(self._calls)))))

    def _add(self, call: _Call, name: str, arguments: str) -> Iterator[Chunk]:
        arguments = _new_part(call, arguments)
        if call.whole:
            return
        if name and (not call.name or (name != call.name and not call.json)):
            call.name = name if name.startswith(call.name) else call.name + name
        if arguments:
            call.json.append(arguments)
            call.size += len(arguments)
        if call.shown:
            if arguments:
                yield ToolCallDeltaChunk(id=call.id, name=call.name, arguments=arguments)
        elif call.name and call.id:
            call.shown = True
            yield ToolCallDeltaChunk(id=call.id, name=call.name, arguments="")
            if call.json:
                yield ToolCallDeltaChunk(id=call.id, name=call.name, arguments=call.arguments)

    def deliver(self, *, final: bool = False, cut: bool = False) -> Iterator[Chunk]:
        """Give out, in order, the calls that are known to be whole.

        final: nothing more comes. cut: it was cut off by the length limit or a filter, which only the last can be.
        Raises MalformedResponseError for arguments that are no object.
        """
        while self._next < len(self._calls):
            call = self._calls[self._next]
            parses = call.parses()
            if not final and not (parses and call.name and call.id):
                return
            arguments = call.arguments
            if not parses:
                if cut and call is self._calls[-1]:
                    self._next += 1
                    self.cut = True
                    return
                if arguments.strip():
                    raise broken_call(call.id, call.name, arguments)
            if not call.name:
                raise MalformedResponseError(f"the tool call {call.id} has no name: {shown(arguments)}")
            self._next += 1
            self.delivered = call.whole = True
            call.id = call.id or self._own_id()
            if call.extra and self._vendor:
                yield ReasoningChunk(proof=call.extra.decode("utf-8", "replace"), vendor=self._vendor)
            yield ToolCallChunk(id=call.id, name=call.name, arguments=arguments.strip() or "{}")


def _text(arguments: Arguments) -> str:
    if not arguments:
        return ""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode("utf-8", "replace")


def _new_part(call: _Call, arguments: str) -> str:
    """What of a piece is new: some servers say all arguments once more at the end. Raises MalformedResponseError."""
    if not arguments or not (call.whole or len(arguments) == call.size):
        return arguments
    if arguments == call.arguments and call.parses():
        return ""
    if call.whole and arguments.strip():
        # Dropping it would leave a call that parses and means something else.
        raise MalformedResponseError(f"a piece of arguments for a call that was whole: {shown(arguments)}")
    return arguments


def merged_details(pieces: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """OpenRouter's `reasoning_details` out of a stream's pieces, in order.

    Those of one type and index are one entry, unless their ids tell them apart: Google's signatures of two calls both
    have the index 0.
    """
    entries: list[dict[str, object]] = []
    texts: list[dict[str, list[str]]] = []
    places: dict[str, int] = {}
    for piece in pieces:
        kind, id_ = f"{piece.get('type')} {piece.get('index')}", piece.get("id")
        place = places.get(kind)
        if place is None or (id_ is not None and entries[place].get("id") not in (None, id_)):
            place = places[kind] = len(entries)
            entries.append({})
            texts.append({})
        for name, value in piece.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                texts[place].setdefault(name, []).append(value)
            if value is not None or name not in entries[place]:
                entries[place][name] = value
    for entry, parts in zip(entries, texts, strict=True):
        entry.update({name: "".join(values) for name, values in parts.items()})
    return entries
