"""Record a test once against a real API, and replay it without a network: what pytest-recording needs for that.

vcr_config = scrubbed_cassettes()  # in conftest.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock.core.errors import ConfigError
from penstock.testing.scrubbing import Scrubber, coding_of, credentials, decoded, key_variables

if TYPE_CHECKING:
    import pytest
    from vcr import VCR
    from vcr.cassette import Cassette

__all__ = ["Recording", "scrubbed_cassettes"]

_AGAIN: Final = "Record again with --record-mode=rewrite"
_KEEP_OUT: Final = "Keep it out of the test, or give it to scrubbed_cassettes(secrets=[...]) where it is sent"
_PARTLY: Final = "penstock_partly_played"
_SHOWN: Final = 60


def scrubbed_cassettes(*, secrets: Sequence[str] = (), hide_hosts: bool = False) -> Any:
    """The fixture `vcr_config` of pytest-recording: `vcr_config = scrubbed_cassettes()` in conftest.py is all.

    A cassette holds no key, cookie, organization, request id or e-mail address. Each credential is replaced by its
    role in the recording, `key-1` for the first, which is part of the match; so are method, path, query and body. A
    recording that holds a key nevertheless is not written, and a test that leaves some of its cassette unasked for
    fails, unless it is marked `penstock_partly_played`.

    secrets: more that must not be seen, 8 characters or longer. hide_hosts: hosts are replaced too, and else kept;
    they are no part of the match. Raises ConfigError where pytest-recording is not installed.
    """
    if isinstance(secrets, str) or any(len(secret) < 8 for secret in secrets):
        raise ConfigError("`secrets` takes a list of texts of 8 characters or more: shorter ones stand in other words")
    if find_spec("pytest_recording") is None:
        raise ConfigError("pytest-recording is not installed: pip install 'penstock[recording]'")
    import pytest

    @pytest.fixture
    def vcr_config(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
        recording = Recording(Scrubber(secrets, key_variables(), hide_hosts=hide_hosts))
        plugins = request.config.pluginmanager
        plugins.register(recording)
        yield recording.config
        plugins.unregister(recording)
        # pytest-recording's own, which has been left, and so written, by now.
        cassette = request.node.funcargs.get("vcr")
        if said := recording.fault(cassette, partly=request.node.get_closest_marker(_PARTLY) is not None):
            pytest.fail(said, pytrace=False)

    return vcr_config


class Recording:
    """One test's cassette being written or played: a plugin of pytest's as long as the test runs.

    config: for vcrpy.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._asked: list[Any] = []
        self._passed = False
        self._refused = ""
        self._persister: Any = None
        self.config: dict[str, Any] = {
            "match_on": ["method", "path", "query", "credential", "body"],
            # pytest-recording copies this deeply: a bound method would become one of a copy.
            "before_record_request": lambda request: self._request(request),
            "before_record_response": lambda response: scrubber.response(response),
        }

    def pytest_recording_configure(self, vcr: VCR) -> None:
        """Called by pytest-recording."""
        vcr.register_matcher("credential", credential)
        vcr.register_matcher("body", body)
        self._persister = vcr.persister
        vcr.register_persister(self)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest."""
        self._passed = self._passed or (report.when == "call" and report.passed)

    def load_cassette(self, path: str, serializer: Any) -> Any:
        """Called by vcrpy."""
        import pytest
        from vcr.persisters.filesystem import CassetteNotFoundError

        try:
            return self._persister.load_cassette(path, serializer)
        except CassetteNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever YAML and vcrpy raise for what is no cassette
            why = " ".join(f"{type(error).__name__}: {error}".rstrip(".").split())
            pytest.fail(f"{_name(path)} cannot be read: {why}. {_AGAIN}", pytrace=False)

    def save_cassette(self, path: str, cassette: Mapping[str, Any], serializer: Any) -> None:
        """Called by vcrpy. Bodies are written as they are read, and compressed again when they are played."""
        exchanges = list(zip(cassette["requests"], cassette["responses"], strict=True))
        if leak := next(self._leaks(path, exchanges), None):
            # Raised here it would leave vcrpy's patches in place.
            self._refused = f"there is {leak}, so {_name(path)} is not written. {_KEEP_OUT}"
            return
        readable = [
            {**each, "body": {"string": decoded(each["body"]["string"], coding_of(each["headers"]))}}
            for _, each in exchanges
        ]
        self._persister.save_cassette(path, {**cassette, "responses": readable}, serializer)

    def _leaks(self, path: str, exchanges: Iterable[tuple[Any, Any]]) -> Iterator[str]:
        if what := self._scrubber.found(_name(path)):
            yield f"{what} in the name of the file"
        for number, (request, response) in enumerate(exchanges, 1):
            yield from (f"{leak} of exchange {number}" for leak in self._scrubber.leaks(request, response))

    def fault(self, cassette: Cassette | None, *, partly: bool) -> str:
        """Why the test fails though it may have passed; empty if there is no reason."""
        if self._refused or cassette is None or not cassette.write_protected:
            return self._refused
        recorded = list(cassette.requests)
        left = [place for place in range(len(recorded)) if not cassette.play_counts[place]]
        strange = next((one for one in self._asked if not _is_recorded(cassette, one)), None)
        if strange is not None and recorded:
            nearest = left[0] if left else len(recorded) - 1
            said = _difference(recorded[nearest], strange) or "what the test compares differs"
            return f"{said}: this is not request {nearest + 1} of {_name(cassette.path)}. {_AGAIN} if it is meant so"
        if strange is not None:
            return f"nothing is recorded in {_name(cassette.path)}: run pytest with --record-mode=once and a key"
        if left and self._passed and not partly:
            numbers = ", ".join(str(place + 1) for place in left)
            return f"request {numbers} of {_name(cassette.path)} was not sent. {_AGAIN}, or mark the test {_PARTLY}"
        return ""

    def _request(self, request: Any) -> Any:
        if hasattr(request, "as_it_is"):
            return request  # vcrpy asks more than once
        scrubbed = self._scrubber.request(request)
        self._asked.append(scrubbed)
        return scrubbed


def _name(path: str) -> str:
    """As much of a cassette's path as says which it is."""
    return "/".join(Path(path).parts[-2:])


def credential(asked: Any, recorded: Any) -> None:
    """Called by vcrpy, which shows its name."""
    if said := _other_key(recorded, asked):
        raise AssertionError(said)


def body(asked: Any, recorded: Any) -> None:
    """Called by vcrpy, which shows its name."""
    if said := _other_body(recorded, asked):
        raise AssertionError(said)


def _is_recorded(cassette: Cassette, request: Any) -> bool:
    """Whether there is an answer to it, played or not, by what the test compares."""
    from vcr.errors import UnhandledHTTPRequestError

    try:
        cassette.responses_of(request)
    except UnhandledHTTPRequestError:
        return False
    return True


def _difference(recorded: Any, asked: Any) -> str:
    """What is the first thing that differs; empty if nothing does."""
    for name in ("method", "path", "query"):
        before, now = getattr(recorded, name), getattr(asked, name)
        if before != now:
            return _changed(name, before, now)
    return _other_key(recorded, asked) or _other_body(recorded, asked)


def _other_key(recorded: Any, asked: Any) -> str:
    """A recording without a credential, of a server that needs none, goes with any."""
    before, now = credentials(recorded), credentials(asked)
    return _changed("the credential", ", ".join(before), ", ".join(now)) if before and before != now else ""


def _other_body(recorded: Any, asked: Any) -> str:
    before, now = recorded.body, asked.body
    if before in (now, asked.as_it_is):
        return ""
    try:
        return next(_differences("$", msgspec.json.decode(before), msgspec.json.decode(now)), "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"the body, of {len(before)} bytes as recorded, of {len(now)} bytes now"


def _differences(path: str, before: Any, now: Any) -> Iterator[str]:
    """Where two documents of JSON differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(f"{path}.{name}", before.get(name, ...), now.get(name, ...))
    elif isinstance(before, list) and isinstance(now, list):
        for place in range(max(len(before), len(now))):
            one, other = (each[place] if place < len(each) else ... for each in (before, now))
            yield from _differences(f"{path}[{place}]", one, other)
    elif before != now or type(before) is not type(now):
        yield _changed(path, before, now)


def _changed(what: str, before: Any, now: Any) -> str:
    same = 0
    if isinstance(before, str) and isinstance(now, str):
        pairs = enumerate(zip(before, now, strict=False))
        same = next((place for place, (one, other) in pairs if one != other), min(len(before), len(now)))
    return f"{what} was {_shown(before, same)}, is {_shown(now, same)}"


def _shown(value: Any, same: int) -> str:
    """A value, cut to what matters. same: how many characters at its beginning are not of interest."""
    if value is ...:
        return "not there"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    start = max(0, same - _SHOWN // 3)
    cut = text[start : start + _SHOWN]
    return repr(f"{'…' if start else ''}{cut}{'…' if start + _SHOWN < len(text) else ''}")
