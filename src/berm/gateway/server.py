"""The gateway under uvicorn: one listener for HTTP and WebSockets."""

import asyncio
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from berm.gateway.app import Gateway
from berm.gateway.protocol import HttpProtocol
from berm.gateway.tunnel import Tunnel

_KEEP_ALIVE_SECONDS = 650
"""The SDKs keep idle connections for 300 s, and a request on one that is being closed is not repeated."""

_SHUTDOWN_SECONDS = 5


def tunnel_class(gateway: Gateway) -> type[Tunnel]:
    """What uvicorn makes for each upgraded connection to a sandbox behind `gateway`."""

    class GatewayTunnel(Tunnel):
        def __init__(
            self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
        ) -> None:
            super().__init__(gateway.router, gateway.pool)

    return GatewayTunnel


async def add_tls(server: uvicorn.Server, listener: socket.socket, context: ssl.SSLContext) -> None:
    """Let a server that has started take connections over TLS, too; it ends them when it stops."""
    config = server.config

    def protocol() -> asyncio.Protocol:
        return HttpProtocol(config, server.server_state, server.lifespan.state)

    loop = asyncio.get_running_loop()
    server.servers.append(await loop.create_server(protocol, sock=listener, ssl=context))


def uvicorn_config(gateway: Gateway, *, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        host=host,
        port=port,
        http=HttpProtocol,
        ws=tunnel_class(gateway),
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
