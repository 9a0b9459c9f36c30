"""Connections as pairs of streams: carrying bytes from one to the other, and three ways to end."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_PIECE: Final = 64 * 1024
_FAREWELL_SECONDS: Final = 5
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Stream:
    """One connection. `sock` is what both streams are on."""

    sock: socket.socket
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def over(cls, sock: socket.socket) -> "Stream":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reader, writer = await asyncio.open_connection(sock=sock, limit=_PIECE)
        return cls(sock, reader, writer)

    async def read(self) -> bytes:
        """What has come; empty at the end."""
        return await self.reader.read(_PIECE)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def end(self) -> None:
        """Write no more."""
        if self.writer.can_write_eof():
            self.writer.write_eof()

    async def close(self) -> None:
        """End when all is sent, but do not wait for ever for one that does not read."""
        self.writer.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.writer.wait_closed()
        except OSError:
            self.reset()

    def reset(self) -> None:
        """End at once, so that the other side knows it was no end of its own. Safe to call again."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()

    async def farewell(self, data: bytes) -> None:
        """Say something last. What still comes is read for a while: else a reset would overtake the words."""
        await self.write(data)
        self.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self.read():
                    pass


def refuse(sock: socket.socket) -> None:
    """Reset a connection that is in no stream yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


async def join(left: Stream, right: Stream) -> None:
    """Carry bytes both ways until both sides have ended; raises OSError when one breaks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(carry(left, right))
        group.create_task(carry(right, left))


async def carry(source: Stream, target: Stream) -> None:
    """Carry bytes one way, and the end after them."""
    while data := await source.read():
        await target.write(data)
    target.end()
