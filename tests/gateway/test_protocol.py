"""What clients do that few do: half-closed connections, HTTP/1.0, trailers, upgrades to other protocols."""

import asyncio
import json

import pytest

from berm.models import AGENT_PORT, Ingress
from tests.gateway.servers import SANDBOX, Front, Handler, Silent, get, host, raw_sandbox, sandbox, saying
from tests.gateway.test_forward import mirror

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
MIB = 1 << 20


def held(released: asyncio.Event, first: bytes, rest: bytes) -> Handler:
    """Answers with `first` at once and with the rest when it is released."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        await released.wait()
        writer.write(rest)

    return handler


async def half_closed(front: Front, request: bytes, released: asyncio.Event, seen: bytes) -> bytes:
    """All that the client is sent, if it says no more once it has read up to `seen`."""
    reader, writer = await front.connect()
    writer.write(request)
    answer = await reader.readuntil(seen) if seen else b""
    writer.write_eof()
    # An answer on a second connection shows that the end of the first has been read.
    await front.exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    released.set()
    answer += await reader.read()
    writer.close()
    return answer


def without_interim(answer: bytes) -> bytes:
    return answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    ("first", "rest", "seen", "body"),
    [
        (b"", OK, b"", b"\r\n\r\nhello"),
        (b"", CHUNKED + b"0\r\n\r\n", b"", b"\r\n\r\n3\r\none\r\n0\r\n\r\n"),
        (OK[:-3], OK[-3:], b"he", b"\r\n\r\nhello"),
        # Leading zeros of a chunk's size mean nothing (RFC 9112 7.1).
        (CHUNKED, b"3\r\ntwo\r\n0\r\n\r\n", b"one\r\n", b"\r\n\r\n3\r\none\r\n03\r\ntwo\r\n0\r\n\r\n"),
        (CHUNKED, b"0\r\n\r\n", b"one\r\n", b"\r\n\r\n3\r\none\r\n00\r\n\r\n"),
    ],
)
async def test_half_closed_clients_get_their_answer(
    front: Front, first: bytes, rest: bytes, seen: bytes, body: bytes
) -> None:
    released = asyncio.Event()
    async with raw_sandbox(held(released, first, rest)) as port:
        answer = await half_closed(front, get(port), released, seen)
    assert without_interim(answer).startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(body)


async def test_half_closed_clients_get_every_answer(front: Front) -> None:
    released = asyncio.Event()
    async with sandbox(mirror) as port, raw_sandbox(held(released, b"", OK)) as slow:
        posted = f"POST /2 HTTP/1.1\r\nHost: {host(port)}\r\nContent-Length: 4\r\n\r\nbody".encode()
        answer = await half_closed(front, get(slow) + posted + get(port, "/3"), released, b"")
    assert without_interim(answer).startswith(OK[:15])
    assert [answer.count(path) for path in (b'"/2"', b'"/3"', b"HTTP/1.1 200")] == [1, 1, 3]


async def test_half_closed_clients_of_the_api_get_their_answer(front: Front) -> None:
    answer = await half_closed(front, b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", asyncio.Event(), b"")
    assert b"x-server: api" in answer


async def test_half_closed_clients_of_http_1_0_get_no_interim_answer(front: Front) -> None:
    released = asyncio.Event()
    async with raw_sandbox(held(released, b"", OK)) as port:
        request = get_1_0(port)
        answer = await half_closed(front, request, released, b"")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("said", [b"", CHUNKED])
async def test_client_that_leaves_after_it_half_closed_is_seen_leaving(front: Front, said: bytes) -> None:
    server = Silent(said)
    async with raw_sandbox(server) as port:
        reader, writer = await front.connect()
        writer.write(get(port))
        await server.asked.wait()
        if said:
            await reader.readuntil(b"one\r\n")
        writer.write_eof()
        writer.transport.abort()
        await server.left.wait()


async def test_half_a_request_is_no_request(front: Front) -> None:
    async with sandbox(mirror) as port:
        reader, writer = await front.connect()
        writer.write(f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nContent-Length: 4\r\n\r\nhi".encode())
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_idle_connection_that_half_closes_is_closed(front: Front) -> None:
    async with raw_sandbox(saying(OK)) as port:
        reader, writer = await front.connect()
        writer.write(get(port))
        await reader.readuntil(b"hello")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


def get_1_0(port: int, *headers: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.0", f"Host: {host(port)}", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "said",
    [OK, CHUNKED + b"3\r\ntwo\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nonetwo", b"HTTP/1.0 200 OK\r\n\r\n"],
)
async def test_http_1_0_knows_no_chunks(front: Front, said: bytes) -> None:
    async with raw_sandbox(saying(said)) as port:
        head, _, body = (await front.exchange(get_1_0(port))).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == {OK: b"hello", b"HTTP/1.0 200 OK\r\n\r\n": b""}.get(said, b"onetwo")


async def test_http_1_0_answer_cut_short_breaks_the_connection(front: Front) -> None:
    async with raw_sandbox(saying(CHUNKED)) as port:
        with pytest.raises(ConnectionResetError):
            await front.exchange(get_1_0(port))


async def test_a_request_without_a_host_gets_one(front: Front) -> None:
    async with sandbox(mirror) as port:
        named = f"GET / HTTP/1.0\r\nE2b-Sandbox-Id: {SANDBOX}\r\nE2b-Sandbox-Port: {port}\r\n\r\n"
        answer = await front.exchange(named.encode())
    asked = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert ["host", host(port)] in asked["headers"]


async def test_trailers_of_a_request_are_not_its_headers(front: Front) -> None:
    """They come after the request was routed: they must not name another host, length or token."""
    trailers = "Host: other\r\nE2b-Traffic-Access-Token: t\r\nX-Sum: 1\r\n\r\n"
    async with sandbox(mirror) as port:
        head = f"POST / HTTP/1.1\r\nHost: {host(port)}\r\nTransfer-Encoding: chunked\r\n"
        request = f"{head}Connection: close\r\n\r\n2\r\nhi\r\n0\r\n{trailers}".encode()
        answer = await front.exchange(request)
        front.resolver.ingresses[SANDBOX] = Ingress(traffic_token="t")
        refused = await front.exchange(request)
    asked = json.loads(answer.partition(b"\r\n\r\n")[2])
    names = [name for name, _ in asked["headers"]]
    assert asked["body"] == "hi"
    assert names.count("host") == 1
    assert not {"content-length", "x-sum", "e2b-traffic-access-token"}.intersection(names)
    assert refused.startswith(b"HTTP/1.1 403 ")


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A protocol of lines, after a handshake that tells what was asked."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines/1\r\n\r\n")
    writer.write(head.partition(b"\r\n")[0] + b"\n")
    while line := await reader.readline():
        writer.write(line.upper())
    writer.write(b"bye")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_upgrade_to_any_protocol(front: Front, method: str) -> None:
    async with raw_sandbox(shout) as port:
        reader, writer = await front.connect()
        head = f"{method} /attach HTTP/1.1\r\nHost: {host(port)}\r\nContent-Length: 0\r\n"
        writer.write((head + "Connection: Upgrade\r\nUpgrade: lines/1\r\n\r\n").encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readline() == f"{method} /attach HTTP/1.1\n".encode()
        for word in (b"hello\n", b"x" * 60_000 + b"\n"):
            writer.write(word)
            assert await reader.readline() == word.upper()
        writer.write_eof()
        assert await reader.read() == b"bye"
        writer.close()


@pytest.mark.parametrize(
    ("where", "upgrade"), [("sandbox", "h2c"), ("sandbox", "H2C"), ("localhost", "lines/1")]
)
async def test_other_upgrades_are_plain_requests(front: Front, where: str, upgrade: str) -> None:
    """HTTP/2 would hide requests from the routing, and the API has no other protocol."""
    async with sandbox(mirror) as port:
        name = host(port) if where == "sandbox" else where
        head = f"POST /a HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\nUpgrade: {upgrade}\r\n"
        answer = await front.exchange((head + "Connection: Upgrade, close\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("ingress", "port", "path", "status"),
    [(Ingress("token"), 3000, "/", 403), (Ingress(), AGENT_PORT, "/init", 404)],
)
async def test_an_upgrade_opens_no_other_way(
    front: Front, ingress: Ingress, port: int, path: str, status: int
) -> None:
    front.resolver.ingresses[SANDBOX] = ingress
    answer = await front.exchange(get(port, path, "Connection: Upgrade", "Upgrade: lines/1"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("where", ["sandbox", "localhost"])
@pytest.mark.parametrize("upgrade", ["h2c", "websocket-like"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [1, 1000])
async def test_a_declined_upgrade_keeps_its_body_and_what_follows(
    front: Front, where: str, upgrade: str, chunked: bool, step: int
) -> None:
    """Clients offer HTTP/2 with whatever comes first; the server's parser takes all after its head away."""
    framing, body = ("Transfer-Encoding: chunked", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    if not chunked:
        framing, body = "Content-Length: 6", "onetwo"
    async with sandbox(mirror) as port:
        name = host(port) if where == "sandbox" else where
        head = f"POST /a HTTP/1.1\r\nHost: {name}\r\n{framing}\r\n"
        request = f"{head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\r\n{body}".encode()
        last = f"GET /last HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
        whole = request * 2 + last
        reader, writer = await front.connect()
        for start in range(0, len(whole), step):
            writer.write(whole[start : start + step])
            await asyncio.sleep(0)
        answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 200 ") == 3
    if where == "sandbox":
        assert [answer.count(text) for text in (b'"onetwo"', b'"/a"', b'"/last"')] == [2, 2, 1]
