"""The caller's side of the launcher's socket, for asyncio."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from berm.launcher import spec

_AT_ONCE: Final = 64
"""Most requests on their way: fewer than fill the socket's buffer."""


class LauncherGoneError(ConnectionError):
    """The launcher closed its socket; sandboxes are not affected."""


class LauncherClient:
    """One connection. Requests may overlap; the launcher answers them in order."""

    def __init__(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._socket = sock
        self._gone = gone
        self._numbers = itertools.count()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._pending: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._receive)

    @classmethod
    def connect(cls, path: Path, gone: Callable[[], None]) -> "LauncherClient":
        """Connect to a launcher; raises OSError when none listens. `gone` is called when it closes."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        return cls(sock, gone)

    def close(self) -> None:
        """Stop listening; what is pending fails with LauncherGoneError. Safe to call again."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(LauncherGoneError("the launcher has ended"))
        self._pending.clear()

    async def call(self, op: str, *fds: int, **fields: Any) -> tuple[dict[str, Any], list[int]]:
        """Make a request; returns the reply and its descriptors, which the caller closes.

        Raises LauncherGoneError, or OSError with the launcher's own words when it refuses.
        """
        async with self._room:
            reply, given = await self._ask(op, fds, fields)
        if "error" in reply:
            failure = OSError(reply["error"])
            failure.errno = reply.get("errno")
            raise failure
        return reply, given

    async def pages(self, op: str, field: str) -> dict[str, Any]:
        """All that the launcher tells in pieces, by name, in one field. Raises what `call` does."""
        found: dict[str, Any] = {}
        while True:
            reply, _ = await self.call(op, after=max(found, default=""))
            piece = reply[field]
            if not piece:
                return found
            found.update(piece if isinstance(piece, dict) else dict.fromkeys(piece))

    async def _ask(
        self, op: str, fds: tuple[int, ...], fields: dict[str, Any]
    ) -> tuple[dict[str, Any], list[int]]:
        number = next(self._numbers)
        try:
            spec.send(self._socket, {"op": op, "number": number, **fields}, fds)
        except OSError as failure:
            self._lose()
            raise LauncherGoneError(f"the launcher does not answer: {failure}") from failure
        answer: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        self._pending[number] = answer
        return await answer

    def _lose(self) -> None:
        if self._socket.fileno() >= 0:
            self.close()
            self._gone()

    def _receive(self) -> None:
        try:
            packet = spec.receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            packet = None
        if packet is None:
            self._lose()
            return
        reply, fds = packet
        future = self._pending.pop(reply.pop("number"))
        if future.cancelled():
            for fd in fds:
                os.close(fd)
        else:
            future.set_result((reply, fds))
