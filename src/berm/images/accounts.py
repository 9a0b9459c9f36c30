"""Users and groups of a root filesystem, by its own /etc/passwd and /etc/group: passwd(5), group(5)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from berm.errors import BermError, Code
from berm.images.merged import View

IDS: Final = 65536
"""User and group ids that a sandbox has: 0 to 65535."""

LARGEST: Final = 4 * 1024 * 1024
"""Bytes that are read of a file; what is behind them is not seen."""

_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


def users(view: View) -> dict[str, User]:
    """By name. Lines that are broken are left out, the first of several for a name counts."""
    found: dict[str, User] = {}
    for name, _, uid, gid, _, home, shell in _lines(view, "etc/passwd", 7):
        if _is_id(uid) and _is_id(gid):
            found.setdefault(name, User(name, int(uid), int(gid), home, shell))
    return found


def groups(view: View) -> dict[str, int]:
    """Group ids by name, as `users` reads them."""
    found: dict[str, int] = {}
    for name, _, gid, _ in _lines(view, "etc/group", 4):
        if _is_id(gid):
            found.setdefault(name, int(gid))
    return found


def owner(view: View, text: str) -> tuple[int, int]:
    """User and group id for `user`, `uid`, `user:group` or a mixture; empty stands for root.

    Without a group it is the user's own, or the one with the number of the user. Raises BermError
    NOT_FOUND for a name that is not there, INVALID_ARGUMENT for a number that no sandbox has.
    """
    name, _, group = text.partition(":")
    uid, gid = _user(view, name or "0")
    return uid, _group(view, group) if group else gid


def _user(view: View, name: str) -> tuple[int, int]:
    if name.isascii() and name.isdigit():
        return _number("user", name), _number("user", name)
    if user := users(view).get(name):
        return user.uid, user.gid
    raise _missing("user", name, "/etc/passwd")


def _group(view: View, name: str) -> int:
    if name.isascii() and name.isdigit():
        return _number("group", name)
    if (gid := groups(view).get(name)) is not None:
        return gid
    raise _missing("group", name, "/etc/group")


def _number(kind: str, text: str) -> int:
    if not _is_id(text):
        raise BermError(
            Code.INVALID_ARGUMENT, f"{kind} id {text[:20]} is too large", f"ids go from 0 to {IDS - 1}"
        )
    return int(text)


def _missing(kind: str, name: str, file: str) -> BermError:
    return BermError(
        Code.NOT_FOUND,
        f"there is no {kind} {name!r} in the image's {file}",
        f"add the {kind} in an earlier step, or give its number",
    )


def _is_id(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) < IDS


def _lines(view: View, path: str, fields: int) -> Iterator[list[str]]:
    """The fields of each line that has as many as it should; none if there is no such file."""
    try:
        entry = view.find(path)
        content = view.read(entry, LARGEST)
    except OSError:
        return
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        found = line.split(":")
        if len(found) == fields and found[0]:
            yield found
