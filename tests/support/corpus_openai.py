"""What the tests of the recorded exchanges on OpenAI's wires share."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from penstock import (
    InvalidRequestError,
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
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
    "9c38d4d8f9ff1634": MalformedResponseError,  # a stream of chat completions, recorded on /responses
    "d667cc0cc2958c40": ServerError,  # an error event with a code that nobody knows, and a failed response behind it
    # Neither a reason for the end, nor content, nor a token: the parser read an empty answer.
    **dict.fromkeys(("3455946953c480cb", "58420a877de774b8", "e262e7fa9ec02409"), StreamInterruptedError),
    **dict.fromkeys(("e4d4e0349ce15e05", "f7422c947cc5b4bf"), StreamInterruptedError),
    **dict.fromkeys(("b621e7d98de4532f", "eede7174584fd4e9"), StreamInterruptedError),
    "4fa97ff6e02d1ec4": ServerError,  # choices[0].error beside half a text: the parser took that for an answer
    "d39d8d8f8a3cfca9": ServerError,  # an error in place of the whole answer, with what the vendor behind it said
    **dict.fromkeys(("7c84d49da1731646", "8db06a7be1d34bd1", "f1603addd4065e91"), InvalidRequestError),  # code 400
    "ee1d038371fdb0eb": ProviderTimeoutError,  # an image that could not be fetched in time
}


# Groq's errors inside a stream that are a call which its model broke: name, arguments, and a word of the problem.
_JOHN: Final = {"age": "30", "name": "John Doe", "occupation": "Software Engineer"}
BROKEN_CALLS: Final = {
    **dict.fromkeys(("0bf5c1767b7915b4", "b4c652dc8ed74e57"), ("structured_output", _JOHN, "expected integer")),
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


def untagged(text: str) -> tuple[str, str]:
    """The reasoning between tags at the start, and the text; of the line ends behind a tag nothing is left."""
    if not text.startswith("<think>"):
        return "", text
    reasoning, _, rest = text.removeprefix("<think>").partition("</think>")
    return reasoning.lstrip("\n"), rest.lstrip("\n")
