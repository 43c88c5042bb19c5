"""What a fault is: a reply for each wire that has it, and what must come out of a call that gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from penstock.core.errors import ProviderError
from penstock.core.messages import Deadlines
from penstock.core.models import ModelInfo
from penstock.core.provider import BaseProvider
from penstock.core.provider_config import ProviderConfig
from penstock.providers.anthropic import AnthropicProvider
from penstock.providers.openai import OpenAIProvider
from penstock.testing.answers import WIRES, CalledTool, WireName, answer
from penstock.testing.emulator import Emulator, ServerReply

__all__ = ["PRICES", "TEXT", "Fault", "Outcome", "base_url", "emulated", "provider_on"]

TEXT: Final = "Hello there, world!"
"""What the emulator says when nothing is wrong."""

PRICES: Final = ModelInfo(
    input_price=Decimal(1000),
    output_price=Decimal(2000),
    cache_reads_price=Decimal(100),
    cache_writes_price=Decimal(1250),
)
"""A tenth of a cent a token of input, two tenths one of output: an ordinary answer of ten and ten costs $0.03."""

_SHORT: Final = 1.0
_PATIENT: Final = Deadlines(connect=30, first_chunk=30, stall=30)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What must come out of one call, whatever the wire.

    text: all of it, or what comes before the error. calls: name and arguments of each whole call. reason: of the stop.
    usage: input and output tokens, None where the vendor reports none; of an error nothing is said here.
    error: the class that ends it, None if it ends well. retry_after: as on the error, in seconds.
    """

    text: str = ""
    calls: Sequence[CalledTool] = ()
    reason: Literal["stop", "length", "tool_calls"] | None = None
    usage: tuple[int, int] | None = None
    error: type[ProviderError] | None = None
    retry_after: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.error is not None and self.error.retryable


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong, or is only odd. reply: it, in the form of a wire.

    wires: those on which it can be. always: it is not over after one call. refused: nobody listens; there is no reply.
    seconds: how much time of the processor a sound provider may need for it, as there is so much to read.
    """

    name: str
    reply: Callable[[WireName], ServerReply]
    outcome: Outcome
    wires: Sequence[WireName] = WIRES
    always: bool = False
    refused: bool = False
    seconds: float = 1.0

    @property
    def deadlines(self) -> Deadlines:
        """Short in what the fault is about, so that it takes no time; long in all else, as a machine may be busy."""
        late = getattr(self.outcome.error, "deadline", None)
        short = {} if late is None else {late: _SHORT}
        return msgspec.structs.replace(_PATIENT, **short)


def emulated(fault: Fault, wire: WireName, *, port: int = 0) -> Emulator:
    """A server, not entered yet, that has this fault and then, unless that is for ever, answers well."""
    own, well = fault.reply(wire), ServerReply(answer(wire, TEXT))
    if fault.always:
        return Emulator(then=own, port=port)
    return Emulator(*(() if fault.refused else (own,)), then=well, port=port, refusing=fault.refused)


def base_url(wire: WireName, url: str) -> str:
    """What a client of this wire wants as its base URL, for an emulator at *url*."""
    return url if wire == "messages" else f"{url}/v1"


def provider_on(wire: WireName, url: str, **config: Any) -> BaseProvider:
    """A provider that asks the emulator at *url* on this wire; *config* is laid over an ordinary ProviderConfig.

    Its deadlines are short, as nothing on the loopback takes long. On a machine that is busy something may, so for one
    fault give it `deadlines=fault.deadlines`.
    """
    limits = Deadlines(connect=10, first_chunk=3, stall=3)
    settings: dict[str, Any] = {"model_id": "emulated", "api_key": "none", "deadlines": limits}
    settings["base_url"] = base_url(wire, url)
    if wire == "messages":
        return AnthropicProvider(ProviderConfig(**(settings | config)))
    return OpenAIProvider(ProviderConfig(wire=wire, **(settings | config)))
