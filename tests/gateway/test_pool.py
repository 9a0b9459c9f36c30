import asyncio
from pathlib import Path

import httpx
import pytest

from berm.gateway.answers import RefusalError
from berm.gateway.hosts import Target
from berm.gateway.pool import Pool
from berm.gateway.response import Response
from berm.gateway.routes import Route
from berm.models import Endpoint
from tests.gateway.servers import (
    SANDBOX,
    SANDBOX_ADDRESS,
    Front,
    Handler,
    closed_port,
    get,
    raw_sandbox,
    saying,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Counted:
    """A sandbox server that counts its connections and keeps them until the other side ends them."""

    def __init__(self, *answers: bytes) -> None:
        self.connections = 0
        self.closed: asyncio.Queue[None] = asyncio.Queue()
        self._handler: Handler = saying(*answers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._handler(reader, writer)
        await reader.read()
        await self.closed.put(None)


def route(port: int) -> Route:
    return Route(Target(SANDBOX, port), Endpoint(SANDBOX_ADDRESS, port))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_requests_in_turn_share_a_connection(front: Front) -> None:
    server = Counted(OK, OK, OK)
    async with raw_sandbox(server) as port, front.client(port) as client:
        for _ in range(3):
            assert (await client.get("/")).content == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize(
    "said",
    [
        OK + b"surplus",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_connections_that_may_not_be_shared_are_closed(front: Front, said: bytes) -> None:
    server = Counted(said)
    async with raw_sandbox(server) as port, front.client(port) as client:
        await client.get("/")
        await server.closed.get()


async def test_request_cut_off_by_an_early_answer_ends_its_connection(front: Front) -> None:
    server = Counted(OK)
    async with raw_sandbox(server) as port:
        await front.exchange(get(port, "/", "Content-Length: 999999", "Connection: close"))
        await server.closed.get()


async def test_speaking_out_of_turn_ends_the_connection() -> None:
    say = asyncio.Event()
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await say.wait()
        writer.write(OK)
        await reader.read()
        ended.set()

    pool = Pool(idle_seconds=100)
    async with raw_sandbox(handler) as port:
        upstream = await pool.acquire(route(port))
        response = Response("GET")
        upstream.begin(response, get(port))
        await upstream.read(response)
        pool.release(route(port), upstream)
        say.set()
        await ended.wait()
        fresh = await pool.acquire(route(port))
        assert fresh is not upstream
        fresh.abort()


async def test_idle_connections_are_closed() -> None:
    server = Counted()
    pool = Pool(idle_seconds=0)
    async with raw_sandbox(server) as port:
        pool.release(route(port), await pool.acquire(route(port)))
        await server.closed.get()


async def test_idle_connections_are_few() -> None:
    server = Counted()
    pool = Pool(idle_seconds=100)
    async with raw_sandbox(server) as port:
        upstreams = [await pool.connect(route(port)) for _ in range(20)]
        for upstream in upstreams:
            pool.release(route(port), upstream)
        for _ in range(12):
            await server.closed.get()
        assert sum(upstream.usable for upstream in upstreams) == 8
        pool.close()
        for _ in range(8):
            await server.closed.get()


async def test_another_sandbox_never_gets_a_kept_connection() -> None:
    """Addresses are given to new sandboxes."""
    server = Counted()
    pool = Pool(idle_seconds=100)
    async with raw_sandbox(server) as port:
        first = await pool.acquire(route(port))
        pool.release(route(port), first)
        other = Route(Target("i" + "b" * 19, port), Endpoint(SANDBOX_ADDRESS, port))
        assert await pool.acquire(other) is not first
        assert await pool.acquire(route(port)) is first
        pool.close()


async def test_broken_connection_is_not_taken_again() -> None:
    pool = Pool(idle_seconds=100)
    async with raw_sandbox(Counted()) as port:
        first = await pool.acquire(route(port))
        pool.release(route(port), first)
        pool.drop(SANDBOX)
        assert await pool.acquire(route(port)) is not first
        pool.close()


async def test_closed_port() -> None:
    with pytest.raises(RefusalError) as caught:
        await Pool().acquire(route(closed_port()))
    assert caught.value.message == "The sandbox is running but port is not open"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\nuntil close"])
async def test_dropping_a_sandbox_breaks_what_is_under_way(front: Front, said: bytes) -> None:
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        asked.set()
        await reader.read()

    async with raw_sandbox(hang) as port, front.client(port) as client:
        request = asyncio.create_task(client.get("/", timeout=None))
        await asked.wait()
        front.gateway.drop("i" + "b" * 19)
        front.gateway.drop(SANDBOX)
        with pytest.raises(httpx.ReadError):
            await request


class Forgetful:
    """Answers once a connection, then closes it on the next request without an answer."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1


async def test_stale_connection_is_replaced_once(front: Front) -> None:
    server = Forgetful()
    async with raw_sandbox(server) as port, front.client(port) as client:
        for _ in range(2):
            assert (await client.get("/")).content == b"hello"
    assert server.requests == 3


@pytest.mark.parametrize(("method", "body"), [("POST", b""), ("POST", b"x"), ("PUT", b"x")])
async def test_request_that_may_have_been_served_is_not_repeated(
    front: Front, method: str, body: bytes
) -> None:
    server = Forgetful()
    async with raw_sandbox(server) as port, front.client(port) as client:
        await client.get("/")
        with pytest.raises(httpx.ReadError):
            await client.request(method, "/", content=body)
    assert server.requests == 2


async def answer_or_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers /whole and goes on; never ends its answer to /cut."""
    while b"/whole" in await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    await reader.read()


async def test_request_that_got_part_of_an_answer_is_not_repeated(front: Front) -> None:
    async with raw_sandbox(saying(OK, b"HTTP/1.1 200")) as port, front.client(port) as client:
        await client.get("/")
        with pytest.raises(httpx.ReadError):
            await client.get("/")


async def test_no_descriptor_is_left(front: Front) -> None:
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer_or_stream(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()
            await ended.put(None)

    before = descriptors()
    async with raw_sandbox(handler) as port:
        for _ in range(20):
            reader, writer = await front.connect()
            writer.write(get(port, "/whole") + get(port, "/cut"))
            await reader.readuntil(b"hello")
            await reader.readuntil(b"hello")
            writer.close()
            await ended.get()
        front.gateway.pool.close()
    assert descriptors() <= before
