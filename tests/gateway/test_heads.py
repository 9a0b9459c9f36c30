import pytest

from berm.gateway.heads import Header, end_to_end, request_head, response_head, text

KEPT: Header = (b"x-kept", b"1")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"connection", b"keep-alive"), (b"keep-alive", b"timeout=5")],
        [(b"connection", b"X-Private , close"), (b"x-private", b"1")],
        [(b"connection", b"a"), (b"connection", b"b"), (b"a", b"1"), (b"b", b"1")],
        [(b"te", b"trailers"), (b"trailer", b"x"), (b"transfer-encoding", b"chunked")],
        [(b"upgrade", b"h2c"), (b"proxy-connection", b"close")],
    ],
)
def test_hop_by_hop_headers_stay_behind(headers: list[Header]) -> None:
    assert end_to_end([*headers, KEPT]) == [KEPT]


@pytest.mark.parametrize("name", [b"content-length", b"host"])
def test_connection_cannot_strip_what_frames_or_routes_a_message(name: bytes) -> None:
    headers = [(b"connection", name), (name, b"7")]
    assert end_to_end(headers) == [(name, b"7")]


def test_repeated_headers_keep_their_order() -> None:
    cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert end_to_end(cookies) == cookies


def test_heads_as_bytes() -> None:
    assert request_head("GET", b"/a?b", [(b"host", b"h")]) == b"GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"
    assert response_head(404, [(b"a", b"")]) == b"HTTP/1.1 404 Not Found\r\na: \r\n\r\n"
    assert response_head(599, []) == b"HTTP/1.1 599 \r\n\r\n"


def test_text_reads_the_first_value() -> None:
    assert text([(b"a", b"1"), (b"a", b"2")], b"a") == "1"
    assert text([], b"a") is None
