"""The type of a structured answer: the schema that a model is asked for, and what becomes of what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from penstock.agent.schema.inliner import Inliner
from penstock.agent.schema.strict_schema import object_schema, strict_schema, unquoted, without_nulls
from penstock.agent.schema.type_schema import schema_of, type_name
from penstock.core.arguments import fixed_strings
from penstock.core.errors import ConfigError

__all__ = ["AnswerType", "MisfitError", "objects_in"]

_MOST_WORK: Final = 20  # so many times the length of a text is looked at for objects, before it is given up on
# Exact numbers, for the types that are exact.
_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode


class MisfitError(ValueError):
    """What the model answered is not of the type; the message tells it why, with the JSON path."""


class AnswerType:
    """Knows the schema of a type, and decodes what was made for it. Raises ConfigError for a type without a schema.

    What is no object is asked for as the `value` of one, since vendors take nothing else.
    """

    def __init__(self, type_: Any) -> None:
        self._name = type_name(type_)
        # A model of pydantic's, which is not imported here: whoever has one has imported it.
        theirs: Callable[[], dict[str, Any]] | None = getattr(type_, "model_json_schema", None)
        schema = schema_of(type_) if theirs is None else _pydantics(theirs, type_)
        self.schema, self.wrapped = object_schema(schema)
        self._decode: Callable[[bytes], object]
        if theirs is not None:
            validate, unwrap = type_.model_validate_json, _unwrapper(msgspec.Raw)
            self._decode = (lambda text: validate(bytes(unwrap(text)))) if self.wrapped else validate
        elif self.wrapped:
            self._decode = _unwrapper(type_)
        else:
            self._decode = msgspec.json.Decoder(type_).decode

    def strict(self) -> dict[str, object]:
        """The schema in the vendors' strict subset. Raises ConfigError where that has no word for the type."""
        try:
            return strict_schema(self.schema)
        except ConfigError as error:
            raise ConfigError(f"type `{self._name}`: {error}") from error

    def decode(self, text: str) -> Any:
        """The value that the JSON text is. Raises MisfitError."""
        try:
            try:
                return self._decode(text.encode())
            except (msgspec.DecodeError, ValueError, ArithmeticError):
                # Few answers need more: characters that were not escaped, null for what is left out, as strict schemas
                # have it, a list or an object inside a string.
                fixed = fixed_strings(text)
                given = _DECODE(fixed)
                meant = unquoted(without_nulls(given, self.schema), self.schema, _DECODE)
                if meant == given and fixed == text:
                    raise
                return self._decode(_ENCODE(meant))
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise MisfitError(_explained(error)) from error  # also what a type's own check raises

    def decode_one(self, texts: Sequence[str]) -> Any:
        """The value that the last of them is which fits. Raises MisfitError, of the longest, where none does."""
        errors: dict[str, MisfitError] = {}
        for text in reversed(texts):
            try:
                return self.decode(text)
            except MisfitError as error:
                errors.setdefault(text, error)
        raise errors[max(texts, key=len)]


def _unwrapper(type_: Any) -> Callable[[bytes], Any]:
    wrapper: Any = msgspec.defstruct("Wrapped", [("value", type_)])
    decode = msgspec.json.Decoder(wrapper).decode
    return lambda text: decode(text).value


def _pydantics(make: Callable[[], dict[str, Any]], type_: object) -> dict[str, object]:
    try:
        schema = make()
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # pydantic's own are some of these
        raise ConfigError(f"type `{type_name(type_)}`: no schema can be made of it: {error}") from error
    components = schema.pop("$defs", {})
    return Inliner(components).schema(schema)


def _explained(error: Exception) -> str:
    errors: Any = getattr(error, "errors", None)  # pydantic's, a list of all that is wrong
    if callable(errors):
        said = [f"{each['msg']} - at `{_path(each['loc'])}`" for each in errors(include_url=False)]
        return "; ".join(said)
    path = "" if " - at `" in str(error) else " - at `$`"
    return f"{error}{path}"


def _path(places: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def objects_in(text: str) -> Iterator[str]:
    """The JSON objects in a text, whole ones only, in order: the text itself, or what a model that talks around its
    answer, in prose, thoughts or code fences, has put there. None of a text that begins with an object that is broken:
    what stands inside of it is no answer.
    """
    import json  # by those whose models talk, and by no other

    # Not strict: characters that should have been escaped are seen to when an object is decoded.
    decode = json.JSONDecoder(strict=False).raw_decode
    text = text.strip()
    place = text.find("{")
    work = 0
    while place >= 0 and work <= _MOST_WORK * len(text):
        try:
            _, end = decode(text, place)
        except json.JSONDecodeError as error:
            work += error.pos - place
            end = place + 1
        except (ValueError, RecursionError):  # a number of too many digits, or what is nested too deep
            work += len(text)
            end = place + 1
        else:
            yield text[place:end]
        if end == 1:
            return
        place = text.find("{", end)
