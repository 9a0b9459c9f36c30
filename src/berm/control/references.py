"""What callers call templates and their builds."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from berm.errors import BermError, Code
from berm.templates.versions import LONGEST, MOVING, PART, is_name, is_tag

DEFAULT_TAG, LATEST = MOVING

_BUILD_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NUMBER = r"[1-9][0-9]{0,8}"
_REFERENCE = re.compile(rf"((?:{PART}/)?{PART})(?::({PART})|@({_NUMBER}|{_BUILD_ID}))?")
_LONGEST = 2 * LONGEST + 1


@dataclass(frozen=True, slots=True)
class Reference:
    """What a caller calls a template: an id or a name, and a tag, or a build instead of the tag."""

    name: str
    tag: str
    at: str = ""
    """The number or the id of a build; then `tag` is empty."""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """`name`, `name:tag`, `name@NUMBER` or `name@BUILD-ID`, each with an id for the name.

        Raises BermError INVALID_ARGUMENT.
        """
        found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None or not is_name(found[1]) or not is_tag(found[2] or DEFAULT_TAG):
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"template {text[:_LONGEST]!r} is not a name or name:tag",
                f"names and tags are of lowercase letters, digits, '-', '_' and '.', at most {LONGEST}",
            )
        at = found[3] or ""
        return cls(found[1], "" if at else found[2] or DEFAULT_TAG, at)

    @classmethod
    def parse_all(cls, name: str, tags: Sequence[str]) -> list["Reference"]:
        """What a build is to be known as: the tag in `name`, if any, and `tags`, or else the default one.

        Raises BermError INVALID_ARGUMENT.
        """
        plain = name.partition(":")[0]
        named = [name] if ":" in name or not tags else []
        found = [cls.parse(text) for text in (*named, *(f"{plain}:{tag}" for tag in tags))]
        if found[0].at:
            raise BermError(
                Code.INVALID_ARGUMENT, f"template {name!r} names a build", "a new build gets its own number"
            )
        return found


def plain_name(text: str) -> str:
    """A reference to a whole template. Raises BermError INVALID_ARGUMENT for one to a tag or build."""
    name = Reference.parse(text).name
    if name != text:
        raise BermError(
            Code.INVALID_ARGUMENT, f"{text!r} is a tag or a build, not a template", f"leave it at {name!r}"
        )
    return name


def bare_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once. Raises BermError INVALID_ARGUMENT for what cannot be one, or if there is none."""
    found = tuple(dict.fromkeys(tags))
    wrong = next((tag for tag in found if not is_tag(tag)), None)
    if found and wrong is None:
        return found
    raise BermError(
        Code.INVALID_ARGUMENT,
        f"{wrong[:_LONGEST]!r} is not a tag" if wrong is not None else "no tag is given",
        f"tags are of lowercase letters, digits, '-', '_' and '.', at most {LONGEST}",
    )
