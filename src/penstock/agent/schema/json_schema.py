"""From what msgspec knows of a type to its JSON Schema, the same bytes under every version of msgspec and of Python.

msgspec's own generator is not used, as what it writes changes from version to version: defaults of factories, where
null stands, how a docstring is indented. Schemas stand at the beginning of every prompt cache.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import msgspec.inspect as known

from penstock.agent.schema.foreign import plain_of, text_format
from penstock.agent.schema.inliner import REFS

__all__ = ["default_of", "schema_components"]

_OTHER: Final = r"[^a-zA-Z0-9.\-_]"  # than what a definition's name may have
_EMPTY: Final = (list, dict, set, bytearray)  # factories of what a struct's field `= []` stands for
_NAMED: Final = (
    known.StructType | known.TypedDictType | known.DataclassType | known.NamedTupleType | known.EnumType
)  # each a component of its own
_NUMBERS: Final = (
    ("minimum", "ge"),
    ("exclusiveMinimum", "gt"),
    ("maximum", "le"),
    ("exclusiveMaximum", "lt"),
    ("multipleOf", "multiple_of"),
)
_TEXTS: Final = (("maxLength", "max_length"), ("minLength", "min_length"), ("pattern", "pattern"))
_ITEMS: Final = (("maxItems", "max_length"), ("minItems", "min_length"))
_PAIRS: Final = (("maxProperties", "max_length"), ("minProperties", "min_length"))


def schema_components(types: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The schema of each type, and by name those of the classes in them, which the schemas refer to.

    Of types that were checked: see type_schema.
    """
    infos = known.multi_type_info(types)
    classes: dict[Any, Any] = {}
    for info in infos:
        _collect(info, classes)
    maker = _Maker(_names(classes))
    return [maker.schema(info) for info in infos], {
        maker.names[cls]: maker.component(info) for cls, info in classes.items()
    }


def default_of(value: object) -> dict[str, object]:
    """The schema's keyword for a default; none for a value that has no JSON form, as a sentinel."""
    try:
        # The order of a set differs from process to process.
        return {"default": msgspec.to_builtins(value, str_keys=True, order="deterministic", enc_hook=plain_of)}
    except (TypeError, ValueError, RecursionError):
        return {}


def _collect(info: Any, classes: dict[Any, Any]) -> None:
    """Find all classes in a type."""
    if isinstance(info, _NAMED):
        if info.cls in classes:
            return
        classes[info.cls] = info
    for inner in _inside(info):
        _collect(inner, classes)


def _inside(info: Any) -> Iterator[Any]:
    yield from (field.type for field in getattr(info, "fields", ()))
    yield from (getattr(info, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(info, name))
    yield from (*getattr(info, "types", ()), *getattr(info, "item_types", ()))


def _names(classes: Iterable[Any]) -> dict[Any, str]:
    """A name for each class: its own; with its module where two have the same; numbered where that is the same too."""
    short = {cls: _class_name(cls) for cls in classes}
    often = Counter(short.values())
    names: dict[Any, str] = {}
    for cls, name in short.items():
        whole = re.sub(_OTHER, "_", name if often[name] == 1 else f"{cls.__module__}.{cls.__qualname__}")
        candidates = (whole, *(f"{whole}_{number}" for number in range(2, len(short) + 1)))
        taken = set(names.values())
        names[cls] = next(candidate for candidate in candidates if candidate not in taken)
    return names


def _class_name(cls: Any) -> str:
    if not hasattr(cls, "__origin__"):
        return str(cls.__name__)
    of = ", ".join(each.__name__ if isinstance(each, type) else repr(each) for each in cls.__args__)
    return f"{cls.__origin__.__name__}[{of}]"


def _description(info: Any) -> dict[str, str]:
    """What a class says of itself; not what Python wrote for it."""
    cls = getattr(info.cls, "__origin__", info.cls)
    doc = inspect.cleandoc(getattr(cls, "__doc__", None) or "")  # Python 3.13 takes the indentation out, others do not
    if isinstance(info, known.EnumType) and doc == "An enumeration.":
        return {}
    if isinstance(info, known.NamedTupleType | known.DataclassType) and doc.startswith(f"{cls.__name__}("):
        return {} if doc.endswith(")") else {"description": doc}
    return {"description": doc} if doc else {}


def _limits(info: Any, keywords: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {keyword: value for keyword, name in keywords if (value := getattr(info, name)) is not None}


class _Maker:
    """Makes schemas that refer to classes by *names*."""

    def __init__(self, names: Mapping[Any, str]) -> None:
        self.names = names

    def schema(self, info: Any) -> dict[str, Any]:
        """The schema of a type; a reference where it is a class."""
        if isinstance(info, known.Metadata):
            return {**(info.extra_json_schema or {}), **self._annotated(info)}
        if isinstance(info, _NAMED):
            return {"$ref": f"{REFS}{self.names[info.cls]}"}
        return _FORMS[type(info)](self, info)

    def component(self, info: Any) -> dict[str, Any]:
        """The schema of a class."""
        if isinstance(info, known.EnumType):
            # With what a flag does not go through: zero, and members of several bits.
            values = {id(member): member.value for member in info.cls.__members__.values()}
            return {**_description(info), "enum": sorted(values.values())}
        return {**_description(info), **(self._list(info) if _is_list(info) else self._object(info))}

    def _annotated(self, info: Any) -> dict[str, Any]:
        inner = info.type
        if isinstance(inner, known.CustomType) and text_format(inner.cls) is None:
            return {}  # it is as the annotation says
        return self.schema(inner)

    def _fields(self, info: Any) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Name, schema, and whether it is required."""
        is_struct = isinstance(info, known.StructType)
        if is_struct and info.tag_field is not None:
            yield info.tag_field, {"enum": [info.tag]}, True
        for field in info.fields:
            schema = self.schema(field.type)
            if field.default is not msgspec.NODEFAULT:
                schema |= default_of(field.default)
            elif is_struct and field.default_factory in _EMPTY:
                schema |= default_of(field.default_factory())
            yield field.encode_name, schema, field.required

    def _object(self, info: Any) -> dict[str, Any]:
        fields = list(self._fields(info))
        schema = {
            "type": "object",
            "properties": {name: schema for name, schema, _ in fields},
            "required": [name for name, _, required in fields if required],
        }
        closed = isinstance(info, known.StructType) and info.forbid_unknown_fields
        return schema | ({"additionalProperties": False} if closed else {})

    def _list(self, info: Any) -> dict[str, Any]:
        fields = list(self._fields(info))
        least = max((place for place, (_, _, required) in enumerate(fields, 1) if required), default=0)
        schema: dict[str, Any] = {"type": "array"}
        if fields:
            schema["prefixItems"] = [schema for _, schema, _ in fields]
        schema["minItems"] = least
        closed = isinstance(info, known.NamedTupleType) or info.forbid_unknown_fields
        return schema | ({"maxItems": len(fields)} if closed else {})

    def _number(self, info: Any) -> dict[str, Any]:
        return {"type": "integer" if isinstance(info, known.IntType) else "number", **_limits(info, _NUMBERS)}

    def _text(self, info: Any) -> dict[str, Any]:
        return {"type": "string", **_limits(info, _TEXTS)}

    def _bytes(self, info: Any) -> dict[str, Any]:
        sizes = _limits(info, _TEXTS[:2])
        in_base64 = {keyword: 4 * ((size + 2) // 3) for keyword, size in sizes.items()}
        return {"type": "string", "contentEncoding": "base64", **in_base64}

    def _datetime(self, info: Any) -> dict[str, Any]:
        return {"type": "string", **({"format": "date-time"} if info.tz is True else {})}

    def _time(self, info: Any) -> dict[str, Any]:
        format_ = {True: "time", False: "partial-time"}.get(info.tz)
        return {"type": "string", **({"format": format_} if format_ else {})}

    def _items(self, info: Any) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        if not isinstance(info.item_type, known.AnyType):
            schema["items"] = self.schema(info.item_type)
        schema |= _limits(info, _ITEMS)
        return schema | ({"uniqueItems": True} if isinstance(info, known.SetType | known.FrozenSetType) else {})

    def _tuple(self, info: Any) -> dict[str, Any]:
        items = [self.schema(item) for item in info.item_types]
        schema = {"type": "array", "minItems": len(items), "maxItems": len(items)}
        return schema | ({"prefixItems": items, "items": False} if items else {})

    def _mapping(self, info: Any) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        key = info.key_type
        kind = key.type if isinstance(key, known.Metadata) else key
        if isinstance(kind, known.StrType):
            names = {name: value for name, value in self.schema(key).items() if name != "type"}
            schema |= {"propertyNames": names} if names else {}
        if not isinstance(info.value_type, known.AnyType):
            schema["additionalProperties"] = self.schema(info.value_type)
        return schema | _limits(info, _PAIRS)

    def _union(self, info: Any) -> dict[str, Any]:
        """Structs behind the rest, those of several in a union of their own, and null last."""
        structs, nulls, others = list[Any](), list[Any](), list[Any]()
        for each in info.types:
            kind = each.type if isinstance(each, known.Metadata) else each
            if isinstance(kind, known.StructType) and not kind.array_like:
                structs.append(self.schema(kind))
            else:
                (nulls if isinstance(kind, known.NoneType) else others).append(self.schema(each))
        if len(structs) > 1:
            structs = [{"anyOf": structs}]
        options = [*others, *structs, *nulls]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _literal(self, info: Any) -> dict[str, Any]:
        return {"enum": sorted(info.values, key=lambda value: (type(value).__name__, value))}


def _is_list(info: Any) -> bool:
    return isinstance(info, known.NamedTupleType) or (isinstance(info, known.StructType) and info.array_like)


def _fixed(**schema: str) -> Callable[[_Maker, Any], dict[str, Any]]:
    return lambda maker, info: dict(schema)


_FORMS: Final[Mapping[type, Callable[[_Maker, Any], dict[str, Any]]]] = {
    known.AnyType: _fixed(),
    known.RawType: _fixed(),
    known.NoneType: _fixed(type="null"),
    known.BoolType: _fixed(type="boolean"),
    known.IntType: _Maker._number,
    known.FloatType: _Maker._number,
    known.StrType: _Maker._text,
    **dict.fromkeys((known.BytesType, known.ByteArrayType, known.MemoryViewType), _Maker._bytes),
    known.DateTimeType: _Maker._datetime,
    known.TimeType: _Maker._time,
    known.DateType: _fixed(type="string", format="date"),
    known.TimeDeltaType: _fixed(type="string", format="duration"),
    known.UUIDType: _fixed(type="string", format="uuid"),
    known.DecimalType: _fixed(type="string", format="decimal"),
    **dict.fromkeys(
        (known.CollectionType, known.ListType, known.SetType, known.FrozenSetType, known.VarTupleType), _Maker._items
    ),
    known.CustomType: lambda _, info: {"type": "string", "format": text_format(info.cls)},
    known.TupleType: _Maker._tuple,
    known.DictType: _Maker._mapping,
    known.UnionType: _Maker._union,
    known.LiteralType: _Maker._literal,
}
