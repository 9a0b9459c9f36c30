"""Reads an HTTP/1.1 response out of bytes that a sandbox sent. No I/O; every size is bounded."""

import httptools

from berm.gateway.heads import Header, find

MAX_HEAD = 65536
"""Most bytes that a sandbox may send without a body byte among them: heads, trailers, chunk sizes."""


class BadResponseError(Exception):
    """The sandbox did not send an HTTP/1.1 response, or one that can be read in more than one way."""


class Response:
    """One response; interim ones (1xx) before it are read and forgotten.

    `status` is 0 until the head is complete; `sized` is whether that told the length of the body. With
    `upgrade`, a 101 is a final answer and the bytes that follow its head are in `tail`.
    """

    def __init__(self, method: str, *, upgrade: bool = False) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.ended = False
        self.touched = False
        self.tail = b""
        self.buffered = 0
        self.sized = False
        self._head_only = method == "HEAD"
        self._upgrade = upgrade
        self._until_close = False
        self._keep_alive = False
        self._body: list[bytes] = []
        self._head_size = 0
        self._quiet = 0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange: it ended as framed and nothing followed."""
        return self.ended and self._keep_alive

    def feed(self, data: bytes) -> None:
        """Take what arrived. Raises BadResponseError."""
        self.touched = True
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.tail = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._surplus_or_raise(error)
        if self._quiet > MAX_HEAD:
            raise BadResponseError(f"more than {MAX_HEAD} bytes and no body")

    def close(self) -> bool:
        """Take the end of the connection; returns whether the response is whole."""
        self.ended = self.ended or (self.status != 0 and self._until_close)
        self._keep_alive = False
        return self.ended

    def take(self) -> bytes:
        """The body bytes that arrived since the last call."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.buffered = 0
        return body

    def on_message_begin(self) -> None:
        if self.ended:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD:
            raise BadResponseError(f"a head of more than {MAX_HEAD} bytes")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.ended:
            return
        status = self._parser.get_status_code()
        if self._is_interim(status):
            self.headers.clear()
            return
        self.status = status
        self._keep_alive = self._parser.should_keep_alive()
        self._read_framing()
        self.ended = self._head_only

    def on_body(self, body: bytes) -> None:
        if self.ended:
            self._keep_alive = False
            return
        self._quiet = 0
        self._body.append(body)
        self.buffered += len(body)

    def on_message_complete(self) -> None:
        self.ended = self.status != 0

    def _is_interim(self, status: int) -> bool:
        if status == 101 and self._upgrade and self._parser.should_upgrade():
            return False
        if status == 101 or not 100 <= status <= 599:
            raise BadResponseError(f"status {status}")
        return status < 200

    def _read_framing(self) -> None:
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise BadResponseError("not HTTP/1")
        coding = find(self.headers, b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise BadResponseError(f"Transfer-Encoding {coding!r}")
        self.sized = coding is None and find(self.headers, b"content-length") is not None
        self._until_close = coding is None and not self.sized

    def _surplus_or_raise(self, error: httptools.HttpParserError) -> None:
        if not self.ended:
            raise BadResponseError(str(error)) from None
        self._keep_alive = False
