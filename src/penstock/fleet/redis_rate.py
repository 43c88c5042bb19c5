"""A rate that many processes share: what this one has charged, and what Redis says to more."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from penstock.fleet.redis_link import AwayError, Link
from penstock.fleet.redis_scripts import CELLS, RATE, State
from penstock.middleware.limit_store import Limits, Verdict
from penstock.middleware.rate_window import Charge, Window

__all__ = ["Rate", "Spent"]

_SOON: Final = 0.25
"""Seconds for which corrections wait for a call that takes them along."""
_LOOK: Final = 5.0
"""Seconds after which Redis is asked whether it still knows what this process has charged within the last window."""
_LONGEST_HOLD: Final = 10.0**9
"""Seconds; more does not fit into what Redis keeps."""
_NONE: Final = -1
"""Stands in a script for no limit."""


class Spent(msgspec.Struct, eq=False):
    """What was charged, in Redis or only here; it is numbered, so that both know what the other does not.

    The numbers are given here, before Redis is asked: what is charged meanwhile gets another.
    """

    rate: Rate
    number: int
    request: Charge
    tokens: Charge
    total: int
    """What the call has used by now; what is above `tokens` stands in charges of its own."""
    cell: int | None = None
    """Where it stands in Redis; None as long as it does not."""


class Rate:
    """One name. All of it runs in the thread of the link, but for `left`.

    It remembers what this process has charged within the last window. That is what it goes by while Redis is away, and
    what Redis is told afterwards, also where it comes back with less than it knew: it says how many charges of this
    process it knows, and gets those that come after.
    """

    window = 60.0
    """Seconds."""

    def __init__(self, link: Link, name: str, keys: Sequence[str]) -> None:
        self.link = link
        self._name = name
        self._keys = keys
        self._limits = Limits(None, None)
        self._said: dict[Limits, float] = {}
        lives = self.window + self.window / CELLS
        self._requests, self._tokens = Window(0, lives), Window(0, lives)
        self._mine: deque[Spent] = deque()
        self._number = self._known = 0
        self._fixes: list[tuple[Spent, int]] = []
        self._held = self._hold_until = 0.0
        self._spent = (0, 0)
        self._answered = 0.0
        self._bound = Limits(None, None)  # what holds, of this process and others
        self._processes: int | None = None
        self._lock = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def charge(self, limits: Limits, tokens: int, waited: float) -> Verdict:
        """See LimitStore. Raises StoreError."""
        async with self._lock:
            self._limits = self._smallest(limits)
            try:
                found = await self._ask({"ask": tokens, "waited": int(waited * 1000)})
            except AwayError:
                return self._alone(tokens)
            if found[0] == State.DONE:
                return Verdict(self._add(tokens, number=found[1], cell=found[3] or None))
            return Verdict(None, found[4] / 1000, found[5] / 1000)

    def _smallest(self, limits: Limits) -> Limits:
        """Of all that this process has said within the last window."""
        now = time.monotonic()
        self._said[limits] = now
        self._said = {each: at for each, at in self._said.items() if now - at < self.window}
        said = zip(*self._said, strict=True)
        smallest = Limits(*(min((one for one in each if one is not None), default=None) for each in said))
        if limits != smallest:
            self.link.compare(f"{self._name} of this process", tuple(limits), tuple(smallest))
        return smallest

    def correct(self, spent: Spent, tokens: int) -> None:
        """See LimitStore."""
        more, spent.total = tokens - spent.total, tokens
        if more > 0:
            self._add(more, requests=0)
        elif more < 0 and spent.tokens.counts:
            less = min(-more, spent.tokens.amount)  # what was added later stays
            spent.total = tokens - more - less
            self._tokens.correct(spent.tokens, spent.tokens.amount - less, time.monotonic())
            if spent.cell is not None and spent.number <= self._known:
                self._fixes.append((spent, less))
        if more:
            self._flush_soon(_SOON)

    def hold(self, seconds: float) -> None:
        """See LimitStore."""
        self._hold_until = max(self._hold_until, time.monotonic() + min(seconds, _LONGEST_HOLD))
        self._flush_soon(0.0)

    def left(self, limits: Limits) -> tuple[Limits, float]:
        """See LimitStore. Any thread may ask."""
        held = max(self._held, self._hold_until) - time.monotonic()
        rest = (
            None if limit is None else max(0, limit - spent) for limit, spent in zip(limits, self._spent, strict=True)
        )
        return Limits(*rest), max(0.0, held)

    async def flush(self) -> None:
        """Tell Redis what it does not know. That it has forgotten something comes out too."""
        async with self._lock:
            now = self._forget()
            if self._mine or self._hold_until > now:
                with suppress(AwayError):
                    await self._ask({})

    def _flush_soon(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._due is not None and seconds < self._due.when() - loop.time():
            self._due.cancel()
            self._due = None
        if self._due is None:
            self._due = loop.call_later(seconds, self._begin_flush)

    def _begin_flush(self) -> None:
        self._due = None
        self._task = asyncio.create_task(self.flush())
        if self._mine:
            self._flush_soon(_LOOK)

    def _add(self, tokens: int, *, requests: int = 1, number: int | None = None, cell: int | None = None) -> Spent:
        now = time.monotonic()
        self._flush_soon(_LOOK)
        charges = self._requests.charge(requests, now), self._tokens.charge(tokens, now)
        spent = Spent(self, number or self._next(), *charges, total=tokens, cell=cell)
        self._mine.append(spent)
        return spent

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, more: dict[str, object]) -> list[int]:
        """Tell Redis what it does not know, and ask it; where it charged, the number of that, and the cell or 0.

        Raises AwayError.
        """
        done = 0
        while self.link.away <= 0:
            now = self._forget()
            owed = [spent for spent in self._mine if spent.number > self._known]
            fixes = self._fixes
            upto = self._next() if fixes else self._number  # what Redis has done once it does not do again
            number = self._next() if more else upto
            ages = [int((now - spent.tokens.time) * 1000) for spent in owed]
            posts = [(age, one.request.amount, one.tokens.amount) for age, one in zip(ages, owed, strict=True)]
            amounts = [one.tokens.amount for one in owed]
            self._fixes = []  # where the call is lost they are too, and what they would have given back stays charged
            found = await self.link.ask(
                RATE,
                self._keys,
                window=int(self.window * 1000),
                limits=[_NONE if limit is None else limit for limit in self._limits],
                seq=self._known,
                fix=[(spent.cell, amount) for spent, amount in fixes],
                post=posts,
                upto=upto,
                hold=max(0, int((self._hold_until - now) * 1000)),
                settle=int(self.link.settle * 1000),
                **more,
            )
            if found[0] == State.APART:
                if any(found[1] < spent.number <= self._known for spent in self._mine):
                    self.link.forgot()
                self._known = found[1]
                # It may have done this already: the connection broke before it was heard.
                fixes = self._fixes if found[1] >= upto else fixes + self._fixes
                # What it has forgotten is charged anew, as it was corrected.
                self._fixes = [fix for fix in fixes if fix[0].number <= self._known]
                if more and found[1] == number:
                    more, done = {}, number
                continue
            for spent, age, amount in zip(owed, ages, amounts, strict=True):
                self._place(spent, found[2] - age, amount)
            self._known = found[1]
            self._note(found, now)
            if done:
                found[1], found[3] = done, 0
            return found
        raise AwayError

    def _place(self, spent: Spent, at: int, amount: int) -> None:
        """Note where Redis has a charge. at: milliseconds of its clock. amount: of tokens, as Redis was told."""
        spent.cell = int(at // (self.window * 1000 / CELLS))
        if spent.tokens.amount < amount:  # it was corrected meanwhile
            self._fixes.append((spent, amount - spent.tokens.amount))

    def _forget(self) -> float:
        """Drop what counts no more; the time."""
        now = time.monotonic()
        for window in (self._requests, self._tokens):
            window.left(now)
        while self._mine and not self._mine[0].tokens.counts:
            self._mine.popleft()
        return now

    def _note(self, found: Sequence[int], now: float) -> None:
        self._processes, self._answered = found[6], now
        self._held = now + found[5] / 1000
        self._spent = (found[9], found[10])
        self._bound = Limits(*(None if limit == _NONE else limit for limit in found[7:9]))
        if self._limits != Limits(None, None):
            self.link.compare(self._name, tuple(self._limits), tuple(self._bound))

    def _alone(self, tokens: int) -> Verdict:
        """What holds while Redis is away: a share for each process. Raises StoreError."""
        if not self.link.is_local or self._processes is None:
            raise self.link.error() from None
        now = self._forget()
        held = max(0.0, max(self._held, self._hold_until) - now)
        seconds = held
        unknown = [spent for spent in self._mine if spent.number > self._known]
        sums = sum(one.request.amount for one in unknown), sum(one.tokens.amount for one in unknown)
        windows = self._requests, self._tokens
        for window, limit, amount, sent, spent in zip(
            windows, self._bound, (1, tokens), sums, self._spent, strict=True
        ):
            if limit is None:
                continue
            window.limit = share = max(1, limit // self._processes)
            free_in = self.window * _part(min(limit, spent), (sent + min(amount, share)) / share, limit)
            seconds = max(seconds, window.wait(amount, now), free_in - (now - self._answered))
        if seconds <= 0:
            return Verdict(self._add(tokens))
        return Verdict(None, max(held, min(seconds, max(_SOON, self.link.away))), held)  # Redis may know of more room


def _part(spent: int, part: float, limit: int) -> float:
    """After what part of a window so large a *part* of the limit is free, of which *spent* was not.

    That becomes free little by little, and each process has its share of that too: else all would send their shares at
    once, on top of what the fleet has just sent.
    """
    short = part * limit - (limit - spent)
    return min(1.0, short / spent) if short > 0 and spent else 0.0
