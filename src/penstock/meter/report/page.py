"""The page: one HTML file that loads nothing and runs nothing, for screens, phones and paper."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from importlib.resources import files
from typing import Final

from penstock.core.chunks import UsageChunk
from penstock.core.errors import ConfigError
from penstock.meter.entries import Total, to_the_minute
from penstock.meter.report.figures import Figures, Speed
from penstock.meter.sums import Chosen, format_count, summed

__all__ = ["page"]

KINDS: Final[dict[str, Callable[[UsageChunk], int]]] = {
    "Prompt, not cached": lambda usage: usage.input_tokens,
    "Written to the cache": lambda usage: usage.cache_write_tokens,
    "Read from the cache": lambda usage: usage.cache_read_tokens,
    "Reasoning": lambda usage: usage.reasoning_tokens,
    "Answer": lambda usage: usage.output_tokens - usage.reasoning_tokens,
}
"""What tokens are counted as; no token in two of them."""
SPEEDS: Final[dict[str, Callable[[Speed], tuple[float, float] | None]]] = {
    "To the first chunk": lambda speed: speed.first_chunk,
    "To the end": lambda speed: speed.seconds,
}
"""What is timed."""
_WIDE: Final = Context(prec=100)


def page(shown: Figures, *, ledger: str, chosen: Chosen, now: dt.datetime) -> str:
    """The whole page as text; ConfigError where what draws it is not installed.

    ledger: the name of the ledger, as the reader knows it.
    """
    try:
        from jinja2 import Environment, StrictUndefined

        import penstock.meter.report.charts  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"a page needs {error.name}: pip install 'penstock[report]'") from error
    money = _Money(shown.total.usage.known_cost)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cost": money.cost, "dollars": money.dollars, "count": format_count}
    environment.filters |= {"share": _share, "seconds": _seconds, "day": _label}
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text("utf-8"))
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    return template.render(
        shown=shown,
        style=style,
        ledger=ledger,
        where=[(name, " or ".join(value for value in values if value)) for name, values in chosen.where.items()],
        since=to_the_minute(chosen.since) or "the first call",
        until=to_the_minute(chosen.until) or f"{now:%Y-%m-%d %H:%M}",
        kinds=KINDS,
        speeds=SPEEDS,
        charts=_charts(shown, money) if shown.total.calls else {},
    )


class _Money:
    """Dollars with the same number of decimals everywhere on the page, so that they can be compared."""

    def __init__(self, whole: Decimal) -> None:
        self.places = 2 if whole >= 1 else 4 if whole >= Decimal("0.01") else 6

    def dollars(self, value: Decimal | float, rounding: str = ROUND_HALF_EVEN) -> str:
        """Rounded; what would be rounded to nothing is said to be less than the least."""
        least = Decimal(1).scaleb(-self.places)
        if 0 < value < least / 2 and rounding == ROUND_HALF_EVEN:
            return f"<${least:f}"
        rounded = Decimal(value).quantize(least, rounding, _WIDE)
        return f"{'-' if rounded < 0 else ''}${abs(rounded):,f}"

    def cost(self, usage: UsageChunk) -> str:
        """What a bill is, or what it is at least."""
        if usage.unsettled <= 0:
            return self.dollars(usage.known_cost)
        return f"≥ {self.dollars(usage.known_cost, ROUND_DOWN)}"


def _charts(shown: Figures, money: _Money) -> dict[str, str]:
    from penstock.meter.report.charts import across, over_time  # which needs pygal

    def dollars(value: float) -> str:
        return money.dollars(value).removesuffix(".00")

    def tokens(value: float) -> str:
        return format_count(round(value)).replace(".00", "")

    def seconds(value: float) -> str:
        return _seconds(value).replace(".00", "")

    labels = [_label(start, shown.step) for start in shown.starts]
    columns = [summed(row[place] for _, row, _ in shown.models) for place in range(len(labels))]
    drawn = {
        "models": over_time(labels, [(name, [_float(each) for each in row]) for name, row, _ in shown.models], dollars),
        "kinds": over_time(
            labels, [(name, [tally(each.usage) for each in columns]) for name, tally in KINDS.items()], tokens
        ),
    }
    for place, tag in enumerate(shown.tags):
        if len(tag.values) < 2:
            continue
        values = [_float(total) for _, total in tag.values]
        drawn[f"tag {place}"] = across([name for name, _ in tag.values], [(tag.name, values)], dollars)
    saved = [(name, float(total.saved)) for name, _, total in shown.models]
    if any(value for _, value in saved):
        drawn["saved"] = across([name for name, _ in saved], [("saved", [value for _, value in saved])], dollars)
    if shown.errors:
        attempts = [total.calls for _, total in shown.errors]
        drawn["errors"] = across([name for name, _ in shown.errors], [("attempts", attempts)], tokens)
    if shown.speeds:
        names = [speed.model for speed in shown.speeds]
        for title, measured in SPEEDS.items():
            pairs = [measured(speed) or (None, None) for speed in shown.speeds]
            rows = [("median", [pair[0] for pair in pairs]), ("95th percentile", [pair[1] for pair in pairs])]
            drawn[title] = across(names, rows, seconds)
    return drawn


def _label(start: dt.date, step: str) -> str:
    return f"{start:%b %Y}" if step == "month" else f"{start:%b} {start.day}"


def _float(total: Total) -> float:
    return float(total.usage.known_cost)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f} s"


def _share(part: Decimal | int, whole: Decimal | int) -> str:
    """Of nothing there is no share."""
    return f"{float(part) / float(whole):.1%}" if whole > 0 else ""
