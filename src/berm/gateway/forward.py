"""Carries one HTTP request to a sandbox and its response back, both streamed as they come."""

import asyncio

from starlette.types import Message, Send

from berm.gateway import answers
from berm.gateway.heads import Header, end_to_end
from berm.gateway.pool import Pool
from berm.gateway.request import Request
from berm.gateway.response import BadResponseError, Response
from berm.gateway.routes import Route, Router
from berm.gateway.upstream import Upstream, UpstreamLostError

# Statuses that never have a body (RFC 9110 6.4.1): a Content-Length in them describes something else.
_BODILESS = frozenset({204, 304})


class StaleConnectionError(Exception):
    """A kept connection ended before the sandbox answered, and the request may be sent again."""


class UnansweredError(UpstreamLostError):
    """The sandbox had the whole request, and the client has seen nothing of an answer."""


async def forward(pool: Pool, router: Router, route: Route, request: Request, send: Send) -> None:
    """Carry one request. An Expect header is answered here, not by the sandbox; trailers are dropped.

    Raises RefusalError before anything was sent to the client, also if the sandbox ends before it answers a
    whole request, and UpstreamLostError if the sandbox left the response unfinished: the client's
    connection must then be broken too. When the client leaves, the connection to the sandbox is broken at
    once and UpstreamLostError is raised as well.
    """
    try:
        last = await _attempt(pool, route, await pool.acquire(route), request, send)
    except UnansweredError:
        router.check(route)
        raise
    except StaleConnectionError:
        if not router.check(route):
            raise UpstreamLostError from None
        last = await _attempt(pool, route, await pool.connect(route), request, send)
    await send(_body(last, more=False))


async def _attempt(pool: Pool, route: Route, upstream: Upstream, request: Request, send: Send) -> bytes:
    kept = upstream.exchanges > 0
    response = Response(request.method)
    try:
        upstream.begin(response, request.head(route.host))
        return await _exchange(upstream, request, response, send)
    except UpstreamLostError:
        if kept and request.repeatable and not response.touched:
            raise StaleConnectionError from None
        if request.waits and not response.status:
            raise UnansweredError from None
        raise
    except BadResponseError:
        raise (UpstreamLostError() if response.status else answers.invalid_response(route.target)) from None
    finally:
        if response.reusable and request.sent:
            pool.release(route, upstream)
        else:
            upstream.abort()


async def _exchange(upstream: Upstream, request: Request, response: Response, send: Send) -> bytes:
    """Send the body and pass the response on, all but the last piece of its body, which is returned.

    The last piece completes the response, after which the server reports the client as gone.
    """
    pump = asyncio.create_task(request.pump(upstream))
    try:
        await upstream.head(response)
        if response.sized and not request.sent:
            await request.answered(upstream)
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
