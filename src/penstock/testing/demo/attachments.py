"""What an attachment is, as its first bytes say it: kind, type and size, and of an image width and height."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["described"]

_KINDS: Final = {"image": "an image", "audio": "a sound", "video": "a video"}
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_NOT_FRAMES: Final = (0xC4, 0xC8, 0xCC)
"""Markers of a JPEG between those of its frames."""


def described(part: Mapping[str, Any]) -> str:
    """*part* of a message in words, on whichever wire it came: `an image (image/png, 68 bytes, 1 x 1 pixels)`."""
    kind = str(part.get("type", ""))
    found = _Found()
    found.look(part)
    what = next((name for word, name in _KINDS.items() if word in (*kind.split("_"), found.type.split("/")[0])), "")
    what = what or ("a document" if kind in ("document", "file", "input_file") else kind)
    if found.url:
        return f"{what} (at {found.url}, which nobody opens here)"
    if found.data is None:
        return what
    size = f"{len(found.data)} byte{'s' * (len(found.data) != 1)}"
    pixels = _pixels(found.data)
    named = (found.name, found.type, size, f"{pixels[0]} x {pixels[1]} pixels" if pixels else "")
    return f"{what} ({', '.join(filter(None, named))})"


class _Found:
    """What a part holds, wherever it stands."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.type = self.url = self.name = ""

    def look(self, part: Mapping[str, Any]) -> None:
        """Take in a part and what is inside of it."""
        for key, value in part.items():
            if isinstance(value, Mapping):
                self.look(value)
            elif not isinstance(value, str):
                continue
            elif key == "media_type":
                self.type = value
            elif key in ("title", "filename"):
                self.name = value
            elif key == "format" and "/" not in value and "data" in part:
                self.type = f"audio/{value}"
            elif value.startswith("data:"):
                head, _, value = value.partition(",")
                self.type = head.removeprefix("data:").partition(";")[0]
                self.data = _decoded(value)
            elif value.startswith(("http://", "https://")):
                self.url = value
            elif key == "data":
                self.data = value.encode() if part.get("type") == "text" else _decoded(value)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return text.encode()


def _pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height that the head of a PNG, GIF or JPEG says; None for anything else."""
    try:
        if data.startswith(_PNG):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"\xff\xd8"):
            width, height = _of_jpeg(data)
        else:
            return None
    except struct.error:  # the head is cut
        return None
    return width, height


def _of_jpeg(data: bytes) -> tuple[int, int]:
    place = 2
    while True:
        _, marker, size = struct.unpack_from(">BBH", data, place)
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + size
