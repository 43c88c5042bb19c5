"""The fixtures for users, as pytest runs them in a project of theirs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from penstock.testing import FAULTS

pytest_plugins = ["pytester"]

# Where the package is installed pytest has found the plugin by itself, and does not take it twice.
PLUGIN = "penstock.testing.pytest_plugin"
INSTALLED = any(found.value == PLUGIN for found in entry_points(group="pytest11", name="penstock"))
LOAD = [] if INSTALLED else ["-p", PLUGIN]

LOOP = '''
import anyio
import pytest

from penstock import Message, ProviderError, collect
from penstock.middleware import Retry


async def my_loop(provider):
    """Ask, and say what went wrong instead of an answer."""
    try:
        return (await collect(provider.create_message("Be brief.", [Message("user", "Hello!")]))).text
    except ProviderError as error:
        return type(error).__name__


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
'''


def run(pytester: pytest.Pytester, test: str, *arguments: str, ini: str = "") -> pytest.RunResult:
    """The project's tests, with warnings as errors.

    In a process of its own: pytester forgets what is imported meanwhile, and no SDK is made to be imported twice.
    """
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
    pytester.makepyfile(LOOP + test)
    return pytester.runpytest_subprocess(*LOAD, "--strict-markers", *arguments)


def test_a_loop_runs_against_every_fault(pytester: pytest.Pytester) -> None:
    """Once for each, on Anthropic's wire, and each outcome is what the fixture expects."""
    result = run(
        pytester,
        """
# See the README, "Resources".
@pytest.mark.filterwarnings("ignore:Async generator '(httpcore2|httpx2):ResourceWarning")
async def test_my_loop(penstock_fault):
    async with penstock_fault.provider as provider:
        said = await my_loop(provider)
    expected = penstock_fault.expected
    assert said == (expected.text if expected.error is None else expected.error.__name__)
    assert penstock_fault.wire == "messages"

pytestmark = pytest.mark.anyio
""",
        "-k",
        "asyncio or silence",
    )
    count = sum("messages" in fault.wires for fault in FAULTS.values())
    silent = sum("messages" in fault.wires for fault in FAULTS.values() if "silence" in fault.name)
    result.assert_outcomes(passed=count + silent, deselected=count - silent)


def test_the_marker_chooses_faults_and_wires(pytester: pytest.Pytester) -> None:
    """A test may have an event loop of its own; and a loop that tries again gets its answer."""
    result = run(
        pytester,
        """
@pytest.mark.penstock_faults("500 once", "a response that failed", "529 always", wires=("chat", "responses"))
def test_my_loop(penstock_fault):
    async def main():
        async with Retry(penstock_fault.provider, attempts=2, base=0.01) as provider:
            return await my_loop(provider)

    always = penstock_fault.name == "529 always"
    shown = penstock_fault.expected.text != ""  # what has been shown is not asked for again
    expected = "OverloadedError" if always else "ServerError" if shown else "Hello there, world!"
    assert anyio.run(main) == expected
    assert len(penstock_fault.emulator.requests) == (1 if shown else 2)
    assert repr(penstock_fault.name) in repr(penstock_fault)
    assert penstock_fault.url == penstock_fault.emulator.url + "/v1"
""",
        "-v",
    )
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*test_my_loop?500 once, chat?*", "*test_my_loop?a response that failed, responses?*"])


def test_the_wires_can_stand_in_the_ini_file(pytester: pytest.Pytester) -> None:
    """For all tests of a project."""
    test = """
@pytest.mark.penstock_faults("401")
def test_url(penstock_fault):
    assert penstock_fault.wire in ("chat", "responses")
"""
    run(pytester, test, ini="penstock_wires = chat responses").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        pytest.param(
            '"402 once"', "*no fault and no wire '402 once'; did you mean '500 once'?*", id="an unknown fault"
        ),
        pytest.param('wires="chats"', "*no fault and no wire 'chats'; did you mean 'chat'?*", id="an unknown wire"),
        pytest.param('wire="chat"', "*knows `wires`, not wire*", id="an unknown keyword"),
    ],
)
def test_a_word_that_is_none_is_refused_by_name(pytester: pytest.Pytester, marker: str, said: str) -> None:
    """With the nearest one."""
    test = f"@pytest.mark.penstock_faults({marker})\ndef test_it(penstock_fault): ...\n"
    result = run(pytester, test)
    assert result.ret != 0
    result.stdout.fnmatch_lines([said])


def test_an_emulator_with_replies_of_ones_own(pytester: pytest.Pytester) -> None:
    """As many as are wanted; they are gone with the test."""
    result = run(
        pytester,
        """
from penstock import AnthropicProvider, ProviderConfig
from penstock.testing import ServerReply, anthropic_error, anthropic_message

HI = ServerReply(anthropic_message({"type": "text", "text": "Hi"}))

def test_two(penstock_emulator):
    async def main(emulator):
        config = ProviderConfig(model_id="m", api_key="k", base_url=emulator.url)
        async with AnthropicProvider(config) as provider:
            return [await my_loop(provider) for _ in range(2)]

    error = anthropic_error(401, "authentication_error", "no")
    emulators = [penstock_emulator(HI, then=error), penstock_emulator(error, HI)]
    said = [anyio.run(main, emulator) for emulator in emulators]
    assert said == [["Hi", "AuthenticationError"], ["AuthenticationError", "Hi"]]
    assert len(emulators[0].requests) == 2
""",
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_loads_no_sdk_and_no_emulator() -> None:
    """It is loaded in every project whose environment has the package, and most will not use it."""
    code = f"import sys, {PLUGIN}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"anthropic", "openai", "httpx", "httpx2", "pydantic", "trio", "h11"}
    assert not heavy & set(loaded)
    assert {name for name in loaded if name.startswith("penstock.testing")} == {"penstock.testing", PLUGIN}
