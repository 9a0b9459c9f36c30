"""Connections as pairs of streams: carrying bytes from one to the other, and the ways to end."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

PIECE: Final = 64 * 1024
_FAREWELL_SECONDS: Final = 5
_RESET: Final = struct.pack("ii", 1, 0)


class Channel(Protocol):
    """One connection, plain or with TLS in it. Reading and writing raise OSError when it breaks."""

    @property
    def whole(self) -> bool:
        """Whether the end that was read is known to be the other side's."""
        ...

    async def read(self, most: int = PIECE) -> bytes:
        """What has come; empty at the end."""
        ...

    def put(self, data: bytes) -> None:
        """Have this sent soon."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    def end(self, *, whole: bool = True) -> None:
        """Write no more; without `whole` the other side is not to take it for the end of what was sent."""
        ...

    async def close(self) -> None:
        """End when all is sent, but do not wait for ever for one that does not read."""
        ...

    def reset(self) -> None:
        """End at once, so that the other side knows it was no end of its own. Safe to call again."""
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """A `Channel` of plain bytes. `sock` is what both streams are on."""

    sock: socket.socket
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    whole: bool = True

    @classmethod
    async def over(cls, sock: socket.socket) -> "Stream":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE)
        return cls(sock, reader, writer)

    async def read(self, most: int = PIECE) -> bytes:
        return await self.reader.read(most)

    def put(self, data: bytes) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    def end(self, *, whole: bool = True) -> None:
        if not whole:
            self.reset()
        elif self.writer.can_write_eof():
            self.writer.write_eof()

    async def close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.writer.wait_closed()
        except OSError:
            self.reset()

    def reset(self) -> None:
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()


def refuse(sock: socket.socket) -> None:
    """Reset a connection that is in no stream yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


async def write(target: Channel, data: bytes) -> None:
    target.put(data)
    await target.drain()


async def farewell(target: Channel, data: bytes) -> None:
    """Say something last. What still comes is read for a while: else a reset would overtake the words."""
    await write(target, data)
    target.end()
    with suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            while await target.read():
                pass


async def join(left: Channel, right: Channel) -> None:
    """Carry bytes both ways until both sides have ended; raises OSError when one breaks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(carry(left, right))
        group.create_task(carry(right, left))


async def carry(source: Channel, target: Channel) -> None:
    """Carry bytes one way, and the end after them."""
    while data := await source.read():
        await write(target, data)
    target.end(whole=source.whole)
