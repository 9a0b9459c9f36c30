"""Work that waits for the disk, in a thread, with an end when nobody wants it any more."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from berm.errors import BermError, Code

Check = Callable[[], None]
"""Called by the work between its pieces; raises to end it."""

_Result = TypeVar("_Result")

_CODES: Final = {
    errno.ENOSPC: Code.NO_SPACE,
    errno.EDQUOT: Code.NO_SPACE,
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENOTDIR: Code.INVALID_ARGUMENT,
    errno.ELOOP: Code.INVALID_ARGUMENT,
    errno.EPERM: Code.INVALID_ARGUMENT,
    errno.EINVAL: Code.INVALID_ARGUMENT,
    errno.ENAMETOOLONG: Code.INVALID_ARGUMENT,
}


class _StoppedError(Exception):
    """Nobody wants the result."""


async def in_thread(work: Callable[[Check], _Result]) -> _Result:
    """Do the work and return its result. A cancelled call ends when the work has: nothing of it goes on.

    An OSError becomes a BermError: NO_SPACE, NOT_FOUND, INVALID_ARGUMENT where the work's files are to blame,
    else INTERNAL.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise _StoppedError

    task = asyncio.ensure_future(asyncio.to_thread(_translated, work, check))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        task.exception()
        raise


def _translated(work: Callable[[Check], _Result], check: Check) -> _Result:
    try:
        return work(check)
    except OSError as error:
        name = os.fsdecode(error.filename or "/")
        # Names as views give them are relative; others are of the host.
        where = "" if name.startswith("/") else f"/{name}: "
        raise BermError(_CODES.get(error.errno or 0, Code.INTERNAL), f"{where}{error.strerror}") from error
