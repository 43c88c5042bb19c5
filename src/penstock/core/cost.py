"""What a call costs: exact decimals out of token counts and dated prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Final, TypeVar

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.dialect import Dialect
from penstock.core.models import DAYS, FindInfo, ModelInfo, Prices, PriceSheet

__all__ = ["Meter", "cache_savings", "calculate_cost", "format_dollars", "multiplied", "prices_at", "prompt_of"]

_NOTHING: Final[Mapping[str, int]] = {}
# Tokens that the counts hold but that have a price of their own, by the field of that price.
_COUNTED_AS: Final[Mapping[str, str]] = {
    "audio_input_price": "input_tokens",
    "audio_output_price": "output_tokens",
    "image_output_price": "output_tokens",
}


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
    known, complete = _priced(usage, info, variant, on or dt.datetime.now(dt.UTC), _NOTHING)
    return known if complete else None


def cache_savings(usage: UsageChunk, price: Callable[[UsageChunk], Decimal | None]) -> Decimal | None:
    """US dollars that caching has saved: the prompt of *usage* as ordinary input, less what it costs as it was counted.

    price: `calculate_cost` of the provider that was asked. Negative if writes cost more than reads saved; None where a
    price is not known.
    """
    if not usage.cache_read_tokens and not usage.cache_write_tokens:
        return Decimal(0)
    without, paid = price(UsageChunk(input_tokens=usage.prompt_tokens)), price(prompt_of(usage))
    return None if without is None or paid is None else EXACT.subtract(without, paid)


def prompt_of(usage: UsageChunk) -> UsageChunk:
    """The counts of *usage* that are its prompt."""
    return UsageChunk(
        input_tokens=usage.input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_extended_tokens=usage.cache_write_extended_tokens,
        cache_read_tokens=usage.cache_read_tokens,
    )


def format_dollars(usage: UsageChunk | Decimal | None) -> str:
    """A sum of money for people to read: `$0.0098`, `≥ $9.99 (1 call unknown)`; `unknown` for None.

    usage: a UsageChunk, a sum of many, or dollars. Exact, all digits, with two behind the point at least.
    """
    if usage is None:
        return "unknown"
    dollars, unsettled = (usage.known_cost, usage.unsettled) if isinstance(usage, UsageChunk) else (usage, 0)
    digits = f"{dollars.copy_abs().normalize(EXACT):f}" if dollars.is_finite() else str(dollars.copy_abs())
    whole, _, part = digits.partition(".")
    said = f"{'-' if dollars < 0 else ''}${whole}.{part:0<2}" if dollars.is_finite() else f"${digits}"
    if unsettled <= 0:
        return said
    return f"≥ {said} ({unsettled} {'call' if unsettled == 1 else 'calls'} unknown)"


def prices_at(info: ModelInfo, row: Dialect, url: str | None) -> ModelInfo:
    """What is known of a model, with the prices of the server at *url*: those of a regional host, or none at all."""
    from urllib.parse import urlsplit  # here and not above: for those who build a provider

    try:
        host = (urlsplit(url or "").hostname or "").lower()
    except ValueError:  # it leads nowhere, as the first call will say
        host = ""
    if info.regional_factor is not None and any(fnmatchcase(host, pattern) for pattern in row.regional_hosts):
        return multiplied(info, info.regional_factor)
    if row.is_free and not _costs(info):
        return msgspec.structs.replace(info, **dict.fromkeys(Prices.__struct_fields__, Decimal(0)))
    return info


def _costs(info: ModelInfo) -> bool:
    """Whether a price of it is above 0, or others may hold at times."""
    return any(getattr(info, name) for name in (*PriceSheet.__struct_fields__, "variants", "changes"))


T = TypeVar("T", bound=Prices)


def multiplied(sheet: T, factor: Decimal) -> T:
    """The same prices so many times, but for that of a search, which is no token."""
    found: dict[str, object] = {
        name: EXACT.multiply(value, factor)
        for name in (*Prices.__struct_fields__, *_COUNTED_AS)
        if name != "web_search_price" and isinstance(value := getattr(sheet, name, None), Decimal)
    }
    for name in ("tiers", "hours", "changes"):
        if inner := getattr(sheet, name, None):
            found[name] = [multiplied(one, factor) for one in inner]
    if variants := getattr(sheet, "variants", None):
        found["variants"] = {name: multiplied(one, factor) for name, one in variants.items()}
    return msgspec.structs.replace(sheet, **found)


def _priced(
    usage: UsageChunk, info: ModelInfo, variant: str | None, on: dt.date, others: Mapping[str, int]
) -> tuple[Decimal, bool]:
    """The dollars that are sure, and whether that is all: False where a count has no price."""
    prices = _prices(info, usage.prompt_tokens, variant, on)
    if prices is None:
        return Decimal(0), False
    write, extended = usage.cache_write_tokens, usage.cache_write_extended_tokens
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    rest = []
    for name, count in others.items():
        taken = min(count, counts[_COUNTED_AS[name]])  # some may be in the cache
        counts[_COUNTED_AS[name]] -= taken
        rest.append((taken, None if variant else getattr(info, name), -6))
    total, complete = Decimal(0), True
    for count, price, shift in (
        (counts["input_tokens"], prices.input_price, -6),
        (counts["output_tokens"], prices.output_price, -6),
        (write - extended, prices.cache_writes_price, -6),
        (extended, prices.cache_writes_extended_price, -6),
        (usage.cache_read_tokens, prices.cache_reads_price, -6),
        (usage.web_searches, prices.web_search_price, -3),
        *rest,
    ):
        if not count:
            continue
        if price is None:
            complete = False
        else:
            total = EXACT.add(total, EXACT.multiply(price, count).scaleb(shift, EXACT))
    return total, complete


def _prices(info: ModelInfo, prompt_tokens: int, variant: str | None, on: dt.date) -> Prices | None:
    moment = on if isinstance(on, dt.datetime) else None
    if moment is not None:
        moment = moment.astimezone(dt.UTC)
        on = moment.date()
    sheet = info.prices_on(on)
    base = _tier(sheet, prompt_tokens)
    if variant is None:
        return base if not sheet.hours else _at(sheet, base, moment)
    special = sheet.variants.get(variant)
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
    """Turns the snapshots of usage that a vendor reports during one call into increments that add up to the bill.

    model_id: the model that is asked. find_info: what is known of another model by its id, None where nothing is: the
    vendor may let another model answer. variant: what is billed beside what the answer says of its service tier, as
    `batch`; None for nothing.
    """

    def __init__(
        self,
        info: ModelInfo,
        on: dt.date,
        *,
        model_id: str = "",
        find_info: FindInfo | None = None,
        variant: str | None = None,
    ) -> None:
        self.model_id = model_id
        self.info = info
        self._on = on
        self._variant = variant
        self.find_info = find_info
        self._complete = False
        self.reported = False
        """The vendor has reported usage."""
        self.total = UsageChunk()
        """The sum of all increments so far."""

    @property
    def free(self) -> bool:
        """Tokens cost nothing, at any time: input and output are at 0, and nothing else has a price."""
        return self.info.input_price == 0 and self.info.output_price == 0 and not _costs(self.info)

    def answered(self, model: str) -> None:
        """The vendor says that *model* answers: its price counts from here on, if it is known by itself."""
        found = self.find_info(model) if self.find_info is not None and model != self.model_id else None
        if found is not None:
            self.info = found

    def price(self, usage: UsageChunk, variant: str | None) -> Decimal | None:
        """What *usage* costs on the day of this call; see calculate_cost."""
        return calculate_cost(_sane(usage), self.info, variant=self._billed(variant), on=self._on)

    def open(self) -> UsageChunk | None:
        """The first increment: there will be a bill, and it is not known yet. None if nothing is billed."""
        return self._toward(0 if self.free else 1)

    def settle(self, *, told: bool = True) -> UsageChunk | None:
        """The last increment of an answer that has ended: the bill is known, if all that is billed has a price.

        told: the vendor has reported all counts. None if nothing changes.
        """
        known = (told and self._complete) or (self.free and not self.total.web_searches)
        return self._toward(0 if known else 1)

    def cancel(self) -> UsageChunk | None:
        """The last increment of a call that is not billed; None if nothing changes."""
        return self._toward(0)

    def report(
        self,
        snapshot: UsageChunk,
        *,
        variant: str | None = None,
        reported_cost: Decimal | None = None,
        cost_known: bool = True,
        other_cost: Decimal = Decimal(0),
        others: Mapping[str, int] = _NOTHING,
    ) -> UsageChunk | None:
        """The increment that leads from the total to *snapshot*; None when nothing has changed.

        snapshot: cumulative counts, whose own cost is not looked at. Negative ones count as 0.
        reported_cost: what the vendor says the call has cost until now; it wins over the prices.
        cost_known: False when something was billed that the counts do not show and no price is known for.
        other_cost: dollars for what the counts do not show.
        others: how many of the counted tokens have a price of their own, by the field of ModelInfo.

        Only the last report counts: a cost that was unknown may become known, and the other way round.
        """
        snapshot = _sane(snapshot)
        self.reported = True
        known, complete = _priced(snapshot, self.info, self._billed(variant), self._on, others)
        known, complete = EXACT.add(known, other_cost), complete and cost_known
        if reported_cost is not None:
            complete = reported_cost.is_finite() and reported_cost >= 0
            known = reported_cost if complete else known
        self._complete = complete
        before = self.total
        increment = UsageChunk(
            input_tokens=snapshot.input_tokens - before.input_tokens,
            output_tokens=snapshot.output_tokens - before.output_tokens,
            cache_write_tokens=snapshot.cache_write_tokens - before.cache_write_tokens,
            cache_read_tokens=snapshot.cache_read_tokens - before.cache_read_tokens,
            cache_write_extended_tokens=snapshot.cache_write_extended_tokens - before.cache_write_extended_tokens,
            reasoning_tokens=snapshot.reasoning_tokens - before.reasoning_tokens,
            web_searches=snapshot.web_searches - before.web_searches,
            known_cost=EXACT.subtract(known, before.known_cost),
        )
        return self._told(increment)

    def _billed(self, variant: str | None) -> str | None:
        if self._variant is None:
            return variant
        return "+".join(sorted({self._variant, *(variant.split("+") if variant else ())}))

    def _toward(self, unsettled: int) -> UsageChunk | None:
        return self._told(UsageChunk(unsettled=unsettled - self.total.unsettled))

    def _told(self, increment: UsageChunk) -> UsageChunk | None:
        if increment == UsageChunk():
            return None
        self.total += increment
        return increment


def _sane(snapshot: UsageChunk) -> UsageChunk:
    """No count below zero, no more long-lived writes than writes: what a broken gateway reports must not earn money."""
    write, extended = max(0, snapshot.cache_write_tokens), max(0, snapshot.cache_write_extended_tokens)
    return UsageChunk(
        input_tokens=max(0, snapshot.input_tokens),
        output_tokens=max(0, snapshot.output_tokens),
        cache_write_tokens=write,
        cache_read_tokens=max(0, snapshot.cache_read_tokens),
        cache_write_extended_tokens=min(extended, write),
        reasoning_tokens=max(0, snapshot.reasoning_tokens),
        web_searches=max(0, snapshot.web_searches),
    )
