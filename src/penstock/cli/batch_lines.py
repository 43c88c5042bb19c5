"""The lines of a file of prompts as jobs: our own form, and those of the vendors' batch files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.messages import Message, Options
from penstock.core.validation import near, unicode_fault
from penstock.fleet.jobs import Job
from penstock.histories.read.messages import read_messages

__all__ = ["Lines"]

_OURS: Final = ("id", "prompt", "messages", "system_prompt", "options")
_THEIRS: Final = ("custom_id", "params", "body", "method", "url")
_NO_JSON: Final = {"tools", "deadlines", "on_head", "on_resend", "on_drop", "extra", "scope"}
_LineOptions: Final = msgspec.defstruct(
    "options",
    [(each.name, each.type, None) for each in msgspec.structs.fields(Options) if each.name not in _NO_JSON],
    forbid_unknown_fields=True,
)
_SAME: Final = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), "max_tokens"),
    **dict.fromkeys(("stop", "stop_sequences"), "stop"),
    "reasoning_effort": "reasoning",
    **{
        name: name
        for name in (
            "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls",
            "user", "service_tier",
        )
    },
}  # fmt: skip
"""Fields of a vendor's body that are options of ours, by their names there."""
_HISTORY: Final = {"messages", "input", "system", "instructions", "tools", "functions"}
_LEFT_OUT: Final = {"model", "stream", "stream_options", "metadata", "store"}
"""What says nothing about the answer, or is decided by who sends."""
_NAMED: Final = 10
"""How many bad lines are named."""
_BOM: Final = b"\xef\xbb\xbf"


class Lines:
    """The jobs of a file, `-` for standard input; it may be read more than once if `is_file`.

    options: of all, where a line says nothing else.
    """

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self.is_file = name != "-" and Path(name).is_file()
        self.models = set[str]()
        """Which models the lines name; another is asked."""
        self.notes = list[str]()
        """What of a line was left out or changed, with its number; the first ones."""

    def jobs(self) -> Iterator[Job]:
        """Each in turn. Raises ConfigError for a line that is no job, with its number, and for what cannot be read."""
        for number, _, job in self._read():
            if isinstance(job, ConfigError):
                raise ConfigError(f"line {number} of {self._name}: {job}")
            yield job

    def checked(self) -> Iterator[Job]:
        """As `jobs`, and at the end a ConfigError that names the lines that are none, or have an id of another job."""
        faults, more = list[str](), 0
        ids: dict[str, tuple[int, int]] = {}
        for number, line, job in self._read():
            fault = str(job) if isinstance(job, ConfigError) else None
            if isinstance(job, Job):
                first, same = ids.setdefault(job.id, (number, hash(line))) if job.id is not None else (0, hash(line))
                if same != hash(line):
                    fault = f"the id {job.id!r} is that of line {first} too, which is another job"
            if fault is None:
                yield cast("Job", job)
            elif len(faults) < _NAMED:
                faults.append(f"line {number} of {self._name}: {fault}")
            else:
                more += 1
        if faults:
            raise ConfigError("\n".join([*faults, *([f"and {more:,} more"] if more else [])]))

    def _read(self) -> Iterator[tuple[int, bytes, Job | ConfigError]]:
        """Each line that is not blank, with its number from 1, and the job that it is or why it is none."""
        with self._opened() as file:
            for number, line in enumerate(file, 1):
                text = (line.removeprefix(_BOM) if number == 1 else line).strip()
                try:
                    if text:
                        yield number, text, self._job(text, number)
                except ConfigError as error:
                    if Path(self._name).suffix.lower() in (".csv", ".tsv"):
                        about = "for CSV see `penstock guide many-prompts`"
                        raise ConfigError(f"{self._name} is not JSON Lines; {about}") from None
                    yield number, text, error

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self._name == "-":
            yield sys.stdin.buffer
            return
        try:
            file = Path(self._name).open("rb")  # noqa: SIM115 - what is yielded to raises errors of its own
        except OSError as error:
            raise ConfigError(f"cannot read {self._name!r}: {error.strerror or error}") from error
        with file:
            yield file

    def _job(self, line: bytes, number: int) -> Job:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"it is cut off, or no JSON: {unicode_fault(line, error)}") from None
        if value == "":
            raise ConfigError("the prompt is empty")
        if isinstance(value, str):
            return Job(prompt=value, options=self._options)
        if not isinstance(value, dict):
            raise ConfigError("expected a prompt in quotes, or an object")
        if "custom_id" in value or "params" in value or "body" in value:
            return self._theirs(value, number)
        _check_names(value, _OURS)
        if ("prompt" in value) == ("messages" in value):
            raise ConfigError("expected either `prompt` or `messages`")
        prompt: str | list[Message] = _text(value, "prompt") or ""
        system = _text(value, "system_prompt") or ""
        if "messages" in value:
            if not isinstance(value["messages"], list):
                raise ConfigError(f"`messages` is of type {type(value['messages']).__name__}, expected a list")
            read = read_messages(value["messages"])
            self._note(number, read.notes)
            prompt, system = read.messages, system or read.system_prompt
        options = self._with(value.get("options") or {})
        return Job(prompt=prompt, id=_text(value, "id"), system_prompt=system, options=options)

    def _theirs(self, value: Mapping[str, Any], number: int) -> Job:
        """A line of Anthropic's (`params`) or OpenAI's (`body`) batch API."""
        _check_names(value, _THEIRS)
        body = value.get("params", value.get("body"))
        if not isinstance(body, dict):
            raise ConfigError("expected an object as `params` or `body`")
        _check_names(body, (*_HISTORY, *_LEFT_OUT, *_SAME), "a field that can be said to every vendor")
        read = read_messages(body)
        self._note(number, read.notes)
        if isinstance(model := body.get("model"), str):
            self.models.add(model)
        options = self._with({_SAME[name]: each for name, each in body.items() if name in _SAME})
        if read.tools:
            options = msgspec.structs.replace(options, tools=read.tools)
        name = _text(value, "custom_id")
        return Job(prompt=read.messages, id=name, system_prompt=read.system_prompt, options=options)

    def _with(self, given: object) -> Options:
        if not given:
            return self._options
        try:
            found = msgspec.convert(given, _LineOptions)
        except msgspec.ValidationError as error:
            known = cast("Any", _LineOptions).__struct_fields__
            wrong = next((name for name in given if name not in known), None) if isinstance(given, dict) else None
            if wrong is not None:
                raise ConfigError(f"there is no option {str(wrong)!r} here{near(wrong, known)}") from None
            raise ConfigError(f"`options`: {error}") from None
        said = {name: each for name in found.__struct_fields__ if (each := getattr(found, name)) is not None}
        return msgspec.structs.replace(self._options, **said)

    def _note(self, number: int, notes: list[Any]) -> None:
        if notes and len(self.notes) < 3:
            self.notes += [f"line {number}: {notes[0]}"]


def _check_names(value: Mapping[str, Any], known: tuple[str, ...], what: str = "a field") -> None:
    for name in value:
        if name not in known:
            raise ConfigError(f"`{name}` is not {what}; there are: {', '.join(sorted(known))}{near(name, known)}")


def _text(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    if found is None and (name not in value or name == "id"):
        return None
    if found == "" and name != "system_prompt":
        raise ConfigError(f"`{name}` is empty")
    if not isinstance(found, str):
        raise ConfigError(f"`{name}` is of type {type(found).__name__}, expected text")
    return found
