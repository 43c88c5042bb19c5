"""What a call may cost at the most: by the table of its prices, and against what recorded calls did cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from counted import Counted, counted
from penstock import (
    BaseProvider,
    Chunk,
    Message,
    Model,
    ModelInfo,
    Options,
    PriceChange,
    PriceSheet,
    PriceTier,
    Tool,
    UsageChunk,
    catalog,
    estimate_cost,
)
from penstock.config.catalog import known_info
from penstock.core.bounds import check_window, worst_case
from penstock.core.dialect import Dialect
from penstock.core.errors import TokenLimitError
from penstock.core.models import PriceHours
from penstock.core.tokens import TokenMemory
from penstock.middleware import Fallback
from penstock.wire.vendors import DIALECTS
from reading import attempt, attempt_openai

ASK = [Message("user", "Hi")]
PLAIN = ModelInfo(input_price=2, output_price=10, max_tokens=1_000, context_window=100_000)  # type: ignore[arg-type]
LONG = "Some words of a text. " * 3000
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


class Priced(BaseProvider):
    """A leaf that is never asked."""

    def __init__(self, info: ModelInfo, row: str | Dialect = "openai-compatible", model: str = "m") -> None:
        self._model = Model(model, info)
        self._row = DIALECTS[row] if isinstance(row, str) else row

    def get_model(self) -> Model:
        """See BaseProvider."""
        return self._model

    def _new_tokens(self) -> TokenMemory:
        return TokenMemory(self._model.id, self._row)

    def create_message(
        self, system_prompt: str, messages: Sequence[Message], options: Options | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """See BaseProvider."""
        raise NotImplementedError


def priced(**more: Any) -> ModelInfo:
    """PLAIN and more."""
    return ModelInfo(**{name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__} | more)


def sheet(prompt: Any, answer: Any, **more: Any) -> PriceSheet:
    return PriceSheet(input_price=prompt, output_price=answer, **more)


TODAY = dt.datetime.now(dt.UTC).date()
LATER = TODAY + dt.timedelta(days=30)
HOURS = PriceHours(from_time=dt.time(8), to_time=dt.time(9), input_price=Decimal(4), output_price=Decimal(20))
CHANGE: dict[str, Any] = {"input_price": Decimal(5), "output_price": Decimal(11)}
# What is known of a model, what is asked for, and the dearest prices of a token of the prompt and of the answer.
PRICES: dict[str, tuple[ModelInfo, Options, Any, Any]] = {
    "plain": (PLAIN, Options(), 2, 10),
    "a write to the cache": (priced(cache_writes_price=3), Options(), 3, 10),
    "a long write": (priced(cache_writes_extended_price=4), Options(cache="extended"), 4, 10),
    "no long write": (priced(cache_writes_extended_price=4), Options(), 2, 10),
    "sound": (priced(audio_input_price=9, audio_output_price=30), Options(), 9, 30),
    "dear hours": (priced(hours=[HOURS]), Options(), 4, 20),
    "a tier within reach": (
        priced(tiers=[PriceTier(above_input_tokens=100, input_price=6, output_price=12)]),  # type: ignore[arg-type]
        Options(),
        6,
        12,
    ),
    "a tier out of reach": (
        priced(tiers=[PriceTier(above_input_tokens=90_000, input_price=6, output_price=12)]),  # type: ignore[arg-type]
        Options(),
        2,
        10,
    ),
    "a change today": (priced(changes=[PriceChange(from_date=TODAY, **CHANGE)]), Options(), 5, 11),
    "a change at midnight": (
        priced(changes=[PriceChange(from_date=TODAY + dt.timedelta(days=1), **CHANGE)]),
        Options(),
        5,
        11,
    ),
    "a change next month": (priced(changes=[PriceChange(from_date=LATER, **CHANGE)]), Options(), 2, 10),
    "a variant that is not asked for": (priced(variants={"fast": sheet(7, 70)}), Options(), 2, 10),
    "a variant by its tier": (priced(variants={"fast": sheet(7, 70)}), Options(service_tier="fast"), 7, 70),
    "a variant by a raw field": (priced(variants={"fast": sheet(7, 70)}), Options(extra={"speed": "fast"}), 7, 70),
    "half of two variants": (
        priced(variants={"fast+us": sheet(8, 80), "fast": sheet(7, 70)}),
        Options(service_tier="fast"),
        7,
        70,
    ),
    "a cheap variant": (priced(variants={"flex": sheet(1, 5)}), Options(service_tier="flex"), 2, 10),
    "a variant of which nothing is known": (PLAIN, Options(service_tier="fast"), None, None),
    "the standard one": (PLAIN, Options(service_tier="default"), 2, 10),
    "no price of the prompt": (ModelInfo(output_price=Decimal(10)), Options(), None, 10),
    "no price of the answer": (ModelInfo(input_price=Decimal(2)), Options(), 2, None),
}


@pytest.mark.parametrize(("info", "options", "prompt", "answer"), PRICES.values(), ids=PRICES)
def test_the_dearest_prices_that_may_apply(info: ModelInfo, options: Options, prompt: Any, answer: Any) -> None:
    """And none that cannot."""
    provider = Priced(info)
    worst = worst_case(provider, "", ASK, options)
    assert worst is not None
    assert worst.prompt_tokens == provider.tokens.upper_bound("", ASK, options)
    assert worst.fixed == (None if prompt is None else Decimal(prompt) * worst.prompt_tokens / 10**6)
    assert worst.per_output_token == (None if answer is None else Decimal(answer) / 10**6)
    assert (worst.most_output, worst.reserve_tokens) == (info.max_tokens, 0)
    known = worst.fixed is not None and worst.per_output_token is not None
    assert (worst.cost(100) is None) is not known
    assert estimate_cost(provider, "", ASK, options, upper_bound=True) == (
        worst.cost(info.max_tokens) if info.max_tokens else None
    )


def test_what_applies_unasked_at_a_vendor() -> None:
    """An account's own settings may choose it, unless the request does."""
    info = priced(variants={"priority": sheet(4, 20)})
    for options, price in ((Options(), 4), (Options(service_tier="auto"), 4), (Options(service_tier="default"), 2)):
        worst = worst_case(Priced(info, "openai"), "", ASK, options)
        assert worst is not None
        assert worst.fixed == Decimal(price) * worst.prompt_tokens / 10**6


OPEN: dict[str, tuple[str, str, Options]] = {
    "a search without a limit": ("anthropic", "claude-sonnet-5-5", Options(tools=[SEARCH])),
    "one of two without": (
        "anthropic",
        "claude-sonnet-5-5",
        Options(tools=[{**SEARCH, "max_uses": 2}, {"type": "web_fetch_20250910", "name": "web_fetch"}]),
    ),
    "a server of tools": ("anthropic", "claude-sonnet-5-5", Options(extra={"mcp_servers": [{"url": "https://x"}]})),
    "tools of another server": ("openai", "gpt-6.1-sol", Options(tools=[{"type": "mcp", "server_label": "x"}])),
    "a model that searches": ("groq", "groq/compound", Options()),
    "a history that is kept elsewhere": ("openai", "gpt-6.1-sol", Options(extra={"previous_response_id": "r"})),
}


@pytest.mark.parametrize(("row", "model", "options"), OPEN.values(), ids=OPEN)
def test_what_nothing_bounds(row: str, model: str, options: Options) -> None:
    """260 bytes were billed as 139,014 tokens."""
    provider = Priced(PLAIN, row, model)
    assert worst_case(provider, "", ASK, options) is None
    assert estimate_cost(provider, "", ASK, options, upper_bound=True) is None
    assert estimate_cost(provider, "", ASK, options) is not None


def test_a_limited_search_reads_the_window_each_time() -> None:
    """And has its fees."""
    tools: list[Tool | Mapping[str, object]] = [{**SEARCH, "max_uses": 3}, Tool(name="f")]
    worst = worst_case(Priced(priced(web_search_price=10), "anthropic"), "", ASK, Options(tools=tools))
    assert worst is not None
    assert worst.prompt_tokens == 400_000
    assert worst.fixed == Decimal(2) * 400_000 / 10**6 + Decimal("0.03")
    no_window = ModelInfo(input_price=Decimal(2), output_price=Decimal(10))
    assert worst_case(Priced(no_window, "anthropic"), "", ASK, Options(tools=tools)) is None


def test_the_likely_cost() -> None:
    """Nothing cached, and an answer as long as it may be."""
    provider = Priced(PLAIN)
    tokens = provider.tokens.estimate("", ASK)
    assert estimate_cost(provider, "", ASK) == (Decimal(2) * tokens + Decimal(10) * 1000) / 10**6
    assert estimate_cost(provider, "", ASK, Options(max_tokens=5)) == (Decimal(2) * tokens + 50) / 10**6
    assert estimate_cost(Priced(ModelInfo()), "", ASK) is None


def test_a_prompt_that_surely_does_not_fit() -> None:
    """By what the vendor has counted, or by more text than any tokenizer makes fit; what may fit is sent."""
    provider = Priced(ModelInfo(context_window=1000))
    check_window(provider, "", ASK)
    check_window(provider, "", [Message("user", "Some words of a text. " * 300)])  # 1,500 tokens by the guess
    with pytest.raises(TokenLimitError) as raised:
        check_window(provider, "", [Message("user", LONG)])
    assert raised.value.tokens is not None
    assert raised.value.tokens > 1000
    assert (raised.value.limit, raised.value.status) == (1000, None)
    provider.tokens.remember("", ASK, None, UsageChunk(input_tokens=1001))
    with pytest.raises(TokenLimitError):
        check_window(provider, "", ASK)
    check_window(Priced(ModelInfo()), "", [Message("user", "x y " * 10_000)])  # a window that is not known
    check_window(Fallback(provider, Priced(ModelInfo(context_window=2000))), "", ASK)
    with pytest.raises(TokenLimitError):
        check_window(Fallback(provider, Priced(ModelInfo(context_window=1))), LONG, ASK)


def billed(one: Counted, row: dict[str, Any], info: ModelInfo) -> Decimal | None:
    """What a recorded answer did cost, None where that is not known."""
    body = [row["response_body"].encode()]
    if one.wire == "messages":
        chunks, error = attempt(body, info)
    else:
        chunks, error = attempt_openai(body, one.vendor, "chat" if one.wire == "chat" else "responses", info)
    bill = sum((chunk for chunk in chunks if isinstance(chunk, UsageChunk)), UsageChunk())
    return bill.cost if error is None and bill.output_tokens else None


def test_no_recorded_call_cost_more_than_its_worst_case(corpus: list[dict[str, Any]]) -> None:
    """Of those whose price is known, by the vendor or by the catalogue."""
    rows = {row["id"]: row for row in corpus}
    compared = 0
    for one in counted(corpus):
        info = known_info(one.vendor, one.model, catalog())
        longest = one.options.max_tokens or (None if info is None else info.max_tokens)
        cost = None if info is None or longest is None else billed(one, rows[one.id], info)
        if info is None or longest is None or cost is None:
            continue
        provider = Priced(info, one.vendor, one.model)
        worst = worst_case(provider, one.system, one.messages, one.options)
        most = None if worst is None else worst.cost(longest)
        if most is not None:
            compared += 1
            assert cost <= most, (one.id, cost, most)
    assert compared > 700
