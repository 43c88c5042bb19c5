"""What the tests of the recorded exchanges on OpenAI's wires share."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from penstock import (
    InvalidRequestError,
    MalformedResponseError,
    ProviderError,
    ServerError,
    StreamInterruptedError,
)

# Answers with status 200 that are errors, by our class.
FAILURES: Final[dict[str, type[ProviderError]]] = {
    "1ab370c74c923e00": ServerError,  # an error event, then a usage of zeros and [DONE]
    "7fcd0b892f6da31c": ServerError,  # an error event
    "c0ce79ef863e29cd": InvalidRequestError,  # an event with the name `error`: no tool was called, as was required
    "df695c734b4a34af": ServerError,  # an error in place of the whole answer, whose code is 502
    "ed8c6aab45e217f7": MalformedResponseError,  # a stream of chat completions, recorded on /responses
    "a15fdd6907149db7": StreamInterruptedError,  # asked for in the background, and only queued
}


# Groq's errors inside a stream that are a call which its model broke: name, arguments, and a word of the problem.
BROKEN_CALLS: Final = {
    "9573f2dec2e260aa": ("get_something_by_name", {"invalid_param": "value"}, "missing properties"),
}


def documents(row: dict[str, Any]) -> list[Any]:
    """The JSON of the events, or of the whole answer; numbers with a point are exact."""
    body = row["response_body"].replace("\r\n", "\n")
    texts = [line[5:] for line in body.split("\n") if line.startswith("data:")] if row["sse"] else [body]
    return [json.loads(text, parse_float=Decimal) for text in texts if text.strip() not in ("", "[DONE]")]


def output_of(row: dict[str, Any]) -> list[Any]:
    """The items of a response, as they were when they were done: encrypted content is another each time it is told."""
    done = [event["item"] for event in documents(row) if event.get("type") == "response.output_item.done"]
    last = documents(row)[-1]
    return done or last.get("response", last).get("output") or []


def messages_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The pieces of the message, or the whole of it."""
    choices = [choice for event in documents(row) for choice in event.get("choices") or [] if not choice.get("index")]
    return [choice.get("delta") or choice.get("message") or {} for choice in choices]


def details_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """OpenRouter's details: pieces of one type and index joined, entries of a whole answer untouched."""
    pieces = [piece for message in messages_of(row) for piece in message.get("reasoning_details") or []]
    joined: dict[Any, dict[str, Any]] = {}
    for place, piece in enumerate(pieces):
        entry = joined.setdefault((piece["type"], piece.get("index")) if row["sse"] else place, {})
        for name in ("text", "summary", "data"):
            if name in piece and name in entry:
                piece[name] = entry[name] + piece[name]
        entry.update(piece)
    return list(joined.values())
