"""A server behind TLS, with a certificate that is its own authority."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSListener

from penstock.testing import Emulator

__all__ = ["Certificate", "behind_tls", "certificate"]


class Certificate(NamedTuple):
    """Two files."""

    certificate: Path
    key: Path


def certificate(folder: Path, name: str = "IP:127.0.0.1") -> Certificate:
    """One for that name. Skips the test where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=penstock"
    files = ["-addext", f"subjectAltName={name}", "-out", str(made.certificate), "-keyout", str(made.key)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return made


@asynccontextmanager
async def behind_tls(emulator: Emulator, files: Certificate) -> AsyncIterator[str]:
    """An https URL that leads to the emulator."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
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
