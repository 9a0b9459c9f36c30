"""Connections to sandboxes: made, kept for the next request, and ended with their sandbox."""

import asyncio
import ssl
from functools import partial

from berm.gateway import answers
from berm.gateway.routes import Route
from berm.gateway.upstream import Upstream

_CONNECT_SECONDS = 5
_MAX_IDLE = 8
# Below the keep-alive time of every common server, so that a request never meets a connection being closed.
_IDLE_SECONDS = 1.0


def _any_certificate() -> ssl.SSLContext:
    """A sandbox's certificate is its own and proves nothing; nobody but the host is on the way there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


_ANY_CERTIFICATE = _any_certificate()


class Pool:
    """`idle_seconds` is how long a connection is kept for another request."""

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._idle: dict[Route, dict[Upstream, asyncio.TimerHandle]] = {}
        self._open: dict[str, set[Upstream]] = {}

    async def acquire(self, route: Route) -> Upstream:
        """A connection to a sandbox port, an idle one if there is one. Raises RefusalError."""
        return self._take_idle(route) or await self.connect(route)

    async def connect(self, route: Route) -> Upstream:
        """A new connection to a sandbox port. Raises RefusalError."""
        loop, endpoint = asyncio.get_running_loop(), route.endpoint
        make = partial(Upstream, partial(self._forget, route))
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, upstream = await loop.create_connection(
                    make,
                    endpoint.host,
                    endpoint.port,
                    ssl=_ANY_CERTIFICATE if endpoint.tls else None,
                    server_hostname=endpoint.host if endpoint.tls else None,
                )
        except ssl.SSLError:
            raise answers.no_tls(route.target) from None
        except OSError:
            raise answers.port_not_open(route.target) from None
        if upstream.usable:
            self._open.setdefault(route.target.sandbox_id, set()).add(upstream)
        return upstream

    def release(self, route: Route, upstream: Upstream) -> None:
        """Keep a connection whose exchange ended well for another request."""
        upstream.finish()
        if not upstream.usable or len(self._idle.get(route, ())) >= _MAX_IDLE:
            upstream.abort()
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, upstream.abort)
        self._idle.setdefault(route, {})[upstream] = timer

    def drop(self, sandbox_id: str) -> None:
        """Break every connection to a sandbox."""
        for upstream in list(self._open.get(sandbox_id, ())):
            upstream.abort()

    def close(self) -> None:
        """Break every connection."""
        for sandbox_id in list(self._open):
            self.drop(sandbox_id)

    def _take_idle(self, route: Route) -> Upstream | None:
        idle = self._idle.get(route)
        while idle:
            upstream, timer = idle.popitem()
            timer.cancel()
            if upstream.usable:
                return upstream
        return None

    def _forget(self, route: Route, upstream: Upstream) -> None:
        timer = self._idle.get(route, {}).pop(upstream, None)
        if timer:
            timer.cancel()
        self._open.get(route.target.sandbox_id, set()).discard(upstream)
        if not self._idle.get(route, True):
            del self._idle[route]
        if not self._open.get(route.target.sandbox_id, True):
            del self._open[route.target.sandbox_id]
