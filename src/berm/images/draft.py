"""A new layer as a list of what will be in it, checked against the layers below before it is written."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images.lookup import Entry, is_private
from berm.images.merged import Place, View, join
from berm.images.threads import Check

FICLONE: Final = 0x40049409
"""ioctl_ficlone(2): share the content of another file."""

_CHUNK: Final = 64 * 1024 * 1024
_KEPT_ATTRIBUTES: Final = ("user.", "system.posix_acl_")
"""Others mean something to the host, or, as file capabilities, to who runs the file."""

_KINDS: Final = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


@dataclass(frozen=True, slots=True)
class Look:
    """Permissions, owner and times (access, change; nanoseconds since 1970)."""

    mode: int
    uid: int
    gid: int
    times: tuple[int, int]

    @classmethod
    def of(
        cls, status: os.stat_result, owner: tuple[int, int] | None = None, mode: int | None = None
    ) -> "Look":
        """That of a file, but for what is given."""
        return cls(
            stat.S_IMODE(status.st_mode) if mode is None else mode,
            *(owner or (status.st_uid, status.st_gid)),
            (status.st_atime_ns, status.st_mtime_ns),
        )


MOST: Final = 1_000_000
"""Entries in a layer, all of which are held in memory."""


def nothing(_path: str) -> bool:
    """Nothing is left out."""
    return False


@dataclass(frozen=True, slots=True)
class Origin:
    """An entry of some view, with the look that it gets in the new layer."""

    view: View
    entry: Entry
    look: Look


@dataclass(slots=True)
class _Folder:
    below: Entry | None
    """What the new directory merges with."""
    look: Look
    origin: Origin | None
    """Whose extended attributes it gets."""


@dataclass(slots=True)
class Draft:
    """What a layer on the view `below` will hold. Paths are as in Entry.

    Raises BermError INVALID_ARGUMENT for what does not go together, whether the other is in the view or in
    the draft, and TOO_LARGE beyond MOST entries.
    """

    below: View
    changes: bool = False
    """Whether it says anything that the view does not."""
    _folders: dict[str, _Folder] = field(default_factory=dict)
    _leaves: dict[str, Origin] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Of its files and links."""
        return len(self._leaves)

    @property
    def size(self) -> int:
        """Bytes in its files, each counted once whatever names it has."""
        files = {_identity(origin) or path: origin.entry for path, origin in self._leaves.items()}
        statuses = [entry.status for entry in files.values() if entry.is_file]
        return sum(min(status.st_size, status.st_blocks * 512) for status in statuses)

    def stand(self, place: Place, look: Look) -> None:
        """Have the directory at a place, with those above it as they are; what is missing gets `look`."""
        path = ""
        for entry in place.trail:
            if not entry.is_directory:
                raise _conflict(entry.path, "is not a directory")
            path = entry.path
            origin = Origin(self.below, entry, Look.of(entry.status))
            self._folders.setdefault(path, _Folder(entry, origin.look, origin))
        for name in place.missing:
            path = join(path, name)
            self.directory(path, look)

    def directory(self, path: str, look: Look, origin: Origin | None = None) -> None:
        """A directory, new or not, in one that is in the draft; one that is there changes its look."""
        below = self._below(path)
        if path in self._leaves or (below and not below.is_directory):
            raise _conflict(path, "is not a directory, so no directory can be copied there")
        self._folders[path] = _Folder(below, look, origin)
        self._changed()

    def has_directory(self, path: str) -> bool:
        return path in self._folders

    def leaf(self, path: str, origin: Origin) -> None:
        """A file or a link in a directory that is in the draft; one that is there is replaced."""
        below = self._below(path)
        if path in self._folders or (below and below.is_directory):
            raise _conflict(path, "is a directory, so no file can be copied there")
        _check_kind(origin.entry)
        self._leaves[path] = origin
        self._changed()

    def _changed(self) -> None:
        self.changes = True
        if len(self._leaves) + len(self._folders) > MOST:
            raise BermError(
                Code.TOO_LARGE, f"more than {MOST} files would be copied", "copy less in one step"
            )

    def tree(
        self,
        path: str,
        view: View,
        directory: Entry,
        look: Callable[[Entry], Look],
        check: Check,
        *,
        left_out: Callable[[str], bool] = nothing,
    ) -> None:
        """All that is in a directory of another view, in one that is in the draft.

        `left_out` is asked of each path below the directory; nothing is asked of what is below one left out.
        """
        waiting = [(directory, "")]
        while waiting:
            source, above = waiting.pop()
            check()
            for child in view.children(source):
                below = join(above, child.name)
                if left_out(below):
                    continue
                at = join(path, below)
                found = Origin(view, child, look(child))
                if child.is_directory:
                    self.directory(at, found.look, found)
                    waiting.append((child, below))
                else:
                    self.leaf(at, found)

    def _below(self, path: str) -> Entry | None:
        parent, _, name = path.rpartition("/")
        below = self._folders[parent].below
        return self.below.child(below, name) if below else None

    def write(self, root: Path, check: Check) -> None:
        """Make the layer at `root`, which is not there yet. Raises OSError, and what `check` raises."""
        root.mkdir(mode=0o700)
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _Writer(fd, check).write(self._folders, self._leaves)
        finally:
            os.close(fd)


class _Writer:
    """Writes below a directory that nobody else writes to, so that a path in it has no link on its way."""

    def __init__(self, root: int, check: Check) -> None:
        self._root = root
        self._check = check
        self._linked: dict[tuple[int, int, Look], str] = {}

    def write(self, folders: Mapping[str, _Folder], leaves: Mapping[str, Origin]) -> None:
        for path in folders:
            if path:
                os.mkdir(path, 0o700, dir_fd=self._root)
        for path, origin in leaves.items():
            self._check()
            self._leaf(path, origin)
        for path, folder in reversed(list(folders.items())):
            self._folder(path, folder)

    def _leaf(self, path: str, origin: Origin) -> None:
        if origin.entry.is_link:
            self._link(path, origin)
        elif first := self._first_of(path, origin):
            os.link(first, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        else:
            self._file(path, origin)

    def _first_of(self, path: str, origin: Origin) -> str | None:
        """Where the same file was written already under another of its names."""
        if not (identity := _identity(origin)):
            return None
        first = self._linked.setdefault(identity, path)
        return None if first == path else first

    def _link(self, path: str, origin: Origin) -> None:
        look = origin.look
        os.symlink(origin.view.readlink(origin.entry), path, dir_fd=self._root)
        os.chown(path, look.uid, look.gid, dir_fd=self._root, follow_symlinks=False)
        os.utime(path, ns=look.times, dir_fd=self._root, follow_symlinks=False)

    def _file(self, path: str, origin: Origin) -> None:
        source = origin.view.open(origin.entry)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(path, flags, 0o600, dir_fd=self._root)
            try:
                copy_content(source, target, origin.entry.status.st_size, self._check)
                _set_attributes(target, {name: os.getxattr(source, name) for name in os.listxattr(source)})
                _set_look(target, origin.look)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _folder(self, path: str, folder: _Folder) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path or ".", flags, dir_fd=self._root)
        try:
            if folder.origin:
                _set_attributes(fd, folder.origin.view.attributes(folder.origin.entry))
            _set_look(fd, folder.look)
        finally:
            os.close(fd)


def _identity(origin: Origin) -> tuple[int, int, Look] | None:
    """What is the same for all names of a file that has several."""
    status = origin.entry.status
    return (status.st_dev, status.st_ino, origin.look) if status.st_nlink > 1 else None


def copy_content(source: int, target: int, size: int, check: Check) -> None:
    """Fill an empty file: share the content where the file system can, else copy what is not a hole."""
    if not size:
        return
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        _copy_data(source, target, size, check)


def _copy_data(source: int, target: int, size: int, check: Check) -> None:
    end = 0
    while (start := _next_data(source, end)) is not None:
        end = os.lseek(source, start, os.SEEK_HOLE)
        while start < end:
            check()
            done = os.copy_file_range(source, target, min(end - start, _CHUNK), start, start)
            if not done:
                break
            start += done
    os.ftruncate(target, size)


def _next_data(fd: int, start: int) -> int | None:
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _set_attributes(fd: int, attributes: Mapping[str, bytes]) -> None:
    for name, value in attributes.items():
        if name.startswith(_KEPT_ATTRIBUTES) and not is_private(name):
            os.setxattr(fd, name, value)


def _set_look(fd: int, look: Look) -> None:
    # The owner first: chown(2) takes the set-user-ID bit away. What is new belongs to root already.
    if look.uid or look.gid:
        os.fchown(fd, look.uid, look.gid)
    os.fchmod(fd, look.mode)
    os.utime(fd, ns=look.times)


def _check_kind(entry: Entry) -> None:
    if not (entry.is_file or entry.is_link):
        kind = _KINDS.get(stat.S_IFMT(entry.status.st_mode), "a device")
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"/{entry.path} is {kind}: only files, directories and links can be copied",
            "leave it out of what is copied",
        )


def _conflict(path: str, why: str) -> BermError:
    return BermError(Code.INVALID_ARGUMENT, f"/{path} {why}", "choose another target")
