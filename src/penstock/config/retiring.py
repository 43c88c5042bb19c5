"""Warns of a model that its vendor retires, once in a process."""

from __future__ import annotations

import datetime as dt

from penstock.config.entries import ModelEntry, ModelsConfig
from penstock.config.finding import info_of, platform_of
from penstock.config.platforms import info_finder
from penstock.core.retirement import retirement_notice

__all__ = ["retirement_of", "warn_of_retirement"]

_warned: set[str] = set()


def retirement_of(entry: ModelEntry, config: ModelsConfig, today: dt.date | None = None) -> str | None:
    """That the entry's model retires within 30 days, or has retired; None if neither is known.

    today: None for the day it is, in UTC.
    """
    info = info_of(entry)
    if info.retires is None:
        return None
    day = dt.datetime.now(dt.UTC).date() if today is None else today
    model_id = entry.provider_config.model_id
    return retirement_notice(model_id, info, info_finder(entry, config), day, platform_of(entry))


def warn_of_retirement(entry: ModelEntry, config: ModelsConfig) -> None:
    """Warn in the log `penstock` if the entry's model retires soon or has retired. Nothing is swapped.

    It is no Python warning: those are errors in many a test suite, and a date in a table must not break one.
    """
    notice, model = retirement_of(entry, config), entry.provider_config.model_id
    if notice is not None and model not in _warned:
        import logging  # for the few who have such a model

        _warned.add(model)
        logging.getLogger("penstock").warning("%s", notice)
