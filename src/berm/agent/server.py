"""The agent's ASGI application and its server: importing this module imports all that serving needs.

A sandbox's agent is forked from a process that imported this, into a filesystem without Python: nothing
reached from `Agent` may import, look up a codec, or ask glibc for users, names or locales.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvicorn.lifespan.off
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from berm.agent import given, http, log, rpc
from berm.agent._gen.filesystem_connect import Filesystem, FilesystemASGIApplication
from berm.agent._gen.process_connect import Process, ProcessASGIApplication
from berm.agent.children import Reaper, keep_descriptors
from berm.agent.config import AgentConfig, Settings
from berm.agent.errors import AgentError, Kind, reported
from berm.agent.files import Files
from berm.agent.filesystem import FilesystemService
from berm.agent.http import App, Receive, Request, Scope, Send, Started
from berm.agent.jobs import Jobs
from berm.agent.lifecycle import Lifecycle
from berm.agent.process import ProcessService
from berm.agent.signatures import check as check_signature

# Clients keep idle connections for 300 s and do not retry one that the server has just closed.
_IDLE_SECONDS = 640
_MAX_HEAD = 64 << 10
_BACKLOG = 1024
# Enough for the interpreter to take the code for often used, and specialise it.
_REPETITIONS = 20
_START = b'{"process":{"cmd":"/nonexistent"}}'
_REHEARSAL = (
    b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"POST /process.Process/Start HTTP/1.1\r\nConnection: close\r\nContent-Type: application/connect+json\r\n"
    b"Content-Length: %d\r\n\r\n\0%b%b" % (len(_START) + 5, len(_START).to_bytes(4, "big"), _START),
)
_MAX_SHOWN = 200
_ACCESS_HEADER = "x-access-token"
_OPEN = {"/health"}
_SIGNED = "/files"
_METHODS = {
    f"/{service.type_name}/{method.name}"
    for service in (Process.desc(), Filesystem.desc())
    for method in service.methods
}
Handler = Callable[[Request, Send], Awaitable[None]]

__all__ = ["Agent", "AgentConfig", "rehearse"]


class Agent:
    """An agent that is made ahead, by a process that still waits for its settings."""

    def __init__(self, listener: socket.socket) -> None:
        """Prepare to serve `listener`. The calling process becomes the reaper of all its children."""
        # With the default action the kernel keeps every signal but SIGKILL of the outer namespace from a
        # PID 1: pid_namespaces(7). An ignored one would be inherited by every command.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        log.install()
        self._settings = Settings(AgentConfig())
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(listen(self._settings, listener))

    def run(self, config: AgentConfig, ready: Callable[[], None]) -> None:
        """Serve for ever; `ready` is called once requests are answered. Raises OSError if it cannot begin."""
        given.write(config.files)
        self._settings.configure(config)
        keep_descriptors()
        self._loop.call_soon(ready)
        self._loop.run_until_complete(self._server.serve_forever())


def rehearse() -> None:
    """Serve some requests to oneself, in the process agents will be forked from, while it has no children.

    What Python adapts and caches on first use then is in memory all of them share.
    """
    asyncio.run(_rehearse())


async def _rehearse() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = await listen(Settings(AgentConfig()), listener)
    for request in _REHEARSAL * _REPETITIONS:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(request)
        await reader.read()
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def listen(settings: Settings, listener: socket.socket) -> asyncio.Server:
    """Serve `listener` on the running loop, as long as that runs."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_exception)
    app = Application(settings, Jobs(Reaper(loop)))
    # uvicorn's own Server wakes up ten times a second and takes the signals: its protocol is enough.
    uvicorn_config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
    )
    uvicorn_config.load()
    state = ServerState()
    return await loop.create_server(
        lambda: Protocol(uvicorn_config, state, {}), sock=listener, backlog=_BACKLOG
    )


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.log("error", context["message"], error=repr(context.get("exception")))


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on what comes before a body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head: int | None = 0
        # asyncio does this only where the listener was made with the protocol's number, which few are.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > _MAX_HEAD:
            self.send_400_response("The request head is too large.")

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()


class Application:
    """Routes by path; every request but /health and signed /files shows the access token."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings = settings
        lifecycle, files = Lifecycle(settings), Files(settings)
        self._routes: dict[str, dict[str, Handler]] = {
            "/health": {"GET": lifecycle.health, "HEAD": lifecycle.health},
            "/envs": {"GET": lifecycle.envs},
            "/metrics": {"GET": lifecycle.metrics},
            "/init": {"POST": lifecycle.init},
            "/files": {"GET": files.download, "HEAD": files.download, "POST": files.upload},
            "/files/compose": {"POST": files.compose},
        }
        self._services: dict[str, App] = {
            "/process.Process": _connect(ProcessASGIApplication, ProcessService(settings, jobs)),
            "/filesystem.Filesystem": _connect(FilesystemASGIApplication, FilesystemService(settings)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._services.get(scope["path"].rpartition("/")[0])
        if service:
            await self._call(service, scope, receive, send)
        else:
            await self._answer(Request(scope, receive), scope["path"], send)

    async def _call(self, service: App, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            headers = request.headers
            scope["headers"] = [(name.encode("latin-1"), value.encode()) for name, value in headers.items()]
            self._authorize(headers.get(_ACCESS_HEADER))
            _check_method(scope["path"])
            rpc.check_content_type(headers.get("content-type", ""))
        except AgentError as error:
            await request.discard()
            await http.rpc_failure(send, error)
        else:
            await service(scope, rpc.watched(receive), send)

    async def _answer(self, request: Request, path: str, send: Send) -> None:
        send = Started(send)
        allowed = False
        try:
            handler = self._handler(request.method, path)
            if path not in _OPEN and not self._is_signed(request, path):
                self._authorize(request.headers.get(_ACCESS_HEADER))
            allowed = True
            await handler(request, send)
        except Exception as error:
            await request.discard(patiently=allowed)
            await _fail(send, reported(error))

    def _handler(self, method: str, path: str) -> Handler:
        if (handlers := self._routes.get(path)) is None:
            raise AgentError(Kind.UNKNOWN_ROUTE, f"there is no {path[:_MAX_SHOWN]}")
        if (handler := handlers.get(method)) is None:
            raise AgentError(Kind.BAD_METHOD, f"{path} takes {' or '.join(handlers)}, not {method}")
        return handler

    def _is_signed(self, request: Request, path: str) -> bool:
        """Whether a request shows a signature instead of the token. Raises AgentError if it is a bad one."""
        if path != _SIGNED or _ACCESS_HEADER in request.headers or self._settings.access_token is None:
            return False
        check_signature(request.method, request.query, self._settings.access_token)
        return True

    def _authorize(self, given: str | None) -> None:
        expected = self._settings.access_token
        if expected is not None and not http.same_secret(given, expected):
            raise AgentError(Kind.UNAUTHENTICATED, f"the header {_ACCESS_HEADER} is missing or wrong")


def _check_method(path: str) -> None:
    if path not in _METHODS:
        raise AgentError(Kind.UNKNOWN_ROUTE, f"there is no method {path[:_MAX_SHOWN]}")


def _connect(application: Callable[..., App], service: object) -> App:
    return application(
        service,
        interceptors=(rpc.ErrorBoundary(),),
        read_max_bytes=rpc.MAX_MESSAGE,
        compressions=(),
        codecs=(rpc.StrictCodec(),),
    )


async def _fail(send: Started, error: AgentError) -> None:
    if send.begun:
        raise error  # the connection is dropped, which is all that can be told now
    await http.failure(send, error)
