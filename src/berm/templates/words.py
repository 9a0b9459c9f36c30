"""Variables, quotes and escapes in a Dockerfile's words, as BuildKit reads them (not a shell).

An unset variable is empty, and so is `$$`, `$1` and the like: they are names as any other.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from berm.templates.patterns import LONGEST, replace, trim

DEEPEST: Final = 30
"""How deep `${...}` may stand in `${...}`."""

_QUOTES: Final = "'\""
_NAME = re.compile(r"[0-9]+|[@*#?$!-]|\w+")
_OPERATOR = re.compile(r"\}|:?[-+?]|##?|%%?|//?")
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")
_PLAIN_NAME = re.compile(r"\$\{?([^\W\d]\w*)")


class MalformedError(ValueError):
    """What cannot be read, whatever the variables are; `offset` is where in the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def expand(text: str, variables: Mapping[str, str], escape: str = "\\", *, quotes: bool = True) -> str:
    """The text with its variables put in, and without its quotes and escapes.

    With `quotes` false, quotes are letters as any other: the content of a heredoc.
    Raises ValueError with a sentence for what is malformed, `${x:?}`, and what becomes too long.
    """
    return _value(_parsed(text, escape, quotes), variables, escape)


def split(text: str, variables: Mapping[str, str], escape: str = "\\") -> tuple[str, ...]:
    """Expand, and divide at blanks that are not quoted: also at those that come out of a variable.

    Raises ValueError as `expand` does.
    """
    done: list[str] = []
    word: list[str] = []
    for quoted, value in _values(_parsed(text, escape, True), variables, escape):
        first, *others = [value] if quoted else _BLANKS.split(value)
        word.append(first)
        for other in others:
            done.append("".join(word))
            word = [other]
    return tuple(filter(None, (*done, "".join(word))))


def used(text: str, escape: str = "\\") -> frozenset[str]:
    """The names of the variables that the text refers to; of a malformed one, those in sight."""
    try:
        return frozenset(_names(_parsed(text, escape, True)))
    except MalformedError:
        return frozenset(_PLAIN_NAME.findall(text))


def check(text: str, escape: str = "\\", *, quotes: bool = True) -> None:
    """Raises MalformedError for what `expand` could not read, whatever the variables are."""
    _parsed(text, escape, quotes)


# What a text consists of


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    quoted: bool
    operator: str = ""
    word: "tuple[_Part, ...]" = ()
    """The default, the message or the pattern."""
    replacement: "tuple[_Part, ...]" = ()


_Part = _Text | _Variable


def _names(parts: tuple[_Part, ...]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, _Variable):
            yield part.name
            yield from _names(part.word)
            yield from _names(part.replacement)


def _parsed(text: str, escape: str, quotes: bool) -> tuple[_Part, ...]:
    if not _special(escape, quotes).search(text):
        return (_Text(text, quoted=False),)
    return _Reader(text, escape, quotes).parts()


@lru_cache
def _special(escape: str, quotes: bool) -> re.Pattern[str]:
    return re.compile(rf"[${re.escape(escape)}{_QUOTES if quotes else ''}]")


class _Reader:
    def __init__(self, text: str, escape: str, quotes: bool) -> None:
        self._text = text
        self._escape = escape
        self._quotes = _QUOTES if quotes else ""
        self._plain = re.compile(rf"[^${re.escape(escape)}{self._quotes}}}/]+|[}}/]")
        self._at = 0
        self._depth = 0

    def parts(self, stop: str = "", begin: int = 0, raw: bool = False) -> tuple[_Part, ...]:
        """Up to `stop`, which is passed over and which ends what has its `begin` somewhere before, or to the
        end. `raw`: escapes are kept, for a pattern."""
        found: list[_Part] = []
        while self._at < len(self._text):
            sign = self._text[self._at]
            if sign == stop:
                self._at += 1
                return tuple(found)
            found += self._part(sign, raw)
        if stop:
            raise MalformedError(f"a {stop!r} is missing after ${{", begin)
        return tuple(found)

    def _part(self, sign: str, raw: bool) -> Iterator[_Part]:
        if sign == "$":
            yield self._dollar(quoted=False)
        elif sign == self._escape:
            yield _Text(self._escaped(raw, ""), quoted=True)
        elif sign not in self._quotes:
            yield _Text(self._match(self._plain), quoted=False)
        elif sign == "'":
            yield _Text(self._single(), quoted=True)
        else:
            yield from self._double(raw)

    def _match(self, pattern: re.Pattern[str]) -> str:
        """What matches here, passed over; empty if nothing does."""
        found = pattern.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def _escaped(self, raw: bool, only: str) -> str:
        """An escape and the next character; with `only`, other characters keep the escape before them."""
        following = self._text[self._at + 1 : self._at + 2]
        kept = raw or (only and following not in only)
        self._at += 2
        return f"{self._escape if kept else ''}{following}"

    def _single(self) -> str:
        begin = self._at
        end = self._text.find("'", begin + 1)
        if end < 0:
            raise MalformedError("a single quote is not closed", begin)
        self._at = end + 1
        return self._text[begin + 1 : end]

    def _double(self, raw: bool) -> Iterator[_Part]:
        begin = self._at
        inside = re.compile(rf"[^\"${re.escape(self._escape)}]+")
        self._at += 1
        yield _Text("", quoted=True)
        while (sign := self._text[self._at : self._at + 1]) != '"':
            if not sign:
                raise MalformedError("a double quote is not closed", begin)
            if sign == "$":
                yield self._dollar(quoted=True)
            elif sign == self._escape:
                yield _Text(self._escaped(raw, f'"${self._escape}'), quoted=True)
            else:
                yield _Text(self._match(inside), quoted=True)
        self._at += 1

    def _dollar(self, quoted: bool) -> _Part:
        begin = self._at
        self._at += 1
        if self._text.startswith("{", self._at):
            return self._braced(begin, quoted)
        name = self._match(_NAME)
        return _Variable(name, quoted) if name else _Text("$", quoted)

    def _braced(self, begin: int, quoted: bool) -> _Part:
        self._depth += 1
        if self._depth > DEEPEST:
            raise MalformedError(f"${{ stands more than {DEEPEST} deep in itself", begin)
        self._at += 1
        name = self._match(_NAME)
        operator = self._match(_OPERATOR) if name else ""
        if not operator:
            raise MalformedError(self._why(name), begin)
        part = self._operation(name, quoted, operator, begin)
        self._depth -= 1
        return part

    def _operation(self, name: str, quoted: bool, operator: str, begin: int) -> _Variable:
        if operator == "}":
            return _Variable(name, quoted)
        if operator in ("/", "//"):
            pattern = self.parts("/", begin, raw=True)
            return _Variable(name, quoted, operator, pattern, self.parts("}", begin))
        return _Variable(name, quoted, operator, self.parts("}", begin, raw=operator[0] in "#%"))

    def _why(self, name: str) -> str:
        following = self._text[self._at : self._at + 1]
        if not following:
            return "a '}' is missing after ${"
        if not name:
            return f"${{ is followed by {following!r} and not by the name of a variable"
        return f"${{{name} is followed by {following!r}, which means nothing there"


# Values


def _value(parts: tuple[_Part, ...], variables: Mapping[str, str], escape: str) -> str:
    return "".join(value for _, value in _values(parts, variables, escape))


def _values(
    parts: tuple[_Part, ...], variables: Mapping[str, str], escape: str
) -> Iterator[tuple[bool, str]]:
    """Of each part, and whether it is quoted."""
    size = 0
    for part in parts:
        value = part.text if isinstance(part, _Text) else _variable(part, variables, escape)
        size += len(value)
        if size > LONGEST:
            raise ValueError(f"the text becomes longer than {LONGEST} characters when it is expanded")
        yield part.quoted, value


def _variable(part: _Variable, variables: Mapping[str, str], escape: str) -> str:
    value = variables.get(part.name)
    if not part.operator:
        return value or ""
    word = _value(part.word, variables, escape)
    if part.operator in ("/", "//"):
        by = _value(part.replacement, variables, escape)
        return replace(value or "", word, by, escape, every=part.operator == "//")
    if part.operator[0] in "#%":
        return trim(value or "", word, part.operator, escape)
    absent = value is None or (part.operator[0] == ":" and not value)
    return _CHOICES[part.operator[-1]](part.name, None if absent else value, word)


def _required(name: str, value: str | None, message: str) -> str:
    if value is None:
        raise ValueError(f"{name}: {message or 'this variable must have a value'}")
    return value


_CHOICES: Final[Mapping[str, Callable[[str, str | None, str], str]]] = {
    "-": lambda _, value, word: word if value is None else value,
    "+": lambda _, value, word: "" if value is None else word,
    "?": _required,
}
"""What `${name-word}` and the like are. `${name:-word}` takes an empty value for none."""
