"""TLS in a connection, at either end: by OpenSSL on bytes in memory, so that it lies in any other channel."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeVar

from berm.node.egress.streams import PIECE, Channel

SECONDS: Final = 10
"""How long a handshake may take."""

T = TypeVar("T")


class Secured:
    """A `Channel` in another one."""

    def __init__(self, under: Channel, context: ssl.SSLContext, name: str | None = None) -> None:
        """The client's end if it has the `name` of a server, which has to prove it; else the server's."""
        self.whole = True
        self._under = under
        self._kept = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=name is None, server_hostname=name
        )

    async def begin(self, received: bytes = b"") -> None:
        """Shake hands; `received` was read from under it before. Raises OSError."""
        self._incoming.write(received)
        async with asyncio.timeout(SECONDS):
            await self._until_done(self._tls.do_handshake)

    async def read(self, most: int = PIECE) -> bytes:
        if self._kept:
            taken, self._kept = self._kept[:most], self._kept[most:]
            return taken
        try:
            return await self._until_done(lambda: self._tls.read(most))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            self.whole = False
            return b""

    def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._send()

    async def drain(self) -> None:
        await self._under.drain()

    def end(self, *, whole: bool = True) -> None:
        if not whole:
            self._under.end()
            return
        # OpenSSL looks for the other side's end, and drops what has come before it: that is for who reads.
        if pending := self._tls.pending():
            self._kept += self._tls.read(pending)
        come = self._incoming.read()
        with suppress(OSError):  # the other side has yet to say that it ends too
            self._tls.unwrap()
        if come:
            self._incoming.write(come)
        self._send()

    async def close(self) -> None:
        await self._under.close()

    def reset(self) -> None:
        self._under.reset()

    async def _until_done(self, step: Callable[[], T]) -> T:
        """What a step of OpenSSL's gives once enough has come for it."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                self._send()
            await self._under.drain()
            if data := await self._under.read():
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._under.put(self._outgoing.read())


@lru_cache(maxsize=64)
def trust(certificates: str = "") -> ssl.SSLContext:
    """For clients that believe these certificates, in PEM, and without any those that the machine trusts.

    Raises ValueError if there are none in them.
    """
    try:
        return ssl.create_default_context(cadata=certificates or None)
    except (ssl.SSLError, TypeError) as error:  # TypeError is for what is not ASCII
        raise ValueError(str(error)) from None


async def server(under: Channel, context: ssl.SSLContext, received: bytes) -> Secured:
    """The server's end, with what a client has sent so far. Raises OSError."""
    secured = Secured(under, context)
    await secured.begin(received)
    return secured


async def client(under: Channel, context: ssl.SSLContext, name: str) -> Secured:
    """The client's end, to a server that has proved its name. Raises OSError."""
    secured = Secured(under, context, name)
    try:
        await secured.begin()
    except BaseException:
        under.reset()
        raise
    return secured
