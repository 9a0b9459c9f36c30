"""A chain of layers as one tree, read on the host without mounting it.

The trees are hostile: their links are followed here, inside the view, and never by the kernel. A layer is
a plain tree or an upper directory of overlayfs (mount option `userxattr`); what an entry means is as in the
kernel's Documentation/filesystems/overlayfs.rst. The layers must not change while a view is open.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from berm.images import lookup
from berm.images.lookup import Entry

_FOLLOW: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_LINKS: Final = 40
_LONGEST: Final = 4095
_KEPT: Final = 64
"""Descriptors that stay open between two calls."""


_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: the entries on the way, root first, and the names of what is not there."""

    trail: tuple[Entry, ...]
    missing: tuple[str, ...] = ()

    @property
    def entry(self) -> Entry | None:
        return None if self.missing else self.trail[-1]

    @property
    def path(self) -> str:
        return join(self.trail[-1].path, *self.missing)


def join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


class View:
    """Layers, bottom first, as one tree. Close it, or use it in a `with`. For one thread at a time.

    `plain` is for a tree that is no layer: nothing in it has overlayfs's meaning. Every method raises OSError
    where the system call of that name would.
    """

    def __init__(self, layers: Sequence[Path], *, plain: bool = False) -> None:
        self._look_up = lookup.looked_up_plainly if plain else lookup.looked_up
        self._roots: list[int] = []
        self._kept: dict[tuple[int, str], int] = {}
        try:
            for layer in layers:
                self._roots.append(os.open(layer, _FOLLOW))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self._trim(0)
        while self._roots:
            os.close(self._roots.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def root(self) -> Entry:
        layers = tuple(reversed(range(len(self._roots))))
        return Entry("", os.fstat(self._roots[-1]), layers)

    def child(self, parent: Entry, name: str) -> Entry | None:
        """The entry of that name in a directory."""
        return self._look_up(join(parent.path, name), name, self._opened(parent))

    def children(self, parent: Entry) -> list[Entry]:
        """What is in a directory, by name. Raises OSError ENAMETOOLONG where no path is as long any more."""
        if len(parent.path) > _LONGEST:
            raise lookup.error(errno.ENAMETOOLONG, f"{parent.path[:80]}...")
        places = self._opened(parent)
        names = {name for _, fd in places for name in _listed(fd)}
        found = (self._look_up(join(parent.path, name), name, places) for name in sorted(names))
        return [entry for entry in found if entry]

    def own_names(self, directory: Entry, above: int) -> set[str]:
        """Names that the layers from position `above` on have something to say about in a directory.

        They are of what is there and of what is taken away.
        """
        places = self._opened(directory)
        return {name for layer, fd in places if layer >= above for name in _listed(fd)}

    def walk(self, top: Entry) -> Iterator[Entry]:
        """All that is below a directory; a directory comes before its content."""
        waiting = [top]
        while waiting:
            for entry in self.children(waiting.pop()):
                yield entry
                if entry.is_directory:
                    waiting.append(entry)

    def locate(self, path: str, follow: bool = True) -> Place:
        """Where a path leads. Links on the way are followed, a link at its end if `follow`."""
        trail, missing = [self.root()], list[str]()
        names, links = deque(_names(path)), 0
        while names:
            name = names.popleft()
            if name == "..":
                _up(trail, missing)
            elif missing or not (entry := self.child(trail[-1], name)):
                missing.append(name)
            elif entry.is_link and (follow or names):
                links += 1
                if links > _MOST_LINKS:
                    raise lookup.error(errno.ELOOP, path)
                target = self.readlink(entry)
                names.extendleft(reversed(_names(target)))
                del trail[1 if target.startswith("/") else len(trail) :]
            else:
                _refuse_below_file(entry, names)
                trail.append(entry)
        return Place(tuple(trail), tuple(missing))

    def find(self, path: str, follow: bool = True) -> Entry:
        """What a path leads to. Raises FileNotFoundError, NotADirectoryError, or OSError ELOOP."""
        if entry := self.locate(path, follow).entry:
            return entry
        raise lookup.error(errno.ENOENT, path)

    def readlink(self, entry: Entry) -> str:
        return self._at(entry, lambda name, fd: os.readlink(name, dir_fd=fd))

    def open(self, entry: Entry) -> int:
        """A descriptor to read a regular file."""
        if not entry.is_file:
            raise lookup.error(errno.EINVAL, entry.path)
        return self._at(entry, lambda name, fd: os.open(name, _READ, dir_fd=fd))

    def read(self, entry: Entry, limit: int) -> bytes:
        """The content of a regular file, or the first `limit` bytes of it."""
        with open(self.open(entry), "rb") as file:
            return file.read(limit)

    def attribute(self, entry: Entry, name: str) -> bytes | None:
        """An extended attribute, also one of overlayfs's."""
        return self._at(entry, lambda last, fd: lookup.attribute(lookup.path_of(last, fd), name))

    def is_whiteout(self, entry: Entry) -> bool:
        """Whether an entry of a layer says that there is nothing; only a plain view shows such entries."""
        return self._at(entry, lambda name, fd: lookup.is_whiteout(entry.status, name, fd))

    def attributes(self, entry: Entry) -> dict[str, bytes]:
        """Extended attributes as they lie in the layer, but for those of overlayfs itself."""
        found = self._at(entry, lambda name, fd: lookup.attributes(lookup.path_of(name, fd)))
        return {name: value for name, value in found.items() if not lookup.is_private(name)}

    def _at(self, entry: Entry, action: Callable[[str, int], _Result]) -> _Result:
        """Do something to an entry by its name and the directory it lies in, in its uppermost layer."""
        self._trim(_KEPT)
        parent, _, name = entry.path.rpartition("/")
        return action(name or ".", self._directory(entry.layers[0], parent))

    def _opened(self, directory: Entry) -> list[tuple[int, int]]:
        """Its layers' positions and descriptors, uppermost first; good until the next call of any method."""
        self._trim(_KEPT)
        return [(layer, self._directory(layer, directory.path)) for layer in directory.layers]

    def _directory(self, layer: int, path: str) -> int:
        """The descriptor of a directory in a layer, which is kept: what is used next is mostly close by."""
        key = (layer, path)
        fd = self._kept.pop(key, None)
        self._kept[key] = fd = self._walked(layer, path) if fd is None else fd
        return fd

    def _walked(self, layer: int, path: str) -> int:
        """A new descriptor, opened one name after another, so that the kernel meets no link."""
        above, names = path, list[str]()
        while above and (layer, above) not in self._kept:
            above, _, name = above.rpartition("/")
            names.append(name)
        fd = os.dup(self._kept.get((layer, above), self._roots[layer]))
        for name in reversed(names):
            try:
                below = os.open(name, _FOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _trim(self, most: int) -> None:
        """Close the descriptors that were not used for longest."""
        while len(self._kept) > most:
            os.close(self._kept.pop(next(iter(self._kept))))


def _listed(directory: int) -> list[str]:
    fd = os.open(".", _LIST, dir_fd=directory)
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries]
    finally:
        os.close(fd)


def _names(path: str) -> list[str]:
    if "\0" in path:
        raise lookup.error(errno.EINVAL, path)
    return [name for name in path.split("/") if name not in ("", ".")]


def _up(trail: list[Entry], missing: list[str]) -> None:
    if missing:
        missing.pop()
    else:
        del trail[max(1, len(trail) - 1) :]


def _refuse_below_file(entry: Entry, names: Sequence[str]) -> None:
    if names and not entry.is_directory:
        raise lookup.error(errno.ENOTDIR, entry.path)
