"""What `batch` keeps in its journal: the batches that it means to create, and the jobs of each until they end."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from penstock.agent.collect import Reply, history_of
from penstock.core.chunks import UsageChunk
from penstock.core.errors import ProviderError, said_by
from penstock.core.messages import Message, Options
from penstock.fleet.jobs import Job
from penstock.fleet.journal import Journal, Met
from penstock.histories.serialization import dump_messages, load_messages
from penstock.wire.batches import BatchApi

__all__ = ["BatchStore", "Cancel", "End", "Fresh", "Place", "Submission"]

_PAGE: Final = 500
# `state` is what is known to have happened. Jobs are put in (`draft`), all are in (`intent`), a file of them is there
# (`uploaded`), a batch may be there (`creating`), it is there (`submitted`), it was read to its end (`collected`), or
# that was done and some jobs have no answer (`read`).
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS batches (intent TEXT PRIMARY KEY, written BLOB);
CREATE TABLE IF NOT EXISTS batch_jobs (key BLOB PRIMARY KEY, intent TEXT, place INTEGER, call TEXT, body BLOB);
CREATE INDEX IF NOT EXISTS batch_places ON batch_jobs (intent, place);
CREATE TABLE IF NOT EXISTS cancel (stage TEXT)
"""
# A job as its caller gave it, so that a million of them need no memory.
_OF_RUN: Final = "CREATE TEMP TABLE asked (key BLOB PRIMARY KEY, id TEXT, job BLOB, options INTEGER)"

State: TypeAlias = Literal["draft", "intent", "uploaded", "creating", "submitted", "read", "collected"]

Cancel: TypeAlias = Literal["asked", "collected"] | None
"""Someone has asked for it; a run has given out what was answered. None where there was none, or all is sent anew."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that is meant to be created, or has been. Times are seconds since 1970."""

    intent: str
    """A random id, written before anything is sent."""
    state: State = "intent"
    jobs: int
    since: float
    """When the first of its jobs may have been booked."""
    headers: Mapping[str, str]
    """That its jobs have in common."""
    at: float = 0.0
    """When it was asked for."""
    file: str | None = None
    """What its uploaded file is called."""
    batch: str | None = None
    """What its vendor calls it."""
    waits: float | None = None
    """Since when its vendor has no room for it."""


class Fresh(NamedTuple):
    """A job that no batch has yet. body: of its call."""

    key: bytes
    job: Job
    body: bytes


class Place(NamedTuple):
    """A job of a batch. call: what a ledger has it under. job: None where this run was not asked for it."""

    place: int
    key: bytes
    call: str
    id: str | None
    job: Job | None


class End(NamedTuple):
    """How a job ended: with a reply or an error. usage: what it has cost now."""

    place: Place
    reply: Reply | None
    error: ProviderError | None
    usage: UsageChunk


class BatchStore:
    """The tables of one open journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._options: list[Options | None] = [None]

    async def open(self) -> None:
        """Make what is not there yet."""
        await self._journal.run(lambda db: [db.execute(one) for one in (*_TABLES.split(";"), _OF_RUN)])

    async def submissions(self) -> list[Submission]:
        """All batches, in the order in which they were meant."""
        rows = await self._journal.run(lambda db: db.execute("SELECT written FROM batches ORDER BY rowid").fetchall())
        return [msgspec.json.decode(written, type=Submission) for (written,) in rows]

    async def save(self, submission: Submission) -> None:
        """Write where it stands."""
        await self._journal.run(lambda db: _save(db, submission))

    async def cancel_stage(self) -> Cancel:
        """What has become of the last cancel."""
        row = await self._journal.run(lambda db: db.execute("SELECT stage FROM cancel").fetchone())
        return None if row is None else row[0]

    async def set_cancel_stage(self, stage: Cancel) -> None:
        """Write that."""

        def do(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM cancel")
            if stage is not None:
                db.execute("INSERT INTO cancel VALUES (?)", (stage,))

        await self._journal.run(do)

    async def forget(self, intent: str) -> None:
        """Drop it with its jobs, which are then new again."""

        def do(db: sqlite3.Connection) -> None:
            for table in ("batch_jobs", "batches"):
                db.execute(f"DELETE FROM {table} WHERE intent = ?", (intent,))

        await self._journal.run(do)

    async def ask(self, base: bytes, place: int, name: str, job: Job) -> tuple[Met, bool]:
        """This run is asked for a job; what is known of it, and whether a batch has it. As `Journal.meet`."""
        facts = (name, _packed(job), self._number(job.options))

        def do(db: sqlite3.Connection) -> tuple[Met, bool]:
            met = self._journal.look_up(db, base, place, job.id)
            if met.reply is None:
                db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?)", (met.key, *facts))
            return met, db.execute("SELECT 1 FROM batch_jobs WHERE key = ?", (met.key,)).fetchone() is not None

        return await self._journal.run(do)

    async def add(self, intent: str, first: int, jobs: Sequence[Fresh]) -> None:
        """Put jobs into a batch that is meant, from that place on."""
        rows = [(one.key, intent, place, f"{intent}-{place}", one.body) for place, one in enumerate(jobs, start=first)]
        await self._journal.run(lambda db: db.executemany("INSERT INTO batch_jobs VALUES (?, ?, ?, ?, ?)", rows))

    async def split(self, old: Submission, new: Sequence[Submission]) -> None:
        """Give the jobs of a batch, in their order, to others."""

        def do(db: sqlite3.Connection) -> None:
            keys = db.execute("SELECT key FROM batch_jobs WHERE intent = ? ORDER BY place", (old.intent,)).fetchall()
            for each in new:
                mine, keys = keys[: each.jobs], keys[each.jobs :]
                rows = [(each.intent, place, key) for place, (key,) in enumerate(mine)]
                db.executemany("UPDATE batch_jobs SET intent = ?, place = ? WHERE key = ?", rows)
                _save(db, each)
            db.execute("DELETE FROM batches WHERE intent = ?", (old.intent,))

        await self._journal.run(do)

    async def write(self, submission: Submission, api: BatchApi, file: Path) -> None:
        """Write what is sent with all its jobs into a file, for its owner alone."""
        query = "SELECT place, body FROM batch_jobs WHERE intent = ? ORDER BY place"

        def do(db: sqlite3.Connection) -> None:
            rows = db.execute(query, (submission.intent,))
            lines = (api.line(f"{submission.intent}-{place}", body) for place, body in rows)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as whole:
                whole.writelines(api.framed(lines))

        await self._journal.run(do)

    async def calls(self, intent: str) -> set[str]:
        """What a ledger has its jobs under, without their places."""
        query = "SELECT DISTINCT substr(call, 1, instr(call, '-') - 1) FROM batch_jobs WHERE intent = ?"
        return {call for (call,) in await self._journal.run(lambda db: db.execute(query, (intent,)).fetchall())}

    async def places(self, intent: str, places: Sequence[int]) -> list[Place]:
        """Those of its jobs that have not ended, at these places."""
        marks = ", ".join("?" * len(places))
        return await self._select(f"intent = ? AND place IN ({marks})", intent, *places)

    async def left(self, intent: str, after: int = -1) -> list[Place]:
        """The next of its jobs that have not ended, behind that place; none at the end."""
        return await self._select(f"intent = ? AND place > ? ORDER BY place LIMIT {_PAGE}", intent, after)

    async def finish(self, ends: Sequence[End]) -> list[UsageChunk]:
        """Write how jobs ended, in one transaction; what each has cost in all runs."""

        def do(db: sqlite3.Connection) -> list[UsageChunk]:
            db.executemany("DELETE FROM batch_jobs WHERE key = ?", [(end.place.key,) for end in ends])
            return [
                self._journal.write(db, place.key, usage, place.id, reply, None if error is None else said_by(error))
                for place, reply, error, usage in ends
            ]

        return await self._journal.run(do)

    async def strangers(self) -> int:
        """How many jobs of batches that have not ended this run was not asked for."""
        query = "SELECT count(*) FROM batch_jobs WHERE key NOT IN (SELECT key FROM asked)"
        return await self._journal.run(lambda db: int(db.execute(query).fetchone()[0]))

    async def _select(self, where: str, *values: object) -> list[Place]:
        columns = "place, key, call, id, job, options"
        query = f"SELECT {columns} FROM batch_jobs LEFT JOIN asked USING (key) WHERE {where}"
        rows = await self._journal.run(lambda db: db.execute(query, values).fetchall())
        return [
            Place(place, key, call, name, None if job is None else _unpacked(job, self._options[options]))
            for place, key, call, name, job, options in rows
        ]

    def _number(self, options: Options | None) -> int:
        """Under which they are kept: most jobs have those of the one before, or none."""
        if options is not self._options[-1]:
            if options is None:
                return 0
            self._options.append(options)
        return len(self._options) - 1


def _save(db: sqlite3.Connection, submission: Submission) -> None:
    update = "INSERT INTO batches VALUES (?, ?) ON CONFLICT DO UPDATE SET written = excluded.written"
    db.execute(update, (submission.intent, msgspec.json.encode(submission)))


def _packed(job: Job) -> bytes:
    """A job without its options. Raises ConfigError for what cannot be stored."""
    is_history = any(isinstance(each, Message) for each in job.prompt)
    return msgspec.msgpack.encode((job.id, job.system_prompt, is_history, dump_messages(history_of(job.prompt))))


def _unpacked(packed: bytes, options: Options | None) -> Job:
    name, system_prompt, is_history, written = msgspec.msgpack.decode(packed)
    history = load_messages(written)
    prompt = history if is_history else history[0].content
    return Job(prompt=prompt, id=name, system_prompt=system_prompt, options=options)
