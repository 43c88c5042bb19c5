"""What the environment says of the network is obeyed: a proxy, a certificate authority; and nothing turns TLS off."""

from __future__ import annotations

import base64

import msgspec
import pytest

from certificates import Certificate, behind_tls, certificate
from patience import PATIENT
from penstock import NetworkError, Options, ProviderConfig
from penstock.testing import Emulator, ServerReply
from reading import text_of
from three_wires import WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]


@each_wire
async def test_a_proxy_of_the_environment_is_used(wire: ThreeWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password, and without the caller's doing anything."""
    async with Emulator(ServerReply(wire.answer("Hello"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:secret@"))
        monkeypatch.setenv("NO_PROXY", "")
        async with wire.provider("http://model.invalid/v1") as provider:
            assert text_of(await read(provider)) == "Hello"
    (request,) = proxy.requests
    assert request.path.startswith("http://model.invalid/v1/")
    assert request.headers["host"] == "model.invalid"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


async def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a server on one's own machine, say."""
    async with Emulator(ServerReply(WIRES[0].answer("Hello"))) as emulator, Emulator() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with WIRES[0].provider(emulator.url) as provider:
            assert text_of(await read(provider)) == "Hello"
        assert not proxy.requests


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@each_wire
async def test_an_authority_of_the_environment_is_trusted(
    wire: ThreeWire, authority: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a company's proxy, say."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    async with (
        Emulator(ServerReply(wire.answer("Hello"))) as emulator,
        behind_tls(emulator, authority) as url,
        wire.provider(url) as provider,
    ):
        assert text_of(await read(provider)) == "Hello"


@each_wire
async def test_an_unknown_authority_is_refused(wire: ThreeWire, authority: Certificate) -> None:
    """Before anything is sent, the key above all."""
    async with Emulator(ServerReply(wire.answer("Hello"))) as emulator, behind_tls(emulator, authority) as url:
        async with wire.provider(url, deadlines=PATIENT) as provider:
            error = await failure(provider)
        assert type(error) is NetworkError
        assert "certificate" in str(error).lower()
        assert not emulator.requests


@pytest.mark.parametrize("name", ["PYTHONHTTPSVERIFY", "SSL_VERIFY", "VERIFY_SSL", "CURL_INSECURE"])
async def test_no_variable_turns_the_check_off(
    name: str, authority: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which other programs know."""
    monkeypatch.setenv(name, "0")
    wire = WIRES[0]
    async with (
        Emulator(ServerReply(wire.answer("Hello"))) as emulator,
        behind_tls(emulator, authority) as url,
        wire.provider(url, deadlines=PATIENT) as provider,
    ):
        assert type(await failure(provider)) is NetworkError


def test_nothing_in_a_config_turns_the_check_off() -> None:
    """There is no such field, and a wrong one is refused by name."""
    fields = (*ProviderConfig.__struct_fields__, *Options.__struct_fields__)
    assert not [name for name in fields if any(word in name for word in ("verify", "tls", "ssl", "insecure"))]
    for name in ("verify", "verifySsl", "insecure"):
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({"modelId": "m", name: False}, ProviderConfig)
