"""Host names in lists of what may be reached: `api.example.com`, or `*.example.com` for all below it."""

import re
from typing import Final

_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_PATTERN: Final = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")
_LONGEST: Final = 253


def normal(name: str) -> str:
    """A name as it is compared: case and a last dot mean nothing (RFC 4343)."""
    return name.lower().removesuffix(".")


def is_pattern(text: str) -> bool:
    """Whether that is a host name, or one whose first label is `*`; no name looks like an address."""
    name = normal(text)
    last = name.rpartition(".")[2]
    return len(name) <= _LONGEST and bool(_PATTERN.fullmatch(name)) and not last.isdigit()


def is_name(text: str) -> bool:
    """Whether that is a host name, as no address is."""
    return "*" not in text and is_pattern(text)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern covers a name; `*.example.com` covers all below example.com, not itself."""
    pattern, name = normal(pattern), normal(name)
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) >= len(pattern)
    return name == pattern
