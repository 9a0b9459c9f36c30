"""HTTP requests as they are read from a sandbox and written anew."""

import random

import pytest

from berm.node.egress import requests
from berm.node.egress.requests import Reader


def read(data: bytes, size: int = 1 << 20) -> Reader:
    reader = Reader()
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    return reader


POST = (
    b"POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\nX-One: 1\r\nConnection: keep-alive\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_it_is_written_anew_and_nothing_after_it(size: int) -> None:
    reader = read(POST + b"GET /second HTTP/1.1\r\nHost: evil.com\r\n\r\n", size)
    request = reader.request
    assert (request.host, request.done) == ("example.com", True)
    assert request.head({}) == (
        b"POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\nX-One: 1\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert request.taken() == b"5\r\nabcde\r\n0\r\n\r\n"


def test_headers_are_set_in_place_of_the_client_s() -> None:
    head = read(POST).request.head({"x-one": "2", "Authorization": "Bearer t"})
    assert b"X-One: 1" not in head
    assert b"\r\nx-one: 2\r\nAuthorization: Bearer t\r\n" in head


@pytest.mark.parametrize(
    ("host", "found"), [("a.com", "a.com"), ("a.com:80", "a.com"), ("[::1]:80", "[::1]"), ("", None)]
)
def test_the_host_is_without_its_port(host: str, found: str | None) -> None:
    assert read(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).request.host == found


def test_http2_is_no_upgrade() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n\r\n"
    assert read(head % b"h2c").request.upgrade == b""
    assert read(head % b"websocket").request.upgrade == b"websocket"


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"longer|overflow|Overflow"):
        read(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, 1000)


def test_noise_is_refused_and_breaks_nothing() -> None:
    chance = random.Random(83)  # noqa: S311 - the same noise in each run
    for _ in range(5_000):
        noisy = bytearray(POST)
        for _ in range(chance.randint(1, 4)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        try:
            request = read(bytes(noisy), chance.randint(1, 200)).request
            requests.check(request)
        except ValueError:
            continue
        assert not request.headed or request.head({}).count(b"\r\n\r\n") == 1
