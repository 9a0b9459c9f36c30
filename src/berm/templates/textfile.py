"""Reading the files that a person wrote. A folder may be hostile: what looks like one may have no end."""

import os
import stat
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code

LARGEST: Final = 1 << 20
"""Bytes in a file; nobody writes more by hand."""


def read(path: Path) -> bytes:
    """The content of a file.

    Raises BermError NOT_FOUND, TOO_LARGE, INVALID_ARGUMENT if it is no regular file or cannot be read.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        raise BermError(Code.NOT_FOUND, f"there is no file {path}") from None
    except OSError as error:
        raise BermError(Code.INVALID_ARGUMENT, f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise BermError(Code.TOO_LARGE, f"{path} has more than {LARGEST} bytes")
    return data


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BermError(Code.INVALID_ARGUMENT, f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
