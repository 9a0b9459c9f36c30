"""A selection as a tar archive, for sending to a server."""

import gzip
import os
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

from berm.templates import entries
from berm.templates.context import Selection
from berm.templates.entries import Entry, Kind

_PIECE: Final = 1 << 18
_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_TYPES: Final[dict[Kind, bytes]] = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
}
_HEADER: Final = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 247x")
_ROOT: Final = b"0000000\0"
_UNSIGNED: Final = b" " * 8
"""What stands for the checksum while it is counted."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Bytes to send, and how many they are. Going over it raises what `pack` raises; it can be done again."""

    length: int
    pieces: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces()


def pack(selection: Selection, target: IO[bytes], compress: bool = False) -> None:
    """Write a selection as a tar archive: names relative to the context, owned by root, links as links.

    Raises BermError CONFLICT if a file has changed since it was selected, PERMISSION_DENIED; what was written
    till then is of no use.
    """
    if not compress:
        target.writelines(_pieces(selection))
        return
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, mtime=0) as smaller:
        smaller.writelines(_pieces(selection))


@contextmanager
def packed(selection: Selection, compress: bool = False) -> Iterator[Archive]:
    """A selection as an archive whose length is known before its first byte.

    A plain one is made while it is sent; a compressed one is in a temporary file till the block ends, and
    making that raises what `pack` raises.
    """
    if not compress:
        yield Archive(_length(selection), lambda: _pieces(selection))
        return
    with tempfile.TemporaryFile(prefix="berm-context-") as file:
        pack(selection, file, compress=True)
        yield Archive(file.tell(), lambda: _read(file))


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _length(selection: Selection) -> int:
    return sum(len(_header(entry)) + entry.size + -entry.size % _BLOCK for entry in selection.entries) + len(
        _END
    )


def _pieces(selection: Selection) -> Iterator[bytes]:
    """The archive in pieces that are worth a system call each."""
    waiting: list[bytes] = []
    size = 0
    for part in _parts(selection):
        waiting.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _parts(selection: Selection) -> Iterator[bytes]:
    root = os.fsencode(selection.root)
    for entry in selection.entries:
        yield _header(entry)
        if entry.kind == "file":
            yield from entries.content(root, entry)
            yield bytes(-entry.size % _BLOCK)
    yield _END


def _header(entry: Entry) -> bytes:
    if _is_plain(entry):
        return _plain_header(entry)
    item = tarfile.TarInfo(entry.path)
    item.type = _TYPES[entry.kind]
    item.size, item.mode, item.mtime, item.linkname = entry.size, entry.mode, entry.mtime, entry.link
    return item.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _is_plain(entry: Entry) -> bool:
    """Whether one block tells all. tarfile makes such blocks too, in more time than reading a small file."""
    return (
        entry.path.isascii()
        and entry.link.isascii()
        and len(entry.path) < 100
        and len(entry.link) <= 100
        and entry.size < 1 << 33
        and 0 <= entry.mtime < 1 << 33
    )


def _plain_header(entry: Entry) -> bytes:
    name = entry.path + "/" if entry.kind == "directory" else entry.path
    before = (name.encode(), b"%07o\0" % entry.mode, _ROOT, _ROOT, b"%011o\0" % entry.size)
    after = (_TYPES[entry.kind], entry.link.encode(), b"ustar\x0000")
    moment = b"%011o\0" % entry.mtime
    checksum = sum(_HEADER.pack(*before, moment, _UNSIGNED, *after))
    return _HEADER.pack(*before, moment, b"%06o\0 " % checksum, *after)
