"""Gathering what is wrong: every instruction is looked at, whatever is wrong with those before it."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from berm.templates.problems import Problem, Severity

_LONGEST: Final = 100


class InstructionError(ValueError):
    """Why an instruction cannot be done; where it stands is known to who catches it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Place(Protocol):
    """Something with a place in a file."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Position:
    line: int
    column: int


TOP: Final = Position(1, 1)
"""Where a problem of a whole file is."""


class Findings:
    """The problems of one or more files."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    @contextmanager
    def at(self, file: str, place: Place) -> Iterator[None]:
        """Each InstructionError raised inside, alone or in a group, is noted here, and ends the block."""
        try:
            yield
        except* InstructionError as group:
            for wrong in _leaves(group):
                self.error(file, place, wrong.message, wrong.hint)

    def error(self, file: str, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(file, place.line, place.column, message, hint))

    def warn(self, file: str, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(file, place.line, place.column, message, hint, Severity.WARNING))

    @property
    def failed(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def all(self) -> tuple[Problem, ...]:
        return tuple(sorted(set(self.problems)))


def _leaves(group: BaseExceptionGroup[InstructionError]) -> Iterator[InstructionError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def nearest(text: str, known: Iterable[str]) -> str:
    """A hint with the known word that was probably meant, or else with all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(text.lower(), [word.lower() for word in words], 1)
    if close:
        return f"did you mean {next(word for word in words if word.lower() == close[0])}?"
    return f"there are {', '.join(words)}" if words else ""


def shown(text: str) -> str:
    """Text for a message: quoted, and not endless."""
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")
