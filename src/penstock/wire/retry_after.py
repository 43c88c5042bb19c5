"""How long a vendor asks to wait, in whatever form it says so. Pure: what time it is, is an argument.

Sources, read 2026-11-21: RFC 9110 section 10.2.3; https://platform.claude.com/docs/en/api/rate-limits;
https://platform.openai.com/docs/guides/rate-limits and Groq's, which has the same headers; Google's RetryInfo,
https://cloud.google.com/apis/design/errors; Azure's and OpenAI's words as recorded.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from penstock.wire.event_json import UNDECODABLE

__all__ = ["quoted_headers", "said_in_body", "said_in_headers", "said_of_buckets", "wait_of_buckets"]

_BUSY: Final = (429, 503, 529)
"""The statuses at which a used-up bucket is the reason; at others its headers are only news."""

_ANTHROPIC: Final = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI: Final = ("requests", "tokens")
_MILLISECONDS: Final = 1e11  # as seconds it would be the year 5138
_LONGEST: Final = 1e8  # three years; what is more is no wait but a point in time
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = r"\d{1,12}(?:\.\d{1,12})?"
# As Go prints them, which its servers put into headers and messages: `1s`, `6m0s`, `20ms`, `7.66s`, `2h3m4s`.
_DURATION: Final = rf"(?:{_PART}(?:ns|us|µs|ms|h|m|s))+"
# Azure: "Please retry after 6 seconds"; OpenAI, Groq: "Please try again in 7.66s"; Google: "Please retry in 37.5s".
_WORDS: Final = rf"(?:try again|retry) (?:in|after) (?:(?P<duration>{_DURATION})\b|(?P<seconds>{_PART}) ?seconds?)"


def said_in_headers(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Seconds, from `retry-after-ms`, or `retry-after` as a number or a date; None when neither says it."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    import email.utils  # a tenth of the time of `import penstock`, for a form that few servers use

    try:
        return _until(email.utils.parsedate_to_datetime(said), now)
    except (ValueError, OverflowError):
        return None


def quoted_headers(body: bytes) -> dict[str, str]:
    """The headers that an error's body quotes: OpenRouter's, of a limit of its own or of the vendor behind it."""
    if b'"headers"' not in body:
        return {}
    try:
        found = msgspec.json.decode(body, type=_Quoting).error.metadata.headers
    except UNDECODABLE:
        return {}
    return {name.lower(): str(value) for name, value in found.items()}


class _Metadata(msgspec.Struct):
    headers: dict[str, str | int | float]


class _Error(msgspec.Struct):
    metadata: _Metadata


class _Quoting(msgspec.Struct):
    error: _Error


def said_of_buckets(status: int, headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Seconds until all buckets are filled of which nothing remains; None when there is none such."""
    return wait_of_buckets(headers, now) if status in _BUSY else None


def wait_of_buckets(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """The same of any answer: one that is let through may be the last that is."""
    return max(_resets(headers, now), default=None)


def said_in_body(error: Mapping[str, Any], message: str) -> float | None:
    """Seconds, from the details of a decoded error (Google) or the words of its *message*; None when not said."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (seconds := _duration(delay)) is not None:
            return seconds
    found = re.search(_WORDS, message, re.IGNORECASE)
    if found is None:
        return None
    return _number(found["seconds"]) if found["seconds"] else _duration(found["duration"])


def _resets(headers: Mapping[str, str], now: dt.datetime) -> Iterator[float]:
    for bucket in _ANTHROPIC:
        name = f"anthropic-ratelimit-{bucket}"
        if _number(headers.get(f"{name}-remaining")) == 0:
            try:
                yield _until(dt.datetime.fromisoformat(headers.get(f"{name}-reset", "")), now)
            except (ValueError, OverflowError):
                continue
    for bucket in _OPENAI:
        if _number(headers.get(f"x-ratelimit-remaining-{bucket}")) == 0:
            seconds = _duration(headers.get(f"x-ratelimit-reset-{bucket}", ""))
            if seconds is not None:
                yield seconds
    # Of one bucket without a name: OpenRouter's in milliseconds since 1970, GitHub's in seconds, others' from now on.
    if _number(headers.get("x-ratelimit-remaining")) == 0:
        reset = _number(headers.get("x-ratelimit-reset"))
        if reset is not None:
            since = reset / 1000 if reset > _MILLISECONDS else reset
            yield max(0.0, since - now.timestamp()) if since > _LONGEST else since


def _until(when: dt.datetime, now: dt.datetime) -> float:
    """Seconds, 0 for what has been; a time without a zone is UTC."""
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=dt.UTC)) - now).total_seconds())


def _duration(text: str) -> float | None:
    if re.fullmatch(_DURATION, text) is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(rf"({_PART})(ns|us|µs|ms|h|m|s)", text))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
