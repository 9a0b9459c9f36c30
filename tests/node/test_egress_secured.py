"""TLS in memory, at both ends of real sockets."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from berm.node.egress import authority, secured, streams
from berm.node.egress.authority import Authority
from berm.node.egress.secured import Secured
from berm.node.egress.streams import Channel, Stream

NAME = "a.test"


@dataclass(frozen=True)
class Pair:
    """A client and its server, and what is under them."""

    client: Secured
    server: Secured
    under: Stream


@pytest.fixture
def vouching(tmp_path: Path) -> Authority:
    return authority.at(tmp_path / "authority.pem")


async def secure(vouching: Authority, near: Channel, far: Channel) -> tuple[Secured, Secured]:
    trust = ssl.create_default_context(cadata=vouching.certificate)
    context = await vouching.context(NAME)
    return await asyncio.gather(secured.client(near, trust, NAME), secured.server(far, context, b""))


@pytest.fixture
async def pair(vouching: Authority) -> AsyncIterator[Pair]:
    listener = socket.create_server(("127.0.0.1", 0))
    near = socket.create_connection(listener.getsockname())
    far, _ = listener.accept()
    listener.close()
    one, other = await Stream.over(near), await Stream.over(far)
    client, server = await secure(vouching, one, other)
    yield Pair(client, server, other)
    client.reset()
    server.reset()


async def read_all(channel: Channel) -> bytes:
    found = b""
    while data := await channel.read():
        found += data
    return found


async def test_bytes_come_as_they_were_sent(pair: Pair) -> None:
    sent = os.urandom(1 << 20)
    reading = asyncio.ensure_future(read_all(pair.server))
    for at in range(0, len(sent), 99_999):
        await streams.write(pair.client, sent[at : at + 99_999])
    pair.client.end()
    assert await reading == sent
    assert pair.server.whole


async def test_one_side_ends_and_the_other_goes_on(pair: Pair) -> None:
    sent = os.urandom(1 << 20)

    async def answer() -> None:
        await read_all(pair.server)
        await streams.write(pair.server, sent)
        pair.server.end()

    answering = asyncio.ensure_future(answer())
    pair.client.end()
    assert await read_all(pair.client) == sent
    await answering


async def test_who_ends_loses_nothing_that_is_on_its_way(pair: Pair) -> None:
    """OpenSSL's own end reads what has come, and throws it away."""
    await streams.write(pair.server, b"x" * 60_000)
    assert await pair.client.read(1) == b"x"
    pair.client.end()
    pair.server.end()
    assert await read_all(pair.client) == b"x" * 59_999


async def test_an_end_that_may_be_another_s_is_known(pair: Pair) -> None:
    await streams.write(pair.server, b"half")
    pair.under.end()
    assert await read_all(pair.client) == b"half"
    assert not pair.client.whole


async def test_an_end_that_is_not_whole_is_passed_on_as_that(pair: Pair) -> None:
    pair.server.end(whole=False)
    assert await read_all(pair.client) == b""
    assert not pair.client.whole


async def test_tls_lies_in_tls(pair: Pair, vouching: Authority) -> None:
    client, server = await secure(vouching, pair.client, pair.server)
    await streams.write(client, b"hello")
    client.end()
    assert await read_all(server) == b"hello"


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x16\x03\x01\x00\x02\x01\x00"])
async def test_what_is_no_tls_breaks_its_own_connection(vouching: Authority, sent: bytes) -> None:
    near, far = socket.socketpair()
    with near:
        near.sendall(sent)
        near.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=far)
        with pytest.raises(OSError, match=r"SSL|EOF"):
            await secured.server(Stream(far, reader, writer), await vouching.context(NAME), b"")
        writer.close()
