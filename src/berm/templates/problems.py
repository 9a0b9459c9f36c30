"""What is wrong with a template's files: every problem with its place, all of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from berm.errors import BermError, Code


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, or that should be thought about. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}{hint}"


class DefinitionError(BermError):
    """A template that cannot be built as it is written; `problems` has every reason, in order of place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(Code.INVALID_ARGUMENT, "\n".join(map(str, self.problems)))


def refuse(problems: Iterable[Problem]) -> None:
    """Raises DefinitionError if one of the problems is an error."""
    found = tuple(problems)
    if any(problem.severity is Severity.ERROR for problem in found):
        raise DefinitionError(found)
