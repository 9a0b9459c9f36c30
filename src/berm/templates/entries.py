"""What lies in a build context: listed without following a link, and read without missing a change.

It may be hostile, and names need not be UTF-8: they are text with surrogate escapes, in every locale.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from berm.errors import BermError, Code
from berm.templates.findings import shown
from berm.templates.ignore import Ignore, State

Kind = Literal["file", "directory", "link", "fifo", "socket", "device", "directory that cannot be read"]

COPIED: Final = ("file", "directory", "link")
"""The kinds that a build can have."""

_KINDS: Final[dict[int, Kind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE: Final = 1 << 20
_HINT: Final = "run it again when nothing writes there"

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a context. `path` is relative, with `/`; `mode` is the permission bits."""

    path: str
    kind: Kind
    mode: int
    size: int = 0
    """Of a file; 0 otherwise."""
    link: str = ""
    """What a link says."""
    mtime: int = 0
    origin: str = ""
    """Where it lies, relative to the context: elsewhere than `path` if it was reached through a link."""
    stamp: _Stamp = field(default=(0, 0, 0, 0), repr=False, compare=False)
    """Changes when the file does."""


def to_bytes(text: str) -> bytes:
    """A name as the file system has it."""
    return text.encode("utf-8", "surrogateescape")


def to_text(name: bytes) -> str:
    """A name that may not be UTF-8 as text."""
    return name.decode("utf-8", "surrogateescape")


def real(root: bytes, path: str) -> bytes:
    """Where a path of a context is in the file system."""
    return b"%b/%b" % (root, to_bytes(path))


def listed(root: bytes, ignore: Ignore) -> dict[str, Entry]:
    """What is below a directory and not left out, by path, with the directories that lead there."""
    return _Listing(root, ignore).entries


class _Listing:
    def __init__(self, root: bytes, ignore: Ignore) -> None:
        self._root = root
        self._ignore = ignore
        self._below: list[tuple[Entry, State]] = [(Entry("", "directory", 0o755), ignore.top)]
        self._left_out: dict[str, Entry] = {}
        self.entries: dict[str, Entry] = {}
        # No recursion: a hostile tree is deeper than Python's stack.
        while self._below:
            self._scan(*self._below.pop())

    def _scan(self, directory: Entry, state: State) -> None:
        try:
            with os.scandir(real(self._root, directory.path)) as found:
                for item in found:
                    self._see(item, directory.path, state)
        except OSError:
            if directory.path not in self._left_out:
                self._keep(Entry(directory.path, "directory that cannot be read", directory.mode))

    def _see(self, item: os.DirEntry[bytes], directory: str, state: State) -> None:
        name = to_text(item.name)
        path = f"{directory}/{name}" if directory else name
        ignored, state = self._ignore.check(path, state)
        if ignored and not (item.is_dir(follow_symlinks=False) and self._ignore.may_hold(path)):
            return
        try:
            entry = _entry(path, item)
        except FileNotFoundError:
            return
        if entry.kind == "directory":
            self._below.append((entry, state))
        if ignored:
            self._left_out[path] = entry
        else:
            self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        self.entries[entry.path] = entry
        above = entry.path.rpartition("/")[0]
        while above in self._left_out:
            self.entries[above] = self._left_out.pop(above)
            above = above.rpartition("/")[0]


def _entry(path: str, item: os.DirEntry[bytes]) -> Entry:
    found = item.stat(follow_symlinks=False)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "device")
    return Entry(
        path,
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_size if kind == "file" else 0,
        to_text(os.readlink(item.path)) if kind == "link" else "",  # noqa: PTH115 - bytes are no Path
        int(found.st_mtime),
        path,
        _stamp(found),
    )


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def content(root: bytes, entry: Entry) -> Iterator[bytes]:
    """The content of a file in pieces, as it was when it was listed.

    Raises BermError CONFLICT if it has changed since, PERMISSION_DENIED if it cannot be read.
    """
    with _opened(root, entry) as descriptor:
        left = entry.size
        while left and (piece := os.read(descriptor, min(left, _PIECE))):
            left -= len(piece)
            yield piece
        _check(descriptor, entry)


def digest(root: bytes, entry: Entry) -> bytes:
    """The SHA-256 of a file's content. Raises what `content` raises."""
    with _opened(root, entry) as descriptor:
        if entry.size <= _PIECE:
            found = hashlib.sha256(os.read(descriptor, _PIECE))
        else:
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
                found = hashlib.file_digest(file, "sha256")
        _check(descriptor, entry)
    return found.digest()


@contextmanager
def _opened(root: bytes, entry: Entry) -> Iterator[int]:
    try:
        descriptor = os.open(real(root, entry.origin), _OPEN)
    except PermissionError:
        hint = "give yourself the right to read it, or name it in .dockerignore"
        raise BermError(Code.PERMISSION_DENIED, f"{shown(entry.path)} cannot be read", hint) from None
    except OSError:
        raise _changed(entry) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(descriptor: int, entry: Entry) -> None:
    if _stamp(os.fstat(descriptor)) != entry.stamp:
        raise _changed(entry)


def _changed(entry: Entry) -> BermError:
    return BermError(Code.CONFLICT, f"{shown(entry.path)} changed while it was read", _HINT)
