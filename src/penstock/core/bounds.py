"""What a call may cost before it is sent, at the most and most likely; and whether its prompt can fit at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from penstock.core.chunks import EXACT, UsageChunk
from penstock.core.errors import TokenLimitError
from penstock.core.messages import Message, Options, Tool
from penstock.core.models import ModelInfo, Prices, PriceSheet
from penstock.core.provider import BaseProvider

__all__ = ["Worst", "check_window", "estimate_cost", "worst_case"]

_ORDINARY: Final = ("auto", "default", "standard", "standard_only", "on_demand", "global")
"""Words of a request that ask for no prices but the standard ones."""
_CHOICES: Final = ("service_tier", "speed", "inference_geo")
"""Fields of a request that choose a variant of the prices."""
_ANSWERS: Final = frozenset((
    "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "fallbacks",
))  # fmt: skip
"""Fields of a request that make an answer longer than `max_tokens`, or more than one."""
_DAY: Final = dt.timedelta(days=1)


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a call may cost: `fixed + per_output_token * (max_tokens + reserve_tokens)` US dollars."""

    prompt_tokens: int
    """Tokens of the prompt, at the most."""
    fixed: Decimal | None
    """Dollars of the prompt and of fees; None where a price is not known."""
    per_output_token: Decimal | None
    """Dollars of each token of the answer; None where a price is not known."""
    reserve_tokens: int
    """Tokens of reasoning that may be billed beside `max_tokens`."""
    most_output: int | None
    """The model's longest answer in tokens; None where that is not known."""
    searches: int = 0
    """How many uses of tools that the vendor runs are in it, each with a whole window."""

    def cost(self, max_tokens: int) -> Decimal | None:
        """Dollars, for an answer of at most so many tokens; None where a price is not known."""
        if self.fixed is None or self.per_output_token is None:
            return None
        return EXACT.add(self.fixed, EXACT.multiply(self.per_output_token, max_tokens + self.reserve_tokens))

    def most_tokens(self, dollars: Decimal) -> int | None:
        """The most `max_tokens` that so many dollars pay; None where they cost nothing, or no price is known."""
        if self.fixed is None or not self.per_output_token:
            return None
        return int(EXACT.divide_int(EXACT.subtract(dollars, self.fixed), self.per_output_token)) - self.reserve_tokens


def worst_case(
    provider: BaseProvider, system_prompt: str, messages: Sequence[Message], options: Options | None = None
) -> Worst | None:
    """What a call may cost at the most, at the dearest tier, variant, hour and coming price; None where nothing bounds
    it, as with tools that the vendor runs as often as it likes.

    provider: a leaf; of another provider it is that which it asks first.
    """
    given = Options() if options is None else options
    if _ANSWERS & given.extra.keys():
        return None
    memory, info = provider.tokens, provider.get_model().info
    if info.max_tokens is None and not memory.row.takes_max_tokens:
        return None
    searches = 0
    prompt = memory.upper_bound(system_prompt, messages, given)
    if prompt is None:
        limited = _limited_uses(given, memory.row.limited_tools)
        plain = None if limited is None else msgspec.structs.replace(given, tools=limited[0])
        prompt = None if plain is None else memory.upper_bound(system_prompt, messages, plain)
        if limited is None or prompt is None or info.context_window is None:
            return None
        # Each pass reads all that was found before, and none reads more than the window.
        searches = limited[1]
        prompt = info.context_window * (searches + 1)
    sheets = list(_sheets(info, given, memory.row.unasked_variants))
    tiered = info.context_window if searches and info.context_window else prompt
    prices = [price for sheet in sheets for price in _applying(sheet, tiered)]
    extended = given.cache == "extended" or bool(given.extra)
    fixed = _dearest([_prompt_price(price, info, extended=extended) for price in prices], prompt, -6)
    if searches and fixed is not None:
        fee = _dearest([price.web_search_price for price in prices], searches, -3)
        fixed = None if fee is None else EXACT.add(fixed, fee)
    return Worst(
        prompt_tokens=prompt,
        fixed=fixed,
        per_output_token=_dearest([_output_price(price, info) for price in prices], 1, -6),
        reserve_tokens=0 if info.reasoning_modes == [] else memory.reasoning_reserve,
        most_output=info.max_tokens,
        searches=searches,
    )


def estimate_cost(
    provider: BaseProvider,
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None = None,
    *,
    upper_bound: bool = False,
) -> Decimal | None:
    """What a call will cost in US dollars; None where a price is not known.

    It is the price of the estimated prompt, nothing of it cached, and of an answer of `max_tokens`; without those, of
    the longest answer that the model gives. upper_bound: at the dearest prices that may apply, of a prompt of
    at most so many tokens; None also where nothing bounds it.
    """
    given = Options() if options is None else options
    info = provider.get_model().info
    longest = given.max_tokens
    if longest is None or not provider.tokens.row.takes_max_tokens:
        longest = info.max_tokens
    if longest is None:
        return None
    if upper_bound:
        worst = worst_case(provider, system_prompt, messages, given)
        return None if worst is None else worst.cost(longest)
    prompt = provider.tokens.estimate(system_prompt, messages, given)
    return provider.calculate_cost(UsageChunk(input_tokens=prompt, output_tokens=longest))


def check_window(
    provider: BaseProvider, system_prompt: str, messages: Sequence[Message], options: Options | None = None
) -> None:
    """Raise TokenLimitError for a prompt that surely fits into the window of none of the models that may be asked."""
    first: TokenLimitError | None = None
    for leaf in provider.leaves():
        model = leaf.get_model()
        window = model.info.context_window
        tokens = 0 if window is None else leaf.tokens.lower_bound(system_prompt, messages, options)
        if window is None or tokens <= window:
            return
        if first is None:
            first = TokenLimitError(f"not sent: the prompt has {tokens} tokens or more, and {model.id} takes {window}")
            first.tokens, first.limit, first.model = tokens, window, model.id
    if first is not None:
        raise first


def _limited_uses(options: Options, limited: Mapping[str, str]) -> tuple[list[Tool | Mapping[str, object]], int] | None:
    """The other tools, and how often those of the vendor may be used whose uses are limited; None where none are."""
    others: list[Tool | Mapping[str, object]] = []
    uses = 0
    for tool in options.tools:
        field = None if isinstance(tool, Tool) else _field_of(str(tool.get("type")), limited)
        most = None if field is None or isinstance(tool, Tool) else tool.get(field)
        if isinstance(most, int) and most > 0:
            uses += most
        else:
            others.append(tool)
    return (others, uses) if uses else None


def _field_of(kind: str, limited: Mapping[str, str]) -> str | None:
    return next((field for pattern, field in limited.items() if fnmatchcase(kind, pattern)), None)


def _sheets(info: ModelInfo, options: Options, unasked: Sequence[str]) -> Iterator[PriceSheet]:
    """The prices that may apply; an empty sheet for those that nobody knows."""
    asked = {field: options.extra.get(field) for field in _CHOICES}
    asked["service_tier"] = asked["service_tier"] or options.service_tier
    words = {word for word in asked.values() if isinstance(word, str)} - set(_ORDINARY)
    if asked["service_tier"] in (None, "auto"):
        words |= set(unasked)
    tomorrow = dt.datetime.now(dt.UTC).date() + _DAY  # the call may begin after midnight
    for prices, variants in (
        (info, info.variants),
        *((change, change.variants) for change in info.changes if change.from_date <= tomorrow),
    ):
        yield prices
        known = {name: sheet for name, sheet in variants.items() if set(name.split("+")) <= words}
        yield from known.values()
        if any(word not in unasked and all(word not in name.split("+") for name in known) for word in words):
            yield PriceSheet()


def _applying(sheet: PriceSheet, prompt_tokens: int) -> Iterator[Prices]:
    """Those of a sheet that may apply to a prompt of at most so many tokens."""
    yield sheet
    yield from sheet.hours
    yield from (tier for tier in sheet.tiers or () if tier.above_input_tokens < prompt_tokens)


def _prompt_price(prices: Prices, info: ModelInfo, *, extended: bool) -> Decimal | None:
    """The dearest of a token of the prompt; what has no price of its own has none that is dearer."""
    if prices.input_price is None:
        return None
    found = [prices.input_price, prices.cache_writes_price, prices.cache_reads_price, info.audio_input_price]
    found += [prices.cache_writes_extended_price] if extended else []
    return max(price for price in found if price is not None)


def _output_price(prices: Prices, info: ModelInfo) -> Decimal | None:
    if prices.output_price is None:
        return None
    return max(prices.output_price, info.audio_output_price or Decimal(0), info.image_output_price or Decimal(0))


def _dearest(prices: Sequence[Decimal | None], count: int, shift: int) -> Decimal | None:
    """Dollars for so many at the dearest price, which is one of 10^-shift; None if one is not known."""
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    return EXACT.multiply(max(known), count).scaleb(shift, EXACT)
