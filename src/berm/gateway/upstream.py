"""One HTTP/1.1 connection from the gateway to a port of a sandbox."""

import asyncio
from collections.abc import Callable
from typing import cast

from berm.gateway.response import BadResponseError, Response

_MAX_BUFFERED = 256 * 1024


class UpstreamLostError(Exception):
    """The connection to the sandbox ended before the response did."""


class Upstream(asyncio.Protocol):
    """Carries one exchange after the other: `begin`, `write` the body, `head`, `read` to the end.

    `on_lost` is called once, when the connection has ended.
    """

    def __init__(self, on_lost: Callable[["Upstream"], None]) -> None:
        self.exchanges = 0
        self.transport: asyncio.Transport
        self._on_lost = on_lost
        self._response: Response | None = None
        self._failure: BadResponseError | UpstreamLostError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._read_paused = False
        self._refused = False

    @property
    def usable(self) -> bool:
        return self._failure is None and not self._refused and not self.transport.is_closing()

    def begin(self, response: Response, head: bytes) -> None:
        """Send the head of a request, and read what comes back into `response`."""
        self.exchanges += 1
        self._response = response
        self.write(head)

    def finish(self) -> None:
        """The exchange is over: whatever the sandbox sends from now on ends the connection."""
        self._response = None

    def write(self, data: bytes) -> None:
        if data and self.usable:
            self.transport.write(data)

    def refuse(self) -> None:
        """Write nothing from now on: the sandbox has answered without it."""
        self._refused = True
        self._writable.set()

    async def drain(self) -> None:
        """Wait until the sandbox has taken most of what was written, or the connection has ended."""
        await self._writable.wait()

    async def head(self, response: Response) -> None:
        """Wait for the head of the response. Raises UpstreamLostError or BadResponseError."""
        while not response.status:
            await self._arrival()

    async def read(self, response: Response) -> bytes:
        """The next piece of the body, as soon as there is one; empty at its end.

        Raises UpstreamLostError or BadResponseError.
        """
        while not response.buffered and not response.ended:
            await self._arrival()
        body = response.take()
        self._resume_reading()
        return body

    def abort(self) -> None:
        self._fail(UpstreamLostError())
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._response is None:
            self.abort()
            return
        try:
            self._response.feed(data)
        except BadResponseError as error:
            self._fail(error)
        if self._response.buffered > _MAX_BUFFERED:
            self._read_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._closed(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed(exc)
        self._on_lost(self)

    def pause_writing(self) -> None:
        if not self._refused:
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _closed(self, exc: Exception | None) -> None:
        whole = not self._failure and not exc and self._response and self._response.close()
        if not whole:
            self._fail(UpstreamLostError())
        self._writable.set()
        self._wake()

    def _fail(self, failure: BadResponseError | UpstreamLostError) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def _arrival(self) -> None:
        if self._failure:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()
