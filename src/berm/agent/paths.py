"""What clients call a path, made absolute; directories made for a user."""

import os
from contextlib import suppress
from os.path import dirname, isdir, join, normpath

from berm.agent.errors import AgentError, Kind
from berm.agent.users import User


def resolve(path: str, user: User, workdir: str = "") -> str:
    """Absolute form of `path`: empty is `workdir`, `~` and relative paths begin at the home directory."""
    if "\0" in path:
        raise AgentError(Kind.INVALID, "path holds a NUL byte")
    if path.startswith("~"):
        path = _expand(path, user)
    # POSIX lets a leading double slash mean something else, and normpath keeps it.
    return "/" + normpath(join(user.home, path or workdir)).lstrip("/")


def _expand(path: str, user: User) -> str:
    if path != "~" and not path.startswith("~/"):
        raise AgentError(Kind.INVALID, f"path {path!r}: only your own home directory can be named by ~")
    return user.home + path[1:]


def make_directories(path: str, user: User) -> None:
    """Make `path` and the parents it lacks, each given to `user`. Raises OSError."""
    missing = []
    while not isdir(path):
        missing.append(path)
        path = dirname(path)
    for directory in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(directory, 0o755)
            os.chown(directory, user.uid, user.gid)
