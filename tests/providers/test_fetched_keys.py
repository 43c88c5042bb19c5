"""Keys that are fetched: asked for each request, never on the loop, once for all who wait, and shown nowhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from patience import PATIENCE, all_but, until
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    ConfigError,
    FirstChunkTimeoutError,
    OpenAIProvider,
    ProviderConfig,
    TotalTimeoutError,
    UsageChunk,
    resolve_key,
)
from penstock.core.keys import FetchedKey, Hidden
from penstock.middleware import CircuitBreaker, Fallback, Retry
from penstock.providers import fetching
from penstock.providers.fetching import Credential
from penstock.testing import Cut, Emulator, ServerReply
from playing import Clock
from three_wires import WIRES, ThreeWire, each_wire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

# Under which the SDKs would find a key of their own.
FOREIGN = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")


def counted(names: Iterator[int]) -> Callable[[], str]:
    return lambda: f"sk-fetched-{next(names):04}"


def is_async(give: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    async def key() -> str:
        return give()

    return key


def hidden_async(give: Callable[[], str]) -> Callable[[], Awaitable[str]]:
    """An async function that does not look like one."""
    key = is_async(give)
    return lambda: key()


KINDS = [
    pytest.param(lambda give: give, id="a function"),
    pytest.param(is_async, id="an async function"),
    pytest.param(hidden_async, id="a function that returns an awaitable"),
]


def sent(emulator: Emulator, header: str = "authorization") -> list[str | None]:
    return [request.headers.get(header) for request in emulator.requests]


@pytest.mark.parametrize("kind", KINDS)
@each_wire
async def test_a_key_is_asked_for_each_request(
    wire: ThreeWire, kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt and the single resend included. The SDK's own search for keys stays off."""
    for name in FOREIGN:
        monkeypatch.setenv(name, "sk-of-somebody-else")
    hello = ServerReply(wire.answer("Hello"))
    numbers = iter(range(1, 100))
    async with (
        Emulator(hello, ServerReply(before=[Cut()]), wire.error(500, "broken"), hello) as emulator,
        wire.provider(emulator.url, api_key=kind(counted(numbers))) as provider,
    ):
        await read(provider)
        await read(Retry(provider, base=0.001))
    assert sent(emulator) == [f"Bearer sk-fetched-{number:04}" for number in range(1, 5)]
    assert sent(emulator, "x-api-key") == [None] * 4


@each_wire
async def test_a_server_that_echoes_a_fetched_key(wire: ThreeWire) -> None:
    """It is shown by no error, though nobody knew it when the client was made."""
    async with (
        Emulator(wire.error(401, "who is sk-echoed-token-1?")) as emulator,
        wire.provider(emulator.url, api_key=lambda: "sk-echoed-token-1") as provider,
    ):
        error = await failure(provider)
    assert str(error).startswith("who is ***?")
    assert isinstance(error, AuthenticationError)


@pytest.mark.parametrize(
    ("dialect", "headers", "header", "expected"),
    [
        pytest.param("azure", {}, "api-key", "sk-fetched-0001", id="a row's own header"),
        pytest.param("azure", {}, "authorization", None, id="and no other"),
        pytest.param("azure", {"Api-Key": "sk-mine"}, "api-key", "sk-mine", id="a header of one's own comes first"),
        pytest.param("groq", {"authorization": "Bearer mine"}, "authorization", "Bearer mine", id="or that of all"),
    ],
)
async def test_which_header_carries_it(
    dialect: str, headers: dict[str, str], header: str, expected: str | None
) -> None:
    """As for a key that is text."""
    give = counted(iter(range(1, 100)))
    async with Emulator(ServerReply(WIRES[1].answer("Hello"))) as emulator:
        config = ProviderConfig(model_id="m", base_url=emulator.url, headers=headers, api_key=give, wire="chat")
        async with OpenAIProvider(config, dialect) as provider:
            await read(provider)
    assert sent(emulator, header) == [expected]


RENEWING = {
    "it is another by now": (["sk-old-token-1", "sk-new-token-2"], True),
    "it is the same": (["sk-old-token-1", "sk-old-token-1"], False),
    "it cannot be had any more": (["sk-old-token-1", 5], False),
}


@pytest.mark.parametrize(("keys", "again"), RENEWING.values(), ids=RENEWING)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_worth_another_try_if_there_is_another(
    status: int, keys: list[Any], again: bool
) -> None:
    """By whatever status the vendor says that it ended; the error says what to do, and nothing of either key."""
    given = iter([*keys, keys[-1]])
    said = "The security token included in the request is expired: sk-old-token-1, not sk-new-token-2"
    wire = WIRES[0]
    async with (
        Emulator(wire.error(status, said)) as emulator,
        wire.provider(emulator.url, api_key=lambda: next(given)) as provider,
    ):
        error = await failure(provider)
        assert isinstance(error, AuthenticationError)
        assert (error.retryable, "send again, or put Retry around" in error.hint) == (again, again)
        assert "sk-new" not in repr(error) + str(error) or not again
        assert "token-1" not in repr(error) + str(error) + repr(error.__cause__)


async def test_retry_goes_on_with_the_new_key() -> None:
    """As nobody had noticed."""
    keys = iter(["sk-old-token-1", "sk-new-token-2", "sk-new-token-2"])
    wire = WIRES[0]
    async with (
        Emulator(wire.error(401, "expired"), ServerReply(wire.answer("Hello"))) as emulator,
        wire.provider(emulator.url, api_key=lambda: next(keys)) as provider,
    ):
        await read(Retry(provider, base=0.001))
    assert sent(emulator) == ["Bearer sk-old-token-1", "Bearer sk-new-token-2"]


async def test_a_source_that_always_has_another_key_is_asked_twice() -> None:
    """As one that signs a token for each request, of an account that is closed: whoever tries again tries once."""
    wire = WIRES[0]
    async with (
        Emulator(then=wire.error(401, "who is it?")) as emulator,
        Emulator(then=ServerReply(wire.answer("Hello"))) as other,
        wire.provider(emulator.url, api_key=counted(iter(range(1, 100)))) as provider,
        wire.provider(other.url, api_key="sk-of-another") as spare,
    ):
        breaker = CircuitBreaker(Retry(provider, base=0.001))
        for _ in range(2):
            await read(Fallback(breaker, spare))
        assert breaker.state == "open"
        assert (len(emulator.requests), len(other.requests)) == (2, 2)
        error = await failure(Retry(provider, base=0.001))
    assert error.hint == "The key was refused, and so was its replacement. Check what issues the keys."


async def test_what_is_kept_is_dropped_when_it_is_refused() -> None:
    """Though its end had not come: somebody withdrew it."""
    keys = iter([FetchedKey("sk-old-token-1", keep=3600), FetchedKey("sk-new-token-2", keep=3600)])
    wire = WIRES[0]
    replies = [wire.error(401, "withdrawn"), *[ServerReply(wire.answer("Hello"))] * 2]
    async with Emulator(*replies) as emulator, wire.provider(emulator.url, api_key=lambda: next(keys)) as provider:
        for _ in range(2):
            await read(Retry(provider, base=0.001))
    assert sent(emulator) == ["Bearer sk-old-token-1", "Bearer sk-new-token-2", "Bearer sk-new-token-2"]


KEPT = {
    "text is asked for each time": ("sk", [0, 0], 3),
    "until a minute before its end": (FetchedKey("sk", ends=1400.0), [339, 2], 2),
    "one that lives for a minute, for four fifths of it": (FetchedKey("sk", ends=1060.0), [47, 2], 2),
    "one that has ended is asked for each time": (FetchedKey("sk", ends=999.0), [0, 0], 3),
    "for as long as it says": (FetchedKey("sk", keep=300), [299, 2], 2),
    "an end comes before that": (FetchedKey("sk", ends=1100.0, keep=300), [79, 2], 2),
}


@pytest.mark.parametrize(("key", "pauses", "fetches"), KEPT.values(), ids=KEPT)
async def test_how_long_a_key_is_used(key: object, pauses: list[float], fetches: int) -> None:
    """Of three times that it is needed, so many are fetches."""
    clock, given = Clock(), [key] * 9
    credential = Credential(given.pop, clock=clock)
    for pause in (0, *pauses):
        clock.now += pause
        assert await credential.key() == "sk"
    assert 9 - len(given) == fetches


def raising(error: Exception) -> Callable[[], str]:
    def key() -> str:
        raise error

    return key


BAD = {
    "nothing": (lambda: "", "the API key is empty"),
    "two lines": (lambda: "sk-line-one\nsk-line-two", "holds a character that no header can carry: a line end"),
    "two words": (lambda: "sk-word one", "no header can carry: a space"),
    "an odd letter": (lambda: "sk-wörd-one", "no header can carry: one that is not ASCII"),
    "a tab": (lambda: "sk-word\tone", "no header can carry: a control character"),
    "no text": (lambda: 5, "the function for the API key gave int, expected text"),
    "none": (lambda: None, "the function for the API key gave NoneType, expected text"),
    "it raises": (raising(OSError("no network\nat all")), "the function for the API key failed (OSError: no network)"),
    "its own words": (raising(ConfigError("log in first")), "log in first"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("give", "said"), BAD.values(), ids=BAD)
async def test_what_is_no_key_is_named(give: Callable[[], Any], said: str, kind: Callable[..., Any]) -> None:
    """Nothing is sent, and nothing is billed."""
    async with Emulator() as emulator:
        config = ProviderConfig(model_id="m", base_url=emulator.url, api_key=kind(give))
        async with AnthropicProvider(config) as provider:
            error = await failure(provider)
        assert emulator.requests == []
    assert said in str(error)
    assert (error.status, error.retryable, error.vendor, error.model) == (None, False, "anthropic", "m")
    assert "sk-line" not in repr(error) + str(error)


@pytest.mark.parametrize("kind", KINDS[:2])
async def test_a_function_that_hangs(kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Is waited for ten seconds, here less; whoever needs the key next asks anew, and the loop never stands still."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.05)
    over = threading.Event()
    hang: Any = partial(over.wait, PATIENCE) if kind is KINDS[0].values[0] else anyio.sleep_forever
    credential = Credential(hang)
    for _ in range(2):
        with pytest.raises(AuthenticationError, match=r"the function for the API key gave none within 0.05 s"):
            await credential.key()
    over.set()


def test_a_function_that_awaits_what_was_cancelled_cancels_nobody() -> None:
    """As with a refresh that many share, in a task that somebody has ended: the call fails and says why."""

    async def key() -> str:
        task = asyncio.ensure_future(anyio.sleep_forever())
        await asyncio.sleep(0)
        task.cancel()
        await task
        return "sk"

    with pytest.raises(AuthenticationError, match=r"the function for the API key failed \(CancelledError\)"):
        asyncio.run(Credential(key).key())


class Slow:
    """A function that gives the key only when it may. asked: how many times it was called."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        assert self.may.wait(PATIENCE)
        return "sk-slow"

    async def later(self) -> str:
        """The same, async."""
        self.asked += 1
        await until(self.may.is_set)
        return "sk-slow"


# Whoever runs an async function does not wait for it.
@pytest.mark.parametrize(("way", "waiting"), [("__call__", 7), ("later", 6)])
async def test_one_fetch_for_all_who_wait(way: str, waiting: int) -> None:
    """In whatever thread and event loop they do."""
    slow = Slow()
    credential = Credential(getattr(slow, way))
    keys: list[str] = []

    async def ask() -> None:
        keys.append(await credential.key())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        await until(lambda: slow.asked)
        for backend in ("asyncio", "trio"):
            tasks.start_soon(anyio.to_thread.run_sync, partial(anyio.run, ask, backend=backend))
        await until(lambda: len(credential._fetch.wakers if credential._fetch else ()) == waiting)
        slow.may.set()
    assert keys == ["sk-slow"] * 7
    assert slow.asked == 1


@pytest.mark.parametrize(("way", "fetches"), [("__call__", 1), ("later", 2)])
async def test_whoever_leaves_takes_the_key_from_nobody(way: str, fetches: int) -> None:
    """A thread goes on for the others; what is async was the one's who left, and the next one asks anew."""
    slow = Slow()
    credential = Credential(getattr(slow, way))
    keys: list[str] = []

    async def ask() -> None:
        keys.append(await credential.key())

    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as first:
            first.start_soon(ask)
            await until(lambda: slow.asked)
            others.start_soon(ask)
            await until(lambda: len(credential._fetch.wakers if credential._fetch else ()) == fetches % 2 + 1)
            first.cancel_scope.cancel()
        await until(lambda: slow.asked == fetches)
        slow.may.set()
    assert keys == ["sk-slow"]
    assert slow.asked == fetches


def test_a_function_that_never_returns_does_not_keep_python_from_ending() -> None:
    """In a process of its own, as that is what ends."""
    code = (
        "import anyio, threading; from penstock.providers import fetching\n"
        "fetching.FETCH_SECONDS = 0.01\n"
        "try: anyio.run(fetching.Credential(threading.Event().wait).key)\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert (done.stdout.splitlines()[0], done.stderr) == ("the function for the API key gave none within 0.01 s", "")


class Account:
    """What gives keys, as a user may write it."""

    def key(self) -> str:
        """The key."""
        return "sk"


ACCOUNT = Account()
SAME = {
    "one function": (ACCOUNT.key, ACCOUNT.key, True),
    "two functions": (lambda: "sk", lambda: "sk", False),
    "two accounts": (ACCOUNT.key, Account().key, False),
    "equal keys": ("sk-" + "1" * 9, "sk-" + "1" * 9, True),
    "other keys": ("sk-1", "sk-2", False),
    "what cannot be hashed": (["sk"], ["sk"], True),
}


@pytest.mark.parametrize(("one", "other", "same"), SAME.values(), ids=SAME)
def test_keys_can_be_compared_without_being_shown(one: object, other: object, same: bool) -> None:
    """As a part of what a shared provider is found by."""
    assert (Hidden(one) == Hidden(other), len({Hidden(one), Hidden(other)})) == (same, 2 - same)
    assert repr(Hidden(one)) == "Hidden(***)"
    assert "sk" not in repr(FetchedKey("sk"))


async def test_two_providers_with_one_function_fetch_once() -> None:
    """As two models of a file do that name one program, which may ask a person for a code."""
    given = [FetchedKey("sk-fetched-0001", keep=3600)]
    wire = WIRES[0]
    async with Emulator(*[ServerReply(wire.answer("Hello"))] * 2) as emulator:
        config = ProviderConfig(model_id="m", base_url=emulator.url, api_key=given.pop)
        async with AnthropicProvider(config) as one, AnthropicProvider(config) as other:
            await read(one)
            await read(other)
    assert sent(emulator) == ["Bearer sk-fetched-0001"] * 2


@each_wire
async def test_a_client_of_ones_own_sends_a_fetched_key(wire: ThreeWire) -> None:
    """And an echo of it is not shown, though its requests are not watched."""
    async with (
        Emulator(wire.error(401, "who is sk-fetched-0001?")) as emulator,
        httpx2.AsyncClient() as client,
    ):
        config = ProviderConfig(model_id="m", base_url=emulator.url, api_key=counted(iter(range(1, 9))))
        kind: Any = type(wire.provider(emulator.url))
        error = await failure(kind(config, client=client))
    assert sent(emulator) == ["Bearer sk-fetched-0001"]
    assert str(error).startswith("who is ***?")


def test_what_is_no_key_at_all_is_refused() -> None:
    """Where it is given; it is not shown."""
    with pytest.raises(ConfigError, match="`api_key` is of type bytes, expected a key, or a function"):
        ProviderConfig(model_id="m", api_key=b"sk-bytes-012345")  # type: ignore[arg-type]


async def test_a_provider_of_ones_own_resolves_its_key() -> None:
    """Text as it is, and whatever fetches one as seldom as that allows."""
    given = iter([FetchedKey("sk-fetched-1", keep=300), FetchedKey("sk-fetched-2", keep=300)])
    keys = {
        "sk-text": "sk-text",
        None: None,
        "sk-of-a-function": lambda: "sk-of-a-function",
        "sk-of-an-async-one": is_async(lambda: "sk-of-an-async-one"),
        "sk-fetched-1": lambda: next(given),
    }
    for key, api_key in keys.items():
        config = ProviderConfig(model_id="m", api_key=api_key)
        assert [await resolve_key(config) for _ in range(2)] == [key] * 2


async def test_a_key_is_waited_for_within_the_deadlines_of_the_call() -> None:
    """Nothing has been sent then, so nothing may be billed."""
    async with (
        Emulator() as emulator,
        WIRES[0].provider(emulator.url, api_key=anyio.sleep_forever, deadlines=all_but("first_chunk")) as provider,
    ):
        error = await failure(provider)
        assert emulator.requests == []
    assert (type(error), error.usage) == (FirstChunkTimeoutError, UsageChunk())


async def test_another_key_is_waited_for_within_the_deadlines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is none, and the refusal is told as it came, if it came in time."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 10 * PATIENCE)
    keys = ["sk-old-token-1"]

    async def give() -> str:
        if not keys:
            await anyio.sleep_forever()
        return keys.pop()

    async with (
        Emulator(WIRES[0].error(401, "expired")) as emulator,
        WIRES[0].provider(emulator.url, api_key=give, deadlines=all_but("total")) as provider,
    ):
        with anyio.fail_after(PATIENCE):
            error = await failure(provider)
    assert isinstance(error, TotalTimeoutError) or (error.message, error.retryable) == ("expired", False)


async def test_what_is_not_async_never_runs_on_the_loop() -> None:
    """It may block, and all streams of the program would stand still."""
    ran: list[int] = []

    def key() -> str:
        ran.append(threading.get_ident())
        return "sk"

    assert await Credential(key).key() == "sk"
    assert ran != [threading.get_ident()]


async def test_a_key_that_comes_late_is_there_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a person had to unlock the keyring."""
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.05)
    unlocked = threading.Event()

    def key() -> FetchedKey:
        assert unlocked.wait(PATIENCE)
        return FetchedKey("sk-late", keep=300)

    credential = Credential(key)
    with pytest.raises(AuthenticationError):
        await credential.key()
    unlocked.set()
    await until(lambda: credential._kept)
    assert await credential.key() == "sk-late"
