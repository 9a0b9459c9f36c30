"""Two TCP connections made one: bytes that arrive on either are written to the other."""

import asyncio
from collections.abc import Callable


class Pipe(asyncio.Protocol):
    """One connection of a splice; what arrives on it goes to its peer's.

    Back-pressure and half-close pass over too, and so does the end of the connection, of which
    `on_lost` hears in place of the protocol that was there before.
    """

    peer: "Pipe"

    def __init__(self, transport: asyncio.Transport, on_lost: Callable[[Exception | None], None]) -> None:
        self.transport = transport
        self.ended = False
        self._on_lost = on_lost

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """Write no more, and close if nothing more can arrive either."""
        if self.ended or not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self.peer.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        self.peer.end()
        return not self.peer.ended

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(exc)
        if exc is None:
            self.peer.transport.close()
        else:
            self.peer.transport.abort()


def splice(left: Pipe, right: Pipe) -> None:
    """Let two pipes take over their connections."""
    left.peer, right.peer = right, left
    for pipe in (left, right):
        pipe.transport.set_protocol(pipe)
