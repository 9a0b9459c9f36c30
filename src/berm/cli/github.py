"""What GitHub Actions shows beside a change: annotations and a job's summary.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from berm.cli import output
from berm.config import Runner
from berm.templates.problems import Problem

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = {**_DATA, **str.maketrans({":": "%3A", ",": "%2C"})}


def _escaped(text: str, table: Mapping[int, str]) -> str:
    return output.clean(text).translate(table)


def annotation(problem: Problem, runner: Runner) -> str:
    """A workflow command that shows a problem at its line."""
    where = {
        "file": _in_repository(problem.file, runner),
        "line": str(problem.line),
        "col": str(problem.column),
        "title": "berm template",
    }
    properties = ",".join(f"{name}={_escaped(value, _PROPERTY)}" for name, value in where.items())
    said = f"{problem.message}\nHint: {problem.hint}" if problem.hint else problem.message
    return f"::{problem.severity} {properties}::{_escaped(said, _DATA)}"


def _in_repository(file: str, runner: Runner) -> str:
    """A path as the repository has it, whatever the working directory is."""
    if not runner.workspace:
        return file
    return os.path.relpath(os.path.realpath(file), os.path.realpath(runner.workspace))


@dataclass(slots=True)
class Job:
    """What a command tells the job that it runs in; nothing outside of one.

    Inside `with`, the runner takes no line that is printed for a command, whoever wrote it.
    """

    runner: Runner
    _problems: list[Problem] = field(default_factory=list)
    _token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def __enter__(self) -> Self:
        if self.runner.active:
            output.note(f"::stop-commands::{self._token}")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.runner.active:
            return
        sys.stdout.flush()
        output.note(f"::{self._token}::")
        for problem in self._problems:
            output.note(annotation(problem, self.runner))

    def annotate(self, problems: Iterable[Problem]) -> None:
        """Show problems at their lines, when the block has ended."""
        self._problems += problems

    def summarize(self, markdown: str) -> None:
        """Append to the job's summary."""
        if self.runner.summary:
            with Path(self.runner.summary).open("a", encoding="utf-8", errors="replace") as file:
                file.write(output.clean(markdown) + "\n")


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in which no cell can be more than text."""
    lines = [list(columns), *([text(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def text(value: object) -> str:
    """A value on one line of Markdown, where no sign of it means anything."""
    plain = "" if value is None else " ".join(str(value).split())
    return "".join(f"&#{ord(char)};" if char in _MARKS else char for char in plain)


_MARKS = frozenset("\\`*_{}[]()<>#+!|~@&$:")
"""What means something in GitHub's Markdown: links, images, code, HTML, mentions, cells, URLs."""
