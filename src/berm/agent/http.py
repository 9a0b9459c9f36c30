"""HTTP as the agent's plain routes see it: a request, four kinds of answer, and one table of routes."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from berm.agent.errors import AgentError, Kind

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

MAX_JSON = 4 << 20
# Some clients stop sending at the first sign of an answer, and lose the rest of it with their connection:
# those with no more than this left are let finish first, as Go's server does. Node.js even ends the program
# when an answer comes in the middle of a streamed request, so who may ask at all gets more patience.
_MAX_UNWANTED = 256 << 10
_MAX_PATIENCE = 1 << 30
_PATIENT_SECONDS = 30.0


class Request:
    """One request: headers by lower-case name, query by name, the first of each counts."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._more = True
        self.method: str = scope["method"]
        self.raw_headers: Headers = scope["headers"]
        self.headers = {
            name.decode("latin-1"): text(value) for name, value in reversed(list(self.raw_headers))
        }
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=64)
        self.query = dict(reversed(query))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises AgentError if the client leaves before its end."""
        while self._more:
            message = await self._receive()
            self._more = message.get("more_body", False)
            if message["type"] != "http.request":
                raise AgentError(Kind.CANCELED, "the client left before the end of its request")
            if body := message.get("body"):
                yield body

    async def discard(self, patiently: bool = False) -> None:
        """Take what is left of the body, if that is little, before an error is answered."""
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(_PATIENT_SECONDS):
                await self._take(_MAX_PATIENCE if patiently else _MAX_UNWANTED)

    async def _take(self, most: int) -> None:
        taken = 0
        async for chunk in self.chunks():
            taken += len(chunk)
            if taken > most:
                break

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} if there is none. Raises AgentError."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > MAX_JSON:
                raise AgentError(Kind.TOO_LARGE, f"the request body is larger than {MAX_JSON} bytes")
        return _object(bytes(body))


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise AgentError(Kind.INVALID, f"the request body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise AgentError(Kind.INVALID, "the request body is not a JSON object")
    return value


def text(header: bytes) -> str:
    """A header's value: UTF-8, or Latin-1 where it is not."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")


def same_secret(given: str | None, expected: str) -> bool:
    """Compare in constant time."""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


async def begin(send: Send, status: int, headers: Headers = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send: Send, data: bytes, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def empty(send: Send, status: int, headers: Headers = ()) -> None:
    await begin(send, status, headers)
    await body(send, b"")


async def json_body(send: Send, status: int, value: object) -> None:
    data = json.dumps(value).encode()
    length = str(len(data)).encode()
    await begin(send, status, [(b"content-type", b"application/json"), (b"content-length", length)])
    await body(send, data)


async def failure(send: Send, error: AgentError) -> None:
    """The error body of the plain routes."""
    await json_body(send, error.status, {"code": error.status, "message": error.message})


async def rpc_failure(send: Send, error: AgentError) -> None:
    """The error body of the Connect protocol, for requests no service has seen."""
    await json_body(send, error.status, {"code": error.code.value, "message": error.message})


class Started:
    """A `send` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)
