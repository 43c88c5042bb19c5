"""What is posted and is too long to be held: read piece by piece while it is sent."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeAlias

import anyio

from penstock.core.errors import ConfigError, InvalidRequestError, said_by

__all__ = ["FORM", "Body", "form"]

FORM: Final = "Multipart/form-data"
"""With a capital, as an SDK that reads it as it is usually written makes a form of its own. It goes out in small."""
_Part: TypeAlias = bytes | os.PathLike[str]
_PIECE: Final = 64 * 1024
"""Bytes that are read of a file, and sent, at once."""


class Body:
    """Parts one after the other: bytes, or a file's path. Nothing of a file is read before it is sent.

    size: bytes of it all. Raises ConfigError for a file that is not there.
    """

    def __init__(self, *parts: _Part) -> None:
        self._parts = parts
        self.size = sum(map(_size, parts))

    async def pieces(self, wrote: Callable[[], object]) -> AsyncGenerator[bytes, None]:
        """All of it. wrote: called after each piece. Raises InvalidRequestError where it cannot be read."""
        total = 0
        try:
            for part in self._parts:
                async with aclosing(_pieces(part)) as pieces:
                    async for piece in pieces:
                        total += len(piece)
                        if total > self.size:
                            break
                        yield piece
                        wrote()
        except OSError as error:
            raise InvalidRequestError(f"what is sent cannot be read ({said_by(error)})") from error
        if total != self.size:
            raise InvalidRequestError(f"what is sent has changed meanwhile: it had {self.size:,} bytes")


def form(fields: Mapping[str, str], name: str, file: str, content: _Part) -> tuple[Body, str]:
    """A form as a browser sends it (multipart/form-data) with *fields* and one file, and its content type.

    name: of the file's field. file: what the file is called. None of them may hold a quote or a line end.
    """
    import secrets  # here and not above: for those who upload

    border = secrets.token_hex(16)
    begin = f"--{border}\r\nContent-Disposition: form-data; name="
    head = "".join(f'{begin}"{field}"\r\n\r\n{value}\r\n' for field, value in fields.items())
    head += f'{begin}"{name}"; filename="{file}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = Body(head.encode(), content, f"\r\n--{border}--\r\n".encode())
    return body, f"{FORM}; boundary={border}"


def _size(part: _Part) -> int:
    if isinstance(part, bytes):
        return len(part)
    from pathlib import Path  # here and not above: for those who upload

    try:
        return Path(part).stat().st_size
    except OSError as error:
        raise ConfigError(f"{os.fspath(part)} cannot be read ({error.strerror})") from error


async def _pieces(part: _Part) -> AsyncGenerator[bytes, None]:
    if isinstance(part, bytes):
        yield part
        return
    from pathlib import Path

    # In this thread, as a cancelled close in another would leave it open.
    with Path(part).open("rb") as file:  # noqa: ASYNC230
        while piece := await anyio.to_thread.run_sync(file.read, _PIECE):
            yield piece
