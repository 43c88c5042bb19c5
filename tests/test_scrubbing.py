"""Keys and organization ids never reach a cassette."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from vcr import VCR

from penstock import AnthropicProvider, Message, Options, ProviderConfig, ProviderError
from penstock.testing import Emulator, ServerReply, anthropic_message
from places import CASSETTES
from recording import WithAHeader
from scrubbing import KEYS, VCR_CONFIG, scrubbed

CANARY = "sk-ant-api03-canary-0123456789"
SECRETS = [
    CANARY,
    "5576611f-a1ee-427c-9800-298d9579899c",
    "org-AbCdEf0123456789",
    "jane.doe@example.org",
    "session=topsecret",
    "wrkspc_0123456789",
]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 400], ids=["an answer", "an error"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_no_secret_reaches_a_cassette(tmp_path: Path, compressed: bool, status: int) -> None:
    """Whatever a server echoes, in a body or in a header, compressed or not, and whatever the client sends."""
    echo = " ".join(SECRETS)
    body = b"".join(anthropic_message({"type": "text", "text": echo}, piece=500))
    headers = {
        "content-type": "text/event-stream",
        "request-id": f"req_{CANARY}",
        "anthropic-organization-id": SECRETS[1],
        "anthropic-workspace-id": SECRETS[5],
        "set-cookie": SECRETS[4],
        "retry-after": SECRETS[2],
    }
    if compressed:
        body = gzip.compress(body)
        headers["content-encoding"] = "gzip"
    path = tmp_path / "cassette.yaml"
    recorder = VCR(record_mode="all", **VCR_CONFIG)
    recorder.register_serializer("yaml", WithAHeader)
    async with Emulator(ServerReply([body], status, headers, whole=True)) as emulator:
        config = ProviderConfig(
            model_id="m", api_key=CANARY, base_url=f"{emulator.url}/{CANARY}", headers={"x-secret": CANARY}
        )
        async with AnthropicProvider(config) as provider:
            with recorder.use_cassette(str(path)):
                await ask(provider, echo)
        assert CANARY in emulator.requests[0].headers["authorization"]
    text = path.read_text()
    assert "POST" in text
    # A cookie and a workspace id stand only in headers: in a body they are the test's own doing.
    assert not [secret for secret in SECRETS[:4] if secret in text]
    assert "set-cookie" not in text
    assert "anthropic-organization-id" not in text
    assert "x-secret" not in text


async def ask(provider: AnthropicProvider, echo: str) -> None:
    try:
        async with provider.stream(echo, [Message("user", echo)], Options(user=SECRETS[1])) as chunks:
            async for _ in chunks:
                pass
    except ProviderError as error:
        assert error.status == 400  # noqa: PT017 - the one that the server sends


def test_a_key_of_any_form_is_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not look like a key, when it is the one in use."""
    monkeypatch.setattr("scrubbing.KEYS", [b"plainpassword"])
    assert b"plainpassword" not in scrubbed(b'{"echo": "plainpassword"}')


def test_no_committed_cassette_holds_a_secret() -> None:
    """Nothing that looks like one, and none of the headers that would tell."""
    paths: list[Any] = sorted(CASSETTES.rglob("*.yaml"))
    assert paths
    for path in paths:
        text = path.read_bytes()
        assert scrubbed(text) == text, path
        assert not [key for key in KEYS if key in text]
        for name in (b"authorization", b"x-api-key", b"set-cookie", b"organization-id", b"x-stainless"):
            assert name + b":" not in text.lower()
