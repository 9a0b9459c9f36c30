"""Private ports, masked hosts and TLS inside the sandbox, over real connections."""

import asyncio
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from berm.models import Ingress
from tests.gateway.servers import SANDBOX, SANDBOX_ADDRESS, Front, get, host, raw_sandbox, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TOKEN = "token-of-the-ports"
WITH_TOKEN = f"E2B-Traffic-Access-Token: {TOKEN}"
CLOSE = "Connection: close"


async def echo_heads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError):
        while True:
            await echo_head(reader, writer)


async def echo_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server inside a sandbox makes for itself."""
    key, certificate = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "cert.pem"))
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=inside"
    command = [*make.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return server_context(certificate, key)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_private_ports(front: Front) -> None:
    front.resolver.ingresses[SANDBOX] = Ingress(traffic_token=TOKEN)
    async with raw_sandbox(saying(OK)) as port:
        refused = await front.exchange(get(port, "/", CLOSE))
        page = await front.exchange(get(port, "/", CLOSE, "Accept: text/html"))
        admitted = await front.exchange(get(port, "/", CLOSE, WITH_TOKEN))
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert b"application/json" in refused
    assert b"<!doctype html>" in page
    assert admitted.endswith(b"hello")


async def test_private_ports_refuse_web_sockets(front: Front) -> None:
    front.resolver.ingresses[SANDBOX] = Ingress(traffic_token=TOKEN)

    async def greet(connection: ServerConnection) -> None:
        await connection.send("hello")

    async with serve(greet, SANDBOX_ADDRESS, 0) as server:
        url = f"ws://{host(server.sockets[0].getsockname()[1])}/"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, host="127.0.0.1", port=front.port, proxy=None)
        headers = {"e2b-traffic-access-token": TOKEN}
        async with connect(
            url, host="127.0.0.1", port=front.port, proxy=None, additional_headers=headers
        ) as socket:
            assert await socket.recv() == "hello"
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/a?b=c", "http://elsewhere/a?b=c"])
@pytest.mark.parametrize("upgrade", [(), ("Connection: Upgrade", "Upgrade: websocket")])
async def test_the_mask_is_the_only_host_that_the_sandbox_sees(
    front: Front, upgrade: tuple[str, ...], path: str
) -> None:
    front.resolver.ingresses[SANDBOX] = Ingress(mask_host="${PORT}.app.example.com")
    async with raw_sandbox(echo_head) as port:
        answer = await front.exchange(get(port, path, "Host: third.example.com", *(upgrade or (CLOSE,))))
    _, _, head = answer.lower().partition(b"\r\n\r\n")
    assert head.startswith(b"get /a?b=c http/1.1\r\n")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"host:")] == [
        b"host: %d.app.example.com" % port
    ]


async def test_tls_inside_the_sandbox(front: Front, own_certificate: ssl.SSLContext) -> None:
    async with raw_sandbox(echo_heads, own_certificate) as port:
        front.resolver.ingresses[SANDBOX] = Ingress(https_ports=(port,))
        async with front.client(port) as client:
            for _ in range(3):
                assert (await client.get("/")).text.startswith("GET / HTTP/1.1")


async def test_web_sockets_over_tls_inside(front: Front, own_certificate: ssl.SSLContext) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, SANDBOX_ADDRESS, 0, ssl=own_certificate, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        front.resolver.ingresses[SANDBOX] = Ingress(https_ports=(port,))
        url = f"ws://{host(port)}/"
        async with connect(url, host="127.0.0.1", port=front.port, proxy=None, max_size=None) as socket:
            for message in ("text", b"x" * (4 << 20)):
                await socket.send(message)
                assert await socket.recv() == message


async def test_a_port_that_should_speak_tls_and_does_not(front: Front) -> None:
    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with raw_sandbox(complain) as port:
        front.resolver.ingresses[SANDBOX] = Ingress(https_ports=(port,))
        async with front.client(port) as client:
            answer = await client.get("/")
    assert answer.status_code == 502
    assert "does not speak TLS" in answer.json()["message"]
