"""What a provider and its calls are given: a wrong type is told by the argument's name, with what to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from penstock.core.cost import prices_at
from penstock.core.dialect import Dialect
from penstock.core.errors import ConfigError, InvalidRequestError, ProviderError
from penstock.core.messages import Message, Options
from penstock.core.models import FindInfo, Model, ModelInfo
from penstock.core.provider_config import ProviderConfig

__all__ = ["check_call", "check_config", "prepared", "priced"]

T = TypeVar("T")

_NUMBERS: Final = ("max_tokens", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed")


def check_config(config: object) -> None:
    """Raise ConfigError for what is not a config. The value is not shown: it may be a key in the wrong place."""
    if not isinstance(config, ProviderConfig):
        raise ConfigError(f"`config` is of type {type(config).__name__}, expected ProviderConfig(model_id=...)")


def check_call(messages: object, options: object) -> None:
    """Raise InvalidRequestError for a history that is not a list, and for options that people mistake."""
    if not isinstance(messages, list) and isinstance(messages, str | Message | Mapping):
        said = f"`messages` is of type {type(messages).__name__}, expected a list: [Message('user', ...)]"
        raise InvalidRequestError(said)
    if not isinstance(options, Options):
        raise InvalidRequestError(f"`options` is of type {type(options).__name__}, expected Options(...)")
    for name in _NUMBERS:
        if isinstance(value := getattr(options, name), str):
            raise InvalidRequestError(f"option `{name}` is {value!r}, expected a number without quotes")
    tools: object = options.tools
    if tools and isinstance(tools, Sequence) and any(hasattr(tool, "definition") for tool in tools):
        said = "option `tools` holds a tool that can be run: give it to run_tools, or give its `definition` here"
        raise InvalidRequestError(said)


def prepared(prepare: Callable[[], T]) -> T:
    """What *prepare* makes of a call, or InvalidRequestError for a value of which nothing can be made."""
    try:
        return prepare()
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        if isinstance(error, ProviderError):
            raise
        said = f"{type(error).__name__}: {error}"
        raise InvalidRequestError(f"a message or an option holds a value of a wrong type ({said})") from error


def priced(
    config: ProviderConfig, find_info: FindInfo | None, row: Dialect, url: str | None
) -> tuple[Model, FindInfo | None]:
    """The config's model with the prices of the server at *url*, and *find_info* with them too."""

    def find(model_id: str) -> ModelInfo | None:
        found = find_info(model_id) if find_info is not None else None
        return None if found is None else prices_at(found, row, url)

    model = Model(config.model_id, prices_at(config.model_info or ModelInfo(), row, url))
    return model, None if find_info is None else find
