"""Real servers on loopback addresses that stand for sandboxes, and the gateway in front of them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from berm.errors import BermError, Code
from berm.gateway.app import Gateway
from berm.gateway.pool import Pool
from berm.gateway.server import uvicorn_config
from berm.models import Endpoint, Ingress, State

SANDBOX = "i" + "a" * 19
SANDBOX_ADDRESS = "127.0.0.2"
DOMAIN = "localhost:49980"
ACCESS_TOKEN = "token-of-the-agent"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class MapResolver:
    """Sandboxes as a plain mapping of ids to addresses."""

    addresses: dict[str, str] = field(default_factory=lambda: {SANDBOX: SANDBOX_ADDRESS})

    signers: dict[str, str] = field(default_factory=dict)
    """Sandboxes by the signatures that are theirs."""
    ingresses: dict[str, Ingress] = field(default_factory=dict)
    """Of those that have other than the usual."""
    paused: dict[str, str] = field(default_factory=dict)
    """Addresses that paused sandboxes have when they run again."""
    waking: bool = False
    """Whether a request resumes them."""
    woken: list[str] = field(default_factory=list)
    """Those that were to be woken."""
    full: bool = False
    """Whether there is no room for them to run again."""

    def signer(self, method: str, query: Mapping[str, str]) -> str | None:
        return self.signers.get(query["signature"]) if method == "GET" else None

    def resolve(self, sandbox_id: str, port: int) -> Endpoint | None:
        address, ingress = self.addresses.get(sandbox_id), self.ingresses.get(sandbox_id, Ingress())
        return Endpoint(address, port, tls=port in ingress.https_ports) if address else None

    def ingress(self, sandbox_id: str) -> Ingress | None:
        known = sandbox_id in self.addresses or sandbox_id in self.paused
        return self.ingresses.get(sandbox_id, Ingress()) if known else None

    def is_access_token(self, sandbox_id: str, given: str) -> bool:
        return given == ACCESS_TOKEN

    async def wake(self, sandbox_id: str) -> State | None:
        self.woken.append(sandbox_id)
        if self.full:
            raise BermError(Code.UNAVAILABLE, "no room")
        if self.waking:
            self.addresses[sandbox_id] = self.paused.pop(sandbox_id)
            return State.RUNNING
        return State.PAUSED if sandbox_id in self.paused else None


@dataclass
class Front:
    """The gateway as clients meet it."""

    port: int
    gateway: Gateway
    resolver: MapResolver

    def client(self, port: int) -> httpx.AsyncClient:
        """A client of one port of the sandbox."""
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers={"host": host(port)})

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, request: bytes) -> bytes:
        """Everything that the gateway answers until it closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


def host(port: int, sandbox_id: str = SANDBOX) -> str:
    return f"{port}-{sandbox_id}.localhost:49980"


def get(port: int, path: str = "/", *headers: str) -> bytes:
    """A GET as a client writes it."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host(port)}", *headers, "", ""]).encode()


def listen(address: str) -> socket.socket:
    listener = socket.socket()
    listener.bind((address, 0))
    listener.listen(512)
    return listener


def closed_port(address: str = SANDBOX_ADDRESS) -> int:
    """A port on which nothing listens."""
    with listen(address) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(config: uvicorn.Config, address: str) -> AsyncIterator[int]:
    """uvicorn's protocols in this loop, without the waits of its own server; yields the port."""
    config.load()
    state, loop, listener = ServerState(), asyncio.get_running_loop(), listen(address)

    def protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await loop.create_server(protocol, sock=listener)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@asynccontextmanager
async def front_server() -> AsyncIterator[Front]:
    resolver = MapResolver()
    gateway = Gateway(api, resolver, DOMAIN)
    gateway.pool = Pool(idle_seconds=1000)
    async with running(uvicorn_config(gateway, host="127.0.0.1", port=0), "127.0.0.1") as port:
        yield Front(port, gateway, resolver)
    gateway.pool.close()


async def api(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for the REST API: says which path it was asked for."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-server", b"api")]})
    await send({"type": "http.response.body", "body": scope["raw_path"]})


async def _lifespan(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{step}"
        await send({"type": f"lifespan.{step}.complete"})


@asynccontextmanager
async def sandbox(app: ASGIApp) -> AsyncIterator[int]:
    """An ordinary HTTP server in the sandbox; yields its port."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    async with running(config, SANDBOX_ADDRESS) as port:
        yield port


@asynccontextmanager
async def raw_sandbox(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server in the sandbox that does with each connection what `handler` does; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, SANDBOX_ADDRESS, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Silent:
    """Says nothing after `said`; tells when it was `asked` and when the other side has `left`."""

    def __init__(self, said: bytes = b"") -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self._said = said

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._said)
        self.asked.set()
        with suppress(ConnectionResetError):
            await reader.read()
        self.left.set()


def saying(*answers: bytes) -> Handler:
    """Answers the requests of a connection with these bytes, one each, then closes it."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return handler
