"""What each key of e2b.toml may say. A reader takes the value that TOML gives and returns it as we use it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from berm.templates import versions
from berm.templates.durations import seconds
from berm.templates.tomlfile import KeyPath

Reader = Callable[[Any], Any]

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LONGEST_TEXT: Final = 32768
_DAY: Final = 86400.0


class WrongValueError(Exception):
    """What a value should be instead."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongValueError("it must be a string", "put it in quotes")
    if "\0" in value or len(value) > _LONGEST_TEXT:
        raise WrongValueError(f"it must have no NUL and at most {_LONGEST_TEXT} characters")
    return value


def _matching(accepts: Callable[[str], object], expected: str, hint: str = "", empty: bool = False) -> Reader:
    def read(value: Any) -> str:
        text = _text(value)
        if not accepts(text) and not (empty and not text):
            raise WrongValueError(expected, hint)
        return text

    return read


def _whole(least: int, most: int, even: bool = False) -> Reader:
    kind = "an even number" if even else "a whole number"

    def read(value: Any) -> int:
        # To Python, true is a number.
        right = type(value) is int and least <= value <= most and not (even and value % 2)
        if not right:
            raise WrongValueError(f"it must be {kind} from {least} to {most}")
        return int(value)

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongValueError("it must be true or false")
    return value


def _time(least: float, most: float = _DAY) -> Reader:
    def read(value: Any) -> float:
        number: Any = seconds(value) if isinstance(value, str) else value
        # Nothing compares with NaN.
        if type(number) not in (int, float) or not least <= number <= most:
            limits = f"from {least:g} to {most:g} seconds"
            raise WrongValueError(f"it must be a time {limits}", 'write seconds as 90, or a text as "1m30s"')
        return float(number)

    return read


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise WrongValueError("it must be a list of tags", 'write ["v1.0.0", "stable"]')
    wrong = [tag for tag in value if not isinstance(tag, str) or not versions.is_tag(tag)]
    if wrong:
        hint = "tags are of lowercase letters, digits, '-', '_' and '.'"
        raise WrongValueError(f"{wrong[0]!r} cannot be a tag", hint)
    return tuple(dict.fromkeys(value))


def _arguments(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise WrongValueError(
            "it must be a table of build arguments", 'write [build.args] and NAME = "value" below'
        )
    return {_argument_name(name): _argument(name, item) for name, item in value.items()}


def _argument_name(name: str) -> str:
    if not _ARGUMENT.fullmatch(name):
        raise WrongValueError(f"{name!r} cannot be the name of a build argument")
    return name


def _argument(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str) and "\0" not in str(value):
        return str(value)
    raise WrongValueError(f"{name} must be a string, a number, true or false")


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return ("/bin/sh", "-c", value)
    if (
        isinstance(value, list)
        and value
        and all(isinstance(word, str) and "\0" not in word for word in value)
    ):
        return tuple(value)
    raise WrongValueError("it must be a shell command, or a list of a program and its arguments")


_path = _matching(
    lambda text: text and not text.startswith("/"), "it must be a path relative to the folder of this file"
)
_name = _matching(
    versions.is_name,
    "it cannot be a template's name",
    "names are of lowercase letters, digits, '-', '_' and '.'; tags go into `tags`",
)
_id = _matching(_ID.fullmatch, "it cannot be an id", "leave it out: the name is enough", empty=True)

READERS: Final[Mapping[KeyPath, Reader]] = {
    ("name",): _name,
    ("template_name",): _name,
    ("template_id",): _id,
    ("team_id",): _text,
    ("dockerfile",): _path,
    ("start_cmd",): _text,
    ("ready_cmd",): _text,
    ("cpu_count",): _whole(1, 256),
    ("memory_mb",): _whole(128, 1 << 20, even=True),
    ("disk_mb",): _whole(64, 1 << 24),
    ("timeout",): _time(1),
    ("network",): _flag,
    ("tags",): _tags,
    ("build", "context"): _path,
    ("build", "dockerfile"): _path,
    ("build", "args"): _arguments,
    ("build", "target"): _matching(_STAGE.fullmatch, "it must be the name or number of a stage"),
    ("build", "network"): _flag,
    ("build", "timeout"): _time(1),
    ("healthcheck", "command"): _command,
    ("healthcheck", "interval"): _time(0.001),
    ("healthcheck", "timeout"): _time(0.001),
    ("healthcheck", "start_period"): _time(0),
    ("healthcheck", "start_interval"): _time(0.001),
    ("healthcheck", "retries"): _whole(1, 1000),
}
"""Every key there is."""

TABLES: Final = frozenset(path[0] for path in READERS if len(path) > 1)

SAME: Final[Mapping[KeyPath, KeyPath]] = {
    ("template_name",): ("name",),
    ("build", "network"): ("network",),
    ("build", "timeout"): ("timeout",),
}
"""Keys that are other spellings of keys."""
