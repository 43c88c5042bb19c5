"""Whether a JSON value fits a JSON Schema: the first thing that does not, with its path. Pure.

The keywords are those that the schemas of tools use; any other, `format` among them, is not looked at, as the vendors
do it. What a schema leaves open fits.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from penstock.agent.schema.inliner import pointed

__all__ = ["misfit"]

_Fault: TypeAlias = tuple[str, str]  # what is wrong, and the path from the value that was looked at

_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _KINDS["number"](value) and value == value // 1,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def misfit(value: object, schema: Mapping[str, Any], *, patterns: bool = True) -> str | None:
    """What does not fit, in a sentence with the path; None if all does.

    patterns: whether regular expressions are tried; what does not fit a bad one can take Python for ever.
    """
    fault = _Check(schema, patterns).fault(value, schema)
    return None if fault is None else f"{fault[0]} - at `${fault[1]}`"


class _Check:
    """One value against one schema: holds that, for its references, and what was found at each."""

    def __init__(self, root: Mapping[str, Any], patterns: bool) -> None:
        self._root = root
        self._tries = patterns
        self._found: dict[tuple[int, int], _Fault | None] = {}

    def fault(self, value: Any, schema: Any) -> _Fault | None:
        """The first thing that does not fit."""
        if not isinstance(schema, Mapping):
            return ("it must not be there", "") if schema is False else None
        for keyword, operand in schema.items():
            check = _KEYWORDS.get(keyword)
            if check is not None and (found := check(self, value, operand, schema)) is not None:
                return found
        return None

    def reference(self, value: Any, reference: object, schema: Mapping[str, Any]) -> _Fault | None:
        """Looked at once for each value: else schemas that refer to themselves twice take for ever."""
        referred = self._referred(reference)
        key = (id(value), id(referred))
        if key not in self._found:
            self._found[key] = None  # what is nothing but itself says nothing
            self._found[key] = self.fault(value, referred)
        return self._found[key]

    def all_of(self, value: Any, branches: object, schema: Mapping[str, Any]) -> _Fault | None:
        return _first(self.fault(value, each) for each in _list(branches))

    def any_of(self, value: Any, branches: object, schema: Mapping[str, Any]) -> _Fault | None:
        faults = list[_Fault]()
        for each in _list(branches):
            fault = self.fault(value, each)
            if fault is None:
                return None
            faults.append(fault)
        # The branch that comes furthest says best what is wrong.
        return max(faults, key=lambda fault: fault[1].count(".") + fault[1].count("["), default=None)

    def properties(self, value: Any, properties: object, schema: Mapping[str, Any]) -> _Fault | None:
        if not isinstance(value, dict) or not isinstance(properties, Mapping):
            return None
        return _first(self._below(value[name], its, f".{name}") for name, its in properties.items() if name in value)

    def patterns(self, value: Any, patterns: object, schema: Mapping[str, Any]) -> _Fault | None:
        if not isinstance(value, dict) or not isinstance(patterns, Mapping):
            return None
        return _first(
            self._below(item, its, f".{name}")
            for pattern, its in patterns.items()
            for name, item in value.items()
            if self.found(pattern, name)
        )

    def others(self, value: Any, other: object, schema: Mapping[str, Any]) -> _Fault | None:
        if not isinstance(value, dict):
            return None
        properties, patterns = (
            each if isinstance(each, Mapping) else {} for each in map(schema.get, ("properties", "patternProperties"))
        )
        for name in value:
            if name in properties or any(self.found(pattern, name) is not False for pattern in patterns):
                continue
            if other is False:
                known = ", ".join(f"`{each}`" for each in properties)
                return f"Object contains unknown field `{name}`; it has {known or 'none'}", ""
            if (found := self._below(value[name], other, f".{name}")) is not None:
                return found
        return None

    def first_items(self, value: Any, first: object, schema: Mapping[str, Any]) -> _Fault | None:
        if not isinstance(value, list):
            return None
        pairs = enumerate(zip(value, _list(first), strict=False))
        return _first(self._below(item, its, f"[{number}]") for number, (item, its) in pairs)

    def items(self, value: Any, its: object, schema: Mapping[str, Any]) -> _Fault | None:
        if not isinstance(value, list):
            return None
        begin = len(_list(schema.get("prefixItems")))
        return _first(self._below(value[number], its, f"[{number}]") for number in range(begin, len(value)))

    def found(self, pattern: str, text: str) -> bool | None:
        """Whether a pattern is found; None for one that Python does not know, or is not to try."""
        try:
            return re.search(pattern, text) is not None if self._tries else None
        except (re.error, OverflowError, RecursionError):
            return None

    def _below(self, value: Any, schema: Any, step: str) -> _Fault | None:
        fault = self.fault(value, schema)
        return None if fault is None else (fault[0], step + fault[1])

    def _referred(self, reference: object) -> Any:
        """The schema that is referred to; True, which all fits, where there is none."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return True
        found = pointed(self._root, reference)
        return True if found is None else found


def _kind(check: _Check, value: Any, kinds: Any, schema: Mapping[str, Any]) -> _Fault | None:
    names = [str(kind).lower() for kind in ([kinds] if isinstance(kinds, str) else _list(kinds))]
    if not names or any(_KINDS.get(name, lambda _: True)(value) for name in names):
        return None
    if value is None and schema.get("nullable") is True:  # OpenAPI's word for it
        return None
    got = next(kind for kind, fits in _KINDS.items() if fits(value))
    return f"Expected `{' | '.join(names)}`, got `{got}`", ""


def _values(check: _Check, value: Any, allowed: object, schema: Mapping[str, Any]) -> _Fault | None:
    # To Python True is 1; to JSON it is not.
    if any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in _list(allowed)):
        return None
    known = ", ".join(msgspec.json.encode(each).decode() for each in _list(allowed)[:20])
    text = msgspec.json.encode(value).decode()
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    return (f"Invalid value {shown}, expected {known}", "") if known else None


def _required(check: _Check, value: Any, names: object, schema: Mapping[str, Any]) -> _Fault | None:
    missing = [name for name in _list(names) if name not in value] if isinstance(value, dict) else ()
    return (f"Object missing required field `{missing[0]}`", "") if missing else None


def _pattern(check: _Check, value: Any, pattern: object, schema: Mapping[str, Any]) -> _Fault | None:
    if not isinstance(value, str) or not isinstance(pattern, str) or check.found(pattern, value) is not False:
        return None
    return f"Expected text that matches {pattern!r}", ""


def _bound(kind: str, says: str, fits: Callable[[Any, Any], bool]) -> Callable[..., _Fault | None]:
    """The check of a bound: of a number, or of how long something is."""

    def check(_: _Check, value: Any, bound: Any, schema: Mapping[str, Any]) -> _Fault | None:
        if not _KINDS["number"](bound) or not _KINDS[kind](value):
            return None
        return None if fits(value if kind == "number" else len(value), bound) else (f"Expected {says} {bound}", "")

    return check


_KEYWORDS: Final[Mapping[str, Callable[[_Check, Any, Any, Mapping[str, Any]], _Fault | None]]] = {
    "$ref": _Check.reference,
    "type": _kind,
    "enum": _values,
    "const": lambda check, value, allowed, schema: _values(check, value, [allowed], schema),
    "allOf": _Check.all_of,
    "anyOf": _Check.any_of,
    "oneOf": _Check.any_of,
    "required": _required,
    "properties": _Check.properties,
    "patternProperties": _Check.patterns,
    "additionalProperties": _Check.others,
    "prefixItems": _Check.first_items,
    "items": _Check.items,
    "pattern": _pattern,
    "minimum": _bound("number", "a number that is at least", operator.ge),
    "maximum": _bound("number", "a number that is at most", operator.le),
    "exclusiveMinimum": _bound("number", "a number above", operator.gt),
    "exclusiveMaximum": _bound("number", "a number below", operator.lt),
    "minLength": _bound("string", "text with a length of at least", operator.ge),
    "maxLength": _bound("string", "text with a length of at most", operator.le),
    "minItems": _bound("array", "a list with a length of at least", operator.ge),
    "maxItems": _bound("array", "a list with a length of at most", operator.le),
    "minProperties": _bound("object", "an object with a length of at least", operator.ge),
    "maxProperties": _bound("object", "an object with a length of at most", operator.le),
}


def _first(faults: Iterable[_Fault | None]) -> _Fault | None:
    return next((fault for fault in faults if fault is not None), None)


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()
