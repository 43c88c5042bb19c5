"""A schema of a PostgreSQL server as the place of a ledger, so that the processes of many hosts share it.

Nothing of a session is used, no prepared statement and no setting beyond a transaction: poolers may stand between.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from zlib import crc32

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict

from penstock.core.errors import ConfigError, LedgerError
from penstock.meter.entries import TIMES, text, written
from penstock.meter.schema import APPLICATION, MIGRATIONS, check_version

__all__ = ["Server", "ServerDatabase"]

T = TypeVar("T")

_CONNECT: Final = 5
"""Seconds to wait for a connection."""
_ANSWER: Final = 10
"""Seconds in which the server does a statement, or gets the lock for one; after that it is given up."""
_SILENT: Final = 15.0
"""Seconds after which a server that has not answered a statement is taken for gone."""
_READ: Final = 300.0
"""The same, for who reads."""
_ROWS: Final = 1_000
"""Rows that a reader fetches at once."""

_SETTINGS: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "utf8",
    "connect_timeout": _CONNECT,
    "application_name": "penstock",
    # Of a host that vanished nothing else is heard.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_PORTS: Final = re.compile(r"[0-9,]*")
_FORMATS: Final = {"hour": 'YYYY-MM-DD"T"HH24":00Z"', "day": "YYYY-MM-DD", "month": "YYYY-MM"}
_WORDS: Final = {
    **{written(name): f"to_char(to_timestamp(at / 1000000) AT TIME ZONE 'UTC', '{_FORMATS[name]}')" for name in TIMES},
    "json_each(tags)": "jsonb_each_text(tags::jsonb)",
    "group_concat(": "string_agg(",
    "INTEGER PRIMARY KEY AUTOINCREMENT": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    " WITHOUT ROWID": "",
    " INTEGER": " BIGINT",
    " REAL": " DOUBLE PRECISION",
    " IS ?": " IS NOT DISTINCT FROM ?",
    "?": "%s",
}
"""What SQLite calls otherwise, in the order in which it is replaced."""

_MISTAKES: Final = {
    r"^28|authentication failed|no password supplied": "Check the user and the password.",
    r"no pg_hba.conf entry": "The server does not let this user in from here: ask whoever runs it.",
    r'^3D|database ".*" does not exist': "Make the database first: createdb NAME.",
    r"^42501": "The user needs CREATE on the database, or all rights on the schema and its tables.",
    r"^42703|^42P0[17]": "The schema has tables that are not Penstock's: name another, as ?schema=penstock.",
}
"""What does not pass by itself, by the SQLSTATE or the words of an error, and what to do."""
_FOR_GOOD: Final = "|".join([*_MISTAKES, "^53100|No space left|^25006"])
"""What no later try gets past."""
_HINTS: Final = {
    **_MISTAKES,
    r"^53100|No space left": "The disk of the server is full: free some space.",
    r"^53300|too many clients|connection slots": "The server has no connection left: put a pooler before it.",
    r"^25006": "The server is a replica: name the primary, or all with ?target_session_attrs=read-write.",
    r"^5701|^55P03|has not answered": "The server is slow, or another process holds the ledger.",
    r"": "Check that the server runs and can be reached from here.",
}


class Server:
    """A schema of a server, by its address. See Place. Raises ConfigError for one that PostgreSQL does not take."""

    is_late = True
    is_memory = False
    look = 0.05
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    alone: tuple[type[Exception], ...] = (
        psycopg.DataError,
        psycopg.IntegrityError,
        psycopg.errors.DatatypeMismatch,
    )

    def __init__(self, address: str) -> None:
        try:
            parts = urlsplit(address)
            asked = parse_qsl(parts.query, keep_blank_values=True)
            query = urlencode([each for each in asked if each[0] != "schema"], quote_via=quote)
            given = conninfo_to_dict(f"postgresql://{parts.netloc}{parts.path}?{query}")
            self.schema = dict(asked).get("schema", "penstock")
            fits = not parts.fragment and _NAME.fullmatch(self.schema) and _PORTS.fullmatch(str(given.get("port", "")))
        except (ValueError, psycopg.Error):  # which say what they found, and that may be the password
            fits, given = None, {}
        if not fits or "@" in str(given.get("host", "")):
            raise ConfigError(
                "the ledger's address is none that PostgreSQL takes, expected "
                "postgresql://USER:PASSWORD@HOST:5432/DATABASE?schema=NAME, with %40 for @ in a password"
            ) from None
        self._settings = {**_SETTINGS, **given}
        self.name = _shown(given, self.schema)
        self.key = repr((sorted((name, str(value)) for name, value in given.items()), self.schema))

    def open(self) -> ServerDatabase:
        """See Place."""
        database = ServerDatabase(self, self._connected(_SILENT))
        try:
            self._bring_up_to_date(database)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def reading(self) -> Iterator[ServerReader]:
        """See Place."""
        try:
            with closing(ServerReader(self, self._connected(_READ))) as database:
                database.begin()
                version = self._version(database)
                if version is None:
                    raise ConfigError(f"there is no ledger {self.name!r}")
                check_version(version, self.name)
                yield database
        except psycopg.Error as error:
            raise self.failed(error) from None

    def failed(self, error: BaseException) -> LedgerError:
        """See Place."""
        found = LedgerError(f"the ledger {self.name} cannot be used: {' '.join(str(error).split())[:400]}")
        found.hint = next(hint for sign, hint in _HINTS.items() if re.search(sign, _said(error)))
        if isinstance(error, psycopg.OperationalError) and not re.search(_FOR_GOOD, _said(error)):
            found.retryable, found.retry_after = True, float(_CONNECT)
        return found

    def is_mistake(self, error: BaseException) -> bool:
        """See Place."""
        return isinstance(error, LedgerError) or any(re.search(sign, _said(error)) for sign in _MISTAKES)

    @property
    def path(self) -> str:
        """What has its tables found within a transaction."""
        return f'SET LOCAL search_path TO "{self.schema}"'

    def begin(self) -> str:
        """What begins a transaction that writes: one after the other, as they come."""
        limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        return "; ".join(
            (
                "BEGIN ISOLATION LEVEL READ COMMITTED",  # of any other, one would not see what it has waited for
                self.path,
                *(f"SET LOCAL {name} = '{_ANSWER}s'" for name in limits),
                f"SELECT pg_advisory_xact_lock({APPLICATION}, {crc32(self.schema.encode()) - 2**31})",
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
            )
        )

    def _connected(self, silent: float) -> _Bounded:
        try:
            connection = _Bounded.connect(**self._settings)
        except psycopg.Error as error:
            raise error.with_traceback(None) from None  # its frames hold the password
        connection.silent = silent
        connection.adapters.register_loader("numeric", _Whole)
        return connection

    def _version(self, database: ServerDatabase) -> int | None:
        """Of the tables; None where there are none of ours. Within a transaction."""
        name = f'"{self.schema}".ledger_version'
        if database.one("SELECT to_regclass(?)", name)[0] is None:
            return None
        found = database.execute(f"SELECT version FROM {name}").fetchone()
        return found[0] if found is not None and isinstance(found[0], int) else None

    def _bring_up_to_date(self, database: ServerDatabase) -> None:
        replica, encoding = database.one("SELECT pg_is_in_recovery(), current_setting('server_encoding')")
        if replica:
            raise LedgerError(f"the ledger {self.name} is read-only: the server is a replica, name the primary")
        if encoding != "UTF8":
            raise LedgerError(f"the database of the ledger {self.name} is encoded in {encoding}, expected UTF8")
        database.begin()
        version = self._version(database)
        if version == len(MIGRATIONS):
            database.commit()
            return
        if version is None:
            version = self._make_schema(database)
        check_version(version, self.name)
        for script in MIGRATIONS[version:]:
            for statement in script.split(";\n"):
                database.execute(statement)
        database.execute("UPDATE ledger_version SET version = ?", (len(MIGRATIONS),))
        database.commit()

    def _make_schema(self, database: ServerDatabase) -> int:
        """Make what is not there yet; its version, 0."""
        tables, exists = database.one(
            "SELECT (SELECT count(*) FROM pg_tables WHERE schemaname = ?), to_regnamespace(?)",
            self.schema,
            f'"{self.schema}"',
        )
        if tables:
            raise LedgerError(
                f"the schema {self.schema} of {self.name} has tables, but is no ledger of Penstock's: "
                "name another, as ?schema=penstock"
            )
        if exists is None:
            database.execute(f'CREATE SCHEMA "{self.schema}"')
        database.execute("CREATE TABLE ledger_version (version INTEGER NOT NULL)")
        database.execute("INSERT INTO ledger_version VALUES (0)")
        return 0


class ServerDatabase:
    """A connection to the tables on a server. See Database."""

    def __init__(self, place: Server, connection: _Bounded) -> None:
        self._connection = connection
        self._place = place
        self._cursor = psycopg.ClientCursor(connection)
        self._later: list[str] = []
        self._ahead = 0
        self._seen: Any = None

    @property
    def closed(self) -> bool:
        """See Database."""
        return self._connection.closed

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """See Database."""
        return self._sent(self._written(sql, values))

    def put(self, sql: str, values: Sequence[Any] = ()) -> None:
        """See Database. It goes with the next one, in one way to the server and back."""
        self._later.append(self._written(sql, values))

    def _written(self, sql: str, values: Sequence[Any]) -> str:
        clean = [text(each) if isinstance(each, str) else each for each in values]
        try:
            return self._cursor.mogrify(_translated(sql), clean or None)
        except psycopg.ProgrammingError as error:  # nothing was sent
            raise TypeError(str(error)) from None

    def _sent(self, statement: str) -> psycopg.Cursor[tuple[Any, ...]]:
        later, self._later = self._later, []
        cursor = self._connection.execute("; ".join((*later, statement)).encode())
        while cursor.nextset():
            pass
        return cursor

    def one(self, sql: str, *values: Any) -> tuple[Any, ...]:
        """The row that there is in any case."""
        found: tuple[Any, ...] = self.execute(sql, values).fetchone()
        return found

    def begin(self) -> None:
        """See Database. Waits for its turn, and hears what time it is."""
        self._later.clear()
        cursor = self._sent(self._place.begin())
        (now,) = cursor.fetchone() or (0,)
        self._ahead = now - time.monotonic_ns() // 1_000

    def commit(self) -> None:
        """See Database."""
        self._sent("COMMIT")

    def rollback(self, *, failed: bool = False) -> None:
        """See Database. A server that has failed may be another one by the next time."""
        if failed:
            self.close()
        else:
            self._later.clear()
            self._sent("ROLLBACK")

    def changed(self) -> bool:
        """See Database: whether something is held no more, or somebody has left the line."""
        schema = self._place.schema
        before, self._seen = (
            self._seen,
            self._connection.execute(
                f'SELECT h.*, w.* FROM (SELECT count(*), max(call) FROM "{schema}".holds) h, '
                f'(SELECT count(*), min(ticket) FROM "{schema}".waiting) w'
            ).fetchone(),
        )
        return bool(self._seen != before)

    def now(self) -> int:
        """See Database: the server's clock, as it was when the transaction began, and what has passed since."""
        return time.monotonic_ns() // 1_000 + self._ahead

    def shrink(self, pages: int) -> None:
        """See Database: the server does it by itself."""

    def close(self) -> None:
        """See Database."""
        self._connection.close()


class ServerReader(ServerDatabase):
    """One that only reads, and holds no more than some rows at once."""

    def __init__(self, place: Server, connection: _Bounded) -> None:
        super().__init__(place, connection)
        self._begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {place.path}"
        self._cursors: list[psycopg.ServerCursor[tuple[Any, ...]]] = []

    def begin(self) -> None:
        """See Database. All that is read is of one moment."""
        self._connection.execute(self._begin.encode())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """See Database."""
        cursor = self._connection.cursor(name=f"penstock_{len(self._cursors)}")
        self._cursors.append(cursor)
        cursor.itersize = _ROWS
        return cursor.execute(self._written(sql, values).encode())

    def close(self) -> None:
        """See Database."""
        for cursor in self._cursors:
            with suppress(psycopg.Error):
                cursor.close()
        super().close()


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever."""

    silent = _SILENT

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(_within(gen, self.silent), *args, **kwargs)


def _within(steps: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    end = time.monotonic() + seconds
    try:
        state = next(steps)
        while True:
            ready = yield state
            if not ready and time.monotonic() > end:
                raise psycopg.OperationalError(f"the server has not answered for {seconds:g} s")
            state = steps.send(ready)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


class _Whole(Loader):
    """Sums of whole numbers, which Python has as they are."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data))


@lru_cache(maxsize=256)
def _translated(sql: str) -> str:
    for theirs, ours in _WORDS.items():
        sql = sql.replace(theirs, ours)
    return sql


def _said(error: BaseException) -> str:
    return f"{getattr(error, 'sqlstate', None) or ''} {error}".strip()


def _shown(given: dict[str, Any], schema: str) -> str:
    """The address as it may be shown."""
    host, port = str(given.get("host") or ""), str(given.get("port") or "").strip(",")
    user = f"{quote(given['user'])}@" if "user" in given else ""
    asked = {"schema": schema} if schema != "penstock" else {}
    if host.startswith("/"):
        asked, host = {"host": host, **asked}, ""
    query = f"?{urlencode(asked, safe='/')}" if asked else ""
    return f"postgresql://{user}{host}{port and ':'}{port}/{given.get('dbname', '')}{query}"
