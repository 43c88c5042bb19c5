"""What a listener is told of a metered call, beside the events of penstock.middleware."""

from __future__ import annotations

from decimal import Decimal

from penstock.core.errors import LedgerError
from penstock.middleware.events import Event

__all__ = ["BudgetOverrun", "LedgerBehind", "MaxTokensSet"]


class MaxTokensSet(Event, frozen=True, kw_only=True, tag="max_tokens_set"):
    """A budget has set the call's `max_tokens`: it had none, or more than what is left can pay."""

    max_tokens: int
    """What is sent."""
    asked: int | None
    """What the caller asked for, None for nothing."""


class BudgetOverrun(Event, frozen=True, kw_only=True, tag="budget_overrun"):
    """A call was billed more than its worst case, which is what its budgets had held. It is booked as it is billed."""

    held: Decimal
    """US dollars that were held."""
    cost: Decimal
    """US dollars that are known to be billed."""


class LedgerBehind(Event, frozen=True, kw_only=True, tag="ledger_behind"):
    """The ledger cannot be written at the moment; the call goes on, and its row is kept in memory."""

    error: LedgerError
    """Why."""
    kept: int
    """How many openings and settlements wait to be written."""
    given_up: int
    """How many could not be kept either, and are lost."""
