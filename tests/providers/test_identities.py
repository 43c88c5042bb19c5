"""The identity that a machine has at a cloud: found off the event loop, kept, and named where it is missing."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from clouds import CASES, IDENTITY, TOKEN, carried
from patience import SHORT
from penstock import AuthenticationError, ConfigError, Platform
from penstock.core.keys import FetchedKey
from penstock.middleware import Retry
from penstock.providers import platforms
from penstock.testing import Emulator, Request, ServerReply
from penstock.testing.answers import answer
from three_wires import failure, read

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no identity of any cloud's."""
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "none")


FEDERATION: Final = """{"type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
"audience": "//iam.googleapis.com/x", "credential_source": {"file": "%s"}, "token_url": "%s/who"}"""
ENTRA: Final = {"IDENTITY_HEADER": "x", "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}


def entra(request: Request) -> ServerReply:
    """As Azure's App Service tells a program who it is."""
    assert request.path.startswith("/who?")
    assert "resource=https" in request.path
    return told({"access_token": TOKEN, "expires_on": "4102444800", "resource": "x", "token_type": "Bearer"})


def federated(request: Request) -> ServerReply:
    """As Google's exchange gives a token for another cloud's."""
    assert request.path == "/who"
    kind = "urn:ietf:params:oauth:token-type:access_token"
    return told({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer", "issued_token_type": kind})


def container(request: Request) -> ServerReply:
    """As AWS's containers tell it."""
    assert request.path == "/who"
    keys = {
        name: IDENTITY[f"AWS_{given}"] for name, given in (("AccessKeyId", "ACCESS_KEY_ID"), ("Token", "SESSION_TOKEN"))
    }
    return told({**keys, "SecretAccessKey": IDENTITY["AWS_SECRET_ACCESS_KEY"], "Expiration": "2100-01-01T00:00:00Z"})


def told(document: Mapping[str, Any]) -> ServerReply:
    """An answer in JSON."""
    headers = {"content-type": "application/json", "metadata-flavor": "Google"}
    return ServerReply([msgspec.json.encode(document)], headers=headers)


@pytest.mark.parametrize(
    ("name", "module", "whom", "environment"),
    [
        pytest.param("Foundry", "azure.identity", entra, {**ENTRA, "IDENTITY_ENDPOINT": "URL/who"}, id="Entra"),
        pytest.param("Azure", "azure.identity", entra, {**ENTRA, "IDENTITY_ENDPOINT": "URL/who"}, id="Entra, for GPT"),
        pytest.param(
            "Claude on Vertex",
            "google.auth.transport.requests",
            federated,
            {"GOOGLE_APPLICATION_CREDENTIALS": "FILE"},
            id="Google",
        ),
        pytest.param("Bedrock", "botocore", container, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "URL/who"}, id="AWS"),
    ],
)
async def test_the_identity_that_a_machine_has(
    name: str,
    module: str,
    whom: Callable[[Request], ServerReply],
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is asked for off the event loop, which here serves the answer, and once for two calls."""
    pytest.importorskip(module)
    case = CASES[name]
    async with Emulator(whom) as identity, Emulator(ServerReply(answer(case.wire, "Hello"))) as emulator:
        emulator.then = ServerReply(answer(case.wire, "Hello"))
        (tmp_path / "google.json").write_text(FEDERATION % (tmp_path / "google.json", identity.url))
        for variable, value in environment.items():
            value = value.replace("URL", identity.url).replace("FILE", str(tmp_path / "google.json"))
            monkeypatch.setenv(variable, value)
        async with case.provider_at(emulator.url) as provider:
            await read(provider)
            asked = len(identity.exchanges)
            await read(provider)
        sent = [carried(exchange.request)["authorization"] for exchange in emulator.exchanges]
    assert len(sent) == 2
    assert all(one == f"Bearer {TOKEN}" or one.startswith("AWS4-HMAC-SHA256 Credential=AKIACANARY") for one in sent)
    assert len(identity.exchanges) == asked


@pytest.mark.parametrize("name", ["Bedrock", "GPT on Bedrock"])
async def test_an_identity_of_awss_that_has_ended_is_had_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and only if there is another: Retry signs with that, and nobody waits until the old one is forgotten."""
    pytest.importorskip("botocore")
    users = iter("AAB")

    def another(request: Request) -> ServerReply:
        key = {"AccessKeyId": f"AKIACANARY{next(users)}", "Token": "t", "SecretAccessKey": "s"}
        return told({**key, "Expiration": "2100-01-01T00:00:00Z"})

    def refuses(request: Request) -> ServerReply:
        if "CANARYA" in request.headers["authorization"]:
            said = b'{"message": "The security token included in the request is expired"}'
            return ServerReply([said], status=403, headers={"content-type": "application/json"})
        return ServerReply(answer(CASES[name].wire, "Hello"))

    async with Emulator(another) as identity, Emulator(refuses) as emulator:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{identity.url}/who")
        async with CASES[name].provider_at(emulator.url) as provider:
            error = await failure(provider)
            assert (type(error), error.retryable) == (AuthenticationError, False)
            await read(Retry(provider))
        users_seen = [request.headers["authorization"].partition("/")[0][-7:] for request in emulator.requests]
    assert users_seen == ["CANARYA", "CANARYA", "CANARYB"]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("Foundry", "azure", "azure"), ("Claude on Vertex", "google.auth", "vertex"), ("Bedrock", "botocore", "bedrock")],
)
async def test_a_library_that_is_missing_is_named(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it; a key needs none."""
    for known in [each for each in sys.modules if each == module or each.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, module, None)
    async with Emulator(ServerReply()) as emulator, CASES[name].provider_at(emulator.url) as provider:
        error = await failure(provider)
        assert emulator.exchanges == []
    assert isinstance(error, ConfigError)
    assert f"pip install 'penstock[{extra}]'" in str(error)


@pytest.mark.parametrize("name", ["Foundry", "Claude on Vertex", "Bedrock"])
async def test_an_identity_that_does_not_come_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service for it that never answers, say; it is no key that could be checked."""
    monkeypatch.setattr("penstock.providers.fetching.FETCH_SECONDS", SHORT)
    over = threading.Event()
    waits = dict.fromkeys(platforms._ASK, lambda identity: over.wait() and FetchedKey(TOKEN))
    monkeypatch.setattr(platforms, "_ASK", waits)
    async with Emulator(ServerReply()) as emulator, CASES[name].provider_at(emulator.url) as provider:
        error = await failure(provider)
        over.set()
        assert emulator.exchanges == []
    platform = CASES[name].platform.name
    assert error.message.startswith(f"the identity of this machine, which {platform} is asked with, gave none within")
    assert "give the machine" in error.hint or "gcloud auth" in error.hint


@pytest.mark.parametrize(
    ("name", "module", "who", "way"),
    [
        ("Foundry", "azure.identity", "Entra identity", "AZURE_CLIENT_SECRET"),
        ("Claude on Vertex", "google.auth.transport.requests", "Google credentials", "gcloud auth"),
        ("Bedrock", "botocore", "AWS credentials", "aws sso login"),
    ],
)
async def test_nobody_is_told_what_to_do(
    name: str, module: str, who: str, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the machine has no identity, and no key is there; in the error alone, whatever the library would log."""
    caplog.set_level(logging.WARNING)
    pytest.importorskip(module)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    async with Emulator(ServerReply()) as emulator, CASES[name].provider_at(emulator.url) as provider:
        error = await failure(provider)
        assert emulator.exchanges == []
    assert type(error) is AuthenticationError
    assert f"no {who} " in error.message
    assert "found on this machine" in error.message
    assert way in error.hint
    assert caplog.records == []


@pytest.mark.parametrize(
    ("profile", "said"),
    [("nope", "Correct `platform.profile`, or add"), (None, "Correct AWS_PROFILE, or add")],
    ids=["of the platform", "of the environment"],
)
async def test_a_profile_that_is_not_there_is_named(
    profile: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not what else to do: whoever names one has them."""
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_PROFILE", "nope")
    platform = Platform(name="bedrock", region="eu-central-1", profile=profile)
    async with Emulator() as emulator, CASES["Bedrock"].provider_at(emulator.url, platform=platform) as provider:
        error = await failure(provider)
        assert emulator.exchanges == []
    assert "The config profile (nope) could not be found)" in error.message
    assert error.hint.startswith(said)
