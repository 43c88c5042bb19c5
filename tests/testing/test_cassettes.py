"""A project of its own, made in an empty folder: it records from an emulator as if it were the API, and replays."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from penstock import ConfigError
from penstock.testing import DemoModel, Emulator, Request, ServerReply, openai_error, scrubbed_cassettes
from penstock.testing.cassettes import _differences
from plugin import project, run_project

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("all_imported")

KEY = "sk-ant-api03-canary-0123456789"
WRONG = "sk-ant-api03-wrong-0123456789"
SECRETS = (KEY, WRONG, "acme-laboratories", "req_011CV0123456789", "0123456789abcdef0123")

CONFTEST = """
from penstock.testing import scrubbed_cassettes

vcr_config = scrubbed_cassettes()
"""
# With the conftest, ten lines.
HELLO = """
import pytest
from penstock import Message, collect, open_provider

@pytest.mark.vcr
async def test_says_hello():
    async with open_provider("anthropic/claude-haiku-5-5") as provider:
        assert "emulator" in (await collect(provider.create_message("", [Message("user", "Hello")]))).text
"""
ASKED = """
import os
import pytest
from penstock import *

async def ask(text="Hello", key=None, wire="messages", system=""):
    config = ProviderConfig(model_id="m", api_key=key or os.environ["ANTHROPIC_API_KEY"], wire=wire)
    make = AnthropicProvider if wire == "messages" else OpenAIProvider
    async with make(config) as provider:
        return (await collect(provider.create_message(system, [Message("user", text)]))).text
"""


class Api:
    """What the emulator says as the API: the demo, with what an API has in its headers; and it knows one key."""

    def __init__(self) -> None:
        self._demo = DemoModel()

    def __call__(self, request: Request) -> ServerReply:
        """Echoes the credential in its body, compressed."""
        given = request.headers["authorization"]
        if WRONG in given:
            return openai_error(401, f"wrong key: {given}", kind="x", code="invalid_api_key")
        reply = self._demo(request)
        body = (
            b"".join(step for step in reply.body if isinstance(step, bytes)) + f": {given} {SECRETS[2:]}\n\n".encode()
        )
        headers = {
            **reply.headers,
            "content-encoding": "gzip",
            "openai-organization": SECRETS[2],
            "request-id": SECRETS[3],
            "set-cookie": f"__cf_bm={SECRETS[4]}; path=/",
        }
        return ServerReply([gzip.compress(body)], 200, headers, whole=True)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """The API, where the SDKs' variables say, and its key; calling it ends both."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        emulator = stack.enter_context(portal.wrap_async_context_manager(Emulator(Api())))
        monkeypatch.setenv("ANTHROPIC_BASE_URL", emulator.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{emulator.url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

        def end() -> None:
            stack.close()
            monkeypatch.setenv("ANTHROPIC_API_KEY", "none")

        yield end


def record(pytester: pytest.Pytester, test: str, *arguments: str, conftest: str = CONFTEST) -> pytest.RunResult:
    project(pytester, test, conftest=conftest, ini="anyio_mode = auto")
    return run_project(pytester, "--record-mode=once", "-k", "asyncio", *arguments)


def replay(pytester: pytest.Pytester, only: str = "asyncio") -> pytest.RunResult:
    return run_project(pytester, "--block-network", "-k", only)


def cassettes(pytester: pytest.Pytester) -> str:
    return "".join(path.read_text() for path in sorted(Path(pytester.path).rglob("*.yaml")))


def test_ten_lines_record_and_replay(pytester: pytest.Pytester, api: Callable[[], None]) -> None:
    """With the network blocked, the API gone, and no key."""
    assert len([line for line in (CONFTEST + HELLO).splitlines() if line]) <= 10
    record(pytester, HELLO).assert_outcomes(passed=1, deselected=1)
    written = cassettes(pytester)
    assert not [secret for secret in SECRETS if secret in written]
    assert "Bearer key-1" in written
    assert "message_start" in written  # what was compressed can be read
    api()
    replay(pytester).assert_outcomes(passed=1, deselected=1)


def test_every_wire_and_every_key(pytester: pytest.Pytester, api: Callable[[], None]) -> None:
    """A wrong second key keeps its own answer, and is not that of the right one."""
    test = (
        ASKED
        + f"""
WIRES = ("messages", "chat", "responses")
on_each_wire = pytest.mark.parametrize(
    "wire", [pytest.param(wire, marks=pytest.mark.default_cassette(wire + ".yaml")) for wire in WIRES]
)

@pytest.mark.vcr
@on_each_wire
async def test_asks(wire, second="{WRONG}"):
    assert "You said: Hello" in await ask(wire=wire)
    with pytest.raises(AuthenticationError):
        await ask(wire=wire, key=second)
    assert "You said: Hello" in await ask(wire=wire)

@pytest.mark.vcr
@on_each_wire
async def test_confuses(wire):
    await test_asks(wire, "none")  # which is the first one at replay
"""
    )
    record(pytester, test, "-k", "asks and asyncio").assert_outcomes(passed=3, deselected=9)
    written = cassettes(pytester)
    assert not [secret for secret in SECRETS if secret in written]
    assert written.count("content-encoding:\n      - gzip") == 6
    api()
    replay(pytester).assert_outcomes(passed=3, failed=3, deselected=6)


# One cassette, of the first test, and what others do with it. All of their requests are in it, but for what is said.
STORY = (
    ASKED
    + """
from contextlib import suppress

async def story(of="water", more=("Hello",), key=None):
    await ask(f"Tell me a story about {of}")
    for text in more:
        await ask(text, key=key)

pytestmark = [pytest.mark.vcr, pytest.mark.default_cassette("story.yaml")]

async def test_the_same():
    await story()

async def test_other_words():
    await story(of="wind")

async def test_other_words_that_are_no_matter():
    with suppress(ProviderError):
        await story(of="wind")

async def test_another_key():
    await story(key="another")

async def test_fewer_requests():
    await story(more=())

@pytest.mark.penstock_partly_played
async def test_fewer_requests_on_purpose():
    await story(more=())

async def test_that_is_skipped():
    pytest.skip("not today")

async def test_that_fails():
    assert not "today"

@pytest.mark.default_cassette("new.yaml")
async def test_that_is_new():
    await story()
"""
)
SAID = [
    "*ERROR at teardown of test_other_words?asyncio?*",
    "$.messages?0?.content?0?.text was '…l me a story about water', is '…l me a story about wind': this is not *",
    "*ERROR at teardown of test_other_words_that_are_no_matter*",
    "*is '…l me a story about wind'*",
    "*ERROR at teardown of test_another_key*",
    "the credential was 'key-1', is 'key-2': this is not request 2*",
    "*ERROR at teardown of test_fewer_requests?asyncio?*",
    "request 2 of *.yaml was not sent. Record again with --record-mode=rewrite, or mark the test *_partly_played",
    "*ERROR at teardown of test_that_is_new*",
    "*nothing is recorded in *new.yaml: run pytest with --record-mode=once and a key*",
]


def test_what_is_not_as_it_was_recorded_fails(pytester: pytest.Pytester, api: Callable[[], None]) -> None:
    """In one line that says what differs, also where the test itself does not mind.

    A test may leave some of its cassette if it says so; one that fails or is skipped is not asked why.
    """
    record(pytester, STORY, "-k", "the_same and asyncio").assert_outcomes(passed=1, deselected=17)
    api()
    result = replay(pytester)
    result.assert_outcomes(passed=4, skipped=1, failed=4, errors=5, deselected=9)
    result.stdout.fnmatch_lines(SAID)


DAMAGED = {"empty": b"", "no_yaml": b"{[", "old": b"- request: {}", "no_utf8": b"\xff"}


def test_a_damaged_cassette_is_named(pytester: pytest.Pytester) -> None:
    """In one line, whatever is wrong with it."""
    marks = "@pytest.mark.vcr\n@pytest.mark.default_cassette('{0}.yaml')\ndef test_{0}(): ...\n"
    test = "".join(["import pytest\n", *map(marks.format, DAMAGED)])
    project(pytester, test, conftest=CONFTEST)
    folder = Path(pytester.path, "cassettes", next(Path(pytester.path).glob("test_*.py")).stem)
    folder.mkdir(parents=True)
    for name, text in DAMAGED.items():
        (folder / f"{name}.yaml").write_bytes(text)
    result = run_project(pytester, "--block-network")
    result.assert_outcomes(errors=len(DAMAGED))
    result.stdout.fnmatch_lines(
        [f"test_*/{name}.yaml cannot be read: *. Record again with --record-mode=rewrite" for name in DAMAGED]
    )


def test_a_recording_with_a_key_in_it_is_not_written(pytester: pytest.Pytester, api: Callable[[], None]) -> None:
    """The test fails and says where it is, not what; the next test is recorded all the same; `secrets` helps.

    pytest makes names of parameters, and files of names.
    """
    test = (
        ASKED
        + f"""
@pytest.mark.vcr
@pytest.mark.parametrize("key", ["sk-somebody-elses-0123456789", "none", "{KEY}"], ids=["one", "two", None])
async def test_asks(key):
    await ask(system=f"Is {{key}} a good key?")
"""
    )
    result = record(pytester, test)
    result.assert_outcomes(passed=3, errors=2, deselected=3)
    where = "$.system?0?.text of the request of exchange 1"
    result.stdout.fnmatch_lines(
        [
            f"there is what looks like a key of * in {where}, so *yaml is not written*",
            "there is a secret that this process knows in the name of the file, so *",
        ]
    )
    assert len(list(Path(pytester.path).rglob("*.yaml"))) == 1
    hidden = CONFTEST.replace("()", "(secrets=['sk-somebody-elses-0123456789'], hide_hosts=True)")
    only = "asyncio and (one or two)"
    record(pytester, test, "-k", only, conftest=hidden).assert_outcomes(passed=2, deselected=4)
    assert "secret-1" in cassettes(pytester)
    assert "http://host-1.invalid/v1/messages" in cassettes(pytester)
    api()
    replay(pytester, only).assert_outcomes(passed=2, deselected=4)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["$.a was '1', is '2'"]),
        ({"a": 1}, {"a": True}, ["$.a was '1', is 'true'"]),
        ({"a": [1]}, {"a": [1, {"b": 2}]}, ["$.a[1] was not there, is '{\"b\":2}'"]),
        ({"a": 1}, {"c": 1}, ["$.a was '1', is not there", "$.c was not there, is '1'"]),
        ({"a": "x" * 99 + "y"}, {"a": "x" * 99 + "z" * 99}, [f"$.a was '…{'x' * 20}y', is '…{'x' * 20}{'z' * 40}…'"]),
    ],
    ids=["nothing", "a number", "a kind", "a new element", "fields", "the end of a long text"],
)  # fmt: skip
def test_differences_are_short_and_have_a_place(before: object, now: object, said: list[str]) -> None:
    """Field by field."""
    assert list(_differences("$", before, now)) == said


@pytest.mark.parametrize("secrets", ["a-long-password", ["short"]])
def test_secrets_that_cannot_be_found_are_refused(secrets: list[str]) -> None:
    """A text in place of a list, and what would be found in other words."""
    with pytest.raises(ConfigError, match="takes a list of texts of 8 characters or more"):
        scrubbed_cassettes(secrets=secrets)


def test_without_pytest_recording_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every test would ask the real API and nobody would know."""
    monkeypatch.setattr("penstock.testing.cassettes.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'penstock\[recording\]'"):
        scrubbed_cassettes()
