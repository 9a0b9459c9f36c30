"""Heads of HTTP/1.1 messages as they pass through: which headers go on, and the bytes of a head."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

Header = tuple[bytes, bytes]
Headers = Sequence[Header]
"""Names are in lower case, as in ASGI."""

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
# A peer may name any header in Connection; without these the next hop would read other messages than we do.
_NEVER_HOP_BY_HOP = frozenset({b"content-length", b"host"})


def find(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header."""
    return next((value for key, value in headers if key == name), None)


def text(headers: Headers, name: bytes) -> str | None:
    value = find(headers, name)
    return None if value is None else value.decode("latin-1")


def with_host(headers: Iterable[Header], host: bytes) -> list[Header]:
    """The same with this Host instead of whatever the client named."""
    return [(b"host", host), *(header for header in headers if header[0] != b"host")]


def end_to_end(headers: Headers) -> list[Header]:
    """The headers that a proxy passes on (RFC 9110 7.6.1)."""
    dropped = _HOP_BY_HOP
    for name, value in headers:
        if name == b"connection":
            dropped = dropped | _tokens(value)
    return [header for header in headers if header[0] not in dropped]


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for token in value.split(b",")) - _NEVER_HOP_BY_HOP


def request_head(method: str, path: bytes, headers: Iterable[Header]) -> bytes:
    return _head(b"%s %s HTTP/1.1" % (method.encode(), path), headers)


def response_head(status: int, headers: Iterable[Header]) -> bytes:
    return _head(b"HTTP/1.1 %d %s" % (status, _phrase(status)), headers)


def _head(first: bytes, headers: Iterable[Header]) -> bytes:
    lines = [b"%s: %s" % header for header in headers]
    return b"\r\n".join([first, *lines, b"\r\n"])


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
