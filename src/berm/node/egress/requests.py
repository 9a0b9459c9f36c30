"""An HTTP request of a sandbox's: its head, read whole, and written anew for the server it goes to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httptools

MOST: Final = 64 * 1024
"""Bytes in which the head of a request has to end."""

_OURS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""What is said anew to the server."""


@dataclass(slots=True)
class Request:
    """One request, as llhttp reads it. `body` is what of its body has come and was not taken yet."""

    method: bytes = b""
    target: bytes = b""
    version: str = "1.1"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    headed: bool = False
    done: bool = False

    @property
    def host(self) -> str | None:
        """The host that it asks for, without a port; None if it names none."""
        named = b"".join(self.values(b"host")).decode("latin-1").strip()
        return re.sub(r":\d*$", "", named) or None

    @property
    def chunked(self) -> bool:
        return bool(self.values(b"transfer-encoding"))

    @property
    def upgrade(self) -> bytes:
        """The protocol that it wants to go on with; never HTTP/2, in which each request names a host."""
        tokens = b",".join(self.values(b"connection")).lower().split(b",")
        wanted = b", ".join(self.values(b"upgrade")) if b"upgrade" in map(bytes.strip, tokens) else b""
        return b"" if b"h2c" in wanted.lower() else wanted

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def head(self, extra: Mapping[str, str]) -> bytes:
        """Its head as it is sent on, with these headers set. The server is to close after its answer."""
        replaced = _OURS | {name.lower().encode() for name in extra}
        headers = [(name, value) for name, value in self.headers if name.lower() not in replaced]
        headers += [(name.encode(), value.encode()) for name, value in extra.items()]
        headers += self._hop()
        first = b"%s %s HTTP/%s" % (self.method, self.target, self.version.encode())
        return b"\r\n".join([first, *(b"%s: %s" % header for header in headers), b"\r\n"])

    def _hop(self) -> list[tuple[bytes, bytes]]:
        coding = [(b"Transfer-Encoding", b"chunked")] if self.chunked else []
        if self.upgrade:
            return [*coding, (b"Connection", b"upgrade, close"), (b"Upgrade", self.upgrade)]
        return [*coding, (b"Connection", b"close")]

    def taken(self) -> bytes:
        """What of the body is ready to be sent on, in the same coding."""
        data = bytes(self.body)
        self.body.clear()
        if not self.chunked:
            return data
        chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        return chunk + (b"0\r\n\r\n" if self.done else b"")


class Reader:
    """Reads one request, and nothing after it: what follows its body never reaches a server."""

    def __init__(self) -> None:
        self.request = Request()
        self._parser = httptools.HttpRequestParser(self)
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Raises ValueError with what is wrong with the request."""
        if self.request.done:
            return
        self._count += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # what follows is kept by the caller
        except httptools.HttpParserError as error:
            raise ValueError(str(error) or type(error).__name__) from None
        if not self.request.headed and self._count > MOST:
            raise ValueError(f"its head is longer than {MOST} bytes")

    def on_url(self, url: bytes) -> None:
        if not self.request.headed:
            self.request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.request.headed:
            self.request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if not self.request.headed:
            self.request.method = self._parser.get_method()
            self.request.version = self._parser.get_http_version()
            self.request.headed = True

    def on_body(self, body: bytes) -> None:
        if not self.request.done:
            self.request.body += body

    def on_message_complete(self) -> None:
        self.request.done = True


def check(request: Request) -> None:
    """Raises ValueError for what a server may take as a request for another host than it names."""
    if not request.target.startswith((b"/", b"*")):
        raise ValueError(f"its target is {request.target[:64].decode('latin-1')!r}, not a path")
    if len(request.values(b"host")) > 1:
        raise ValueError("it has two Host headers")
    if any(b"\r" in part or b"\n" in part for header in request.headers for part in header):
        raise ValueError("a header of it goes over several lines")
    if not set(map(bytes.lower, request.values(b"transfer-encoding"))) <= {b"chunked"}:
        raise ValueError("its body has a coding other than chunked")
