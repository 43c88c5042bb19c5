"""What has been done of many jobs, in a file that survives a kill and a power cut.

A transaction ends on the disk before whoever waits for it goes on. Those that wait together share one, in a thread: the
event loop never waits for the disk. One process at a time has the file; SQLite's own lock says so, which ends with the
process, and its header says which process that is.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

import anyio
import anyio.to_thread
import msgspec

from penstock.agent.collect import Reply
from penstock.agent.stored import dump_reply, load_reply
from penstock.core.chunks import UsageChunk
from penstock.core.errors import ConfigError, LedgerError
from penstock.core.messages import Message, Options
from penstock.core.provider import BaseProvider

__all__ = ["Journal", "Met", "check_options", "key_of", "key_of_request"]

T = TypeVar("T")

_APPLICATION: Final = 0x50_6E_53_6A
"""Of the file's header, so that nobody else's database is taken for a journal."""
_VERSION: Final = 1
_BUSY: Final = 1.0
"""Seconds to wait for a process that is about to end."""
_TABLES: Final = """
CREATE TABLE journal (version INTEGER, kind TEXT, vendor TEXT, model TEXT, usage BLOB);
CREATE TABLE finished (key BLOB PRIMARY KEY, id TEXT, reply BLOB, error TEXT, usage BLOB, at INTEGER)
"""
# Of this run alone, so that a million jobs need no memory.
_OF_RUN: Final = """
CREATE TEMP TABLE met (base BLOB PRIMARY KEY, next BLOB) WITHOUT ROWID;
CREATE TEMP TABLE ids (id BLOB PRIMARY KEY, base BLOB, place INTEGER) WITHOUT ROWID
"""
_LOOK_UP: Final = "SELECT reply, usage FROM finished WHERE key = ?"
_UNMATCHED: Final = (
    "SELECT count(*) FROM finished LEFT JOIN met ON base = substr(key, 1, 32) "
    "WHERE reply IS NOT NULL AND (base IS NULL OR substr(key, 33) >= next)"
)
_HINTS: Final = {
    "SQLITE_FULL": "Make room, and run it again: what is in the journal is not done again.",
    "SQLITE_CORRUPT": "Put a copy in its place, or move it away and pay for all jobs again.",
    "SQLITE_NOTADB": "Name another file: this one is none of Penstock's, or it is damaged.",
}
_NOT_SENT: Final = ("deadlines", "on_head", "on_resend", "on_drop", "lenient", "tags", "scope")

_usage: Final = msgspec.json.Encoder(decimal_format="string").encode
_load_usage: Final = msgspec.json.Decoder(UsageChunk).decode


class Met(msgspec.Struct, frozen=True):
    """A job as the journal knows it. usage: what it has cost in earlier runs. reply: None where it is to be done."""

    key: bytes
    reply: Reply | None
    usage: UsageChunk


class _Task(Generic[T]):
    """Something that is done within a transaction."""

    def __init__(self, do: Callable[[sqlite3.Connection], T]) -> None:
        self.do = do
        self.value: T | None = None
        self.error: Exception | None = None
        self.is_over = False


class Journal:
    """An SQLite file for the jobs of one kind and model, entered with `async with`.

    path: None for one of this run alone, which needs no memory either. kind: `gather` or `batch`.
    Entering raises ConfigError for a file that is in use, another kind's, model's or program's, or a newer Penstock's,
    and LedgerError for one that cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, kind: str, vendor: str, model: str) -> None:
        given: object = path
        if given is not None and not (isinstance(given, str | os.PathLike) and os.fspath(given)):
            raise ConfigError(f"`journal` is {path!r}, expected the path of a file")
        self.path = None if path is None else Path(path).expanduser().absolute()
        self.usage = UsageChunk()
        """The sum of all that is in it."""
        self._made_for = (kind, vendor, model)
        self._tasks: list[_Task[Any]] = []

    async def __aenter__(self) -> Self:
        self._turn = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(1)  # other threads may all be waiting for us
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._open)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await self._in_thread(self._release)

    async def run(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """What *do* gives, in one transaction that is on the disk when this returns; a cancellation does not undo it.

        Raises what *do* raises, which is undone and disturbs no other, and LedgerError where the file cannot be used.
        """
        task = _Task(do)
        self._tasks.append(task)
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not task.is_over:
                    tasks, self._tasks = self._tasks, []
                    await self._in_thread(partial(self._commit, tasks))
        if task.error is not None:
            raise task.error
        return task.value  # type: ignore[return-value]

    async def meet(self, base: bytes, place: int, name: str | None) -> Met:
        """What is known of a job, which from now on belongs to this run. Equal ones are numbered as they come.

        base: of `key_of`. place: among the jobs. name: the caller's id. Raises ConfigError where a job of
        this run that is not the same has it.
        """
        return await self.run(lambda db: self.look_up(db, base, place, name))

    async def finish(
        self,
        key: bytes,
        usage: UsageChunk,
        *,
        name: str | None = None,
        reply: Reply | None = None,
        error: str | None = None,
    ) -> UsageChunk:
        """Write how a job ended; what it has cost in all runs. One with an error is done again by the next run.

        usage: what it has cost since it was written last. Raises ConfigError for a reply that could not be read again.
        """
        return await self.run(lambda db: self.write(db, key, usage, name, reply, error))

    def write(
        self,
        db: sqlite3.Connection,
        key: bytes,
        usage: UsageChunk,
        name: str | None,
        reply: Reply | None,
        error: str | None,
    ) -> UsageChunk:
        """What `finish` does, within a transaction of `run`."""
        written = None if reply is None else dump_reply(reply)
        found = db.execute(_LOOK_UP, (key,)).fetchone()
        spent = usage if found is None else _load_usage(found[1]) + usage
        db.execute(
            "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?, ?, CAST(strftime('%s') AS INTEGER))",
            (key, _text(name), written, _text(error), _usage(spent)),
        )
        self.usage += usage
        return spent

    async def unmatched(self) -> int:
        """How many replies are in it that belong to no job of this run."""
        return await self.run(lambda db: int(db.execute(_UNMATCHED).fetchone()[0]))

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(do, limiter=self._limiter)

    def _commit(self, tasks: Sequence[_Task[Any]]) -> None:
        before, db = self.usage, self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for task in tasks:
                self._run(task)
            if self.usage is not before:
                db.execute("UPDATE journal SET usage = ?", (_usage(self.usage),))
            db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            self.usage = before
            for task in tasks:
                task.error = _failed(self.path, error)
        for task in tasks:
            task.is_over = True

    def _run(self, task: _Task[Any]) -> None:
        self._db.execute("SAVEPOINT task")
        try:
            task.value = task.do(self._db)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
            is_damage = isinstance(error, ValueError) and not isinstance(error, ConfigError)
            task.error = _failed(self.path, error) if is_damage else error
            self._db.execute("ROLLBACK TO task")
        self._db.execute("RELEASE task")

    def look_up(self, db: sqlite3.Connection, base: bytes, place: int, name: str | None) -> Met:
        """What `meet` does, within a transaction of `run`."""
        if name is not None:
            id_ = name.encode("utf-8", "surrogatepass")
            same = db.execute("SELECT base, place FROM ids WHERE id = ?", (id_,)).fetchone()
            if same is None:
                db.execute("INSERT INTO ids VALUES (?, ?, ?)", (id_, base, place))
            elif same[0] != base:
                raise ConfigError(f"jobs {same[1]} and {place} have the same id {name!r}, and are not the same")
        last = db.execute("SELECT next FROM met WHERE base = ?", (base,)).fetchone()
        number = bytes(4) if last is None else last[0]
        following = (int.from_bytes(number, "big") + 1).to_bytes(4, "big")
        db.execute("INSERT OR REPLACE INTO met VALUES (?, ?)", (base, following))
        key = base + number
        found = db.execute(_LOOK_UP, (key,)).fetchone()
        if found is None:
            return Met(key, None, UsageChunk())
        try:
            return Met(key, None if found[0] is None else load_reply(found[0]), _load_usage(found[1]))
        except ValueError as error:  # a ConfigError is one too
            raise _failed(self.path, error) from error

    def _open(self) -> None:
        key = "" if self.path is None else str(self.path.resolve())
        if _held.get(key) == os.getpid():
            raise ConfigError(f"the journal {self.path} is in use by this process")
        try:
            self._db = _connect(self.path)
            if key:
                _held[key] = os.getpid()
            self._release = weakref.finalize(self, _let_go, self._db, key, os.getpid())
            self._release.atexit = False
            try:
                self._take()
            except BaseException:
                self._release()
                raise
        except ConfigError:
            raise
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:  # the latter of what a damaged file says
            if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                raise ConfigError(f"the journal {self.path} is in use by {_holder(self.path)}") from error
            raise _failed(self.path, error) from error

    def _take(self) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = FULL")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise ConfigError(f"{self.path} is a database, but no journal of Penstock's")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN EXCLUSIVE")
        if not tables:
            _each(db, _TABLES)
            db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (_VERSION, *self._made_for, _usage(UsageChunk())))
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._check(*db.execute("SELECT version, kind, vendor, model, usage FROM journal").fetchone())
        db.execute(f"PRAGMA user_version = {os.getpid()}")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # the file itself says who has it
        _each(db, _OF_RUN)

    def _check(self, version: int, kind: str, vendor: str, model: str, usage: bytes) -> None:
        if version > _VERSION:
            raise ConfigError(f"the journal {self.path} is of version {version}, and this Penstock knows {_VERSION}")
        if (kind, vendor, model) != self._made_for:
            named, wanted = (" ".join(filter(None, each)) for each in ((kind, vendor, model), self._made_for))
            raise ConfigError(f"the journal {self.path} is for {named}, and this is {wanted}: name another file")
        self.usage = _load_usage(usage)


# Of this process, with its pid. A second one must not even look into the file: whoever closes it ends all POSIX locks
# that the process has on it, SQLite's too.
_held: dict[str, int] = {}
# From the process that this one was forked from. Closing its connections here would spoil its files.
_inherited: list[object] = []


def _let_go(db: sqlite3.Connection, key: str, pid: int) -> None:
    if pid != os.getpid():
        _inherited.append(db)
        return
    _held.pop(key, None)
    db.close()


def _connect(path: Path | None) -> sqlite3.Connection:
    name = ""  # SQLite's own temporary file
    if path is not None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # nobody else reads the answers
        name = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(name, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False)


def _each(db: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):
        db.execute(statement)


def _holder(path: Path | None) -> str:
    """Who has the file open, as its header says."""
    with suppress(OSError):
        with Path(path or "").open("rb") as file:
            pid = int.from_bytes(file.read(64)[60:], "big")
        return f"process {pid}"
    return "another process"


def _failed(path: Path | None, error: Exception) -> LedgerError:
    """What SQLite or the system said, as an error of ours."""
    said = getattr(error, "strerror", None) or error
    found = LedgerError(f"the journal {path or 'in a temporary file'} cannot be used: {said}")
    found.hint = _HINTS.get(getattr(error, "sqlite_errorname", ""), found.hint)
    return found


def _text(value: str | None) -> str | None:
    return None if value is None else value.encode("utf-8", "replace").decode()


def key_of(
    provider: BaseProvider,
    system_prompt: str,
    messages: Sequence[Message],
    options: Options | None,
    name: str | None,
) -> bytes:
    """What a job is known by: see `key_of_request`. Raises what the call would raise before sending."""
    return key_of_request(provider, _request(provider, system_prompt, messages, options), name)


def check_options(provider: BaseProvider, options: Options | None) -> None:
    """Raise what is wrong with the options of all jobs: it is said once, and not of each."""
    key_of(provider, "", [Message("user", "?")], options, None)


def key_of_request(provider: BaseProvider, request: bytes, name: str | None) -> bytes:
    """A hash of a job's alias, model, id and request. Equal jobs have equal ones, see `meet`. name: the caller's id."""
    words = (provider.alias or "", provider.get_model().id, "" if name is None else f"={name}")
    head = [word.encode("utf-8", "surrogatepass") for word in words]
    digest = sha256()
    for part in (*head, request):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _request(provider: BaseProvider, system_prompt: str, messages: Sequence[Message], options: Options | None) -> bytes:
    if not any(type(each).request_body is BaseProvider.request_body for each in provider.nested()):
        return provider.request_body(system_prompt, messages, options)
    wanted = options or Options()
    sent = {name: getattr(wanted, name) for name in Options.__struct_fields__ if name not in _NOT_SENT}
    try:
        return msgspec.json.encode([system_prompt, list(messages), sent], enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"this job cannot be encoded: {error}") from error


def _plain(value: object) -> object:
    return list(value) if isinstance(value, Sequence) else type(value).__qualname__  # as the function of a tool
