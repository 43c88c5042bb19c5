"""Anthropic's Messages API, the options: what each becomes in the body and in the headers, or why it is refused. Pure.

Source: the API's documentation and the types of the anthropic SDK 2.11, read 2026-11-21.
"""

from __future__ import annotations

from typing import Any, Final

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import Options
from penstock.core.models import Model
from penstock.wire.request import check_cache, check_choice, check_reasoning, check_sampling

__all__ = ["option_fields", "option_headers"]

_DEFAULT_MAX_TOKENS: Final = 8192
"""When neither the options nor the model's entry say how much: the API wants a number; any current model takes it."""

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_ELSEWHERE: Final = {
    "presence_penalty": "OpenAI's chat completions",
    "frequency_penalty": "OpenAI's chat completions",
    "seed": "OpenAI's chat completions",
}
_MIN_BUDGET: Final = 1024


def option_headers(options: Options) -> dict[str, str]:
    """The headers that choose the API's version: sampling parameters exist only in the old one."""
    sampling = any(getattr(options, name) is not None or name in options.extra for name in _SAMPLING)
    headers = {"anthropic-version": "2023-06-01" if sampling else "2026-10-21"}
    if options.service_tier == "fast":
        headers["anthropic-beta"] = "fast-mode-2026-02-01"
    return headers


def option_fields(options: Options, model: Model) -> dict[str, Any]:
    """The fields of the body but tools, system and messages. Raises InvalidRequestError, which names the option."""
    for name, where in _ELSEWHERE.items():
        if getattr(options, name) is not None:
            raise InvalidRequestError(f"option `{name}`: Anthropic's Messages API has none; it works with {where}")
    max_tokens = options.max_tokens if options.max_tokens is not None else model.info.max_tokens
    if max_tokens is None:
        max_tokens = _DEFAULT_MAX_TOKENS
    if max_tokens < 0 or (model.info.max_tokens is not None and max_tokens > model.info.max_tokens):
        most = model.info.max_tokens or "as many as the model can"
        raise InvalidRequestError(f"option `max_tokens`: {max_tokens}, expected 0 (only fill the cache) to {most}")
    check_cache(options)
    fields: dict[str, Any] = {
        "model": model.id,
        "max_tokens": max_tokens,
        "stream": True,
    }
    check_reasoning(options)
    check_sampling(options, model)
    fields |= {name: value for name in _SAMPLING if (value := getattr(options, name)) is not None}
    if options.stop:
        fields["stop_sequences"] = [options.stop] if isinstance(options.stop, str) else options.stop
    if options.user is not None:
        fields["metadata"] = {"user_id": options.user}
    fields |= _service_tier(options)
    fields |= _reasoning(options, model, fields["max_tokens"])
    if options.response_schema is not None:
        output = fields.setdefault("output_config", {})
        output["format"] = {"type": "json_schema", "schema": options.response_schema}
    return fields | _tool_choice(options, model)


def _service_tier(options: Options) -> dict[str, Any]:
    tier = options.service_tier
    if tier is None:
        return {}
    if tier == "fast":
        return {"speed": "fast"}
    if tier in ("auto", "standard_only"):
        return {"service_tier": tier}
    raise InvalidRequestError(f"option `service_tier`: {tier!r}, expected auto, standard_only or fast")


def _reasoning(options: Options, model: Model, max_tokens: int) -> dict[str, Any]:
    wanted, modes, efforts = options.reasoning, model.info.reasoning_modes, model.info.efforts
    if wanted is None:
        return {}
    if wanted == "off":
        if modes is not None and not modes:
            return {}  # it never reasons
        if modes is None or "off" in modes:
            return {"thinking": {"type": "disabled"}}
        if "between_tools" in modes:
            return {"thinking": {"type": "between_tools"}}
        raise InvalidRequestError(f"option `reasoning`: {model.id} always reasons; `low` is the least")
    if isinstance(wanted, int):
        if modes is not None and "budget" not in modes:
            raise InvalidRequestError(f"option `reasoning`: {model.id} takes {_choices(model)}")
        if not _MIN_BUDGET <= wanted < max_tokens:
            raise InvalidRequestError(
                f"option `reasoning`: a budget of {wanted} tokens, expected {_MIN_BUDGET} or more and less than "
                f"max_tokens, which is {max_tokens}"
            )
        return {"thinking": {"type": "enabled", "budget_tokens": wanted}}
    if (efforts is not None and wanted not in efforts) or (modes is not None and not modes):
        raise InvalidRequestError(f"option `reasoning`: {wanted!r}, but {model.id} takes {_choices(model)}")
    adaptive = {"thinking": {"type": "adaptive"}} if modes is None or "adaptive" in modes else {}
    return {**adaptive, "output_config": {"effort": wanted}}


def _choices(model: Model) -> str:
    efforts, modes = model.info.efforts, model.info.reasoning_modes
    ways = ["an effort"] if efforts is None and modes else ["one of " + ", ".join(efforts)] if efforts else []
    if modes is None or "budget" in modes:
        ways.append(f"a budget of {_MIN_BUDGET} tokens or more")
    return " or ".join(ways) or "neither an effort nor a budget"


def _tool_choice(options: Options, model: Model) -> dict[str, Any]:
    check_choice(options, model)
    choice = options.tool_choice
    if choice is None and options.parallel_tool_calls is None:
        return {}
    value: dict[str, Any]
    if choice in (None, "auto", "none"):
        value = {"type": choice or "auto"}
    else:
        value = {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}
    if options.parallel_tool_calls is False and choice != "none":
        value["disable_parallel_tool_use"] = True
    return {"tool_choice": value}
