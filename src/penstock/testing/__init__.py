"""Test doubles for users and for ourselves: a server and a provider that say exactly what a script tells them.

The names come when they are asked for: the pytest plugin lies in here and is loaded where nobody asks for any.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.testing.answers import WIRES, CalledTool, WireName
    from penstock.testing.anthropic import anthropic_error, anthropic_events, anthropic_message
    from penstock.testing.demo.model import DemoModel
    from penstock.testing.emulator import (
        Cut,
        Emulator,
        Exchange,
        Hang,
        Pause,
        Request,
        Reset,
        ServerReply,
        Step,
        pieces,
    )
    from penstock.testing.faults.fault import TEXT, Fault, Outcome, emulated, provider_on
    from penstock.testing.faults.recorded import cut_at_bytes, cut_at_events, events_of, stalled, with_error_event
    from penstock.testing.faults.table import FAULTS
    from penstock.testing.openai import (
        ChatForm,
        chat_completion,
        chat_document,
        chat_events,
        openai_error,
        responses_document,
        responses_events,
        responses_message,
    )
    from penstock.testing.scripted import ScriptedCall, ScriptedProvider, ScriptedStep

__all__ = [
    "FAULTS",
    "TEXT",
    "WIRES",
    "CalledTool",
    "ChatForm",
    "Cut",
    "DemoModel",
    "Emulator",
    "Exchange",
    "Fault",
    "Hang",
    "Outcome",
    "Pause",
    "Request",
    "Reset",
    "ScriptedCall",
    "ScriptedProvider",
    "ScriptedStep",
    "ServerReply",
    "Step",
    "WireName",
    "anthropic_error",
    "anthropic_events",
    "anthropic_message",
    "chat_completion",
    "chat_document",
    "chat_events",
    "cut_at_bytes",
    "cut_at_events",
    "emulated",
    "events_of",
    "openai_error",
    "pieces",
    "provider_on",
    "responses_document",
    "responses_events",
    "responses_message",
    "stalled",
    "with_error_event",
]

_HOMES = (
    "answers",
    "anthropic",
    "demo.model",
    "emulator",
    "faults.fault",
    "faults.recorded",
    "faults.table",
    "openai",
    "scripted",
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in __all__:
            for home in _HOMES:
                module = import_module(f"{__name__}.{home}")
                if name in module.__all__:
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
