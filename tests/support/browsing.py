"""A page in a real browser: what it becomes there, what it says in the console, and whom it asks."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple

import pytest

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
# It runs as root in a container, and asks nobody on its own account.
_OPTIONS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--enable-logging=stderr",
)  # fmt: skip
# What Chromium asks for itself all the same, depending on its version and on how long it runs.
_ITS_OWN: Final = re.compile(
    r"(https?://)?(accounts|clients\d|android\.clients|www)\.google\.com[:/]"
    r"|(https?://)?(update|clientservices|optimizationguide-pa|content-autofill|safebrowsing\w*)\.googleapis\.com[:/]"
    r"|(https?://)?[\w.-]+\.gvt1\.com[:/]"
)


class Visit(NamedTuple):
    """What a browser has made of a page."""

    document: str
    """As it stood at the end, as HTML."""
    console: list[str]
    """What was written there, blocked requests included."""
    asked: list[str]
    """The addresses that the page asked for, whatever their host."""


def visit(page: Path | str, folder: Path, *options: str) -> Visit:
    """The page in Chromium with a profile in *folder*; skips where there is none.

    page: a file, which may ask nobody, or the address of one that a server on 127.0.0.1 has, which may ask that.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with _listening() as (port, asked):
        command = [
            CHROMIUM,
            *_OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            f"--proxy-server=127.0.0.1:{port}",
            *(() if isinstance(page, str) else ("--proxy-bypass-list=<-loopback>",)),
            *options,
            "--dump-dom",
            page if isinstance(page, str) else page.absolute().as_uri(),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Visit(ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line], asked)


@contextmanager
def _listening() -> Iterator[tuple[int, list[str]]]:
    """A proxy that has nothing to give, and the addresses that it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not _ITS_OWN.match(self.path):
                asked.append(self.path)
            self.send_error(404)

        do_CONNECT = do_POST = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
