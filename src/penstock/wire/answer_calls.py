"""The tool calls of one answer: how much they may hold, and which are given out. The same on every wire. Pure."""

from __future__ import annotations

from penstock.core.chunks import StopReason, ToolCallChunk
from penstock.core.errors import MalformedResponseError

__all__ = ["AnswerCalls"]


class AnswerCalls:
    """What each wire's reader of calls has. vendor: whose they are. most: characters of all of their arguments."""

    def __init__(self, vendor: str, most: int) -> None:
        self.delivered = False
        """At least one has been."""
        self.cut = False
        """One was not whole and was dropped."""
        self.size = 0
        """Characters of all arguments that have come."""
        self._vendor = vendor
        self._most = most

    def grow(self, size: int) -> None:
        """Count what is held in memory."""
        self.size += size
        if self.size > self._most:
            raise MalformedResponseError(
                f"the arguments of the answer's tool calls have more than the bound of {self._most} characters: "
                "`max_arguments` of the config raises it"
            )

    def reason(self, reason: StopReason) -> StopReason:
        """Why the answer ended, whatever the vendor's word: a call that was delivered wants its result."""
        return "tool_calls" if self.delivered and not self.cut else reason

    def _takes(self, problem: str | None, *, cut: bool, normal: bool) -> bool:
        """Whether a call is given out. cut: it may have been cut off.

        normal: the vendor's word is that of a whole answer; with any other a problem is no mistake of the model's.
        """
        taken = not cut and (problem is None or normal)
        self.delivered, self.cut = self.delivered or taken, self.cut or not taken
        return taken

    def _chunk(self, id_: str, name: str, arguments: str, problem: str | None, beside: str) -> ToolCallChunk:
        vendor = self._vendor if beside else ""
        return ToolCallChunk(id=id_, name=name, arguments=arguments, problem=problem, extra=beside, vendor=vendor)
