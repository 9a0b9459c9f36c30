"""The client's side of one exchange."""

import asyncio

from starlette.types import Receive, Scope

from berm.gateway.heads import Header, end_to_end, find, request_head, with_host
from berm.gateway.upstream import Upstream

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# Some clients stop sending at the first sign of an answer, and lose the connection and the rest of the answer
# with it. Where no more than this is left they are let finish first, as Go's server does.
_MAX_UNWANTED = 256 * 1024


class Request:
    """One request, as far as it has been taken from the client. `sent` is whether that is all of it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers: list[Header] = scope["headers"]
        self.method: str = scope["method"]
        self.sent = False
        self._scope = scope
        self._receive = receive
        self._client_left = False
        self._chunked = find(headers, b"transfer-encoding") is not None
        self._length = int(find(headers, b"content-length") or 0)
        self._taken = 0
        self._limit: int | None = None
        self._settled = asyncio.Event()

    def head(self, host: bytes = b"") -> bytes:
        """The head that goes to the sandbox, with another Host if one is given."""
        kept = [header for header in end_to_end(self._scope["headers"]) if header[0] != b"expect"]
        if host:
            kept = with_host(kept, host)
        if self._chunked:
            kept.append((b"transfer-encoding", b"chunked"))
        return request_head(self.method, _path(self._scope), kept)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time (RFC 9110 9.2.2)."""
        has_body = self._chunked or self._length > 0
        return self.method in _IDEMPOTENT and not has_body and not self._client_left

    @property
    def waits(self) -> bool:
        """Whether the client has sent all of it, and is still there to hear what comes of it."""
        return self.sent and not self._client_left

    async def pump(self, upstream: Upstream) -> None:
        """Pass the body on, then wait for the client to leave and end the connection to the sandbox."""
        while (piece := await self._piece()) is not None:
            upstream.write(piece)
            await upstream.drain()
        upstream.abort()

    async def answered(self, upstream: Upstream) -> None:
        """Let the client finish, if little is left, before it sees the answer that came without the rest."""
        upstream.refuse()
        if self._may_finish():
            await self._settled.wait()

    async def discard(self) -> None:
        """Take what is left, if it is little, before a refusal is sent."""
        if self._may_finish():
            while not self._settled.is_set():
                await self._piece()

    def _may_finish(self) -> bool:
        self._limit = self._taken + _MAX_UNWANTED
        return self._length <= self._limit

    async def _piece(self) -> bytes | None:
        """The next piece of the body as it goes on, empty beyond its end; None once the client has left."""
        message = await self._receive()
        if message["type"] != "http.request":
            self._client_left = True
            self._settled.set()
            return None
        if self.sent:
            return b""
        body: bytes = message.get("body", b"")
        self.sent = not message.get("more_body", False)
        self._taken += len(body)
        if self.sent or (self._limit is not None and self._taken > self._limit):
            self._settled.set()
        return _chunk(body, last=self.sent) if self._chunked else body


def _chunk(body: bytes, *, last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk + b"0\r\n\r\n" if last else chunk


def _path(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else path
