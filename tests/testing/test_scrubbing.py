"""What is in no cassette: in whatever form a server or a client says it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from vcr.request import Request

from penstock.providers.known_secrets import watch_logs
from penstock.providers.redaction import Secrets
from penstock.testing.scrubbing import Scrubber, credentials, decoded
from places import CASSETTES

KEY = "sk-ant-api03-canary-0123456789"
OTHER = "sk-proj-another+/0123456789"
ORGANIZATION = "5576611f-a1ee-427c-9800-298d9579899c"


def scrubber(*secrets: str, hide_hosts: bool = False, **environment: str) -> Scrubber:
    return Scrubber(secrets, environment, hide_hosts=hide_hosts)


def sent(key: str = KEY, body: str | bytes = b"{}", uri: str = "https://api.example.com/v1/m", **more: str) -> Request:
    return Request("POST", uri, body, {"x-api-key": key, "content-type": "application/json", **more})


def came(body: bytes, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {"status": {"code": 200, "message": ""}, "headers": named, "body": {"string": body}}


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS: list[Any] = [
    pytest.param(lambda text: text, id="as it is"),
    pytest.param(lambda text: json.dumps({"a": [f'quoted "\n{text}']}), id="in JSON"),
    pytest.param(lambda text: json.dumps(json.dumps({"a": text.replace("/", "\\/")})), id="in JSON in JSON"),
    pytest.param(lambda text: "".join(f"\\u{ord(one):04x}" for one in text), id="in JSON's escapes"),
    pytest.param(lambda text: "".join(f"%{ord(one):02x}" for one in text), id="in an address's escapes"),
    pytest.param(str.upper, id="in upper case"),
    pytest.param(packed, id="alone in base64"),
    pytest.param(lambda text: packed(f"?{text}?"), id="in base64 that begins before it"),
    pytest.param(lambda text: packed(f"KEY={text}\n"), id="in base64"),
    pytest.param(lambda text: f'{{"a":"\\n{packed(f"KEY={text}")}"}}', id="in base64 behind an escape"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [KEY, OTHER, "plain-password"], ids=["the key's own", "the environment's", "named"])
def test_no_form_of_a_secret_is_left(form: Callable[[str], str], secret: str) -> None:
    """In a request and in the response to it; what is left is as good JSON as before."""
    one = scrubber("plain-password", OPENAI_API_KEY=OTHER)
    text = form(secret)
    request = one.request(sent(body=text))
    response = one.response(came(text.encode()))
    for left in (request.body.decode(), response["body"]["string"].decode()):
        assert text not in left
        assert not [word for word in (secret, packed(f"KEY={secret}")[4:-4]) if word in left]
        assert not list(one.leaks(request, response))
    assert text[0] not in '{"' or json.loads(request.body)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_stays_as_compressed_as_it_came(coding: str) -> None:
    """And is the same whether it is compressed or written plainly in a file."""
    pack = gzip.compress if coding == "gzip" else zlib.compress
    one = scrubber()
    one.request(sent())
    response = one.response(came(pack(b'{"said": "%b"}' % KEY.encode()), content_encoding=coding))
    assert response["headers"] == {"content-encoding": [coding]}
    assert decoded(response["body"]["string"], coding) == b'{"said": "key-1"}' != response["body"]["string"]
    again = one.response(came(b'{"said": "key-1"}', content_encoding=coding))
    assert again == response


def test_who_asked_and_which_request_it_was_is_in_no_header_and_no_body() -> None:
    """Ids that differ still do: two calls of a tool are two."""
    one = scrubber()
    headers = {
        "openai-organization": "acme-laboratories",
        "anthropic-organization-id": ORGANIZATION,
        "x-request-id": "0123456789abcdef",
        "request-id": "req_011CV0123456789",
        "set-cookie": "__cf_bm=0123456789abcdef0123; path=/",
        "cf-ray": "9a8b7c6d5e4f-FRA",
        "retry-after": "3",
        "anthropic-ratelimit-tokens-remaining": "7",
    }
    body = {
        **headers,
        "mail": "\njane.doe@example.org.",
        "proj": "\nproj_0123456789",
        "ids": [ORGANIZATION, "8" + ORGANIZATION[1:]],
    }
    request = one.request(sent(**{"openai-project": "proj_secret", "user-agent": "me"}))
    response = one.response({**came(json.dumps(body).encode(), **headers), "status": {"code": 401, "message": KEY}})
    assert response["status"] == {"code": 401, "message": "key-1"}
    assert set(request.headers) == {"x-api-key", "content-type"}
    assert response["headers"] == {"retry-after": ["3"], "anthropic-ratelimit-tokens-remaining": ["7"]}
    left = json.loads(response["body"]["string"])
    text = json.dumps(left)
    assert not [value for value in list(headers.values())[:4] if value in text]
    assert not [word for word in ("jane", "proj_0", "0123456789abcdef0123") if word in text]
    assert left["mail"] == "\nsomeone@example.com."
    assert len({*left["ids"]}) == 2


@pytest.mark.parametrize(
    ("headers", "uri", "seen"),
    [
        ({"x-api-key": KEY}, "", {"x-api-key": "key-1"}),
        ({"api-key": KEY}, "", {"api-key": "key-1"}),
        ({"authorization": f"Bearer {KEY}"}, "", {"authorization": "Bearer key-1"}),
        ({"authorization": "Bearer none"}, "", {"authorization": "Bearer key-1"}),
        ({"authorization": KEY, "x-api-key": OTHER}, "", {"authorization": "key-1", "x-api-key": "key-2"}),
        ({"authorization": f"Basic {KEY}", "token": KEY}, "", {"authorization": "Basic key-1", "token": "key-1"}),
        ({"cookie": "session=0123456789"}, "", {"cookie": "key-1"}),
        ({}, f"?key={KEY}&alt=sse", {}),
        ({}, f"/{KEY}?key={KEY}&alt=sse", {}),
        ({}, f"/blob?X-Goog-Signature={KEY}&sig={KEY}", {}),
    ],
    ids=[
        "x-api-key",
        "api-key",
        "a bearer",
        "a short one",
        "two",
        "one twice",
        "a cookie of the user's",
        "in the query",
        "in the path",
        "a signed address",
    ],
)  # fmt: skip
def test_a_credential_becomes_its_role(headers: dict[str, str], uri: str, seen: dict[str, str]) -> None:
    """And stays that when it is read again, in another process whose keys are others."""
    first = scrubber().request(Request("POST", f"https://api.example.com/v1{uri}", b"", headers))
    assert first.headers == seen
    assert first.uri == f"https://api.example.com/v1{uri.replace(KEY, 'key-1')}"
    later = scrubber()
    read = later.request(Request(first.method, first.uri, first.body, dict(first.headers)))
    assert (read.uri, read.headers) == (first.uri, first.headers)
    assert later.request(sent("any")).headers["x-api-key"] == "key-1"


def test_roles_are_by_first_use() -> None:
    """Not by request; so a second key is another, whatever the two are."""
    one = scrubber()
    roles = [credentials(one.request(sent(key))) for key in ("right", "wrong", "right", "third")]
    assert roles == [["key-1"], ["key-2"], ["key-1"], ["key-3"]]


def test_a_cookie_that_the_server_has_given_is_not_compared() -> None:
    """At replay it gives none."""
    one = scrubber()
    one.response(came(b"", set_cookie="__cf_bm=0123456789abcdef; path=/"))
    assert "cookie" not in one.request(sent(cookie="__cf_bm=0123456789abcdef")).headers


def test_a_host_is_hidden_when_it_is_asked_for() -> None:
    """With its port and with what stands before it."""
    one = scrubber(hide_hosts=True)
    uris = [f"http://me:secret-word@{host}/v1?a=b" for host in ("llm.acme.corp:8080", "other.corp", "llm.acme.corp")]
    requests = [one.request(sent(uri=uri, body="ask llm.acme.corp")) for uri in uris]
    assert [request.uri for request in requests] == [f"http://host-{n}.invalid/v1?a=b" for n in (1, 2, 1)]
    assert requests[0].body == b"ask host-1.invalid"
    assert scrubber().request(sent(uri=uris[0])).uri == "http://llm.acme.corp:8080/v1?a=b"


def pieces(text: str) -> bytes:
    deltas = (json.dumps({"delta": {"text": text[place : place + 4]}}) for place in range(0, len(text), 4))
    return b"".join(f"data: {delta}\n\n".encode() for delta in deltas)


@pytest.mark.parametrize(
    ("body", "answer", "said"),
    [
        ("{}", pieces(KEY), "a secret that this process knows in $.delta.text (of all events) of the resp"),
        ("{}", pieces("its live one is sk-live-client-key-1"), "a secret that this process knows in $.delta.text"),
        ('{"a": ["\\nsk-0123456789abcdefghij"]}', b"", "DeepSeek or OpenRouter in $.a[0] of the request"),
        ("{}", b'{"a": {"b": "AIza' + b"x" * 35 + b'"}}', "a key of Google in $.a.b of the response"),
        (json.dumps({"file": packed("AWS=AKIAABCDEFGHIJKLMNOP\n")}), b"", "a key of AWS in $.file of the request"),
        ("{}", b"not JSON: ghp_" + b"x" * 36, "a key of GitHub in $ of the response"),
        (json.dumps({"a": '{"b": "\\nsk-0123456789abcdefghij"}'}), b"", "DeepSeek or OpenRouter in $.a of the request"),
        (json.dumps({"file": packed("é\nAKIAABCDEFGHIJKLMNOP\n")}), b"", "a key of AWS in $.file of the request"),
        (json.dumps({"file": packed(packed(f"me:{KEY}"))}), b"", "a secret that this process knows in $.file"),
        ("{}", gzip.compress(KEY.encode())[:-4], "no looking into a body whose compression is broken off"),
    ],
    ids=[
        "in pieces",
        "another client's",
        "behind an escape",
        "in a field",
        "in base64",
        "in a text",
        "behind an escape in JSON in JSON",
        "in base64 among other characters",
        "in base64 twice",
        "in gzip that was cut",
    ],
)  # fmt: skip
def test_what_is_still_there_is_named_with_its_place_and_not_shown(body: str, answer: bytes, said: str) -> None:
    """The first that is found; a word that only begins like a key is none."""
    live = Secrets(["sk-live-client-key-1"])
    watch_logs(live)  # as each client of ours has its own watched
    one = scrubber()
    leaks = list(one.leaks(one.request(sent(body=body)), one.response(came(answer))))
    assert said in leaks[0]
    assert not [word for word in (KEY, "0123456789abcdefghij", "AKIA", "ghp_", "AIza") if word in " ".join(leaks)]
    harmless = one.request(sent(body='{"a": "sk-learn-pipelines-and-trees, req_parameters, org-structure"}'))
    assert b"sk-learn-pipelines-and-trees, req_parameters, org-structure" in harmless.body
    assert not list(one.leaks(harmless, one.response(came(b"{}"))))


def test_a_body_that_cannot_be_looked_into_is_refused() -> None:
    """Whatever is in it."""
    one = scrubber()
    said = next(one.leaks(one.request(sent()), one.response(came(b"?", content_encoding="br"))))
    assert said == "no looking into the encoding br"


def test_no_committed_cassette_holds_a_secret() -> None:
    """Nothing that is scrubbed today, and none of the headers that would tell."""
    paths = sorted(CASSETTES.rglob("*.yaml"))
    assert paths
    for path in paths:
        text = path.read_bytes()
        assert scrubber().response(came(text))["body"]["string"] == text, path
        for name in (b"set-cookie", b"organization-id", b"x-stainless", b"authorization: sk", b"bearer sk"):
            assert name not in text.lower()
