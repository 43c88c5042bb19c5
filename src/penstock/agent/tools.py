"""Tools: a definition for the model, and what is run when the model calls it.

Whatever goes wrong inside a tool, or with its arguments, is a result that tells the model; only cancellation gets out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Final, Generic, TypeAlias, TypeVar, overload

import anyio
import msgspec

from penstock.agent.log import warn
from penstock.agent.schema.decoding import decoded, explained
from penstock.agent.schema.foreign import plain_of
from penstock.agent.schema.tool_schema import as_strict, check_definition, docstring_of, parameters_of
from penstock.core.arguments import UNDECODABLE, whole_text
from penstock.core.client_calls import CLIENT_CALLS, tool_name
from penstock.core.errors import ConfigError
from penstock.core.messages import MEDIA_TYPES, DocumentPart, ImagePart, TextPart, Tool
from penstock.core.validation import near

__all__ = ["DecoratedTool", "FunctionTool", "ToolContent", "ToolResult", "tool", "tool_table"]

ToolContent: TypeAlias = str | Sequence[TextPart | ImagePart | DocumentPart]

F = TypeVar("F", bound=Callable[..., object])
F_co = TypeVar("F_co", covariant=True)  # unbounded, so that a list of several tools has a type in common

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
    validate: called with the arguments that fit, before the function is, as a validator of the whole of JSON Schema;
        sync, in a thread, or async. Whatever it raises is told to the model, the first line of it.
    """

    definition: Tool | Mapping[str, object]
    _tries_patterns = True

    def __init__(
        self,
        definition: Tool | Mapping[str, object],
        handler: Callable[[dict[str, object]], object],
        *,
        validate: Callable[[dict[str, object]], object] | None = None,
    ) -> None:
        self.definition = definition
        self._schema: Mapping[str, object] = {}
        self._is_strict = False
        if isinstance(definition, Tool):
            check_definition(definition)
            self.name = definition.name
            self._schema = definition.parameters
            self._is_strict = definition.strict
            if definition.strict:
                self.definition = as_strict(definition)
        else:
            self.name = _vendors_name(definition)
        self._decode: Callable[[str], dict[str, object]] = self._checked
        self._handler: Callable[[dict[str, object]], object] = handler
        self._is_async = inspect.iscoroutinefunction(handler)
        self._validate = validate

    async def run(self, arguments: str, context: Mapping[str, object] | None = None) -> ToolResult:
        """Call the function with the JSON text of the arguments and say what it returned.

        A ToolResult is the result as it is, and so are text and parts (text, images, documents); None is an empty
        result; all else becomes JSON, a model of pydantic's too. Arguments that do not fit, and whatever the function
        raises, become an error result; the latter is logged as well, with its traceback, under the name `penstock`.

        context: what the caller fills, by name. Raises ConfigError where a name is missing.
        """
        filled = self.filled(context)
        try:
            try:
                values = decoded(self._decode, arguments, self._schema, nulls=self._is_strict)
            except UNDECODABLE as error:
                return _misfit(explained(error))
            if self._validate is not None:
                try:
                    await _called(self._validate, values, inspect.iscoroutinefunction(self._validate))
                except Exception as error:  # noqa: BLE001 - whatever a validator raises says what does not fit
                    return _misfit(explained(error))
            result = await _called(self._handler, values | filled, self._is_async)
            if isinstance(result, ToolResult):
                return ToolResult(content=_content(result.content or None), is_error=result.is_error)
            return ToolResult(content=_content(result))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is logged, and told to the model
            return ToolResult(content=report_failure(self.name, error), is_error=True)

    def filled(self, context: Mapping[str, object] | None) -> dict[str, object]:
        """What the function gets of *context*: a tool written by hand nothing. ConfigError for what is not there."""
        return {}

    def _checked(self, arguments: str) -> dict[str, object]:
        from penstock.agent.schema.fits import misfit

        values = _object(arguments)
        fault = misfit(values, self._schema, patterns=self._tries_patterns)
        if fault is not None:
            raise msgspec.ValidationError(fault)
        return values

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class DecoratedTool(FunctionTool, Generic[F_co]):
    """A tool made of a function's signature and docstring; it can still be called like that function."""

    definition: Tool

    def __init__(
        self, function: F_co, name: str | None, description: str | None, strict: bool, context: str | Sequence[str]
    ) -> None:
        if not callable(function):
            raise ConfigError(f"a tool is made of a function, not of {function!r}")
        name = name or str(getattr(function, "__name__", ""))
        said, descriptions = docstring_of(function)
        hidden = dict.fromkeys([context] if isinstance(context, str) else context)
        parameters = parameters_of(function, name, descriptions, hidden)
        description = said if description is None else description
        definition = Tool(name=name, description=description, parameters=parameters.schema, strict=strict)
        super().__init__(definition, lambda values: function(**values))
        self._is_async = inspect.iscoroutinefunction(function)
        self._decode = parameters.decode
        self._context = parameters.context
        self._function = function
        wrapper: Any = self
        update_wrapper(wrapper, function, updated=())

    @property
    def __call__(self) -> F_co:
        """The function itself."""
        return self._function

    def filled(self, context: Mapping[str, object] | None) -> dict[str, object]:
        """The parameters that the caller fills. Raises ConfigError for one that has no default and is not there."""
        if not isinstance(context, Mapping | None):
            raise ConfigError(f"`context` is a {type(context).__name__}, expected a mapping of names")
        context = context or {}
        for name, required in self._context.items():
            if required and name not in context:
                raise ConfigError(f"tool `{self.name}` needs `{name}` in the context{near(name, context)}")
        return {name: context[name] for name in self._context if name in context}


@overload
def tool(
    function: F,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    context: str | Sequence[str] = (),
) -> DecoratedTool[F]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    context: str | Sequence[str] = (),
) -> Callable[[F], DecoratedTool[F]]: ...


def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    context: str | Sequence[str] = (),
) -> DecoratedTool[F] | Callable[[F], DecoratedTool[F]]:
    """Make a tool of a function, sync or async: `@tool`, `@tool(name=...)`, or `tool(some.method)`.

    The JSON Schema comes from the signature, through the types that msgspec knows: structs, dataclasses, typed
    dictionaries, enums, literals, unions, lists, `Annotated[int, msgspec.Meta(ge=0)]` and so on; through pydantic's,
    and paths, patterns and addresses. Descriptions come from the docstring, or from pydantic's `Field`. Arguments are
    checked by decoding them into the signature, strictly: an unknown one is refused too.

    name, description: in place of the function's and the docstring's.
    strict: whether the vendor must keep the arguments to the schema. It is then sent in the form that vendors take, in
        which parameters with a default may be null; the function does not see that.
    context: the parameters, of any type, that the caller fills and the model does not see, by the `context` of
        `run_tools`; those with a default may be missing there. It fills two itself unless they are there: `call_key`,
        a text that no other call of the history has and this one has again after a crash; `repeated`, True if the
        call was open when the run began. That includes one that waited for approval and never ran, so it is only a
        hint: decide by a row of your own under `call_key`.

    Raises ConfigError, with the function and the parameter, for what has no schema: no annotation, `object`, `Any`,
    `*args`, `**kwargs`, positional-only, a class that nobody knows.
    """
    if function is not None:
        return DecoratedTool(function, name, description, strict, context)
    return lambda function: DecoratedTool(function, name, description, strict, context)


def tool_table(
    tools: Sequence[FunctionTool] | Mapping[str, FunctionTool], context: Mapping[str, object] | None = None
) -> dict[str, FunctionTool]:
    """The tools by name. Raises ConfigError for two of one name, a wrong key, what is not a tool, what it needs of
    *context* and is not there.
    """
    if isinstance(context, Mapping | None):
        context = {"call_key": "", "repeated": False, **(context or {})}  # which a turn fills for each call
    if isinstance(tools, FunctionTool) or not isinstance(tools, Iterable):
        raise ConfigError(f"`tools` is {tools!r}, expected a list of tools")
    table: dict[str, FunctionTool] = {}
    for key, each in tools.items() if isinstance(tools, Mapping) else ((None, each) for each in tools):
        if not isinstance(each, FunctionTool):
            raise ConfigError(f"{each!r} is not a tool: decorate it with @tool, or make it a FunctionTool")
        name = each.name
        if key not in (None, name):
            raise ConfigError(f"the tool under {key!r} is called {name!r}, and the model knows it as that")
        if name in table:
            raise ConfigError(f"two tools are called {name!r}")
        each.filled(context)
        table[name] = each
    return table


def _vendors_name(definition: object) -> str:
    """What a vendor's own tool is called. Raises ConfigError for anything else."""
    name = tool_name(definition) if isinstance(definition, Mapping) else None
    if not name:
        known = [kind for row in CLIENT_CALLS.values() for kind in row.definitions]
        hint = near(str(definition.get("type")), known) if isinstance(definition, Mapping) else ""
        raise ConfigError(f"{definition!r} is no Tool, and no vendor's tool with a name or of a known type{hint}")
    return name


async def _called(function: Callable[[dict[str, object]], object], values: dict[str, object], is_async: bool) -> object:
    if is_async:
        result = function(values)
        return await result if inspect.isawaitable(result) else result
    # A thread cannot be killed: when the call is cancelled or too late, the thread goes on alone. The list is for trio,
    # which takes no awaitable out of a thread.
    (result,) = await anyio.to_thread.run_sync(lambda: [function(values)], abandon_on_cancel=True)
    return await result if inspect.isawaitable(result) else result


def _misfit(why: str) -> ToolResult:
    return ToolResult(content=whole_text(f"The arguments do not fit: {why}"), is_error=True)


def report_failure(name: str, error: BaseException) -> str:
    """Log what tool *name* raised, and say it for the model."""
    warn("tool `%s` failed", name, error=error)
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
        return msgspec.json.encode(value, enc_hook=plain_of).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(msgspec.to_builtins(value, enc_hook=plain_of))).decode()


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
