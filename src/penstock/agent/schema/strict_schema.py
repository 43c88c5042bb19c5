"""A JSON Schema rewritten to what all vendors take as the form of an answer, and the way back. Pure.

The subset is what OpenAI's and Anthropic's structured outputs have in common: objects that are closed and have all of
their properties, lists, enums, `anyOf`, references. Sources, read 2026-11-21: the two APIs' documentation of structured
outputs, and how the SDKs of both rewrite a schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from penstock.agent.schema.inliner import REFS
from penstock.core.arguments import UNDECODABLE, fixed_strings
from penstock.core.errors import ConfigError

__all__ = ["meant", "object_schema", "strict_schema", "without_nulls"]

# What says nothing about the value, or says it for people and not for the model.
_SILENT: Final = frozenset({
    *("$schema", "$id", "$comment", "$anchor", "title", "discriminator", "deprecated", "readOnly", "writeOnly"),
    # What is read by the functions below.
    *("type", "description", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs"),
    *("properties", "required", "additionalProperties", "items", "prefixItems"),
})  # fmt: skip
_NULL: Final = {"type": "null"}
# Exact numbers, for the types that are exact.
_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode
_TYPES: Final = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def object_schema(schema: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """The schema with an object on top, and whether that object is a new one around a `value`."""
    root: dict[str, Any] = dict(schema)
    definitions = root.pop("$defs", None)
    kept = {"$defs": definitions} if definitions else {}
    reference = root.get("$ref")
    if isinstance(reference, str) and reference.removeprefix(REFS) in (definitions or {}):
        del root["$ref"]
        root = {**definitions[reference.removeprefix(REFS)], **root}
    if root.get("type") == "object" and not root.keys() & {"anyOf", "oneOf", "allOf", "enum", "const"}:
        return root | kept, False
    wrapped = {"type": "object", "properties": {"value": root}, "required": ["value"], "additionalProperties": False}
    return wrapped | kept, True


def strict_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """The schema in the subset that all vendors take. Doing it twice changes nothing.

    On top is an object: what is none becomes the `value` of one. Every object is closed and all its properties are
    required: those that were not may be null, see `without_nulls`. What the subset has no word for (`format`,
    `pattern`, `minimum`, defaults...) is told to the model in the description, and is to be checked afterwards.

    Raises ConfigError, with the place, for what the subset cannot say: a mapping with any keys, any value at all.
    """
    root, _ = object_schema(schema)
    return _Rewriter(root.get("$defs") or {}).whole(root)


class _Rewriter:
    """Rewrites node after node. The path in errors is that of the value which the schema describes."""

    def __init__(self, definitions: Any) -> None:
        self._definitions: Mapping[str, Any] = definitions

    def whole(self, root: dict[str, Any]) -> dict[str, object]:
        """The schema with its definitions."""
        definitions = {name: self._node(node, name) for name, node in self._definitions.items()}
        return self._node(root, "$") | ({"$defs": definitions} if definitions else {})

    def _node(self, given: Any, path: str, *notes: str) -> dict[str, Any]:
        node: dict[str, Any] = _single(given, path)
        result = self._form(node, path)
        description = _described(node, notes)
        if description and "$ref" in result:
            result = {"anyOf": [result]}  # a reference stands alone
        return result | ({"description": description} if description else {})

    def _form(self, node: dict[str, Any], path: str) -> dict[str, Any]:
        if "$ref" in node:
            return {"$ref": node["$ref"]}
        if "const" in node or "enum" in node:
            return _values([node["const"]] if "const" in node else node["enum"], path)
        branches = node.get("anyOf", node.get("oneOf"))
        if branches is not None:
            return {"anyOf": [self._node(branch, path) for branch in branches]}
        kinds = node.get("type")
        if not kinds:
            raise _inexpressible(path, "any value at all")
        result: dict[str, Any] = {"type": kinds}
        if _is(node, "object"):
            result |= self._object(node, path)
        if _is(node, "array"):
            result["items"] = self._items(node, f"{path}[]")
        return result

    def _object(self, node: dict[str, Any], path: str) -> dict[str, Any]:
        if "properties" not in node:
            raise _inexpressible(path, "a mapping with any keys")
        required = node.get("required", ())
        properties = {
            name: self._node(value, f"{path}.{name}") if name in required else self._optional(value, f"{path}.{name}")
            for name, value in node["properties"].items()
        }
        return {"properties": properties, "required": list(properties), "additionalProperties": False}

    def _optional(self, given: Any, path: str) -> dict[str, Any]:
        if _takes_null(given, self._definitions):
            return self._node(given, path)
        result = self._node(given, path, "null: left out")
        description = result.pop("description")
        branches = result["anyOf"] if result.keys() == {"anyOf"} else [result]
        return {"anyOf": [*branches, dict(_NULL)], "description": description}

    def _items(self, node: dict[str, Any], path: str) -> dict[str, Any]:
        # The subset has no places: each item may be what any of them may be.
        first = [self._node(item, path) for item in node.get("prefixItems", ())]
        rest = node.get("items", False if first else None)
        if rest is not False or not first:
            first.append(self._node(rest, path))
        different = [item for place, item in enumerate(first) if item not in first[:place]]
        return different[0] if len(different) == 1 else {"anyOf": different}


def _is(node: Mapping[str, Any], kind: str) -> bool:
    kinds = node.get("type", ())
    return kind == kinds or (not isinstance(kinds, str) and kind in kinds)


def _single(given: Any, path: str) -> dict[str, Any]:
    """The node, with an `allOf` of one put in its place."""
    if not isinstance(given, Mapping):
        raise _inexpressible(path, "nothing at all" if given is False else "any value at all")
    node = dict(given)
    parts = node.pop("allOf", None)
    if parts is None:
        return node
    if len(parts) != 1:
        raise _inexpressible(path, "several schemas at once (`allOf`)")
    return _single({**parts[0], **node}, path)


def _values(values: Any, path: str) -> dict[str, Any]:
    """An enum by the types of its values, as each needs its type."""
    kinds: dict[str, list[object]] = {}
    for value in values:
        if type(value) not in _TYPES:
            raise _inexpressible(path, f"the value {value!r} in an `enum`")
        kinds.setdefault(_TYPES[type(value)], []).append(value)
    branches = [dict(_NULL) if kind == "null" else {"type": kind, "enum": kinds[kind]} for kind in kinds]
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _described(node: dict[str, Any], more: Sequence[str]) -> str:
    notes = [
        f"{key}: {_shown(value)}"
        for key, value in node.items()
        if key not in _SILENT and (key, value) != ("default", None)
    ]
    if "prefixItems" in node:
        notes.append(f"items in this order: {_shown(node['prefixItems'])}")
    notes += more
    description = node.get("description") or ""
    return f"{description} ({'; '.join(notes)})".lstrip() if notes else description


def _shown(value: object) -> str:
    return value if value and isinstance(value, str) else msgspec.json.encode(value).decode()


def _inexpressible(path: str, what: str) -> ConfigError:
    error = ConfigError(f"`{path}` may be {what}, and the schema of an answer has no word for that")
    error.path = path
    return error


def _takes_null(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Whether null fits the schema."""
    if not isinstance(schema, Mapping):
        return schema is not False
    if "const" in schema or "enum" in schema:
        return None in schema.get("enum", [schema.get("const")])
    if "type" in schema:
        return _is(schema, "null")
    if "$ref" in schema:
        # A definition that is nothing but itself would have no end; no type has one.
        return _takes_null(definitions.get(schema["$ref"].removeprefix(REFS), False), definitions)
    if "allOf" in schema:
        return all(_takes_null(each, definitions) for each in schema["allOf"])
    branches = schema.get("anyOf", schema.get("oneOf"))
    return True if branches is None else any(_takes_null(each, definitions) for each in branches)


def without_nulls(value: object, schema: Mapping[str, object]) -> object:
    """*value*, which was made for the strict form of *schema*, without the nulls for what was left out.

    They are those of properties that *schema* does not require and that may not be null there.
    """
    definitions: Any = schema.get("$defs", {})
    return _pruned(value, schema, definitions)


def _pruned(value: Any, schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        lists = list(_branches(schema, definitions, "array"))
        if len(lists) != 1:
            return value
        first, rest = lists[0].get("prefixItems", ()), lists[0].get("items", {})
        schemas = [*first[: len(value)], *[rest] * (len(value) - len(first))]
        return [_pruned(item, its, definitions) for item, its in zip(value, schemas, strict=True)]
    if not isinstance(value, dict):
        return value
    objects = _branches(schema, definitions, "object")
    fitting = next((branch for branch in objects if _fits(value, branch)), None)
    if fitting is None:
        return value
    properties, required = fitting.get("properties", {}), fitting.get("required", ())
    other = fitting.get("additionalProperties", {})
    return {
        name: _pruned(item, properties.get(name, other), definitions)
        for name, item in value.items()
        if not (item is None and name not in required and name in properties)
        or _takes_null(properties[name], definitions)
    }


def meant(text: str, schema: Mapping[str, object], *, nulls: bool) -> str | None:
    """A JSON text that does not fit *schema*, as its author must have meant it; None where it says what it says.

    Characters that were not escaped are, and lists and objects that models write as the JSON text of one are read where
    the schema takes no text. Raises what msgspec raises.

    nulls: whether it was made for the strict form of the schema, in which null is for what is left out.
    """
    definitions: Any = schema.get("$defs", {})
    fixed = fixed_strings(text)
    given = _DECODE(fixed)
    value = _unquoted(without_nulls(given, schema) if nulls else given, schema, definitions)
    return None if value == given and fixed == text else _ENCODE(value).decode()


def _unquoted(value: Any, schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        kind = {"[": "array", "{": "object"}.get(value.lstrip()[:1], "")
        if not kind or not any(_branches(schema, definitions, kind)) or any(_branches(schema, definitions, "string")):
            return value
        try:
            value = _DECODE(fixed_strings(value))
        except UNDECODABLE:
            return value
    if isinstance(value, list):
        lists = list(_branches(schema, definitions, "array"))
        rest = lists[0].get("items", {}) if len(lists) == 1 else {}
        return [_unquoted(item, rest, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    objects = list(_branches(schema, definitions, "object"))
    fitting = objects[0] if len(objects) == 1 else next((each for each in objects if _fits(value, each)), {})
    properties, other = fitting.get("properties", {}), fitting.get("additionalProperties", {})
    return {name: _unquoted(item, properties.get(name, other), definitions) for name, item in value.items()}


def _branches(schema: Any, definitions: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    """The schemas of objects, or of lists, that a value may fit; each once, as they may refer to each other."""
    waiting, seen = [schema], set[int]()
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node, Mapping) or id(node) in seen:
            continue
        seen.add(id(node))
        if "$ref" not in node and _is(node, kind):
            yield node
        further = [definitions.get(str(node["$ref"]).removeprefix(REFS))] if "$ref" in node else []
        for keyword in ("anyOf", "oneOf", "allOf"):
            further += node[keyword] if isinstance(node.get(keyword), list | tuple) else ()
        waiting[:0] = further


def _fits(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Whether the object may be the one of that schema: by what it must have, and by its tags."""
    properties = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", ())):
        return False
    if schema.get("additionalProperties") is False and value.keys() - properties.keys():
        return False
    for name, item in value.items():
        its = properties.get(name, {})
        allowed = its.get("enum", [its["const"]] if "const" in its else None)
        if allowed is not None and item not in allowed and item is not None:
            return False
    return True
