"""A JSON Schema that somebody else wrote for a tool, as vendors take it. Pure.

What is legal stays as it is. One schema that a vendor refuses fails the whole request, with all the tools in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from penstock.agent.schema.inliner import REFS, Inliner, pointed, references
from penstock.core.errors import ConfigError

__all__ = ["legal_parameters"]

# Anthropic: "input_schema does not support oneOf, allOf, or anyOf at the top level"; OpenAI: "schema must have type
# 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'const'/'not' at the top level". Both as quoted in issues of
# other clients, the last of 2026-08-12.
_BRANCHES: Final = ("allOf", "anyOf", "oneOf")
_NOT_ON_TOP: Final = frozenset({*_BRANCHES, "enum", "const", "not"})
_LARGEST: Final = 1_000_000  # characters
_FORMS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), (dict,)),
    **dict.fromkeys((*_BRANCHES, "prefixItems", "required", "enum"), (list,)),
    **dict.fromkeys(("items", "additionalProperties", "not"), (dict, bool)),
    **dict.fromkeys(("description", "title", "format", "pattern"), (str,)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
    "type": (str, list),
}


def legal_parameters(schema: object) -> dict[str, object]:
    """*schema* with an object on top and without references, where that can only be meant in one way.

    None is a tool without parameters. References are put in place, but for those of a schema that holds itself. The
    branches of a choice on top become one object that takes what any of them takes: whoever wrote it checks the rest.

    Raises ConfigError for what is no schema of an object, and for a reference that leads nowhere.
    """
    if schema is None:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping):
        raise ConfigError(f"its schema is a {type(schema).__name__}, expected an object")
    root: dict[str, Any] = _well_formed(dict(schema))
    if any(references(root)):
        root = _inlined(root)
    root = _one_object(root)
    if root.get("properties") is None:
        root["properties"] = {}
    properties, required = root["properties"], root.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        # What must be there but is not described can be anything.
        root["properties"] = properties | {name: {} for name in required if name not in properties}
    return root


def _well_formed(node: Any) -> Any:
    """Without the keywords whose values have another form than JSON Schema's of today, as null: they say nothing."""
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if type(value) in _FORMS.get(key, (type(value),))}
    for key in _FORMS.keys() & kept.keys() - {"enum", "required"}:
        if isinstance(kept[key], list):
            kept[key] = [_well_formed(each) for each in kept[key]]
        elif _FORMS[key] == (dict,):
            schemas = kept[key].items()
            kept[key] = {name: _well_formed(each) if isinstance(each, dict | bool) else {} for name, each in schemas}
        else:
            kept[key] = _well_formed(kept[key])
    return kept


def _one_object(root: dict[str, Any]) -> dict[str, Any]:
    branches = [(key, each) for key in _BRANCHES for each in root.get(key) or () if isinstance(each, Mapping)]
    kinds = {kind for each in (root, *(branch for _, branch in branches)) for kind in _kinds(each)}
    if kinds and "object" not in kinds:
        raise ConfigError(f"its schema is that of a {' or '.join(sorted(map(str, kinds)))}, expected an object's")
    properties: dict[str, Any] = {}
    required: list[Any] = []
    for key, branch in branches:
        inner = _one_object(dict(branch))
        properties = {**(inner.get("properties") or {}), **properties}
        if key == "allOf":
            required += inner.get("required") or []
    result = {key: value for key, value in root.items() if key not in _NOT_ON_TOP} | {"type": "object"}
    if branches:
        result["properties"] = {**properties, **(root.get("properties") or {})}
        result["required"] = [*(root.get("required") or []), *required]
        if not result.get("additionalProperties", True):
            del result["additionalProperties"]  # said of the properties beside the branches only
    return result


def _kinds(schema: Mapping[str, Any]) -> list[Any]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _inlined(root: dict[str, Any]) -> dict[str, Any]:
    """Without references, wherever in the schema they lead to: `#/$defs/A`, `#/definitions/A`, `#/properties/a`."""
    names: dict[str, str] = {}
    for path in dict.fromkeys(each["$ref"] for each in references(root)):
        name = path.rpartition("/")[2].replace("#", "whole")
        names[path] = f"{name}{len(names)}" if name in names.values() else name
        _check_end(root, path)
    components = {name: _renamed(_part(root, path), names) for path, name in names.items()}
    whole = _renamed({key: value for key, value in root.items() if key not in ("$defs", "definitions")}, names)
    inliner = Inliner(components)
    if _size(whole, components, inliner.recursive) > _LARGEST:
        raise ConfigError("its schema is too large where each reference is put in place")
    inlined: dict[str, Any] = inliner.schema(whole)
    reference = inlined.pop("$ref", None)
    if reference is None:
        return inlined
    return {**inlined["$defs"][reference.removeprefix(REFS)], **inlined}


def _size(whole: Any, components: Mapping[str, Any], recursive: Collection[str]) -> int:
    """How many characters the whole is, with all that it refers to: a few lines can be millions of them."""

    def size(node: Any) -> int:
        names = (each["$ref"].removeprefix(REFS) for each in references(node))
        return len(msgspec.json.encode(node)) + sum(of(name) for name in names if name not in recursive)

    @cache
    def of(name: str) -> int:
        return size(components[name])

    return size(whole) + sum(of(name) for name in recursive)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy that refers to components by their names."""
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = {key: _renamed(value, names) for key, value in node.items()}
    return renamed | {"$ref": f"{REFS}{names[node['$ref']]}"} if isinstance(node.get("$ref"), str) else renamed


def _check_end(root: dict[str, Any], path: str) -> None:
    """Raise ConfigError for a reference to nothing but references, round and round."""
    seen, at = {path}, _part(root, path).get("$ref")
    while isinstance(at, str):
        if at in seen:
            raise ConfigError(f"its schema refers to {path!r}, which is nothing but a reference to itself")
        seen.add(at)
        at = _part(root, at).get("$ref")


def _part(root: dict[str, Any], path: str) -> Any:
    """What a reference leads to."""
    if path != "#" and not path.startswith("#/"):
        raise ConfigError(f"its schema refers to {path!r}, which lies outside of it")
    found = pointed(root, path)
    if not isinstance(found, dict):
        raise ConfigError(f"its schema refers to {path!r}, where there is none")
    return found
