"""What makes the definition of a tool one that vendors take: its name and its schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from penstock.core.messages import Tool
from penstock.core.validation import near

__all__ = ["LONGEST_TOOL_NAME", "definition_mistake", "own_tool_name"]

LONGEST_TOOL_NAME: Final = 64
"""Characters of a tool's name: OpenAI's rule, the narrowest; read 2026-11-21."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")
# In any case: some write them in capitals, as Google's own API does.
_Type: TypeAlias = Literal["object", "array", "string", "number", "integer", "boolean", "null"]
_TYPES: Final = get_args(_Type)
_ONE: Final = ("items", "additionalProperties", "not")  # keywords that hold a schema
_LIST: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_DEEPEST: Final = 200  # schemas within each other: what is nested deeper than any real one is let be
_BY_NAME: Final = ("properties", "$defs", "definitions")


class _Known(msgspec.Struct, gc=False):
    """A schema of known types, as most are; that there are keywords of other forms is for the long way."""

    type: _Type | tuple[_Type, ...] | None = None
    properties: dict[str, _Known] | None = None
    defs: dict[str, _Known] | None = msgspec.field(name="$defs", default=None)
    definitions: dict[str, _Known] | None = None
    items: _Known | bool | None = None
    additional: _Known | bool | None = msgspec.field(name="additionalProperties", default=None)
    never: _Known | bool | None = msgspec.field(name="not", default=None)
    any: tuple[_Known | bool, ...] | None = msgspec.field(name="anyOf", default=None)
    one: tuple[_Known | bool, ...] | None = msgspec.field(name="oneOf", default=None)
    all: tuple[_Known | bool, ...] | None = msgspec.field(name="allOf", default=None)
    prefix: tuple[_Known | bool, ...] | None = msgspec.field(name="prefixItems", default=None)


def own_tool_name(name: str, longest: int = LONGEST_TOOL_NAME) -> str:
    """*name* if it is one that vendors take, else one made of it, and always the same."""
    if len(name) <= longest and _NAME.fullmatch(name):
        return name
    return _FOREIGN.sub("_", name)[:longest] or "unknown"


def definition_mistake(tool: Tool, longest: int = LONGEST_TOOL_NAME) -> str | None:
    """What vendors would refuse in a definition, with the tool's name; None if they would nothing.

    longest: characters of a name.
    """
    wrong = _name_mistake(tool.name, longest) or _schema_mistake(tool.parameters)
    return None if wrong is None else f"tool `{tool.name}`: {wrong}"


def _name_mistake(name: object, longest: int) -> str | None:
    if isinstance(name, str) and len(name) <= longest and _NAME.fullmatch(name):
        return None
    return f"the name may have 1 to {longest} letters, digits, `_` and `-`"


def _schema_mistake(schema: object) -> str | None:
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        found = schema.get("type") if isinstance(schema, Mapping) else None
        hint = near(found, ["object"]) if isinstance(found, str) else ""
        return f"the schema is not an object's: its `type` must be 'object'{hint}"
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if not isinstance(properties, Mapping):
        return "the schema's `properties` are no object"
    if not isinstance(required, list | tuple):
        return "the schema's `required` is no list"
    for name in required:
        if not isinstance(name, str) or name not in properties:
            return f"`{name}` is required but is not among the schema's properties"
    if not _has_known_types(schema):
        for path, kind in _types(schema, "$", set()):
            if not _is_known(kind):
                return f"`{path}` has the type {kind!r}, expected one of: {', '.join(_TYPES)}{near(kind, _TYPES)}"
    return None


def _is_known(kind: object) -> bool:
    return isinstance(kind, str) and kind.lower() in _TYPES


def _has_known_types(schema: object) -> bool:
    """Whether all that stands as `type` is known. The short way for most schemas, which are looked at in each call."""
    try:
        msgspec.convert(schema, _Known)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _types(node: object, path: str, seen: set[int], depth: int = 0) -> Iterator[tuple[str, object]]:
    """All that stands as `type` in a schema, with its path. A node that stands in several places counts once."""
    if not isinstance(node, Mapping) or id(node) in seen or depth > _DEEPEST:
        return
    seen.add(id(node))
    kinds = node.get("type")
    if kinds is not None:
        yield from ((path, kind) for kind in (kinds if isinstance(kinds, list | tuple) else [kinds]))
    for keyword in _BY_NAME:
        inner = node.get(keyword)
        if isinstance(inner, Mapping):
            for name, each in inner.items():
                yield from _types(each, f"{path}.{name}", seen, depth + 1)
    for keyword in _LIST:
        inner = node.get(keyword)
        if isinstance(inner, list | tuple):
            for each in inner:
                yield from _types(each, path, seen, depth + 1)
    for keyword in _ONE:
        yield from _types(node.get(keyword), f"{path}[]" if keyword == "items" else path, seen, depth + 1)
