"""From a type to the JSON Schema of it, for those who ask a model for it. What has no schema is an error that names it.

msgspec says what JSON a type takes, so that the schema and the validation are the same.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, get_args, get_type_hints

import msgspec

from penstock.core.errors import ConfigError

__all__ = ["REFS", "Inliner", "schema_of", "type_name"]

REFS: Final = "#/$defs/"
"""What a reference inside of a schema begins with."""

_VALUES: Final = ("default", "enum", "const", "examples")  # keywords that hold values, not schemas
_BY_NAME: Final = ("properties", "patternProperties", "$defs")  # keywords that hold schemas by name
_KINDS: Final = {str: "string", int: "integer"}
# What msgspec raises for a type that it does not take.
_UNKNOWN: Final = (TypeError, ValueError, RuntimeError, NameError, AttributeError)


def type_name(type_: object) -> str:
    """What a type is called in errors."""
    return getattr(type_, "__name__", "") if isinstance(type_, type) else str(type_)


def schema_of(type_: Any) -> dict[str, object]:
    """The JSON Schema of what msgspec decodes into *type_*, which depends on nothing outside of it.

    Raises ConfigError, with the field, for a type that has none: a class that msgspec does not know, any value at all.
    """
    import msgspec.inspect  # by those who ask for objects, and by no other

    where = f"type `{type_name(type_)}`"
    try:
        msgspec.json.Decoder(type_)
        info = msgspec.inspect.type_info(type_)
    except _UNKNOWN as error:
        raise _blamed(type_, where, error) from error
    _check(info, where, set())
    (root,), components = msgspec.json.schema_components([type_], ref_template=REFS + "{name}")
    return Inliner(components).schema(root)


def _check(info: Any, where: str, seen: set[int]) -> None:
    """Raise ConfigError for the first field whose type says nothing, or nothing that msgspec knows."""
    import msgspec.inspect as known

    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, known.CustomType) and info.cls is not object:
        raise ConfigError(f"{where}: no schema can be made of it: msgspec does not know the type {info.cls!r}")
    if isinstance(info, known.AnyType | known.RawType | known.CustomType):
        raise ConfigError(f"{where}: its type takes any value; say which")
    for field in getattr(info, "fields", ()):
        _check(field.type, f"{where}: field `{field.name}`", seen)
    for inner in _parts(info):
        _check(inner, where, seen)


def _parts(info: Any) -> list[Any]:
    """What a type is made of, but for its fields. A list or a mapping of anything does have a schema."""
    import msgspec.inspect as known

    if isinstance(info, known.Metadata):
        return [] if "type" in (info.extra_json_schema or {}) else [info.type]
    if isinstance(info, known.UnionType):
        return list(info.types)
    items = [getattr(info, name) for name in ("item_type", "value_type") if hasattr(info, name)]
    return [item for item in (*items, *getattr(info, "item_types", ())) if not isinstance(item, known.AnyType)]


def _blamed(type_: Any, where: str, error: Exception) -> ConfigError:
    """The error for the innermost field that msgspec refuses."""
    for label, inner in _inside(type_):
        if isinstance(inner, Exception):
            return ConfigError(f"{where}{label}: its annotation cannot be read ({inner})")
        try:
            msgspec.json.Decoder(inner)
        except RecursionError:
            break
        except _UNKNOWN as theirs:
            return _blamed(inner, where + label, theirs)
    return ConfigError(f"{where}: no schema can be made of it: {str(error).rpartition(chr(10))[2]}")


def _inside(type_: Any) -> Iterator[tuple[str, Any]]:
    """The types that a type is made of; in its place the error for an annotation that cannot be read."""
    if not isinstance(type_, type):
        yield from (("", inner) for inner in get_args(type_))
        return
    for base in reversed(type_.__mro__):
        names = vars(sys.modules.get(base.__module__, sys))
        for name, annotation in inspect.get_annotations(base).items():
            alone = SimpleNamespace(__annotations__={name: annotation})
            try:
                (inner,) = get_type_hints(alone, names, include_extras=True).values()
            except (*_UNKNOWN, SyntaxError) as error:
                inner = error
            yield f": field `{name}`", inner


class Inliner:
    """Puts each component where it is referred to: models read that better, and some vendors take nothing else.

    A component that holds itself cannot be inlined and stays in `$defs`. Titles are dropped, as they repeat names;
    discriminators too, as they are OpenAPI's and the tags say the same.
    """

    def __init__(self, components: Mapping[str, dict[str, Any]]) -> None:
        self._components = components
        uses = {name: set(_references(component)) for name, component in components.items()}
        self._recursive = {name for name in components if name in _reachable(name, uses)}
        self._kept: set[str] = set()

    def schema(self, root: dict[str, Any]) -> dict[str, object]:
        """The whole of it, which depends on nothing outside."""
        whole: dict[str, object] = self._expand(root)
        definitions: dict[str, object] = {}
        while missing := sorted(self._kept - definitions.keys()):
            definitions |= {name: self._expand(self._components[name]) for name in missing}
        return whole | {"$defs": definitions} if definitions else whole

    def _expand(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._expand(item) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref", "").removeprefix(REFS)
        if reference in self._recursive:
            self._kept.add(reference)
        elif reference:
            return self._expand(self._components[reference] | {key: node[key] for key in node if key != "$ref"})
        result: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("title", "discriminator") or (key == "required" and not value):
                continue
            if key in _BY_NAME:
                result[key] = {name: self._expand(item) for name, item in value.items()}
            else:
                result[key] = value if key in _VALUES else self._expand(value)
        kinds = {_KINDS.get(type(value)) for value in result.get("enum", ())}
        if len(kinds) == 1 and None not in kinds:
            result = {"type": kinds.pop()} | result  # msgspec leaves it out, Gemini wants it
        if result.get("type") == "array" and not result.keys() & {"items", "prefixItems"}:
            result["items"] = {}  # OpenAI refuses a list that says nothing of its items
        return result


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].removeprefix(REFS)
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _references(item)


def _reachable(start: str, uses: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = uses[ahead.pop()] - found
        found |= new
        ahead += new
    return found
