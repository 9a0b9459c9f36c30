import pytest

from berm.gateway.response import MAX_HEAD, BadResponseError, Response

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n"


def read(data: bytes, method: str = "GET", step: int = 0) -> tuple[Response, bytes]:
    response = Response(method)
    for start in range(0, len(data), step or len(data)):
        response.feed(data[start : start + (step or len(data))])
    return response, response.take()


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize(
    ("data", "status", "body", "reusable"),
    [
        (SIZED, 200, b"hello", True),
        (CHUNKED, 200, b"hello", True),
        (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
        (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + SIZED,
            200,
            b"hello",
            True,
        ),
        (b"\r\n" + SIZED, 200, b"hello", True),
    ],
)
def test_whole_responses(data: bytes, status: int, body: bytes, reusable: bool, step: int) -> None:
    response, got = read(data, step=step)
    assert (response.status, got, response.ended, response.reusable) == (status, body, True, reusable)


@pytest.mark.parametrize("surplus", [b"x", SIZED, b"\x00\r\n", OK])
@pytest.mark.parametrize("first", [SIZED, CHUNKED])
@pytest.mark.parametrize("step", [0, 1])
def test_surplus_is_never_body_and_ends_the_connection(first: bytes, surplus: bytes, step: int) -> None:
    response, body = read(first + surplus, step=step)
    assert body == b"hello"
    assert response.ended
    assert not response.reusable


def test_head_has_no_body_whatever_its_length_says() -> None:
    response, body = read(OK + b"Content-Length: 5\r\n\r\n", "HEAD")
    assert (body, response.ended, response.reusable) == (b"", True, True)
    response, body = read(SIZED, "HEAD")
    assert (body, response.ended, response.reusable) == (b"", True, False)


def test_body_until_close() -> None:
    response, body = read(OK + b"\r\nhello")
    assert (body, response.ended) == (b"hello", False)
    assert response.close()
    assert response.ended
    assert not response.reusable


@pytest.mark.parametrize("data", [b"", OK, SIZED[:-1], CHUNKED[:-1], CHUNKED[:50]])
def test_close_before_the_end_is_not_an_end(data: bytes) -> None:
    response = Response("GET")
    if data:
        response.feed(data)
    assert not response.close()


def test_interim_headers_are_forgotten() -> None:
    response, _ = read(
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK + b"A: b\r\nContent-Length: 0\r\n\r\n"
    )
    assert response.headers == [(b"a", b"b"), (b"content-length", b"0")]


def test_trailers_are_not_headers() -> None:
    assert read(CHUNKED)[0].headers == [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n" + b"\x00" * 9,
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nhello",
        OK + b"A: b\rSet-Cookie: c\r\n\r\n",
        OK + b"A: b\nSet-Cookie: c\r\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"A b: c\r\n\r\n",
        OK + b"A: b\x00\r\n\r\n",
        OK + b"A: b\x7f\r\n\r\n",
    ],
)
def test_what_is_not_a_response(data: bytes) -> None:
    with pytest.raises(BadResponseError):
        read(data)


@pytest.mark.parametrize("step", [0, 1000])
@pytest.mark.parametrize(
    "data",
    [
        OK + b"A: b\r\n" * MAX_HEAD,
        OK + b"A: " + b"b" * 2 * MAX_HEAD,
        b"HTTP/1.1 200 " + b"O" * 2 * MAX_HEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD,
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 2 * MAX_HEAD,
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * MAX_HEAD,
        OK + b"A: " + b"b" * 2 * MAX_HEAD + b"\r\n\r\nbody",
    ],
)
def test_endless_heads_are_cut_off(data: bytes, step: int) -> None:
    with pytest.raises(BadResponseError):
        read(data, step=step)


def test_body_may_be_of_any_size() -> None:
    response, _ = read(OK + b"\r\n" + b"x" * 40 * MAX_HEAD, step=MAX_HEAD // 2)
    assert response.status == 200


def test_switching_protocols_where_it_was_asked_for() -> None:
    response = Response("GET", upgrade=True)
    response.feed(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nframe"
    )
    assert (response.status, response.tail) == (101, b"frame")
    with pytest.raises(BadResponseError):
        Response("GET", upgrade=True).feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\nframe")
