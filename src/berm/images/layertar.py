"""A layer as the tar of an OCI image: image-layout's whiteouts in place of overlayfs's."""

import stat
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images.lines import Output
from berm.images.lookup import PRIVATE, Entry
from berm.images.merged import View, join
from berm.images.threads import Check

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"

_KEPT_ATTRIBUTES: Final = ("user.", "security.capability")
_CAPABILITY: Final = "security.capability"
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000
_REVISION_MASK: Final = 0xFF000000

_MADE_BY_BERM: Final = frozenset(f"etc/{name}" for name in ("hostname", "hosts", "resolv.conf"))
"""Written into every sandbox when it starts, and so into what is kept of it."""


_CHUNK: Final = 256 * 1024

Put = Callable[[bytes], None]
"""Takes the next bytes of a tar."""


def write(layer: Path, put: Put, limit: int, notes: Output, check: Check, *, bottom: bool) -> int:
    """Write a layer, the bottom one of its image or one above it; returns the bytes in its files.

    What cannot be in an image is left out, and noted. Raises BermError TOO_LARGE when the files have more
    than `limit` bytes, holes included, and OSError.
    """
    with View([layer], plain=True) as view:
        return _Layer(view, put, limit, notes, check, bottom=bottom).write()


def header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What follows a file of this size."""
    return bytes(-size % tarfile.BLOCKSIZE)


END: Final = bytes(2 * tarfile.BLOCKSIZE)


class _Layer:
    def __init__(
        self, view: View, put: Put, limit: int, notes: Output, check: Check, *, bottom: bool
    ) -> None:
        self._view = view
        self._put = put
        self._limit = limit
        self._notes = notes
        self._check = check
        self._bottom = bottom
        self._size = 0
        self._linked: dict[tuple[int, int], str] = {}

    def write(self) -> int:
        root = self._view.root()
        self._directory(root)
        for entry in self._view.walk(root):
            self._check()
            self._entry(entry)
        self._put(END)
        return self._size

    def _entry(self, entry: Entry) -> None:
        if not self._bottom and entry.path in _MADE_BY_BERM:
            return
        if self._view.is_whiteout(entry):
            self._whiteout(entry)
        elif entry.name.startswith(WHITEOUT):
            self._notes(f"/{entry.path} is left out: in an image its name would mean something else")
        elif entry.is_directory:
            self._directory(entry)
        elif entry.is_link:
            self._add(entry, tarfile.SYMTYPE, self._view.readlink(entry))
        elif entry.is_file:
            self._file(entry)
        else:
            self._notes(f"/{entry.path} is left out: it is no file, directory or link")
            # It hides what is below it all the same.
            self._whiteout(entry)

    def _whiteout(self, entry: Entry) -> None:
        self._marker(join(entry.path.rpartition("/")[0], WHITEOUT + entry.name))

    def _marker(self, path: str) -> None:
        if not self._bottom:
            self._put(header(tarfile.TarInfo(path)))

    def _directory(self, entry: Entry) -> None:
        self._add(entry, tarfile.DIRTYPE)
        if entry.path and self._view.attribute(entry, PRIVATE + "opaque") == b"y":
            self._marker(join(entry.path, OPAQUE))

    def _file(self, entry: Entry) -> None:
        status = entry.status
        first = self._linked.setdefault((status.st_dev, status.st_ino), entry.path)
        if first != entry.path:
            self._add(entry, tarfile.LNKTYPE, first)
            return
        self._size += status.st_size
        if self._size > self._limit:
            raise BermError(Code.TOO_LARGE, f"the image has more than {self._limit} bytes (at /{entry.path})")
        info = self._info(entry, tarfile.REGTYPE)
        info.size = status.st_size
        self._put(header(info))
        with open(self._view.open(entry), "rb") as file:
            while piece := file.read(_CHUNK):
                self._check()
                self._put(piece)
        self._put(padding(info.size))

    def _add(self, entry: Entry, kind: bytes, target: str = "") -> None:
        self._put(header(self._info(entry, kind, target)))

    def _info(self, entry: Entry, kind: bytes, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(entry.path or ".")
        status = entry.status
        info.type, info.linkname = kind, target
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid, info.gid = status.st_uid, status.st_gid
        info.mtime = int(status.st_mtime)
        info.pax_headers = _headers(self._view.attributes(entry))
        return info


def _headers(attributes: Mapping[str, bytes]) -> dict[str, str]:
    kept = {
        name: _portable(name, value)
        for name, value in attributes.items()
        if name.startswith(_KEPT_ATTRIBUTES) and not name.startswith(PRIVATE)
    }
    return {f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in kept.items()}


def _portable(name: str, value: bytes) -> bytes:
    """File capabilities as images have them: a sandbox's name its own root, which is every container's."""
    if name != _CAPABILITY or len(value) != 24:
        return value
    revision, rest = struct.unpack("<I", value[:4])[0], value[4:20]
    if revision & _REVISION_MASK != _REVISION_3:
        return value
    return struct.pack("<I", revision & ~_REVISION_MASK | _REVISION_2) + rest
