"""What a listener is told: one frozen struct for each thing that happens to a call.

Observe tells how a call goes; Retry and Fallback tell what they do about failures. A listener is called in the task
that reads the stream, so a caller's context variables are there; of a stream that was dropped, where it is finalised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from penstock.core.chunks import StopChunk, UsageChunk
from penstock.core.errors import ProviderError

__all__ = [
    "Abandoned",
    "AttemptFailed",
    "Completed",
    "Event",
    "Failed",
    "FallbackTo",
    "FirstChunk",
    "HeadersSeen",
    "Listener",
    "RetryScheduled",
    "Started",
    "UsageReported",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One thing that happened to one call.

    call: the number of the call at the middleware that tells it, from 1. time: seconds since that middleware began the
    call, of a monotonic clock. model: the id of the model that was asked.
    """

    call: int
    time: float
    model: str


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The first chunk was asked for. What is inside may wait before it sends."""


class HeadersSeen(Event, frozen=True, kw_only=True, tag="headers_seen"):
    """An answer began, or a refusal. wait: see penstock.ResponseHead."""

    status: int
    request_id: str | None = None
    wait: float | None = None


class FirstChunk(Event, frozen=True, kw_only=True, tag="first_chunk"):
    """The first chunk came that is not usage."""


class UsageReported(Event, frozen=True, kw_only=True, tag="usage"):
    """An increment of usage came. The sum is in the call's last event too: count one or the other."""

    usage: UsageChunk


class AttemptFailed(Event, frozen=True, kw_only=True, tag="attempt_failed"):
    """A try of Retry failed; a RetryScheduled follows if there is another.

    attempt: its number, from 1. usage: what this try alone has used; it stays in the stream and in the bill.
    request_id: what the vendor's support asks for, None when it gave none.
    """

    attempt: int
    error: ProviderError
    usage: UsageChunk
    request_id: str | None


class RetryScheduled(Event, frozen=True, kw_only=True, tag="retry_scheduled"):
    """Retry waits before it tries again. attempt: the number of the next try. seconds: how long it waits."""

    attempt: int
    seconds: float


class FallbackTo(Event, frozen=True, kw_only=True, tag="fallback_to"):
    """A provider of Fallback failed, and it asks the next one, whose model `model` is.

    attempt: the number of the next one, from 1. error, usage and request_id are those of the one that failed, as in
    AttemptFailed. When the last one fails, that is the call's own failure.
    """

    attempt: int
    error: ProviderError
    usage: UsageChunk
    request_id: str | None


class Completed(Event, frozen=True, kw_only=True, tag="completed"):
    """The vendor said that the message is complete; told before the caller gets that chunk.

    usage: what the call has used, tries that failed included. stop: reason, the answer's id, the model that answered.
    """

    usage: UsageChunk
    stop: StopChunk


class Failed(Event, frozen=True, kw_only=True, tag="failed"):
    """The call raised *error*: a ProviderError, unless the provider inside breaks its contract.

    usage: as in Completed. request_id: what the vendor's support asks for, None when it gave none.
    """

    usage: UsageChunk
    error: Exception
    request_id: str | None


class Abandoned(Event, frozen=True, kw_only=True, tag="abandoned"):
    """The caller left before the end: break, `aclose`, cancellation, a timeout of its own, a dropped generator.

    usage: what had been reported until then. The vendor may bill more: it goes on until it notices.
    """

    usage: UsageChunk


Listener: TypeAlias = Callable[[Event], object]
"""Called with each event, at once and in order. It must not wait: the stream waits for it."""
