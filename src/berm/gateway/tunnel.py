"""WebSockets to sandboxes, and whatever else a connection is upgraded to.

The request that asks for it is passed on, then bytes both ways, unread.
"""

import asyncio
import urllib.parse
from contextlib import ExitStack, suppress
from typing import cast

import httptools

from berm.gateway import answers
from berm.gateway.answers import RefusalError
from berm.gateway.heads import Header, Headers, end_to_end, find, request_head, response_head, with_host
from berm.gateway.pool import Pool
from berm.gateway.response import BadResponseError, Response
from berm.gateway.routes import Route, Router
from berm.gateway.splice import Pipe, splice
from berm.gateway.upstream import Upstream, UpstreamLostError

_MAX_EARLY = 65536


class Handshake:
    """The request that asks for an upgrade, from its head as uvicorn writes it anew. Raises RefusalError."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head[:-4].split(b"\r\n")
        method, url, _ = first.split(b" ")
        path, query = _parsed(url)
        self.headers: Headers = [_header(line) for line in lines]
        if self._is_websocket() and (method != b"GET" or self._has_body()):
            raise answers.bad_request("a WebSocket is opened by a GET without a body")
        self.method = method.decode()
        self.path = urllib.parse.unquote(path.decode())
        self._target = b"%b?%b" % (path, query) if query else path

    def head(self, host: bytes = b"") -> bytes:
        """The head that goes to the sandbox, with another Host if one is given."""
        return request_head(
            self.method, self._target, with_host(self.headers, host) if host else self.headers
        )

    def _is_websocket(self) -> bool:
        return (find(self.headers, b"upgrade") or b"").lower() == b"websocket"

    def _has_body(self) -> bool:
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)


class Tunnel(asyncio.Protocol):
    """The client's side of an upgraded connection until it is open; then a Pipe takes its place.

    Nothing of the client's reaches the sandbox before the sandbox has answered 101: a sandbox that
    declines would read it as further requests, and those have not been routed.
    """

    def __init__(self, router: Router, pool: Pool) -> None:
        self._router = router
        self._pool = pool
        self._early = b""
        self._opening: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(data))
            return
        self._early += data
        if len(self._early) > _MAX_EARLY:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opening:
            self._opening.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _open(self, head: bytes) -> None:
        try:
            handshake = Handshake(head)
            await self._connect(handshake, await self._route(handshake))
        except RefusalError as refusal:
            self._transport.write(refusal.to_bytes())
            self._transport.close()
        except (UpstreamLostError, BadResponseError):
            self._transport.abort()

    async def _route(self, handshake: Handshake) -> Route:
        route = await self._router.route(handshake.headers, handshake.path)
        if route is None:
            raise answers.not_a_sandbox()
        return route

    async def _connect(self, handshake: Handshake, route: Route) -> None:
        response = Response(handshake.method, upgrade=True)
        with ExitStack() as stack:
            upstream = await self._pool.connect(route)
            stack.callback(upstream.abort)
            upstream.begin(response, handshake.head(route.host))
            await self._head(upstream, response, route)
            if response.status == 101:
                stack.pop_all()
                self._splice(upstream, response)
            else:
                await self._decline(upstream, response)

    async def _head(self, upstream: Upstream, response: Response, route: Route) -> None:
        try:
            await upstream.head(response)
        except BadResponseError:
            raise answers.invalid_response(route.target) from None

    def _splice(self, upstream: Upstream, response: Response) -> None:
        client = Pipe(self._transport, self.connection_lost)
        sandbox = Pipe(upstream.transport, upstream.connection_lost)
        splice(client, sandbox)
        client.write(response_head(response.status, response.headers) + response.tail)
        sandbox.write(self._early)

    async def _decline(self, upstream: Upstream, response: Response) -> None:
        headers = [*end_to_end(response.headers), (b"connection", b"close")]
        self._transport.write(response_head(response.status, headers))
        body = await upstream.read(response)
        while not response.ended:
            self._transport.write(body)
            await self._writable.wait()
            body = await upstream.read(response)
        self._transport.write(body)
        self._transport.close()


def _header(line: bytes) -> Header:
    name, _, value = line.partition(b": ")
    return name, value


def _parsed(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, which may be a whole URL."""
    with suppress(httptools.HttpParserError):
        parsed = httptools.parse_url(url)
        if parsed.path is not None:
            return parsed.path, parsed.query or b""
    raise answers.bad_request("the request target is not a path or a URL")
