"""The bytes of schemas, which are the same under every msgspec and every Python: the beginning of a prompt cache."""

# ruff: noqa: E501, F401 - bytes as they are; the types, which are text, use the names
from __future__ import annotations

import datetime as dt
import enum
import inspect
import subprocess
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, Required, TypedDict

import msgspec
import pytest
from msgspec import Meta

import signatures
from penstock import tool
from penstock.agent.schema.answer_type import AnswerType
from penstock.agent.schema.json_schema import schema_components
from penstock.agent.schema.type_schema import schema_of
from signatures import SENTINEL, SIGNATURES


class Rights(enum.Flag):
    """With one that is none, and one that is two."""

    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3


class Word(enum.StrEnum):
    B = "b"
    A = "a"
    OTHER = "a"


class Nothing(NamedTuple):
    pass


class Indented(msgspec.Struct):
    """First line.

        Indented more.
    \tAfter a tab.
    Last.
    """

    a: int


class Begun(msgspec.Struct):
    """
    On the second line.
      More.
    """

    a: int


@dataclass
class Made:
    """A dataclass.

    With more.
    """

    a: int
    items: list[int] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    table: dict[str, int] = field(default_factory=dict)
    one: list[int] = field(default_factory=lambda: [1])
    data: bytearray = field(default_factory=bytearray)


class Held(msgspec.Struct):
    items: list[int] = []
    words: set[str] = set()
    table: dict[str, int] = {}
    one: list[int] = msgspec.field(default_factory=lambda: [1])
    data: bytearray = bytearray()
    day: dt.date = dt.date(2026, 1, 1)
    none: int = msgspec.field(default=SENTINEL)


class Row(msgspec.Struct, array_like=True):
    a: int
    b: str = "x"


class NoRow(msgspec.Struct, array_like=True):
    pass


class Tagged(msgspec.Struct, array_like=True, tag="t", forbid_unknown_fields=True):
    a: int
    b: int = 1


class A(msgspec.Struct, tag="a"):
    x: int


class B(msgspec.Struct, tag="b"):
    x: int


class Chain(msgspec.Struct):
    value: int
    rest: Optional[Chain] = None  # noqa: UP045 - as people write it


class Loose(TypedDict, total=False):
    b: int
    a: Required[str]


Same = msgspec.defstruct("Same", [("x", int)])
Same2 = msgspec.defstruct("Same", [("y", list[Chain])])
Small = NewType("Small", Annotated[int, Meta(description="In it.", ge=1)])
Twice = Annotated[Annotated[int, Meta(description="Inner.", ge=1)], Meta(description="Outer.")]

OBJECT_A = '{"type":"object","properties":{"type":{"type":"string","enum":["a"]},"x":{"type":"integer"}},"required":["type","x"]}'
OBJECT_B = OBJECT_A.replace('["a"]', '["b"]')
INTS = '{"type":"array","items":{"type":"integer"}}'
NULL = '{"type":"null"}'

# a type, and the bytes of its schema
TYPES = [
    ("set[int]", '{"type":"array","items":{"type":"integer"},"uniqueItems":true}'),
    ("frozenset[str]", '{"type":"array","items":{"type":"string"},"uniqueItems":true}'),
    ("list", '{"type":"array","items":{}}'),
    ("list[Any]", '{"type":"array","items":{}}'),
    ("tuple[int, str]", '{"type":"array","minItems":2,"maxItems":2,"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false}'),
    ("tuple[int, ...]", INTS),
    ("tuple[()]", '{"type":"array","minItems":0,"maxItems":0,"items":{}}'),
    ("dict", '{"type":"object"}'),
    ("dict[str, Any]", '{"type":"object"}'),
    ("dict[int, str]", '{"type":"object","additionalProperties":{"type":"string"}}'),
    ("dict[Literal['a', 'b'], int]", '{"type":"object","additionalProperties":{"type":"integer"}}'),
    ("dict[Word, int]", '{"type":"object","additionalProperties":{"type":"integer"}}'),
    ("dict[Annotated[str, Meta(min_length=2, description='Key.')], int]", '{"type":"object","propertyNames":{"description":"Key.","minLength":2},"additionalProperties":{"type":"integer"}}'),
    ("dict[Annotated[str, Meta(pattern='^a')], int]", '{"type":"object","propertyNames":{"pattern":"^a"},"additionalProperties":{"type":"integer"}}'),
    ("Annotated[dict[str, int], Meta(min_length=1, max_length=3)]", '{"type":"object","additionalProperties":{"type":"integer"},"maxProperties":3,"minProperties":1}'),
    ("Annotated[list[int], Meta(min_length=1, max_length=3)]", '{"type":"array","items":{"type":"integer"},"maxItems":3,"minItems":1}'),
    ("Rights", '{"type":"integer","description":"With one that is none, and one that is two.","enum":[0,1,2,3]}'),
    ("Word", '{"type":"string","enum":["a","b"]}'),
    ("Nothing", '{"type":"array","minItems":0,"maxItems":0,"items":{}}'),
    ("Indented", '{"description":"First line.\\n\\n    Indented more.\\n    After a tab.\\nLast.","type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'),
    ("Begun", '{"description":"On the second line.\\n  More.","type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'),
    ("Made", '{"description":"A dataclass.\\n\\nWith more.","type":"object","properties":{"a":{"type":"integer"},"items":' + INTS + ',"words":{"type":"array","items":{"type":"string"},"uniqueItems":true},"table":{"type":"object","additionalProperties":{"type":"integer"}},"one":' + INTS + ',"data":{"type":"string","contentEncoding":"base64"}},"required":["a"]}'),
    ("Held", '{"type":"object","properties":{"items":{"type":"array","items":{"type":"integer"},"default":[]},"words":{"type":"array","items":{"type":"string"},"uniqueItems":true,"default":[]},"table":{"type":"object","additionalProperties":{"type":"integer"},"default":{}},"one":' + INTS + ',"data":{"type":"string","contentEncoding":"base64","default":""},"day":{"type":"string","format":"date","default":"2026-01-01"},"none":{"type":"integer"}}}'),
    ("Row", '{"type":"array","prefixItems":[{"type":"integer"},{"type":"string","default":"x"}],"minItems":1}'),
    ("NoRow", '{"type":"array","minItems":0,"items":{}}'),
    ("Tagged", '{"type":"array","prefixItems":[{"type":"string","enum":["t"]},{"type":"integer"},{"type":"integer","default":1}],"minItems":2,"maxItems":3}'),
    ("Loose", '{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["a"]}'),
    ("None | int", f'{{"anyOf":[{{"type":"integer"}},{NULL}]}}'),
    ("None | A", f'{{"anyOf":[{OBJECT_A},{NULL}]}}'),
    ("A | int | None", f'{{"anyOf":[{{"type":"integer"}},{OBJECT_A},{NULL}]}}'),
    ("A | B", f'{{"anyOf":[{OBJECT_A},{OBJECT_B}]}}'),
    ("A | B | None", f'{{"anyOf":[{{"anyOf":[{OBJECT_A},{OBJECT_B}]}},{NULL}]}}'),
    ("None | A | list[int] | B", f'{{"anyOf":[{INTS},{{"anyOf":[{OBJECT_A},{OBJECT_B}]}},{NULL}]}}'),
    ("dict[str, A | None]", f'{{"type":"object","additionalProperties":{{"anyOf":[{OBJECT_A},{NULL}]}}}}'),
    ("Annotated[A, Meta(description='Now.', title='x')]", OBJECT_A[:-1] + ',"description":"Now."}'),
    ("Chain", '{"$ref":"#/$defs/Chain","$defs":{"Chain":{"type":"object","properties":{"value":{"type":"integer"},"rest":{"anyOf":[{"$ref":"#/$defs/Chain"},{"type":"null"}],"default":null}},"required":["value"]}}}'),
    ("tuple[Same, Same2]", '{"type":"array","minItems":2,"maxItems":2,"prefixItems":[{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]},{"type":"object","properties":{"y":{"type":"array","items":{"$ref":"#/$defs/Chain"}}},"required":["y"]}],"items":false,"$defs":{"Chain":{"type":"object","properties":{"value":{"type":"integer"},"rest":{"anyOf":[{"$ref":"#/$defs/Chain"},{"type":"null"}],"default":null}},"required":["value"]}}}'),
    ("Small", '{"description":"In it.","type":"integer","minimum":1}'),
    ("Twice", '{"description":"Outer.","type":"integer","minimum":1}'),
    ("Literal[1, 'a']", '{"enum":[1,"a"]}'),
    ("Literal[True, False]", '{"enum":[false,true]}'),
    ("Literal['b', None, 'a']", '{"enum":[null,"a","b"]}'),
    ("bytearray", '{"type":"string","contentEncoding":"base64"}'),
    ("memoryview", '{"type":"string","contentEncoding":"base64"}'),
    ("Annotated[bytes, Meta(min_length=1, max_length=10)]", '{"type":"string","contentEncoding":"base64","maxLength":16,"minLength":4}'),
    ("Annotated[dt.datetime, Meta(tz=True)]", '{"type":"string","format":"date-time"}'),
    ("Annotated[dt.datetime, Meta(tz=False)]", '{"type":"string"}'),
    ("Annotated[dt.time, Meta(tz=True)]", '{"type":"string","format":"time"}'),
    ("Annotated[dt.time, Meta(tz=False)]", '{"type":"string","format":"partial-time"}'),
    ("dt.time", '{"type":"string"}'),
    ("Annotated[float, Meta(gt=0.5, lt=2, multiple_of=0.25)]", '{"type":"number","exclusiveMinimum":0.5,"exclusiveMaximum":2,"multipleOf":0.25}'),
    ("Annotated[int, Meta(extra_json_schema={'format': 'int64', 'default': 9})]", '{"format":"int64","default":9,"type":"integer"}'),
    ("Annotated[complex, Meta(extra_json_schema={'type': 'string', 'format': 'complex'})]", '{"type":"string","format":"complex"}'),
]  # fmt: skip

# a default, and the bytes of a parameter that has it
DEFAULTS = [
    ("set[str] = {'delta', 'alpha', 'charlie', 'bravo'}", '{"type":"array","items":{"type":"string"},"uniqueItems":true,"default":["alpha","bravo","charlie","delta"]}'),
    ("int | None = None", '{"anyOf":[{"type":"integer"},{"type":"null"}],"default":null}'),
    ("Row = Row(1)", '{"type":"array","prefixItems":[{"type":"integer"},{"type":"string","default":"x"}],"minItems":1,"default":[1,"x"]}'),
    ("dict[int, str] = {1: 'a'}", '{"type":"object","additionalProperties":{"type":"string"},"default":{"1":"a"}}'),
    ("dt.date = dt.date(2026, 1, 1)", '{"type":"string","format":"date","default":"2026-01-01"}'),
    ("bytes = b'hi'", '{"type":"string","contentEncoding":"base64","default":"aGk="}'),
    ("float = 1", '{"type":"number","default":1}'),
    ("int = object()", '{"type":"integer"}'),
]  # fmt: skip


def function_of(signature: str, names: dict[str, Any]) -> Any:
    names = dict(names)
    exec(f"def f({signature}): pass", names)
    return names["f"]


def parameters(signature: str, names: dict[str, Any]) -> dict[str, Any]:
    return dict(tool(function_of(signature, names)).definition.parameters)


def text(schema: object) -> str:
    return msgspec.json.encode(schema).decode()


@pytest.mark.parametrize(("type_", "expected"), TYPES, ids=[row[0] for row in TYPES])
def test_the_bytes_of_a_type(type_: str, expected: str) -> None:
    """As a structured answer has it, and as the parameter of a tool."""
    assert text(schema_of(eval(type_, globals()))) == expected
    schema = parameters(f"p: {type_}", globals())
    assert text(schema["properties"]["p"] | ({"$defs": schema["$defs"]} if "$defs" in schema else {})) == expected


@pytest.mark.parametrize(("parameter", "expected"), DEFAULTS, ids=[row[0] for row in DEFAULTS])
def test_the_bytes_of_a_default(parameter: str, expected: str) -> None:
    """A set has no order of its own, and what has no JSON form is no default."""
    assert text(parameters(f"p: {parameter}", globals())["properties"]["p"]) == expected


@pytest.mark.parametrize(("signature", "properties", "definitions"), [row[:3] for row in SIGNATURES])
def test_the_bytes_of_a_signature(signature: str, properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Each in the order in which the table has it."""
    takes = inspect.signature(function_of(signature, vars(signatures))).parameters.values()
    required = [parameter.name for parameter in takes if parameter.default is parameter.empty]
    kept = {"required": required} if required else {}
    expected = {"type": "object", "properties": properties, **kept, "additionalProperties": False, **definitions}
    assert text(parameters(signature, vars(signatures))) == text(expected)


def test_classes_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each keeps its own definition, which refers to itself."""
    made = []
    for module in ("one", "two"):
        namespace: dict[str, Any] = {"Struct": msgspec.Struct, "__name__": module}
        exec(f"class Link(Struct, tag={module!r}):\n    next: 'Link | None' = None", namespace)
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        monkeypatch.setattr(sys.modules[module], "Link", namespace["Link"], raising=False)
        made.append(namespace["Link"])
    schema: dict[str, Any] = schema_of(made[0] | made[1])
    assert schema["anyOf"] == [{"$ref": "#/$defs/one.Link"}, {"$ref": "#/$defs/two.Link"}]
    assert list(schema["$defs"]) == ["one.Link", "two.Link"]


def test_classes_of_one_name_and_module() -> None:
    """As a factory makes them: they are numbered."""
    made = [msgspec.defstruct("Made", [(name, int)], module="m") for name in "abc"]
    _, components = schema_components(made)
    assert [(name, *component["properties"]) for name, component in components.items()] == [
        ("m.Made", "a"),
        ("m.Made_2", "b"),
        ("m.Made_3", "c"),
    ]


def test_no_order_is_the_processs() -> None:
    """The same bytes with every seed of Python's hashes."""
    program = (
        "import msgspec; from penstock import tool\n"
        "def f(words: set[str] = {'delta', 'alpha', 'charlie', 'bravo'}, kinds: frozenset[str] = frozenset('abcdef')): ...\n"
        "print(msgspec.json.encode(tool(f).definition.parameters).decode())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


ENUMS = [row for row in TYPES if "enum" in msgspec.json.decode(row[1])]


@pytest.mark.parametrize(("type_", "expected"), ENUMS, ids=[row[0] for row in ENUMS])
def test_each_value_of_an_enum_is_taken(type_: str, expected: str) -> None:
    """What the schema offers, the decoder takes."""
    answer = AnswerType(eval(type_, globals()))
    values = msgspec.json.decode(expected)["enum"]
    assert len(values) > 1
    for value in values:
        answer.decode(text({"value": value}))
