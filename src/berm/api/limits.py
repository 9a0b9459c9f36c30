"""What is checked of a request before any route sees it."""

from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1024 * 1024
"""Most bytes in the body of a request."""


class BodyLimit:
    """Refuses a body that is too large while it is read, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes")
            return message

        await self._app(scope, counted, send)


class EncodedSlashes:
    """Keeps a `%2F` in the path from separating segments: it reaches the route as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path", b"")
        if b"%2f" in raw.lower():
            kept = raw.replace(b"%2F", b"%252F").replace(b"%2f", b"%252F")
            scope = {**scope, "path": unquote(kept.decode("ascii"))}
        await self._app(scope, receive, send)


def unescape(segment: str) -> str:
    """A path parameter as the client meant it, behind `EncodedSlashes`."""
    return segment.replace("%2F", "/")
