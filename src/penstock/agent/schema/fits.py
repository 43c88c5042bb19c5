"""Whether a JSON value fits a JSON Schema: the first thing that does not, with its path. Pure.

The keywords are those that the schemas of tools use; any other, `format` among them, is not looked at, as the vendors
do it. What a schema leaves open fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

__all__ = ["misfit"]

_REF: Final = "#/"
_DEEPEST: Final = 200  # references within references, of a schema that refers to itself
_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: _KINDS["number"](value) and value == value // 1,
}


def misfit(value: object, schema: Mapping[str, Any]) -> str | None:
    """What does not fit, in a sentence with the path; None if all does."""
    return next(_Check(schema).faults(value, schema, "$", 0), None)


class _Check:
    """One schema, for its references."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def faults(self, value: Any, schema: Any, path: str, depth: int) -> Iterator[str]:
        """All that does not fit, in order."""
        if schema is False:
            yield f"it must not be there - at `{path}`"
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return
        if "$ref" in schema:
            yield from self.faults(value, self._referred(schema["$ref"]), path, depth + 1)
        yield from _plain(value, schema, path)
        for each in _list(schema.get("allOf")):
            yield from self.faults(value, each, path, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            branches = _list(schema.get(keyword))
            found = [next(self.faults(value, each, path, depth + 1), None) for each in branches]
            if branches and None not in found:
                # The branch that comes furthest says best what is wrong.
                yield max((fault for fault in found if fault), key=_depth)
        if isinstance(value, dict):
            yield from self._object(value, schema, path, depth)
        if isinstance(value, list):
            first, rest = _list(schema.get("prefixItems")), schema.get("items", True)
            for number, item in enumerate(value):
                its = first[number] if number < len(first) else rest
                yield from self.faults(item, its, f"{path}[{number}]", depth + 1)

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
        for name in _list(schema.get("required")):
            if name not in value:
                yield f"Object missing required field `{name}` - at `{path}`"
        properties, other = schema.get("properties"), schema.get("additionalProperties", True)
        properties = properties if isinstance(properties, Mapping) else {}
        patterns = schema.get("patternProperties") or {}
        for name, item in value.items():
            if name in properties:
                yield from self.faults(item, properties[name], f"{path}.{name}", depth + 1)
                continue
            its = [each for pattern, each in patterns.items() if _found(pattern, name)]
            if not its and other is False:
                known = ", ".join(f"`{each}`" for each in properties)
                yield f"Object contains unknown field `{name}`; it has {known or 'none'} - at `{path}`"
            for each in its or [other]:
                yield from self.faults(item, each, f"{path}.{name}", depth + 1) if each is not False else ()

    def _referred(self, reference: object) -> Any:
        """The schema that is referred to; True, which all fits, where there is none."""
        found: Any = self._root
        if reference == "#":
            return found
        if not isinstance(reference, str) or not reference.startswith(_REF):
            return True
        for name in reference.removeprefix(_REF).split("/"):
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        return True if found is None else found


def _plain(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """What the keywords say that look at no part of the value."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else _list(kinds)
    if kinds and not any(_KINDS.get(kind, lambda _: True)(value) for kind in kinds):
        yield f"Expected `{' | '.join(kinds)}`, got `{_kind(value)}` - at `{path}`"
        return
    allowed = [schema["const"]] if "const" in schema else _list(schema.get("enum"))
    if allowed and not any(_same(value, each) for each in allowed):
        known = ", ".join(msgspec.json.encode(each).decode() for each in allowed[:20])
        yield f"Invalid value {_shown(value)}, expected {known} - at `{path}`"
    for keyword, says, measure, fits in _BOUNDS:
        bound = schema.get(keyword)
        size = measure(value)
        if (
            isinstance(bound, int | float)
            and not isinstance(bound, bool)
            and size is not None
            and not fits(size, bound)
        ):
            yield f"Expected {says} {bound} - at `{path}`"
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and isinstance(value, str) and not _found(pattern, value):
        yield f"Expected text that matches {pattern!r} - at `{path}`"


def _number(value: Any) -> float | int | None:
    return value if _KINDS["number"](value) else None


def _length(kind: type[str] | type[list[Any]] | type[dict[str, Any]]) -> Callable[[Any], int | None]:
    return lambda value: len(value) if isinstance(value, kind) else None


def _least(size: float, bound: float) -> bool:
    return size >= bound


def _most(size: float, bound: float) -> bool:
    return size <= bound


_BOUNDS: Final[Iterable[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]]]] = (
    ("minimum", "a number that is at least", _number, _least),
    ("maximum", "a number that is at most", _number, _most),
    ("exclusiveMinimum", "a number above", _number, lambda size, bound: size > bound),
    ("exclusiveMaximum", "a number below", _number, lambda size, bound: size < bound),
    ("minLength", "text with a length of at least", _length(str), _least),
    ("maxLength", "text with a length of at most", _length(str), _most),
    ("minItems", "a list with a length of at least", _length(list), _least),
    ("maxItems", "a list with a length of at most", _length(list), _most),
    ("minProperties", "an object with a length of at least", _length(dict), _least),
    ("maxProperties", "an object with a length of at most", _length(dict), _most),
)


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _same(value: object, other: object) -> bool:
    # To Python True is 1; to JSON it is not.
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _found(pattern: str, text: str) -> bool:
    """Whether a pattern is found; one that Python does not know is none."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _kind(value: Any) -> str:
    return next(
        kind for kind in ("object", "array", "string", "boolean", "null", "integer", "number") if _KINDS[kind](value)
    )


def _depth(fault: str) -> int:
    """How far inside the value a fault is."""
    path = fault.rpartition("`$")[2]
    return path.count(".") + path.count("[")


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}…"
