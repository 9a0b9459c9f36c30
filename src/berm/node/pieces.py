"""Bytes that come in pieces of any size, on their way to a file."""

import os
from collections.abc import AsyncIterator
from typing import Final

from berm.images.threads import Check

_GROUPED: Final = 1 << 20
"""Bytes that are gathered for one write."""


async def grouped(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces, so that few of them wait for the disk."""
    pieces = bytearray()
    async for piece in body:
        pieces += piece
        if len(pieces) >= _GROUPED:
            yield bytes(pieces)
            pieces.clear()
    if pieces:
        yield bytes(pieces)


def write(fd: int, data: bytes, _check: Check) -> None:
    """All of it, for `in_thread`. Raises OSError."""
    while data:
        data = data[os.write(fd, data) :]
