"""Permissions in the symbols of chmod(1), such as `u=rwX,go=rX`. There is no umask."""

import re
from typing import Final

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_CHANGE = re.compile(r"([-+=])([a-zA-Z]*)")
_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}
_BITS: Final = {"r": 4, "w": 2, "x": 1}
_SET_ID: Final = {"u": 0o4000, "g": 0o2000, "o": 0}
_STICKY: Final = 0o1000
_EXECUTE: Final = 0o111


def is_symbolic(text: str) -> bool:
    """Whether this is a list of changes that `changed` takes."""
    return all(_CLAUSE.fullmatch(clause) for clause in text.split(","))


def changed(mode: int, changes: str, directory: bool) -> int:
    """What changes make of the permissions of a file or directory, one after the other.

    Raises ValueError for what is no list of changes.
    """
    for clause in changes.split(","):
        if not (found := _CLAUSE.fullmatch(clause)):
            raise ValueError(f"{clause!r} is no change of permissions")
        who = set("ugo") if not found[1] or "a" in found[1] else set(found[1])
        for operator, what in _CHANGE.findall(found[2]):
            mode = _changed(mode, who, operator, what, directory)
    return mode


def _changed(mode: int, who: set[str], operator: str, what: str, directory: bool) -> int:
    bits = sum(_granted(mode, what, directory) << _SHIFTS[each] for each in who)
    bits |= sum(_SET_ID[each] for each in who) if "s" in what else 0
    bits |= _STICKY if "t" in what else 0
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    # A directory keeps its set-id bits unless they are named, as with GNU's chmod.
    cleared = sum(7 << _SHIFTS[each] | (0 if directory else _SET_ID[each]) for each in who)
    return mode & ~(cleared | (_STICKY if "o" in who else 0)) | bits


def _granted(mode: int, what: str, directory: bool) -> int:
    """What letters stand for, of read (4), write (2) and execute (1); one of `ugo` is what that one has."""
    if what in _SHIFTS:
        return mode >> _SHIFTS[what] & 7
    execute = "X" in what and (directory or mode & _EXECUTE)
    return sum(bit for letter, bit in _BITS.items() if letter in what) | (1 if execute else 0)
