"""Errors as values: what they carry survives pickle and copy, and they say what a handler needs."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import UsageChunk
from penstock.core import errors
from penstock.core.errors import (
    AuthenticationError,
    BatchUnsureError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    ConnectTimeoutError,
    FirstChunkTimeoutError,
    InvalidRequestError,
    LedgerError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StallTimeoutError,
    StoreError,
    StreamInterruptedError,
    StructuredOutputError,
    TokenLimitError,
    TotalTimeoutError,
    TurnLimitError,
)


def family(root: type[ProviderError]) -> Iterator[type[ProviderError]]:
    """The class and all below it that the package itself defines."""
    if root.__module__.partition(".")[0] == "penstock":
        yield root
    for child in root.__subclasses__():
        yield from family(child)


FAMILY = sorted(set(family(ProviderError)), key=lambda kind: kind.__name__)
RETRYABLE = {
    AuthenticationError: False,
    BatchUnsureError: False,
    BudgetExceededError: False,
    CircuitOpenError: True,
    ConfigError: False,
    ConnectTimeoutError: True,
    FirstChunkTimeoutError: True,
    InvalidRequestError: False,
    LedgerError: False,
    StoreError: True,
    MalformedResponseError: False,
    StructuredOutputError: False,
    NetworkError: True,
    NotFoundError: False,
    OverloadedError: True,
    PermissionDeniedError: False,
    ProviderError: False,
    ProviderTimeoutError: True,
    QuotaExceededError: False,
    RateLimitError: True,
    ServerError: True,
    StallTimeoutError: True,
    StreamInterruptedError: True,
    TokenLimitError: False,
    TotalTimeoutError: True,
    TurnLimitError: False,
}
FACTS: dict[str, Any] = {
    "status": 529,
    "code": "overloaded_error",
    "request_id": "req_1",
    "retry_after": 1.5,
    "usage": UsageChunk(input_tokens=7, known_cost=Decimal("0.000014")),
    "vendor": "anthropic",
    "model": "claude-sonnet-5-5",
}
LATER: dict[str, Any] = {
    "retryable": True,
    "hint": "Do something else.",
    "tokens": 200_001,
    "limit": 200_000,
    "deadline": "stall",
    "seconds": 30.0,
    "file": Path("models.json"),
    "path": "$.models.sonnet",
}
COPIES: list[Any] = [
    *(
        pytest.param(partial(pickle.dumps, protocol=protocol), pickle.loads, id=f"pickle {protocol}")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
    pytest.param(copy.copy, copy.copy, id="copy"),
    pytest.param(copy.deepcopy, copy.deepcopy, id="deepcopy"),
]
each_class = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in FAMILY])


def full(kind: type[ProviderError]) -> ProviderError:
    """An error with everything that an error can carry."""
    error = kind("it broke", **FACTS)
    for name, value in LATER.items():
        if hasattr(kind, name):
            setattr(error, name, value)
    error.add_note("seen by a middleware")
    return error


@each_class
@pytest.mark.parametrize("make", [pytest.param(full, id="full"), pytest.param(lambda kind: kind("bare"), id="bare")])
@pytest.mark.parametrize(("there", "back"), COPIES)
def test_errors_travel(
    kind: type[ProviderError],
    make: Callable[[type[ProviderError]], ProviderError],
    there: Callable[[object], Any],
    back: Callable[[Any], object],
) -> None:
    """Every error comes through pickle and copy with its class, its words and all of its attributes."""
    error = make(kind)
    again = back(there(error))
    assert type(again) is kind
    assert again is not error
    assert vars(again) == vars(error)
    assert again.args == error.args
    assert str(again) == str(error)
    assert again.retryable == error.retryable


@each_class
def test_every_attribute_is_one_that_was_given(kind: type[ProviderError]) -> None:
    """What is said when an error is made is what a handler reads, and nothing is lost on the way."""
    error = kind("it broke", **FACTS)
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    assert error.message == "it broke"


@each_class
def test_nothing_said_is_none(kind: type[ProviderError]) -> None:
    """An error of which nothing is known carries None, and a usage that adds nothing to the bill."""
    error = kind("it broke")
    assert {name: getattr(error, name) for name in FACTS} == dict.fromkeys(FACTS) | {"usage": UsageChunk()}


def test_the_table_of_retries_is_whole() -> None:
    """A new class of error is not in the package without a decision whether it is worth another try."""
    assert set(RETRYABLE) == set(FAMILY)


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        pytest.param(kind, again, id=f"{kind.__name__} is {'' if again else 'not '}worth another try")
        for kind, again in RETRYABLE.items()
    ],
)
def test_whether_to_try_again(kind: type[ProviderError], retryable: bool) -> None:
    """Each class says whether the same request may succeed later, and one error may say otherwise of itself."""
    error = kind("it broke")
    assert error.retryable is retryable
    error.retryable = not retryable
    assert kind.retryable is retryable


@each_class
def test_every_class_is_public(kind: type[ProviderError]) -> None:
    """One `except ProviderError` catches all of them, and each has its name, its docstring and one sentence of help."""
    assert issubclass(kind, ProviderError)
    assert getattr(penstock, kind.__name__) is kind
    assert kind.__name__ in errors.__all__
    assert kind.__doc__
    assert kind is ProviderError or re.fullmatch(r"[A-Z][^.]*(\.[a-z][^.]*)?\.", kind.hint), "one sentence"
    assert "\n" not in kind.hint


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(ProviderError("it broke"), "it broke", id="only words"),
        pytest.param(ProviderError("it broke", status=500), "it broke (status 500)", id="a status"),
        pytest.param(ProviderError("it broke", code="x_y"), "it broke (code x_y)", id="the vendor's code"),
        pytest.param(ProviderError("it broke", model="m"), "it broke (model m)", id="a model"),
        pytest.param(ProviderError("it broke", request_id="req_1"), "it broke (request req_1)", id="the request's id"),
        pytest.param(
            ProviderError("it broke", retry_after=0), "it broke (retry after 0 s)", id="no pause is a pause said"
        ),
        pytest.param(
            ProviderError("it broke", retry_after=0.25), "it broke (retry after 0.25 s)", id="part of a second"
        ),
        pytest.param(
            ProviderError("it broke", **FACTS),
            "it broke (status 529, code overloaded_error, model claude-sonnet-5-5, request req_1, retry after 1.5 s)",
            id="all facts in one line",
        ),
        pytest.param(
            RateLimitError("slow down", status=429),
            f"slow down (status 429)\n{RateLimitError.hint}",
            id="help stands in a line of its own",
        ),
        pytest.param(ServerError(""), f"\n{ServerError.hint}", id="no words"),
    ],
)
def test_the_text_has_the_facts(error: ProviderError, text: str) -> None:
    """`str` gives the words, the facts that are known, and the help."""
    assert str(error) == text


def test_an_error_without_arguments_has_an_empty_message() -> None:
    """Whoever empties `args` gets an empty message, not another error."""
    error = ProviderError("it broke", status=500)
    error.args = ()
    assert error.message == ""
    assert str(error) == " (status 500)"


def test_a_wrong_configuration_is_a_wrong_value() -> None:
    """ConfigError is a ValueError as well, which `except ValueError` catches."""
    with pytest.raises(ValueError, match="no such file") as caught:
        raise ConfigError("no such file")
    assert isinstance(caught.value, ProviderError)
