"""Types that msgspec does not know: pydantic's, and what Python itself reads from text, as paths.

pydantic is imported once a type of its own is seen, so by those who have it.
"""

from __future__ import annotations

import re
from typing import Any, Final, get_origin

import msgspec

from penstock.agent.schema.decoding import explained
from penstock.agent.schema.inliner import REFS
from penstock.core.errors import ConfigError

__all__ = ["UNKNOWN_TYPE", "PydanticType", "is_pydantics", "object_of", "plain_of", "text_format"]

UNKNOWN_TYPE: Final = (TypeError, ValueError, RuntimeError, NameError, AttributeError)
"""What msgspec and pydantic raise for a type that they do not take; pydantic's own errors are some of these."""


def text_format(cls: Any) -> str | None:
    """The `format` of the text that a class is made of, as pydantic has it too; None for any other class."""
    from pathlib import PurePath  # here and not above: for types that msgspec does not know

    if isinstance(cls, type) and issubclass(cls, PurePath):
        return "path"
    if cls is re.Pattern:
        return "regex"
    if getattr(cls, "__module__", "") == "ipaddress":
        return str(cls.__name__).lower().removesuffix("address")
    return None


def object_of(type_: Any, value: object) -> object:
    """msgspec's hook for decoding. Raises ValueError for what does not fit; msgspec adds the path."""
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    if get_origin(type_) is not re.Pattern and type_ is not re.Pattern:
        return type_(value)
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error


def plain_of(value: Any) -> object:
    """msgspec's hook for encoding. Raises TypeError for what has no JSON form."""
    if isinstance(value, re.Pattern):
        return value.pattern
    if text_format(type(value)) is not None:
        return str(value)
    if hasattr(value, "__pydantic_serializer__"):
        return value.__pydantic_serializer__.to_python(value, mode="json", by_alias=True)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def is_pydantics(thing: object) -> bool:
    """Whether a class, or what stands in `Annotated`, is one that only pydantic understands."""
    if hasattr(thing, "__get_pydantic_core_schema__") or "__pydantic_core_schema__" in getattr(thing, "__dict__", ()):
        return True
    return type(thing).__module__.partition(".")[0] in ("pydantic", "annotated_types")


class PydanticType:
    """A type that pydantic decodes. Raises ConfigError, which begins with *where*, for one without a schema.

    prefix: of the names by which its schema refers to `components`.
    """

    def __init__(self, type_: Any, where: str, prefix: str = "") -> None:
        import pydantic

        self.is_class = isinstance(type_, type)
        self._error = pydantic.ValidationError
        try:
            adapter = pydantic.TypeAdapter[Any](type_)
            self.schema = adapter.json_schema(ref_template=f"{REFS}{prefix}{{model}}")
        except UNKNOWN_TYPE as error:
            said = str(error).partition("\n")[0].partition(". ")[0]  # then comes advice
            raise ConfigError(f"{where}: no schema can be made of it: {said}") from error
        self.components = {f"{prefix}{name}": each for name, each in self.schema.pop("$defs", {}).items()}
        self._decode = adapter.validate_json

    def decode(self, text: str | bytes, path: str = "$") -> Any:
        """The value that a JSON text is. Raises msgspec's ValidationError, with the path, and what validators raise."""
        try:
            return self._decode(text)
        except self._error as error:
            raise msgspec.ValidationError(explained(error, path)) from error
