"""OpenAI's two wires, the options: what each becomes in the body, by the dialect's row, or why it is refused. Pure.

Sources: https://platform.openai.com/docs/api-reference and the types of the openai SDK 3.54, read 2026-11-21; what
other vendors do otherwise stands in their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from penstock.core.client_calls import client_call_of, tool_name
from penstock.core.dialect import Dialect, Wire
from penstock.core.messages import Options, Tool
from penstock.core.models import Model
from penstock.wire.checks import check_max_tokens, check_options, unsupported
from penstock.wire.request import set_field

__all__ = ["option_fields"]

_PLAIN: Final = {name: name for name in ("temperature", "top_p", "parallel_tool_calls", "service_tier")}
_FIELDS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "chat": {
        **_PLAIN,
        "max_tokens": "max_completion_tokens",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
        "stop": "stop",
        "seed": "seed",
        "user": "safety_identifier",
        "reasoning": "reasoning_effort",
        "response_schema": "response_format",
    },
    "responses": {
        **_PLAIN,
        "max_tokens": "max_output_tokens",
        "user": "safety_identifier",
        "reasoning": "reasoning.effort",
        "response_schema": "text.format",
    },
}
# What a row says of these holds for both of its wires; so does that it has none, of whatever.
_COMMON: Final = ("user", "service_tier", "parallel_tool_calls")
# Those of OpenAI's own API, which others have taken over; what is sent beyond them is refused or makes no sense.
_RANGES: Final = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, None),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_CHAT: Final = 'openai and wire="chat"'
_ELSEWHERE: Final = {
    **dict.fromkeys(("stop", "seed", "presence_penalty", "frequency_penalty"), _CHAT),
    "top_k": "older Claude models, such as claude-haiku-4-5, and with vllm, llamacpp and openrouter",
    "reasoning_budget": "Anthropic, alibaba, google and openrouter; give an effort here",
    "response_schema": "openai, google and mistral",
}


def option_fields(options: Options, model: Model, dialect: Dialect, wire: Wire) -> dict[str, Any]:
    """The fields of the body but the history. Raises InvalidRequestError, which names the option."""
    check_options(options, model, dialect, _RANGES)
    if options.max_tokens is not None:
        check_max_tokens(options.max_tokens, model, 1)
    fields: dict[str, Any] = {"model": model.id, "stream": True}
    if wire == "responses":
        # The history is sent whole each time; what a vendor keeps would be one more copy of it.
        fields["store"] = False
        if model.info.reasoning_modes or (dialect.encrypted_reasoning and model.info.reasoning_modes is None):
            fields["include"] = ["reasoning.encrypted_content"]
    elif dialect.stream_usage:
        fields["stream_options"] = {"include_usage": True}
    for name, value in _values(options, wire).items():
        set_field(fields, _field(name, dialect, wire), value)
    _reasoning(fields, options, model, dialect, wire)
    fields |= _cache(options, model, dialect, wire)
    if options.tools:
        fields["tools"] = [_tool(tool, wire) for tool in options.tools]
    if options.tool_choice is not None:
        fields["tool_choice"] = _choice(options, options.tool_choice, dialect, wire)
    return fields


def _values(options: Options, wire: Wire) -> dict[str, Any]:
    names = (
        "max_tokens", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed",
        "parallel_tool_calls", "user", "service_tier",
    )  # fmt: skip
    values = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.stop:
        values["stop"] = [options.stop] if isinstance(options.stop, str) else list(options.stop)
    if options.response_schema is not None:
        schema = {"name": "response", "schema": options.response_schema, "strict": True}
        values["response_schema"] = (
            {"type": "json_schema", "json_schema": schema} if wire == "chat" else {"type": "json_schema", **schema}
        )
    return values


def _field(name: str, dialect: Dialect, wire: Wire) -> str:
    """The body's field for an option. Raises InvalidRequestError, which says where it would work."""
    field = _FIELDS[wire].get(name)
    own = dialect.option_fields.get(name, field)
    if wire == "chat" or name in _COMMON or own is None:
        field = own
    if field is not None and not (wire == "responses" and name in dialect.responses_ignore):
        return field
    api = "the Responses API" if wire == "responses" else "the chat wire"
    other: Wire = "chat" if wire == "responses" else "responses"
    has_other = other in dialect.wires and dialect.option_fields.get(name, _FIELDS[other].get(name)) is not None
    where = f'wire="{other}"' if has_other and name not in _COMMON else _ELSEWHERE.get(name, "openai")
    option, what = ("reasoning", "no budget of it") if name == "reasoning_budget" else (name, "none")
    raise unsupported(option, f"{api} of {dialect.name} has {what}; it works with {where}")


def _reasoning(fields: dict[str, Any], options: Options, model: Model, dialect: Dialect, wire: Wire) -> None:
    wanted, modes = options.reasoning, model.info.reasoning_modes
    if wanted is None or (wanted == "off" and modes is not None and not modes):
        return  # it never reasons
    if wanted == "off":
        fields |= _off(model, dialect, wire)
    elif isinstance(wanted, str):
        _check_effort(wanted, model, dialect, wire)
        set_field(fields, _field("reasoning", dialect, wire), wanted)
    else:
        field = _field("reasoning_budget", dialect, wire)
        if modes is not None and "budget" not in modes:
            raise unsupported("reasoning", _cannot(wanted, model))
        set_field(fields, field, wanted)


def _check_effort(wanted: str, model: Model, dialect: Dialect, wire: Wire) -> None:
    modes, efforts, known = model.info.reasoning_modes, model.info.efforts, dialect.chat_efforts
    if (efforts is not None and wanted not in efforts) or (modes is not None and not modes):
        raise unsupported("reasoning", _cannot(wanted, model))
    if wire == "chat" and known is not None and wanted not in known:
        where = 'it works with wire="responses"' if "responses" in dialect.wires else f"it takes {', '.join(known)}"
        raise unsupported("reasoning", f"no {wanted!r} on the chat wire of {dialect.name}; {where}")


def _cannot(wanted: str | int, model: Model) -> str:
    """Why a model cannot reason as is wanted, and how it does."""
    modes, efforts = model.info.reasoning_modes, model.info.efforts
    if efforts:
        return f"{wanted!r}, but {model.id} takes one of {', '.join(efforts)}"
    if modes is None or modes:
        return f"{wanted!r}, but {model.id} takes {'an effort' if efforts is None else 'no effort'}"
    return f"{model.id} does not reason, so it takes neither an effort nor a budget ({wanted})"


def _off(model: Model, dialect: Dialect, wire: Wire) -> Mapping[str, Any]:
    """The fields that turn reasoning off."""
    modes, efforts = model.info.reasoning_modes, model.info.efforts
    if modes is not None and "off" not in modes:
        least = f"; {efforts[0]!r} is the least" if efforts else ""
        raise unsupported("reasoning", f"{model.id} always reasons{least}")
    off = dialect.reasoning_off if wire == "chat" else {"reasoning": {"effort": "none"}}
    if off is None:
        said = f"{dialect.name} has no way to turn it off; it takes an effort, or a field of the model's own in `extra`"
        raise unsupported("reasoning", said)
    return off


def _cache(options: Options, model: Model, dialect: Dialect, wire: Wire) -> dict[str, Any]:
    """Vendors cache by themselves; what can be said about it is how long, and from gpt-5.6 on whether at all."""
    wanted, style = options.cache, dialect.cache
    if style == "top_level" and wire == "chat" and wanted != "off":
        lifetime = {"ttl": "1h"} if wanted == "extended" else {}
        return {"cache_control": {"type": "ephemeral", **lifetime}}
    if wanted == "auto" or (wanted == "off" and style != "options"):
        return {}
    if style != "options":
        other = ', or wire="chat"' if style == "top_level" else ""
        raise unsupported(
            "cache", f"the lifetime of {dialect.name}'s cache cannot be chosen; use auto{other}, or Anthropic"
        )
    if wanted == "off":
        return {"prompt_cache_options": {"mode": "explicit"}} if model.info.supports_cache_options else {}
    if not model.info.supports_cache_options:
        return {"prompt_cache_retention": "24h"}
    if wire == "chat":
        raise unsupported("cache", '`extended` works for this model with wire="responses"')
    return {"prompt_cache_options": {"ttl": "12h"}}


def _tool(tool: Tool | Mapping[str, object], wire: Wire) -> Mapping[str, object]:
    if not isinstance(tool, Tool):
        return tool
    function: dict[str, object] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters
    if wire == "responses":
        return {"type": "function", **function, "strict": tool.strict}  # true there if it is left out
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(options: Options, choice: str, dialect: Dialect, wire: Wire) -> object:
    if choice not in ("auto", "none", "required"):
        own = [tool for tool in options.tools if not isinstance(tool, Tool) and tool_name(tool) == choice]
        row = client_call_of(own[0]) if own else None
        if row is not None:
            # A vendor's own tool is chosen by its type, and by its name where the definition has one.
            word, name = str(own[0]["type"]), {row.named_by: choice} if row.named_by else {}
            return {"type": word, **({word: name} if wire == "chat" and name else name)}
        named: dict[str, object] = {"name": choice}
        return {"type": "function", **(named if wire == "responses" else {"function": named})}
    return dialect.required_word if choice == "required" else choice
