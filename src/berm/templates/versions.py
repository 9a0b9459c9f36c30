"""Tags: what may be one, and which of them stay where they are."""

import re
from typing import Final

PART: Final = r"[a-z0-9][a-z0-9_.-]*"
"""A tag, and each part of a template's name."""

LONGEST: Final = 128
"""Characters in a tag or in a template's name."""

MOVING: Final = ("default", "latest")
"""What a build on the command line moves together; a name without a tag means the first."""

_TAG = re.compile(PART)
_NAME = re.compile(rf"(?:{PART}/)?{PART}")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[a-z-][a-z0-9-]*)"
_SEMVER = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_LABEL}(?:\.{_LABEL})*)?")


def is_tag(text: str) -> bool:
    """Whether this can be a tag: lowercase letters, digits, `-`, `_` and `.`, none of these three first."""
    return len(text) <= LONGEST and _TAG.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether this can be a template's name: one or two parts like tags, with a `/` between."""
    return len(text) <= LONGEST and _NAME.fullmatch(text) is not None


def is_semver(tag: str) -> bool:
    """Whether a tag is a semantic version (`1.2.3`, `v1.2.3`, `v2.0.0-rc.1`): once it is set, it never moves.

    A tag cannot hold the `+` of build metadata.
    """
    return len(tag) <= LONGEST and _SEMVER.fullmatch(tag) is not None
