"""The gateway under uvicorn: one listener for HTTP and WebSockets."""

import asyncio
import socket
import struct
from collections import deque
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from berm.gateway.app import RESET, Gateway
from berm.gateway.tunnel import Tunnel

_KEEP_ALIVE_SECONDS = 650
"""The SDKs keep idle connections for 300 s, and a request on one that is being closed is not repeated."""

_SHUTDOWN_SECONDS = 5
_MAX_HEAD = 65536
"""Most bytes that a client may send without a complete head or a body byte among them."""

_LINGER_NOT = struct.pack("ii", 1, 0)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 server with the ASGI extension RESET and with bounded request heads.

    It takes the end of a client's data for its leaving, so half-closing clients get no answer.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._quiet = 0
        self._pipelined: deque[RequestResponseCycle] = deque()

    def data_received(self, data: bytes) -> None:
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > _MAX_HEAD:
            self.reset()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {RESET: {"reset": self.reset}}

    def on_headers_complete(self) -> None:
        self._quiet = 0
        earlier = self.cycle
        super().on_headers_complete()
        while self._pipelined and self._pipelined[0].response_complete:
            self._pipelined.popleft()
        if earlier and not earlier.response_complete:
            self._pipelined.append(earlier)

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn tells only the last of several pipelined requests, which has not been started.
        for cycle in self._pipelined:
            cycle.disconnected = True
            cycle.message_event.set()

    def reset(self) -> None:
        """Break the connection with a TCP reset (socket(7), SO_LINGER)."""
        if not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self.transport.abort()


def tunnel_class(gateway: Gateway) -> type[Tunnel]:
    """What uvicorn makes for each WebSocket to a sandbox behind `gateway`."""

    class GatewayTunnel(Tunnel):
        def __init__(
            self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
        ) -> None:
            super().__init__(gateway.router, gateway.pool)

    return GatewayTunnel


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
