"""The subset of JSON Schema that all vendors take: what becomes of each keyword, and the way back."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signatures
from penstock import ConfigError, tool
from penstock.agent.schema.answer_type import AnswerType
from penstock.agent.schema.strict_schema import object_schema, strict_schema, without_nulls
from signatures import SIGNATURES

STRING = {"type": "string"}
NULL = {"type": "null"}
NODE = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, NULL]}},
    "required": ["next"],
    "additionalProperties": False,
}


def obj(required: bool = True, **properties: Any) -> dict[str, Any]:
    """A closed object; all of its properties are required, or none."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required else [],
        "additionalProperties": False,
    }


def noted(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        pytest.param(STRING, STRING, id="a string"),
        pytest.param({"type": "integer", "title": "X"}, {"type": "integer"}, id="a title says nothing"),
        pytest.param(
            noted({"type": "integer", "minimum": 0, "maximum": 9}, "A digit."),
            noted({"type": "integer"}, "A digit. (minimum: 0; maximum: 9)"),
            id="bounds",
        ),
        pytest.param(
            {"type": "string", "pattern": "^a$", "minLength": 1},
            noted(STRING, "(pattern: ^a$; minLength: 1)"),
            id="what a string must be",
        ),
        pytest.param(
            {"type": "string", "format": "date-time"}, noted(STRING, "(format: date-time)"), id="a string's format"
        ),
        pytest.param(
            {"type": "string", "contentEncoding": "base64"},
            noted(STRING, "(contentEncoding: base64)"),
            id="a string's encoding",
        ),
        pytest.param({"type": "string", "default": "a"}, noted(STRING, "(default: a)"), id="a default"),
        pytest.param({"type": "string", "default": ""}, noted(STRING, '(default: "")'), id="a default of nothing"),
        pytest.param({"type": "string", "default": None}, STRING, id="a default of null"),
        pytest.param(
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "uniqueItems": True},
            noted(
                {"type": "array", "items": noted({"type": "integer"}, "(minimum: 1)")},
                "(minItems: 1; uniqueItems: true)",
            ),
            id="a list",
        ),
        pytest.param(
            {"type": "array", "prefixItems": [STRING, {"type": "integer"}, STRING], "items": False},
            noted(
                {"type": "array", "items": {"anyOf": [STRING, {"type": "integer"}]}},
                '(items in this order: [{"type":"string"},{"type":"integer"},{"type":"string"}])',
            ),
            id="a tuple",
        ),
        pytest.param(
            {"type": "array", "prefixItems": [STRING], "items": STRING},
            noted({"type": "array", "items": STRING}, '(items in this order: [{"type":"string"}])'),
            id="a tuple of one type",
        ),
        pytest.param({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}, id="an enum"),
        pytest.param({"enum": [True, 1, 1.5]}, None, id="an enum of three types"),
        pytest.param({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}, id="or null"),
        pytest.param({"const": "a"}, {"type": "string", "enum": ["a"]}, id="a const"),
        pytest.param({"const": None}, NULL, id="a const of null"),
        pytest.param({"oneOf": [STRING, NULL]}, {"anyOf": [STRING, NULL]}, id="oneOf"),
        pytest.param({"allOf": [{"type": "string", "title": "X"}]}, STRING, id="allOf of one"),
        pytest.param({"type": ["string", "null"]}, {"type": ["string", "null"]}, id="a list of types"),
        pytest.param(
            {"type": ["object", "null"], "properties": {"a": STRING}},
            {**obj(a={"anyOf": [STRING, NULL], "description": "(null: left out)"}), "type": ["object", "null"]},
            id="an object among types",
        ),
        pytest.param(
            obj(required=False, a=noted({"type": "integer", "default": 3}, "How many.")),
            obj(a=noted({"anyOf": [{"type": "integer"}, NULL]}, "How many. (default: 3; null: left out)")),
            id="what may be left out may be null",
        ),
        pytest.param(
            obj(required=False, a={"anyOf": [STRING, {"type": "integer"}]}),
            obj(a=noted({"anyOf": [STRING, {"type": "integer"}, NULL]}, "(null: left out)")),
            id="in a union",
        ),
        pytest.param(
            obj(required=False, a={"anyOf": [STRING, NULL], "default": None}),
            obj(a={"anyOf": [STRING, NULL]}),
            id="what could be null is as it was",
        ),
        pytest.param({"type": "object", "properties": {}}, obj(), id="an object of nothing"),
        pytest.param(
            {**obj(a=STRING), "additionalProperties": True}, obj(a=STRING), id="an object that may have more is closed"
        ),
    ],
)
def test_the_subset(schema: dict[str, Any], strict: dict[str, Any] | None) -> None:
    """In an object, and on top as well."""
    expected = strict or {
        "anyOf": [
            {"type": "boolean", "enum": [True]},
            {"type": "integer", "enum": [1]},
            {"type": "number", "enum": [1.5]},
        ]
    }
    assert strict_schema(obj(x=schema)) == obj(x=expected)
    assert strict_schema(schema) == (expected if schema.get("type") == "object" else obj(value=expected))


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        pytest.param(
            {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, {**NODE, "$defs": {"Node": NODE}}, id="a root by name"
        ),
        pytest.param(
            {"type": "array", "items": {"$ref": "#/$defs/Node"}, "$defs": {"Node": NODE}},
            {**obj(value={"type": "array", "items": {"$ref": "#/$defs/Node"}}), "$defs": {"Node": NODE}},
            id="a wrapped one",
        ),
        pytest.param(
            {**obj(a=noted({"$ref": "#/$defs/Node"}, "The first.")), "$defs": {"Node": NODE}},
            {
                **obj(a=noted({"anyOf": [{"$ref": "#/$defs/Node"}]}, "The first.")),
                "$defs": {"Node": NODE},
            },
            id="a reference stands alone",
        ),
        pytest.param(
            {**obj(required=False, a={"$ref": "#/$defs/S"}), "$defs": {"S": {**STRING, "minLength": 1}}},
            {
                **obj(a=noted({"anyOf": [{"$ref": "#/$defs/S"}, NULL]}, "(null: left out)")),
                "$defs": {"S": noted(STRING, "(minLength: 1)")},
            },
            id="definitions are rewritten too",
        ),
    ],
)
def test_definitions(schema: dict[str, Any], strict: dict[str, Any]) -> None:
    """They stay, as recursion has no other form."""
    assert strict_schema(schema) == strict


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        pytest.param({"type": "object", "additionalProperties": STRING}, "$.x", id="a mapping"),
        pytest.param({"type": "object"}, "$.x", id="any object"),
        pytest.param({}, "$.x", id="anything"),
        pytest.param(True, "$.x", id="anything, in a word"),
        pytest.param(False, "$.x", id="nothing"),
        pytest.param({"type": "array", "items": {}}, "$.x[]", id="a list of anything"),
        pytest.param({"type": "array"}, "$.x[]", id="any list"),
        pytest.param({"type": "array", "items": False}, "$.x[]", id="no list"),
        pytest.param(obj(y={"description": "Anything."}), "$.x.y", id="deeper"),
        pytest.param({"allOf": [STRING, {"minLength": 1}]}, "$.x", id="allOf of several"),
        pytest.param({"enum": [["a"]]}, "$.x", id="an enum of lists"),
    ],
)
def test_what_the_subset_cannot_say(schema: Any, path: str) -> None:
    """An error that says where."""
    with pytest.raises(ConfigError, match="the schema of an answer has no word for that") as caught:
        strict_schema(obj(x=schema))
    assert caught.value.path == path
    assert f"`{path}`" in str(caught.value)


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a schema."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    for each in [*inner, *([schema["items"]] if "items" in schema else [])]:
        yield from nodes(each)


def check_strict(schema: dict[str, Any]) -> None:
    """The rules, as the vendors state them."""
    assert schema["type"] == "object"
    assert "anyOf" not in schema
    for node in nodes(schema):
        kinds = [key for key in ("type", "anyOf", "$ref") if key in node]
        assert len(kinds) == 1
        allowed = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"}
        assert node.keys() <= allowed | {"description"}
        assert "$ref" not in node or node.keys() == {"$ref"}
        if "properties" in node:
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        if node.get("type") == "array":
            assert "items" in node


@pytest.mark.parametrize("signature", [pytest.param(row[0], id=row[0]) for row in SIGNATURES])
def test_the_schemas_of_the_tools(signature: str) -> None:
    """Each is strict, the same when done again, and untouched itself; or there is no word for it."""
    names = dict(vars(signatures))
    exec(f"def f({signature}): ...", names)
    schema = dict(tool(names["f"]).definition.parameters)
    before = msgspec.json.encode(schema)
    try:
        strict = strict_schema(schema)
    except ConfigError:
        mapping, anything = b'"additionalProperties":{', (b'"items":{}', b'{"type":"object"}')
        assert mapping in before or any(each in before for each in anything), before
        return
    check_strict(strict)
    assert strict_schema(strict) == strict
    assert msgspec.json.encode(schema) == before


SCHEMAS = st.recursive(
    st.sampled_from(
        [STRING, {"type": "integer", "minimum": 1}, NULL, {"enum": ["a", None]}, {"const": 1}, {"type": "boolean"}]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)}),
        st.fixed_dictionaries(
            {"anyOf": st.lists(inner, min_size=1, max_size=3)}, optional={"description": st.text(max_size=3)}
        ),
        st.builds(
            lambda properties, required: {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in required],
            },
            st.dictionaries(st.sampled_from("abcde"), inner, max_size=3),
            st.sets(st.sampled_from("abcde")),
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(SCHEMAS)
def test_any_schema(schema: dict[str, Any]) -> None:
    """Strict by the rules, and the same when done again."""
    strict = strict_schema(schema)
    check_strict(strict)
    assert strict_schema(strict) == strict
    assert object_schema(strict) == (strict, False)


class Tagged(msgspec.Struct, tag="one"):
    """One of two."""

    number: int = 1


class Other(msgspec.Struct, tag="two"):
    """The other."""

    number: int | None = 2
    inner: Tagged | None = None


class Everything(msgspec.Struct):
    """What has defaults, and what has none."""

    name: str
    number: int = 3
    maybe: int | None = 4
    tags: list[str] = []
    either: Tagged | Other | None = None
    all: list[Tagged | Other] = []
    pair: tuple[int, Tagged] = (1, Tagged())
    next: Everything | None = None
    flag: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("given_", "pruned"),
    [
        pytest.param({"name": None}, {"name": None}, id="what is required may be wrong"),
        pytest.param({"name": "a", "number": None}, {"name": "a"}, id="what had a default"),
        pytest.param({"name": "a", "maybe": None}, {"name": "a", "maybe": None}, id="what may be null"),
        pytest.param({"name": "a", "tags": None, "flag": None}, {"name": "a"}, id="a list, a literal"),
        pytest.param(
            {"name": "a", "either": {"type": "one", "number": None}},
            {"name": "a", "either": {"type": "one"}},
            id="in a union, by its tag",
        ),
        pytest.param(
            {"name": "a", "either": {"type": "two", "number": None}},
            {"name": "a", "either": {"type": "two", "number": None}},
            id="in the other",
        ),
        pytest.param(
            {"name": "a", "all": [{"type": "one", "number": None}, {"type": "two", "inner": {"type": "one"}}]},
            {"name": "a", "all": [{"type": "one"}, {"type": "two", "inner": {"type": "one"}}]},
            id="in a list",
        ),
        pytest.param(
            {"name": "a", "pair": [1, {"type": "one", "number": None}]},
            {"name": "a", "pair": [1, {"type": "one"}]},
            id="in a tuple",
        ),
        pytest.param(
            {"name": "a", "next": {"name": "b", "number": None, "next": {"name": "c", "tags": None}}},
            {"name": "a", "next": {"name": "b", "next": {"name": "c"}}},
            id="by a reference",
        ),
        pytest.param({"name": "a", "new": None}, {"name": "a", "new": None}, id="what is not known"),
        pytest.param({"number": None}, {"number": None}, id="what has not what it must have"),
        pytest.param("text", "text", id="no object"),
        pytest.param([{"number": None}], [{"number": None}], id="a list where none was"),
    ],
)
def test_the_way_back(given_: object, pruned: object) -> None:
    """The null of what was left out is left out."""
    assert without_nulls(given_, AnswerType(Everything).schema) == pruned


class Model(pydantic.BaseModel):
    """The same by pydantic."""

    name: str
    number: int = 3
    maybe: int | None = 4


def test_the_way_back_is_what_is_decoded() -> None:
    """For both kinds of types; the first that fits is taken as it is."""
    text = '{"name": "a", "number": null, "maybe": null}'
    assert AnswerType(Everything).decode(text) == Everything(name="a", maybe=None)
    assert AnswerType(Model).decode(text) == Model(name="a", maybe=None)


def test_the_way_back_loses_no_digit() -> None:
    """Exact numbers stay exact."""

    class Exact(msgspec.Struct):
        price: float
        huge: int
        left_out: int = 1

    decoded = AnswerType(Exact).decode('{"price": 0.1, "huge": 9007199254740993, "left_out": null}')
    assert decoded == Exact(price=0.1, huge=9007199254740993)


T = TypeVar("T")


class Box(msgspec.Struct, Generic[T]):
    """Of whatever."""

    item: T
    more: list[T] = []


class Renamed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Names and types that JSON has not."""

    first_name: str | msgspec.UnsetType = msgspec.UNSET
    price: Decimal = Decimal("1.5")
    some_bytes: bytes = b""
    some_set: set[int] = set()


class Row(msgspec.Struct, array_like=True):
    """A list, in JSON."""

    a: int
    b: str = "x"


class Loose(TypedDict):
    """A mapping of known keys."""

    a: NotRequired[int]
    b: NotRequired[int | None]


class Cat(pydantic.BaseModel):
    """One of two."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    """The other."""

    kind: Literal["dog"]
    name: str = pydantic.Field(default="rex", description="Its name.")


class Pet(pydantic.BaseModel):
    """What pydantic writes: `oneOf`, references beside descriptions, places, aliases."""

    model_config = pydantic.ConfigDict(extra="forbid")

    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    best: Cat = pydantic.Field(description="The best.", default_factory=lambda: Cat(kind="cat", lives=1))
    pair: tuple[int, str] | None = None
    born: datetime.date
    alias: int = pydantic.Field(alias="theAlias", default=1)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        pytest.param(Box[int], '{"item": 1, "more": null}', Box(item=1), id="a generic"),
        pytest.param(
            Renamed,
            '{"firstName": null, "price": 1.10, "someBytes": null, "someSet": [1]}',
            Renamed(price=Decimal("1.10"), some_set={1}),
            id="other names",
        ),
        pytest.param(list[Row], '{"value": [[1], [2, "b"]]}', [Row(1), Row(2, "b")], id="lists as structs"),
        pytest.param(Loose, '{"a": null, "b": null}', {"b": None}, id="keys that may be missing"),
        pytest.param(tuple[int, ...], '{"value": [1, 2]}', (1, 2), id="a tuple"),
        pytest.param(None, '{"value": null}', None, id="nothing"),
        pytest.param(
            Pet,
            '{"pet": {"kind": "dog", "name": null}, "best": null, "pair": [1, "a"], '
            '"born": "2020-01-01", "theAlias": null}',
            Pet(pet=Dog(kind="dog"), pair=(1, "a"), born=datetime.date(2020, 1, 1)),
            id="pydantic",
        ),
    ],
)
def test_what_is_made_for_the_strict_form_is_decoded(type_: Any, text: str, value: object) -> None:
    """Of types that JSON Schema says in many ways."""
    answer_type = AnswerType(type_)
    check_strict(answer_type.strict())
    assert answer_type.decode(text) == value
