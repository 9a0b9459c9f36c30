"""The gateway over TLS, with a certificate that is replaced while it serves."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from berm.errors import BermError
from berm.gateway.app import Gateway
from berm.gateway.certificate import Certificate
from berm.gateway.server import add_tls, uvicorn_config
from tests.certificates import Authority, Issued
from tests.gateway.servers import (
    DOMAIN,
    SANDBOX,
    SANDBOX_ADDRESS,
    MapResolver,
    Silent,
    api,
    get,
    host,
    listen,
    raw_sandbox,
    saying,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
NAMES = ("berm.localhost", "*.berm.localhost")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("front", *NAMES)


@asynccontextmanager
async def serving(certificate: Certificate) -> AsyncIterator[int]:
    """uvicorn's own server on two ports; yields that of TLS."""
    gateway = Gateway(api, MapResolver(), DOMAIN)
    server = uvicorn.Server(uvicorn_config(gateway, host="127.0.0.1", port=0))
    started, plain, secure = asyncio.Event(), listen("127.0.0.1"), listen("127.0.0.1")
    startup = server.startup

    async def both(sockets: object) -> None:
        await startup([plain])
        await add_tls(server, secure, certificate.context)
        started.set()

    server.startup = both  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(server.serve([plain]))
    await started.wait()
    try:
        yield secure.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def port(issued: Issued) -> AsyncIterator[int]:
    certificate = Certificate(issued.chain, issued.key)
    certificate.load()
    async with serving(certificate) as port:
        yield port


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


async def opened(
    port: int, trusting: ssl.SSLContext, name: str = "8000-x.berm.localhost"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)


async def test_requests_over_tls(port: int, trusting: ssl.SSLContext) -> None:
    async with raw_sandbox(saying(OK)) as inside:
        reader, writer = await opened(port, trusting)
        writer.write(get(inside, "/", "Connection: close"))
        answer = await reader.read()
        writer.close()
    assert answer.endswith(b"hello")


async def test_clients_that_offer_http_2_get_http_1_1(port: int, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await opened(port, context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.close()


async def test_names_beyond_the_certificate_are_not_trusted(port: int, trusting: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await opened(port, trusting, "berm.example.com")


async def test_web_sockets_over_tls(port: int, trusting: ssl.SSLContext) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, SANDBOX_ADDRESS, 0, max_size=None) as server:
        headers = {"E2b-Sandbox-Id": SANDBOX, "E2b-Sandbox-Port": str(server.sockets[0].getsockname()[1])}
        url = f"wss://localhost:{port}/"
        async with connect(
            url,
            host="127.0.0.1",
            ssl=trusting,
            server_hostname="x.berm.localhost",
            additional_headers=headers,
            proxy=None,
            max_size=None,
        ) as socket:
            for message in ("text", b"x" * (4 << 20)):
                await socket.send(message)
                assert await socket.recv() == message


async def test_response_cut_short_breaks_the_connection(port: int, trusting: ssl.SSLContext) -> None:
    async with raw_sandbox(saying(CHUNKED)) as inside:
        reader, writer = await opened(port, trusting)
        writer.write(get(inside))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_client_leaving_is_seen_by_the_sandbox(port: int, trusting: ssl.SSLContext) -> None:
    server = Silent()
    async with raw_sandbox(server) as inside:
        _, writer = await opened(port, trusting)
        writer.write(get(inside))
        await server.asked.wait()
        writer.close()
        await server.left.wait()


async def served_name(port: int, trusting: ssl.SSLContext) -> str:
    _, writer = await opened(port, trusting)
    subject = writer.get_extra_info("peercert")["subject"]
    writer.close()
    return str(subject[0][0][1])


async def test_a_new_certificate_is_used_at_once(authority: Authority, trusting: ssl.SSLContext) -> None:
    old, new = authority.issue("old", *NAMES), authority.issue("new", *NAMES)
    certificate = Certificate(old.chain, old.key)
    certificate.load()
    async with serving(certificate) as port, raw_sandbox(saying(OK)) as inside:
        reader, writer = await opened(port, trusting)
        old.chain.write_bytes(new.chain.read_bytes())
        certificate.look()
        assert await served_name(port, trusting) == "old", "half of the new one is not used"
        old.key.write_bytes(new.key.read_bytes())
        certificate.look()
        assert await served_name(port, trusting) == "new"
        old.key.unlink()
        certificate.look()
        assert await served_name(port, trusting) == "new"
        writer.write(get(inside, "/", "Connection: close"))
        assert (await reader.read()).endswith(b"hello")
        writer.close()


async def test_without_a_certificate_no_handshake_succeeds(
    issued: Issued, tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    chain, key = tmp_path / "chain", tmp_path / "key"
    certificate = Certificate(chain, key)
    async with serving(certificate) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await opened(port, trusting)
        chain.write_bytes(issued.chain.read_bytes())
        key.write_bytes(issued.key.read_bytes())
        certificate.look()
        assert await served_name(port, trusting) == "front"


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_what_is_no_certificate_is_named(issued: Issued, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "chain").write_text(text)
    with pytest.raises(BermError, match=str(tmp_path / "chain")):
        Certificate(tmp_path / "chain", issued.key).load()


async def test_httpx_takes_the_name_of_a_sandbox(port: int, trusting: ssl.SSLContext) -> None:
    async with raw_sandbox(saying(OK)) as inside, httpx.AsyncClient(verify=trusting) as client:
        name = host(inside).replace("localhost:49980", "berm.localhost")
        answer = await client.get(
            f"https://127.0.0.1:{port}/", headers={"host": name}, extensions={"sni_hostname": name}
        )
    assert answer.content == b"hello"
