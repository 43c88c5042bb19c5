"""What a cassette may hold. Headers are kept by name, all others dropped; secrets are replaced in every text.

It is part of recording, so that no key and no organization id ever reaches a file.
"""

from __future__ import annotations

import os
import re
from typing import Any

from vcr.request import Request

REQUEST_HEADERS = ("content-type", "anthropic-version", "anthropic-beta")
RESPONSE_HEADERS = ("content-type", "retry-after", "retry-after-ms")
# Read once, before any test forgets the environment: the keys that this recording may use.
_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")
KEYS = [os.environ[name].encode() for name in _VARIABLES if os.environ.get(name)]

_SECRETS = (
    (re.compile(rb"\bsk-[\w-]{8,}"), b"sk-scrubbed"),
    (re.compile(rb"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), b"scrubbed-id"),
    (re.compile(rb"\borg-\w{8,}"), b"org-scrubbed"),
    (re.compile(rb"\breq_\w{8,}"), b"req_scrubbed"),
    (re.compile(rb"[\w.+-]+@[\w-]+\.[\w.]+"), b"someone@example.com"),
)


def scrub_request(request: Request) -> Request:
    """Before a request is matched or written."""
    request.headers = {name: value for name, value in request.headers.items() if name.lower() in REQUEST_HEADERS}
    if request.body:
        request.body = scrubbed(request.body)
    request.uri = scrubbed(request.uri.encode()).decode()
    return request


def scrub_response(response: dict[str, Any]) -> dict[str, Any]:
    """Before a response is written."""
    kept = {name: value for name, value in response["headers"].items() if name.lower() in RESPONSE_HEADERS}
    return {
        **response,
        "headers": {name: [scrubbed(text.encode()).decode() for text in values] for name, values in kept.items()},
        "body": {"string": scrubbed(response["body"]["string"])},
    }


def scrubbed(text: bytes) -> bytes:
    """Without keys, organization ids, request ids and e-mail addresses."""
    for key in KEYS:
        text = text.replace(key, b"sk-scrubbed")
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


VCR_CONFIG: dict[str, Any] = {
    "match_on": ["method", "path", "query", "body"],
    "decode_compressed_response": True,
    "before_record_request": scrub_request,
    "before_record_response": scrub_response,
}
