"""Anthropic's Messages API, the options: what each becomes in the body and in the headers, or why it is refused. Pure.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21; what other servers of this API
do otherwise stands in their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from penstock.core.dialect import Dialect
from penstock.core.messages import Options
from penstock.core.models import Model
from penstock.wire.checks import check_max_tokens, check_options, unsupported
from penstock.wire.request import set_field
from penstock.wire.vendors import ANTHROPIC

__all__ = ["LONGEST_NAME", "option_fields", "option_headers"]

_DEFAULT_MAX_TOKENS: Final = 32_000
"""When neither the options nor the model's entry say how much: the API wants a number, reasoning included, and any
model that is still served takes this one (claude-opus-4-1 has the least; read 2026-11-30).
"""

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_PLAIN: Final = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "stop", "user")
_FIELDS: Final[Mapping[str, str]] = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "service_tier": "service_tier",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning": "output_config.effort",
    "reasoning_budget": "thinking.budget_tokens",
    "response_schema": "output_config.format",
}
_ELSEWHERE: Final = {
    "presence_penalty": "OpenAI's chat completions",
    "frequency_penalty": "OpenAI's chat completions",
    "seed": "OpenAI's chat completions",
    "response_schema": "anthropic, openai, google and mistral",
}
_RANGES: Final = {"temperature": (0, 1), "top_p": (0, 1), "top_k": (0, None)}
_MIN_BUDGET: Final = 1024
LONGEST_NAME: Final = 128
"""Characters of a tool's name."""
_OLD: Final = "2023-06-01"


def option_headers(options: Options, dialect: Dialect = ANTHROPIC) -> dict[str, str]:
    """The headers that choose the API's version: sampling parameters exist only in the old one."""
    sampling = any(getattr(options, name) is not None or name in options.extra for name in _SAMPLING)
    headers = {"anthropic-version": _OLD if sampling else dialect.api_version}
    if options.service_tier == "fast":
        headers["anthropic-beta"] = "fast-mode-2026-02-01"
    return headers


def option_fields(options: Options, model: Model, dialect: Dialect = ANTHROPIC) -> dict[str, Any]:
    """The fields of the body but tools, system and messages. Raises InvalidRequestError, which names the option."""
    max_tokens = options.max_tokens if options.max_tokens is not None else model.info.max_tokens
    if max_tokens is None:
        max_tokens = _DEFAULT_MAX_TOKENS
    check_max_tokens(max_tokens, model, 0, " (only fill the cache)")
    check_options(options, model, dialect, _RANGES, LONGEST_NAME)
    if options.cache == "extended" and dialect.cache is None:
        raise unsupported("cache", f"the lifetime of {dialect.name}'s cache cannot be chosen; use auto")
    fields: dict[str, Any] = {"model": model.id}
    set_field(fields, _field("max_tokens", dialect), max_tokens)
    fields["stream"] = True
    for name in _PLAIN:
        value = getattr(options, name)
        if value is not None and not (name == "stop" and not value):
            given = [value] if name == "stop" and isinstance(value, str) else value
            set_field(fields, _field(name, dialect), given)
    fields |= _service_tier(options, dialect)
    fields |= _reasoning(options, model, max_tokens, dialect)
    if options.response_schema is not None:
        schema = {"type": "json_schema", "schema": options.response_schema}
        set_field(fields, _field("response_schema", dialect), schema)
    return fields | _tool_choice(options, dialect)


def _field(name: str, dialect: Dialect) -> str:
    """The body's field for an option. Raises InvalidRequestError, which says where it would work."""
    field = dialect.option_fields.get(name, _FIELDS.get(name))
    if field is not None:
        return field
    option, what = ("reasoning", "no budget of it") if name == "reasoning_budget" else (name, "none")
    api = "Anthropic's Messages API" if dialect.name == ANTHROPIC.name else f"the Messages API of {dialect.name}"
    where = _ELSEWHERE.get(name, ANTHROPIC.name)
    raise unsupported(option, f"{api} has {what}; it works with {where}")


def _service_tier(options: Options, dialect: Dialect) -> dict[str, Any]:
    tier = options.service_tier
    if tier is None:
        return {}
    field = _field("service_tier", dialect)
    if tier == "fast":
        return {"speed": "fast"}
    if tier in ("auto", "standard_only"):
        return {field: tier}
    raise unsupported("service_tier", f"{tier!r}, expected auto, standard_only or fast")


def _reasoning(options: Options, model: Model, max_tokens: int, dialect: Dialect) -> Mapping[str, Any]:
    wanted, modes, efforts = options.reasoning, model.info.reasoning_modes, model.info.efforts
    if wanted is None:
        return {}
    if wanted == "off":
        return _off(model, dialect)
    fields: dict[str, Any] = {}
    if isinstance(wanted, int):
        path = _field("reasoning_budget", dialect)
        if modes is not None and "budget" not in modes:
            raise unsupported("reasoning", _cannot(wanted, model))
        if not _MIN_BUDGET <= wanted < max_tokens:
            raise unsupported(
                "reasoning",
                f"a budget of {wanted} tokens, expected {_MIN_BUDGET} or more and less than max_tokens, which is "
                f"{max_tokens}",
            )
        fields["thinking"] = {"type": "enabled"}
        set_field(fields, path, wanted)
        return fields
    path = _field("reasoning", dialect)
    if (efforts is not None and wanted not in efforts) or (modes is not None and not modes):
        raise unsupported("reasoning", _cannot(wanted, model))
    if dialect.effort_thinking is not None and (modes is None or "adaptive" in modes):
        fields["thinking"] = {"type": dialect.effort_thinking}
    set_field(fields, path, wanted)
    return fields


def _off(model: Model, dialect: Dialect) -> Mapping[str, Any]:
    """The fields that turn reasoning off."""
    modes = model.info.reasoning_modes
    if modes is not None and not modes:
        return {}  # it never reasons
    if modes is not None and "between_tools" in modes and "off" not in modes:
        return {"thinking": {"type": "between_tools"}}
    if modes is not None and "off" not in modes:
        raise unsupported("reasoning", f"{model.id} always reasons; `low` is the least")
    if dialect.reasoning_off is None:
        raise unsupported("reasoning", f"{dialect.name} has no way to turn it off")
    return dialect.reasoning_off


def _cannot(wanted: str | int, model: Model) -> str:
    """Why a model cannot reason as is wanted, and how it does."""
    efforts, modes = model.info.efforts, model.info.reasoning_modes
    ways = ["an effort"] if efforts is None and modes else ["one of " + ", ".join(efforts)] if efforts else []
    if modes is None or "budget" in modes:
        ways.append(f"a budget of {_MIN_BUDGET} tokens or more")
    if not ways:
        return f"{model.id} does not reason, so it takes neither an effort nor a budget ({wanted})"
    return f"{wanted!r}, but {model.id} takes {' or '.join(ways)}"


def _tool_choice(options: Options, dialect: Dialect) -> dict[str, Any]:
    choice = options.tool_choice
    fields: dict[str, Any] = {}
    if choice is not None or options.parallel_tool_calls is not None:
        named = choice not in (None, "auto", "none", "required")
        kind = "tool" if named else "any" if choice == "required" else choice or "auto"
        fields["tool_choice"] = {"type": kind, "name": choice} if named else {"type": kind}
    if options.parallel_tool_calls is not None:
        path = _field("parallel_tool_calls", dialect)
        if options.parallel_tool_calls is False and choice != "none":
            set_field(fields, path, True)
    return fields
