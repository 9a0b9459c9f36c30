import asyncio

import pytest

from berm.gateway.response import BadResponseError, Response
from berm.gateway.upstream import Upstream, UpstreamLostError
from tests.gateway.servers import SANDBOX_ADDRESS, raw_sandbox, saying

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


async def connect(port: int) -> tuple[Upstream, asyncio.Event]:
    """A connection and the event of its end."""
    lost = asyncio.Event()
    loop = asyncio.get_running_loop()
    _, upstream = await loop.create_connection(lambda: Upstream(lambda _: lost.set()), SANDBOX_ADDRESS, port)
    return upstream, lost


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
    await reader.read()


async def test_abort_is_not_the_end_of_a_body() -> None:
    """Also when nobody was waiting for more of the body at the time."""
    response = Response("GET")
    async with raw_sandbox(hang) as port:
        upstream, lost = await connect(port)
        upstream.begin(response, REQUEST)
        assert await upstream.read(response) == b"first"
        upstream.abort()
        await lost.wait()
        with pytest.raises(UpstreamLostError):
            await upstream.read(response)


async def test_body_that_ends_with_its_connection() -> None:
    response = Response("GET")
    async with raw_sandbox(saying(b"HTTP/1.1 200 OK\r\n\r\nwhole")) as port:
        upstream, lost = await connect(port)
        upstream.begin(response, REQUEST)
        await lost.wait()
        assert await upstream.read(response) == b"whole"
        assert response.ended
        assert not upstream.usable


async def test_garbage_is_told_from_a_lost_connection() -> None:
    async with raw_sandbox(saying(b"garbage")) as port:
        upstream, lost = await connect(port)
        response = Response("GET")
        upstream.begin(response, REQUEST)
        await lost.wait()
        with pytest.raises(BadResponseError):
            await upstream.head(response)


async def test_writing_to_a_lost_connection_does_nothing() -> None:
    async with raw_sandbox(saying(b"")) as port:
        upstream, lost = await connect(port)
        upstream.begin(Response("GET"), REQUEST)
        await lost.wait()
        upstream.write(b"x" * 10**7)
        await upstream.drain()
