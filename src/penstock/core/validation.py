"""What somebody has written: a wrong number is a ConfigError that names it, a wrong word has a nearest right one."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.core.errors import ConfigError

__all__ = ["check_count", "check_seconds", "near", "unicode_fault"]

_SHORT = 4  # letters up to which a word is like many others: `nope` is no slip of `openai`
_LONGEST = 1e9  # seconds, some thirty years: more is a mistake, and too much of it is no number to a clock


def check_seconds(name: str, value: object) -> float:
    """*value*, a number of seconds above 0, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise ConfigError(f"`{name}` is {value!r}, expected a number of seconds above 0")
    return value


def check_count(name: str, value: object) -> int:
    """*value*, a whole number of 1 or more, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST:
        raise ConfigError(f"`{name}` is {value!r}, expected a whole number of 1 or more")
    return value


def near(word: object, known: Iterable[str]) -> str:
    """The end of a message: the nearest known word, if there is a near one, in whatever case."""
    from difflib import get_close_matches  # for those who have mistaken a word

    words = {str(each).lower(): each for each in known}
    text = str(word).lower()
    # A short word is near to many that have nothing to do with it.
    found = get_close_matches(text, words, 1, cutoff=0.6 if len(text) > _SHORT else 0.65)
    found = found or [each for each in words if text in each.split(".")]
    return f"; did you mean {words[found[0]]!r}?" if found else ""


def unicode_fault(data: bytes, error: Exception) -> Exception:
    """What is wrong with *data* that msgspec refused with *error*: text that is no UTF-8 is told by its place.

    msgspec 0.23 has words of its own for that, before it was Python's error, with the place inside of a string.
    """
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):
        try:
            data.decode()
        except UnicodeDecodeError as found:
            return found
    return error
