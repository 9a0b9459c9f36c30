"""Connections through a SOCKS5 server (RFC 1928) outside, which a sandbox's owner runs."""

from typing import Any

from python_socks import ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio.v2 import Proxy

from berm.models import Socks
from berm.node.egress import dial, lists, secured, streams
from berm.node.egress.streams import Channel, Stream


async def connect(socks: Socks, host: str, port: int, resolver: dial.Resolver) -> Channel:
    """A connection to a name, which the server resolves, or to a public address.

    The server's own name is resolved for each connection, which then goes to that address. Raises
    dial.RefusedError: there is no other way than through the server.
    """
    if lists.is_address(host):
        await dial.candidates(host, resolver)
    where = await server(socks, resolver)
    try:
        return await _led(socks, where, (host, port), resolver)
    except (ProxyError, ProxyTimeoutError, OSError):
        # What the library says may tell more than the sandbox is to know.
        raise dial.RefusedError(f"the proxy of this sandbox does not lead to {host}") from None


async def _led(socks: Socks, where: tuple[str, int], to: tuple[str, int], resolver: dial.Resolver) -> Channel:
    """Raises OSError and what the library raises."""
    channel: Channel = await Stream.over(await dial.connect(*where, resolver))
    try:
        if socks.tls:
            name = socks.tls.server_name or _parts(socks)[0]
            channel = await secured.client(channel, secured.trust(socks.tls.ca_cert), name)
        await _ask(channel, socks, *to)
    except BaseException:
        channel.reset()
        raise
    return channel


async def _ask(channel: Channel, socks: Socks, host: str, port: int) -> None:
    """Have the server at the other end of a channel lead on. Raises OSError and what the library raises."""
    way: Any = _Way(channel)
    user, password = socks.username or None, socks.password or None
    proxy = Proxy(ProxyType.SOCKS5, socks.address, 0, user, password, rdns=True, forward=way)
    await proxy.connect(host, port, timeout=dial.SECONDS)


class _Way:
    """A channel as the library wants it: what leads to the server, and the stream that it is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def connect(self, **_: object) -> "_Way":
        return self

    async def write(self, data: bytes) -> None:
        await streams.write(self._channel, data)

    async def read_exactly(self, count: int) -> bytes:
        """Never more than that: what follows is the other side's, of whom the server only tells."""
        data = b""
        while len(data) < count:
            piece = await self._channel.read(count - len(data))
            if not piece:
                raise ConnectionError("the server ended the connection")
            data += piece
        return data

    async def close(self) -> None:
        self._channel.reset()


async def server(socks: Socks, resolver: dial.Resolver) -> tuple[str, int]:
    """Where the server is. Raises dial.RefusedError if that is nowhere public."""
    host, port = _parts(socks)
    return (await dial.candidates(host, resolver))[0], port


def _parts(socks: Socks) -> tuple[str, int]:
    host, _, port = socks.address.rpartition(":")
    return host, int(port)
