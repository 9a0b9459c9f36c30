"""Carries one HTTP request to a sandbox and its response back, both streamed as they come."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from berm.gateway import answers
from berm.gateway.heads import Header, end_to_end, find, request_head
from berm.gateway.pool import Pool
from berm.gateway.response import BadResponseError, Response
from berm.gateway.routes import Route
from berm.gateway.upstream import Upstream, UpstreamLostError

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# Statuses that never have a body (RFC 9110 6.4.1): a Content-Length in them describes something else.
_BODILESS = frozenset({204, 304})


class StaleConnectionError(Exception):
    """A kept connection ended before the sandbox answered, and the request may be sent again."""


async def forward(pool: Pool, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    """Carry one request. An Expect header is answered here, not by the sandbox; trailers are dropped.

    Raises RefusalError before anything was sent to the client, and UpstreamLostError if the sandbox left the
    response unfinished: the client's connection must then be broken too. When the client leaves, the
    connection to the sandbox is broken at once and UpstreamLostError is raised as well.
    """
    request = _Request(scope, receive)
    try:
        last = await _attempt(pool, route, await pool.acquire(route), request, send)
    except StaleConnectionError:
        last = await _attempt(pool, route, await pool.connect(route), request, send)
    await send(_body(last, more=False))


class _Request:
    """The client's side of one exchange, as far as it has been passed on."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers: list[Header] = scope["headers"]
        self.method: str = scope["method"]
        self.sent = False
        self._receive = receive
        self._client_left = False
        self._chunked = find(headers, b"transfer-encoding") is not None
        self._has_body = self._chunked or find(headers, b"content-length") is not None
        self.head = request_head(self.method, _path(scope), self._outgoing(headers))

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time (RFC 9110 9.2.2)."""
        return self.method in _IDEMPOTENT and not self._has_body and not self._client_left

    async def pump(self, upstream: Upstream) -> None:
        """Pass the body on, then wait for the client to leave and end the connection to the sandbox."""
        while (message := await self._receive())["type"] == "http.request":
            if not self.sent:
                self._pass_on(message, upstream)
                await upstream.drain()
        self._client_left = True
        upstream.abort()

    def _pass_on(self, message: Message, upstream: Upstream) -> None:
        body: bytes = message.get("body", b"")
        self.sent = not message.get("more_body", False)
        if body:
            upstream.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)
        if self.sent and self._chunked:
            upstream.write(b"0\r\n\r\n")

    def _outgoing(self, headers: list[Header]) -> list[Header]:
        kept = [header for header in end_to_end(headers) if header[0] != b"expect"]
        return [*kept, (b"transfer-encoding", b"chunked")] if self._chunked else kept


async def _attempt(pool: Pool, route: Route, upstream: Upstream, request: _Request, send: Send) -> bytes:
    kept = upstream.exchanges > 0
    response = Response(request.method)
    try:
        return await _exchange(upstream, request, response, send)
    except UpstreamLostError:
        if kept and request.repeatable and not response.touched:
            raise StaleConnectionError from None
        raise
    except BadResponseError:
        raise (UpstreamLostError() if response.status else answers.invalid_response(route.target)) from None
    finally:
        if response.reusable and request.sent:
            pool.release(route, upstream)
        else:
            upstream.abort()


async def _exchange(upstream: Upstream, request: _Request, response: Response, send: Send) -> bytes:
    """Send the request and pass the response on, all but the last piece of its body, which is returned.

    The last piece completes the response, after which the server reports the client as gone.
    """
    upstream.begin(response, request.head)
    pump = asyncio.create_task(request.pump(upstream))
    try:
        await upstream.head(response)
        await send({"type": "http.response.start", "status": response.status, "headers": _incoming(response)})
        body = await upstream.read(response)
        while not response.ended:
            await send(_body(body, more=True))
            body = await upstream.read(response)
    finally:
        pump.cancel()
    return body


def _incoming(response: Response) -> list[Header]:
    headers = end_to_end(response.headers)
    if response.status in _BODILESS:
        return [header for header in headers if header[0] != b"content-length"]
    return headers


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _path(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else path
