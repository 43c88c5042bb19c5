"""What a vendor's list says of its models. Pure: bytes in, models out.

Everybody has the list of OpenAI's API, and nearly everybody has put something into it: a context window, prices, what a
model takes. The places where that stands are the tables below. Sources, read 2026-11-30: the types of the anthropic SDK
2.14, the openai SDK 3.57 and mistralai 3.7; llama.cpp's server of 2026-10-01 itself; docs.together.ai/reference/models;
docs.venice.ai; docs.github.com/rest/models/catalog; lmstudio.ai/docs, REST API v0 and v1; aimock 1.43 for OpenRouter;
others' clients for xAI, DeepInfra and Copilot. From memory: Ollama, vLLM, Groq, Fireworks, Vercel, Moonshot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import msgspec

from penstock.core.chunks import EXACT
from penstock.core.errors import ConfigError, MalformedResponseError
from penstock.core.models import Model, ModelInfo
from penstock.wire.event_json import UNDECODABLE

__all__ = ["MOST", "Page", "known_fields", "merged", "read_list"]

MOST: Final = 10_000
"""Most models of a list."""
_LONGEST: Final = 300
"""Most characters of a name."""
_NUMBER: Final = 2**53
"""What no number of a list reaches. An int made of 1e999999999 would take minutes and all memory."""

_NAMES: Final = ("id", "model", "key", "name", "model_alias")
_NOT_CALLED: Final = "models/"
"""What an id may begin with in a list, though calls do without."""
_TITLES: Final = ("display_name", "displayName", "model_spec.name", "title", "name")
_CONTEXTS: Final = (
    "loaded_context_length", "loaded_instances.0.config.context_length", "default_generation_settings.n_ctx",
    "meta.n_ctx", "meta.n_ctx_train", "max_model_len", "context_window", "context_length", "max_context_length",
    "max_input_tokens", "model_spec.availableContextTokens", "metadata.context_length",
    "limits.max_input_tokens", "capabilities.limits.max_context_window_tokens",
)  # fmt: skip
_ANSWERS: Final = (
    "max_completion_tokens", "max_tokens", "max_output_tokens", "top_provider.max_completion_tokens",
    "model_spec.maxCompletionTokens", "metadata.max_tokens", "limits.max_output_tokens",
    "capabilities.limits.max_output_tokens",
)  # fmt: skip
_DAYS: Final = ("released", "created", "created_at")
_ENDS: Final = ("retires_at", "shutdown_date", "expiration_date", "deprecation", "model_spec.deprecation.date")
_AFTER: Final = ("deprecation_replacement_model",)
_PRICES: Final[Mapping[str, Sequence[str]]] = {
    "input_price": ("prompt", "input", "input.usd", "input_tokens"),
    "output_price": ("completion", "output", "output.usd", "output_tokens"),
    "cache_reads_price": ("input_cache_read", "cache_read_tokens", "cache_input.usd"),
    "cache_writes_price": ("input_cache_write", "cache_write.usd"),
}
_BARE_PRICES: Final[Mapping[str, Sequence[str]]] = {
    "input_price": ("prompt_text_token_price",),
    "output_price": ("completion_text_token_price",),
    "cache_reads_price": ("cached_prompt_text_token_price",),
}
"""As fields of the model itself."""
_PRICED: Final = ("pricing", "model_spec.pricing", "metadata.pricing")
_FLAGS: Final[Mapping[str, Sequence[str]]] = {
    "supports_images": (
        "capabilities.vision", "capabilities.image_input.supported", "supports_image_input", "supports_image_in",
        "model_spec.capabilities.supportsVision", "modalities.vision", "capabilities.supports.vision",
    ),
    "supports_tools": (
        "capabilities.function_calling", "capabilities.trained_for_tool_use", "supports_tools",
        "model_spec.capabilities.supportsFunctionCalling", "capabilities.supports.tool_calls",
    ),
    "supports_schema": (
        "capabilities.structured_outputs.supported", "supports_structured_output",
        "model_spec.capabilities.supportsResponseSchema", "capabilities.supports.structured_outputs",
    ),
    "supports_documents": ("capabilities.pdf_input.supported",),
}  # fmt: skip
# Lists in which a word says the same. One that names all that a model takes says by its silence that it does not.
_WORDS: Final[Mapping[str, Sequence[str]]] = {
    "supports_images": ("image", "vision"),
    "supports_tools": ("tools", "tool-use", "tool-calling"),
    "supports_schema": ("structured_outputs",),
    "supports_documents": ("file", "file-input"),
}
_COMPLETE: Final[Mapping[str, Sequence[str]]] = {
    "supports_images": ("architecture.input_modalities", "input_modalities", "supported_input_modalities"),
    "supports_documents": ("architecture.input_modalities",),
    "supports_tools": ("supported_parameters",),
    "supports_schema": ("supported_parameters",),
}
_HINTS: Final = ("tags", "capabilities")

_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode


class Page(msgspec.Struct, frozen=True):
    """One answer. after: the id that the next page comes after, None where this is the last one."""

    models: list[Model]
    after: str | None


def read_list(body: bytes, unit: Decimal | None, today: dt.date) -> Page:
    """The models of a page, each with what is said of it. Raises MalformedResponseError.

    unit: of prices, see `Dialect.list_price_unit`. today: the day on which they are said.
    """
    try:
        document = _decode(body)
    except UNDECODABLE as error:
        raise _malformed("a web page" if body.lstrip()[:1] == b"<" else f"no JSON ({error})") from error
    entries, after = _entries(document), None
    if isinstance(document, dict) and document.get("has_more") is True and isinstance(document.get("last_id"), str):
        after = document["last_id"]
        if not _is_shown(after):
            raise _malformed("a page whose `last_id` cannot be asked for")
    if len(entries) > MOST:
        raise _malformed(f"a list of {len(entries)} models, expected at most {MOST}")
    objects = [entry for entry in entries if isinstance(entry, dict)]
    models = [_model(name, entry, unit, today) for entry in objects if (name := _name(entry)) and not _is_gone(entry)]
    if entries and not any(map(_name, objects)):
        raise _malformed(f"a list of {len(entries)} entries, none of which has an id that can be printed")
    return Page(models, after)


def merged(models: Sequence[Model], loaded: Sequence[Model]) -> list[Model]:
    """*models*, in which those are loaded that the server says it has loaded, with what it says of them there."""
    said = {model.id: model for model in loaded}
    if len(models) == len(loaded) == 1:  # a server of one model may call it by its file
        said = {models[0].id: loaded[0]}
    found = []
    for model in models:
        more = said.get(model.id)
        info = model.info if more is None else msgspec.structs.replace(model.info, **known_fields(more.info))
        found.append(msgspec.structs.replace(model, info=info, loaded=more is not None))
    return found


def known_fields(info: ModelInfo) -> dict[str, Any]:
    """The fields of which something is known."""
    return {name: value for name, value in msgspec.structs.asdict(info).items() if value not in (None, (), {})}


def _malformed(found: str) -> MalformedResponseError:
    error = MalformedResponseError(f"the list of models is {found}")
    error.hint = "Check that baseUrl is an API endpoint of this vendor, and that its server is a whole one."
    return error


def _entries(document: object) -> list[Any]:
    """The models, wherever they stand; of a server of one model that tells of itself, that."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise _malformed(f"of type {type(document).__name__}, expected an object or a list")
    if "model_path" in document:
        return [document]
    for name in ("data", "models"):
        if isinstance(document.get(name), list):
            return list(document[name])
    if "data" in document and document["data"] is None:  # a server without a single model may write so
        return []
    shown = ", ".join(map(repr, list(document)[:5])) or "nothing"
    raise _malformed(f"an object with {shown[:_LONGEST]}, expected a list as `data` or `models`")


def _at(entry: object, path: str) -> Any:
    """What stands at a path of names with dots between them, and places in lists; None for nothing."""
    for name in path.split("."):
        if isinstance(entry, dict):
            entry = entry.get(name)
        elif isinstance(entry, list) and name.isdecimal() and int(name) < len(entry):
            entry = entry[int(name)]
        else:
            return None
    return entry


def _all(entry: object, paths: Sequence[str]) -> Iterator[Any]:
    return (_at(entry, path) for path in paths)


def _text(entry: object, paths: Sequence[str]) -> str | None:
    """The first text that can be printed."""
    return next(filter(_is_shown, _all(entry, paths)), None)


def _is_shown(found: object) -> bool:
    """Whether it is a text that can be printed; what a terminal would obey is none."""
    return isinstance(found, str) and found.isprintable() and 0 < len(found) <= _LONGEST


def _name(entry: dict[str, Any]) -> str | None:
    found = _text(entry, _NAMES)
    return None if found is None else found.removeprefix(_NOT_CALLED)


def _is_gone(entry: dict[str, Any]) -> bool:
    """Whether it is listed only to say that nobody can call it."""
    off = entry.get("archived") is True or entry.get("active") is False or _at(entry, "model_spec.offline") is True
    return off or entry.get("lifecycle") == "retired"


def _model(name: str, entry: dict[str, Any], unit: Decimal | None, today: dt.date) -> Model:
    title, aliases = _text(entry, _TITLES), entry.get("aliases")
    traits: dict[str, Any] = {trait: _trait(entry, trait) for trait in _FLAGS}
    info = ModelInfo(
        **traits,
        **({} if unit is None else _prices(entry, unit, today)),
        context_window=_tokens(entry, _CONTEXTS),
        max_tokens=_tokens(entry, _ANSWERS),
        display_name=None if title == name else title,
        retires=_day(entry, _ENDS),
        replaced_by=_text(entry, _AFTER),
    )
    return Model(
        name,
        info,
        listed="live",
        prices_from="vendor" if info.input_price is not None else None,
        created=_day(entry, _DAYS),
        loaded=_is_loaded(entry),
        aliases=[each for each in aliases if each != name and _is_shown(each)] if isinstance(aliases, list) else (),
    )


def _tokens(entry: dict[str, Any], paths: Sequence[str]) -> int | None:
    found = (value for value in _all(entry, paths) if isinstance(value, int) and not isinstance(value, bool))
    return next((value for value in found if 0 < value < _NUMBER), None)


def _trait(entry: dict[str, Any], trait: str) -> bool | None:
    flag = next((value for value in _all(entry, _FLAGS[trait]) if isinstance(value, bool)), None)
    if flag is not None:
        return flag
    words = _WORDS[trait]
    for path in (*_COMPLETE[trait], *_HINTS):
        if isinstance(given := _at(entry, path), list):
            if any(word in given for word in words):
                return True
            if path in _COMPLETE[trait]:
                return False
    return None


def _is_loaded(entry: dict[str, Any]) -> bool | None:
    state = _text(entry, ("state", "status.value"))
    if state is not None:
        return state == "loaded"
    instances = entry.get("loaded_instances")
    return bool(instances) if isinstance(instances, list) else None


def _day(entry: dict[str, Any], paths: Sequence[str]) -> dt.date | None:
    """The first day that is told, in seconds since 1970 or as RFC 3339 has it; the epoch itself is none."""
    for value in _all(entry, paths):
        with suppress(ValueError, OverflowError, OSError):
            if isinstance(value, int | Decimal) and not isinstance(value, bool) and 1 <= value < _NUMBER:
                return dt.datetime.fromtimestamp(int(value), dt.UTC).date()
            if isinstance(value, str) and not value.startswith("1970-"):
                return dt.date.fromisoformat(value[:10])
    return None


def _prices(entry: dict[str, Any], unit: Decimal, today: dt.date) -> dict[str, Any]:
    """The prices of a model, none of them unless all that it takes are told: with a fee for each request, or by levels
    of length, what these say is not the bill. Zeros alone are as often a gap as a gift.
    """
    sheet: Mapping[str, Any] = next((found for found in _all(entry, _PRICED) if isinstance(found, dict)), {})
    places = (_PRICES, sheet) if sheet else (_BARE_PRICES, entry)
    levels = any("tier" in name or "long_context" in name for name in (*sheet, *entry))
    if levels or _dollars(sheet, ("request",), unit):
        return {}
    found = {name: _dollars(places[1], paths, unit) for name, paths in places[0].items()}
    if found["input_price"] is None or found["output_price"] is None or not any(found.values()):
        return {}
    return {**found, "prices_as_of": today}


def _dollars(sheet: Mapping[str, Any], paths: Sequence[str], unit: Decimal) -> Decimal | None:
    for value in _all(sheet, paths):
        if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            with suppress(ArithmeticError, ConfigError):
                price = EXACT.multiply(Decimal(value), unit)
                # What ModelInfo would refuse, such as the -1 of a price that varies, is not known.
                return ModelInfo(input_price=price).input_price
    return None
