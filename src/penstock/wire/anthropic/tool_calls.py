"""Calls of the client's tools out of Anthropic's blocks: each is given out once, whole, and in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.core.arguments import UNNAMED, is_object, read_arguments
from penstock.core.chunks import StopReason, ToolCallChunk, ToolCallDeltaChunk
from penstock.wire.answer_calls import AnswerCalls
from penstock.wire.event_json import json_text, type_of

__all__ = ["Call", "Calls"]


class Call:
    """A block of a call. The vendor wants back who made it, if that was a program, and the family of its tool."""

    __slots__ = ("beside", "ended", "given", "id", "json", "name")

    def __init__(self, id_: str, name: str, given: str, caller: bytes, toolset_name: bytes) -> None:
        """given: the input as the block's start has it; empty, to be filled by deltas, or whole, and then without."""
        self.id = id_
        self.name = name
        self.given = "" if given in ("{}", "null") else given
        self.json: list[str] = []
        self.ended = False
        found = (("caller", caller, b"{"), ("toolset_name", toolset_name, b'"'))  # of any other type it is unknown
        kept = {name: msgspec.Raw(raw) for name, raw, start in found if raw.startswith(start)}
        if type_of(caller) == "direct":
            del kept["caller"]  # the model itself, which is so without a word
        self.beside = json_text(kept) if kept else ""


class Calls(AnswerCalls):
    """The calls of one answer."""

    def __init__(self, vendor: str, most: int) -> None:
        super().__init__(vendor, most)
        self._waiting: list[Call] = []

    def begin(self, call: Call) -> Iterator[ToolCallDeltaChunk]:
        """A call's block has begun."""
        self.grow(len(call.given))
        self._waiting.append(call)
        yield ToolCallDeltaChunk(id=call.id, name=call.name, arguments="")

    def add(self, call: Call, piece: str) -> ToolCallDeltaChunk:
        """A piece of the call's input."""
        self.grow(len(piece))
        call.json.append(piece)
        return ToolCallDeltaChunk(id=call.id, name=call.name, arguments=piece)

    def deliver(self, latest: Call | None, reason: StopReason | None = None) -> Iterator[ToolCallChunk]:
        """Give out, in order, the calls that are known to be whole. latest: the last block, if that is a call.

        reason: why the answer ended, None until it has. No proper beginning of an object's JSON text is an object, so
        arguments that parse are whole. Only the last block can have been cut: it waits for the reason, and cut off by
        the length limit or a refusal it is dropped. Arguments that are no object wait too: they are the model's mistake
        only if the answer came to a normal end. A call that has ended without arguments has none.
        """
        while self._waiting:
            call = self._waiting[0]
            last = call is latest
            arguments, problem = "".join(call.json) or call.given, None
            whole = is_object(arguments)
            if reason is None and not (call.ended if last or not whole else True):
                return
            if not whole:
                arguments, problem = read_arguments(arguments)
                if reason is None and (last or problem is not None):
                    return
            del self._waiting[0]
            may_be_cut = not whole and last and (problem is not None or arguments == "{}")
            cut, normal = may_be_cut and reason in ("length", "refusal"), reason in ("stop", "tool_calls")
            if self._takes(problem, cut=cut, normal=normal):
                yield self._chunk(call.id, call.name or UNNAMED, arguments, problem, call.beside)
