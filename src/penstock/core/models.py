"""What is known of a model: its price, its limits, its traits.

In JSON the keys are camelCase. Prices are US dollars per million tokens, exact decimals. None is unknown, never 0.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from penstock.core.errors import ConfigError

__all__ = [
    "DAYS",
    "PRICE_FIELDS",
    "Day",
    "FindInfo",
    "Model",
    "ModelInfo",
    "PriceChange",
    "PriceHours",
    "PriceSheet",
    "PriceTier",
    "Prices",
]


Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


_LARGEST: Final = 2000  # digits before or behind the point of a price; sums of many more could not be exact


class Prices(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """US dollars per million tokens. None: not known, and never 0.

    In Python an int, a float or a str is taken too, a float as it prints.
    """

    input_price: Decimal | None = None
    """Dollars per million tokens of the prompt that are neither read from a cache nor written to one."""
    output_price: Decimal | None = None
    """Dollars per million tokens of the answer, reasoning included."""
    cache_writes_price: Decimal | None = None
    """Dollars per million tokens written to the cache with the usual lifetime."""
    cache_writes_extended_price: Decimal | None = None
    """Dollars per million tokens written to the cache with the longer lifetime: 1 h at Anthropic, 12 h at OpenAI (read
    2026-11-21).
    """
    cache_reads_price: Decimal | None = None
    """Dollars per million tokens read from the cache."""
    web_search_price: Decimal | None = None
    """Dollars per thousand web searches."""

    def __post_init__(self) -> None:
        _check_prices(self, Prices.__struct_fields__)


def _check_prices(prices: Prices, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(prices, name)
        if value is None:
            continue
        try:
            price = value if isinstance(value, Decimal) else Decimal(str(value))
        except InvalidOperation:
            raise ConfigError(f"`{name}` is {value!r}, expected a number of dollars") from None
        if not price.is_finite() or price < 0 or abs(price.adjusted()) > _LARGEST:
            raise ConfigError(f"`{name}` is {value}, expected a price of 0 or more")
        if price is not value:
            msgspec.structs.force_setattr(prices, name, price)


class PriceTier(Prices, frozen=True, kw_only=True):
    """Prices of all tokens of a call whose prompt has more than `above_input_tokens` tokens (a cliff)."""

    above_input_tokens: Annotated[int, msgspec.Meta(ge=0)]
    """The tier holds for a call whose whole prompt, cached tokens included, is longer than this."""


class PriceHours(Prices, frozen=True, kw_only=True):
    """Prices of calls that begin at certain hours of the day."""

    from_time: Annotated[dt.time, msgspec.Meta(tz=False)] = msgspec.field(name="from")
    """The first moment of these prices, a UTC time such as `08:30:00`. In JSON it is called `from`."""
    to_time: Annotated[dt.time, msgspec.Meta(tz=False)] = msgspec.field(name="to")
    """The first moment after them; before `from`, it is one of the next day. In JSON it is called `to`."""
    days: Sequence[Day] | None = None
    """Days of the week in UTC, as `mon`; None for all."""


class PriceSheet(Prices, frozen=True, kw_only=True):
    """Prices with their tiers and hours."""

    tiers: Sequence[PriceTier] | None = None
    """Prices of calls with longer prompts. None: none are known, and then a variant of a model that has tiers has no
    price in a tier.
    """
    hours: Sequence[PriceHours] = ()
    """Hours with other prices. These prices cannot have tiers."""


class PriceChange(PriceSheet, frozen=True, kw_only=True):
    """The prices from a UTC date on, announced before. State all of them: what is left out is not known."""

    from_date: dt.date = msgspec.field(name="from")
    """The first day, in UTC. In JSON it is called `from`."""
    variants: Mapping[str, PriceSheet] = msgspec.field(default_factory=dict)
    """Prices of service tiers, speeds and regions from that day on, as in ModelInfo."""


class ModelInfo(PriceSheet, frozen=True, kw_only=True):
    """A model's prices, limits and traits. None: not known, and then it is not checked before sending."""

    variants: Mapping[str, PriceSheet] = msgspec.field(default_factory=dict)
    """Prices of the service tiers, speeds and regions that the vendor says it used, by its word: `priority`, `fast`,
    `us`. Several are joined by `+` in alphabetical order.
    """
    changes: Sequence[PriceChange] = ()
    """Prices that are announced for a later date."""
    audio_input_price: Decimal | None = None
    """Dollars per million tokens of sound in the prompt. Image and video tokens there have `input_price`."""
    audio_output_price: Decimal | None = None
    """Dollars per million tokens of sound in the answer."""
    image_output_price: Decimal | None = None
    """Dollars per million tokens of images in the answer."""
    regional_factor: Decimal | None = None
    """What the token prices are multiplied with at the vendor's regional hosts, which the dialect's row names; None
    where they are the same.
    """
    prices_as_of: dt.date | None = None
    """The day on which somebody read these prices; None when nobody has noted it, and then they are your own, which
    `penstock models --update` leaves alone.
    """
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Most tokens of an answer."""
    context_window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Most tokens of prompt and answer together."""
    min_cache_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Tokens of the shortest prefix that the vendor caches."""
    supports_images: bool | None = None
    """Takes images."""
    supports_sampling: bool | Literal["unless_reasoning"] | None = None
    """Takes temperature, top_p and top_k; `unless_reasoning` if not together with an effort of reasoning."""
    supports_prefill: bool | None = None
    """The history may end with the assistant's words, which the model continues."""
    supports_forced_tools: bool | Literal["unless_budget", "unless_reasoning"] | None = None
    """`tool_choice` may force a call; `unless_budget` if not with a budget of reasoning, `unless_reasoning` if only
    with reasoning `off`.
    """
    supports_cache_options: bool | None = None
    """Takes a lifetime and a mode for its prompt cache, as OpenAI's models do from gpt-5.6 on (read 2026-11-21)."""
    reasoning_modes: Sequence[Literal["adaptive", "budget", "off", "between_tools"]] | None = None
    """What turns reasoning on and off; empty: the model cannot reason."""
    efforts: Sequence[Literal["minimal", "low", "medium", "high", "xhigh", "max"]] | None = None
    """The efforts of reasoning that it takes."""
    supports_tools: bool | None = None
    """Calls tools. It is here for whoever chooses a model: nothing is refused for it, nor for the two that follow."""
    supports_schema: bool | None = None
    """Fits its answer to a schema."""
    supports_documents: bool | None = None
    """Takes documents, such as PDFs."""
    display_name: str | None = None
    """Its name for people."""
    retires: dt.date | Mapping[str, dt.date] | None = None
    """The day on which its vendor stops answering for it; or such days by platform, as `bedrock`, with the vendor's own
    under `direct`: what is retired there may still be sold elsewhere.
    """
    replaced_by: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The model that its vendor names in its place. Nothing is ever swapped for it."""

    def prices_on(self, day: dt.date) -> ModelInfo | PriceChange:
        """What holds the prices of a UTC day: the latest change until then, else this."""
        due = (change for change in self.changes if change.from_date <= day)
        return max(due, key=lambda change: change.from_date, default=self)

    def retirement(self, platform: str | None = None) -> dt.date | None:
        """The day on which *platform* stops answering for it, None where none is known; without one, its vendor."""
        if isinstance(self.retires, Mapping):
            return self.retires.get(platform or "direct")
        return self.retires if platform is None else None

    def is_retired(self, today: dt.date, platform: str | None = None) -> bool:
        """Whether that day has come, as far as one is known."""
        day = self.retirement(platform)
        return day is not None and day <= today

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_prices(self, ("audio_input_price", "audio_output_price", "image_output_price", "regional_factor"))


PRICE_FIELDS: Final = (
    *PriceSheet.__struct_fields__,
    *("variants", "changes", "audio_input_price", "audio_output_price", "image_output_price", "regional_factor"),
    "prices_as_of",
)
"""The fields of ModelInfo that say what a model costs, and since when; all others hold wherever it runs."""


FindInfo: TypeAlias = Callable[[str], ModelInfo | None]
"""What is known of a model by its id, None where nothing is."""


class Model(msgspec.Struct, frozen=True):
    """A model's id and what is known of it. All that follows `info` is told by `list_models` only."""

    id: str
    """As its vendor spells it; empty where a provider does not say."""
    info: ModelInfo
    """Its prices, limits and traits."""
    listed: Literal["live", "catalogue"] | None = None
    """Who says that there is such a model: `live`, its vendor, which was asked; `catalogue`, only the packaged one, as
    the vendor did not answer or has no list. None where nobody was asked.
    """
    prices_from: Literal["local", "vendor"] | None = None
    """Whose the prices in `info` are: `local`, those of models.json, else of the packaged catalogue; `vendor`, what its
    list says on the day of `prices_as_of`. None where there are none.
    """
    created: dt.date | None = None
    """The day since which there is such a model, None where its vendor does not say."""
    loaded: bool | None = None
    """Whether a server of one's own has it in its memory, None where it does not say."""
    aliases: Sequence[str] = ()
    """Other ids under which its vendor answers for it."""
