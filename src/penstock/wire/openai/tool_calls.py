"""Tool calls out of the pieces that servers of OpenAI's wires send, each in its own way. Pure.

The rules that hold for all of the chat wire: an index names a call, until an entry brings another id and a name, or
another name or arguments to a call that is whole; without an index an entry with a new id, or with a name, begins a
call, and any other continues the last one. On the Responses API a call's own id tells first, then its item's id, then
its index: gateways have been seen to change the second and to repeat the third.
Nothing is delivered before it is known to be whole; what parses as an object is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from penstock.core.arguments import UNNAMED, is_object, read_arguments, whole_text
from penstock.core.chunks import Chunk, OpaqueChunk, ReasoningChunk, ToolCallDeltaChunk
from penstock.core.errors import MalformedResponseError
from penstock.wire.answer_calls import AnswerCalls
from penstock.wire.event_json import decode, json_text, shown

__all__ = ["Arguments", "Calls", "ItemCall", "Place", "merged_details"]

Arguments: TypeAlias = str | dict[str, msgspec.Raw] | None
"""JSON text, or the object itself: Mistral's."""

Place: TypeAlias = tuple[int | None, str | None]
"""Of an item of the Responses API: its index and its id, as far as an event says."""


class ItemCall(msgspec.Struct, frozen=True):
    """What an item of the Responses API says of the call that it is."""

    id: str  # the call's own, empty without one
    name: str
    arguments: Arguments = None  # or the free text of a custom tool's call
    beside: str = ""  # what goes back with it, as JSON text
    is_text: bool = False  # the arguments come as free text
    status: str = ""  # the vendor's word for how it ended


_MOST_ASKED: Final = 20
_FUNCTION: Final = (None, "", "function")


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Arguments = None


class _Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _CallPiece(msgspec.Struct, gc=False):
    """An entry of `tool_calls`, whole or a piece of it."""

    index: int | None = None
    id: str | int | None = None
    type: Any = None
    function: _Function | None = None
    custom: _Custom | None = None
    extra_content: msgspec.Raw = msgspec.Raw()  # Google


_piece = msgspec.json.Decoder(_CallPiece)
_entry = msgspec.json.Decoder(dict[str, Any])


class _Call(msgspec.Struct, eq=False):
    id: str  # empty until it is known
    name: str = ""
    is_text: bool = False  # the arguments are free text: a custom tool's
    beside: str = ""  # what goes back with it, as JSON text
    entry: dict[str, Any] | None = None  # of a type that nobody knows: all that was said of it
    sure: bool = False  # free text that the server calls complete
    cut: bool = False  # the server says that it is not complete
    opened: bool = False  # the JSON text around the free text, in the deltas
    json: list[str] = []
    size: int = 0  # of `json`, in characters
    broken: int = -1  # the size at which it was no object
    asked: int = 0  # whether it is one because an entry came that may begin another
    extra: bytes = b""
    shown: bool = False  # as a delta, which needs id and name
    whole: bool = False  # delivered

    @property
    def arguments(self) -> str:
        text = "".join(self.json)
        return msgspec.json.encode({"input": whole_text(text)}).decode() if self.is_text else text

    def parses(self) -> bool:
        """Whether the arguments are an object; asked again only when there are more of them."""
        if self.is_text or self.cut:
            return self.sure and not self.cut
        if self.size != self.broken and is_object(self.arguments):
            return True
        self.broken = self.size
        return False

    def replace(self, arguments: str) -> None:
        self.json = [arguments]
        self.size = len(arguments)
        self.broken = -1


class Calls(AnswerCalls):
    """The calls of one answer. google: what stands beside a call comes before it as a proof."""

    def __init__(self, vendor: str, most: int, *, google: bool = False) -> None:
        super().__init__(vendor, most)
        self.response_id = ""
        """Makes ids for calls without one."""
        self._google = google
        self._calls: list[_Call] = []
        self._next = 0  # the first that is not delivered
        self._by_place: dict[int | str, _Call] = {}  # by index and by every id

    def feed(self, entries: Sequence[bytes]) -> Iterator[Chunk]:
        """The chunks of one event's entries of `tool_calls` on the chat wire, as they came."""
        for entry in entries:
            if entry == b"null":
                continue
            piece = decode(_piece, b"tool_calls", entry)
            function = piece.function or _Function()
            name, arguments = function.name or "", _text(function.arguments)
            if piece.custom is not None:
                name, arguments = piece.custom.name or "", piece.custom.input or ""
            id_ = "" if piece.id in (None, "null") else str(piece.id)
            call = self._find(piece.index, id_, name, arguments)
            if call is None:
                call = self._new(id_ or self._own_id(), piece.index, id_)
                yield from self.deliver()
                if piece.custom is not None:
                    call.is_text, call.beside = True, '{"type":"custom_tool_call"}'
                elif piece.function is None and piece.type not in _FUNCTION:
                    call.entry = {}
            if call.entry is not None:
                self.grow(len(entry))
                call.entry = _accumulated(call.entry, decode(_entry, b"tool_calls", entry))
                continue
            if piece.extra_content and bytes(piece.extra_content) != b"null":
                call.extra = bytes(piece.extra_content)
            yield from self._add(call, name, arguments)

    def begin(self, place: Place, item: ItemCall, *, ended: bool = False) -> Generator[Chunk, None, _Call]:
        """A call of the Responses API begins, or more is known of one that has."""
        call = self._by_place.get(item.id)
        if call is None:
            here = self._at(place)
            call = here if here is not None and not (item.id and here.id) else None  # with another id it is another
        if call is None:
            call = self._new("")
            yield from self.deliver()
        call.id = call.id or item.id or ((place[1] or self._own_id()) if ended else "")
        self._by_place |= {key: call for key in (*place, item.id) if key is not None and key != ""}
        call.beside, call.is_text = item.beside or call.beside, call.is_text or item.is_text
        yield from self._add(call, item.name, "")
        return call

    def add(self, place: Place, arguments: str) -> Iterator[Chunk]:
        """A piece of the arguments of the call at this place, which some servers begin only with its end."""
        yield from self._add(self._at(place) or self._new("", *place), "", arguments)

    def replace(self, place: Place, arguments: Arguments) -> None:
        """All arguments of the call at this place, empty if they are not said."""
        self._replace(self._at(place) or self._new("", *place), arguments)

    def end(self, place: Place, item: ItemCall) -> Iterator[Chunk]:
        """A call of the Responses API has ended."""
        call = yield from self.begin(place, item, ended=True)
        self._replace(call, item.arguments)
        call.sure, call.cut = item.status == "completed", item.status == "incomplete"
        yield from self.deliver()

    def _replace(self, call: _Call, arguments: Arguments) -> None:
        text = _text(arguments)
        if text and not call.whole:
            self.grow(len(text) - call.size)
            call.replace(text)

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
        """Without an index the last call is meant, if it is not delivered."""
        index, item_id = place
        last = self._calls[-1] if index is None and self._calls and not self._calls[-1].whole else None
        return self._by_place.get(item_id or "") or (last if index is None else self._by_place.get(index))

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
            self.grow(len(arguments))
            call.json.append(arguments)
            call.size += len(arguments)
        if call.shown:
            if arguments:
                yield self._shown(call, arguments)
        elif call.name and call.id:
            call.shown = True
            yield ToolCallDeltaChunk(id=call.id, name=call.name, arguments="")
            if call.json:
                yield self._shown(call, "".join(call.json))

    @staticmethod
    def _shown(call: _Call, piece: str) -> ToolCallDeltaChunk:
        """A piece of the arguments; of free text what it is in the JSON text of the whole."""
        if call.is_text:
            escaped = msgspec.json.encode(whole_text(piece)).decode()[1:-1]
            piece = escaped if call.opened else f'{{"input":"{escaped}'
            call.opened = True
        return ToolCallDeltaChunk(id=call.id, name=call.name, arguments=piece)

    def deliver(self, *, final: bool = False, cut: bool = False, normal: bool = True) -> Iterator[Chunk]:
        """Give out, in order, the calls that are known to be whole.

        final: nothing more comes. cut: it was cut off by the length limit or a filter, which only the last can be.
        normal: the vendor's word for the end is that of an answer that is whole; otherwise what is broken may be cut.
        """
        while self._next < len(self._calls):
            call = self._calls[self._next]
            last = call is self._calls[-1]
            if call.entry is not None:
                if last and not final:
                    return
                self._next += 1
                call.whole = True
                yield OpaqueChunk(vendor=self._vendor, data=json_text(call.entry))
                continue
            whole = call.parses() or (call.is_text and not call.cut and not last)
            if not final and not (whole and call.name and call.id):
                return
            self._next += 1
            yield from self._whole(call, whole=whole, cut=cut and last, normal=normal and not cut)

    def _whole(self, call: _Call, *, whole: bool, cut: bool, normal: bool) -> Iterator[Chunk]:
        """One call, if it is one. whole: it is known to be; otherwise nothing of the answer is to come."""
        arguments, problem = (call.arguments.strip(), None) if whole else read_arguments(call.arguments)
        if not call.name:
            if not call.size:
                return  # nothing was said of it: it is no call
            problem = problem or "The call names no tool."
        may_be_cut = not whole and (call.is_text or problem is not None or arguments == "{}")
        if not self._takes(problem, cut=call.cut or (may_be_cut and cut), normal=normal):
            return
        call.whole = True
        call.id = call.id or self._own_id()
        if call.extra and self._google:
            yield ReasoningChunk(proof=call.extra.decode("utf-8", "replace"), vendor=self._vendor)
        name = call.name or UNNAMED
        if not call.shown:
            yield ToolCallDeltaChunk(id=call.id, name=name, arguments="")
        if call.is_text:
            yield ToolCallDeltaChunk(id=call.id, name=name, arguments='"}' if call.opened else arguments)
        yield self._chunk(call.id, name, arguments, problem, call.beside)


def _text(arguments: Arguments) -> str:
    if not arguments:
        return ""
    return arguments if isinstance(arguments, str) else json_text(arguments)


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


def _accumulated(before: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """An entry of a stream, grown by its next piece: texts go on, objects are merged, all else is replaced."""
    after = dict(before)
    for name, value in piece.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _accumulated(old, value)
        elif isinstance(old, str) and isinstance(value, str) and name not in ("id", "type"):
            value = old + value
        after[name] = old if value is None else value
    return after


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
