"""A value for any JSON Schema, made of what a prompt offers and, where that offers nothing, of the schema itself.

It is the same for the same prompt. Keywords that no schema of an answer or of a tool uses, such as `not`, are not
looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from penstock.agent.schema.fits import misfit
from penstock.testing.demo.patterns import LONGEST, written_as
from penstock.testing.demo.words import Words, stems_of_name

__all__ = ["Filler"]

_DEEPEST: Final = 6
"""Objects within objects, where the schema leaves it open."""
_ENDLESS: Final = 50
"""Objects within objects of a schema that nothing can fit, as each of its objects needs another one."""
_ITEMS: Final = 3
"""Items of a list of values that the words offer, at most."""
_MOST: Final = 1_000
"""Items, and fields, that are made up, whatever a schema asks for."""
_NUMBER: Final = ("integer", "number")
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-12-01", "date-time": "2026-12-01T12:00:00Z", "time": "12:00:00Z", "duration": "PT1H",
    "email": "ann@example.org", "uri": "https://example.org/", "hostname": "example.org", "ipv4": "127.0.0.1",
    "ipv6": "::1", "decimal": "1", "uuid": "00000000-0000-4000-8000-000000000000", "regex": ".*", "byte": "ZGVtbw==",
}  # fmt: skip
_FROM_WORDS: Final[Mapping[str, Callable[[Words], list[str]]]] = {
    "date": lambda words: words.dates, "email": lambda words: words.emails, "uri": lambda words: words.links,
}  # fmt: skip
# What a property is called, and what it may be; the first that the words offer is taken.
_CALLED: Final[Sequence[tuple[frozenset[str], Callable[[Words], list[str]]]]] = tuple(
    (frozenset().union(*map(stems_of_name, names.split())), kind)
    for names, kind in (
        ("path file filename folder directory", lambda words: words.files),
        ("url uri link href", lambda words: words.links),
        ("email mail address", lambda words: words.emails),
        ("date day", lambda words: words.dates),
    )
)
_SAYS_ALL: Final = stems_of_name(
    "answer body comment content explanation message note prompt question reason summary text"
)


_IN_ORDER: Final = "items in this order"
_KEYWORD: Final = (
    rf"(?:format|pattern|multipleOf|uniqueItems|{_IN_ORDER}|(?:exclusiveM|m)(?:in|ax)imum|m(?:in|ax)(?:Length|Items)): "
)
_TOLD: Final = re.compile(rf"\((?={_KEYWORD})(.*)\)$", re.DOTALL)
_NOTE: Final = re.compile(rf"; (?={_KEYWORD})")
# Times without a zone have no format, so that only the name tells them.
_PLAIN_TEXT: Final = {"type", "description", "title"}
_MOMENTS: Final = {"at": "2026-12-01T12:00:00Z", "timestamp": "2026-12-01T12:00:00Z", "time": "12:00:00"}


class Filler:
    """Fills what *words* are asked for. lines: of results, for texts that the words do not offer.

    used: whether a value came from either. missing: the kinds of those that are required and came from neither; a text
    cannot be made up as well as a number can.
    whole: what is not required is filled in too.
    """

    def __init__(self, words: Words, root: Mapping[str, Any], *, whole: bool, lines: Sequence[str] = ()) -> None:
        self._words = words
        self._root = root
        self._whole = whole
        self._lines = lines
        self.used = False
        self.missing: list[str] = []

    def fill(self) -> Any:
        """The value."""
        return self._value(self._root, "", 0)

    def _value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return name or "value"
        if depth > _ENDLESS:
            return None
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one_of(schema["enum"], name)
        kind = self._kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in _NUMBER:
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return not any(
                f"{no} {name.replace('_', ' ')}" in self._words.text.lower() for no in ("no", "not", "without")
            )
        return None if kind == "null" else self._text(schema, name)

    def _plain(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema without references, and of alternatives the first that has something to say."""
        for _ in range(2 * _DEEPEST):
            merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            if "$ref" in schema:
                schema = {**self._referred(schema["$ref"]), **merged}
            elif "allOf" in schema:
                for each in schema["allOf"]:
                    merged = _both(merged, self._plain(each, depth))
                schema = merged
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                schema = _both(merged, self._branch(branches, depth))
            else:
                return {**schema, **_told(schema.get("description"))}
        return schema

    def _branch(self, branches: Sequence[Any], depth: int) -> Mapping[str, Any]:
        plain = [branch for branch in branches if isinstance(branch, Mapping)]
        nothing = [branch for branch in plain if branch.get("type") == "null"]
        if nothing and depth >= _DEEPEST:
            return nothing[0]
        others = [branch for branch in plain if branch not in nothing]
        # Deep down, one that does not lead further down.
        flat = [branch for branch in others if "$ref" not in branch and self._kind(branch) != "object"]
        return next(iter(flat if depth >= _DEEPEST and flat else others or nothing), {})

    def _referred(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    @staticmethod
    def _kind(schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        implied = (("properties", "object"), ("additionalProperties", "object"), ("items", "array"),
                   ("prefixItems", "array"), ("minimum", "number"), ("maximum", "number"))  # fmt: skip
        return kind or next((found for key, found in implied if key in schema), "string")

    def _one_of(self, allowed: Sequence[Any], name: str) -> Any:
        said = self._words.text.lower()
        found = next((each for each in allowed if isinstance(each, str) and each and each.lower() in said), None)
        if found is not None:
            self.used = True
            return found
        self.missing += ["enum"] if name else []
        return allowed[0]

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required") or ()
        value: dict[str, Any] = {}
        for name, inner in (schema.get("properties") or {}).items():
            if name in required or (self._whole and depth < _DEEPEST):
                value[name] = self._value(inner, name, depth + 1)
            elif not self._whole and self._is_asked(inner, name):
                optional = Filler(self._words, self._root, whole=False, lines=self._lines)
                found = optional._value(inner, name, depth + 1)
                if optional.used and not optional.missing:
                    value[name], self.used = found, True
        more = schema.get("additionalProperties")
        for number in range(len(value), min(schema.get("minProperties", 0), _MOST)):
            value[f"key_{number + 1}"] = self._value(more, "value", depth + 1)
        return value

    def _is_asked(self, schema: Any, name: str) -> bool:
        """Whether what is not required shall be given: where only one of some values is right, or the words name it."""
        plain = self._plain(schema, 0) if isinstance(schema, Mapping) else {}
        return "enum" in plain or self._kind(plain) in _NUMBER or name.lower() in self._words.text.lower()

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        items = schema.get("items", {})
        first = [self._value(each, name, depth + 1) for each in schema.get("prefixItems") or ()]
        most = schema.get("maxItems", math.inf)
        least = min(schema.get("minItems", 0), _MOST)
        if schema.get("items") is False or (first and "items" not in schema):
            return first
        wanted = max(least, min(most, self._count(items)) if depth < _DEEPEST else 0)
        found = first + [self._value(items, name, depth + 1) for _ in range(wanted - len(first))]
        if schema.get("uniqueItems"):
            found = [item for place, item in enumerate(found) if item not in found[:place]]
            allowed = self._plain(items, depth).get("enum") if isinstance(items, Mapping) else None
            for number in range(least - len(found)):
                spare = [each for each in allowed or () if each not in found]
                found.append(spare[0] if spare else _other(found[-1], number + 1))
        return found

    def _count(self, items: Any) -> int:
        """How many items the words have."""
        plain = self._plain(items, 0) if isinstance(items, Mapping) else {}
        kind = self._kind(plain)
        if kind in _NUMBER:
            return max(1, len(self._words.numbers))
        if kind == "string" and "enum" not in plain:
            return min(_ITEMS, max(1, len(self._words.names) or len(self._words.quoted)))
        return 1

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if whole else 0)
        low = schema.get("minimum", -math.inf)
        high = schema.get("maximum", math.inf)
        edge = step or 0.5
        if (above := schema.get("exclusiveMinimum")) is not None:
            low = max(low, above + edge)
        if (below := schema.get("exclusiveMaximum")) is not None:
            high = min(high, below - edge)
        if low > high:  # between two numbers that lie close
            low = high = ((above if above is not None else low) + (below if below is not None else high)) / 2
        for number in list(self._words.numbers):
            value: float = int(number) if "." not in number else float(number)
            if low <= value <= high and (not step or value % step == 0):
                self.used = True
                self._words.numbers.remove(number)
                self._words.numbers.append(number)
                return int(value) if whole else value
        self.missing.append("number")
        least = min(max(1, low), high)
        if step:
            least = math.ceil(least / step) * step
            least = least if least <= high else math.floor(high / step) * step
        return int(least) if whole else least

    def _text(self, schema: Mapping[str, Any], name: str) -> str:
        if schema.keys() <= _PLAIN_TEXT and name.rpartition("_")[2] in _MOMENTS:
            self.missing.append("string")
            return _MOMENTS[name.rpartition("_")[2]]
        least, most = min(schema.get("minLength", 0), LONGEST), schema.get("maxLength")
        for text in self._offers(schema, name):
            if misfit(text, {**schema, "type": "string"}) is None:
                self.used = True
                return text
        self.missing.append("string")
        if "pattern" in schema:
            return written_as(schema["pattern"])
        text = _FORMATS.get(schema.get("format", ""), name.replace("_", " ") or "text")
        return text.ljust(least, ".")[:most]

    def _offers(self, schema: Mapping[str, Any], name: str) -> list[str]:
        """What the words have for a property of this name, the likeliest first."""
        words = self._words
        if (form := str(schema.get("format"))) in _FORMATS:
            kind = _FROM_WORDS.get(form)
            return [words.take(found)] if kind is not None and (found := kind(words)) else []
        called = stems_of_name(name)
        for names, kind in _CALLED:
            if called & names:
                return [words.take(found)] if (found := kind(words)) else []
        kinds = [words.quoted, words.names, [] if self._whole else [" ".join(words.rest)] if words.rest else []]
        if called & _SAYS_ALL and not words.quoted:
            kinds.insert(0, [words.text] if words.text else [])
        found = [words.take(values) for values in kinds[:] if values]
        return found[:1] if found else list(self._lines[:1])


def _told(description: object) -> dict[str, Any]:
    """The keywords that a strict schema has no room for, and that its description therefore tells the model."""
    found = _TOLD.search(description) if isinstance(description, str) else None
    keywords: dict[str, Any] = {}
    for note in _NOTE.split(found[1]) if found is not None else ():
        name, _, value = note.partition(": ")
        name = "prefixItems" if name == _IN_ORDER else name
        with suppress(msgspec.DecodeError):  # somebody's own words look like it
            keywords[name] = value if name in ("format", "pattern") else msgspec.json.decode(value)
    return keywords


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two schemas that hold at once."""
    merged = {**one, **other}
    for key in ("properties", "$defs"):
        if key in one and key in other:
            merged[key] = {**one[key], **other[key]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _other(value: Any, number: int) -> Any:
    """A value of the same kind that is another one."""
    if isinstance(value, bool):
        return not value
    return value + number if isinstance(value, int | float) else f"{value} {number + 1}"
