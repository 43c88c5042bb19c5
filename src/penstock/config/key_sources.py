"""Keys that are fetched when they are needed: from the keyring, or from a program that prints one."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from penstock.config.mistakes import mistake
from penstock.core.errors import AuthenticationError
from penstock.core.keys import FETCH_SECONDS, FetchedKey, KeySource

__all__ = ["SERVICE", "Command", "KeyringEntry", "command", "keyring_entry"]

SERVICE: Final = "penstock"
"""The service under which `penstock keys` keeps keys."""

_KEPT: Final = 300.0
"""Seconds for which a key is used that does not say when it ends."""
_PATIENCE: Final = 60.0
"""Seconds for a person to unlock the keyring."""
_SHORT: Final = 8
"""Shorter output is no key, and would be found in ordinary words."""
_MOST: Final = 65_536
"""Bytes that a program may print: a key is shorter, and what never ends would fill the memory."""
_LONGEST: Final = 200
"""How many characters are quoted of what a program says of its failure."""


def keyring_entry(text: str, file: Path | None, where: str | None) -> KeyringEntry:
    """What fetches the key from the entry SERVICE/USER of the keyring. Raises ConfigError, also without the extra."""
    try:
        import keyring  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise mistake(file, where, "a keyring entry needs the extra: pip install 'penstock[keyring]'") from None
    service, _, user = text.partition("/")
    if not (service and user):
        raise mistake(file, where, "expected `keyring:SERVICE/USER`")  # what stands there may be a key
    return KeyringEntry(service, user)


def command(text: str, file: Path | None, where: str) -> Command:
    """What fetches the key from a program, written as for a shell that only splits words. Raises ConfigError.

    A program that is named with a slash lies where it does from the file's folder on.
    """
    try:
        program, *arguments = shlex.split(text) or [""]
    except ValueError as error:
        raise mistake(file, where, f"the command cannot be read: {error}") from None
    if not program:
        raise mistake(file, where, "expected a program and its arguments after `command:`")
    if "/" in program or os.sep in program:
        program = str((Path.cwd() if file is None else file.absolute().parent) / Path(program).expanduser())
    return Command((program, *arguments))


class KeyringEntry(KeySource, frozen=True):
    """An entry of the keyring of the system."""

    service: str
    user: str
    hint = (
        "Unlock the keyring, or choose another with PYTHON_KEYRING_BACKEND. Where nobody can unlock it, as on a server,"
        ' write `"apiKey": "${VARIABLE}"` instead.'
    )

    @property
    def what(self) -> str:
        """See KeySource."""
        return f"the keyring's entry for service {self.service!r} and user {self.user!r}"

    def __call__(self) -> FetchedKey:
        """See KeySource."""
        import keyring
        import keyring.errors

        try:
            found = keyring.get_password(self.service, self.user)
        except keyring.errors.KeyringError as error:
            raise AuthenticationError(f"the keyring does not answer: {error}") from error
        if not found:
            absent = AuthenticationError(
                f"the keyring has no entry for service {self.service!r} and user {self.user!r}"
            )
            program = f"penstock keys set {shlex.quote(self.user)}"
            if self.service != SERVICE:
                program = f"keyring set {shlex.quote(self.service)} {shlex.quote(self.user)}"
            absent.hint = f"Run `{program}`, or write another entry, `${{VARIABLE}}` or `command: ...` as `apiKey`."
            raise absent
        return FetchedKey(found, keep=_KEPT)

    def store(self, key: str) -> None:
        """Put the key there in place of what was. Raises AuthenticationError where the keyring does not take it."""
        import keyring

        self._in_time(lambda: keyring.set_password(self.service, self.user, key), key)

    def remove(self) -> bool:
        """Take the key away; whether there was one. Raises AuthenticationError where the keyring does not answer."""
        import keyring

        found = []

        def run() -> None:
            # Asked first, as backends say in words of their own that there is none.
            found.append(keyring.get_password(self.service, self.user) is not None)
            if found[0]:
                keyring.delete_password(self.service, self.user)

        self._in_time(run)
        return found[0]

    def _in_time(self, run: Callable[[], object], key: str = "") -> None:
        """Run it in a thread, as a keyring may wait for a window that nobody sees. key: what no error may show."""
        failed = []

        def work() -> None:
            try:
                run()
            except Exception as error:  # noqa: BLE001 - a backend raises what its system raises
                said = str(error).partition("\n")[0] or type(error).__name__
                failed.append(said.replace(key, "***") if key else said)

        thread = threading.Thread(target=work, name="penstock keyring", daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        said = f"no answer within {_PATIENCE:g} s" if thread.is_alive() else "".join(failed)
        if said:
            error = AuthenticationError(f"{self.what} was not changed: {said}")
            error.hint = self.hint
            raise error


class _Status(msgspec.Struct, rename="camel"):
    token: str
    expiration_timestamp: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


class _Printed(msgspec.Struct):
    """A key with its end, as kubectl has it from its plugins: an ExecCredential, of which the rest may be left out.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication (client-go credential plugins).
    """

    status: _Status


class Command(KeySource, frozen=True):
    """A program that prints the key: alone in a line, or as JSON with its end. No shell is involved."""

    arguments: tuple[str, ...]
    hint = "Run it in a terminal: it has to print the key alone, or as `penstock guide keys` shows, within 10 s."

    @property
    def what(self) -> str:
        """See KeySource. Its arguments may be nobody's business."""
        more = " ..." if len(self.arguments) > 1 else ""
        return f"the command `{self.arguments[0]}{more}` for the API key"

    def __call__(self) -> FetchedKey:
        """See KeySource."""
        try:
            process = subprocess.Popen(  # noqa: S603 - it is what the owner of the file wants, without a shell
                self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            raise AuthenticationError(f"{self.what} cannot be run: {getattr(error, 'strerror', error)}") from None
        found = _output(process)
        if found is None:
            raise AuthenticationError(f"{self.what} gave none within {FETCH_SECONDS:g} s")
        if any(len(printed) > _MOST for printed in found):
            raise AuthenticationError(f"{self.what} printed more than {_MOST:,} bytes")
        text, said = (printed.decode("utf-8", "replace").strip() for printed in found)
        if process.returncode:
            raise AuthenticationError(f"{self.what} ended with status {process.returncode}{_last_line(said, text)}")
        return self._read(text)

    def _read(self, text: str) -> FetchedKey:
        if text.startswith("{"):
            try:
                printed = msgspec.json.decode(text, type=_Printed).status
            except msgspec.DecodeError as error:
                raise AuthenticationError(f"{self.what} printed JSON of another form ({error})") from None
            ends = printed.expiration_timestamp
            return FetchedKey(printed.token, None if ends is None else ends.timestamp(), _KEPT)
        if not text:
            raise AuthenticationError(f"{self.what} printed nothing")
        if len(text.splitlines()) > 1:
            raise AuthenticationError(f"{self.what} printed {len(text.splitlines())} lines, expected one")
        return FetchedKey(text, keep=_KEPT)


def _output(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes] | None:
    """What a program prints and what it says of its failure, and little of what is too much; None if it takes too long.

    It is ended then, and so it is by printing on, as nobody reads that.
    """
    pipes = process.stdout, process.stderr
    found = [b"", b""]

    def read(place: int) -> None:
        if (pipe := pipes[place]) is not None:
            with pipe:
                found[place] = pipe.read(_MOST + 1)

    # In threads that Python need not wait for: a child of the program may hold a pipe open when all else has ended.
    readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(2)]
    end = time.monotonic() + FETCH_SECONDS
    for reader in readers:
        reader.start()
    try:
        for reader in readers:
            reader.join(max(0.0, end - time.monotonic()))
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
    return None if any(reader.is_alive() for reader in readers) else (found[0], found[1])


def _last_line(stderr: str, printed: str) -> str:
    """The last line of what a program said of its failure, without what may steer a terminal, and without a key."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    line = re.sub(r"\x1b\[[\d;?]*[ -/]*[@-~]", "", lines[-1]) if lines else ""
    line = "".join(character for character in line if character.isprintable()).strip()
    for word in re.findall(rf"[^\s\"']{{{_SHORT},}}", printed):  # of JSON too
        line = line.replace(word, "***")
    return f": {line[:_LONGEST]}" if line else ""
