"""The caller's side of the launcher's socket, for asyncio."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from berm.launcher import spec


class LauncherGoneError(ConnectionError):
    """The launcher closed its socket; sandboxes are not affected."""


class LauncherClient:
    """One connection. Requests may overlap; the launcher answers them in order."""

    def __init__(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._socket = sock
        self._gone = gone
        self._numbers = itertools.count()
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
        number = next(self._numbers)
        future = self._pending[number] = self._loop.create_future()
        try:
            spec.send(self._socket, {"op": op, "number": number, **fields}, fds)
        except OSError as failure:
            del self._pending[number]
            raise LauncherGoneError(f"the launcher does not answer: {failure}") from failure
        reply, given = await future
        if "error" in reply:
            raise OSError(reply["error"])
        return reply, given

    def _receive(self) -> None:
        try:
            packet = spec.receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            packet = None
        if packet is None:
            self.close()
            self._gone()
            return
        reply, fds = packet
        future = self._pending.pop(reply.pop("number"))
        if future.cancelled():
            for fd in fds:
                os.close(fd)
        else:
            future.set_result((reply, fds))
