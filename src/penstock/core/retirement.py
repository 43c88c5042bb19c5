"""What is said of a model that its vendor retires: before the day in a warning, after it in an error's hint."""

from __future__ import annotations

import datetime as dt
from typing import Final

from penstock.core.cost import format_dollars
from penstock.core.models import FindInfo, ModelInfo

__all__ = ["NOTICE", "retirement_hint", "retirement_notice"]

NOTICE: Final = dt.timedelta(days=30)
"""How long before its last day a model is warned of."""


def retirement_notice(
    model_id: str, info: ModelInfo, find_info: FindInfo | None, today: dt.date, platform: str | None = None
) -> str | None:
    """That a model retires within 30 days of *today*, or has retired; None for one of which that is not known.

    find_info: what is known of the model that comes in its place. platform: where it is asked, None for its vendor.
    """
    day = info.retirement(platform)
    if day is None or day - today > NOTICE:
        return None
    days = (day - today).days
    when = f"retired on {day}" if days <= 0 else f"retires on {day}, in {days} {'day' if days == 1 else 'days'}"
    return f"{model_id} {when}{_instead(info, find_info)}"


def retirement_hint(
    model_id: str, info: ModelInfo, find_info: FindInfo | None, today: dt.date, platform: str | None = None
) -> str | None:
    """What to do if a model is not there any more; None where no day and no successor are known."""
    day = info.retirement(platform)
    if day is None and info.replaced_by is None:
        return None
    when = "may be retired" if day is None else f"{'retires' if day > today else 'retired'} on {day}"
    return f"{model_id} {when}{_instead(info, find_info)}."


def _instead(info: ModelInfo, find_info: FindInfo | None) -> str:
    """The successor with its price beside that of the model itself: it may cost more, so nothing is ever swapped."""
    if info.replaced_by is None:
        return ""
    found = find_info(info.replaced_by) if find_info is not None else None
    new, old = _price(found), _price(info)
    price = "" if new is None else f" at {new} per million tokens{f' (yours: {old})' if old is not None else ''}"
    return f"; its vendor names {info.replaced_by} in its place{price}"


def _price(info: ModelInfo | None) -> str | None:
    if info is None or info.input_price is None or info.output_price is None:
        return None
    return f"{format_dollars(info.input_price)} in and {format_dollars(info.output_price)} out"
