"""What every RPC shares: its codec, its error boundary, its caller and its connection."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from connectrpc.codec import proto_json_codec
from connectrpc.request import RequestContext
from protobuf import Message

from berm.agent import http, users
from berm.agent.errors import AgentError, Kind, deadline_exceeded, reported
from berm.agent.fanout import Mailbox
from berm.agent.http import Receive
from berm.agent.users import User

MAX_MESSAGE = 64 << 20
_DEFAULT_KEEPALIVE = 90.0
_MAX_NESTING = 100
_CONTENT_TYPES = {"application/json", "application/connect+json"}

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = RequestContext[Any, Any]


class StrictCodec:
    """JSON whose decoding failures are the client's fault."""

    def __init__(self) -> None:
        self._inner = proto_json_codec()

    def name(self) -> str:
        return self._inner.name()

    def encode(self, message: Message) -> bytes:
        return self._inner.encode(message)

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        try:
            _check_nesting(data)
            return cast("Message", self._inner.decode(data, message_class))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise AgentError(Kind.INVALID, f"the request message cannot be read: {error}") from error


def _check_nesting(data: bytes | bytearray) -> None:
    """Raises RecursionError for what would overflow the protobuf library's stack and end the process."""
    if data.count(b"[") + data.count(b"{") > _MAX_NESTING:
        json.loads(data)


class ErrorBoundary:
    """Interceptor after which only AgentError and ConnectError leave a service."""

    async def intercept_unary(
        self,
        call_next: Callable[[Request, RequestContext[Request, Response]], Awaitable[Response]],
        request: Request,
        ctx: RequestContext[Request, Response],
    ) -> Response:
        try:
            return await call_next(request, ctx)
        except Exception as error:
            raise reported(error) from error

    async def intercept_client_stream(
        self,
        call_next: Callable[[AsyncIterator[Request], RequestContext[Request, Response]], Awaitable[Response]],
        request: AsyncIterator[Request],
        ctx: RequestContext[Request, Response],
    ) -> Response:
        try:
            return await call_next(request, ctx)
        except Exception as error:
            raise reported(error) from error

    async def intercept_server_stream(
        self,
        call_next: Callable[[Request, RequestContext[Request, Response]], AsyncIterator[Response]],
        request: Request,
        ctx: RequestContext[Request, Response],
    ) -> AsyncIterator[Response]:
        try:
            async with aclosing(cast("Any", call_next(request, ctx))) as responses:
                async for response in responses:
                    yield response
        except Exception as error:
            raise reported(error) from error


class Connection:
    """The client's end of one request: tells once when it has gone."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def on_gone(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def gone(self) -> None:
        for callback in self._callbacks:
            callback()
        self._callbacks.clear()


def check_content_type(header: str) -> None:
    """Raises AgentError unless it is one of the Connect protocol with JSON."""
    if header.partition(";")[0].strip().lower() not in _CONTENT_TYPES:
        raise AgentError(Kind.BAD_TYPE, f"content type {header!r} is none of {', '.join(_CONTENT_TYPES)}")


def watched(receive: Receive) -> Receive:
    """A `receive` that tells this request's Connection when the client goes."""
    current = Connection()
    connection.set(current)

    async def watching() -> http.Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            current.gone()
        return message

    return watching


connection: ContextVar[Connection] = ContextVar("connection")


@contextmanager
def streaming(mailbox: Mailbox[Any], ctx: Context) -> Iterator[None]:
    """For as long as a mailbox is streamed: it stops when the client leaves, and fails at the deadline."""
    connection.get().on_gone(mailbox.close)
    timer = None
    if (milliseconds := ctx.timeout_ms) is not None:
        timer = asyncio.get_running_loop().call_later(milliseconds / 1000, mailbox.cut, deadline_exceeded())
    try:
        yield
    finally:
        if timer:
            timer.cancel()


def keepalive_interval(ctx: Context) -> float:
    """Seconds without an event after which the client wants a sign of life."""
    text = ctx.request_headers.get("keepalive-ping-interval", "")
    return float(text) if text.isdecimal() and 0 < int(text) <= 86400 else _DEFAULT_KEEPALIVE


def caller(ctx: Context, default: str) -> User:
    """The user a request is made as, `name` or `name:group`. Raises AgentError."""
    header = ctx.request_headers.get("authorization")
    wanted = _credentials(header) if header else default
    name, _, group = wanted.partition(":")
    if (user := users.find(name, group)) is None:
        raise AgentError(Kind.UNAUTHENTICATED, f"invalid username: '{wanted.removesuffix(':')}'")
    return user


def _credentials(header: str) -> str:
    scheme, _, credentials = header.partition(" ")
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        decoded = ""
    if scheme.lower() != "basic" or not decoded:
        raise AgentError(Kind.UNAUTHENTICATED, "the authorization header is not Basic with a user name")
    return decoded
