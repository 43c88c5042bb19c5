"""The jobs of batches in the ledgers of their provider: reserved whole before they are sent, settled when they end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
import msgspec

from penstock.agent.collect import Reply
from penstock.core.chunks import UsageChunk
from penstock.core.cost import cache_savings
from penstock.core.errors import ProviderError
from penstock.core.messages import Message, Options
from penstock.core.models import Model, ModelInfo, PriceSheet, PriceTier
from penstock.core.provider import BaseProvider
from penstock.core.scope import in_scope
from penstock.core.tokens import History, TokenMemory
from penstock.meter.ledger import Ledger
from penstock.meter.metered import Metered
from penstock.meter.store import Call, Outcome

__all__ = ["BATCH", "Booked", "Booking"]

BATCH: Final = "batch"
"""The variant of the prices."""
_DAY: Final = 86_400
Booked: TypeAlias = tuple[Ledger, Call]
"""A job in one of the ledgers. Of a call that another process may have opened only what settles it is known."""


class _AtBatchPrice(BaseProvider):
    """The leaf as a budget sees it: its ordinary prices are those of its batches, unknown where there are none."""

    def __init__(self, leaf: BaseProvider) -> None:
        self._leaf = leaf
        self.alias = leaf.alias
        model = leaf.get_model()
        self._model = Model(model.id, _batch_info(model.info))

    def create_message(self, system_prompt: str, messages: Sequence[Message], options: Options | None = None) -> Any:
        """Never: nothing is called through it."""
        raise NotImplementedError

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    @property
    def vendor(self) -> str:
        """See BaseProvider."""
        return self._leaf.vendor

    @property
    def tokens(self) -> TokenMemory:
        """See BaseProvider."""
        return self._leaf.tokens


class Booking:
    """Books in each ledger that the provider has around its leaf; in none where it has none."""

    def __init__(self, provider: BaseProvider, leaf: BaseProvider) -> None:
        self._meters = [each for each in provider.nested() if isinstance(each, Metered)]
        self._leaf = _AtBatchPrice(leaf)

    async def plan(self, name: str, system_prompt: str, messages: Sequence[Message], options: Options) -> list[Booked]:
        """The rows of a job, not written yet. name: what it is under there. Raises ConfigError and TokenLimitError."""
        if not self._meters:
            return []
        _, scope = in_scope(options)
        scope = msgspec.structs.replace(scope, call=name)
        history = History(messages)
        for _ in self._leaf.tokens.measured(history):
            await anyio.lowlevel.checkpoint()
        calls = []
        for meter in self._meters:
            call = meter.planned(self._leaf, system_prompt, history, options, scope)
            call.least = call.max_tokens  # what is sent is written already
            calls.append((meter.ledger, call))
        return calls

    async def open(self, calls: Sequence[Booked]) -> None:
        """Write rows, in few transactions. Nothing is waited for: what others hold may be held for a day.

        Raises what refuses one of them, BudgetExceededError or LedgerError; then none is left that costs anything.
        """
        faults: list[Exception] = []

        async def one(ledger: Ledger, call: Call) -> None:
            try:
                await ledger.open(call, 0.0)
            except ProviderError as error:
                faults.append(error)

        async with anyio.create_task_group() as group:
            for ledger, call in calls:
                group.start_soon(one, ledger, call)
        if faults:
            self.settle(calls, UsageChunk(), None, faults[0])
            raise faults[0]

    async def find(self, calls: set[str], since: float) -> Mapping[str, list[Booked]]:
        """The rows of jobs, whichever process has written them. calls: their names, without their places."""
        found: dict[str, list[Booked]] = {}
        vendor, model = self._leaf.vendor, self._leaf.get_model().id
        begin = dt.datetime.fromtimestamp(since - _DAY, dt.UTC)
        for meter in self._meters:
            async for entry in meter.ledger.entries(since=begin, where={"vendor": vendor, "model": model}):
                if entry.call.partition("-")[0] in calls:
                    call = Call(
                        call=entry.call, attempt=1, run=None, alias=None, vendor=vendor, model=model, tags={},
                        estimated=entry.estimated_cost, row=entry.id,
                    )  # fmt: skip
                    found.setdefault(entry.call, []).append((meter.ledger, call))
        return found

    async def withdraw(self, calls: set[str], since: float, error: Exception) -> None:
        """Settle rows of jobs that have not been sent: they cost nothing."""
        for rows in (await self.find(calls, since)).values():
            self.settle(rows, UsageChunk(), None, error)
        await self.flush()

    def settle(self, rows: Sequence[Booked], usage: UsageChunk, reply: Reply | None, error: Exception | None) -> None:
        """Say what a job has cost. Twice the same changes nothing."""
        stop = None if reply is None else reply.stop
        for ledger, call in rows:
            outcome = Outcome(
                state="done" if error is None else "failed",
                usage=usage,
                estimated=call.estimated if usage.unsettled > 0 else None,
                saved=cache_savings(usage, self._leaf.calculate_cost),
                answered=None if stop is None else stop.model,
                reason=None if stop is None else stop.reason,
                error=None if error is None else type(error).__name__,
                request_id=getattr(error, "request_id", None),
            )
            ledger.settle(call, outcome)

    async def flush(self) -> None:
        """Wait until all of it is written. Raises LedgerError."""
        for meter in self._meters:
            await meter.ledger.flush()


def _batch_info(info: ModelInfo) -> ModelInfo:
    """What is known of a model, with the prices of a batch as its only ones."""
    changes = [msgspec.structs.replace(each, variants={}, **_sheet(each, each.variants)) for each in info.changes]
    return msgspec.structs.replace(info, variants={}, changes=changes, **_sheet(info, info.variants))


def _sheet(ordinary: PriceSheet, variants: Mapping[str, PriceSheet]) -> dict[str, Any]:
    found = variants.get(BATCH) or PriceSheet()
    fields = {name: getattr(found, name) for name in PriceSheet.__struct_fields__}
    if found.tiers is None:  # in a tier of the others it has no price
        tiers = ordinary.tiers or ()
        fields["tiers"] = [PriceTier(above_input_tokens=each.above_input_tokens) for each in tiers]
    return fields
