"""Runs a program that can write nowhere but in one directory: `python -I -S sealed.py DIRECTORY PROGRAM ...`.

For root in a mount namespace of its own. It is run by its path and imports nothing of ours, to be quick. The
program has the few rights of root that unpacking takes; device nodes and file capabilities take those that
`sealed.py DIRECTORY +mknod,+setfcap PROGRAM ...` adds. No device that it makes can be opened.
"""

import ctypes
import os
import sys
from typing import Final

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""System calls; these numbers are the same on every architecture."""

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8

_RIGHTS: Final = "-all,+chown,+dac_override,+fowner,+fsetid"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _set(fd: int, path: bytes, flags: int, attributes: int) -> None:
    """mount_setattr(2)."""
    attr = (ctypes.c_uint64 * 4)(attributes)
    _call(_MOUNT_SETATTR, fd, path, flags, ctypes.byref(attr), ctypes.sizeof(attr))


def seal(directory: str) -> None:
    """Make every mount read-only, but for the directory."""
    tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(directory), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    _set(tree, b"", _AT_EMPTY_PATH, _NOSUID | _NODEV | _NOEXEC)
    _set(_AT_FDCWD, b"/", _AT_RECURSIVE, _RDONLY)
    _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(directory), _MOVE_MOUNT_F_EMPTY_PATH)


if __name__ == "__main__":
    directory, *program = sys.argv[1:]
    more = f",{program.pop(0)}" if program[0].startswith("+") else ""
    seal(directory)
    rights = ("--bounding-set", _RIGHTS + more, "--inh-caps=-all", "--no-new-privs")
    os.execvp("setpriv", ["setpriv", *rights, "--", *program])  # noqa: S606 - no shell is wanted
