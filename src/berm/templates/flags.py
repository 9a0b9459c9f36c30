"""Flags of instructions: `--name=value` between the keyword and the rest."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Final

from berm.templates.findings import nearest, shown
from berm.templates.lines import Span


class Kind(Enum):
    VALUE = "one value"
    SWITCH = "true or false, true if it has no value"
    MANY = "a value each time it is given"


Known = Mapping[str, Kind]
"""The flags of an instruction."""

_OWNER: Final[Known] = {"chown": Kind.VALUE, "chmod": Kind.VALUE, "link": Kind.SWITCH, "exclude": Kind.MANY}
KNOWN: Final[Mapping[str, Known]] = {
    "FROM": {"platform": Kind.VALUE},
    "RUN": {"mount": Kind.MANY, "network": Kind.VALUE, "security": Kind.VALUE, "device": Kind.MANY},
    "COPY": {**_OWNER, "from": Kind.VALUE, "parents": Kind.SWITCH},
    "ADD": {
        **_OWNER,
        "keep-git-dir": Kind.SWITCH,
        "checksum": Kind.VALUE,
        "unpack": Kind.SWITCH,
    },
    "HEALTHCHECK": {
        "interval": Kind.VALUE,
        "timeout": Kind.VALUE,
        "start-period": Kind.VALUE,
        "start-interval": Kind.VALUE,
        "retries": Kind.VALUE,
    },
}
"""All that the language has, those that berm does not offer too."""

Complain = Callable[[int, str, str], None]
"""Takes an offset, what is wrong, and what to do."""

_QUOTES = r"""\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'"""
_WORD = re.compile(rf"(?:[^\s\"'\\]|\\(?:.|\Z)|{_QUOTES})++", re.DOTALL)
_QUOTED = re.compile(r"""\\(.?)|"((?:[^"\\]|\\.)*+)"|'((?:[^'\\]|\\.)*+)'""", re.DOTALL)
_END: Final = "--"
_MOST: Final = 100


def take(span: Span, keyword: str, complain: Complain) -> tuple[tuple[tuple[str, str], ...], Span]:
    """The flags, without quotes, and what follows them. `--` alone ends them.

    Quotes and escapes are BuildKit's: the escape is `\\`, whatever the directive says.
    """
    flags: list[tuple[str, str]] = []
    rest = span.strip()
    for _ in range(_MOST):
        if not rest.text.startswith("--"):
            return tuple(flags), rest
        word = _word(rest, complain)
        rest = rest.cut(len(word.text)).strip()
        if word.text == _END:
            break
        flags += _flag(word, keyword, [name for name, _ in flags], complain)
    else:
        complain(rest.at, f"{keyword} has more than {_MOST} flags", "use fewer")
    return tuple(flags), rest


def _word(rest: Span, complain: Complain) -> Span:
    found = _WORD.match(rest.text)
    end = found.end() if found else 0
    if end == len(rest.text) or rest.text[end].isspace():
        return rest.cut(0, end)
    complain(rest.at + end, "a quote in a flag is not closed", "")
    return rest


def _flag(word: Span, keyword: str, before: list[str], complain: Complain) -> Iterator[tuple[str, str]]:
    name, equals, value = _QUOTED.sub(_plain, word.text).removeprefix("--").partition("=")
    known = KNOWN.get(keyword, {})
    kind = known.get(name)
    if kind is None:
        complain(word.at, f"{keyword} has no flag --{_brief(name)}", _hint(name, keyword))
    elif name in before and kind is not Kind.MANY:
        complain(word.at, f"--{name} is given twice", "remove one of them")
    elif kind is not Kind.SWITCH and not equals:
        complain(word.at, f"--{name} has no value", f"write --{name}=...")
    elif kind is Kind.SWITCH and equals and value not in ("true", "false"):
        complain(word.at, f"--{name} is {shown(value)}: it is true or false", "")
    else:
        yield name, value


def _plain(quoted: re.Match[str]) -> str:
    escaped, double, single = quoted.groups()
    return escaped or re.sub(r"(?s)\\(.)", r"\1", double or single or "")


def _brief(name: str) -> str:
    return shown(name)[1:-1]


def _hint(name: str, keyword: str) -> str:
    known = KNOWN.get(keyword)
    if known is None:
        return "write -- before what is no flag"
    return nearest(f"--{name}", [f"--{each}" for each in known])
