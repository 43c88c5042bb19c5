"""A ready listener: one line of a log for each event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from penstock.core.cost import format_dollars
from penstock.core.errors import ProviderError
from penstock.middleware.events import CircuitOpened, Completed, DroppedOption, Ended, Event, Listener, StoreLost

if TYPE_CHECKING:
    import logging

__all__ = ["log_events"]

_LONGEST: Final = 80
"""Characters that are shown of a name, an id or a tag: whoever makes them up must not fill the log."""
_SHOWN: Final = (
    "name", "option", "status", "on", "store", "local", "seconds", "turn", "turns", "state", "is_error",
    "missed_tokens",
)  # fmt: skip
"""Fields that are shown of whatever event has them."""


def log_events(logger: logging.Logger | None = None, *, level: int | None = None) -> Listener:
    """A listener that writes each event on a line: errors as WARNING, the last of a call with tokens and dollars at
    *level*, as what a lenient call leaves out, all else as DEBUG.

    logger: None for the one called `penstock`. level: None for INFO. An error is shown by its class, status, code and
    request id and not by its message, in which a vendor may quote the prompt. Tags are shown, in quotes.
    """
    import logging  # with the first who logs

    to = logging.getLogger("penstock") if logger is None else logger
    ends = logging.INFO if level is None else level

    def listener(event: Event) -> None:
        if getattr(event, "error", None) is not None or isinstance(event, CircuitOpened | StoreLost):
            at = logging.WARNING
        else:
            at = ends if isinstance(event, Ended | DroppedOption) else logging.DEBUG
        if to.isEnabledFor(at):
            to.log(at, "%s", " ".join(_words(event)))

    return listener


def _words(event: Event) -> Iterator[str]:
    yield f"{event.call} {event.__struct_config__.tag}"
    yield _safe("/".join(filter(None, (event.alias, event.vendor, event.model))) or "?")
    if isinstance(event, Completed) and event.answered not in (None, event.model):
        yield f"answered={_safe(event.answered or '')}"
    if event.attempt > 1:
        yield f"attempt={event.attempt}"
    if event.run is not None:
        yield f"run={_safe(event.run)}"
    for name in _SHOWN:
        value = getattr(event, name, None)
        if value is not None:
            yield f"{name}={value:.3f}" if isinstance(value, float) else f"{name}={_safe(str(value))}"
    if isinstance(event, Ended):
        yield from _end(event)
    error = getattr(event, "error", None)
    if error is not None:
        yield f"error={type(error).__name__}"
    if isinstance(error, ProviderError):
        facts = ("status", error.status), ("code", error.code), ("retry_after", error.retry_after)
        yield from (f"{name}={_safe(str(value))}" for name, value in facts if value is not None)
    request_id = getattr(event, "request_id", None)
    if request_id is not None:
        yield f"request={_safe(request_id)}"
    yield from (f"{_safe(name)}={_quoted(value)}" for name, value in event.tags.items())


def _end(event: Ended) -> Iterator[str]:
    usage = event.usage
    yield f"time={event.time:.3f}"
    if event.first_chunk is not None:
        yield f"first_chunk={event.first_chunk:.3f}"
    yield f"prompt_tokens={usage.prompt_tokens} output_tokens={usage.output_tokens} cost={format_dollars(usage)!r}"
    if isinstance(event, Completed):
        yield f"stop={event.stop.reason}"


def _safe(text: str) -> str:
    """*text* as one word on one line: a space is a `_`, and what is no visible character an escape."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in _cut(text).replace(" ", "_"))


def _quoted(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
