"""From a type to the JSON Schema of it, for those who ask a model for it. What has no schema is an error that names it.

msgspec says what JSON a type takes, so that the schema and the validation are the same.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final, get_args, get_type_hints

import msgspec

from penstock.agent.schema.inliner import Inliner
from penstock.core.errors import ConfigError

__all__ = ["schema_of", "type_name"]

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

    from penstock.agent.schema.json_schema import schema_components

    where = f"type `{type_name(type_)}`"
    try:
        msgspec.json.Decoder(type_)
        info = msgspec.inspect.type_info(type_)
    except _UNKNOWN as error:
        raise _blamed(type_, where, error) from error
    _check(info, where, set())
    (root,), components = schema_components([type_])
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
