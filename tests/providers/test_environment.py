"""What the environment says of the network is obeyed: a proxy, a certificate authority; and nothing turns TLS off."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec
import pytest
from anyio.streams.tls import TLSListener

from patience import PATIENT
from penstock import NetworkError, Options, ProviderConfig
from penstock.testing import Emulator, ServerReply
from reading import text_of
from three_wires import WIRES, ThreeWire, each_wire, failure, read

pytestmark = pytest.mark.anyio


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
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=penstock"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return certificate, key


@asynccontextmanager
async def behind_tls(emulator: Emulator, authority: tuple[Path, Path]) -> AsyncIterator[str]:
    """An https URL that leads to the emulator."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority)
    port = int(emulator.url.rpartition(":")[2])

    async def carry(source: anyio.abc.ByteStream, target: anyio.abc.ByteStream) -> None:
        try:
            async for data in source:
                await target.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            return

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream, await anyio.connect_tcp("127.0.0.1", port) as inner, anyio.create_task_group() as group:
            group.start_soon(carry, inner, stream)
            await carry(stream, inner)
            group.cancel_scope.cancel()

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"https://127.0.0.1:{plain.extra(anyio.abc.SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


@each_wire
async def test_an_authority_of_the_environment_is_trusted(
    wire: ThreeWire, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
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
async def test_an_unknown_authority_is_refused(wire: ThreeWire, authority: tuple[Path, Path]) -> None:
    """Before anything is sent, the key above all."""
    async with Emulator(ServerReply(wire.answer("Hello"))) as emulator, behind_tls(emulator, authority) as url:
        async with wire.provider(url, deadlines=PATIENT) as provider:
            error = await failure(provider)
        assert type(error) is NetworkError
        assert "certificate" in str(error).lower()
        assert not emulator.requests


@pytest.mark.parametrize("name", ["PYTHONHTTPSVERIFY", "SSL_VERIFY", "VERIFY_SSL", "CURL_INSECURE"])
async def test_no_variable_turns_the_check_off(
    name: str, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
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
