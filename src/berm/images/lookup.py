"""What a name means in the layers of an overlay, one directory at a time, as the kernel looks it up."""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

PRIVATE: Final = "user.overlay."
"""Extended attributes that are overlayfs's own; with `overlay.` behind it, one that is escaped."""

_ABSENT: Final = (errno.ENOENT, errno.ENAMETOOLONG, errno.ENOTDIR)

Places = Sequence[tuple[int, int]]
"""A directory in each layer that has it, uppermost first: the layer's position and an open descriptor."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a view; links are not followed."""

    path: str
    """From the view's root, without a slash in front; empty for the root. Bytes that are no text are escaped
    as os.fsdecode does it."""
    status: os.stat_result
    layers: tuple[int, ...]
    """Positions of the layers that it is made of, uppermost first; a directory may have several."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)


def looked_up(path: str, name: str, places: Places) -> Entry | None:
    """Look a name up in the layers of its directory as overlayfs does: the first that knows it decides.

    A directory goes on downwards until a layer hides the rest.
    """
    first: os.stat_result | None = None
    layers: list[int] = []
    for layer, fd in places:
        status = _status(name, fd)
        if status is None:
            continue
        directory = stat.S_ISDIR(status.st_mode)
        if is_whiteout(status, name, fd) or (first and not directory):
            break
        first = first or status
        layers.append(layer)
        if not directory:
            _refuse(name, fd, "metacopy")
            break
        if layer != places[-1][0] and _ends_here(name, fd):
            break
    return Entry(path, first, tuple(layers)) if first else None


def looked_up_plainly(path: str, name: str, places: Places) -> Entry | None:
    layer, fd = places[0]
    status = _status(name, fd)
    return Entry(path, status, (layer,)) if status else None


def _ends_here(name: str, fd: int) -> bool:
    """Whether a directory hides what is below it."""
    if attribute(path_of(name, fd), PRIVATE + "opaque") == b"y":
        return True
    _refuse(name, fd, "redirect")
    return False


def _refuse(name: str, fd: int, kind: str) -> None:
    """Refuse what says that its content is elsewhere, as the kernel does with `userxattr`."""
    if attribute(path_of(name, fd), PRIVATE + kind) is not None:
        raise error(errno.EPERM, name)


def is_whiteout(status: os.stat_result, name: str, fd: int) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    empty = stat.S_ISREG(status.st_mode) and status.st_size == 0
    return empty and attribute(path_of(name, fd), PRIVATE + "whiteout") is not None


def _status(name: str, fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as failure:
        if failure.errno in _ABSENT:
            return None
        raise


def path_of(name: str, fd: int) -> str:
    """For calls that take no directory descriptor; only the last name in it is of the layer."""
    return f"/proc/self/fd/{fd}/{name}"


def attribute(path: str, name: str) -> bytes | None:
    with suppress(OSError):
        return os.getxattr(path, name, follow_symlinks=False)
    return None


def attributes(path: str) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: value for name in names if (value := attribute(path, name)) is not None}


def is_private(name: str) -> bool:
    """Whether an extended attribute is overlayfs's own, which no sandbox sees."""
    return name.startswith(PRIVATE) and not name.startswith(PRIVATE + "overlay.")


def error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path.lstrip("/"))
