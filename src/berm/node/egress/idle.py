"""Connections over which nothing has come or gone for long end."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LAST_TIMES = struct.Struct("=44xI4xI")
"""Milliseconds since data was last sent and received, in tcp_info of linux/tcp.h."""


@contextmanager
def limited(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Cancel the task in which this is when no byte has passed for so long.

    The kernel knows when one did: a connection costs one timer, and its bytes cost nothing.
    """
    watch = _Watch(sock, seconds)
    try:
        yield
    finally:
        watch.timer.cancel()


class _Watch:
    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock, self._seconds = sock, seconds
        self._task = asyncio.current_task()
        self.timer = self._later(seconds)

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        left = self._seconds - _quiet(self._sock)
        if left > 0:
            self.timer = self._later(left)
        elif self._task:
            self._task.cancel()


def _quiet(sock: socket.socket) -> float:
    """Seconds in which no byte has come or gone; without end for one that is closed."""
    with suppress(OSError):
        known = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_TIMES.size)
        return float(min(_LAST_TIMES.unpack(known)) / 1000)
    return float("inf")
