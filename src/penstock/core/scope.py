"""Which call this is: one id through all that is around a provider, and what it is booked on.

The outermost of ours makes the scope when the first chunk is asked for, and hands it on in `Options.scope`; nothing
reads a context variable later in the call. Variables leak out of async generators: one that is set inside is seen by
the consumer between two chunks, and one that is closed elsewhere leaves its value behind.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from functools import cache
from types import FrameType, MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from penstock.core.errors import ConfigError

if TYPE_CHECKING:
    from random import SystemRandom

__all__ = [
    "EVERYWHERE",
    "Scope",
    "check_tags",
    "in_attempt",
    "in_run",
    "in_scope",
    "next_call",
    "run",
    "running_tools",
    "tags",
]

T = TypeVar("T")

_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
_BITS: Final = 64  # of an id: among a billion calls no two are alike


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the outermost provider, tries and other providers that it falls back on included."""

    call: str
    """The call's id, unlike any other; of what the calls of an agent have in common, the id of that run of tools."""
    attempt: int = 1
    """The number of the try within Retry, from 1."""
    run: str | None = None
    """The run of an agent that the call is a part of, and `/` before each run inside another's tools; None for none."""
    agent: str | None = None
    """The id of the run of tools that makes the call; None for none."""
    tags: Mapping[str, str] = _NO_TAGS
    """Whom or what the call is booked on."""
    listeners: tuple[Callable[[Any], object], ...] = ()
    """Who else is told of the call."""
    around: tuple[Callable[..., Any], ...] = ()
    """What goes around each request to a leaf, the outermost first; see `BaseProvider.around`."""
    leaf: object | None = None
    """The leaf that the call has reached, and what is around it with it; None on the way there."""


class Everywhere:
    """What holds for each call of this process that begins from now on, whoever makes it."""

    __slots__ = ("around", "listeners")

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[Any], object], ...] = ()
        """Who is told of it, as `Scope.listeners`."""
        self.around: tuple[Callable[..., Any], ...] = ()
        """What goes around each request to a leaf, as `Scope.around`."""

    def add(self, listener: Callable[[Any], object], around: Callable[..., Any]) -> Callable[[], None]:
        """Add both; the result takes them away again, and may be called twice."""
        self.listeners += (listener,)
        self.around += (around,)

        def remove() -> None:
            self.listeners = tuple(each for each in self.listeners if each is not listener)
            self.around = tuple(each for each in self.around if each is not around)

        return remove


EVERYWHERE: Final = Everywhere()
"""That of this process."""


class Scoped(Protocol):
    """Options, which know this module and not the other way round."""

    @property
    def scope(self) -> Scope | None: ...

    @property
    def tags(self) -> Mapping[str, str]: ...


Given = TypeVar("Given", bound=Scoped)


class _Run(msgspec.Struct, frozen=True):
    id: str
    is_ours: bool
    """`run_tools` has set it, around its tools; otherwise the program has."""


_tags: ContextVar[Mapping[str, str]] = ContextVar("penstock tags", default=_NO_TAGS)
_run: ContextVar[_Run | None] = ContextVar("penstock run", default=None)


@cache
def _source() -> SystemRandom:
    from random import SystemRandom  # with the first call

    return SystemRandom()  # not the program's own, which it may have seeded or forked


def new_id() -> str:
    """An id unlike any other."""
    return f"{_source().getrandbits(_BITS):016x}"


def check_tags(value: object) -> Mapping[str, str]:
    """*value*, names and values of text, or ConfigError."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"`tags` is of type {type(value).__name__}, expected a mapping of names to text")
    for name, word in value.items():
        if not isinstance(name, str) or not isinstance(word, str):
            raise ConfigError(f"`tags` has {name!r}: {word!r}, expected text for both: {str(name)!r}: {str(word)!r}")
    return value


def in_scope(options: Given) -> tuple[Given, Scope]:
    """The options with the call's scope in them, and that scope; it is made here if this is the outermost provider."""
    try:
        scope = options.scope
    except AttributeError:
        raise ConfigError(f"`options` is of type {type(options).__name__}, expected Options(...)") from None
    if scope is None:
        inner = _run.get()
        scope = Scope(
            call=new_id(),
            run=None if inner is None else inner.id,
            tags={**_tags.get(), **options.tags},
            listeners=EVERYWHERE.listeners,
            around=EVERYWHERE.around,
        )
        options = _with(options, scope)
    return options, scope


def in_attempt(options: Given, attempt: int) -> Given:
    """The options of a try."""
    scope = options.scope
    if scope is None or scope.attempt == attempt:
        return options
    return _with(options, msgspec.structs.replace(scope, attempt=attempt))


def in_run(options: Given) -> Scope:
    """What the calls of an agent have in common: its run and its tags; they are calls of their own.

    The run is that of the program, if it has named one, else a new one; inside a tool it is a part of the tool's run.
    """
    outer = _run.get()
    name = new_id() if outer is None or outer.is_ours else outer.id
    if outer is not None and outer.is_ours:
        name = f"{outer.id}/{name}"
    _, scope = in_scope(options)
    return msgspec.structs.replace(scope, call=new_id(), attempt=1, run=name)


def next_call(options: Given, shared: Scope) -> Given:
    """Options for the next call of an agent."""
    return _with(options, msgspec.structs.replace(shared, call=new_id(), agent=shared.call))


def _with(options: Given, scope: Scope) -> Given:
    struct: Any = options
    changed: Given = msgspec.structs.replace(struct, scope=scope)
    return changed


@contextmanager
def running_tools(shared: Scope) -> Iterator[None]:
    """While an agent's tools are awaited, what they call belongs to its run. No generator may yield inside."""
    before = _run.set(_Run(shared.run or "", True)), _tags.set(shared.tags)
    try:
        yield
    finally:
        _run.reset(before[0])
        _tags.reset(before[1])


class _Setting(AbstractContextManager[T], Generic[T]):
    """Sets a context variable for a `with` statement."""

    def __init__(self, name: str, variable: ContextVar[Any], value: Callable[[], Any], result: Callable[[Any], T]):
        self._name = name
        self._variable = variable
        self._value = value
        self._result = result
        self._token: Token[Any] | None = None

    def __enter__(self) -> T:
        _check_frame(self._name, sys._getframe(1))
        value = self._value()
        self._token = self._variable.set(value)
        return self._result(value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            self._variable.reset(self._token)
            self._token = None


def tags(values: Mapping[str, str] | None = None, /, **more: str) -> AbstractContextManager[Mapping[str, str]]:
    """Calls that begin within `with tags(user="ann"):` are booked on these too; inner ones win. Gives all of them.

    `Options(tags=...)` is the surer way. It is refused in an async generator, out of which the tags would leak.
    """
    found = {**check_tags(values or {}), **check_tags(more)}
    return _Setting("tags", _tags, lambda: {**_tags.get(), **found}, lambda value: value)


def run(id: str | None = None, /) -> AbstractContextManager[str]:  # noqa: A002
    """Calls that begin within `with run("nightly"):` belong to that run, those of `run_tools` too. Gives its id.

    id: None for a new one. It is refused in an async generator, out of which the run would leak.
    """
    if id is not None and not (id and isinstance(id, str)):
        raise ConfigError(f"the id of a run is {id!r}, expected text")
    return _Setting("run", _run, lambda: _Run(id or new_id(), False), lambda value: value.id)


def _check_frame(name: str, frame: FrameType | None) -> None:
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    if frame is not None and frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR:
        raise ConfigError(
            f"`{name}` cannot be used in an async generator: whoever reads it would get the same between two items."
            " Give the calls Options(tags=...), or use it in the function that reads the generator"
        )
