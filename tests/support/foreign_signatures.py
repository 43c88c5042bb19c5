"""Signatures of tools with types that msgspec does not know, as the table in `signatures` has those that it does."""

# ruff: noqa: F401 - the signatures, which are text, use the names
import collections.abc
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Optional

import msgspec
import pydantic
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from signatures import Point, Row


class City(BaseModel):
    """A city."""

    name: str = Field(description="In English.")
    people: int = Field(default=0, ge=0)
    tags: list[str] = Field(default_factory=list)
    country: str = Field(default="", alias="countryCode")


class Evens(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("the number\nis odd")
        return number


class Branch(BaseModel):
    left: Optional["Branch"] = None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@pydantic.dataclasses.dataclass
class Checked:
    share: Annotated[int, Field(le=100)]


@dataclass
class Holder:
    city: City
    file: Path


class Struct(msgspec.Struct):
    city: City


class Callable(BaseModel):
    call: collections.abc.Callable[[], int]


CITY = {
    "description": "A city.",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "In English."},
        "people": {"type": "integer", "minimum": 0, "default": 0},
        "tags": {"type": "array", "items": {"type": "string"}},
        "countryCode": {"type": "string", "default": ""},
    },
    "required": ["name"],
}
ROME = "City(name='Rome', people=0, tags=[], country='')"
CAT = {"type": "object", "properties": {"kind": {"type": "string", "const": "cat"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"type": "string", "const": "dog"}}, "required": ["kind"]}
BRANCH = {
    "type": "object",
    "properties": {"left": {"anyOf": [{"$ref": "#/$defs/tree.Branch"}, {"type": "null"}], "default": None}},
}
SHARE = {"type": "integer", "maximum": 100}
NO_TEXT = "Input should be a valid string"

FOREIGN: list[Row] = [
    (
        "file: Path",
        {"file": {"type": "string", "format": "path"}},
        {},
        [('{"file": "a/b.txt"}', "file=PosixPath('a/b.txt')")],
        [('{"file": 3}', "Expected `str`, got `int` - at `$.file`")],
    ),
    (
        "files: list[PurePosixPath] | None = None",
        {
            "files": {
                "anyOf": [{"type": "array", "items": {"type": "string", "format": "path"}}, {"type": "null"}],
                "default": None,
            }
        },
        {},
        [("{}", "files=None"), ('{"files": ["/a"]}', "files=[PurePosixPath('/a')]")],
        [('{"files": ["a", []]}', "Expected `str`, got `list` - at `$.files[1]`")],
    ),
    (
        "file: Path = Path('a')",
        {"file": {"type": "string", "format": "path", "default": "a"}},
        {},
        [("{}", "file=PosixPath('a')")],
        [('{"file": null}', "Expected `str`, got `NoneType` - at `$.file`")],
    ),
    (
        "pattern: re.Pattern[str]",
        {"pattern": {"type": "string", "format": "regex"}},
        {},
        [('{"pattern": "a+"}', "pattern=re.compile('a+')")],
        [
            (
                '{"pattern": "a("}',
                "no regular expression: missing ), unterminated subpattern at position 1 - at `$.pattern`",
            )
        ],
    ),
    (
        "host: ipaddress.IPv4Address",
        {"host": {"type": "string", "format": "ipv4"}},
        {},
        [('{"host": "10.0.0.1"}', "host=IPv4Address('10.0.0.1')")],
        [('{"host": "10.0"}', "Expected 4 octets in '10.0' - at `$.host`")],
    ),
    (
        "net: ipaddress.IPv6Network",
        {"net": {"type": "string", "format": "ipv6network"}},
        {},
        [('{"net": "::/8"}', "net=IPv6Network('::/8')")],
        [('{"net": 1}', "Expected `str`, got `int` - at `$.net`")],
    ),
    (
        "city: City",
        {"city": CITY},
        {},
        [
            ('{"city": {"name": "Rome"}}', f"city={ROME}"),
            (
                '{"city": {"name": "Rome", "people": 3, "tags": ["a"], "countryCode": "it"}}',
                "city=City(name='Rome', people=3, tags=['a'], country='it')",
            ),
            ('{"city": "{\\"name\\": \\"Rome\\"}"}', f"city={ROME}"),
        ],
        [
            ("{}", "Object missing required field `city` - at `$`"),
            ('{"city": {}}', "Field required - at `$.city.name`"),
            (
                '{"city": {"name": 1, "people": -1}}',
                f"{NO_TEXT} - at `$.city.name`; Input should be greater than or equal to 0 - at `$.city.people`",
            ),
            ('{"city": {"name": "Rome"}, "town": 1}', "Object contains unknown field `town` - at `$`"),
        ],
    ),
    (
        "where: Point, city: City = City(name='Rome')",
        {
            "where": {
                "description": "A point.",
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
            },
            "city": {**CITY, "default": {"name": "Rome", "people": 0, "tags": [], "countryCode": ""}},
        },
        {},
        [('{"where": {"x": 1}}', f"where=Point(x=1, y=0), city={ROME}")],
        [('{"where": {"x": 1}, "city": null}', "Input should be an object - at `$.city`")],
    ),
    (
        "even: Evens",
        {
            "even": {
                "type": "object",
                "properties": {"number": {"type": "integer"}},
                "required": ["number"],
                "additionalProperties": False,
            }
        },
        {},
        [('{"even": {"number": 2}}', "even=Evens(number=2)")],
        [
            ('{"even": {"number": 1}}', "Value error, the number is odd - at `$.even.number`"),
            ('{"even": {"number": 2, "x": 1}}', "Extra inputs are not permitted - at `$.even.x`"),
        ],
    ),
    (
        "cities: list[City]",
        {"cities": {"type": "array", "items": CITY}},
        {},
        [('{"cities": [{"name": "Rome"}]}', f"cities=[{ROME}]"), ('{"cities": []}', "cities=[]")],
        [('{"cities": [{"name": "a"}, {"name": []}]}', f"{NO_TEXT} - at `$.cities[1].name`")],
    ),
    (
        "city: Optional[City] = None",
        {"city": {"anyOf": [CITY, {"type": "null"}], "default": None}},
        {},
        [("{}", "city=None"), ('{"city": null}', "city=None"), ('{"city": {"name": "Rome"}}', f"city={ROME}")],
        [('{"city": 1}', "Input should be an object - at `$.city`")],
    ),
    (
        "by_name: dict[str, Cat]",
        {"by_name": {"type": "object", "additionalProperties": CAT}},
        {},
        [('{"by_name": {"a": {"kind": "cat"}}}', "by_name={'a': Cat(kind='cat')}")],
        [('{"by_name": {"a": {"kind": "dog"}}}', "Input should be 'cat' - at `$.by_name.a.kind`")],
    ),
    (
        "pet: Annotated[Cat | Dog, Field(discriminator='kind', description='Whose.')]",
        {"pet": {"description": "Whose.", "oneOf": [CAT, DOG]}},
        {},
        [('{"pet": {"kind": "dog"}}', "pet=Dog(kind='dog')")],
        [('{"pet": {}}', "Unable to extract tag using discriminator 'kind' - at `$.pet`")],
    ),
    (
        "n: Annotated[int, Field(ge=1, description='How often.')] = 2",
        {"n": {"type": "integer", "minimum": 1, "description": "How often.", "default": 2}},
        {},
        [("{}", "n=2"), ('{"n": 1}', "n=1")],
        [('{"n": 0}', "Input should be greater than or equal to 1 - at `$.n`")],
    ),
    (
        "n: PositiveInt",
        {"n": {"type": "integer", "exclusiveMinimum": 0}},
        {},
        [('{"n": 1}', "n=1")],
        [('{"n": 0}', "Input should be greater than 0 - at `$.n`")],
    ),
    (
        "checked: Checked",
        {"checked": {"type": "object", "properties": {"share": SHARE}, "required": ["share"]}},
        {},
        [('{"checked": {"share": 5}}', "checked=Checked(share=5)")],
        [('{"checked": {"share": 101}}', "Input should be less than or equal to 100 - at `$.checked.share`")],
    ),
    (
        "held: Holder",
        {
            "held": {
                "type": "object",
                "properties": {"city": CITY, "file": {"type": "string", "format": "path"}},
                "required": ["city", "file"],
            }
        },
        {},
        [('{"held": {"city": {"name": "Rome"}, "file": "a"}}', f"held=Holder(city={ROME}, file=PosixPath('a'))")],
        [('{"held": {"city": {}, "file": "a"}}', "Field required - at `$.held.city.name`")],
    ),
    (
        "tree: Branch",
        {"tree": {"$ref": "#/$defs/tree.Branch"}},
        {"$defs": {"tree.Branch": BRANCH}},
        [('{"tree": {"left": {}}}', "tree=Branch(left=Branch(left=None))")],
        [('{"tree": {"left": {"left": 1}}}', "Input should be an object - at `$.tree.left.left`")],
    ),
    (
        "url: pydantic.HttpUrl",
        {"url": {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083}},
        {},
        [('{"url": "http://a.b"}', "url=HttpUrl('http://a.b/')")],
        [('{"url": "a"}', "Input should be a valid URL, relative URL without a base - at `$.url`")],
    ),
]  # fmt: skip
