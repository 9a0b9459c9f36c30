"""Parser directives: comments at the very top that say how to read the rest."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from berm.templates.findings import Findings, nearest, shown
from berm.templates.lines import Lines, Position

ESCAPES: Final = ("\\", "`")

_DIRECTIVE = re.compile(r"\s*#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S.*)")
_FRONTEND = re.compile(
    r"(?:[^\s@]+/)?docker/dockerfile(?:-upstream)?(?::(?:1[\w.-]*|latest|labs|master[\w.-]*))?(?:@\S+)?"
)
_CHECKS: Final = ("skip", "error", "experimental")


def read(lines: Lines, file: str, findings: Findings) -> Mapping[str, str]:
    """Reads them off, and sets the escape of `lines`. What is not known ends them, and is a comment."""
    found: dict[str, str] = {}
    while (line := lines.next()) is not None:
        match = _DIRECTIVE.match(line)
        name = match[1].lower() if match else ""
        if not match or name not in _KNOWN:
            lines.back()
            break
        value = match[2].rstrip()
        wrong = _KNOWN[name](value)
        if name in found:
            place = Position(lines.number, match.start(1) + 1)
            findings.error(file, place, f"a second directive {name}", "each can be given once: remove one")
        elif wrong:
            findings.error(file, Position(lines.number, match.start(2) + 1), *wrong)
        found.setdefault(name, value)
    lines.escape = found["escape"] if found.get("escape") in ESCAPES else "\\"
    return found


_Wrong = tuple[str, str] | None
"""What is wrong with a value, and what to do."""


def _escape(value: str) -> _Wrong:
    if value in ESCAPES:
        return None
    return f"the escape cannot be {shown(value)}", "it is ` or \\"


def _syntax(value: str) -> _Wrong:
    if _FRONTEND.fullmatch(value.split(maxsplit=1)[0]):
        return None
    return f"the syntax {shown(value)} is not one that berm reads", "it reads docker/dockerfile:1"


def _check(value: str) -> _Wrong:
    for part in value.split(";"):
        name = part.partition("=")[0].strip()
        if name not in _CHECKS:
            return f"there is no check {shown(name)}", nearest(name, _CHECKS)
    return None


_KNOWN: Final[Mapping[str, Callable[[str], _Wrong]]] = {
    "escape": _escape,
    "syntax": _syntax,
    "check": _check,
}
