"""A tree that sandboxes write to, acted on from the host: by descriptors, and in the tree only.

Links are followed by the kernel as if the tree were the root (openat2(2)), so that none leads out, whatever
is renamed meanwhile. What a path leads to is held before it is looked at, and opened only when it is a file
or a directory: to open a pipe may wait for ever, and to open a device may do anything.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from berm.errors import BermError, Code
from berm.images.threads import Check
from berm.launcher import syscalls
from berm.models import VolumeEntry
from berm.node.interface import Attributes

MOST_LISTED: Final = 50_000
MOST_CHARACTERS: Final = 16 << 20
"""In the paths and targets of one listing: more of either are refused before they take all memory."""

_INSIDE: Final = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_NO_XDEV
_HELD: Final = os.O_PATH | os.O_CLOEXEC
_TRIES: Final = 100
"""A path with `..` behind a link is refused by the kernel while anything is renamed."""

_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
_DIRECTORY_MODE: Final = 0o755
_NEW: Final = Attributes(1000, 1000, _DIRECTORY_MODE)
"""Of a directory whose maker does not say: ids as of the user that templates usually have."""

_EARLIEST: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_LATEST: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def cleaned(path: str) -> str:
    """A path as it is shown: absolute, without `.`, `..` and doubled slashes. Raises BermError."""
    if not path or "\0" in path:
        raise BermError(Code.INVALID_ARGUMENT, f"path is {path[:100]!r}", "name a file or directory")
    return posixpath.normpath("/" + path.lstrip("/"))


@contextmanager
def held(root: int, path: str, flags: int = 0) -> Iterator[int]:
    """A descriptor of what is at a path, which can be looked at and not read; links are followed."""
    fd = _open(root, path, _HELD | flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(root: int, path: str, flags: int) -> int:
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            return syscalls.openat2(root, path, flags, _INSIDE)
    return syscalls.openat2(root, path, flags, _INSIDE)


def look(root: int, path: str) -> VolumeEntry:
    """What is at a path, a link at its end not followed."""
    with held(root, path, os.O_NOFOLLOW) as fd:
        return entry(path, os.fstat(fd), "", fd)


def entry(path: str, status: os.stat_result, name: str, fd: int) -> VolumeEntry:
    """`name` in the directory `fd` is what has this status; empty for `fd` itself."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "unknown")
    return VolumeEntry(
        path=path,
        kind=kind,
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        accessed=instant(status.st_atime_ns),
        modified=instant(status.st_mtime_ns),
        changed=instant(status.st_ctime_ns),
        target=os.readlink(name, dir_fd=fd) if kind == "symlink" else None,
    )


def instant(nanoseconds: int) -> datetime:
    """A sandbox can give its files times that no calendar has."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = datetime.fromtimestamp(min(max(seconds, _EARLIEST), _LATEST), UTC)
    return moment.replace(microsecond=rest // 1000)


def listing(root: int, path: str, depth: int, check: Check) -> list[VolumeEntry]:
    """What is in a directory, `depth` layers deep, each directory before its content, in order of names."""
    found: list[VolumeEntry] = []
    room = _Room()
    waiting = [(child, depth - 1) for child in _children(root, path, room)]
    while waiting:
        check()
        child, left = waiting.pop()
        found.append(child)
        if child.kind == "directory" and left:
            # It may have gone meanwhile, or be a link by now, or be too far down to be named.
            with suppress(OSError):
                below = _children(root, child.path, room, os.O_NOFOLLOW)
                waiting += [(one, left - 1) for one in below]
    return found


def _children(root: int, path: str, room: "_Room", flags: int = 0) -> list[VolumeEntry]:
    """Last name first."""
    fd = _open(root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
    found: list[VolumeEntry] = []
    try:
        with os.scandir(fd) as names:
            for item in names:
                with suppress(OSError):  # another is there by now, or none
                    status = item.stat(follow_symlinks=False)
                    child = entry(posixpath.join(path, item.name), status, item.name, fd)
                    room.take(child)
                    found.append(child)
    finally:
        os.close(fd)
    return sorted(found, key=lambda child: child.path, reverse=True)


class _Room:
    """What is left of it in one listing."""

    def __init__(self) -> None:
        self._entries, self._characters = MOST_LISTED, MOST_CHARACTERS

    def take(self, child: VolumeEntry) -> None:
        """Raises BermError when there is none left."""
        self._entries -= 1
        self._characters -= len(child.path) + len(child.target or "")
        if self._entries < 0:
            _refuse(f"{MOST_LISTED} entries")
        if self._characters < 0:
            _refuse(f"{MOST_CHARACTERS} characters in its paths and the targets of its links")


def _refuse(bound: str) -> None:
    hint = "list a directory further down, or with less depth"
    raise BermError(Code.TOO_LARGE, f"the listing has more than {bound}", hint)


def open_file(root: int, path: str) -> int:
    """A regular file, to be read."""
    with held(root, path) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BermError(Code.INVALID_ARGUMENT, f"{path} is no file that can be read")
        # Not waiting: somebody in a sandbox may have a lease on it (fcntl(2)).
        return os.open(_itself(fd), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def change(root: int, path: str, wanted: Attributes) -> VolumeEntry:
    """Give what is at a path another owner or mode; links are followed."""
    with held(root, path) as fd:
        give(fd, wanted)
        return entry(path, os.fstat(fd), "", fd)


def give(fd: int, wanted: Attributes) -> None:
    """Owner and mode for what is held, which is no link."""
    unchanged = -1
    uid, gid = (unchanged if number is None else number for number in (wanted.uid, wanted.gid))
    os.chown(_itself(fd), uid, gid)
    # Last, as a change of the owner takes bits from the mode.
    if wanted.mode is not None:
        os.chmod(_itself(fd), wanted.mode)  # noqa: PTH101 - no path of ours: it stands for the descriptor


def _itself(fd: int) -> str:
    """For calls that take no such descriptor; the kernel resolves no name in it."""
    return f"/proc/self/fd/{fd}"


def make_directory(root: int, path: str, wanted: Attributes, *, force: bool) -> VolumeEntry:
    """With `force`, one that is there already is left as it is, and those above are made."""
    above, name = split(path)
    with parent(root, above, make=force) as fd:
        if not (force and _is_directory(root, path)):
            _make(fd, name, wanted)
    return look(root, path)


def split(path: str) -> tuple[str, str]:
    """The directory above and the last name. Raises BermError for the root."""
    if path == "/":
        raise BermError(Code.CONFLICT, "/ is the volume itself", "name something in it")
    return posixpath.split(path)


def _is_directory(root: int, path: str) -> bool:
    with suppress(OSError), held(root, path, os.O_DIRECTORY):
        return True
    return False


@contextmanager
def parent(root: int, path: str, *, make: bool) -> Iterator[int]:
    """A directory in which something is to be; what is missing of it is made if `make`."""
    if make and not _is_directory(root, path):
        _make_all(root, path)
    with held(root, path, os.O_DIRECTORY) as fd:
        yield fd


def _make_all(root: int, path: str) -> None:
    above = "/"
    for name in path.strip("/").split("/"):
        with held(root, above, os.O_DIRECTORY) as fd, suppress(FileExistsError):
            _make(fd, name, Attributes())
        above = posixpath.join(above, name)


def _make(fd: int, name: str, wanted: Attributes) -> None:
    os.mkdir(name, 0o700, dir_fd=fd)
    made = os.open(name, _HELD | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    try:
        give(made, wanted.over(_NEW))
    finally:
        os.close(made)


def there(fd: int, name: str) -> os.stat_result | None:
    """The status of a name in a directory; None if there is nothing."""
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    return None


_CODES: Final = {
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENOTDIR: Code.NOT_FOUND,
    errno.EEXIST: Code.CONFLICT,
    errno.ENOTEMPTY: Code.CONFLICT,
    errno.EAGAIN: Code.UNAVAILABLE,
    errno.ENOSPC: Code.NO_SPACE,
    errno.EDQUOT: Code.NO_SPACE,
    errno.EISDIR: Code.INVALID_ARGUMENT,
    errno.EINVAL: Code.INVALID_ARGUMENT,
    errno.ELOOP: Code.INVALID_ARGUMENT,
    errno.ENAMETOOLONG: Code.INVALID_ARGUMENT,
    errno.EPERM: Code.INVALID_ARGUMENT,
    errno.EXDEV: Code.INVALID_ARGUMENT,
}


@contextmanager
def telling(path: str) -> Iterator[None]:
    """What the kernel says of a path, as a BermError."""
    try:
        yield
    except OSError as failure:
        number = failure.errno or 0
        code, reason = _CODES.get(number, Code.INTERNAL), os.strerror(number)
        raise BermError(code, f"{path}: {reason}") from failure
