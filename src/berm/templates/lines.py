"""A Dockerfile's lines, joined where an instruction goes on, with the place of each of their characters."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from berm.templates.findings import Findings


class Position(NamedTuple):
    """In a file, from 1."""

    line: int
    column: int


class Span(NamedTuple):
    """A piece of a joined line, and where in it the piece begins."""

    text: str
    at: int

    def cut(self, begin: int, end: int | None = None) -> "Span":
        return Span(self.text[begin:end], self.at + begin)

    def strip(self) -> "Span":
        text = self.text.lstrip()
        return Span(text.rstrip(), self.at + len(self.text) - len(text))


@dataclass(frozen=True, slots=True)
class Joined:
    """What an instruction stands on: one line, or several without the escapes that join them."""

    text: str
    offsets: tuple[int, ...]
    """Where each of the lines begins in `text`."""
    numbers: tuple[int, ...]
    end: int
    """The number of the last line that was read."""

    def position(self, offset: int) -> Position:
        index = bisect_right(self.offsets, offset) - 1
        return Position(self.numbers[index], offset - self.offsets[index] + 1)


class Lines:
    """Reads a text line by line; `escape` at the end of a line joins the next one to it."""

    def __init__(self, text: str, file: str, findings: Findings) -> None:
        self._lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
        self._at = 0
        self._file = file
        self._findings = findings
        self.escape = "\\"

    @property
    def number(self) -> int:
        """Of the line that was read last."""
        return self._at

    def next(self) -> str | None:
        """A line as it stands; None at the end."""
        if self._at == len(self._lines):
            return None
        self._at += 1
        return self._lines[self._at - 1]

    def back(self) -> None:
        """Have the last line read again."""
        self._at -= 1

    def joined(self) -> Joined | None:
        """The next lines that are neither blank nor a comment; None at the end."""
        while (line := self.next()) is not None:
            if line.strip() and not is_comment(line):
                self.back()
                joined = self._join()
                if joined.text.strip():
                    return joined
        return None

    def _join(self) -> Joined:
        pieces: list[str] = []
        offsets: list[int] = []
        numbers: list[int] = []
        size = 0
        for line in self._continued():
            pieces.append(line)
            offsets.append(size)
            numbers.append(self.number)
            size += len(line)
        return Joined("".join(pieces), tuple(offsets), tuple(numbers), self.number)

    def _continued(self) -> Iterator[str]:
        """The lines of one instruction; blank ones and comments between them do not count."""
        blank: Position | None = None
        first = self.number + 1
        while (line := self.next()) is not None:
            if self.number > first and not line.strip():
                blank = blank or Position(self.number, 1)
            elif self.number == first or not is_comment(line):
                text, goes_on = self._ends(line)
                yield text
                if not goes_on:
                    break
        else:
            place = Position(self.number, 1)
            self._warn(
                place, "the file ends where a line is to follow", f"remove the {self.escape} at its end"
            )
        if blank:
            self._warn(blank, "a blank line inside an instruction is passed over", "remove it")

    def _ends(self, line: str) -> tuple[str, bool]:
        """The line without its escape, and whether it had one at its end; a doubled escape is none."""
        text = line.rstrip(" \t")
        if text.endswith(self.escape) and not text.endswith(self.escape * 2):
            return text[:-1], True
        return line, False

    def _warn(self, place: Position, message: str, hint: str) -> None:
        self._findings.warn(self._file, place, message, hint)


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
