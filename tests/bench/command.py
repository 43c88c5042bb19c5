"""Prints the table of the speed budget: `python tests/bench [ROWS...] [--peers] [--rounds N] [--write]`.

ROWS are names of groups; all of them take some minutes. It exits with 1 if a row measured something else than it says,
whatever the times are. All of it is asyncio on Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import decoding
import ledger
import loop_parts
import memory
import middleware
import page
import peers
import requesting
import resting
import small_call
import starting
import streaming
from measuring import Bench, NotMeasuredError, Row, Spent
from server import server

__all__ = ["GROUPS", "main", "run"]

GROUPS: Final[dict[str, Sequence[Row]]] = {
    "streaming": streaming.ROWS,
    "requesting": requesting.ROWS,
    "small_call": small_call.ROWS,
    "decoding": decoding.ROWS,
    "starting": starting.ROWS,
    "resting": resting.ROWS,
    "middleware": middleware.ROWS,
    "ledger": ledger.ROWS,
    "parts": loop_parts.ROWS,
    "uvloop": streaming.UVLOOP,
    "length": streaming.LENGTH,
    "memory": memory.ROWS,
}


async def run(rows: Sequence[Row], bench: Bench) -> dict[str, Mapping[str, Spent]]:
    """Print each row when it is known; the sides of those that measured what they say."""
    found = {}
    for row in rows:
        began = time.monotonic()
        try:
            found[row.what] = await row.measure(bench)
        except NotMeasuredError as error:
            print(f"{row.what}\n    NOT MEASURED: {error}", flush=True)
        else:
            print(row.printed(found[row.what]), f"    ({time.monotonic() - began:.0f} s)", sep="\n", flush=True)
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROWS", help=f"groups of rows: {', '.join(GROUPS)}; all without")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="how many of each side count")
    parser.add_argument("--peers", action="store_true", help="also read through pydantic-ai and litellm")
    parser.add_argument("--write", action="store_true", help="put the table into the guide's page on speed")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - GROUPS.keys():
        parser.error(f"there is no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if arguments.rounds < 1:
        parser.error("--rounds takes a number from 1")
    if arguments.write and arguments.rows:
        parser.error("the page has all rows: --write goes without ROWS")
    if arguments.peers and not peers.installed():
        parser.error("no peer is installed: pip install litellm 'pydantic-ai-slim[anthropic,openai]'")
    rows = [row for group in arguments.rows or GROUPS for row in GROUPS[group]]
    if arguments.peers:
        rows += peers.ROWS
    with server() as (url, connections):
        found = asyncio.run(run(rows, Bench(url, arguments.rounds, connections)))
    if arguments.write:
        page.PAGE.write_text(page.written(page.PAGE.read_text("utf-8"), page.tables(rows, found)), "utf-8")
    return 0 if len(found) == len(rows) else 1
