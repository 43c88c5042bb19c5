"""Histories: to and from JSON, made to fit, repaired. None of it knows a vendor.

A history goes to another vendor as it is: each wire sends text, calls, results, images and documents of whatever
origin, leaves out the reasoning of others, and sends the text of their blocks.
"""

from penstock.histories.fit import Count, Summarise, fit, fit_with_summary
from penstock.histories.repair import Note, NoteKind, Repaired, repair
from penstock.histories.serialization import dump_messages, load_messages

__all__ = [
    "Count",
    "Note",
    "NoteKind",
    "Repaired",
    "Summarise",
    "dump_messages",
    "fit",
    "fit_with_summary",
    "load_messages",
    "repair",
]
