"""The Dockerfile language (docker/dockerfile:1): text to instructions, with everything that is wrong."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from berm.templates import directives, heredocs
from berm.templates.findings import Findings, shown
from berm.templates.heredocs import Body
from berm.templates.instructions import NO_TRIGGERS, RULES, read
from berm.templates.lines import Joined, Lines, Position, Span
from berm.templates.problems import Problem, Severity
from berm.templates.reading import Source
from berm.templates.syntax import Dockerfile, Heredoc, Instruction

__all__ = ["LARGEST", "Dockerfile", "Heredoc", "Instruction", "parse", "parse_instruction"]

LARGEST: Final = 1 << 20
"""Bytes in a Dockerfile."""
_MOST: Final = 100
"""Problems after which reading ends: what has more is no Dockerfile."""

_NOT_TEXT = re.compile("[\0\udc80-\udcff]")
_WITH_HEREDOC = re.compile(r"\s*(?:ONBUILD\s+)?(RUN|COPY|ADD)\s", re.IGNORECASE)
_TOP = Position(1, 1)


def parse(source: bytes, file: str = "Dockerfile") -> tuple[Dockerfile, tuple[Problem, ...]]:
    """Every problem at once; an instruction with an error is left out.

    Nothing is read after a heredoc without an end, nor after a hundred errors.
    """
    findings = Findings()
    text = _decoded(source, file, findings)
    if findings.failed:
        return Dockerfile(file, (), directives.ESCAPES[0], {}), findings.all()
    lines = Lines(text, file, findings)
    known = directives.read(lines, file, findings)
    found = list(_instructions(lines, file, findings))
    wrong = _misplaced([instruction for instruction, _ in found], file, findings)
    kept = tuple(each for place, (each, good) in enumerate(found) if good and place not in wrong)
    return Dockerfile(file, kept, lines.escape, known), _limited(findings.all())


def parse_instruction(
    text: str, file: str = "Dockerfile", line: int = 1
) -> tuple[Instruction | None, tuple[Problem, ...]]:
    """An ONBUILD trigger out of an image's configuration, as `Instruction.source` gives it.

    Every place in what is returned is that line. There is no instruction if there is an error. Whatever the
    directives of a Dockerfile say, a backslash escapes.
    """
    findings = Findings()
    lines = Lines(_decoded(text.encode("utf-8", "surrogatepass"), file, findings), file, findings)
    found = (
        [] if findings.failed else [instruction for instruction, _ in _instructions(lines, file, findings)]
    )
    _check_trigger(found, file, findings)
    problems = tuple(replace(problem, line=line, column=1) for problem in _limited(findings.all()))
    return (None if findings.failed else _moved(found[0], line)), problems


def _moved(instruction: Instruction, line: int) -> Instruction:
    nested = instruction.nested and _moved(instruction.nested, line)
    return replace(instruction, line=line, column=1, end_line=line, nested=nested)


def _decoded(source: bytes, file: str, findings: Findings) -> str:
    """The text; what is none is an error with its place."""
    if len(source) > LARGEST:
        findings.error(file, _TOP, f"the file has {len(source)} bytes: {LARGEST} is the most")
        return ""
    text = source.decode("utf-8-sig", "surrogateescape")
    if wrong := _NOT_TEXT.search(text):
        before = text[: wrong.start()]
        place = Position(before.count("\n") + 1, wrong.start() - before.rfind("\n"))
        what = (
            "a NUL byte" if wrong[0] == "\0" else f"the byte 0x{ord(wrong[0]) & 0xFF:02x}, which is not UTF-8"
        )
        findings.error(file, place, f"there is {what}", "save the file as text in UTF-8")
    return text


def _instructions(lines: Lines, file: str, findings: Findings) -> Iterator[tuple[Instruction, bool]]:
    """Each, and whether there is no error in it."""
    errors = 0
    while errors < _MOST and (line := lines.joined()):
        before = len(findings.problems)
        bodies = tuple(_bodies(line, lines, file, findings))
        source = Source(file, line, bodies, lines.number, lines.escape, findings)
        instruction = read(source, Span(line.text, 0))
        new = sum(problem.severity is Severity.ERROR for problem in findings.problems[before:])
        errors += new
        yield instruction, not new


def _bodies(line: Joined, lines: Lines, file: str, findings: Findings) -> Iterator[Body]:
    """The heredocs that a line names, which stand below it."""
    found = _WITH_HEREDOC.match(line.text)
    if not found:
        return
    rest = Span(line.text, 0).cut(found.end())
    for marker in heredocs.markers(rest, shell=found[1].upper() == "RUN"):
        body = heredocs.body(marker, lines)
        if body is None:
            place = line.position(marker.span.at)
            hint = f"a line that is {shown(marker.name)} and nothing else ends it"
            findings.error(file, place, f"the heredoc {shown(marker.name)} has no end", hint)
            return
        yield body


def _misplaced(found: Sequence[Instruction], file: str, findings: Findings) -> set[int]:
    """Complains about what stands before the first FROM: the places of that in `found`."""
    before = list(takewhile(lambda instruction: instruction.keyword != "FROM", found))
    if len(before) == len(found):
        findings.error(file, _TOP, "there is no FROM", "begin with FROM and the image to build on")
        return set()
    wrong = {place for place, each in enumerate(before) if each.keyword in RULES and each.keyword != "ARG"}
    for place in wrong:
        message = f"{found[place].keyword} stands before the first FROM"
        findings.error(file, found[place], message, "only ARG can stand there")
    return wrong


def _check_trigger(found: Sequence[Instruction], file: str, findings: Findings) -> None:
    if findings.failed:
        return
    if len(found) != 1:
        findings.error(file, _TOP, f"a trigger is one instruction: this has {len(found)}")
    elif found[0].keyword in NO_TRIGGERS:
        findings.error(file, _TOP, f"{found[0].keyword} cannot be a trigger")


def _limited(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Those with the first places, so that a file of another kind does not fill the screen."""
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    warnings = [problem for problem in problems if problem.severity is Severity.WARNING]
    return tuple(sorted((*errors[:_MOST], *warnings[:_MOST])))
