"""Which files their owner has trusted, remembered in a file of this machine."""

from __future__ import annotations

import datetime as dt
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from penstock.config.mistakes import mistake
from penstock.config.replacing import replace_file
from penstock.core.errors import ConfigError

__all__ = ["Trusted", "find", "forget", "remember", "store_path", "trusted_files"]


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a file. digest: of what is guarded in it, by SHA-256. at: when it was trusted, in UTC."""

    digest: str
    at: dt.datetime


class _Store(msgspec.Struct, frozen=True, kw_only=True):
    """The file of all that is trusted, by real path. version: of this form."""

    version: Literal[1] = 1
    trusted: Mapping[str, Trusted] = msgspec.field(default_factory=dict)


def find(file: Path) -> tuple[Trusted | None, str | None]:
    """What is remembered of a file, None for nothing; and what is wrong with the store, which then counts as empty."""
    store, problem = _read()
    return store.trusted.get(_real(file)), problem


def remember(file: Path, digest: str) -> None:
    """Remember a file by its real path and the digest of what is guarded in it.

    Raises ConfigError when the store cannot be written. One that is damaged is kept beside the new one, as
    `trusted.json.damaged`.
    """
    with _locked() as path:
        store, problem = _read()
        if problem is not None and path.exists():
            path.replace(path.with_name(f"{path.name}.damaged"))
        entry = Trusted(digest=digest, at=dt.datetime.now(dt.UTC).replace(microsecond=0))
        _write(path, {**store.trusted, _real(file): entry})


def forget(file: Path) -> bool:
    """Trust a file no longer; whether it had been trusted. Raises ConfigError for a store that is damaged."""
    with _locked() as path:
        known = dict(trusted_files())
        found = known.pop(_real(file), None)
        if found is not None:
            _write(path, known)
    return found is not None


def trusted_files() -> Mapping[str, Trusted]:
    """All trusted files by their real path. Raises ConfigError for a store that is damaged."""
    store, problem = _read()
    if problem is not None:
        raise ConfigError(problem)
    return store.trusted


def _real(file: Path) -> str:
    # A name that is no Unicode is no text of JSON either.
    return os.fsencode(os.path.realpath(file)).decode("utf-8", "backslashreplace")


def store_path() -> Path:
    """Where trust is remembered: `penstock/trusted.json` in the user's data folder.

    That is XDG_DATA_HOME, where it is set to an absolute path; else %LOCALAPPDATA% on Windows, ~/Library/Application
    Support on macOS, and ~/.local/share elsewhere. Raises ConfigError when there is no home.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    if sys.platform == "win32":
        given = given or os.environ.get("LOCALAPPDATA", "")
    # The specification says that a relative path is to be ignored; it would lie in whatever folder this is run.
    if given and Path(given).is_absolute():
        return Path(given) / "penstock" / "trusted.json"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError(f"there is no home folder to remember trust in ({error}): set XDG_DATA_HOME") from error
    if not home.is_absolute():
        raise ConfigError(
            f"the home folder {str(home)!r} is not absolute, so trust is not remembered: set XDG_DATA_HOME"
        )
    folder = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return home / folder / "penstock" / "trusted.json"


def _read() -> tuple[_Store, str | None]:
    """The store, and what is wrong with its file: then it counts as empty."""
    try:
        path = store_path()
        for one in (path.parent, path):
            _check_owner(one.stat())
        return msgspec.json.decode(path.read_bytes(), type=_Store), None
    except FileNotFoundError:
        return _Store(), None
    except ConfigError as error:
        return _Store(), str(error)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        return _Store(), f"the trust store {path} counts as empty: {getattr(error, 'strerror', None) or error}"


def _check_owner(status: os.stat_result) -> None:
    """Whoever else can write the store could trust himself. A checkout of git has no file that others cannot read."""
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)):
        raise ValueError("others than you can read or write it")


@contextmanager
def _locked() -> Iterator[Path]:
    """The path of the store, for one process at a time, so that none undoes what another has written."""
    path = store_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(path.parent):
            yield path
    except OSError as error:
        raise mistake(path, None, f"trust cannot be remembered: {error.strerror or error}") from error


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # on Windows, where a folder cannot be locked
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, trusted: Mapping[str, Trusted]) -> None:
    data = msgspec.json.format(msgspec.json.encode(_Store(trusted=trusted), order="sorted"), indent=2) + b"\n"
    replace_file(path, data, mode=0o600)
