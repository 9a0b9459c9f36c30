import asyncio

import pytest
import uvicorn

from berm.gateway.app import Gateway
from berm.gateway.server import uvicorn_config
from tests.gateway.servers import DOMAIN, Front, MapResolver, api, get, listen, raw_sandbox, running, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_under_uvicorns_own_server() -> None:
    """Serves, and ends kept connections to sandboxes when it stops."""
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()
        ended.set()

    gateway, listener = Gateway(api, MapResolver(), DOMAIN), listen("127.0.0.1")
    server = uvicorn.Server(uvicorn_config(gateway, host="127.0.0.1", port=0))
    serving = asyncio.create_task(server.serve([listener]))
    async with raw_sandbox(handler) as port:
        front = Front(listener.getsockname()[1], gateway, MapResolver())
        answer = await front.exchange(get(port, "/", "Connection: close"))
        assert answer.endswith(b"hello")
        server.should_exit = True
        await ended.wait()
        await serving


async def test_without_the_reset_extension_the_response_still_does_not_end_well() -> None:
    """Under plain uvicorn a response cut short is closed before its last chunk."""
    gateway = Gateway(api, MapResolver(), DOMAIN)
    config = uvicorn.Config(gateway, http="httptools", ws="none", log_config=None)
    short = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    async with raw_sandbox(saying(short)) as port, running(config, "127.0.0.1") as front_port:
        answer = await Front(front_port, gateway, MapResolver()).exchange(get(port))
    assert not answer.endswith(b"0\r\n\r\n")


async def test_client_that_pipelines_is_seen_leaving(front: Front) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    async with raw_sandbox(hang) as port:
        _, writer = await front.connect()
        writer.write(get(port, "/1") + get(port, "/2") + get(port, "/3"))
        await asked.wait()
        writer.close()
        await left.wait()


@pytest.mark.parametrize("line", [b"A: b\r\n", b"A: " + b"b" * 65536, b"b" * 65536])
async def test_endless_request_heads_are_cut_off(front: Front, line: bytes) -> None:
    _, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError):
        while True:
            writer.write(line)
            await writer.drain()
    writer.close()


async def test_large_requests_and_many_pipelined_ones_are_not(front: Front) -> None:
    post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
    last = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    request = post + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000 + last
    assert (await front.exchange(request)).count(b"HTTP/1.1 200") == 5002


async def test_no_headers_are_added(front: Front) -> None:
    async with raw_sandbox(saying(OK)) as port:
        answer = await front.exchange(get(port, "/", "Connection: close"))
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
