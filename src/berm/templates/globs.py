"""Patterns of .dockerignore and COPY as regular expressions.

They are those of Go's filepath.Match and Docker's `**`: `*` and `?` are no `/`, `[a-z]` and `[^a]` are one
character, `\\` takes the meaning from the next, `**/` is any number of directories. Unlike Docker's, a class
never stands for a `/`.

A pattern may be hostile, so what follows a star is matched at its first place for good (`(?>...)`): a later
place could match nothing more, and trying it would take forever.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from berm.errors import BermError, Code

LONGEST: Final = 4096
"""Characters in a pattern."""

_MOST_SPLITS: Final = 4
_NAME = r"[^/]"
_STAR, _DEEP, _TAIL = "*", "**", "**$"

_Tokens = Sequence[str]


def is_glob(text: str) -> bool:
    """Whether a source of COPY is a pattern; one without `*`, `?` and `[` is a name as it stands."""
    return re.search(r"[*?[]", re.sub(r"\\.", "", text, flags=re.DOTALL)) is not None


def compiled(pattern: str, deep: bool = True) -> re.Pattern[str]:
    """What matches a whole path; see `translated`."""
    return re.compile(translated(pattern, deep))


def translated(pattern: str, deep: bool = True) -> str:
    """A regular expression for whole paths; `deep`: whether `**` is more than `*`.

    Raises BermError INVALID_ARGUMENT for a pattern that is broken, longer than LONGEST, or too costly.
    """
    if len(pattern) > LONGEST:
        raise _refused(pattern, f"has {len(pattern)} characters: {LONGEST} is the most")
    tokens = _single(list(_tokens(pattern, deep)))
    return f"(?s:{'|'.join(map(_alternative, _split(pattern, tokens)))})"


def _tokens(pattern: str, deep: bool) -> Iterator[str]:
    """Stars, and expressions for one character each."""
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*":
            token, at = _star(pattern, at, deep)
            yield token
        elif sign == "?":
            yield _NAME
        elif sign == "[":
            token, at = _class(pattern, at)
            yield token
        elif sign == "\\":
            yield re.escape(_at(pattern, at))
            at += 1
        else:
            yield re.escape(sign)


def _single(tokens: _Tokens) -> _Tokens:
    """Several `**` in a row are one."""
    pairs = zip(tokens, [*tokens[1:], ""], strict=True) if tokens else ()
    return [one for one, then in pairs if one != _DEEP or then not in (_DEEP, _TAIL)]


def _star(pattern: str, at: int, deep: bool) -> tuple[str, int]:
    if not deep or pattern[at : at + 1] != "*":
        return _STAR, at
    at += 2 if pattern[at + 1 : at + 2] == "/" else 1
    return (_DEEP if at < len(pattern) else _TAIL), at


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    first, ranges = at, ""
    while at == first or _at(pattern, at) != "]":
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _member(pattern, at + 1)
        if low <= high:
            ranges += f"{re.escape(low)}-{re.escape(high)}"
    return _class_of(ranges, negated), at + 1


def _class_of(ranges: str, negated: bool) -> str:
    if not ranges:
        return _NAME if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{ranges}]"


def _member(pattern: str, at: int) -> tuple[str, int]:
    sign = _at(pattern, at)
    if sign in "-]":
        raise _refused(pattern, f"has a {sign!r} out of place", "write a backslash before it")
    if sign == "\\":
        return _at(pattern, at + 1), at + 2
    return sign, at + 1


def _at(pattern: str, at: int) -> str:
    if at >= len(pattern):
        raise _refused(pattern, "ends in the middle", "close the [ or double the backslash at its end")
    return pattern[at]


def _split(pattern: str, tokens: _Tokens) -> list[_Tokens]:
    """Alternatives in which each `**` begins a path element: `a**b` is `ab` or `a*/**/b`."""
    done: list[_Tokens] = [()]
    for index, token in enumerate(tokens):
        if token == _DEEP and index and tokens[index - 1] != "/":
            done = [way for before in done for way in (before, (*before, _STAR, "/", _DEEP))]
            if len(done) > 1 << _MOST_SPLITS:
                raise _refused(pattern, f"has `**` inside more than {_MOST_SPLITS} names")
        else:
            done = [(*before, token) for before in done]
    return done


def _alternative(tokens: _Tokens) -> str:
    first, *others = _divide(tokens, _DEEP)
    if not others:
        return _names(first, last=True)
    *middle, last = others
    between = "".join(rf"(?>(?:.*?/)??{_names(group)})" for group in middle)
    return rf"{_names(first)}{between}(?:.*/)?{_names(last, last=True)}"


def _names(tokens: _Tokens, last: bool = False) -> str:
    """What has no `**` in it. Each star with what follows it up to the next is one step."""
    tail = ".*" if tokens and tokens[-1] == _TAIL else ""
    fixed, *steps = _divide([token for token in tokens if token != _TAIL], _STAR)
    done = "".join(rf"(?>{_NAME}*?{''.join(step)})" for step in steps[:-1] if step)
    if steps:
        # At the end of a path the last step has to reach it, so here later places do count.
        final = rf"{_NAME}*{''.join(steps[-1])}" if last else rf"(?>{_NAME}*?{''.join(steps[-1])})"
        done += final
    return "".join(fixed) + done + tail + (r"\Z" if last else "")


def _divide(tokens: _Tokens, separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _refused(pattern: str, why: str, hint: str = "") -> BermError:
    shown = pattern if len(pattern) <= 80 else pattern[:77] + "..."
    return BermError(Code.INVALID_ARGUMENT, f"the pattern {shown!r} {why}", hint)
