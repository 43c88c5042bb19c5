"""What is known of one answer's usage: reports read field by field, of which a later one replaces an earlier one.

A report is bookkeeping, and costs no answer: a field of a wrong type is unknown. Some reports say nothing although they
have counts: no prompt has 0 tokens, and neither has an answer in which something was shown. Such zeros are placeholders
(relays of the one-api family end with them), and what was said before stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

import msgspec

from penstock.core.chunks import EXACT, Chunk
from penstock.core.cost import Meter
from penstock.core.dialect import Dialect
from penstock.core.errors import ProviderError
from penstock.wire.event_json import UNDECODABLE, salvaged

__all__ = ["AnswerUsage", "CostReport", "Counts", "first", "read_report", "stated"]

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)

_PROMPT: Final = ("prompt", "read", "written", "extended", "audio_input")
_OUTPUT: Final = ("output", "reasoning", "audio_output", "image_output")
_TICK: Final = Decimal("1e-10")  # xAI's unit, in dollars
_LONGEST_COST: Final = 100  # characters, and digits before or after the point; recorded ones have up to 22


def first(*values: T | None) -> T | None:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


def read_report(kind: type[R], raw: bytes) -> tuple[R | None, frozenset[str]]:
    """A report as a *kind*, None for none, and the names of its fields that are not what they should be."""
    if raw in (b"", b"null"):
        return None, frozenset()
    try:
        return msgspec.json.decode(raw, type=kind), frozenset()
    except UNDECODABLE:
        pass
    for data in (raw, raw.decode("utf-8", "replace").encode()):  # if need be what is no Unicode is another word
        with suppress(*UNDECODABLE):
            return salvaged(kind, data)
    return None, frozenset(["usage"])


class Counts:
    """The counts of one answer as they were last reported: names to numbers, each of them as its vendor counts."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.content = False
        """Something of the answer has come that the vendor counts as output; set by who reads the answer."""
        self._after_content = False
        self._wrong: set[str] = set()

    def __getitem__(self, name: str) -> int:
        return self.now.get(name, 0)

    def take(self, said: Mapping[str, int | None], wrong: frozenset[str] = frozenset()) -> None:
        """Take a report in. None is not said. wrong: names of fields that are not what they should be."""
        given = {name: count for name, count in said.items() if count is not None}
        negative = {name for name, count in given.items() if count < 0}
        if any(map(self.now.get, _PROMPT)) and not any(map(given.get, _PROMPT)):
            given = {name: count for name, count in given.items() if name not in _PROMPT}
        if self.content and self.now.get("output") and given.get("output") == 0:
            given = {name: count for name, count in given.items() if name not in _OUTPUT}
        if "output" in given:
            self._after_content = self.content
        self._wrong = {*(self._wrong - given.keys()), *negative, *wrong}
        self.now |= {name: max(0, count) for name, count in given.items()}

    @property
    def told(self) -> bool:
        """Whether the answer, which has ended, has been counted: nothing is missing, and no zero is a placeholder."""
        if self._wrong or "prompt" not in self.now or "output" not in self.now:
            return False
        if self.content:
            return self._after_content and self["output"] > 0 and self._prompt > 0
        return self._prompt > 0 or not self["output"]

    @property
    def _prompt(self) -> int:
        return self["prompt"] + self["read"] + self["written"]


class AnswerUsage:
    """What has been reported in one answer until now. A wire's own reads its reports."""

    def __init__(self, meter: Meter, dialect: Dialect) -> None:
        self.counts = Counts()
        self._meter = meter
        self._dialect = dialect
        self._cost: Decimal | None = None  # what the vendor itself has last said

    def answered(self, model: str | None) -> None:
        """The vendor says which model answers."""
        if model:
            self._meter.answered(model)

    def end(self) -> Iterator[Chunk]:
        """The increment that ends the answer, if any: what is owed is known, or it is not."""
        increment = self._meter.settle(told=self.counts.told or self._cost is not None)
        if increment is not None:
            yield increment

    def fail(self, error: ProviderError | None) -> Iterator[Chunk]:
        """Raise the vendor's own *error*, if there is one, after what it changes: what is owed may have been said."""
        if error is not None:
            if self.counts.told or self._cost is not None:
                yield from self.end()
            raise error


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: msgspec.Raw = msgspec.Raw()


class _CostObject(msgspec.Struct):
    total_cost: msgspec.Raw = msgspec.Raw()
    usd: msgspec.Raw = msgspec.Raw()


class CostReport(msgspec.Struct):
    """Where a vendor states the cost of a call. For those whose row says that this is the bill."""

    cost: msgspec.Raw = msgspec.Raw()
    """Dollars; at Perplexity an object, and at Venice, where it stands beside the usage."""
    cost_in_usd_ticks: int | None = None  # xAI
    is_byok: bool | None = None
    cost_details: _CostDetails | None = None


def stated(report: CostReport) -> Decimal | None:
    """What the vendor says the call has cost, in dollars; None when it does not say."""
    if report.cost_in_usd_ticks:
        return EXACT.multiply(_TICK, report.cost_in_usd_ticks)
    said = bytes(report.cost)
    if said.startswith(b"{"):
        try:
            inner = msgspec.json.decode(said, type=_CostObject)
        except UNDECODABLE:
            return None
        said = bytes(inner.total_cost or inner.usd)
    cost = _dollars(said)
    if cost is not None and report.is_byok:
        # With a key of one's own, the vendor behind sends a bill as well.
        if report.cost_details is None:
            return None
        upstream = _dollars(bytes(report.cost_details.upstream_inference_cost))
        return None if upstream is None else EXACT.add(cost, upstream)
    return cost


def _dollars(said: bytes) -> Decimal | None:
    """None for what is no sum of money, so that it cannot break the exact arithmetic."""
    if len(said) > _LONGEST_COST:
        return None
    try:
        dollars = Decimal(said.decode("utf-8", "replace").strip('"'))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and abs(dollars.adjusted()) < _LONGEST_COST else None
