"""What calls cost: held by budgets, remembered in a ledger, shown by reports and telemetry.

async with Metered(open_provider("sonnet"), "spend.db", budgets=[Budget("5.00", per="day")]) as provider:
    ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.meter.budget import Budget as Budget
    from penstock.meter.budget import BudgetStatus as BudgetStatus
    from penstock.meter.budget import Per as Per
    from penstock.meter.entries import Entry as Entry
    from penstock.meter.entries import Instant as Instant
    from penstock.meter.entries import State as State
    from penstock.meter.entries import Total as Total
    from penstock.meter.entries import Where as Where
    from penstock.meter.events import BudgetOverrun as BudgetOverrun
    from penstock.meter.events import LedgerBehind as LedgerBehind
    from penstock.meter.events import MaxTokensSet as MaxTokensSet
    from penstock.meter.ledger import Ledger as Ledger
    from penstock.meter.metered import Metered as Metered
    from penstock.meter.telemetry import instrument as instrument
else:
    from penstock.core.public_names import import_late

    __all__, __getattr__, __dir__ = import_late(
        __name__,
        {
            "budget": (
                "Budget",
                "BudgetStatus",
                "Per",
            ),
            "entries": (
                "Entry",
                "Instant",
                "State",
                "Total",
                "Where",
            ),
            "events": (
                "BudgetOverrun",
                "LedgerBehind",
                "MaxTokensSet",
            ),
            "ledger": ("Ledger",),
            "metered": ("Metered",),
            "telemetry": ("instrument",),
        },
    )
