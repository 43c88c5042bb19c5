"""What has been spent within the last minute. Pure: it is told what time it is.

Over any minute no more than the limit: that is right for a vendor who counts by the minute, and for one who fills a
bucket continuously. A bucket of our own, full at first, would let through up to twice the limit in its first minute.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Charge", "Window"]


class Charge:
    """An amount that was spent at a time; what it really was may become known later."""

    __slots__ = ("amount", "counts", "time")

    def __init__(self, amount: int, time: float) -> None:
        self.amount = amount
        self.time = time
        self.counts = True
        """Whether it is still within the window."""


class Window:
    """Amounts spent within so many *seconds*, against a *limit*."""

    def __init__(self, limit: int, seconds: float = 60.0) -> None:
        self.limit = limit
        self._seconds = seconds
        self._charges: deque[Charge] = deque()
        self._spent = 0

    def wait(self, amount: int, now: float) -> float:
        """Seconds until there is room for *amount*, 0 if there is. More than the limit needs a window that is empty."""
        self._forget(now)
        excess = self._spent + min(amount, self.limit) - self.limit
        if excess <= 0:
            return 0.0
        for charge in self._charges:
            excess -= charge.amount
            if excess <= 0:
                break
        return charge.time + self._seconds - now

    def left(self, now: float) -> int:
        """How much may be spent at once."""
        self._forget(now)
        return max(0, self.limit - self._spent)

    def _forget(self, now: float) -> None:
        while self._charges and self._charges[0].time + self._seconds <= now:
            gone = self._charges.popleft()
            gone.counts = False
            self._spent -= gone.amount

    def charge(self, amount: int, now: float) -> Charge:
        """Spend *amount*."""
        charge = Charge(amount, now)
        self._charges.append(charge)
        self._spent += amount
        return charge

    def correct(self, charge: Charge, amount: int, now: float) -> None:
        """It was *amount* in truth: less is given back, more is spent now."""
        more = amount - charge.amount
        if more > 0:
            self.charge(more, now)
        elif charge.counts:
            charge.amount = amount
            self._spent += more
