"""The users of the sandbox's image, read from its own files: no NSS, whose modules are the image's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

_MAX_BYTES = 1 << 20
_USERS_FILE = "/etc/passwd"
_GROUPS_FILE = "/etc/group"
_LAST_ID = 65534
_ID_DIGITS = 5


@dataclass(frozen=True)
class User:
    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...]


def find(name: str, group: str = "") -> User | None:
    """A user by name or by number, in the group named or numbered, or its own.

    Root is there even if the image has no passwd file, and so is every number, as a user without a name
    or a home whose group is root: containers have always run as those.
    """
    user = _listed(name) or _root(name) or _numbered(name)
    return user if user is None or not group else _in_group(user, group)


def _listed(name: str) -> User | None:
    for row in _rows(_USERS_FILE, 6):
        if name in (row[0], row[2]) and row[2].isdigit() and row[3].isdigit():
            return User(row[0], int(row[2]), int(row[3]), row[5] or "/", _groups(row[0]))
    return None


def _numbered(name: str) -> User | None:
    return User(name, int(name), 0, "/", ()) if _is_id(name) else None


def _in_group(user: User, group: str) -> User | None:
    gids = [int(row[2]) for row in _rows(_GROUPS_FILE, 3) if row[0] == group and _is_id(row[2])]
    if not gids and _is_id(group):
        gids = [int(group)]
    return replace(user, gid=gids[0], groups=()) if gids else None


def _is_id(text: str) -> bool:
    """Whether it is the number of a user or group that a sandbox can have."""
    return text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS and int(text) <= _LAST_ID


@dataclass(frozen=True)
class Names:
    """User and group names by id, as they are now."""

    users: dict[int, str]
    groups: dict[int, str]

    @classmethod
    def load(cls) -> Self:
        return cls(_names(_USERS_FILE), _names(_GROUPS_FILE))

    def user(self, uid: int) -> str:
        return self.users.get(uid, str(uid))

    def group(self, gid: int) -> str:
        return self.groups.get(gid, str(gid))


def _root(name: str) -> User | None:
    if name not in ("root", "0"):
        return None
    return User("root", 0, 0, "/root" if os.path.isdir("/root") else "/", ())


def _groups(user: str) -> tuple[int, ...]:
    rows = _rows(_GROUPS_FILE, 4)
    return tuple(int(row[2]) for row in rows if user in row[3].split(",") and row[2].isdigit())


def _names(path: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for row in _rows(path, 3):
        if row[2].isdigit():
            names.setdefault(int(row[2]), row[0])
    return names


def _rows(path: str, fields: int) -> Iterator[list[str]]:
    for line in _read(path).splitlines():
        row = line.split(":")
        if len(row) >= fields:
            yield row


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(fd, "rb", buffering=0) as file:
        return (file.read(_MAX_BYTES) or b"").decode("utf-8", "replace")
