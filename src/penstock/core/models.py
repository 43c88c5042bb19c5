"""What is known of a model: its price, its limits, its traits; and the shape of models.json.

In JSON the keys are camelCase. Prices are US dollars per million tokens, exact decimals. None is unknown, never 0.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from penstock.core.dialect import Dialect, Wire, check_base_url, without_userinfo
from penstock.core.errors import ConfigError
from penstock.core.messages import Deadlines
from penstock.core.validation import check_count, check_seconds

__all__ = [
    "DAYS",
    "CircuitBreakerTable",
    "Day",
    "Model",
    "ModelEntry",
    "ModelInfo",
    "ModelsConfig",
    "ModelsFile",
    "PriceChange",
    "PriceHours",
    "PriceSheet",
    "PriceTier",
    "Prices",
    "ProviderConfig",
    "RateLimitTable",
    "RetryTable",
]


Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


_LARGEST: Final = 2000  # digits before or behind the point of a price; sums of many more could not be exact


class Prices(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """US dollars per million tokens; `web_search_price` per thousand searches. None: not known.

    In Python an int, a float or a str is taken too, a float as it prints.
    """

    input_price: Decimal | None = None
    output_price: Decimal | None = None
    cache_writes_price: Decimal | None = None
    cache_writes_extended_price: Decimal | None = None
    cache_reads_price: Decimal | None = None
    web_search_price: Decimal | None = None

    def __post_init__(self) -> None:
        for name in Prices.__struct_fields__:
            value = getattr(self, name)
            if value is None:
                continue
            try:
                price = value if isinstance(value, Decimal) else Decimal(str(value))
            except InvalidOperation:
                raise ConfigError(f"`{name}` is {value!r}, expected a number of dollars") from None
            if not price.is_finite() or price < 0 or abs(price.adjusted()) > _LARGEST:
                raise ConfigError(f"`{name}` is {value}, expected a price of 0 or more")
            if price is not value:
                msgspec.structs.force_setattr(self, name, price)


class PriceTier(Prices, frozen=True, kw_only=True):
    """Prices of all tokens of a call whose prompt has more than `above_input_tokens` tokens (a cliff)."""

    above_input_tokens: Annotated[int, msgspec.Meta(ge=0)]


class PriceHours(Prices, frozen=True, kw_only=True):
    """Prices of calls that begin between two UTC times of the day, the second excluded; past midnight if it is less.

    days: of the week, in UTC; None for all.
    """

    from_time: Annotated[dt.time, msgspec.Meta(tz=False)] = msgspec.field(name="from")
    to_time: Annotated[dt.time, msgspec.Meta(tz=False)] = msgspec.field(name="to")
    days: Sequence[Day] | None = None


class PriceSheet(Prices, frozen=True, kw_only=True):
    """Prices with their tiers and hours. tiers: None: none are known; a variant of a tiered model then has no price in
    a tier. hours: times of the day at which other prices hold, without tiers.
    """

    tiers: Sequence[PriceTier] | None = None
    hours: Sequence[PriceHours] = ()


class PriceChange(PriceSheet, frozen=True, kw_only=True):
    """The prices from a UTC date on, announced before. They stand alone: what is not stated is not known."""

    from_date: dt.date = msgspec.field(name="from")
    variants: Mapping[str, PriceSheet] = msgspec.field(default_factory=dict)


class ModelInfo(PriceSheet, frozen=True, kw_only=True):
    """A model's prices, limits and traits. None: not known, and then it is not checked before sending.

    variants: prices of the service tiers, speeds and regions that the vendor says it used (`priority`, `fast`, `us`;
        several are joined by `+` in alphabetical order). changes: announced prices.
    prices_as_of: the day on which somebody read these prices.
    max_tokens: most output tokens. context_window: most tokens of prompt and answer.
    min_cache_tokens: the shortest prefix that the vendor caches.
    supports_sampling: takes temperature, top_p, top_k; `unless_reasoning` if not with an effort of reasoning.
    supports_prefill: the history may end with the assistant.
    supports_forced_tools: tool_choice may force a call; `unless_budget` if not with a budget of reasoning,
        `unless_reasoning` if only with reasoning `off`.
    supports_cache_options: takes a lifetime and a mode for its prompt cache (OpenAI, from gpt-5.6 on).
    reasoning_modes: what turns reasoning on and off; empty: it cannot reason. efforts: the efforts it takes.
    """

    variants: Mapping[str, PriceSheet] = msgspec.field(default_factory=dict)
    changes: Sequence[PriceChange] = ()
    prices_as_of: dt.date | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    context_window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    min_cache_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    supports_images: bool | None = None
    supports_sampling: bool | Literal["unless_reasoning"] | None = None
    supports_prefill: bool | None = None
    supports_forced_tools: bool | Literal["unless_budget", "unless_reasoning"] | None = None
    supports_cache_options: bool | None = None
    reasoning_modes: Sequence[Literal["adaptive", "budget", "off", "between_tools"]] | None = None
    efforts: Sequence[Literal["minimal", "low", "medium", "high", "xhigh", "max"]] | None = None


class Model(msgspec.Struct, frozen=True):
    """A model's id, as its vendor spells it, and what is known of it."""

    id: str
    info: ModelInfo


class ProviderConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What a provider needs to know.

    model_info: None when nothing is known; `open_provider` then looks into the packaged catalogue.
    api_key: None for the SDK's own search (environment, profiles); in models.json a literal, `${ENV}`, or
        `keyring:SERVICE/USER`. base_url: None for the vendor's own, else used as given.
    wire: which API of the vendor; None for its default. headers: sent with every request.
    """

    model_id: Annotated[str, msgspec.Meta(min_length=1)]
    model_info: ModelInfo | None = None
    api_key: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    base_url: str | None = None
    wire: Wire | None = None
    deadlines: Deadlines = Deadlines()
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        if not isinstance(self.deadlines, Deadlines):
            raise ConfigError(f"`deadlines` is {self.deadlines!r}, expected Deadlines(...)")

    def __repr__(self) -> str:
        """All fields but the key, what the headers hold, and a password in the URL."""
        key = "'***'" if self.api_key else None
        return (
            f"ProviderConfig(model_id={self.model_id!r}, api_key={key}, "
            f"base_url={without_userinfo(self.base_url)!r}, "
            f"wire={self.wire!r}, headers={sorted(self.headers)}, model_info={self.model_info!r})"
        )

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What `rich` prints: as above."""
        return [("", repr(self))]


class _Table(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A table of models.json that builds a middleware. Its defaults are the middleware's own."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None or isinstance(value, bool):
                continue
            (check_seconds if name in _SECONDS else check_count)(name, value)


_SECONDS: Final = ("max_wait", "base", "window", "pause")


class RetryTable(_Table, frozen=True, kw_only=True):
    """See penstock.middleware.Retry; seconds."""

    attempts: int = 3
    max_wait: float = 60.0
    base: float = 0.5


class CircuitBreakerTable(_Table, frozen=True, kw_only=True):
    """See penstock.middleware.CircuitBreaker; seconds."""

    failures: int = 5
    window: float = 60.0
    pause: float = 30.0


class RateLimitTable(_Table, frozen=True, kw_only=True):
    """See penstock.middleware.RateLimit; max_wait in seconds. One of the limits has to be given."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    count_cache_reads: bool = True
    max_wait: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ConfigError("`requests_per_minute` is not given and tokensPerMinute neither, expected one of them")


class ModelEntry(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """One alias of models.json.

    provider: `anthropic` or the name of a dialect. dialect: of a server that none describes; only for the provider
        `openai-compatible`, whose row holds for what it leaves out.
    circuit_breaker, retry, rate_limit, concurrency: the middleware around it, from the outermost to the innermost;
        None for none. fallback: aliases to ask in turn if it fails, each with its own middleware.
    """

    provider: str
    provider_config: ProviderConfig
    dialect: Dialect | None = None
    enabled: bool = True
    retry: RetryTable | None = None
    circuit_breaker: CircuitBreakerTable | None = None
    rate_limit: RateLimitTable | None = None
    concurrency: int | None = None
    fallback: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)


class ModelsFile(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """models.json as it is written. active: the alias that is used when none is named."""

    active: str
    models: Mapping[str, ModelEntry]
    schema_url: str | None = msgspec.field(name="$schema", default=None)


class ModelsConfig(ModelsFile, frozen=True, kw_only=True):
    """A models.json that has been read. Neither of these is written back.

    source: its file, None for the packaged default. untrusted: why `open_provider` refuses to open anything of it: the
        file was only found, not named, and asks for more than a file may that nobody has trusted. None where it may.
    """

    source: Path | None = None
    untrusted: str | None = None
