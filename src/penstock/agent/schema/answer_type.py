"""The type of a structured answer: the schema that a model is asked for, and what becomes of what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from penstock.agent.schema.decoding import decoded, explained
from penstock.agent.schema.foreign import PydanticType, object_of
from penstock.agent.schema.inliner import Inliner
from penstock.agent.schema.strict_schema import object_schema, strict_schema
from penstock.agent.schema.type_schema import has_pydantics, schema_of, type_name
from penstock.core.errors import ConfigError

__all__ = ["AnswerType", "MisfitError", "objects_in"]

_MOST_WORK: Final = 20  # so many times the length of a text is looked at for objects, before it is given up on


class MisfitError(ValueError):
    """What the model answered is not of the type; the message tells it why, with the JSON path."""


class AnswerType:
    """Knows the schema of a type, and decodes what was made for it. Raises ConfigError for a type without a schema.

    What is no object is asked for as the `value` of one, since vendors take nothing else.
    """

    def __init__(self, type_: Any) -> None:
        self._name = type_name(type_)
        theirs = PydanticType(type_, f"type `{self._name}`") if has_pydantics(type_) else None
        schema = schema_of(type_) if theirs is None else Inliner(theirs.components).schema(theirs.schema)
        self.schema, self.wrapped = object_schema(schema)
        self._decode: Callable[[str], object]
        if theirs is not None:
            validate, unwrap = theirs.decode, _unwrapper(msgspec.Raw)
            self._decode = (lambda text: validate(bytes(unwrap(text)))) if self.wrapped else validate
        elif self.wrapped:
            self._decode = _unwrapper(type_)
        else:
            self._decode = msgspec.json.Decoder(type_, dec_hook=object_of).decode

    def strict(self) -> dict[str, object]:
        """The schema in the vendors' strict subset. Raises ConfigError where that has no word for the type."""
        try:
            return strict_schema(self.schema)
        except ConfigError as error:
            raise ConfigError(f"type `{self._name}`: {error}") from error

    def decode(self, text: str) -> Any:
        """The value that the JSON text is. Raises MisfitError."""
        try:
            return decoded(self._decode, text, self.schema, nulls=True)
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise MisfitError(explained(error)) from error  # also what a type's own check raises

    def decode_one(self, texts: Sequence[str]) -> Any:
        """The value that the last of them is which fits. Raises MisfitError, of the longest, where none does."""
        errors: dict[str, MisfitError] = {}
        for text in reversed(texts):
            try:
                return self.decode(text)
            except MisfitError as error:
                errors.setdefault(text, error)
        raise errors[max(texts, key=len)]


def _unwrapper(type_: Any) -> Callable[[str], Any]:
    wrapper: Any = msgspec.defstruct("Wrapped", [("value", type_)])
    decode = msgspec.json.Decoder(wrapper, dec_hook=object_of).decode
    return lambda text: decode(text).value


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
