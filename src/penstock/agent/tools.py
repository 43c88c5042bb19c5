"""Tools: a definition for the model, and what is run when the model calls it.

Whatever goes wrong inside a tool, or with its arguments, is a result that tells the model; only cancellation gets out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Final, Generic, TypeAlias, TypeVar, overload

import anyio.to_thread
import msgspec

from penstock.agent.schema.tool_schema import check_definition, explained, parameters_of
from penstock.core.arguments import whole_text
from penstock.core.client_calls import CLIENT_CALLS, tool_name
from penstock.core.errors import ConfigError
from penstock.core.messages import MEDIA_TYPES, DocumentPart, ImagePart, TextPart, Tool
from penstock.core.validation import near

__all__ = ["DecoratedTool", "FunctionTool", "ToolContent", "ToolResult", "tool", "tool_table"]

ToolContent: TypeAlias = str | Sequence[TextPart | ImagePart | DocumentPart]

F = TypeVar("F", bound=Callable[..., object])
F_co = TypeVar("F_co", covariant=True)  # unbounded, so that a list of several tools has a type in common

# What is wrong with the JSON text, and not with the function; the last two need not be DecodeErrors to msgspec.
_MISFITS: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_object = msgspec.json.Decoder(dict[str, object]).decode


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool gave. is_error: it failed, and the content tells the model how."""

    content: ToolContent
    is_error: bool = False


class FunctionTool:
    """A tool written by hand: its definition, and a function of the decoded arguments, sync or async.

    A sync function runs in a thread. Arguments that do not fit the definition's schema are refused, and the model is
    told why. A strict definition is sent in the form that vendors take: what may be left out may be null there, and is
    left out again before the function is called. Raises ConfigError for a definition that a vendor would refuse.

    definition: a Tool; or a vendor's own tool as its JSON object, whose work is the client's, as a shell's: the vendor
        knows its arguments, which are not checked.
    """

    def __init__(self, definition: Tool | Mapping[str, object], handler: Callable[[dict[str, object]], object]) -> None:
        given: object = definition
        name = None
        if isinstance(given, Tool):
            check_definition(given)
            name = given.name
        elif isinstance(given, Mapping):
            name = tool_name(given)
        if not name:
            known = [kind for row in CLIENT_CALLS.values() for kind in row.definitions]
            hint = near(str(given.get("type")), known) if isinstance(given, Mapping) else ""
            raise ConfigError(f"{definition!r} is no Tool, and no vendor's tool with a name or of a known type{hint}")
        self.name = name
        self._strict = definition if isinstance(definition, Tool) and definition.strict else None
        self.definition = definition if self._strict is None else _as_strict(self._strict)
        self._schema: Mapping[str, object] = definition.parameters if isinstance(definition, Tool) else {}
        self._decode: Callable[[str], dict[str, object]] = self._checked
        self._invoke: Callable[[dict[str, object]], object] = handler
        self._is_async = inspect.iscoroutinefunction(handler)

    async def run(self, arguments: str) -> ToolResult:
        """Call the function with the JSON text of the arguments and say what it returned.

        Text is the result as it is, so are parts (text, images, documents); None is an empty result; all else becomes
        JSON. Arguments that do not fit, and whatever the function raises, become an error result; the latter is logged
        as well, with its traceback, under the name `penstock`.
        """
        try:
            try:
                values = self._decoded(arguments)
            except _MISFITS as error:
                path = "" if " - at `" in str(error) else " - at `$`"
                return ToolResult(content=f"The arguments do not fit: {error}{path}", is_error=True)
            return ToolResult(content=_content(await self._result(values)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is logged, and told to the model
            return ToolResult(content=report_failure(self.name, error), is_error=True)

    def _decoded(self, arguments: str) -> dict[str, object]:
        """What the function gets. Models write lists and objects as texts, too: what can only mean one is read so."""
        if self._strict is not None:
            from penstock.agent.schema.strict_tool import given_arguments  # as below: for those who need it

            arguments = given_arguments(arguments, self._strict)
        try:
            return self._decode(arguments)
        except _MISFITS:
            from penstock.agent.schema.strict_schema import unquoted

            given = _object(arguments)
            meant = unquoted(given, self._schema)
            if meant == given:
                raise
            return self._decode(msgspec.json.encode(meant).decode())

    def _checked(self, arguments: str) -> dict[str, object]:
        from penstock.agent.schema.fits import misfit

        values = _object(arguments)
        fault = misfit(values, self._schema)
        if fault is not None:
            raise msgspec.ValidationError(fault)
        return values

    async def _result(self, values: dict[str, object]) -> object:
        if self._is_async:
            result = self._invoke(values)
        else:
            # A thread cannot be killed: when the call is cancelled or too late, the thread goes on alone. The list is
            # for trio, which takes no awaitable out of a thread.
            (result,) = await anyio.to_thread.run_sync(lambda: [self._invoke(values)], abandon_on_cancel=True)
        return await result if inspect.isawaitable(result) else result

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def _as_strict(definition: Tool) -> Tool:
    from penstock.agent.schema.strict_tool import strict_definition

    return strict_definition(definition)


class DecoratedTool(FunctionTool, Generic[F_co]):
    """A tool made of a function's signature and docstring; it can still be called like that function."""

    def __init__(self, function: F_co, name: str | None, description: str | None, strict: bool) -> None:
        if not callable(function):
            raise ConfigError(f"a tool is made of a function, not of {function!r}")
        name = name or str(getattr(function, "__name__", ""))
        said, descriptions = explained(function)
        parameters = parameters_of(function, name, descriptions)
        description = said if description is None else description
        definition = Tool(name=name, description=description, parameters=parameters.schema, strict=strict)
        super().__init__(definition, lambda values: function(**values))
        self.definition: Tool = _as_strict(definition) if strict else definition
        self._decode = parameters.decode
        self._is_async = inspect.iscoroutinefunction(function)
        self._function = function
        wrapper: Any = self
        update_wrapper(wrapper, function, updated=())

    @property
    def __call__(self) -> F_co:
        """The function itself."""
        return self._function


@overload
def tool(
    function: F, /, *, name: str | None = None, description: str | None = None, strict: bool = False
) -> DecoratedTool[F]: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, strict: bool = False
) -> Callable[[F], DecoratedTool[F]]: ...


def tool(
    function: F | None = None, /, *, name: str | None = None, description: str | None = None, strict: bool = False
) -> DecoratedTool[F] | Callable[[F], DecoratedTool[F]]:
    """Make a tool of a function, sync or async: `@tool`, `@tool(name=...)`, or `tool(some.method)`.

    The JSON Schema comes from the signature, through the types that msgspec knows: structs, dataclasses, typed
    dictionaries, enums, literals, unions, lists, `Annotated[int, msgspec.Meta(ge=0)]` and so on. Descriptions come from
    the docstring. Arguments are checked by decoding them into the signature, strictly: an unknown one is refused too.

    name, description: in place of the function's and the docstring's.
    strict: whether the vendor must keep the arguments to the schema. It is then sent in the form that vendors take, in
        which parameters with a default may be null; the function does not see that.

    Raises ConfigError, with the function and the parameter, for what has no schema: no annotation, `object`, `Any`,
    `*args`, `**kwargs`, positional-only, a class that msgspec does not know.
    """
    if function is not None:
        return DecoratedTool(function, name, description, strict)
    return lambda function: DecoratedTool(function, name, description, strict)


def tool_table(tools: Sequence[FunctionTool] | Mapping[str, FunctionTool]) -> dict[str, FunctionTool]:
    """The tools by name. Raises ConfigError for two of one name, a wrong key, and what is not a tool."""
    if isinstance(tools, FunctionTool) or not isinstance(tools, Iterable):
        raise ConfigError(f"`tools` is {tools!r}, expected a list of tools")
    table: dict[str, FunctionTool] = {}
    keys = list(tools) if isinstance(tools, Mapping) else None
    for place, each in enumerate(tools.values() if isinstance(tools, Mapping) else tools):
        if not isinstance(each, FunctionTool):
            raise ConfigError(f"{each!r} is not a tool: decorate it with @tool, or make it a FunctionTool")
        name = each.name
        if keys is not None and keys[place] != name:
            raise ConfigError(f"the tool under {keys[place]!r} is called {name!r}, and the model knows it as that")
        if name in table:
            raise ConfigError(f"two tools are called {name!r}")
        table[name] = each
    return table


def report_failure(name: str, error: BaseException) -> str:
    """Log what tool *name* raised, and say it for the model."""
    import logging  # an eighth of what importing the package costs, for the few whose tools fail

    logger = logging.getLogger("penstock")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # who has set up no logging gets no traceback at the terminal
    logger.warning("tool `%s` failed", name, exc_info=error)
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a tool's own exception may fail at that too
        said = "(it cannot say why)"
    return whole_text(f"{type(error).__name__}: {said}")


def _content(value: Any) -> ToolContent:
    if value is None:
        return ""
    if isinstance(value, str):
        return whole_text(value)
    parts = [value] if isinstance(value, _PARTS) else value
    if isinstance(parts, list | tuple) and parts and all(isinstance(part, _PARTS) for part in parts):
        for part in parts:
            _check_part(part)
        said = [TextPart(whole_text(part.text)) if isinstance(part, TextPart) else part for part in parts]
        # Vendors refuse blank text, and with it the whole history that holds it.
        return [part for part in said if not isinstance(part, TextPart) or part.text.strip()] or ""
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("the tool returned bytes; return text, an ImagePart or a DocumentPart")
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(msgspec.to_builtins(value))).decode()


def _whole(value: Any) -> Any:
    """A JSON value whose texts can be sent."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


_PARTS: Final = (TextPart, ImagePart, DocumentPart)


def _check_part(part: Any) -> None:
    """What no wire takes is the tool's mistake: in the history it would stop every call that follows."""
    types = MEDIA_TYPES.get(type(part))
    if types is None:
        return
    name = type(part).__name__
    if (part.data is None) == (part.url is None):
        raise ValueError(f"the tool returned an {name} that has not either data or a url")
    if part.data is not None and not (isinstance(part.data, bytes) and part.media_type in types):
        raise ValueError(
            f"the tool returned an {name} of type {part.media_type!r}, expected bytes of {', '.join(types)}"
        )
