import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.gateway.servers import (
    SANDBOX,
    Front,
    Handler,
    Silent,
    closed_port,
    get,
    host,
    raw_sandbox,
    sandbox,
    saying,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
MIB = 1 << 20


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    request = Request(scope, receive)
    body = await request.body()
    asked = {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "headers": [[name.decode(), value.decode()] for name, value in request.headers.raw],
        "body": body.decode(),
    }
    await JSONResponse(asked)(scope, receive, send)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_request_arrives_as_it_was_sent(front: Front, method: str) -> None:
    async with sandbox(mirror) as port, front.client(port) as client:
        answer = await client.request(method, "/a%2Fb/ü?x=%20&y", content="text", headers={"x-a": "1"})
    asked = answer.json()
    assert (asked["method"], asked["path"], asked["query"]) == (method, "/a%2Fb/%C3%BC", "x=%20&y")
    assert asked["body"] == "text"
    assert ["host", host(port)] in asked["headers"]
    assert ["x-a", "1"] in asked["headers"]


async def test_hop_by_hop_headers_stay_on_their_hop(front: Front) -> None:
    async with sandbox(mirror) as port, front.client(port) as client:
        private = {"connection": "x-private", "x-private": "1", "te": "trailers", "expect": "100-continue"}
        answer = await client.post("/", content=b"x", headers=private)
    names = {name for name, _ in answer.json()["headers"]}
    assert names.isdisjoint({"connection", "x-private", "te", "expect", "transfer-encoding"})


async def test_response_arrives_as_it_was_sent(front: Front) -> None:
    said = (
        b"HTTP/1.1 418 Short And Stout\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: \xe9\r\n"
        b"Connection: x-private\r\nX-Private: 1\r\nContent-Length: 2\r\nDate: then\r\n\r\nhi"
    )
    async with raw_sandbox(saying(said)) as port, front.client(port) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (418, b"hi")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.get_list("date") == ["then"]
    assert answer.headers["x-latin"] == "é"
    assert "x-private" not in answer.headers


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (OK, 200, b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            200,
            b"hello",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK, 200, b"hello"),
    ],
)
async def test_every_framing(front: Front, said: bytes, status: int, body: bytes) -> None:
    async with raw_sandbox(saying(said)) as port, front.client(port) as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.content) == (status, body)
        assert "link" not in answer.headers


async def test_head_keeps_the_length(front: Front) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with raw_sandbox(saying(said)) as port, front.client(port) as client:
        answer = await client.head("/")
    assert (answer.headers["content-length"], answer.content) == ("5", b"")


async def test_chunked_request_body(front: Front) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with sandbox(mirror) as port, front.client(port) as client:
        asked = (await client.post("/", content=pieces())).json()
    assert asked["body"] == "onetwo"
    assert ["transfer-encoding", "chunked"] in asked["headers"]


async def test_expect_continue_is_answered(front: Front) -> None:
    async with sandbox(mirror) as port:
        reader, writer = await front.connect()
        head = f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_each_event_arrives_before_the_next_is_made(front: Front) -> None:
    asked = asyncio.Semaphore(0)

    async def events() -> AsyncIterator[bytes]:
        for number in range(5):
            await asked.acquire()
            yield b"data: %d\n\n" % number

    app = StreamingResponse(events(), media_type="text/event-stream")
    async with sandbox(app) as port, front.client(port) as client, client.stream("GET", "/") as answer:
        seen = []
        asked.release()
        async for chunk in answer.aiter_raw():
            seen.append(chunk)
            asked.release()
    assert seen == [b"data: %d\n\n" % number for number in range(5)]


async def test_request_body_streams_before_it_is_complete(front: Front) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async for chunk in Request(scope, receive).stream():
            await arrived.put(chunk)
        await Response()(scope, receive, send)

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two", b"three"):
            yield piece
            assert await arrived.get() == piece

    async with sandbox(app) as port, front.client(port) as client:
        assert (await client.post("/", content=body())).status_code == 200


async def test_both_directions_at_once(front: Front) -> None:
    async with raw_sandbox(echo_chunks) as port:
        reader, writer = await front.connect()
        writer.write(f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"one", b"two"):
            writer.write(b"3\r\n%b\r\n" % piece)
            assert await reader.readexactly(8) == b"3\r\n%b\r\n" % piece
        writer.close()


async def echo_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while chunk := await reader.read(4096):
        writer.write(chunk)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A sandbox that answers without the body, and never reads that."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    await asyncio.Event().wait()


async def test_early_answer_reaches_a_client_that_is_still_sending(front: Front) -> None:
    async with raw_sandbox(refuse) as port:
        reader, writer = await front.connect()
        writer.write(f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nContent-Length: {64 * MIB}\r\n\r\nx".encode())
        assert b"413" in await reader.readuntil(b"\r\n\r\nno")
        writer.close()


@pytest.mark.parametrize("framing", ["Content-Length: 200000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("listens", [True, False])
async def test_early_answer_waits_for_the_little_that_is_left(
    front: Front, framing: str, listens: bool
) -> None:
    """A client that stops sending at the first byte of an answer would lose the rest of it."""
    chunk = b"186a0\r\n%b\r\n" if "chunked" in framing else b"%b"
    end = b"0\r\n\r\n" if "chunked" in framing else b""
    async with raw_sandbox(refuse) as port:
        reader, writer = await front.connect()
        target = port if listens else closed_port()
        writer.write(f"POST / HTTP/1.1\r\nHost: {host(target)}\r\n{framing}\r\n\r\n".encode())
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        for piece in (chunk, chunk + end):
            for _ in range(100):
                await asyncio.sleep(0)
            assert not answer.done()
            writer.write(piece % (b"x" * 100_000))
        assert (b"413" if listens else b"502") in await answer
        writer.close()


async def test_early_answer_does_not_wait_for_a_body_without_end(front: Front) -> None:
    async with raw_sandbox(refuse) as port:
        reader, writer = await front.connect()
        writer.write(f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(9):
            writer.write(b"10000\r\n%b\r\n" % (b"x" * 65536))
        assert b"413" in await reader.readuntil(b"\r\n\r\nno")
        writer.close()


async def test_download_is_held_back_by_a_slow_client(front: Front) -> None:
    made = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * MIB)
            await writer.drain()
            made += MIB

    taken = 0
    async with (
        raw_sandbox(endless) as port,
        front.client(port) as client,
        client.stream("GET", "/") as answer,
    ):
        async for chunk in answer.aiter_raw():
            taken += len(chunk)
            for _ in range(100):
                await asyncio.sleep(0)
            assert made - taken < 32 * MIB
            if taken > 128 * MIB:
                break


async def test_upload_is_held_back_by_a_slow_sandbox(front: Front) -> None:
    made = taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        while taken < 128 * MIB:
            made += MIB
            yield b"x" * MIB

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        async for chunk in Request(scope, receive).stream():
            taken += len(chunk)
            for _ in range(20):
                await asyncio.sleep(0)
            assert made - taken < 32 * MIB
        await Response(str(taken))(scope, receive, send)

    async with sandbox(slow) as port, front.client(port) as client:
        answer = await client.post("/", content=body(), timeout=None)
    assert (answer.status_code, answer.text) == (200, str(made))


@pytest.mark.parametrize("progress", ["request", "head", "body"])
async def test_client_leaving_is_seen_by_the_sandbox(front: Front, progress: str) -> None:
    """Before the request is complete, before the answer's head, and in the middle of its body."""
    server = Silent(b"HTTP/1.1 200 OK\r\n\r\nx" if progress == "body" else b"")
    async with raw_sandbox(server) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", *(["Content-Length: 9"] if progress == "request" else [])))
        await server.asked.wait()
        if progress == "body":
            await reader.readuntil(b"x")
        writer.close()
        await server.left.wait()


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\nnonsense\r\n",
    ],
)
async def test_response_cut_short_breaks_the_clients_connection(front: Front, said: bytes) -> None:
    taken = b""
    async with raw_sandbox(saying(said)) as port, front.client(port) as client:
        with pytest.raises(httpx.ReadError):
            async with client.stream("GET", "/") as answer:
                async for chunk in answer.aiter_raw():
                    taken += chunk
    assert b"first".startswith(taken)


async def breaks_after_the_first(front: Front, die: Handler, seen: asyncio.Event) -> None:
    """The client gets what came first, sets `seen`, and then finds the connection broken."""
    async with raw_sandbox(die) as port, front.client(port) as client, client.stream("GET", "/") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"first"
        seen.set()
        with pytest.raises(httpx.ReadError):
            await anext(chunks)


async def test_what_arrived_before_the_break_reaches_the_client(front: Front) -> None:
    seen = asyncio.Event()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await seen.wait()

    await breaks_after_the_first(front, die, seen)


async def test_reset_is_not_the_end_of_a_body_that_ends_with_its_connection(front: Front) -> None:
    seen = asyncio.Event()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await seen.wait()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    await breaks_after_the_first(front, die, seen)


async def test_no_answer_at_all_breaks_the_clients_connection(front: Front) -> None:
    async with raw_sandbox(saying(b"")) as port, front.client(port) as client:
        with pytest.raises(httpx.ReadError):
            await client.get("/")


def ending(front: Front, said: bytes = b"") -> Handler:
    """The sandbox is killed when a request has come, and has said this by then."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        front.resolver.addresses.clear()
        writer.write(said)

    return handler


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Len"])
async def test_the_end_of_a_sandbox_is_told_to_who_waits_for_an_answer(front: Front, said: bytes) -> None:
    async with raw_sandbox(ending(front, said)) as port, front.client(port) as client:
        answer = await client.post("/", content=b"")
    assert answer.status_code == 502
    assert answer.json() == {"message": "The sandbox was not found", "code": 502, "sandboxId": SANDBOX}


async def test_the_end_of_a_sandbox_breaks_an_answer_that_has_begun(front: Front) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with raw_sandbox(ending(front, said)) as port, front.client(port) as client:
        with pytest.raises(httpx.ReadError):
            await client.get("/")


async def test_the_end_of_a_sandbox_breaks_a_request_that_is_not_whole(front: Front) -> None:
    async with raw_sandbox(ending(front)) as port:
        reader, writer = await front.connect()
        writer.write(get(port, "/", "Content-Length: 9") + b"begin")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_pause_is_not_the_end_of_a_sandbox(front: Front) -> None:
    async def pause(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        front.resolver.paused.update(front.resolver.addresses)
        front.resolver.addresses.clear()

    async with raw_sandbox(pause) as port, front.client(port) as client:
        with pytest.raises(httpx.ReadError):
            await client.get("/")


@pytest.mark.parametrize("paused", [False, True])
async def test_a_request_is_not_repeated_at_an_address_that_is_anothers(front: Front, paused: bool) -> None:
    """The connection of an earlier request is found broken when the sandbox has ended or is paused."""
    requests = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await reader.readuntil(b"\r\n\r\n"):
            requests += 1
            if requests == 2:
                front.resolver.paused.update(front.resolver.addresses if paused else {})
                front.resolver.addresses.clear()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_sandbox(handler) as port, front.client(port) as client:
        assert (await client.get("/")).status_code == 200
        if paused:
            with pytest.raises(httpx.ReadError):
                await client.get("/")
        else:
            assert (await client.get("/")).status_code == 502
    assert requests == 2


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 700 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 65536,
        b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_garbage_is_a_bad_gateway(front: Front, said: bytes) -> None:
    async with raw_sandbox(saying(said)) as port, front.client(port) as client:
        answer = await client.get("/")
    assert answer.status_code == 502
    assert answer.json()["message"] == "The sandbox sent an invalid HTTP response"


@pytest.mark.parametrize(
    "surplus", [b"surplus", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\n"]
)
async def test_surplus_never_reaches_another_request(front: Front, surplus: bytes) -> None:
    async with raw_sandbox(saying(OK + surplus)) as port, front.client(port) as client:
        for _ in range(3):
            assert (await client.get("/")).content == b"hello"


async def test_many_at_once_get_their_own_answers(front: Front) -> None:
    async def name(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(scope["path"] * 1000)(scope, receive, send)

    async with sandbox(name) as port, front.client(port) as client:
        answers = await asyncio.gather(*(client.get(f"/{number}", timeout=None) for number in range(300)))
    assert [answer.text for answer in answers] == [f"/{number}" * 1000 for number in range(300)]


async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    async with sandbox(mirror) as port:
        answer = await front.exchange(get(port, "/1") + get(port, "/2", "Connection: close"))
    bodies = [json.loads(part.partition(b"}")[0] + b"}") for part in answer.split(b"\r\n\r\n")[1:]]
    assert [body["path"] for body in bodies] == ["/1", "/2"]


async def test_other_upgrades_are_served_as_plain_requests(front: Front) -> None:
    async with sandbox(mirror) as port:
        answer = await front.exchange(get(port, "/", "Connection: Upgrade, close", "Upgrade: h2c"))
    assert b"200 OK" in answer
    assert b"upgrade" not in answer.partition(b"\r\n\r\n")[2]
