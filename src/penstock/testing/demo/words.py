"""What the words of a prompt offer to fill arguments and schemas with: names, numbers, files, what stands in quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["LONGEST", "Words", "stems", "stems_of_name"]

LONGEST: Final = 4000
"""Characters of a text that are looked at: of one long word, expressions take its square."""
_QUOTED: Final = re.compile(r'"([^"]+)"|“([^”]+)”|`([^`]+)`|(?<!\w)\'([^\']+)\'(?!\w)')
_URL: Final = re.compile(r"https?://[^\s\"'<>\]]+[^\s\"'<>\].,;:!?)]")
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER: Final = re.compile(r"(?<![\w.-])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
# A name with an ending or in a folder, but no abbreviation such as e.g.
_FILE: Final = re.compile(r"(?:[\w.~-]*/[\w./-]*\w|[\w-]{2,}(?:\.[\w-]+)*\.[A-Za-z]\w{0,7}|\w\.[A-Za-z]\w{1,7})")
_PROPER: Final = re.compile(r"(?<=[^.?!\s] )[A-Z][\w'’-]+(?: (?:[A-Z][\w'’-]+))*")
_SUBJECT: Final = re.compile(
    r"(?:^|[.?!] )([A-Z][\w-]+(?: [A-Z][\w-]+)*)(?='s | (?:is|was|are|has|had|lives|works|and)\b)"
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ENDING: Final = re.compile(r"(?<=\w\w\w)(?:ings?|e[sdr]?|s)$")
_SAYS_NOTHING: Final = frozenset(
    _WORD.findall(
        "a about after again all also an and any are as ask at be been before but by call can could did do does each "
        "every for from get give had has have how i if in is it its like make may me more most much must my new no "
        "not now of on one only or our out please say should so some tell than that the their them then there they "
        "this to today use using was we what when where which who why will with would you your"
    )
)
# What people say, and what tools are called.
_SAME: Final = {
    "change": "edit", "correct": "edit", "fix": "edit", "replace": "edit", "update": "edit",
    "display": "read", "open": "read", "show": "read",
    "erase": "delete", "remove": "delete", "find": "search", "directory": "folder",
}  # fmt: skip


_SIGN: Final = re.compile(r"(?<=\d) ?([+*/-]) ?(?=\d)")
_SIGNS: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


class Words:
    """What *text* offers, by kind. What has been taken is offered last from then on."""

    def __init__(self, text: str) -> None:
        self.text = text
        text = text[:LONGEST]
        self.quoted = [next(filter(None, found)) for found in _QUOTED.findall(text)]
        bare = _QUOTED.sub(" ", text)
        self.links, bare = _taken(_URL, bare)
        self.emails, bare = _taken(_EMAIL, bare)
        self.dates, bare = _taken(_DATE, bare)
        self.numbers = [number.replace(",", "") for number in _NUMBER.findall(bare)]
        self.files, bare = _taken(_FILE, _NUMBER.sub(" ", bare))
        self.files += [word for word in self.quoted if _FILE.fullmatch(word)]
        subjects = [name for name in _SUBJECT.findall(text) if not _says_nothing(name)]
        self.names = [*subjects, *(name for name in _PROPER.findall(bare) if not _says_nothing(name))]
        self.rest = [word for word in _WORD.findall(bare) if word.lower() not in _SAYS_NOTHING]

    @property
    def offers(self) -> bool:
        """Whether there is a value in it that an argument can be."""
        return any((self.quoted, self.links, self.emails, self.dates, self.files, self.names))

    @staticmethod
    def take(values: list[str]) -> str:
        """The first of *values*, which becomes the last."""
        values.append(values.pop(0))
        return values[-1]


def _taken(pattern: re.Pattern[str], text: str) -> tuple[list[str], str]:
    return pattern.findall(text), pattern.sub(" ", text)


def _says_nothing(name: str) -> bool:
    return all(word.lower() in _SAYS_NOTHING for word in name.split())


def stems(text: str) -> set[str]:
    """The words of a text that say what it is about, without their endings, and one word for those that mean the same.

    A file's name counts as `file` too.
    """
    found = set(_stemmed([*_WORD.findall(text), *(_SIGNS[sign] for sign in _SIGN.findall(text))]))
    return found | {"fil"} if Words(text).files else found


def stems_of_name(name: str) -> set[str]:
    """The same of an identifier such as `get_weather` or `readFile`; a name that says nothing stands for itself."""
    words = _WORD.findall(_CAMEL.sub(" ", name.replace("_", " ")))
    return set(_stemmed(words)) or {_ENDING.sub("", word.lower()) for word in words}


def _stemmed(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        low = word.lower()
        if low not in _SAYS_NOTHING:
            yield _ENDING.sub("", _SAME.get(low, low))
