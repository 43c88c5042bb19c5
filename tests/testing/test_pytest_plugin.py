"""The fixtures for users, as pytest runs them in a project of theirs."""

from __future__ import annotations

import pytest

from penstock.testing import FAULTS
from plugin import LOAD, project, run_bare_project, run_project

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("all_imported")

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
    """The tests of a project that has a loop."""
    project(pytester, LOOP + test, ini=ini)
    return run_project(pytester, *arguments)


def collected(pytester: pytest.Pytester, test: str, *, ini: str = "") -> pytest.RunResult:
    """The tests that there would be. Nothing is asked, so no SDK is imported, and this process can do it."""
    project(pytester, test, ini=ini)
    return pytester.runpytest_inprocess(*LOAD, "--strict-markers", "--collect-only")


def test_a_loop_runs_against_every_fault(pytester: pytest.Pytester) -> None:
    """Once for each, on Anthropic's wire, and each outcome is what the fixture expects."""
    result = run(
        pytester,
        """
# See `penstock guide connections`.
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
    """A test may have an event loop of its own; and a loop that tries again gets its answer.

    A budget can be tested, by prices that can be reckoned in the head: an answer of ten tokens and ten is three cents.
    """
    result = run(
        pytester,
        """
from decimal import Decimal
from penstock import BudgetExceededError, Options
from penstock.meter import Budget, Metered

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

@pytest.mark.penstock_faults("500 once", wires=("messages", "chat", "responses"))
def test_my_budget(penstock_fault, tmp_path):
    async def main():
        metered = Metered(penstock_fault.provider, tmp_path / "ledger.db", budgets=[Budget("2", per="total")])
        async with Retry(metered, base=0.01) as provider:
            reply = await collect(provider.create_message("", [Message("user", "Hello!")], Options(max_tokens=100)))
            assert reply.usage.cost == Decimal("0.03")
            with pytest.raises(BudgetExceededError, match="may cost .2.* of it the prompt"):
                await collect(provider.create_message("", [Message("user", "Hello!")], Options(max_tokens=1000)))
            assert len(penstock_fault.emulator.requests) == 2

    anyio.run(main)
""",
        "-v",
    )
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*test_my_loop?500 once, chat?*", "*test_my_loop?a response that failed, responses?*"])


def test_the_wires_can_stand_in_the_ini_file(pytester: pytest.Pytester) -> None:
    """For all tests of a project."""
    test = """
import pytest

@pytest.mark.penstock_faults("401")
def test_url(penstock_fault): ...
"""
    result = collected(pytester, test, ini="penstock_wires = chat responses")
    result.stdout.fnmatch_lines(["*test_url?401, chat?*", "*test_url?401, responses?*", "*2 tests collected*"])


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
    test = f"import pytest\n\n@pytest.mark.penstock_faults({marker})\ndef test_it(penstock_fault): ...\n"
    result = collected(pytester, test)
    assert result.ret != 0
    result.stdout.fnmatch_lines([said])


def test_an_emulator_with_replies_of_ones_own(pytester: pytest.Pytester) -> None:
    """As many as are wanted; they are gone with the test. Of an exception in a script the test sees a 500.

    pytest then shows the line of the script.
    """
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

def my_script(request):
    return {}["no such reply"]

def test_it(penstock_emulator):
    async def main(emulator):
        async with AnthropicProvider(ProviderConfig(model_id="m", api_key="k", base_url=emulator.url)) as provider:
            return await my_loop(provider)

    assert anyio.run(main, penstock_emulator(my_script)) == "ServerError"
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_it*", "*return {}?*no such reply*", "E * KeyError: 'no such reply'"]
    )


def test_a_run_that_does_not_use_the_plugin_loads_next_to_nothing(pytester: pytest.Pytester) -> None:
    """It is loaded in every project whose environment has the package, and most will not use it."""
    test = """
import sys

def test_loaded():
    assert {name for name in sys.modules if name.partition(".")[0] == "penstock"} == {
        "penstock", "penstock.core", "penstock.core.public_names", "penstock.testing", "penstock.testing.pytest_plugin"
    }
    assert not {"anthropic", "openai", "httpx2", "pydantic", "h11", "msgspec", "vcr"} & set(sys.modules)
"""
    project(pytester, test)
    run_bare_project(pytester, "-p", "no:anyio", "-p", "no:recording").assert_outcomes(passed=1)
