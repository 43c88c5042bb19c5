"""Models that a cloud serves, over real sockets with the SDK's client: what goes out and comes back, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pytest

from clouds import CASES, IDENTITY, KEY, TOKEN, Case, carried, each_case
from patience import PATIENCE
from penstock import (
    AnthropicProvider,
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    Message,
    NetworkError,
    Options,
    PermissionDeniedError,
    Platform,
    ProviderConfig,
    ProviderError,
    RateLimitError,
    ServerError,
    Tool,
)
from penstock.testing import Emulator, Hang, ServerReply, Step, anthropic_count, openai_count
from penstock.testing.answers import answer
from penstock.wire.platforms import PLATFORMS, find_platform
from reading import calls_of, text_of, usage_of
from three_wires import ASK, failure, read

pytestmark = pytest.mark.anyio

SIGNED: Final = [
    pytest.param(case, id=name)
    for name, case in CASES.items()
    if find_platform(case.platform, case.provider).extra == "bedrock"
]
KEYED: Final = [
    pytest.param(case, id=name)
    for name, case in CASES.items()
    if find_platform(case.platform, case.provider).key_variables
]
WEATHER: Final = Options(max_tokens=100, tools=[Tool(name="weather", parameters={"type": "object", "properties": {}})])


def test_every_row_is_tested() -> None:
    """A new platform belongs among the cases."""
    assert set(PLATFORMS) == {(case.platform.name, case.provider) for case in CASES.values()}


@each_case
@pytest.mark.parametrize("given", [KEY, TOKEN, lambda: TOKEN], ids=["a key", "a token", "a function for a token"])
async def test_text_tools_and_usage(case: Case, given: Any) -> None:
    """The body is the vendor's own but for the model, and the key stands in one header alone, a token always as one."""
    reply = ServerReply(answer(case.wire, "Sunny.", [("weather", "{}")]))
    async with Emulator(reply) as emulator, case.provider_at(emulator.url, api_key=given) as provider:
        chunks = await read(provider, options=WEATHER)
        request = emulator.exchanges[0].request
    assert (text_of(chunks), [call.name for call in calls_of(chunks)]) == ("Sunny.", ["weather"])
    assert (usage_of(chunks).input_tokens, usage_of(chunks).output_tokens) == (10, 10)
    bearer = given is not KEY or case.key == "authorization"
    key = KEY if given is KEY else TOKEN
    assert carried(request) == ({"authorization": f"Bearer {key}"} if bearer else {case.key: key})
    assert request.path == case.path
    assert case.also.items() <= request.headers.items()
    body = msgspec.json.decode(request.body)
    if "model-x" in case.path:
        assert ("model" in body, body["anthropic_version"]) == (False, "2026-10-21")
        assert "anthropic-version" not in request.headers
    else:
        assert body["model"] == "model-x"


@pytest.mark.parametrize("case", SIGNED)
async def test_a_signature_is_over_what_was_sent(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS would: made again from the path, the headers and the body that arrived, it is the same."""
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    async with Emulator(ServerReply(answer(case.wire, "Hello"))) as emulator:
        async with case.provider_at(emulator.url) as provider:
            await read(provider, options=WEATHER)
        request = emulator.exchanges[0].request
    assert request.headers["x-amz-security-token"] == IDENTITY["AWS_SESSION_TOKEN"]
    said = request.headers["authorization"]
    assert set(carried(request)) == {"authorization"}
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "content-type", "content-length"} <= set(names)
    again = AWSRequest(request.method, f"{emulator.url}{request.path}", {name: request.headers[name] for name in names})
    again.data = request.body
    again.context["timestamp"] = request.headers["x-amz-date"]
    service = find_platform(case.platform, case.provider).audience
    signer = auth.SigV4Auth(Credentials(*IDENTITY.values()), service, case.platform.region)
    canonical = signer.canonical_request(again)
    assert said.endswith(f"Signature={signer.signature(signer.string_to_sign(again, canonical), again)}")
    again.data = request.body + b" "
    changed = signer.canonical_request(again)
    assert not said.endswith(signer.signature(signer.string_to_sign(again, changed), again))


async def test_a_signature_waits_for_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a loop may all be busy, as with tools that hang."""
    pytest.importorskip("botocore.auth")
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    case = CASES["Bedrock"]
    threads = anyio.to_thread.current_default_thread_limiter()
    monkeypatch.setattr(threads, "total_tokens", 1)
    reply = ServerReply(answer(case.wire, "Hello"))
    async with Emulator(lambda request: reply) as emulator, case.provider_at(emulator.url) as provider:
        await read(provider)  # which opens the connection: to look up a name takes a thread too
        async with threads:
            with anyio.fail_after(PATIENCE):
                assert text_of(await read(provider)) == "Hello"


AWS_FORM: Final[Callable[[str], Any]] = lambda said: {"message": said}  # noqa: E731 - a row of the table
GOOGLE_FORM: Final[Callable[[str], Any]] = lambda said: [{"error": {"code": 1, "message": said, "status": "WORD"}}]  # noqa: E731
AZURE_FORM: Final[Callable[[str], Any]] = lambda said: {"error": {"code": "word", "message": said}}  # noqa: E731
FORMS: Final = {
    "Foundry": AZURE_FORM,
    "Bedrock": AWS_FORM,
    "Claude on Vertex": GOOGLE_FORM,
    "Azure's deployments": AZURE_FORM,
    "GPT on Bedrock": AWS_FORM,
    "Gemini on Vertex": GOOGLE_FORM,
}


REFUSED: Final[dict[int, type[ProviderError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    429: RateLimitError,
    500: ServerError,
}


@pytest.mark.parametrize("name", FORMS)
async def test_errors_in_a_platforms_form(name: str) -> None:
    """By status, with the platform's words, and without the token that it was asked with."""
    case = CASES[name]
    body = msgspec.json.encode(FORMS[name](f"no luck with {TOKEN} today"))
    replies = [ServerReply([body], status, {"content-type": "application/json"}) for status in REFUSED]
    async with Emulator(*replies) as emulator, case.provider_at(emulator.url, api_key=lambda: TOKEN) as provider:
        errors = [await failure(provider) for _ in REFUSED]
    assert [type(error) for error in errors] == [*REFUSED.values()]
    for error in errors:
        assert "no luck with *** today" in str(error)
        assert TOKEN not in repr(vars(error))


@each_case
async def test_cancelling_hangs_up(case: Case) -> None:
    """Nothing of it goes on."""
    begun: list[Step] = [*answer(case.wire, "Hello")[:-3], Hang()]
    async with Emulator(ServerReply(begun)) as emulator, case.provider_at(emulator.url, api_key=KEY) as provider:
        async with provider.stream("", ASK) as stream:
            async for _ in stream:
                break
        with anyio.fail_after(PATIENCE):
            await emulator.exchanges[0].hung_up.wait()


@pytest.mark.parametrize("case", KEYED)
async def test_a_key_of_the_environment_counts_before_the_identity(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform knows one."""
    monkeypatch.setenv(find_platform(case.platform, case.provider).key_variables[0], KEY)
    async with Emulator(ServerReply(answer(case.wire, "Hello"))) as emulator:
        async with case.provider_at(emulator.url) as provider:
            await read(provider)
        assert carried(emulator.exchanges[0].request)[case.key].endswith(KEY)


@pytest.mark.parametrize(
    ("name", "tokens", "path"),
    [
        pytest.param("Foundry", 7, "/v1/messages/count_tokens", id="where it counts"),
        pytest.param(
            "Claude on Vertex",
            7,
            "/projects/my-project/locations/us-east5/publishers/anthropic/models/count-tokens:rawPredict",
            id="where that has a path of its own",
        ),
        pytest.param("Bedrock", None, "/v1/messages/count_tokens", id="where it does not yet"),
        pytest.param("GPT on Bedrock", 7, "/responses/input_tokens", id="of another vendor"),
        pytest.param("Azure", None, None, id="where nobody says that it does"),
    ],
)
async def test_counting(name: str, tokens: int | None, path: str | None) -> None:
    """The platform's own count, else an estimate."""
    case = CASES[name]
    count = anthropic_count(tokens or 0) if case.wire == "messages" else openai_count(tokens or 0)
    reply = ServerReply(status=404) if tokens is None else count
    async with Emulator(reply) as emulator, case.provider_at(emulator.url, api_key=KEY) as provider:
        counted = await provider.count_tokens("Be brief.", [Message("user", "Hi")])
        assert [exchange.request.path for exchange in emulator.exchanges] == ([] if path is None else [path])
        if name == "Claude on Vertex":
            body = msgspec.json.decode(emulator.exchanges[0].request.body)
            assert (body["model"], body["anthropic_version"]) == ("model-x", "2026-10-21")
    assert (counted.exact, counted.tokens > 0) == (tokens is not None, True)


async def test_a_model_stays_in_its_part_of_the_path() -> None:
    """Whatever its id holds."""
    case = CASES["Claude on Vertex"]
    async with Emulator(ServerReply(answer("messages", "Hello"))) as emulator:
        async with case.provider_at(emulator.url, model_id="a/../b?c;d@1:2", api_key=KEY) as provider:
            await read(provider)
        assert emulator.exchanges[0].request.path.endswith("/models/a%2F..%2Fb%3Fc%3Bd@1:2:streamRawPredict")


async def test_a_profile_that_is_named_counts_before_a_key_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in the SDKs."""
    pytest.importorskip("botocore")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
    case = CASES["Bedrock"]
    platform = msgspec.structs.replace(case.platform, profile="work")
    async with Emulator(ServerReply(answer("messages", "Hello"))) as emulator:
        async with case.provider_at(emulator.url, platform=platform) as provider:
            await read(provider)
        assert "Credential=AKIAWORK/" in carried(emulator.exchanges[0].request)["authorization"]


async def test_an_http_client_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends what is signed, and is left as it was."""
    pytest.importorskip("botocore")
    import httpx2

    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    case = CASES["Bedrock"]
    reply = ServerReply(answer("messages", "Hello"))
    async with Emulator(then=reply) as emulator, httpx2.AsyncClient() as client:
        for _ in range(2):
            config = ProviderConfig(model_id="m", platform=case.platform, base_url=emulator.url)
            await read(AnthropicProvider(config, client=client))
        sent = [carried(exchange.request) for exchange in emulator.exchanges]
        assert client.event_hooks == {"request": [], "response": []}
    assert [list(one) for one in sent] == [["authorization"], ["authorization"]]


def test_an_sdks_client_of_ones_own_knows_its_platform_itself() -> None:
    """It has an address and a key."""
    import anthropic

    config = ProviderConfig(model_id="m", platform=CASES["Bedrock"].platform)
    with pytest.raises(ConfigError, match="leave out `platform`"):
        AnthropicProvider(config, client=anthropic.AsyncAnthropic(api_key=KEY))


async def test_a_region_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is named that nobody knows."""
    import socket

    def unknown(*_args: object, **_more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    platform = Platform(name="bedrock", region="xx-nowhere-9")
    async with AnthropicProvider(ProviderConfig(model_id="m", platform=platform, api_key=KEY)) as provider:
        error = await failure(provider)
    assert type(error) is NetworkError
    assert "https://bedrock-mantle.xx-nowhere-9.api.aws" in str(error)
