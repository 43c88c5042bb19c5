"""A Redis of the tests' own, on a free port of this machine: started, stopped, killed, emptied."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import pytest

from patience import PATIENCE

__all__ = ["PROGRAM", "RedisServer", "free_port", "needs_redis", "redis_server"]

PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis: Final = pytest.mark.skipif(PROGRAM is None, reason="no Redis here: install Debian's redis-server")


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class RedisServer:
    """One server, which keeps its port, and its folder with what it has saved, when it is started again."""

    def __init__(self, folder: Path, *settings: str) -> None:
        """settings: as on its command line."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str) -> Self:
        """Start it, and wait until it listens."""
        assert PROGRAM is not None
        usual = "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", ""
        command = [PROGRAM, *usual, *self._settings, *settings]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError):
                self.say("PING")
                return self
            time.sleep(0.01)
        raise AssertionError("no Redis")

    def stop(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End it: at once, or with what it does at its end."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.stop()
        self.start()

    def say(self, *words: str, password: str = "") -> str:
        """What it answers to a command, as it comes; behind the answer to its password, if one is given."""
        commands = ([("AUTH", password)] if password else []) + [words]
        said = ""
        for each in commands:
            said += f"*{len(each)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in each)
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as wire:
            wire.sendall(said.encode())
            return wire.recv(65536).decode()


@contextmanager
def redis_server(folder: Path, *settings: str) -> Iterator[RedisServer]:
    """A server for as long as it is wanted."""
    server = RedisServer(folder, *settings)
    try:
        yield server.start()
    finally:
        server.stop()
