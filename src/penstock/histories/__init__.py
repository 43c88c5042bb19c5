"""Histories: read as others write them, to and from JSON, made to fit, repaired.

A history goes to another vendor as it is: each wire sends text, calls, results, images and documents of whatever
origin, leaves out the reasoning of others, and sends the text of their blocks.
"""

from penstock.histories.fit import Count, Summarise, fit, fit_with_summary
from penstock.histories.read.messages import ReadHistory, read_messages
from penstock.histories.repair import Note, NoteKind, Repaired, repair
from penstock.histories.serialization import dump_messages, load_messages

__all__ = [
    "Count",
    "Note",
    "NoteKind",
    "ReadHistory",
    "Repaired",
    "Summarise",
    "dump_messages",
    "fit",
    "fit_with_summary",
    "load_messages",
    "read_messages",
    "repair",
]
