""".dockerignore: what of a build context is left out, as Docker does it.

The last pattern that matches a path or one of the directories above it decides; `!` takes it back in.
"""

import itertools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.templates import globs, textfile
from berm.templates.problems import Problem

FILE_NAME: Final = ".dockerignore"

State = tuple[bool, ...]
"""Which rules have matched a directory, and so match all that is below it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line, without its `!`, cleaned as Docker does. `expression` matches whole paths."""

    text: str
    expression: str
    ignores: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """Patterns that stand together and say the same."""

    expression: re.Pattern[str]
    ignores: bool


class Ignore:
    """The rules of one file. Paths are relative to the context, with `/`, and without `.` and `..`."""

    def __init__(self, patterns: Sequence[Pattern] = ()) -> None:
        together = itertools.groupby(patterns, lambda pattern: pattern.ignores)
        self._rules = [_Rule(_any_of(found), ignores) for ignores, found in together]
        self._exceptions = [_elements(pattern.text) for pattern in patterns if not pattern.ignores]
        self.top: State = (False,) * len(self._rules)
        """The state of the context's root."""

    def check(self, path: str, above: State) -> tuple[bool, State]:
        """Whether a path is left out, and its state; `above` is the state of the directory it is in."""
        ignored, state = False, []
        for rule, inherited in zip(self._rules, above, strict=True):
            matched = inherited or rule.expression.match(path) is not None
            ignored = rule.ignores if matched else ignored
            state.append(matched)
        return ignored, tuple(state)

    def ignores(self, path: str) -> bool:
        """Whether a path is left out."""
        ignored, state = False, self.top
        names = path.split("/")
        for depth in range(len(names)):
            ignored, state = self.check("/".join(names[: depth + 1]), state)
        return ignored

    def may_hold(self, directory: str) -> bool:
        """Whether something below a directory that is left out may be taken back in."""
        names = directory.split("/")
        return any(_reaches_below(elements, names) for elements in self._exceptions)


def load(context: Path, dockerfile: Path | None = None) -> tuple[Ignore, tuple[Problem, ...]]:
    """The rules for a context: `NAME.dockerignore` beside the Dockerfile NAME, or else `.dockerignore`."""
    beside = dockerfile.with_name(dockerfile.name + FILE_NAME) if dockerfile else None
    file = beside if beside and beside.is_file() else context / FILE_NAME
    if not os.path.lexists(file):
        return Ignore(), ()
    try:
        return parse(textfile.read(file), str(file))
    except BermError as error:
        return Ignore(), (Problem(str(file), 1, 1, error.message),)


def parse(data: bytes, file: str) -> tuple[Ignore, tuple[Problem, ...]]:
    """Read the text of an ignore file; lines that are no patterns are problems and ignore nothing."""
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        try:
            patterns += _patterns(line)
        except BermError as error:
            column = len(line) - len(line.lstrip()) + 1
            problems.append(Problem(file, number, column, error.message, error.hint))
    return Ignore(patterns), tuple(problems)


def _patterns(line: str) -> Iterator[Pattern]:
    text = line.strip()
    if not text or line.startswith("#"):
        return
    ignores = not text.startswith("!")
    pattern = text if ignores else text[1:].strip()
    if not pattern:
        raise BermError(Code.INVALID_ARGUMENT, "there is no pattern after '!'", r"a name is written \!name")
    text = cleaned(pattern)
    # "." has never stood for anything, with Docker either.
    if text != ".":
        yield Pattern(text, globs.translated(text), ignores)


def cleaned(pattern: str) -> str:
    """A pattern as Docker takes it: without `.`, `//` and a `/` at either end; `.` where nothing is left."""
    return posixpath.normpath(pattern).lstrip("/") or "."


def _any_of(patterns: Iterator[Pattern]) -> re.Pattern[str]:
    return re.compile("|".join(pattern.expression for pattern in patterns))


def _elements(pattern: str) -> list[re.Pattern[str] | None]:
    return [_element(element) for element in pattern.replace("\\/", "/").split("/")]


def _element(text: str) -> re.Pattern[str] | None:
    """What matches one name, or None where anything may match: there is a `**` in it, or half of a class."""
    try:
        return None if "**" in text else globs.compiled(text)
    except BermError:
        return None


def _reaches_below(elements: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    for element, name in zip(elements, names, strict=False):
        if element is None:
            return True
        if not element.match(name):
            return False
    return len(elements) > len(names)
