"""Test doubles for users and for ourselves: a loopback server that says exactly what a script tells it to."""

from penstock.testing.anthropic import anthropic_error, anthropic_events, anthropic_message
from penstock.testing.demo import DemoModel
from penstock.testing.emulator import Cut, Emulator, Exchange, Hang, Pause, Reply, Request, Reset, Step, pieces

__all__ = [
    "Cut",
    "DemoModel",
    "Emulator",
    "Exchange",
    "Hang",
    "Pause",
    "Reply",
    "Request",
    "Reset",
    "Step",
    "anthropic_error",
    "anthropic_events",
    "anthropic_message",
    "pieces",
]
