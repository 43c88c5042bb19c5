"""What goes wrong in a script of the emulator's: the client gets a 500, and whoever wrote it the exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from penstock import ConfigError, ServerError
from penstock.testing import DemoModel, Emulator, Request, ServerReply, provider_on
from playing import collect

pytestmark = pytest.mark.anyio


def raises(error: BaseException) -> Callable[[Request], ServerReply]:
    def script(request: Request) -> ServerReply:
        raise error

    return script


async def asked(*replies: Any, times: int = 1) -> list[str]:
    """What the errors of so many calls say; and then whatever leaving the emulator raises."""
    said = []
    async with Emulator(*replies, then=DemoModel()) as emulator, provider_on("chat", emulator.url) as provider:
        for _ in range(times):
            try:
                await collect(provider)
            except ServerError as error:
                assert error.status == 500  # noqa: PT017 - what came of the call, not of leaving
                said.append(str(error))
        SAID[:] = said
    return said


SAID: list[str] = []


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        pytest.param(raises(KeyError("no such reply")), KeyError, "'no such reply'", id="it raises"),
        pytest.param(raises(AssertionError("not asked so")), AssertionError, "not asked so", id="it asserts"),
        pytest.param(
            lambda request: pytest.fail("not so"), pytest.fail.Exception, "not so", id="it fails the test"
        ),
        pytest.param(
            lambda request: None, ConfigError, "a script returned NoneType, expected a ServerReply", id="no reply"
        ),
        pytest.param(
            lambda request: ServerReply(["text"]),  # type: ignore[list-item]
            ConfigError,
            "a step is of type str, expected bytes, Pause, Cut, Reset or Hang",
            id="no step",
        ),
        pytest.param(
            ServerReply([None]),  # type: ignore[list-item]
            ConfigError,
            "a step is of type NoneType, expected bytes, Pause, Cut, Reset or Hang",
            id="no step, and no function either",
        ),
    ],
)  # fmt: skip
async def test_it_is_a_500_and_raised_as_itself_in_the_end(reply: Any, kind: type[BaseException], said: str) -> None:
    """Once, however often it was met."""
    with pytest.raises(kind) as raised:
        await asked(reply, reply, times=3)
    assert said in str(raised.value)
    assert len(SAID) == 2
    assert all(said in one for one in SAID)


async def test_several_are_a_group() -> None:
    """In the order in which they came."""
    with pytest.raises(ExceptionGroup) as raised:
        await asked(raises(KeyError("one")), raises(ValueError("two")), times=3)
    assert [type(error) for error in raised.value.exceptions] == [KeyError, ValueError]


async def test_the_exception_of_the_test_itself_wins() -> None:
    """And says in a note what else there was."""

    async def fails() -> None:
        async with Emulator(raises(KeyError("one"))) as emulator, provider_on("chat", emulator.url) as provider:
            await collect(provider)

    with pytest.raises(ServerError) as raised:
        await fails()
    assert raised.value.__notes__ == ["The emulator's script raised KeyError: 'one'"]


async def test_a_cancellation_is_not_lost() -> None:
    """It is an exception of the test's as well."""
    with anyio.CancelScope() as scope:
        async with Emulator(raises(KeyError("one"))) as emulator, provider_on("chat", emulator.url) as provider:
            with pytest.raises(ServerError):
                await collect(provider)
            scope.cancel()
            await anyio.sleep(1)
    assert scope.cancelled_caught
