"""The two ends of a command's pipes or terminal, on the event loop: what it writes, and what it is sent."""

import asyncio
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable, Mapping

from berm.agent.errors import AgentError, Kind
from berm.agent.events import Stream

CHUNK = 64 << 10
MAX_WAITING_INPUT = 64 << 20
MAX_TERMINAL_REST = 1 << 20


class Output:
    """Reads what a command writes, while it is not paused, until every writer has gone."""

    def __init__(self, sources: Mapping[int, Stream], publish: Callable[[Stream, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sources = dict(sources)
        self._publish = publish
        self._reading = False
        for fd in self._sources:
            os.set_blocking(fd, False)

    def read(self, wanted: bool) -> None:
        """Read from now on, or leave what comes in the pipes."""
        if wanted == self._reading:
            return
        self._reading = wanted
        for fd in self._sources:
            if wanted:
                self._loop.add_reader(fd, self._take, fd, CHUNK)
            else:
                self._loop.remove_reader(fd)

    def drain(self) -> None:
        """Read what was written by now, and no more: others may hold the pipes open and go on writing."""
        for fd, name in tuple(self._sources.items()):
            remaining = MAX_TERMINAL_REST if name == "pty" else _queued(fd)
            while remaining > 0 and (taken := self._take(fd, min(remaining, CHUNK))):
                remaining -= taken

    def _take(self, fd: int, size: int) -> int:
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # a terminal nobody has open any more
        if data:
            self._publish(self._sources[fd], data)
        else:
            self._close(fd)
        return len(data)

    def _close(self, fd: int) -> None:
        if self._reading:
            self._loop.remove_reader(fd)
        del self._sources[fd]
        os.close(fd)


def _queued(pipe: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return int(count)


class Input:
    """Writes to a command in the order it is asked to, waiting while the command does not read."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._writable: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)

    async def write(self, data: bytes) -> None:
        """Raises AgentError if it is closed, or if too much is waiting already."""
        if self._waiting and self._waiting + len(data) > MAX_WAITING_INPUT:
            raise AgentError(Kind.EXHAUSTED, "the process does not read its input: too much is waiting")
        self._waiting += len(data)
        try:
            async with self._turn:
                await self._write(memoryview(data))
        finally:
            self._waiting -= len(data)

    async def close(self) -> None:
        """End of file for the command, after what was written."""
        async with self._turn:
            self.abort()

    def abort(self) -> None:
        """Close now; writers that wait fail."""
        fd, self._fd = self._fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_writer(fd)
            os.close(fd)
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    async def _write(self, data: memoryview) -> None:
        while data:
            if self._fd is None:
                raise AgentError(Kind.PRECONDITION, "the process's input is closed")
            try:
                data = data[os.write(self._fd, data[:CHUNK]) :]
            except BlockingIOError:
                await self._room(self._fd)
            except (BrokenPipeError, OSError) as error:
                raise AgentError(Kind.PRECONDITION, "the process has closed its input") from error

    async def _room(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self._writable = loop.create_future()
        loop.add_writer(fd, _resolve, self._writable)
        try:
            await self._writable
        finally:
            if self._fd is not None:
                loop.remove_writer(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
