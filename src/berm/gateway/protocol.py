"""uvicorn's HTTP/1.1 server with what a gateway needs beside it."""

import asyncio
import select
import socket
import struct
import sys
from collections import deque
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from berm.gateway.app import RESET, Gateway
from berm.gateway.heads import find, request_head

_MAX_HEAD = 65536
"""Most bytes that a client may send without a complete head or a body byte among them."""

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_LINGER_NOT = struct.pack("ii", 1, 0)


class _Parser(httptools.HttpRequestParser):
    """Tells the protocol of an upgrade that is declined; httptools takes the rest for the other protocol."""

    def __init__(self, protocol: "HttpProtocol") -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._protocol.upgrades():
                raise
            self._protocol.decline(data[upgrade.args[0] :])


class HttpProtocol(HttpToolsProtocol):
    """Adds the ASGI extension RESET, bounds to request heads, half-closed clients and upgrades of any kind.

    A client that has said all it will may have left, or may only have closed its half of the connection.
    Both look the same until something is written to it, so something without a meaning is: an interim
    response, or a leading zero of the next chunk's size. If the client has left, that breaks the connection.
    Where neither can be written, the next piece of the response tells. Over TLS nobody closes half.
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
        self._in_head = True
        self._replayed = False
        self._half_closed = False
        self.parser = self._new_parser()
        self._hangup: select.epoll | None = None

    def data_received(self, data: bytes) -> None:
        self._quiet += len(data)
        super().data_received(data)
        if self._quiet > _MAX_HEAD:
            self.reset()

    def eof_received(self) -> bool:  # type: ignore[override]
        answering = self._answering()
        if answering is None or self.cycle.more_body or self.scheme == "https":
            return False
        self._half_closed = True
        self._watch()
        self._probe(answering)
        return True

    def upgrades(self) -> bool:
        """Whether the request that was just read ends HTTP on this connection."""
        return self._should_upgrade()

    def decline(self, rest: bytes) -> None:
        """Go on with HTTP after a request for an upgrade, whose body, if it has one, begins `rest`."""
        if not self._has_no_body():
            framing = [header for header in self.headers if header[0] in _FRAMING]
            self.parser = self._new_parser()
            self._replayed = True
            self.parser.feed_data(request_head("POST", b"/", framing))
            self._replayed = False
        if rest:
            self.parser.feed_data(rest)

    def _new_parser(self) -> _Parser:
        parser = _Parser(self)
        # As uvicorn does: requests behind one that closes the connection are not an error of that one.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def on_url(self, url: bytes) -> None:
        if not self._replayed:
            super().on_url(url)

    def on_message_begin(self) -> None:
        if self._replayed:
            return
        super().on_message_begin()
        self._in_head = True
        self.scope["extensions"] = {RESET: {"reset": self.reset}}

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too: as headers they could frame or route the request anew.
        if self._in_head and not self._replayed:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._replayed:
            return
        self._quiet = 0
        self._in_head = False
        earlier = self.cycle
        super().on_headers_complete()
        if earlier and earlier is not self.cycle and not earlier.response_complete:
            self._pipelined.append(earlier)

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        # Of a request for an upgrade this is told before its body.
        if self._has_no_body() or not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._half_closed and self._answering() is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hangup:
            self.loop.remove_reader(self._hangup.fileno())
            self._hangup.close()
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

    def _answering(self) -> RequestResponseCycle | None:
        """The oldest request without a complete answer."""
        while self._pipelined and self._pipelined[0].response_complete:
            self._pipelined.popleft()
        if self._pipelined:
            return self._pipelined[0]
        return self.cycle if self.cycle and not self.cycle.response_complete else None

    def _watch(self) -> None:
        """Hear of the connection's end, for which the loop listens no longer: it has read the last byte."""
        self._hangup = select.epoll()
        # Without events it is told of EPOLLHUP and EPOLLERR only, which half a connection does not have.
        self._hangup.register(self.transport.get_extra_info("socket").fileno(), 0)
        self.loop.add_reader(self._hangup.fileno(), self.transport.abort)

    def _probe(self, cycle: RequestResponseCycle) -> None:
        if not cycle.response_started and cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif cycle.chunked_encoding:
            self.transport.write(b"0")

    def _should_upgrade(self) -> bool:
        """Whether the connection stops being HTTP: for any protocol of a sandbox's, and for WebSockets.

        Not for HTTP/2: clients offer it unasked, and it would hide which requests are made.
        """
        upgrade = self._get_upgrade()
        if upgrade is None or upgrade == b"websocket":
            return upgrade is not None
        return upgrade != b"h2c" and self._has_no_body() and self._is_for_sandbox()

    def _has_no_body(self) -> bool:
        length = find(self.headers, b"content-length")
        return length in (None, b"0") and find(self.headers, b"transfer-encoding") is None

    def _is_for_sandbox(self) -> bool:
        gateway = self.config.app
        return isinstance(gateway, Gateway) and gateway.router.names_sandbox(self.headers)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        plain = cycle.scope["http_version"] == "1.1"
        served: Any = app if plain else _unchunked(cycle, app)
        super()._start_asgi_task(cycle, served)


def _unchunked(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """For HTTP/1.0, which knows no chunks: there a body without a length ends with its connection."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def plainly(message: Message) -> None:
            if message["type"] == "http.response.start":
                if find(message["headers"], b"content-length") is None:
                    cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
            elif not message.get("more_body", False) and cycle.expected_content_length > _ANY_LENGTH:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, plainly)

    return run


_ANY_LENGTH = sys.maxsize // 2
"""More than a body ever has: what is left of `sys.maxsize` is still more."""
