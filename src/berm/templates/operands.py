"""What flags and words of an instruction stand for. Raises InstructionError where that makes no sense."""

import re
from collections.abc import Mapping
from typing import Final

from berm.templates import words
from berm.templates.dockerfile import Instruction
from berm.templates.findings import InstructionError, shown

_BOOLEANS: Final = {"": True, "true": True, "1": True, "false": False, "0": False}
_MODE = re.compile(r"[0-7]{1,5}")
_MOST_MODE: Final = 0o7777
_MODE_HINT: Final = "an octal number such as 0755"


def flag(instruction: Instruction, name: str) -> str | None:
    """The value of a flag, or None if it is not given."""
    return next((value for known, value in instruction.flags if known == name), None)


def is_set(instruction: Instruction, name: str, default: bool = False) -> bool:
    """Of a flag that is true or false; `--link` alone is true."""
    value = flag(instruction, name)
    return default if value is None else boolean(f"{instruction.keyword} --{name}", value)


def boolean(where: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise InstructionError(f"{where} has {shown(value)}", "true or false")
    return _BOOLEANS[value.lower()]


def mode(where: str, text: str, hint: str = _MODE_HINT) -> int:
    """Permissions as an octal number."""
    if not _MODE.fullmatch(text) or int(text, 8) > _MOST_MODE:
        raise InstructionError(f"{where} has {shown(text)}", hint)
    return int(text, 8)


def owner(where: str, text: str) -> str:
    """A user, or a user and a group with a colon between; either is a name or a number."""
    if not re.fullmatch(r"[^\s:/]+(?::[^\s:/]+)?", text) or not text.isprintable():
        raise InstructionError(f"{where} has {shown(text)}", "a name or number, or user:group")
    return text


def refuse(instruction: Instruction, flags: Mapping[str, str]) -> None:
    """Of flags that the language has, those that are not offered here, each with what to do instead."""
    for name, _ in instruction.flags:
        if name in flags:
            raise InstructionError(f"{instruction.keyword} --{name} is not supported", flags[name])


def expand(text: str, variables: Mapping[str, str], escape: str, quotes: bool = True) -> str:
    """Text with its variables put in; see `words.expand`."""
    try:
        return words.expand(text, variables, escape, quotes=quotes)
    except ValueError as error:
        raise InstructionError(str(error)) from None


def split(text: str, variables: Mapping[str, str], escape: str) -> tuple[str, ...]:
    """As `expand`; blanks divide, also those that a variable has."""
    try:
        return words.split(text, variables, escape)
    except ValueError as error:
        raise InstructionError(str(error)) from None
