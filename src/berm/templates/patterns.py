"""`*` and `?` in `${x#pattern}`, `${x%pattern}` and `${x/pattern/text}`.

A pattern may be hostile, so all that stands between two stars is matched at its first place for good
(`(?>...)`): a later place could match nothing more.
"""

import re
from collections.abc import Iterator
from typing import Final

from berm.templates.findings import shown

LONGEST: Final = 1 << 20
"""Characters that an expansion may have; variables that double at each ENV would know no end."""
_LONGEST_PATTERN: Final = 1000

_Pieces = list[list[str]]
"""Expressions for one character each, divided at every star."""

_TAKEN_AS_THEY_ARE = "*?\\`}/"


def trim(value: str, pattern: str, operator: str, escape: str) -> str:
    """The value without what matches at its beginning (`#`, `##` for the longest) or at its end (`%`, `%%`).

    Raises ValueError, as `replace` does, for a pattern that is too long or escapes an ordinary letter.
    """
    pieces = _pieces(pattern, escape)
    backwards = operator[0] == "%"
    if backwards:
        value, pieces = value[::-1], [piece[::-1] for piece in pieces[::-1]]
    found = _compiled(pieces, longest=len(operator) == 2).match(value)
    rest = value[found.end() :] if found else value
    return rest[::-1] if backwards else rest


def replace(value: str, pattern: str, by: str, escape: str, *, every: bool) -> str:
    """The value with the longest match at the first place replaced, or with each such match."""
    kept: list[str] = []
    at, size = 0, len(value)
    for begin, end in _matches(value, pattern, escape):
        kept += (value[at:begin], by)
        size += len(by) - (end - begin)
        at = end
        if size > LONGEST:
            raise ValueError(f"replacing {shown(pattern)} makes a text longer than {LONGEST} characters")
        if not every:
            break
    return "".join((*kept, value[at:]))


def _matches(value: str, pattern: str, escape: str) -> Iterator[tuple[int, int]]:
    """Begin and end; matches of nothing do not count."""
    first, *others = _pieces(pattern, escape)
    head = re.compile("".join(first), re.DOTALL)
    tail = _compiled([[], *others], longest=True)
    found = head.search(value)
    while found:
        rest = tail.match(value, found.end())
        # What follows the first star is nowhere behind this place, so it is behind no later one either.
        if rest is None or rest.end() == found.start():
            return
        yield found.start(), rest.end()
        found = head.search(value, rest.end())


def _compiled(pieces: _Pieces, longest: bool) -> re.Pattern[str]:
    first, *others = ("".join(piece) for piece in pieces)
    between = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    star = ".*" if longest else ".*?"
    last = f"{star}{others[-1]}" if others else ""
    return re.compile(first + between + last, re.DOTALL)


def _pieces(pattern: str, escape: str) -> _Pieces:
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"a pattern has {len(pattern)} characters: {_LONGEST_PATTERN} is the most")
    pieces: _Pieces = [[]]
    signs = iter(pattern)
    for sign in signs:
        if sign == "*":
            pieces.append([])
        elif sign == "?":
            pieces[-1].append(".")
        else:
            pieces[-1].append(re.escape(_escaped(next(signs, ""), pattern) if sign == escape else sign))
    return pieces


def _escaped(sign: str, pattern: str) -> str:
    if not sign or sign not in _TAKEN_AS_THEY_ARE:
        raise ValueError(f"the pattern {shown(pattern)} has an escape before {shown(sign)}, which needs none")
    return sign
