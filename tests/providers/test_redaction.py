"""One key, searched for in everything that can be printed, logged or written, whatever a server does with it."""

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
import html
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
import msgspec
import pytest

from patience import PATIENCE, PATIENT, SHORT, until
from penstock import (
    AnthropicProvider,
    BaseProvider,
    ConfigError,
    Deadlines,
    InvalidRequestError,
    Message,
    NetworkError,
    OpenAIProvider,
    Options,
    ProviderConfig,
    ProviderError,
    ResponseHead,
    StopChunk,
)
from penstock.middleware import CircuitBreaker, Concurrency, Fallback, Observe, RateLimit, Retry
from penstock.providers.redaction import Secrets
from penstock.providers.sending import caused_by
from penstock.providers.transport import Transport
from penstock.testing import Cut, Emulator, Hang, Pause, Reset, ServerReply
from three_wires import WIRES, ThreeWire, failure, read

pytestmark = [pytest.mark.anyio, pytest.mark.both_transports]

# With characters that an URL, JSON and HTML escape.
CANARY = "sk-canary/Qz7+Xw9=vB3_kT5.m"
JSON = {"content-type": "application/json"}


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS = (CANARY, quote(CANARY, safe=""), html.escape(CANARY), CANARY.replace("/", "\\/"), base64_of(CANARY))
SMALL = 12  # as much of a form as nobody writes by chance
PARTS = {form[start : start + SMALL] for form in FORMS for start in range(len(form) - SMALL + 1)}
# One of these is in each of those: where there is none, the look is over sooner.
HINTS = {form[start : start + 8] for form in FORMS for start in range(0, len(form) - 7, SMALL - 7)}


def everywhere(text: str) -> bool:
    """Whether the key, or a good part of it, stands in *text* in any of its forms."""
    return any(hint in text for hint in HINTS) and any(part in text for part in PARTS)


class Seen(logging.Handler):
    """Holds all that a handler can know of each record, as a text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self.texts += [record.getMessage(), repr(vars(record)), self.format(record)]
        if record.exc_info and record.exc_info[1]:
            self.texts += shown(record.exc_info[1])


@contextmanager
def listening() -> Iterator[list[str]]:
    """What the root logger gets at DEBUG, and all warnings."""
    handler, root = Seen(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            yield handler.texts
        handler.texts += [str(warning.message) for warning in warned if "Async generator" not in str(warning.message)]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def shown(error: BaseException) -> list[str]:
    """All that can be printed of an error and of what it was raised from."""
    texts = list(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    left, seen = [error], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "__notes__", ()))]
        texts += [repr(vars(value)) for value in vars(one).values() if hasattr(value, "__dict__")]
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
    if isinstance(error, ProviderError):
        texts += [pickle.dumps(error, protocol).decode("latin-1") for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
        texts.append(repr(vars(copy.deepcopy(error))))
    return texts


HEADER = {"x-echo": f"you sent {CANARY}", "x-request-id": f"req_{CANARY}", "request-id": f"req_{CANARY}"}
ESCAPED = CANARY.replace("/", "\\/").replace("+", "\\u002b").replace("=", "\\u003D")


def plain(body: str, status: int = 500) -> ServerReply:
    return ServerReply([body.encode()], status, {"content-type": "text/plain", **HEADER}, whole=True)


def failures(wire: ThreeWire) -> list[ServerReply]:
    """Every way in which a server could say the key."""
    answer = wire.answer("Hello there")
    message = f"Bearer {CANARY} is no good"
    return [
        *(wire.error(status, message, headers=HEADER) for status in (400, 401, 403, 404, 413, 429, 500, 529)),
        plain(message),
        plain(f'{{"error": {{"message": "who is {ESCAPED}?"'),
        plain(f"who is {quote(CANARY, safe='')} or {quote(quote(CANARY, safe=''), safe='').lower()}?"),
        plain(f"<html>{html.escape(CANARY)} or {''.join(f'&#{ord(c)};' for c in CANARY)}</html>", 503),
        *(plain("x" * (200 - size) + CANARY * 2, 400) for size in range(8, 45, 3)),
        ServerReply([], 307, {"location": f"http://127.0.0.1:9/?key={quote(CANARY, safe='')}", **HEADER}, whole=True),
        ServerReply([f"<html>{CANARY}</html>".encode()], headers={"content-type": "text/html", **HEADER}),
        ServerReply([f"data: {CANARY}\n\n".encode()], headers=HEADER),
        ServerReply(
            [b'data: {"error": {"message": "%s", "code": "%s"}}\n\n' % ((CANARY.encode(),) * 2)], headers=HEADER
        ),
        ServerReply([b'event: error\ndata: {"error": {"type": "%s"}}\n\n' % CANARY.encode()], headers=HEADER),
        ServerReply([msgspec.json.encode({"error": CANARY})], headers={**JSON, **HEADER}, whole=True),
        ServerReply([*answer[:-2], b"event: message_delta\ndata: {%s\n\n" % CANARY.encode(), Cut()], headers=HEADER),
        ServerReply([*answer[:5], Pause(0.01), Reset()], headers=HEADER),
        ServerReply([CANARY.encode()], headers={"content-encoding": "gzip", **HEADER}),
        ServerReply([gzip.compress(message.encode())], 500, {"content-encoding": "gzip", **HEADER}),
        ServerReply([f"HTTP/1.1 {CANARY}\r\n\r\n".encode(), Cut()], raw=True),
        ServerReply([f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode(), Cut()], raw=True),
        ServerReply(before=[Cut()]),
        ServerReply(before=[Hang()]),
        ServerReply([*answer[:5], Hang()], headers=HEADER),
    ]


PLAIN: dict[str, Any] = {"model_id": "m", "deadlines": PATIENT}
QUICK = Options(deadlines=Deadlines(connect=PATIENCE, first_chunk=SHORT, stall=SHORT))


def named(name: str, make: Callable[[str], BaseProvider], wire: int) -> Any:
    return pytest.param(make, WIRES[wire], id=name)


def with_user(url: str) -> str:
    return url.replace("http://", f"http://me:{quote(CANARY, safe='')}@")


PROVIDERS = [
    named("anthropic", lambda url: AnthropicProvider(ProviderConfig(api_key=CANARY, base_url=url, **PLAIN)), 0),
    named(
        "a header at anthropic",
        lambda url: AnthropicProvider(
            ProviderConfig(api_key="none", headers={"Proxy-Auth-Token": CANARY}, base_url=url, **PLAIN)
        ),
        0,
    ),
    named("chat", lambda url: OpenAIProvider(ProviderConfig(api_key=CANARY, base_url=url, wire="chat", **PLAIN)), 1),
    named("responses", lambda url: OpenAIProvider(ProviderConfig(api_key=CANARY, base_url=url, **PLAIN)), 2),
    named(
        "a key that is fetched",
        lambda url: OpenAIProvider(ProviderConfig(api_key=lambda: CANARY, base_url=url, wire="chat", **PLAIN)),
        1,
    ),
    named("azure", lambda url: OpenAIProvider(ProviderConfig(api_key=CANARY, base_url=url, **PLAIN), "azure"), 2),
    named(
        "a header at openai",
        lambda url: OpenAIProvider(
            ProviderConfig(headers={"Authorization": f"Bearer {CANARY}"}, base_url=url, wire="chat", **PLAIN)
        ),
        1,
    ),
    named(
        "a password in the URL",
        lambda url: OpenAIProvider(
            ProviderConfig(api_key="none", base_url=with_user(url), wire="chat", **PLAIN), "openai-compatible"
        ),
        1,
    ),
]


def of_provider(provider: BaseProvider) -> list[str]:
    """What can be printed of a provider, its config and its transport."""
    held: dict[str, Any] = vars(provider)
    return [repr(provider), repr(held), *(repr(vars(value)) for value in held.values() if hasattr(value, "__dict__"))]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("make", "wire"), PROVIDERS)
async def test_the_canary_is_nowhere(make: Callable[[str], BaseProvider], wire: ThreeWire) -> None:
    """In no error with all that hangs on it, no traceback with its locals, no log record, no warning, no repr."""
    good = ServerReply(wire.answer("Hello there"), headers={"content-type": "text/event-stream", **HEADER})
    with listening() as texts:
        async with Emulator(good, *failures(wire), good) as emulator, make(emulator.url) as provider:
            assert isinstance((await read(provider))[-1], StopChunk)
            for number, reply in enumerate(failures(wire)):
                hangs = Hang() in (*reply.before, *reply.body)
                error = await failure(provider, options=QUICK if hangs else None)
                leaks = [text for text in shown(error) if everywhere(text)]
                assert not leaks, (number, leaks)
            assert isinstance((await read(provider))[-1], StopChunk)
            texts += of_provider(provider)
            assert CANARY in unquoted(emulator)
    assert len(texts) > 100
    assert not [text for text in texts if everywhere(text)]


async def test_debug_mode_shows_no_canary() -> None:
    """In which asyncio tells of each step that takes long: here of all."""
    wire = WIRES[0]
    with suppress(RuntimeError):  # trio has no such mode
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0
    with listening() as texts:
        async with Emulator(*failures(wire)[:3]) as emulator, wire.provider(emulator.url, api_key=CANARY) as provider:
            for _ in range(3):
                texts += shown(await failure(provider))
    assert not [text for text in texts if everywhere(text)]


def unquoted(emulator: Emulator) -> str:
    """What arrived: without the key in it, the test would say nothing."""
    sent = "".join(value for request in emulator.requests for value in request.headers.values())
    return sent + "".join(
        base64.b64decode(request.headers["authorization"].removeprefix("Basic ") + "==").decode("latin-1")
        for request in emulator.requests
        if request.headers.get("authorization", "").startswith("Basic ")
    )


async def leave_by_a_timeout(provider: BaseProvider, options: Options, waits: Callable[[], object]) -> None:
    with anyio.fail_after(PATIENCE) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(read, provider, None, options)
            await until(waits)
            scope.deadline = anyio.current_time()
            await anyio.sleep_forever()


async def leave_inside_a_group(provider: BaseProvider, options: Options, waits: Callable[[], object]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(read, provider, None, options)
        await until(waits)
        raise LookupError("the loop's own")


@pytest.mark.parametrize("leave", [leave_by_a_timeout, leave_inside_a_group])
@pytest.mark.parametrize(
    "hang", [ServerReply(before=[Hang()]), ServerReply([Hang()])], ids=["before headers", "after headers"]
)
@pytest.mark.parametrize(("make", "wire"), PROVIDERS)
async def test_a_cancelled_call_shows_no_canary(
    make: Callable[[str], BaseProvider], wire: ThreeWire, hang: ServerReply, leave: Callable[..., Any]
) -> None:
    """What the caller's own timeout is raised from ends at our border too."""
    with listening() as texts:
        async with Emulator(hang) as emulator, make(emulator.url) as provider:
            heads: list[ResponseHead] = []
            with pytest.raises((TimeoutError, ExceptionGroup)) as raised:
                await leave(provider, Options(on_head=heads.append), lambda: heads if hang.body else emulator.requests)
            texts += shown(raised.value)
    assert not [text for text in texts if everywhere(text)]


async def test_a_call_that_is_cancelled_as_it_fails_shows_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure hangs on what cancelled it."""
    scope, plain_post = anyio.CancelScope(), Transport._post

    async def post(*arguments: Any) -> object:
        try:
            return await plain_post(*arguments)
        except Exception:  # as the HTTP client while it closes
            scope.cancel()
            await anyio.sleep_forever()
            raise

    monkeypatch.setattr(Transport, "_post", post)
    junk = ServerReply([f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode()], raw=True)
    async with Emulator(junk) as emulator, WIRES[0].provider(emulator.url, api_key=CANARY) as provider:
        with scope, pytest.raises(anyio.get_cancelled_exc_class()) as raised:
            await read(provider)
    cause = caused_by(raised.value, httpx2.HTTPError)
    assert cause is not None
    assert not everywhere(f"{cause} {cause.__cause__!r}")


async def test_a_call_that_is_cancelled_as_its_key_is_renewed_shows_no_canary() -> None:
    """The refusal hangs on what cancelled it, and on that the frames that sent the key."""
    scope, keys = anyio.CancelScope(), iter([CANARY])

    async def key() -> str:
        if (found := next(keys, None)) is None:
            scope.cancel()
            await anyio.sleep_forever()
        return str(found)

    refused = WIRES[0].error(401, f"{CANARY} is no good")
    async with Emulator(refused) as emulator, WIRES[0].provider(emulator.url, api_key=key) as provider:
        with scope, pytest.raises(anyio.get_cancelled_exc_class()) as raised:
            await read(provider)
    below = [one for one in (raised.value.__cause__, raised.value.__context__) if one is not None]
    assert below
    assert not [text for one in below for text in shown(one) if everywhere(text)]


@pytest.mark.parametrize(("make", "wire"), PROVIDERS)
async def test_no_middleware_shows_the_canary(make: Callable[[str], BaseProvider], wire: ThreeWire) -> None:
    """They hand errors on, hang them on each other, and tell listeners of them."""
    told: list[object] = []
    bad = wire.error(529, f"{CANARY} is no good", headers=HEADER)
    with listening() as texts:
        async with Emulator(lambda request: bad) as emulator:
            inner = [CircuitBreaker(RateLimit(Concurrency(make(emulator.url), 2))) for _ in range(2)]
            retries = [Retry(one, attempts=2, base=0.001, listener=told.append) for one in inner]
            async with Observe(Fallback(*retries, listener=told.append), told.append) as provider:
                texts += shown(await failure(provider))
                texts += [repr(vars(one)) for one in (*inner, *retries, provider)]
    assert len(told) > 4
    assert not [text for text in (*texts, *map(repr, told)) if everywhere(text)]


MISTAKES: list[Any] = [
    pytest.param({"headers": {"x-token": f"{CANARY}\n"}}, {}, id="a header that cannot be sent"),
    pytest.param({"headers": {"authorization": f"Bearer {CANARY}é"}}, {}, id="a header that is not ASCII"),
    pytest.param({"api_key": f"{CANARY}\r"}, {}, id="a key that cannot be sent"),
    pytest.param({"api_key": lambda: f"{CANARY}\r"}, {}, id="a fetched key that cannot be sent"),
    pytest.param({"base_url": f"http://me:{CANARY}@127.0.0.1:9"}, {}, id="a password with characters of its own"),
    pytest.param({"base_url": "http://127.0.0.1:9"}, {}, id="nobody there"),
    pytest.param({}, {"ALL_PROXY": f"junk://me:{quote(CANARY, safe='')}@127.0.0.1:9"}, id="a proxy of no known kind"),
    pytest.param({}, {"ALL_PROXY": f"http://me:{quote(CANARY, safe='')}@127.0.0.1:9"}, id="a proxy that is not there"),
    pytest.param({}, {"SSL_CERT_FILE": "/nowhere.pem"}, id="a client that cannot be made"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [AnthropicProvider, lambda config: OpenAIProvider(config, "azure")], ids=["a", "o"])
@pytest.mark.parametrize(("config", "environment"), MISTAKES)
async def test_no_mistake_shows_the_canary(
    make: Callable[[ProviderConfig], BaseProvider],
    config: dict[str, Any],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither when a client is made nor when it is used."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = {"api_key": CANARY, "base_url": "http://model.invalid", **PLAIN, **config}
    with listening() as texts:
        async with make(ProviderConfig(**settings)) as provider:
            texts += shown(await failure(provider))
            texts += of_provider(provider)
    assert not [text for text in texts if everywhere(text)]


def test_no_config_shows_the_canary() -> None:
    """Nor what is said of a wrong one."""
    config = ProviderConfig(model_id="m", api_key=CANARY, base_url=f"http://me:{CANARY}@h/", headers={"a": CANARY})
    texts = [repr(config), str(config), repr(config.__rich_repr__())]
    with pytest.raises(ConfigError) as raised:
        ProviderConfig(model_id="m", base_url=f"ftp://me:{CANARY}@host/")
    with pytest.raises(ConfigError) as wrong_wire:
        OpenAIProvider(msgspec.structs.replace(config, wire="chatty"))
    assert not [text for text in (*texts, str(raised.value), *shown(wrong_wire.value)) if everywhere(text)]


def test_what_holds_keys_shows_and_saves_none() -> None:
    """It stands in frames, and so in the tracebacks of others."""
    secrets = Secrets([CANARY])
    assert not everywhere(repr(secrets))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secrets)


async def test_a_mistake_in_a_message_keeps_its_traceback() -> None:
    """Nothing has been sent then: who looks for a bug of his own needs the place."""
    async with AnthropicProvider(ProviderConfig(model_id="m", api_key=CANARY)) as provider:
        with pytest.raises(InvalidRequestError) as raised:
            await anext(provider.create_message("", [Message("user", 5)], Options()))  # type: ignore[arg-type]
    texts = shown(raised.value)
    assert any("in _prepare" in text for text in texts)
    assert not [text for text in texts if everywhere(text)]


async def test_what_the_caller_is_handling_stays_the_callers() -> None:
    """Its traceback is not ours to cut, though our error is raised in its context."""
    async with AnthropicProvider(
        ProviderConfig(model_id="m", api_key=CANARY, base_url="http://127.0.0.1:9")
    ) as provider:
        try:
            raise LookupError("the loop's own")
        except LookupError as handled:
            error, own = await failure(provider), handled
    assert own.__traceback__ is not None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


@pytest.mark.parametrize("variable", ["ALL_PROXY", None])
async def test_a_password_may_have_any_characters(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An URL can carry them escaped: it is no key that a header cannot carry."""
    url = "http://me:p%C3%A4ss%20word@127.0.0.1:9"
    if variable:
        monkeypatch.setenv(variable, url)
    config = ProviderConfig(model_id="m", api_key="none", base_url="http://model.invalid" if variable else url)
    async with OpenAIProvider(config, "openai-compatible") as provider:
        assert type(await failure(provider)) is NetworkError


@pytest.mark.httpx2_only("it is about what that logs")
async def test_ordinary_words_stay(caplog: pytest.LogCaptureFixture) -> None:
    """A key of few characters is none, and what the libraries log stays as it is without one."""
    with caplog.at_level(logging.DEBUG):
        async with AnthropicProvider(
            ProviderConfig(model_id="m", api_key="none", base_url="http://127.0.0.1:9")
        ) as provider:
            error = await failure(provider)
    assert isinstance(error, NetworkError)
    assert "***" not in caplog.text
    assert "connect_tcp.started" in caplog.text
