import asyncio
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Subprotocol

from berm.models import AGENT_PORT
from tests.gateway.servers import (
    SANDBOX,
    SANDBOX_ADDRESS,
    Front,
    Silent,
    closed_port,
    get,
    host,
    raw_sandbox,
    saying,
)

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CHAT = Subprotocol("chat")
MIB = 1 << 20


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "bye":
            await connection.close(4321, "as asked")
        await connection.send(message)


def open_socket(front: Front, port: int) -> connect:
    """A WebSocket to a port of the sandbox."""
    url = f"ws://{host(port)}/chat?x=1"
    return connect(url, host="127.0.0.1", port=front.port, proxy=None, max_size=None, subprotocols=[CHAT])


async def test_messages_pass_both_ways(front: Front) -> None:
    async with serve(echo, SANDBOX_ADDRESS, 0, subprotocols=[CHAT], max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_socket(front, port) as websocket:
            assert websocket.subprotocol == CHAT
            for message in ("text", b"bytes", "", b"\x00" * (16 * MIB)):
                await websocket.send(message)
                assert await websocket.recv() == message


async def test_request_arrives_as_it_was_sent(front: Front) -> None:
    asked = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        asked.set_result(connection.request)

    async with serve(handler, SANDBOX_ADDRESS, 0, subprotocols=[CHAT]) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_socket(front, port):
            request = await asked
    assert request.path == "/chat?x=1"
    assert request.headers["host"] == host(port)


async def test_close_code_reaches_the_client(front: Front) -> None:
    async with serve(echo, SANDBOX_ADDRESS, 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_socket(front, port) as websocket:
            await websocket.send("bye")
            with pytest.raises(ConnectionClosedError) as caught:
                await websocket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4321, "as asked")


async def test_many_at_once(front: Front) -> None:
    async def talk(port: int, number: int) -> str | bytes:
        async with open_socket(front, port) as websocket:
            await websocket.send(str(number))
            return await websocket.recv()

    async with serve(echo, SANDBOX_ADDRESS, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.gather(*(talk(port, n) for n in range(50))) == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    ("said", "wanted", "missing"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnosurplus", b"no", b"surplus"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", b"no", b"chunked"),
        (b"HTTP/1.1 200 OK\r\n\r\nno", b"no", b"HTTP/1.1 502"),
        (b"nonsense", b"HTTP/1.1 502", b"nonsense"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 502", b"101"),
    ],
)
async def test_sandbox_declines(front: Front, said: bytes, wanted: bytes, missing: bytes) -> None:
    async with raw_sandbox(saying(said)) as port:
        answer = await front.exchange(get(port, "/", *UPGRADE))
    assert wanted in answer
    assert missing not in answer
    assert b"connection: close" in answer


async def test_nothing_reaches_a_sandbox_that_declines(front: Front) -> None:
    """Else requests that were never routed could be put behind a handshake that fails."""
    heard = asyncio.get_running_loop().create_future()

    async def decline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        heard.set_result(await reader.read())

    async with raw_sandbox(decline) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        writer.write(b"POST /init HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"no")
        assert await heard == b""
        writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: api.localhost\r\n", 404),
        (f"GET / HTTP/1.1\r\nHost: {host(3000, 'i' + 'b' * 19)}\r\n", 502),
        (f"GET /init HTTP/1.1\r\nHost: {host(AGENT_PORT)}\r\n", 404),
        (f"GET http://x/%69nit HTTP/1.1\r\nHost: {host(AGENT_PORT)}\r\n", 404),
        (f"POST / HTTP/1.1\r\nHost: {host(3000)}\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: {host(3000)}\r\nContent-Length: 5\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: 70000-x.localhost\r\n", 400),
        (f"GET ?x HTTP/1.1\r\nHost: {host(3000)}\r\n", 400),
    ],
)
async def test_handshakes_that_go_nowhere(front: Front, head: str, status: int) -> None:
    answer = await front.exchange((head + "\r\n".join([*UPGRADE, "", ""])).encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_closed_port(front: Front) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(front, closed_port()):
            pass
    assert caught.value.response.status_code == 502
    assert b"port is not open" in (caught.value.response.body or b"")


@pytest.mark.parametrize("switched", [False, True])
async def test_client_leaving_is_seen_by_the_sandbox(front: Front, switched: bool) -> None:
    server = Silent(SWITCH if switched else b"")
    async with raw_sandbox(server) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        await server.asked.wait()
        if switched:
            await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await server.left.wait()


async def test_what_the_client_says_early_waits_for_the_sandbox(front: Front) -> None:
    answer_now = asyncio.Event()

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer_now.wait()
        writer.write(SWITCH)
        writer.write(await reader.readexactly(5))

    async with raw_sandbox(repeat) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        # An answer on a second connection shows that what was sent on the first has been read.
        for piece in (b"", b"early"):
            writer.write(piece)
            await front.exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer_now.set()
        assert (await reader.read()).endswith(b"\r\n\r\nearly")
        writer.close()


async def test_each_direction_ends_by_itself(front: Front) -> None:
    async def last_word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        writer.write(b"after " + await reader.read())

    async with raw_sandbox(last_word) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"the end")
        writer.write_eof()
        assert await reader.read() == b"after the end"
        writer.close()


async def test_words_of_a_sandbox_that_hangs_up_at_once_arrive(front: Front) -> None:
    async with raw_sandbox(saying(SWITCH + b"farewell")) as port:
        answer = await front.exchange(get(port, "/", *UPGRADE))
    assert answer.endswith(b"\r\n\r\nfarewell")


async def test_slow_client_holds_the_sandbox_back(front: Front) -> None:
    made = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        with suppress(ConnectionResetError):
            while True:
                writer.write(b"x" * MIB)
                await writer.drain()
                made += MIB

    async with raw_sandbox(endless) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        taken = len(await reader.readuntil(b"\r\n\r\n"))
        while taken < 128 * MIB:
            taken += len(await reader.readexactly(MIB))
            for _ in range(100):
                await asyncio.sleep(0)
            assert made - taken < 32 * MIB
        writer.close()


@pytest.mark.parametrize("switched", [False, True])
async def test_dropping_the_sandbox_ends_its_tunnels(front: Front, switched: bool) -> None:
    server = Silent(SWITCH if switched else b"")
    async with raw_sandbox(server) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        await server.asked.wait()
        if switched:
            await reader.readuntil(b"\r\n\r\n")
        front.gateway.drop(SANDBOX)
        assert await reader.read() == b""
        writer.close()


async def test_client_that_talks_too_early_is_cut_off(front: Front) -> None:
    async with raw_sandbox(lambda reader, writer: asyncio.Event().wait()) as port:  # type: ignore[arg-type,return-value]
        reader, writer = await front.connect()
        writer.write(get(port, "/", *UPGRADE))
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x" * MIB)
                await writer.drain()
        writer.close()
