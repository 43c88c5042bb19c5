"""For pytest: run your agent's loop against everything that servers and networks do to an answer.

async def test_my_loop(penstock_fault):  # once for each fault, on Anthropic's wire
    async with penstock_fault.provider as provider:
        ...

`penstock_emulator` starts an emulator with replies of one's own. Both work in a test of any kind, async or not, as
their servers run in a thread of their own. No SDK is imported for them before a test asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from penstock.core.provider import BaseProvider
    from penstock.testing.answers import WireName
    from penstock.testing.emulator import Emulator
    from penstock.testing.faults.fault import Fault, Outcome

__all__ = [
    "RunningFault",
    "penstock_emulator",
    "penstock_fault",
    "pytest_addoption",
    "pytest_configure",
    "pytest_generate_tests",
]

_FIXTURE: Final = "penstock_fault"
_MARKER: Final = (
    "penstock_faults(*names, wires=('messages',)): which faults `penstock_fault` goes through, all without a name, "
    "and on which of the wires messages, chat and responses"
)


class RunningFault:
    """A fault that a server on the loopback has now.

    name, wire: which. expected: what must come out of one call. url: what a client of this wire takes as its base URL.
    provider: asks the server, and is closed by whoever uses it: `async with` it. Its tokens cost $0.001 of input and
    $0.002 of output, so that an answer of ten and ten costs $0.03. emulator: the server; its `requests`
    are what was asked. Its events belong to another thread: look at them with `is_set()`, do not wait for them.
    """

    def __init__(self, fault: Fault, wire: WireName, emulator: Emulator) -> None:
        from penstock.testing.faults.fault import PRICES, base_url, provider_on

        self.name = fault.name
        self.wire = wire
        self.expected: Outcome = fault.outcome
        self.emulator = emulator
        self.url = base_url(wire, emulator.url)
        self.provider: BaseProvider = provider_on(wire, emulator.url, deadlines=fault.deadlines, model_info=PRICES)

    def __repr__(self) -> str:
        return f"<{self.name!r} on {self.wire} at {self.url}>"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addini("penstock_wires", "the wires of the fixture penstock_fault", type="args", default=["messages"])


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", "penstock_partly_played: the test may leave some of its cassette unasked for")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Called by pytest for each test: one that uses `penstock_fault` runs once for each fault on each wire."""
    if _FIXTURE in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("penstock_faults")
        names, options = (marker.args, dict(marker.kwargs)) if marker is not None else ((), {})
        wires: str | Sequence[str] = options.pop("wires", None) or metafunc.config.getini("penstock_wires")
        if options:
            raise pytest.UsageError(f"the marker penstock_faults knows `wires`, not {', '.join(options)}")
        metafunc.parametrize(_FIXTURE, _parameters(names, [wires] if isinstance(wires, str) else wires), indirect=True)


@pytest.fixture
def penstock_emulator() -> Iterator[Callable[..., Emulator]]:
    """Start an emulator: the arguments are those of `penstock.testing.Emulator`, and its `url` is where it listens."""
    with ExitStack() as stack:
        yield lambda *replies, **options: _started(stack, _emulator(*replies, **options))


@pytest.fixture
def penstock_fault(request: pytest.FixtureRequest) -> Iterator[RunningFault]:
    """One fault after the other: see RunningFault. The marker `penstock_faults` and `penstock_wires` choose which."""
    from penstock.testing.faults.fault import emulated

    fault, wire = request.param
    with ExitStack() as stack:
        yield RunningFault(fault, wire, _started(stack, emulated(fault, wire)))


def _parameters(names: Sequence[str], wires: Sequence[str]) -> list[Any]:
    from penstock.core.validation import near
    from penstock.testing.answers import WIRES
    from penstock.testing.faults.table import FAULTS

    for word, known in (*((name, FAULTS) for name in names), *((wire, WIRES) for wire in wires)):
        if word not in known:
            raise pytest.UsageError(f"penstock has no fault and no wire {word!r}{near(word, known)}")
    faults = [FAULTS[name] for name in names or FAULTS]
    return [
        pytest.param((fault, wire), id=f"{fault.name}, {wire}")
        for fault in faults
        for wire in wires
        if wire in fault.wires
    ]


def _emulator(*replies: Any, **options: Any) -> Emulator:
    from penstock.testing.emulator import Emulator

    return Emulator(*replies, **options)


def _started(stack: ExitStack, emulator: Emulator) -> Emulator:
    """The emulator, running in a thread until the stack is left: no event loop of the test's knows of it."""
    from anyio.from_thread import start_blocking_portal

    portal = stack.enter_context(start_blocking_portal())
    return stack.enter_context(portal.wrap_async_context_manager(emulator))
