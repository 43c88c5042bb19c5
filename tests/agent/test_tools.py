"""Tools from functions: the schema says what the function takes, and whatever goes wrong is told to the model."""

from __future__ import annotations

import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial, wraps
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import pytest
from pydantic import Field

import foreign_signatures
import signatures
from foreign_signatures import FOREIGN, City
from penstock import ConfigError, DocumentPart, FunctionTool, ImagePart, TextPart, Tool, ToolResult, tool
from penstock.agent.tools import tool_table
from signatures import SIGNATURES, Point

IMAGE = ImagePart(data=b"\x89PNG", media_type="image/png")
DOCUMENT = DocumentPart(url="https://example.org/a.pdf")
ROWS = [*SIGNATURES, *FOREIGN]


def made(signature: str) -> Callable[..., str]:
    """A function with that signature which says what it was given."""
    names = vars(signatures) | vars(foreign_signatures)
    exec(f"def f({signature}): return ', '.join(f'{{name}}={{value!r}}' for name, value in locals().items())", names)
    function: Callable[..., str] = names["f"]
    return function


@pytest.mark.parametrize(
    ("signature", "properties", "definitions"), [pytest.param(*row[:3], id=row[0]) for row in ROWS]
)
def test_the_schema(signature: str, properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    """An object with a property for each parameter; those without a default are required; nothing else is allowed."""
    function = made(signature)
    parameters = inspect.signature(function).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    assert tool(function).definition.parameters == {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **definitions,
    }
    assert list(properties) == [parameter.name for parameter in parameters]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("signature", "arguments", "given"),
    [pytest.param(row[0], *case, id=f"{row[0]}: {case[0]}") for row in ROWS for case in row[3]],
)
async def test_arguments_that_fit(signature: str, arguments: str, given: str) -> None:
    """The function gets them as the types of its signature, and its own defaults for the rest."""
    assert await tool(made(signature)).run(arguments) == ToolResult(content=given)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("signature", "arguments", "why"),
    [pytest.param(row[0], *case, id=f"{row[0]}: {case[0]}") for row in ROWS for case in row[4]],
)
async def test_arguments_that_do_not_fit(
    signature: str, arguments: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is told what and where, and the function is not called."""
    result = await tool(made(signature)).run(arguments)
    assert result == ToolResult(content=f"The arguments do not fit: {why}", is_error=True)
    assert not caplog.records


def test_there_are_eighty() -> None:
    """The table is as long as it was promised to be, and each row has both kinds of arguments."""
    assert len({row[0] for row in ROWS}) >= 80
    assert all(row[3] and row[4] for row in ROWS)


class Plain:
    """Of no kind that msgspec knows."""

    def method(self, city: str) -> str:
        """What the weather is like."""
        return f"Sunny in {city}."

    def unbound(self) -> None:
        """Not bound to anything yet."""


def yields(n: int) -> Iterator[int]:
    """One by one."""
    yield n


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        pytest.param("a", "`a` has no annotation", id="no annotation"),
        pytest.param("a: int, b=1", "`b` has no annotation", id="a default is no annotation"),
        pytest.param("a: object", "`a`: its type takes any value", id="any object"),
        pytest.param("a: Any", "`a`: its type takes any value", id="Any"),
        pytest.param("a: Any = 1", "`a`: its type takes any value", id="Any with a default"),
        pytest.param("a: Any = None", "`a`: its type takes any value", id="Any with None"),
        pytest.param("a: 'int | Any'", "`a`: its type takes any value", id="a union with Any"),
        pytest.param("a: msgspec.Raw", "`a`: its type takes any value", id="raw JSON"),
        pytest.param("*a: int", r"`\*a` can be anything", id="positional arguments"),
        pytest.param("a: int, **b: int", r"`\*\*b` can be anything", id="keyword arguments"),
        pytest.param("a: int, /", "`a` is positional-only", id="positional-only"),
        pytest.param("a: list[object]", "`a`: its type takes any value", id="a list of any objects"),
        pytest.param("a: complex", "`a`: no schema .*complex", id="a type without JSON"),
        pytest.param("a: type[int]", "`a`: no schema", id="a class"),
        pytest.param("a: list[msgspec.msgpack.Ext]", "`a`: no schema .*Ext", id="what only msgpack has"),
        pytest.param("a: 'Callable[[], int]'", "`a`: its annotation cannot be read .*Callable", id="a name not known"),
        pytest.param("a: 'int]'", "`a`: its annotation cannot be read", id="an annotation that is no Python"),
        pytest.param("a: Circle | Point", "`a`: no schema .*tagged", id="structs that JSON cannot tell apart"),
        pytest.param("a: Point | Edit", "`a`: no schema .*dict-like", id="two objects that JSON cannot tell apart"),
        pytest.param("a: int, b: 3", "`b`", id="a value"),
        pytest.param("a: Path | str", "`a`: no schema .*Path", id="a path or a text"),
        pytest.param("a: Struct", "`a`: no schema .*Struct", id="a struct with a model inside"),
        pytest.param("a: Callable", "`a`: no schema .*Callable", id="a model without a schema"),
        pytest.param("a: int = Field(ge=1)", "`a`: write `Annotated", id="a Field for a default"),
        pytest.param(
            "a: Annotated[int, Field(default=1)]", "`a`: write .*default behind `=`", id="a default in a Field"
        ),
        pytest.param("a: Annotated[int, Field(alias='b')]", "`a`: write .* no alias", id="an alias"),
    ],
)
def test_what_has_no_schema_is_refused_when_it_is_made(signature: str, why: str) -> None:
    """The error names the function and the parameter."""
    with pytest.raises(ConfigError, match=f"^tool `f`: parameter {why}"):
        tool(made(signature))


def test_a_class_that_only_the_program_has_is_for_the_context() -> None:
    """The error says what to write; with it there is none."""

    def look(word: str, db: Plain) -> str:
        return word

    with pytest.raises(
        ConfigError, match=r"does not know the type .*Plain'>; if your program supplies it, use @tool"
    ) as no:
        tool(look)
    assert no.value.message.endswith('@tool(context=("db",))')
    assert tool(look, context="db").definition.parameters["required"] == ["word"]


def test_a_struct_that_names_what_is_not_there() -> None:
    """A forward reference that msgspec cannot follow is an error of the parameter too."""

    class Local(msgspec.Struct):
        other: Missing  # type: ignore[name-defined]  # noqa: F821

    def f(a: int) -> None:
        """Takes a struct, below."""

    f.__annotations__["a"] = Local
    with pytest.raises(ConfigError, match=r"parameter `a`: field `other`: its annotation cannot be read .*'Missing'"):
        tool(f)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(
            lambda: tool(Plain.unbound),
            "`unbound`: parameter `self` has no annotation; make .*`tool.object.method.`",
            id="a method of none",
        ),
        pytest.param(lambda: tool(yields), "`yields`: the function yields", id="a generator"),
        pytest.param(lambda: tool(print, name="a b"), "`a b`: ", id="a builtin of a bad name"),
        pytest.param(lambda: tool(lambda: 1), "`<lambda>`: the name may have 1 to 64", id="a function without a name"),
        pytest.param(lambda: tool(partial(made("a: int"))), "``: the name", id="a partial without a name"),
        pytest.param(lambda: tool(made("a: int"), name="x" * 65), "the name may have 1 to 64", id="a long name"),
        pytest.param(lambda: tool(made("a: int"), name="größe"), "the name may have", id="a name that is not ASCII"),
        pytest.param(lambda: tool(3), "made of a function, not of 3", id="no function"),  # type: ignore[call-overload]
        pytest.param(lambda: tool(dict.fromkeys), "parameter `iterable`", id="a builtin method"),
        pytest.param(lambda: tool(type, name="t"), "`t`: Python cannot tell its signature", id="no signature"),
    ],
)
def test_functions_that_are_no_tools(make: Callable[[], object], why: str) -> None:
    """Refused when they are made, by name."""
    with pytest.raises(ConfigError, match=why):
        make()


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        pytest.param({}, "the schema is not an object's", id="an empty schema"),
        pytest.param({"type": "string"}, "the schema is not an object's", id="text"),
        pytest.param([], "the schema is not an object's", id="a list"),
        pytest.param({"type": "object", "properties": []}, "`properties` are no object", id="properties in a list"),
        pytest.param({"type": "object", "properties": {}, "required": "a"}, "`required` is no list", id="one required"),
        pytest.param(
            {"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}, "`b` is required but", id="a lost name"
        ),
        pytest.param({"type": "object", "required": ["a"]}, "`a` is required but", id="no properties at all"),
        pytest.param({"type": "object", "required": [["a"]]}, "is required but", id="a list is required"),
    ],
)
def test_a_definition_by_hand_is_checked_too(parameters: Any, why: str) -> None:
    """By the tool's name."""
    with pytest.raises(ConfigError, match=f"^tool `f`: .*{why}"):
        FunctionTool(Tool(name="f", parameters=parameters), print)


def google(city: str, unit: str = "c") -> None:
    """Look up the weather.

    In any city,
    however small.

    Args:
        city: Its name,
            in English.
        unit (str): Of the temperature.
        other: Not a parameter.

    Returns:
        Nothing.
    """


def numpy(city: str) -> None:
    """Look up the weather.

    Parameters
    ----------
    city : str
        Its name.
    """


def sphinx(city: str) -> None:
    """Look up the weather.

    :param city: Its name.
    :returns: Nothing.
    """


def annotated(city: Annotated[str, msgspec.Meta(description="From the annotation.")], point: Point) -> None:
    """Look up the weather.

    Args:
        city: From the docstring.
        point: Where.
    """


def modelled(city: City, other: City, area: Annotated[City, Field(description="From the annotation.")]) -> None:
    """Look up the weather.

    Args:
        city: From the docstring.
        area: From the docstring.
    """


def prose(city: str) -> None:
    """city: its name."""


def odd(city: str) -> None:
    """: :"""


def silent(city: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "description", "parameters"),
    [
        pytest.param(
            google,
            "Look up the weather.\n\nIn any city,\nhowever small.",
            {"city": "Its name,\nin English.", "unit": "Of the temperature."},
            id="Google's style",
        ),
        pytest.param(numpy, "Look up the weather.", {"city": "Its name."}, id="NumPy's style"),
        pytest.param(sphinx, "Look up the weather.", {"city": "Its name."}, id="Sphinx's style"),
        pytest.param(
            annotated,
            "Look up the weather.",
            {"city": "From the annotation.", "point": "Where."},
            id="the annotation wins over the docstring, the docstring over the type",
        ),
        pytest.param(
            modelled,
            "Look up the weather.",
            {"city": "From the docstring.", "other": "A city.", "area": "From the annotation."},
            id="the same with pydantic",
        ),
        pytest.param(prose, "city: its name.", {}, id="prose"),
        pytest.param(odd, ": :", {}, id="what the parser cannot read"),
        pytest.param(silent, "", {}, id="no docstring"),
    ],
)
def test_descriptions(function: Callable[..., object], description: str, parameters: dict[str, str]) -> None:
    """They come from the docstring."""
    definition = tool(function).definition
    properties: Any = definition.parameters["properties"]
    assert definition.description == description
    assert {name: value["description"] for name, value in properties.items() if "description" in value} == parameters


def test_the_decorator() -> None:
    """It keeps the function: its types, its name and its docstring."""

    @tool
    def double(n: int) -> int:
        """Twice as much."""
        return 2 * n

    @tool(name="half_of", description="Half as much.", strict=True)
    async def half(n: int) -> float:
        """Not shown to the model."""
        return n / 2

    assert double(2) + double(n=1) == 6
    assert anyio.run(half, 3) == 1.5
    assert (double.definition.name, double.definition.description, double.definition.strict) == (
        "double",
        "Twice as much.",
        False,
    )
    assert (half.definition.name, half.definition.description, half.definition.strict) == (
        "half_of",
        "Half as much.",
        True,
    )
    assert str(inspect.signature(double)) == "(n: 'int') -> 'int'"
    assert (double.__doc__, repr(half)) == ("Twice as much.", "<DecoratedTool half_of>")
    tools = [double, half]
    assert list(tool_table(tools)) == ["double", "half_of"]


@pytest.mark.anyio
async def test_what_else_is_a_function() -> None:
    """Bound methods, wrapped functions and partials: each with the types that its author wrote."""
    inner = made("a: Point, b: int = 2")

    @wraps(inner)
    def wrapper(*args: Any, **kwargs: Any) -> str:
        return f"({inner(*args, **kwargs)})"

    method = tool(Plain().method)
    assert method.definition.description == "What the weather is like."
    assert await method.run('{"city": "Rome"}') == ToolResult(content="Sunny in Rome.")
    assert await tool(wrapper).run('{"a": {"x": 1}}') == ToolResult(content="(a=Point(x=1, y=0), b=2)")
    given = tool(partial(inner, b=5), name="g")
    assert given.definition.description == ""
    assert await given.run('{"a": {"x": 1}}') == ToolResult(content="a=Point(x=1, y=0), b=5")
    vars(inner)["definition"] = "a function may have attributes of any name"
    assert tool(inner).definition.name == "f"
    assert await tool(tool(inner)).run('{"a": {"x": 1}}') == ToolResult(content="a=Point(x=1, y=0), b=2")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "content"),
    [
        pytest.param("text", "text", id="text as it is"),
        pytest.param("", "", id="empty text"),
        pytest.param(None, "", id="nothing"),
        pytest.param("a\udc80b", "a\N{REPLACEMENT CHARACTER}b", id="text that is not Unicode"),
        pytest.param(21.5, "21.5", id="a number"),
        pytest.param(True, "true", id="a truth"),
        pytest.param({"a": [1, None]}, '{"a":[1,null]}', id="a dictionary"),
        pytest.param(Point(1), '{"x":1,"y":0}', id="a struct"),
        pytest.param(
            City(name="a", countryCode="x"), '{"name":"a","people":0,"tags":[],"countryCode":"x"}', id="a model"
        ),
        pytest.param([Path("a"), IPv4Address("1.2.3.4")], '["a","1.2.3.4"]', id="paths and addresses"),
        pytest.param({"p": re.compile("a+")}, '{"p":"a+"}', id="a pattern"),
        pytest.param(ToolResult(content="a\udc80"), "a\N{REPLACEMENT CHARACTER}", id="a result of its own"),
        pytest.param(ToolResult(content=[]), "", id="a result of nothing"),
        pytest.param([], "[]", id="an empty list"),
        pytest.param(["a", "b"], '["a","b"]', id="a list of text"),
        pytest.param(IMAGE, [IMAGE], id="one part"),
        pytest.param([TextPart("a"), IMAGE], [TextPart("a"), IMAGE], id="parts"),
        pytest.param((DOCUMENT,), [DOCUMENT], id="a document"),
        pytest.param([TextPart(" "), IMAGE], [IMAGE], id="blank text, which vendors refuse"),
        pytest.param([TextPart("")], "", id="nothing but blank text"),
        pytest.param(TextPart("\ud800"), [TextPart("\N{REPLACEMENT CHARACTER}")], id="a part that is not Unicode"),
    ],
)
async def test_what_a_tool_returns(value: object, content: object) -> None:
    """Text and parts as they are, the rest as JSON; both from a thread and from the loop."""

    def sync() -> object:
        """In a thread."""
        return value

    async def asynchronous() -> object:
        """In the loop."""
        return value

    for function in (sync, asynchronous):
        assert await tool(function).run("{}") == ToolResult(content=content)  # type: ignore[arg-type]


def fail(error: BaseException) -> object:
    raise error


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("act", "content"),
    [
        pytest.param(lambda: fail(ValueError("no such city")), "ValueError: no such city", id="it raises"),
        pytest.param(lambda: fail(StopIteration("x")), "RuntimeError: .*StopIteration", id="it stops an iteration"),
        pytest.param(lambda: fail(SystemExit(2)), "SystemExit: 2", id="it would end the program"),
        pytest.param(lambda: fail(ExceptionGroup("two", [ValueError("a")])), "ExceptionGroup: two", id="a group"),
        pytest.param(lambda: fail(ValueError("\udc80")), "ValueError: \N{REPLACEMENT CHARACTER}", id="no Unicode"),
        pytest.param(lambda: b"x", "TypeError: the tool returned bytes; return text", id="it returns bytes"),
        pytest.param(lambda: Plain(), "TypeError: Encoding objects of type Plain", id="it returns what is not JSON"),
    ],
)
async def test_a_tool_that_fails(act: Callable[[], object], content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is told what, and the log has the traceback.

    It is not for pytest's own log: text that is no Unicode in a report ends a worker of pytest-xdist.
    """
    logger, handler, records = logging.getLogger("penstock"), logging.Handler(), list[logging.LogRecord]()
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)

    def sync() -> object:
        """In a thread."""
        return act()

    async def asynchronous() -> object:
        """In the loop."""
        await anyio.lowlevel.checkpoint()
        return act()

    for function in (sync, asynchronous):
        records.clear()
        result = await tool(function, name="broken").run("{}")
        assert result.is_error
        assert isinstance(result.content, str)
        assert re.match(content, result.content), result.content
        (record,) = records
        assert (record.name, record.levelno) == ("penstock", logging.WARNING)
        assert record.getMessage() == "tool `broken` failed"
        assert record.exc_info is not None
        assert record.exc_info[1] is not None


@pytest.mark.anyio
async def test_a_type_that_fails_to_decode(caplog: pytest.LogCaptureFixture) -> None:
    """What a type of the signature raises while it is made is a failure of the tool, not of the loop."""

    class Odd(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            raise KeyError("k")

    def f(a: int) -> None:
        """Takes a struct, below."""

    f.__annotations__["a"] = Odd
    assert await tool(f).run('{"a": {"n": 1}}') == ToolResult(content="KeyError: 'k'", is_error=True)
    assert len(caplog.records) == 1


@pytest.mark.anyio
async def test_sync_in_a_thread_async_in_the_loop() -> None:
    """A function that blocks does not block the loop."""

    def sync() -> str:
        """Says where it runs."""
        return threading.current_thread().name

    async def asynchronous() -> str:
        """Says where it runs."""
        return threading.current_thread().name

    here = threading.current_thread().name
    assert (await tool(sync).run("{}")).content != here
    assert (await tool(asynchronous).run("{}")).content == here


@pytest.mark.anyio
async def test_a_tool_by_hand() -> None:
    """A schema and a function of the decoded arguments, sync or async."""
    definition = Tool(
        name="add", parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    )

    async def later(arguments: dict[str, object]) -> object:
        return arguments

    for handler in (lambda arguments: arguments, later, lambda arguments: later(arguments)):
        by_hand = FunctionTool(definition, handler)
        assert by_hand.definition is definition
        assert await by_hand.run('{"a": 1, "b": "x"}') == ToolResult(content='{"a":1,"b":"x"}')
        assert (await by_hand.run("[1]")).content == "The arguments do not fit: Expected `object`, got `array` - at `$`"
        assert (await by_hand.run('{"a":')).is_error
        assert (await by_hand.run('{"a": "\\ud800"}')).is_error


def test_a_table_of_tools() -> None:
    """From a list or a mapping; names are what the model knows."""
    one, two = tool(made("a: int"), name="one"), tool(made("b: int"), name="two")
    assert tool_table([one, two]) == tool_table({"one": one, "two": two}) == {"one": one, "two": two}
    with pytest.raises(ConfigError, match="two tools are called 'one'"):
        tool_table([one, two, one])
    with pytest.raises(ConfigError, match="the tool under 'two' is called 'one'"):
        tool_table({"two": one})
    with pytest.raises(ConfigError, match="is not a tool: decorate it with @tool"):
        tool_table([made("a: int")])  # type: ignore[list-item]


class MuteError(Exception):
    """One that cannot even say what it is."""

    def __str__(self) -> str:
        raise AttributeError("no words")


@pytest.mark.anyio
@pytest.mark.parametrize("returned", [
    pytest.param(ImagePart(data=b"II*", media_type="image/tiff"), id="an image of another type"),
    pytest.param(ImagePart(data=b"x"), id="an image without a type"),
    pytest.param(ImagePart(), id="an image of nothing"),
    pytest.param(DocumentPart(data=b"x", media_type="application/msword"), id="a document of another type"),
    pytest.param(MuteError(), id="an exception without words"),
])  # fmt: skip
async def test_what_no_wire_takes_is_the_tools_mistake(returned: Any) -> None:
    """It is told to the model; in the history it would stop every call that follows."""

    @tool
    def look() -> Any:
        """Look."""
        if isinstance(returned, Exception):
            raise returned
        return returned

    result = await look.run("{}")
    assert result.is_error
    assert isinstance(result.content, str)
