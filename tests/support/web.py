"""A web server of the test's own, and a browser that leaves when it likes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import uvicorn

from patience import PATIENCE

__all__ = ["Browser", "uvicorn_serving"]


@contextmanager
def uvicorn_serving(app: Callable[..., Any]) -> Iterator[int]:
    """The port on which uvicorn serves an ASGI application, in a thread of its own, until this is left."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11", timeout_graceful_shutdown=10))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


class Browser:
    """Posts to a path of a server on 127.0.0.1, and reads the answer as far as it is told to."""

    def __init__(self, port: int, path: str = "/chat", body: bytes = b'{"question": "Hi"}') -> None:
        self.read = b""
        """All that has come."""
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def until(self, text: bytes) -> None:
        """Read until *text* has come. Raises EOFError where the answer ends before that."""
        while text not in self.read:
            piece = self._socket.recv(65536)
            if not piece:
                raise EOFError(self.read)
            self.read += piece

    def to_the_end(self) -> bytes:
        """The whole answer: the pieces of its body, put together."""
        while piece := self._socket.recv(65536):
            self.read += piece
        _, _, left = self.read.partition(b"\r\n\r\n")
        body = b""
        while left:
            size, _, left = left.partition(b"\r\n")
            body, left = body + left[: int(size, 16)], left[int(size, 16) + 2 :]
        return body

    def leave(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()
