"""Test doubles for users and for ourselves: a server and a provider that say exactly what a script tells them.

The names come when they are asked for: the pytest plugin lies in here and is loaded where nobody asks for any.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.testing.answers import WIRES as WIRES
    from penstock.testing.answers import CalledTool as CalledTool
    from penstock.testing.answers import WireName as WireName
    from penstock.testing.anthropic import anthropic_count as anthropic_count
    from penstock.testing.anthropic import anthropic_error as anthropic_error
    from penstock.testing.anthropic import anthropic_events as anthropic_events
    from penstock.testing.anthropic import anthropic_message as anthropic_message
    from penstock.testing.anthropic import anthropic_models as anthropic_models
    from penstock.testing.batches.failures import BATCH_FAILURES as BATCH_FAILURES
    from penstock.testing.batches.failures import BatchFailure as BatchFailure
    from penstock.testing.batches.server import BatchServer as BatchServer
    from penstock.testing.cassettes import scrubbed_cassettes as scrubbed_cassettes
    from penstock.testing.contract import CONTRACT as CONTRACT
    from penstock.testing.contract import check_provider as check_provider
    from penstock.testing.demo.model import DemoModel as DemoModel
    from penstock.testing.emulator import Cut as Cut
    from penstock.testing.emulator import Emulator as Emulator
    from penstock.testing.emulator import Exchange as Exchange
    from penstock.testing.emulator import Hang as Hang
    from penstock.testing.emulator import Pause as Pause
    from penstock.testing.emulator import Request as Request
    from penstock.testing.emulator import Reset as Reset
    from penstock.testing.emulator import ServerReply as ServerReply
    from penstock.testing.emulator import Step as Step
    from penstock.testing.emulator import pieces as pieces
    from penstock.testing.faults.fault import TEXT as TEXT
    from penstock.testing.faults.fault import Fault as Fault
    from penstock.testing.faults.fault import Outcome as Outcome
    from penstock.testing.faults.fault import emulated as emulated
    from penstock.testing.faults.fault import provider_on as provider_on
    from penstock.testing.faults.recorded import cut_at_bytes as cut_at_bytes
    from penstock.testing.faults.recorded import cut_at_events as cut_at_events
    from penstock.testing.faults.recorded import events_of as events_of
    from penstock.testing.faults.recorded import stalled as stalled
    from penstock.testing.faults.recorded import with_error_event as with_error_event
    from penstock.testing.faults.table import FAULTS as FAULTS
    from penstock.testing.openai import ChatForm as ChatForm
    from penstock.testing.openai import chat_completion as chat_completion
    from penstock.testing.openai import chat_document as chat_document
    from penstock.testing.openai import chat_events as chat_events
    from penstock.testing.openai import openai_count as openai_count
    from penstock.testing.openai import openai_error as openai_error
    from penstock.testing.openai import openai_models as openai_models
    from penstock.testing.openai import responses_document as responses_document
    from penstock.testing.openai import responses_events as responses_events
    from penstock.testing.openai import responses_message as responses_message
    from penstock.testing.scripted import ScriptedCall as ScriptedCall
    from penstock.testing.scripted import ScriptedProvider as ScriptedProvider
    from penstock.testing.scripted import ScriptedStep as ScriptedStep
else:
    from penstock.core.public_names import import_late

    __all__, __getattr__, __dir__ = import_late(
        __name__,
        {
            "answers": ("WIRES", "CalledTool", "WireName"),
            "anthropic": (
                "anthropic_count",
                "anthropic_error",
                "anthropic_events",
                "anthropic_message",
                "anthropic_models",
            ),
            "batches.failures": ("BATCH_FAILURES", "BatchFailure"),
            "batches.server": ("BatchServer",),
            "cassettes": ("scrubbed_cassettes",),
            "contract": ("CONTRACT", "check_provider"),
            "demo.model": ("DemoModel",),
            "emulator": (
                "Cut",
                "Emulator",
                "Exchange",
                "Hang",
                "Pause",
                "Request",
                "Reset",
                "ServerReply",
                "Step",
                "pieces",
            ),
            "faults.fault": ("TEXT", "Fault", "Outcome", "emulated", "provider_on"),
            "faults.recorded": ("cut_at_bytes", "cut_at_events", "events_of", "stalled", "with_error_event"),
            "faults.table": ("FAULTS",),
            "openai": (
                "ChatForm",
                "chat_completion",
                "chat_document",
                "chat_events",
                "openai_count",
                "openai_error",
                "openai_models",
                "responses_document",
                "responses_events",
                "responses_message",
            ),
            "scripted": ("ScriptedCall", "ScriptedProvider", "ScriptedStep"),
        },
    )
