"""What the readers of all three APIs share: the JSON, checked on the way, with the place of what is wrong; and files.

A history is read from its bytes, so that what goes back as it came does so byte for byte.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar

import msgspec

from penstock.core.arguments import UNDECODABLE
from penstock.core.errors import ConfigError
from penstock.core.messages import (
    MEDIA_TYPES,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolCallPart,
)
from penstock.core.validation import unicode_fault
from penstock.histories.clean import Note, NoteKind

__all__ = ["JSON", "Fields", "Reading", "decoded", "file_of", "image_of", "json_of", "whole", "wrong"]

T = TypeVar("T")
JSON: TypeAlias = bytes | str | msgspec.Raw
"""A value as its JSON text."""
_Raws: TypeAlias = dict[str, msgspec.Raw]


class Fields(dict[str, msgspec.Raw]):
    """An object, by the names of its fields; what is null is not there. text: its JSON text, as it came."""

    text: str = ""


_NULL: Final = b"null"
_EMPTY: Final = (b'""', b"[]", b"{}", b"false")
_TEXT: Final = msgspec.Raw(b'"text"')
_MARK: Final = "cache_control"
_DATA_URL: Final = r"(?s)data:([a-z]+/[a-z.+-]+);base64,(.*)"


def wrong(place: str, why: object) -> NoReturn:
    """Raise ConfigError for what has no form of ours; msgspec says where inside the place."""
    # "[...]" is what it says of a value of an object whose names are not known before.
    what, _, inner = str(why).replace("[...]", "").partition(" - at `$")
    place += inner.removesuffix("`")
    error = ConfigError(f"{place}: {what}")
    error.path = f"$.{place}"
    raise error


def decoded(data: JSON, kind: type[T], place: str) -> T:
    """The value, of this type."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UNDECODABLE as error:
        wrong(place, error if isinstance(data, str) else unicode_fault(bytes(data), error))


def json_of(value: object) -> str:
    """The JSON text of fields, or of one of them."""
    return msgspec.json.encode(value).decode("utf-8", "replace")


class Reading:
    """A history that is being read, with what has come of it until now.

    vendor: whose blocks, proofs and calls they are.
    """

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor
        self.system: list[str] = []
        self.notes: list[Note] = []
        self._turns: list[tuple[Literal["user", "assistant"], list[Part]]] = []
        self._open = False

    @property
    def messages(self) -> list[Message]:
        """What was added: a text alone is the content itself."""
        return [
            Message(role, parts[0].text if len(parts) == 1 and isinstance(parts[0], TextPart) else parts)
            for role, parts in self._turns
        ]

    @property
    def last_role(self) -> Literal["user", "assistant"]:
        """Who has spoken last; the user, if nobody has."""
        return self._turns[-1][0] if self._turns else "user"

    def add(
        self, role: Literal["user", "assistant"], parts: Sequence[Part], place: str, *, piece: bool = False
    ) -> None:
        """A message; with *piece* it goes on with the pieces of that role before it."""
        if not parts:
            self.note("empty", place, "an empty message was left out")
        elif piece and self._open and self._turns[-1][0] == role:
            self._turns[-1][1].extend(parts)
        else:
            self._turns.append((role, list(parts)))
            self._open = piece

    def note(self, kind: NoteKind, place: str, what: str) -> None:
        """Say what was not taken as it is."""
        self.notes.append(Note(kind, place, what))

    def fields(self, data: msgspec.Raw, place: str) -> Fields:
        """Those of an object, without a mark for the cache."""
        given = decoded(data, _Raws, place)
        mark = given.pop(_MARK, None)
        if mark is not None:
            self.note("cache_mark", place, "its mark for the cache was left out: Options(cache=...) sets them")
        fields = Fields((name, value) for name, value in given.items() if bytes(value) != _NULL)
        fields.text = json_of(msgspec.Raw(bytes(data)) if mark is None else given)
        return fields

    def role(self, fields: Fields, known: Sequence[str], place: str) -> str:
        """Who speaks, one of those that are *known*."""
        if "role" not in fields:
            wrong(place, "it has no `role`")
        role = decoded(fields["role"], str, f"{place}.role")
        if role not in known:
            wrong(f"{place}.role", f"it is {role!r}, expected {', '.join(known[:-1])} or {known[-1]}")
        return role

    def kind(self, fields: Fields, place: str) -> str:
        """The type of a part, a block or a tool."""
        if "type" not in fields:
            wrong(place, "it has no `type`")
        return decoded(fields["type"], str, f"{place}.type")

    def pieces(self, content: msgspec.Raw, place: str) -> list[tuple[Fields, str]]:
        """What a message holds, each with its place: a text is one piece, an empty one none."""
        if bytes(content).startswith(b'"'):
            return [(Fields(type=_TEXT, text=content), place)] if bytes(content) not in _EMPTY else []
        pieces = decoded(content, list[msgspec.Raw], place)
        return [(self.fields(one, f"{place}[{number}]"), f"{place}[{number}]") for number, one in enumerate(pieces)]

    def left_out(self, fields: Fields, known: Collection[str], place: str) -> None:
        """Note the fields that are not *known* and say something."""
        names = [name for name, value in fields.items() if name not in known and bytes(value) not in (_NULL, *_EMPTY)]
        if names:
            said = f"{', '.join(map(repr, names))} {'is' if len(names) == 1 else 'are'} left out"
            self.note("field", place, f"{said}: Penstock has no equivalent")

    def read(self, fields: Fields, kind: type[T], place: str, *beside: str) -> T:
        """The fields as this struct. What it has not, nor stands *beside*, is left out, and noted."""
        known: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
        self.left_out(fields, (*known, *beside), place)
        return decoded(json_of(fields), kind, place)

    def own(self, data: str, text: str = "") -> OpaquePart:
        """A block of the vendor's own, by its JSON text. text: what another vendor gets in its place."""
        return OpaquePart(vendor=self.vendor, data=data, text=text)

    def call(self, id_: str, name: str, arguments: str, beside: Mapping[str, object]) -> ToolCallPart:
        """A call. beside: what else goes back with it, to its vendor alone."""
        if not beside:
            return ToolCallPart(id=id_, name=name, arguments=arguments)
        return ToolCallPart(id=id_, name=name, arguments=arguments, extra=json_of(beside), vendor=self.vendor)

    def system_texts(self, texts: Sequence[str], place: str) -> None:
        """More of the system prompt."""
        self.system += texts
        if len(self.system) > 1 and texts:
            self.note("system", place, "the texts of the system prompt became one, with an empty line between them")

    def system_within(self, texts: Sequence[str], place: str) -> None:
        """A message of the system's after others have spoken: the vendor's own, and to others a text of the user's."""
        text = "\n\n".join(texts)
        message = json_of({"role": "system", "content": text})
        self.add("user", [self.own(message, text)] if text else [], place)


def whole(data: str) -> bytes | None:
    """The bytes that a text in base64 stands for; None for any other text."""
    try:
        return b64decode(data, validate=True)
    except ValueError:
        return None


def _of_data_url(url: str, part: type) -> dict[str, Any] | None:
    found = re.fullmatch(_DATA_URL, url)
    if found is None or found[1] not in MEDIA_TYPES[part] or (data := whole(found[2])) is None:
        return None
    return {"data": data, "media_type": found[1]}


def image_of(url: str) -> ImagePart:
    """The image, which its URL may hold."""
    return ImagePart(**(_of_data_url(url, ImagePart) or {"url": url}))


class _File(msgspec.Struct):
    file_data: str = ""
    file_url: str | None = None
    filename: str | None = None


def file_of(data: JSON, place: str) -> DocumentPart | None:
    """A document of OpenAI's APIs; None for one by an id, or of a type that other vendors do not take."""
    file = decoded(data, _File, place)
    if file.file_url is not None:
        return DocumentPart(url=file.file_url, title=file.filename)
    given = _of_data_url(file.file_data, DocumentPart)
    return None if given is None else DocumentPart(**given, title=file.filename)
