"""Instructions as they are shown: on one line, and without what looks like a secret."""

import re
from typing import Final

from berm.templates import suspects
from berm.templates.dockerfile import Instruction

HIDDEN: Final = "***"
_LONGEST: Final = 400


def one_line(instruction: Instruction) -> str:
    """For logs and for the list of steps, which more people see than the Dockerfile."""
    text = _pairs(instruction) if _has_secret(instruction) else instruction.original
    text = brief(text)
    lines = sum(document.content.count("\n") for document in instruction.heredocs)
    return f"{text} ({lines} lines)" if instruction.heredocs else text


def brief(text: str) -> str:
    """Any text on one line, of bearable length, without passwords in URLs and known forms of tokens."""
    text = bare(suspects.TOKEN.sub(HIDDEN, " ".join(text.split())))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def bare(text: str) -> str:
    """Without the names and passwords of URLs."""
    return re.sub(r"(\w://)[^/@\s]+@", r"\1", text)


def _has_secret(instruction: Instruction) -> bool:
    if instruction.nested is not None and instruction.keyword == "ONBUILD":
        return _has_secret(instruction.nested)
    return any(value and suspects.is_secret(name, value) for name, value in instruction.pairs)


def _pairs(instruction: Instruction) -> str:
    if instruction.nested is not None:
        return f"{instruction.keyword} {_pairs(instruction.nested)}"
    return " ".join((instruction.keyword, *(_pair(name, value) for name, value in instruction.pairs)))


def _pair(name: str, value: str | None) -> str:
    if value is None:
        return name
    return f"{name}={HIDDEN if suspects.is_secret(name, value) else value}"
