"""What a Dockerfile says, as values: instructions with their places, nothing expanded yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A text that stands in the Dockerfile itself, below the instruction that names it."""

    name: str
    """The delimiter without its quotes; for COPY and ADD the name of the file."""
    content: str
    """Lines that each end in a newline; for `<<-` without their leading tabs."""
    expand: bool
    """False when the delimiter was quoted. See `words.expand(..., quotes=False)`; a shell does it itself."""
    word: str = ""
    """The marker as it stands in the instruction's `words`, such as `<<-"EOF"`."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Nothing in it is expanded, and all quotes are kept but those of flags and JSON."""

    keyword: str
    """In upper case."""
    line: int
    column: int
    end_line: int
    """The last line, with those of its heredocs."""
    original: str
    """As written, continued lines joined, without heredocs."""
    flags: tuple[tuple[str, str], ...] = ()
    """`--mount=type=cache` is ("mount", "type=cache"); a flag without a value has ""."""
    exec_form: tuple[str, ...] | None = None
    """The JSON form; None where there is none, or what is written is not JSON."""
    words: tuple[str, ...] = ()
    """What follows the flags. The whole as one word: shell forms, USER, WORKDIR, STOPSIGNAL, MAINTAINER.
    The items of the JSON form where there is one. HEALTHCHECK: ("NONE",) or ("CMD",). ONBUILD: none."""
    pairs: tuple[tuple[str, str | None], ...] = ()
    """ENV, LABEL and ARG: name and value, both unexpanded; None is an ARG without a value."""
    text: str = ""
    """What follows the flags, as one text: what a shell form gives to the shell, less its heredocs."""
    heredocs: tuple[Heredoc, ...] = ()
    nested: Self | None = None
    """What ONBUILD wraps, and the CMD of HEALTHCHECK."""

    @property
    def source(self) -> str:
        """The instruction with its heredocs, for `parse_instruction` to read: a trigger to keep."""
        return "\n".join((self.original, *(f"{doc.content}{doc.name}" for doc in self.heredocs)))


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The instructions that could be read, in their order."""

    file: str
    instructions: tuple[Instruction, ...]
    escape: str
    directives: Mapping[str, str]
