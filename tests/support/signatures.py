"""Signatures of tools as a table: each with its schema, arguments that fit and arguments that do not."""

# ruff: noqa: F401 - the signatures, which are text, use the names
import datetime as dt
import enum
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import msgspec
from msgspec import Meta

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(msgspec.Struct):
    """A point."""

    x: int
    y: int = 0


class Line(msgspec.Struct):
    start: Point
    end: Point


class Paper(msgspec.Struct, forbid_unknown_fields=True):
    title: str


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float


class Node(msgspec.Struct):
    value: int
    children: list["Node"] = []


class Tree(msgspec.Struct):
    root: Node


class Even(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("the number is odd")


@dataclass
class Edit:
    path: str
    lines: list[int] = field(default_factory=list)


class Search(TypedDict):
    depth: int
    label: NotRequired[str]


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Box(msgspec.Struct, Generic[T]):
    item: T


class Camel(msgspec.Struct, rename="camel"):
    first_name: str


UserId = NewType("UserId", int)
Percent = Annotated[int, Meta(ge=0, le=100)]
SENTINEL: Any = object()

# signature, the schema's properties, its definitions, arguments that fit with what the function then gets, arguments
# that do not with what the model is told
Row = tuple[str, dict[str, Any], dict[str, Any], list[tuple[str, str]], list[tuple[str, str]]]

SIGNATURES: list[Row] = [
    (
        "",
        {},
        {},
        [("{}", "")],
        [
            ('{"a": 1}', "Object contains unknown field `a` - at `$`"),
            ("[]", "Expected `object`, got `array` - at `$`"),
            ("", "Input data was truncated - at `$`"),
            ("{", "Input data was truncated - at `$`"),
            ("null", "Expected `object`, got `null` - at `$`"),
        ],
    ),
    (
        "city: str",
        {"city": {"type": "string"}},
        {},
        [('{"city": "Paris"}', "city='Paris'"), ('{"city": "h\\u00e9"}', "city='hé'")],
        [
            ("{}", "Object missing required field `city` - at `$`"),
            ('{"city": 1}', "Expected `str`, got `int` - at `$.city`"),
            ('{"city": null}', "Expected `str`, got `null` - at `$.city`"),
            ('{"city": "a", "town": "b"}', "Object contains unknown field `town` - at `$`"),
        ],
    ),
    (
        "n: int",
        {"n": {"type": "integer"}},
        {},
        [('{"n": -3}', "n=-3")],
        [
            ('{"n": 1.5}', "Expected `int`, got `float` - at `$.n`"),
            ('{"n": "1"}', "Expected `int`, got `str` - at `$.n`"),
            ('{"n": true}', "Expected `int`, got `bool` - at `$.n`"),
        ],
    ),
    (
        "n: float",
        {"n": {"type": "number"}},
        {},
        [('{"n": 1.5}', "n=1.5"), ('{"n": 2}', "n=2.0")],
        [('{"n": "x"}', "Expected `float`, got `str` - at `$.n`")],
    ),
    (
        "b: bool",
        {"b": {"type": "boolean"}},
        {},
        [('{"b": true}', "b=True")],
        [
            ('{"b": 1}', "Expected `bool`, got `int` - at `$.b`"),
            ('{"b": "true"}', "Expected `bool`, got `str` - at `$.b`"),
        ],
    ),
    (
        "data: bytes",
        {"data": {"type": "string", "contentEncoding": "base64"}},
        {},
        [('{"data": "aGk="}', "data=b'hi'")],
        [('{"data": "?"}', "Invalid base64 encoded string - at `$.data`")],
    ),
    (
        "nothing: None",
        {"nothing": {"type": "null"}},
        {},
        [('{"nothing": null}', "nothing=None")],
        [('{"nothing": 0}', "Expected `null`, got `int` - at `$.nothing`")],
    ),
    (
        "a: str, b: int",
        {"a": {"type": "string"}, "b": {"type": "integer"}},
        {},
        [('{"b": 1, "a": "x"}', "a='x', b=1")],
        [('{"a": "x"}', "Object missing required field `b` - at `$`")],
    ),
    (
        "a: str, *, b: int",
        {"a": {"type": "string"}, "b": {"type": "integer"}},
        {},
        [('{"a": "x", "b": 1}', "a='x', b=1")],
        [('{"a": "x", "b": "y"}', "Expected `int`, got `str` - at `$.b`")],
    ),
    (
        "n: int = 3",
        {"n": {"type": "integer", "default": 3}},
        {},
        [("{}", "n=3"), ('{"n": 4}', "n=4")],
        [('{"n": null}', "Expected `int`, got `null` - at `$.n`")],
    ),
    (
        "s: str = 'x'",
        {"s": {"type": "string", "default": "x"}},
        {},
        [("{}", "s='x'")],
        [('{"s": []}', "Expected `str`, got `array` - at `$.s`")],
    ),
    (
        "n: int = None",
        {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}},
        {},
        [("{}", "n=None"), ('{"n": null}', "n=None"), ('{"n": 1}', "n=1")],
        [('{"n": "x"}', "Expected `int | null`, got `str` - at `$.n`")],
    ),
    (
        "n: int | None",
        {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        {},
        [('{"n": null}', "n=None"), ('{"n": 1}', "n=1")],
        [
            ("{}", "Object missing required field `n` - at `$`"),
            ('{"n": "x"}', "Expected `int | null`, got `str` - at `$.n`"),
        ],
    ),
    (
        "n: Optional[int] = None",
        {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}},
        {},
        [("{}", "n=None"), ('{"n": 7}', "n=7")],
        [('{"n": 1.5}', "Expected `int | null`, got `float` - at `$.n`")],
    ),
    (
        "v: int | str",
        {"v": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
        {},
        [('{"v": 1}', "v=1"), ('{"v": "a"}', "v='a'")],
        [
            ('{"v": null}', "Expected `int | str`, got `null` - at `$.v`"),
            ('{"v": []}', "Expected `int | str`, got `array` - at `$.v`"),
        ],
    ),
    (
        "v: Union[int, list[int], None] = None",
        {
            "v": {
                "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
                "default": None,
            }
        },
        {},
        [('{"v": [1, 2]}', "v=[1, 2]"), ("{}", "v=None")],
        [('{"v": ["a"]}', "Expected `int`, got `str` - at `$.v[0]`")],
    ),
    (
        "unit: Literal['c', 'f']",
        {"unit": {"type": "string", "enum": ["c", "f"]}},
        {},
        [('{"unit": "c"}', "unit='c'")],
        [
            ('{"unit": "k"}', "Invalid enum value 'k' - at `$.unit`"),
            ('{"unit": 1}', "Expected `str`, got `int` - at `$.unit`"),
        ],
    ),
    (
        "unit: Literal['c', 'f'] = 'c'",
        {"unit": {"type": "string", "enum": ["c", "f"], "default": "c"}},
        {},
        [("{}", "unit='c'")],
        [('{"unit": "K"}', "Invalid enum value 'K' - at `$.unit`")],
    ),
    (
        "v: Literal[1, 2, None]",
        {"v": {"enum": [None, 1, 2]}},
        {},
        [('{"v": 2}', "v=2"), ('{"v": null}', "v=None")],
        [('{"v": 3}', "Invalid enum value 3 - at `$.v`")],
    ),
    (
        "color: Color",
        {"color": {"type": "string", "enum": ["blue", "red"]}},
        {},
        [('{"color": "red"}', "color=<Color.RED: 'red'>")],
        [('{"color": "RED"}', "Invalid enum value 'RED' - at `$.color`")],
    ),
    (
        "color: Color = Color.BLUE",
        {"color": {"type": "string", "enum": ["blue", "red"], "default": "blue"}},
        {},
        [("{}", "color=<Color.BLUE: 'blue'>")],
        [('{"color": "green"}', "Invalid enum value 'green' - at `$.color`")],
    ),
    (
        "colors: list[Color]",
        {"colors": {"type": "array", "items": {"type": "string", "enum": ["blue", "red"]}}},
        {},
        [('{"colors": ["red", "blue"]}', "colors=[<Color.RED: 'red'>, <Color.BLUE: 'blue'>]")],
        [('{"colors": ["red", "x"]}', "Invalid enum value 'x' - at `$.colors[1]`")],
    ),
    (
        "level: Level",
        {"level": {"type": "integer", "enum": [1, 2]}},
        {},
        [('{"level": 2}', "level=<Level.HIGH: 2>")],
        [
            ('{"level": 3}', "Invalid enum value 3 - at `$.level`"),
            ('{"level": "HIGH"}', "Expected `int`, got `str` - at `$.level`"),
        ],
    ),
    (
        "names: list[str]",
        {"names": {"type": "array", "items": {"type": "string"}}},
        {},
        [('{"names": []}', "names=[]"), ('{"names": ["a"]}', "names=['a']")],
        [
            ('{"names": "a"}', "Expected `array`, got `str` - at `$.names`"),
            ('{"names": ["a", 1]}', "Expected `str`, got `int` - at `$.names[1]`"),
        ],
    ),
    (
        "names: list[str] = []",
        {"names": {"type": "array", "items": {"type": "string"}, "default": []}},
        {},
        [("{}", "names=[]")],
        [('{"names": null}', "Expected `array`, got `null` - at `$.names`")],
    ),
    (
        "grid: list[list[int]]",
        {"grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}},
        {},
        [('{"grid": [[1], []]}', "grid=[[1], []]")],
        [('{"grid": [[1], ["x"]]}', "Expected `int`, got `str` - at `$.grid[1][0]`")],
    ),
    (
        "things: list",
        {"things": {"type": "array", "items": {}}},
        {},
        [('{"things": [1, "a"]}', "things=[1, 'a']")],
        [('{"things": {}}', "Expected `array`, got `object` - at `$.things`")],
    ),
    (
        "names: Sequence[str]",
        {"names": {"type": "array", "items": {"type": "string"}}},
        {},
        [('{"names": ["a"]}', "names=['a']")],
        [('{"names": 1}', "Expected `array`, got `int` - at `$.names`")],
    ),
    (
        "names: set[str]",
        {"names": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
        {},
        [('{"names": ["a", "a"]}', "names={'a'}")],
        [('{"names": [1]}', "Expected `str`, got `int` - at `$.names[0]`")],
    ),
    (
        "pair: tuple[int, str]",
        {
            "pair": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
            }
        },
        {},
        [('{"pair": [1, "a"]}', "pair=(1, 'a')")],
        [
            ('{"pair": [1]}', "Expected `array` of length 2 - at `$.pair`"),
            ('{"pair": ["a", 1]}', "Expected `int`, got `str` - at `$.pair[0]`"),
        ],
    ),
    (
        "numbers: tuple[int, ...]",
        {"numbers": {"type": "array", "items": {"type": "integer"}}},
        {},
        [('{"numbers": [1, 2]}', "numbers=(1, 2)")],
        [('{"numbers": [1, "a"]}', "Expected `int`, got `str` - at `$.numbers[1]`")],
    ),
    (
        "counts: dict[str, int]",
        {"counts": {"type": "object", "additionalProperties": {"type": "integer"}}},
        {},
        [('{"counts": {"a": 1}}', "counts={'a': 1}")],
        [('{"counts": {"a": "b"}}', "Expected `int`, got `str` - at `$.counts[...]`")],
    ),
    (
        "counts: Mapping[int, str]",
        {"counts": {"type": "object", "additionalProperties": {"type": "string"}}},
        {},
        [('{"counts": {"1": "a"}}', "counts={1: 'a'}")],
        [('{"counts": {"x": "a"}}', "Expected `int`, got `str` - at `key` in `$.counts`")],
    ),
    (
        "extra: dict[str, Any]",
        {"extra": {"type": "object"}},
        {},
        [('{"extra": {"a": [null]}}', "extra={'a': [None]}")],
        [('{"extra": []}', "Expected `object`, got `array` - at `$.extra`")],
    ),
    (
        "point: Point",
        {
            "point": {
                "description": "A point.",
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
            }
        },
        {},
        [
            ('{"point": {"x": 1}}', "point=Point(x=1, y=0)"),
            ('{"point": {"x": 1, "y": 2, "z": 3}}', "point=Point(x=1, y=2)"),
        ],
        [
            ('{"point": {}}', "Object missing required field `x` - at `$.point`"),
            ('{"point": {"x": "1"}}', "Expected `int`, got `str` - at `$.point.x`"),
        ],
    ),
    (
        "point: Point | None = None",
        {
            "point": {
                "anyOf": [
                    {
                        "description": "A point.",
                        "type": "object",
                        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                        "required": ["x"],
                    },
                    {"type": "null"},
                ],
                "default": None,
            }
        },
        {},
        [("{}", "point=None"), ('{"point": {"x": 1}}', "point=Point(x=1, y=0)")],
        [('{"point": {"y": 1}}', "Object missing required field `x` - at `$.point`")],
    ),
    (
        "points: list[Point]",
        {
            "points": {
                "type": "array",
                "items": {
                    "description": "A point.",
                    "type": "object",
                    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                    "required": ["x"],
                },
            }
        },
        {},
        [('{"points": [{"x": 1}]}', "points=[Point(x=1, y=0)]")],
        [('{"points": [{"x": 1}, {"x": null}]}', "Expected `int`, got `null` - at `$.points[1].x`")],
    ),
    (
        "line: Line",
        {
            "line": {
                "type": "object",
                "properties": {
                    "start": {
                        "description": "A point.",
                        "type": "object",
                        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                        "required": ["x"],
                    },
                    "end": {
                        "description": "A point.",
                        "type": "object",
                        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                        "required": ["x"],
                    },
                },
                "required": ["start", "end"],
            }
        },
        {},
        [('{"line": {"start": {"x": 1}, "end": {"x": 2}}}', "line=Line(start=Point(x=1, y=0), end=Point(x=2, y=0))")],
        [('{"line": {"start": {"x": 1}, "end": {"x": "b"}}}', "Expected `int`, got `str` - at `$.line.end.x`")],
    ),
    (
        "paper: Paper",
        {
            "paper": {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
                "additionalProperties": False,
            }
        },
        {},
        [('{"paper": {"title": "t"}}', "paper=Paper(title='t')")],
        [('{"paper": {"title": "t", "more": 1}}', "Object contains unknown field `more` - at `$.paper`")],
    ),
    (
        "paper: Paper = Paper('t')",
        {
            "paper": {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
                "additionalProperties": False,
                "default": {"title": "t"},
            }
        },
        {},
        [("{}", "paper=Paper(title='t')")],
        [('{"paper": {}}', "Object missing required field `title` - at `$.paper`")],
    ),
    (
        "shape: Circle | Square",
        {
            "shape": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"type": {"type": "string", "enum": ["circle"]}, "radius": {"type": "number"}},
                        "required": ["type", "radius"],
                    },
                    {
                        "type": "object",
                        "properties": {"type": {"type": "string", "enum": ["square"]}, "side": {"type": "number"}},
                        "required": ["type", "side"],
                    },
                ]
            }
        },
        {},
        [('{"shape": {"type": "circle", "radius": 1}}', "shape=Circle(radius=1.0)")],
        [
            ('{"shape": {"type": "cube"}}', "Invalid value 'cube' - at `$.shape.type`"),
            ('{"shape": {"radius": 1}}', "Object missing required field `type` - at `$.shape`"),
        ],
    ),
    (
        "shapes: list[Circle | Square]",
        {
            "shapes": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {
                            "type": "object",
                            "properties": {
                                "type": {"type": "string", "enum": ["circle"]},
                                "radius": {"type": "number"},
                            },
                            "required": ["type", "radius"],
                        },
                        {
                            "type": "object",
                            "properties": {"type": {"type": "string", "enum": ["square"]}, "side": {"type": "number"}},
                            "required": ["type", "side"],
                        },
                    ]
                },
            }
        },
        {},
        [('{"shapes": [{"type": "square", "side": 2}]}', "shapes=[Square(side=2.0)]")],
        [('{"shapes": [{"type": "square", "side": "2"}]}', "Expected `float`, got `str` - at `$.shapes[0].side`")],
    ),
    (
        "node: Node",
        {"node": {"$ref": "#/$defs/Node"}},
        {
            "$defs": {
                "Node": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "integer"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "default": []},
                    },
                    "required": ["value"],
                }
            }
        },
        [
            (
                '{"node": {"value": 1, "children": [{"value": 2}]}}',
                "node=Node(value=1, children=[Node(value=2, children=[])])",
            )
        ],
        [
            (
                '{"node": {"value": 1, "children": [{"value": "2"}]}}',
                "Expected `int`, got `str` - at `$.node.children[0].value`",
            )
        ],
    ),
    (
        "tree: Tree",
        {"tree": {"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "required": ["root"]}},
        {
            "$defs": {
                "Node": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "integer"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "default": []},
                    },
                    "required": ["value"],
                }
            }
        },
        [('{"tree": {"root": {"value": 1}}}', "tree=Tree(root=Node(value=1, children=[]))")],
        [('{"tree": {"root": {}}}', "Object missing required field `value` - at `$.tree.root`")],
    ),
    (
        "even: Even",
        {"even": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}},
        {},
        [('{"even": {"number": 2}}', "even=Even(number=2)")],
        [('{"even": {"number": 3}}', "the number is odd - at `$.even`")],
    ),
    (
        "edit: Edit",
        {
            "edit": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
                "required": ["path"],
            }
        },
        {},
        [('{"edit": {"path": "a"}}', "edit=Edit(path='a', lines=[])")],
        [('{"edit": {"lines": [1]}}', "Object missing required field `path` - at `$.edit`")],
    ),
    (
        "options: Search",
        {
            "options": {
                "type": "object",
                "properties": {"depth": {"type": "integer"}, "label": {"type": "string"}},
                "required": ["depth"],
            }
        },
        {},
        [('{"options": {"depth": 1}}', "options={'depth': 1}")],
        [('{"options": {"label": "a"}}', "Object missing required field `depth` - at `$.options`")],
    ),
    (
        "pair: Pair",
        {
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string", "default": "r"}],
                "minItems": 1,
                "maxItems": 2,
            }
        },
        {},
        [('{"pair": [1]}', "pair=Pair(left=1, right='r')")],
        [('{"pair": []}', "Expected `array` of length 1 to 2 - at `$.pair`")],
    ),
    (
        "box: Box[int]",
        {"box": {"type": "object", "properties": {"item": {"type": "integer"}}, "required": ["item"]}},
        {},
        [('{"box": {"item": 1}}', "box=Box(item=1)")],
        [('{"box": {"item": "a"}}', "Expected `int`, got `str` - at `$.box.item`")],
    ),
    (
        "boxes: dict[str, Box[Color]]",
        {
            "boxes": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {"item": {"type": "string", "enum": ["blue", "red"]}},
                    "required": ["item"],
                },
            }
        },
        {},
        [('{"boxes": {"a": {"item": "red"}}}', "boxes={'a': Box(item=<Color.RED: 'red'>)}")],
        [('{"boxes": {"a": {"item": "x"}}}', "Invalid enum value 'x' - at `$.boxes[...].item`")],
    ),
    (
        "user: UserId",
        {"user": {"type": "integer"}},
        {},
        [('{"user": 5}', "user=5")],
        [('{"user": "5"}', "Expected `int`, got `str` - at `$.user`")],
    ),
    (
        "p: Annotated[int, Meta(ge=0, le=100)]",
        {"p": {"type": "integer", "minimum": 0, "maximum": 100}},
        {},
        [('{"p": 0}', "p=0"), ('{"p": 100}', "p=100")],
        [('{"p": 101}', "Expected `int` <= 100 - at `$.p`"), ('{"p": -1}', "Expected `int` >= 0 - at `$.p`")],
    ),
    (
        "p: Percent = 50",
        {"p": {"type": "integer", "minimum": 0, "maximum": 100, "default": 50}},
        {},
        [("{}", "p=50")],
        [('{"p": 1000}', "Expected `int` <= 100 - at `$.p`")],
    ),
    (
        "p: Percent | None = None",
        {"p": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, {"type": "null"}], "default": None}},
        {},
        [('{"p": null}', "p=None")],
        [('{"p": 101}', "Expected `int` <= 100 - at `$.p`")],
    ),
    (
        "q: Annotated[str, Meta(min_length=2, pattern='^[a-z]+$')]",
        {"q": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"}},
        {},
        [('{"q": "ab"}', "q='ab'")],
        [
            ('{"q": "a"}', "Expected `str` of length >= 2 - at `$.q`"),
            ('{"q": "AB"}', "Expected `str` matching regex '^[a-z]+$' - at `$.q`"),
        ],
    ),
    (
        "q: Annotated[str, Meta(description='What to look for.', examples=['x'])]",
        {"q": {"description": "What to look for.", "examples": ["x"], "type": "string"}},
        {},
        [('{"q": "a"}', "q='a'")],
        [('{"q": 1}', "Expected `str`, got `int` - at `$.q`")],
    ),
    (
        "tags: Annotated[list[str], Meta(max_length=2)]",
        {"tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2}},
        {},
        [('{"tags": ["a", "b"]}', "tags=['a', 'b']")],
        [('{"tags": ["a", "b", "c"]}', "Expected `array` of length <= 2 - at `$.tags`")],
    ),
    (
        "step: Annotated[float, Meta(gt=0, multiple_of=0.5)]",
        {"step": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}},
        {},
        [('{"step": 1.5}', "step=1.5")],
        [('{"step": 0}', "Expected `float` > 0.0 - at `$.step`")],
    ),
    (
        "day: dt.date",
        {"day": {"type": "string", "format": "date"}},
        {},
        [('{"day": "2026-11-21"}', "day=datetime.date(2026, 11, 21)")],
        [('{"day": "21.11."}', "Invalid RFC3339 encoded date - at `$.day`")],
    ),
    (
        "at: dt.datetime",
        {"at": {"type": "string"}},
        {},
        [('{"at": "2026-11-21T10:00:00Z"}', "at=datetime.datetime(2026, 11, 21, 10, 0, tzinfo=datetime.timezone.utc)")],
        [('{"at": "noon"}', "Invalid RFC3339 encoded datetime - at `$.at`")],
    ),
    (
        "wait: dt.timedelta",
        {"wait": {"type": "string", "format": "duration"}},
        {},
        [('{"wait": "PT90S"}', "wait=datetime.timedelta(seconds=90)")],
        [('{"wait": "long"}', "Invalid ISO8601 duration - at `$.wait`")],
    ),
    (
        "id: uuid.UUID",
        {"id": {"type": "string", "format": "uuid"}},
        {},
        [('{"id": "12345678-1234-5678-1234-567812345678"}', "id=UUID('12345678-1234-5678-1234-567812345678')")],
        [('{"id": "1"}', "Invalid UUID - at `$.id`")],
    ),
    (
        "price: Decimal",
        {"price": {"type": "string", "format": "decimal"}},
        {},
        [('{"price": "1.10"}', "price=Decimal('1.10')"), ('{"price": 1.1}', "price=Decimal('1.1')")],
        [('{"price": "x"}', "Invalid decimal string - at `$.price`")],
    ),
    (
        "person: Camel",
        {"person": {"type": "object", "properties": {"firstName": {"type": "string"}}, "required": ["firstName"]}},
        {},
        [('{"person": {"firstName": "A"}}', "person=Camel(first_name='A')")],
        [('{"person": {"first_name": "A"}}', "Object missing required field `firstName` - at `$.person`")],
    ),
    (
        "title: str, properties: int, required: bool = False",
        {
            "title": {"type": "string"},
            "properties": {"type": "integer"},
            "required": {"type": "boolean", "default": False},
        },
        {},
        [('{"title": "t", "properties": 1}', "title='t', properties=1, required=False")],
        [('{"title": "t", "properties": "x"}', "Expected `int`, got `str` - at `$.properties`")],
    ),
    (
        "callback: int = SENTINEL",
        {"callback": {"type": "integer"}},
        {},
        [('{"callback": 1}', "callback=1")],
        [('{"callback": "x"}', "Expected `int`, got `str` - at `$.callback`")],
    ),
    (
        "where: 'Point'",
        {
            "where": {
                "description": "A point.",
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
            }
        },
        {},
        [('{"where": {"x": 1}}', "where=Point(x=1, y=0)")],
        [('{"where": 1}', "Expected `object`, got `int` - at `$.where`")],
    ),
]
