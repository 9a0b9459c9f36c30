"""The ASGI entry of everything: requests for sandboxes are carried there, all others go to the API."""

from starlette.types import ASGIApp, Receive, Scope, Send

from berm.gateway.answers import RefusalError
from berm.gateway.forward import forward
from berm.gateway.heads import text
from berm.gateway.pool import Pool
from berm.gateway.request import Request
from berm.gateway.routes import Resolver, Router
from berm.gateway.upstream import UpstreamLostError

RESET = "berm.reset"
"""ASGI extension: `scope["extensions"][RESET]["reset"]()` breaks the client's connection."""


class Gateway:
    """Everything that the server answers over HTTP; `uvicorn_config` says how to run it.

    `domain` is the domain of sandbox host names, with its port if it has one.
    """

    def __init__(self, api: ASGIApp, resolver: Resolver, domain: str) -> None:
        self.router = Router(resolver, domain)
        self.pool = Pool()
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif not await self._carried(scope, receive, send):
            await self._api(scope, receive, send)

    def drop(self, sandbox_id: str) -> None:
        """Break every connection to a sandbox, for one that has ended; its clients see theirs broken."""
        self.pool.drop(sandbox_id)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._api(scope, receive, send)
        finally:
            self.pool.close()

    async def _carried(self, scope: Scope, receive: Receive, send: Send) -> bool:
        request = Request(scope, receive)
        try:
            route = await self.router.route(scope["headers"], scope["path"])
            route = route or self.router.linked(scope["method"], scope["path"], scope["query_string"])
            if route is None:
                return False
            await forward(self.pool, self.router, route, request, send)
        except RefusalError as refusal:
            await request.discard()
            await refusal.send(text(scope["headers"], b"accept") or "", send)
        except UpstreamLostError:
            await _reset(scope, receive)
        return True


async def _reset(scope: Scope, receive: Receive) -> None:
    """Break the client's connection, so that a response cut short is not taken for a whole one."""
    extension = scope.get("extensions", {}).get(RESET)
    if extension is None:
        raise ConnectionAbortedError("the sandbox broke the connection")
    extension["reset"]()
    while (await receive())["type"] != "http.disconnect":
        pass
