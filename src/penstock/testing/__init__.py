"""Test doubles for users and for ourselves: a server and a provider that say exactly what a script tells them."""

from penstock.testing.anthropic import anthropic_error, anthropic_events, anthropic_message
from penstock.testing.demo import DemoModel
from penstock.testing.emulator import Cut, Emulator, Exchange, Hang, Pause, Reply, Request, Reset, Step, pieces
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
    "ChatForm",
    "Cut",
    "DemoModel",
    "Emulator",
    "Exchange",
    "Hang",
    "Pause",
    "Reply",
    "Request",
    "Reset",
    "ScriptedCall",
    "ScriptedProvider",
    "ScriptedStep",
    "Step",
    "anthropic_error",
    "anthropic_events",
    "anthropic_message",
    "chat_completion",
    "chat_document",
    "chat_events",
    "openai_error",
    "pieces",
    "responses_document",
    "responses_events",
    "responses_message",
]
