"""What a call costs: exact decimals out of token counts and dated prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.models import DAYS, ModelInfo, Prices, PriceSheet

__all__ = ["Meter", "calculate_cost"]


def calculate_cost(
    usage: UsageChunk, info: ModelInfo, *, variant: str | None = None, on: dt.date | None = None
) -> Decimal | None:
    """What *usage*, the sum of one call, costs in US dollars: exact, never rounded; None when a price is not known.

    variant: the service tier or speed that the vendor says it used, None for the standard one.
    on: the UTC date of the call, or a datetime for its start, None for now; chooses between announced prices. Where
        the price also depends on the hour, a date alone gives None.
    The tier follows the prompt tokens of the whole call, so a sum over several calls may fall into a wrong one.
    A count above zero without a price makes the cost None, never 0.
    """
    prices = _prices(info, usage.prompt_tokens, variant, on or dt.datetime.now(dt.UTC))
    if prices is None:
        return None
    write, extended = usage.cache_write_tokens, usage.cache_write_extended_tokens
    total = Decimal(0)
    for count, price, shift in (
        (usage.input_tokens, prices.input_price, -6),
        (usage.output_tokens, prices.output_price, -6),
        (write - extended, prices.cache_writes_price, -6),
        (extended, prices.cache_writes_extended_price, -6),
        (usage.cache_read_tokens, prices.cache_reads_price, -6),
        (usage.web_searches, prices.web_search_price, -3),
    ):
        if not count:
            continue
        if price is None:
            return None
        total = EXACT.add(total, EXACT.multiply(price, count).scaleb(shift, EXACT))
    return total


def _prices(info: ModelInfo, prompt_tokens: int, variant: str | None, on: dt.date) -> Prices | None:
    sheet: PriceSheet = info
    variants: Mapping[str, PriceSheet] = info.variants
    moment = on if isinstance(on, dt.datetime) else None
    if moment is not None:
        moment = moment.astimezone(dt.UTC)
        on = moment.date()
    due = [change for change in info.changes if change.from_date <= on]
    if due:
        latest = max(due, key=lambda change: change.from_date)
        sheet, variants = latest, latest.variants
    base = _tier(sheet, prompt_tokens)
    if variant is None:
        return base if not sheet.hours else _at(sheet, base, moment)
    special = variants.get(variant)
    if special is None or (special.tiers is None and base is not sheet):
        return None
    return _tier(special, prompt_tokens)


def _tier(sheet: PriceSheet, prompt_tokens: int) -> Prices:
    reached = [tier for tier in sheet.tiers or () if prompt_tokens > tier.above_input_tokens]
    return max(reached, key=lambda tier: tier.above_input_tokens, default=sheet)


def _at(sheet: PriceSheet, base: Prices, moment: dt.datetime | None) -> Prices | None:
    if moment is None:
        return None
    now = moment.time()
    for hours in sheet.hours:
        start, end = hours.from_time, hours.to_time
        if hours.days is not None and DAYS[moment.weekday()] not in hours.days:
            continue
        if start <= now < end if start < end else now >= start or now < end:
            return hours
    return base


class Meter:
    """Turns the snapshots of usage that a vendor reports during one call into increments that add up to the bill."""

    def __init__(self, info: ModelInfo, on: dt.date) -> None:
        self._info = info
        self._on = on
        self.total = UsageChunk()
        """The sum of all increments so far."""

    def price(self, usage: UsageChunk, variant: str | None) -> Decimal | None:
        """What *usage* costs on the day of this call; see calculate_cost."""
        return calculate_cost(_sane(usage), self._info, variant=variant, on=self._on)

    def report(
        self,
        snapshot: UsageChunk,
        *,
        variant: str | None = None,
        reported_cost: Decimal | None = None,
        cost_known: bool = True,
        other_cost: Decimal = Decimal(0),
    ) -> UsageChunk | None:
        """The increment that leads from the total to *snapshot*; None when nothing has changed.

        snapshot: cumulative counts, whose own cost is not looked at. Negative ones count as 0.
        reported_cost: what the vendor says the call has cost until now; it wins over the prices.
        cost_known: False when something was billed that the counts do not show and no price is known for.
        other_cost: dollars for what the counts do not show.

        Once the cost has been unknown it stays unknown: a sum with None in it is None.
        """
        snapshot = _sane(snapshot)
        cost = reported_cost
        if cost is not None and not (cost.is_finite() and cost >= 0):
            cost = None
            cost_known = False
        if cost is None and cost_known:
            cost = self.price(snapshot, variant)
            cost = None if cost is None else EXACT.add(cost, other_cost)
        before = self.total
        increment = UsageChunk(
            input_tokens=snapshot.input_tokens - before.input_tokens,
            output_tokens=snapshot.output_tokens - before.output_tokens,
            cache_write_tokens=snapshot.cache_write_tokens - before.cache_write_tokens,
            cache_read_tokens=snapshot.cache_read_tokens - before.cache_read_tokens,
            cache_write_extended_tokens=snapshot.cache_write_extended_tokens - before.cache_write_extended_tokens,
            reasoning_tokens=snapshot.reasoning_tokens - before.reasoning_tokens,
            web_searches=snapshot.web_searches - before.web_searches,
            cost=None if cost is None or before.cost is None else EXACT.subtract(cost, before.cost),
        )
        nothing_new = UsageChunk(cost=None if before.cost is None else Decimal(0))
        if increment == nothing_new:
            return None
        self.total = before + increment
        return increment


def _sane(snapshot: UsageChunk) -> UsageChunk:
    """No count below zero, no more long-lived writes than writes: what a broken gateway reports must not earn money."""
    counts = {name: max(0, getattr(snapshot, name)) for name in UsageChunk.__struct_fields__ if name != "cost"}
    counts["cache_write_extended_tokens"] = min(counts["cache_write_extended_tokens"], counts["cache_write_tokens"])
    return msgspec.structs.replace(snapshot, **counts)
