"""What is checked of a request before any route sees it."""

import re
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1024 * 1024
"""Most bytes in the body of a request."""

MAX_PLAN = 16 * MAX_BODY
"""The same where the body says what a build does, with the files that are in the plan itself."""

# Some clients stop sending at the first sign of an answer, and lose it with their connection: those with no
# more than this left are let finish first, as Go's server does.
_MAX_UNWANTED = 256 * 1024

_PLANS = re.compile(r"/berm/plan|/(berm|v2)/templates/[^/]+/builds/[^/]+")

UPLOADS = "/uploads/"
"""Where the path of what is not limited here begins: the route has a limit of its own, and keeps nothing."""

CONTENT = "/volumecontent/"
"""Where the path of what is in volumes begins; what is written there only the size of the volume limits."""

_FILES = re.compile(CONTENT + "[^/]+/file")


class BodyLimit:
    """Refuses a body that is too large while it is read, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = Headers(scope=scope).get("content-length", "0")
        body = _Body(receive, _most(scope["path"]), int(length) if length.isdecimal() else 0)

        async def answer(message: Message) -> None:
            if message.get("status", 0) >= 400:
                await body.discard()
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A body as it comes; the length is the one that was announced, 0 if none was."""

    def __init__(self, receive: Receive, most: int | None, length: int) -> None:
        self._receive = receive
        self._most = most
        self._length = length
        self._taken = 0
        self._over = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._over = not message.get("more_body", False)
        if self._most is not None and self._taken > self._most:
            raise HTTPException(413, f"the body is larger than {self._most} bytes")
        return message

    async def discard(self) -> None:
        """Take what is left, if it is little, before an error is answered."""
        self._most, most = None, self._taken + _MAX_UNWANTED
        while not self._over and max(self._taken, self._length) <= most:
            await self.receive()


def _most(path: str) -> int | None:
    if path.startswith(UPLOADS) or _FILES.fullmatch(path):
        return None
    return MAX_PLAN if _PLANS.fullmatch(path) else MAX_BODY


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
