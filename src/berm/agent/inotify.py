"""inotify(7) and statfs(2) through ctypes, which has them declared once, here."""

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MODIFY = 0x00000002
ATTRIB = 0x00000004
MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
CREATE = 0x00000100
DELETE = 0x00000200
DELETE_SELF = 0x00000400
MOVE_SELF = 0x00000800
UNMOUNT = 0x00002000
Q_OVERFLOW = 0x00004000
IGNORED = 0x00008000
ONLYDIR = 0x01000000
DONT_FOLLOW = 0x02000000
MASK_ADD = 0x20000000
ISDIR = 0x40000000

_EVENT = struct.Struct("iIII")
_READ_SIZE = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)
_inotify_init1 = _libc.inotify_init1
_inotify_init1.argtypes = [ctypes.c_int]
_inotify_add_watch = _libc.inotify_add_watch
_inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_inotify_rm_watch = _libc.inotify_rm_watch
_inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]
_statfs = _libc.statfs
_statfs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]


@dataclass(frozen=True)
class Event:
    """One event; `name` is the entry's in the watched directory, "" for the directory itself.

    `cookie` is the same for both events of a move.
    """

    watch: int
    mask: int
    cookie: int
    name: str


def init() -> int:
    """A new, non-blocking inotify descriptor. Raises OSError."""
    return _checked(_inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def add_watch(fd: int, path: str, mask: int) -> int:
    """Raises OSError."""
    return _checked(_inotify_add_watch(fd, os.fsencode(path), mask), path)


def rm_watch(fd: int, watch: int) -> None:
    """Raises OSError."""
    _checked(_inotify_rm_watch(fd, watch), str(watch))


def read(fd: int) -> Iterator[Event]:
    """Events that have happened by now, none if there are none."""
    try:
        data = os.read(fd, _READ_SIZE)
    except BlockingIOError:
        return
    offset = 0
    while offset < len(data):
        watch, mask, cookie, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        yield Event(watch, mask, cookie, os.fsdecode(data[offset : offset + length].rstrip(b"\0")))
        offset += length


def filesystem_type(path: str) -> int:
    """The magic number of the filesystem at `path`: statfs(2). Raises OSError."""
    # f_type, a long, is the first field; glibc's struct is 120 bytes.
    buffer = ctypes.create_string_buffer(256)
    _checked(_statfs(os.fsencode(path), buffer), path)
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF


def _checked(result: int, subject: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
    return result
