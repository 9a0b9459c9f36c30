"""Connections through a SOCKS5 server (RFC 1928) outside, which a sandbox's owner runs."""

import socket

from python_socks import ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy

from berm.models import Socks
from berm.node.egress import dial


async def connect(socks: Socks, host: str, port: int, resolver: dial.Resolver) -> socket.socket:
    """A connection to a name, which the server resolves, or to a public address.

    The server's own name is resolved for each connection, which then goes to that address. Raises
    dial.RefusedError: there is no other way than through the server.
    """
    if dial.is_address(host):
        await dial.candidates(host, resolver)
    address, number = await server(socks, resolver)
    proxy = Proxy(
        ProxyType.SOCKS5, address, number, socks.username or None, socks.password or None, rdns=True
    )
    try:
        return await proxy.connect(host, port, timeout=dial.SECONDS)
    except (ProxyError, ProxyTimeoutError, OSError):
        # What the library says may tell more than the sandbox is to know.
        raise dial.RefusedError(f"the proxy of this sandbox does not lead to {host}") from None


async def server(socks: Socks, resolver: dial.Resolver) -> tuple[str, int]:
    """Where the server is. Raises dial.RefusedError if that is nowhere public."""
    host, _, port = socks.address.rpartition(":")
    return (await dial.candidates(host, resolver))[0], int(port)
