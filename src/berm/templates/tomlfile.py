"""A TOML file with the place of every key. tomllib reads the values and says nothing of where they stood."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from berm.templates.problems import Problem

KeyPath = tuple[str, ...]

LARGEST: Final = 1 << 16
"""Bytes in a file: what takes longer to read was not written for us."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = r'"(?:\\.|[^"\\])*"|\'[^\']*\''
_KEY = re.compile(rf"{_STRING}|[A-Za-z0-9_-]+")
# tomllib takes quadratic time for keys with many dots.
_DEEP = re.compile(rf"(?<![A-Za-z0-9_-])(?:(?:{_STRING}|[A-Za-z0-9_-]++)[ \t]*\.[ \t]*){{50}}")
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + rf"|'''.*?'{{3,5}}|{_STRING}|" + r"[^,\]}#\r\n]+", re.DOTALL
)
_PLACED = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """What a TOML file says. Places are (line, column), from 1, of the key itself."""

    file: str
    data: Mapping[str, Any]
    places: Mapping[KeyPath, tuple[int, int]]

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """An error at a key; at the table that it is missing from, or at the top, if it is not there."""
        while path and path not in self.places:
            path = path[:-1]
        return Problem(self.file, *self.places.get(path, (1, 1)), message, hint)


def parse(data: bytes, file: str) -> Document | Problem:
    """Read a TOML document, or say where it stops being one."""
    if len(data) > LARGEST:
        return Problem(file, 1, 1, f"the file has {len(data)} bytes: {LARGEST} is the most")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Problem(file, *_place(data[: error.start]), "the file is not UTF-8", "save it as UTF-8")
    return _parse(text, file)


def _parse(text: str, file: str) -> Document | Problem:
    if deep := _DEEP.search(text):
        return Problem(file, *_place(text[: deep.start()].encode()), "the key has too many parts")
    try:
        values = tomllib.loads(text)
        return Document(file, values, _first(_Locator(text).tables()))
    except tomllib.TOMLDecodeError as error:
        return _broken(str(error), text, file)
    except RecursionError:
        return Problem(file, 1, 1, "the file is nested too deeply")


def _first(found: Iterable[tuple[KeyPath, tuple[int, int]]]) -> Mapping[KeyPath, tuple[int, int]]:
    places: dict[KeyPath, tuple[int, int]] = {}
    for path, place in found:
        places.setdefault(path, place)
    return places


def _broken(said: str, text: str, file: str) -> Problem:
    found = _PLACED.fullmatch(said)
    message = found[1] if found else said
    place = (int(found[2]), int(found[3])) if found and found[2] else _place(text.encode())
    return Problem(file, *place, f"this is not TOML: {message}", "see https://toml.io")


def _place(before: bytes) -> tuple[int, int]:
    lines = before.split(b"\n")
    return len(lines), len(lines[-1].decode(errors="replace")) + 1


class _Locator:
    """Walks over a document that tomllib has accepted, so it need not tell right from wrong."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0

    def tables(self) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
        table: KeyPath = ()
        while self._more():
            if self._next() == "[":
                self._skip("[")
                table = yield from self._key(())
                self._skip("]")
            else:
                yield from self._pair(table)

    def _pair(self, table: KeyPath) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
        path = yield from self._key(table)
        self._skip("=")
        yield from self._value(path)

    def _key(self, table: KeyPath) -> Any:
        """Yields each key of a dotted one; returns the whole path."""
        while True:
            self._at = _end(_SPACE, self._text, self._at)
            place = self._place()
            end = _end(_KEY, self._text, self._at)
            table = (*table, _name(self._text[self._at : end]))
            yield table, place
            self._at = _end(_SPACE, self._text, end)
            if self._next() != ".":
                return table
            self._at += 1

    def _value(self, path: KeyPath) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
        first = self._next()
        if first in "[{":
            yield from self._nested(path, "]" if first == "[" else "}")
        else:
            self._at = _end(_SCALAR, self._text, self._at)

    def _nested(self, path: KeyPath, end: str) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
        self._at += 1
        while self._more() and self._next() != end:
            if self._next() == ",":
                self._at += 1
            elif end == "]":
                yield from self._value(path)
            else:
                yield from self._pair(path)
        self._at += 1

    def _more(self) -> bool:
        self._at = _end(_BLANK, self._text, self._at)
        return self._at < len(self._text)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, signs: str) -> None:
        while self._next() in (signs, " ", "\t"):
            self._at += 1

    def _place(self) -> tuple[int, int]:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line, self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at + 1


def _name(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
