"""What an answer on the chat wire holds beside text and calls: images, sound, citations. It is kept as blocks. Pure.

Seen: OpenRouter's and Google's images, OpenAI's audio and annotations, Perplexity's citations and search results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.core.chunks import OpaqueChunk
from penstock.wire.event_json import UNDECODABLE, json_text

__all__ = ["BLOCKS", "Kept"]

BLOCKS: Final = frozenset({"image_url", "audio", "annotations", "citations", "search_results"})
"""The types of what is kept. The Responses API, which the same vendor may have, knows none of them as an item."""

_list = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


class Kept:
    """The blocks of one answer without a neutral form. What is of a wrong type is nothing."""

    def __init__(self, vendor: str) -> None:
        self.is_sound_whole = False
        """The vendor has said until when it keeps the sound: only of what it has made whole. It says no other end."""
        self.anything = False
        """Whether there is a block at all."""
        self._vendor = vendor
        self._sound: dict[str, msgspec.Raw] = {}
        self._pieces: dict[str, list[str]] = {}  # of its data and its transcript
        self._lists: dict[str, list[msgspec.Raw]] = {}

    def pictures(self, images: msgspec.Raw) -> Iterator[OpaqueChunk]:
        """A block for each, at once."""
        for image in _items(images):
            if bytes(image)[:1] != b"{":
                continue
            self.anything = True
            yield OpaqueChunk(vendor=self._vendor, data=bytes(image).decode("utf-8", "replace"))

    def sound(self, audio: msgspec.Raw) -> bool:
        """Note a piece of it; whether there was one."""
        try:
            fields = _fields.decode(audio) if bytes(audio)[:1] == b"{" else {}
        except UNDECODABLE:
            return False
        for name, raw in fields.items():
            if name in ("data", "transcript"):
                try:
                    self._pieces.setdefault(name, []).append(_text.decode(raw))
                except UNDECODABLE:
                    continue
            elif bytes(raw) != b"null":
                self._sound[name] = raw
        self.is_sound_whole = self.is_sound_whole or "expires_at" in self._sound
        self.anything = self.anything or bool(fields)
        return bool(fields)

    def add(self, name: str, values: msgspec.Raw) -> None:
        """More of a list."""
        if items := _items(values):
            self.anything = True
            self._lists.setdefault(name, []).extend(items)

    def note(self, name: str, values: msgspec.Raw) -> None:
        """A list that is sent whole, again and again."""
        if items := _items(values):
            self.anything = True
            self._lists[name] = items

    def blocks(self) -> Iterator[OpaqueChunk]:
        """What is known to be whole only at the end."""
        if self._sound or self._pieces:
            sound = {**self._sound, **{name: "".join(pieces) for name, pieces in self._pieces.items()}}
            yield self._block({"type": "audio", "audio": sound})
        for name, values in self._lists.items():
            yield self._block({"type": name, name: values})

    def _block(self, block: dict[str, object]) -> OpaqueChunk:
        return OpaqueChunk(vendor=self._vendor, data=json_text(block))


def _items(values: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _list.decode(values) if bytes(values)[:1] == b"[" else []
    except UNDECODABLE:
        return []
