"""The reader of TLS ClientHellos, against the ones of OpenSSL and against noise."""

import random
import ssl
from collections.abc import Sequence
from typing import Any

import pytest

from berm.node.egress import clienthello, exchange
from berm.node.egress.clienthello import Incomplete, server_name


def hello(name: str | None, protocols: Sequence[str] = ()) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def records(message: bytes, size: int) -> bytes:
    """A handshake message in records of that size."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


def extended(extensions: bytes) -> bytes:
    """A ClientHello with these extensions and nothing else of interest."""
    body = (
        b"\x03\x03" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2) + extensions
    )
    return records(b"\1" + len(body).to_bytes(3) + body, 1 << 14)


def named(*names: bytes, kind: int = 0) -> bytes:
    entries = b"".join(bytes([kind]) + len(name).to_bytes(2) + name for name in names)
    content = len(entries).to_bytes(2) + entries
    return b"\0\0" + len(content).to_bytes(2) + content


@pytest.mark.parametrize("name", ["example.com", "a.b", "x" * 63 + ".example.com", None])
def test_the_name_is_the_one_that_openssl_was_given(name: str | None) -> None:
    assert server_name(hello(name, ["h2", "http/1.1"])) == name


def test_every_beginning_is_incomplete_and_nothing_else() -> None:
    data = hello("example.com")
    for end in range(len(data)):
        with pytest.raises(Incomplete):
            server_name(data[:end])
    assert server_name(data + b"more") == "example.com"


@pytest.mark.parametrize("count", [2, 3, 16])
def test_records_are_put_together(count: int) -> None:
    message = hello("example.com")[5:]
    assert server_name(records(message, -(-len(message) // count))) == "example.com"


def test_very_many_records_are_refused_before_they_are_whole() -> None:
    """One who sends them byte by byte would have them all read for each byte."""
    for size in (1, 2, 3):
        data = records(hello("example.com")[5:], size)
        with pytest.raises(ValueError, match="16 records"):
            server_name(data[: 16 * (5 + size)])
        with pytest.raises(Incomplete):
            server_name(data[: 16 * (5 + size) - 1])


@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_one_that_comes_byte_by_byte_is_read_once_for_each_record(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, read = records(hello("example.com")[5:], 100), []
    pieces = [data[at : at + step] for at in range(0, len(data), step)]

    class Trickle:
        async def read(self) -> bytes:
            return pieces.pop(0)

    def counted(data: bytes) -> str | None:
        read.append(data)
        return server_name(data)

    monkeypatch.setattr(clienthello, "server_name", counted)
    inside: Any = Trickle()
    assert await exchange.tls(inside) == exchange.Opening(data, "example.com")
    assert len(read) <= 6 * -(-len(data) // 105)


def test_a_hello_without_extensions_names_nobody() -> None:
    assert server_name(extended(b"")) is None
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    assert server_name(records(b"\1" + len(body).to_bytes(3) + body, 100)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02",
        b"\x15\x03\x01\0\2\2\0",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\0\4\2\0\0\0",
        b"\x16\x03\x01\0\4\1\xff\xff\xff",
        extended(named(b"one.com") + named(b"two.com")),
        extended(named(b"one.com", b"two.com")),
        extended(named(b"one.com", kind=1)),
        extended(named(b"")),
        extended(named()),
        extended(named("müller.de".encode())),
        extended(b"\0\0\0\1"),
        extended(named(b"one.com")[:-1]),
    ],
)
def test_what_is_no_hello_of_one_name_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        server_name(data)


def test_a_hello_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="too long"):
        server_name(b"\x16\x03\x01\0\x05\1" + (clienthello.MOST + 1).to_bytes(3) + b"x")


def test_noise_is_refused_and_breaks_nothing() -> None:
    chance, data = random.Random(83), hello("example.com")  # noqa: S311 - the same noise in each run
    for _ in range(20_000):
        noisy = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        try:
            found = server_name(bytes(noisy[: chance.randint(1, len(noisy))]))
        except (ValueError, Incomplete):
            continue
        assert found is None or len(found) < len(data)
