"""From a type to the JSON Schema of it, for those who ask a model for it. What has no schema is an error that names it.

msgspec says what JSON a type takes, so that the schema and the validation are the same.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import msgspec

from penstock.agent.schema.foreign import UNKNOWN_TYPE, is_pydantics, object_of, text_format
from penstock.agent.schema.inliner import Inliner
from penstock.core.errors import ConfigError

__all__ = ["check_type", "has_pydantics", "schema_of", "type_name"]


def type_name(type_: object) -> str:
    """What a type is called in errors."""
    return getattr(type_, "__name__", "") if isinstance(type_, type) else str(type_)


def schema_of(type_: Any) -> dict[str, object]:
    """The JSON Schema of what msgspec decodes into *type_*, which depends on nothing outside of it.

    Raises ConfigError, with the field, for a type that has none: a class that msgspec does not know, any value at all.
    """
    from penstock.agent.schema.json_schema import schema_components  # by those who ask for objects, and by no other

    check_type(type_, f"type `{type_name(type_)}`")
    (root,), components = schema_components([type_])
    return Inliner(components).schema(root)


def check_type(type_: Any, where: str, *, any_fields: bool = False) -> None:
    """Raise ConfigError, which begins with *where*, for a type that has no schema.

    any_fields: whether a field may be any value.
    """
    import msgspec.inspect

    try:
        msgspec.json.Decoder(type_, dec_hook=object_of)
        info = msgspec.inspect.type_info(type_)
    except UNKNOWN_TYPE as error:
        raise _blamed(type_, where, error) from error
    _check(info, where, set(), any_fields)


def has_pydantics(type_: Any) -> bool:
    """Whether a type is pydantic's, or holds one that is."""
    if "pydantic" not in sys.modules:
        return False
    waiting, seen = [type_], dict[int, Any]()  # which keeps them, so that no two have one id
    while waiting:
        each = waiting.pop()
        if is_pydantics(each):
            return True
        if id(each) not in seen:
            seen[id(each)] = each
            waiting += [inner for _, inner in _inside(each)]
    return False


def _check(info: Any, where: str, seen: set[int], any_fields: bool) -> None:
    """Raise ConfigError for the first field whose type says nothing, or nothing that msgspec knows."""
    import msgspec.inspect as known

    if id(info) in seen:
        return
    seen.add(id(info))
    cls = getattr(info, "cls", info) if isinstance(info, known.CustomType | known.ExtType) else None
    if isinstance(info, known.AnyType | known.RawType) or cls is object:
        raise ConfigError(f"{where}: its type takes any value; say which")
    if cls is not None and text_format(cls) is None:
        raise ConfigError(f"{where}: no schema can be made of it: msgspec does not know the type {cls!r}")
    for field in getattr(info, "fields", ()):
        if not (any_fields and isinstance(field.type, known.AnyType | known.RawType)):
            _check(field.type, f"{where}: field `{field.name}`", seen, any_fields)
    for inner in _parts(info):
        _check(inner, where, seen, any_fields)


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
            msgspec.json.Decoder(inner, dec_hook=object_of)
        except RecursionError:
            break
        except UNKNOWN_TYPE as theirs:
            return _blamed(inner, where + label, theirs)
    return ConfigError(f"{where}: no schema can be made of it: {str(error).rpartition(chr(10))[2]}")


def _inside(type_: Any) -> Iterator[tuple[str, Any]]:
    """The types that a type is made of; in its place the error for an annotation that cannot be read."""
    if not isinstance(type_, type):
        yield from (("", inner) for inner in (*get_args(type_), getattr(type_, "__value__", None)))
        return
    for base in reversed(type_.__mro__):
        names = vars(sys.modules.get(base.__module__, sys))
        for name, annotation in inspect.get_annotations(base).items():
            alone = SimpleNamespace(__annotations__={name: annotation})
            try:
                (inner,) = get_type_hints(alone, names, include_extras=True).values()
            except (*UNKNOWN_TYPE, SyntaxError) as error:
                inner = error
            yield f": field `{name}`", inner
