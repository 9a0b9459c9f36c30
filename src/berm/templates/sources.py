"""Sources of COPY: how much of its path each keeps (`--parents`), and what is left out (`--exclude`)."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from berm.errors import BermError, Code
from berm.templates import globs, ignore
from berm.templates.paths import relative

_PIVOT: Final = "/./"
"""What is before it in a source of `COPY --parents` is not kept."""


def pivoted(source: str) -> str:
    """A source of `COPY --parents` as a plan has it; see Copy.

    Raises BermError INVALID_ARGUMENT, InstructionError if it leads out of what is copied from.
    """
    before, pivot, after = source.partition(_PIVOT)
    if not pivot:
        return relative(source)
    if "**" in before:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"the source {source!r} has ** before /./",
            "write it after /./, or name it",
        )
    root = relative(before)
    return relative(after) if root == "." else f"{root}{_PIVOT}{relative(after)}"


def path_of(source: str) -> str:
    """Where a source of a plan is, as a path or a glob."""
    return source.replace(_PIVOT, "/", 1).removesuffix("/.")


def kept_from(source: str) -> int:
    """How many names at the beginning of its path `--parents` does not keep."""
    before, pivot, _ = source.partition(_PIVOT)
    return before.count("/") + 1 if pivot else 0


def exclusion(pattern: str) -> str:
    """A pattern of `--exclude` as a plan has it. Raises BermError INVALID_ARGUMENT."""
    cleaned = ignore.cleaned(pattern.strip())
    if cleaned == ".":
        raise BermError(Code.INVALID_ARGUMENT, f"--exclude has {pattern!r}", "a pattern such as *.md")
    if cleaned.startswith("!"):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"--exclude has {pattern!r}: nothing can be taken back in",
            "leave out less; a name that begins with ! is written [!]name",
        )
    globs.translated(cleaned)
    return cleaned


def is_exclusion(pattern: str) -> bool:
    """Whether this is a pattern of `--exclude` as a plan has it."""
    try:
        return exclusion(pattern) == pattern
    except BermError:
        return False


def left_out(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path, or a directory that it is in, matches a pattern, as in .dockerignore.

    Raises BermError INVALID_ARGUMENT for a pattern that is broken.
    """
    if not patterns:
        return lambda _path: False
    expression = re.compile("|".join(map(globs.translated, patterns)))

    def matches(path: str) -> bool:
        names = path.split("/") if path else []
        return any(expression.match("/".join(names[: depth + 1])) for depth in range(len(names)))

    return matches
