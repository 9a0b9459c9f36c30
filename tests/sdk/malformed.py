"""Requests that no client sends, byte by byte, and what may come back."""

import base64
import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hypothesis.strategies as st
from e2b import Sandbox

Head = dict[str, str]

CODES = {
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
}
"""Those of the Connect protocol."""

_PROCESS = {"process": {"pid": 999999}}
MESSAGES: dict[str, Any] = {
    "process.Process/List": {},
    "process.Process/Connect": _PROCESS,
    "process.Process/Start": {"process": {"cmd": "/bin/true", "args": []}, "stdin": False},
    "process.Process/Update": {**_PROCESS, "pty": {"size": {"cols": 80, "rows": 24}}},
    "process.Process/StreamInput": {"start": _PROCESS},
    "process.Process/SendInput": {**_PROCESS, "input": {"stdin": "eA=="}},
    "process.Process/SendSignal": {**_PROCESS, "signal": "SIGNAL_SIGKILL"},
    "process.Process/CloseStdin": _PROCESS,
    "filesystem.Filesystem/Stat": {"path": "/tmp"},
    "filesystem.Filesystem/MakeDir": {"path": "/tmp/made"},
    "filesystem.Filesystem/Move": {"source": "/tmp/none", "destination": "/tmp/other"},
    "filesystem.Filesystem/ListDir": {"path": "/etc", "depth": 1},
    "filesystem.Filesystem/Remove": {"path": "/tmp/made"},
    "filesystem.Filesystem/WatchDir": {"path": "/tmp", "recursive": True},
    "filesystem.Filesystem/CreateWatcher": {"path": "/tmp/none"},
    "filesystem.Filesystem/GetWatcherEvents": {"watcherId": "none"},
    "filesystem.Filesystem/RemoveWatcher": {"watcherId": "none"},
}
"""Each RPC with a message that it understands."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    2**31,
    2**64,
    "",
    "\0",
    "\ud800",
    "/" * 5000,
    "~nobody/x",
    "../../nothing",
    [],
    [[]],
    {},
    {"": 1},
)
"""What a field of a message may be instead; none is a path that a call could empty the sandbox with."""

JUNK = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b"\x00" * 100,
    b"[" * 50_000,
    b'{"process":' * 20_000,
    b'{"a":NaN}',
)

TYPES = (
    "application/json",
    "application/connect+json",
    "application/json; charset=utf-8",
    "application/proto",
    "application/connect+proto",
    "application/grpc",
    "application/grpc-web+json",
    "text/plain",
    "nonsense",
)

HEADERS: dict[str, tuple[str, ...]] = {
    "Connect-Timeout-Ms": ("0", "1", "-1", "abc", "1e3", "", "9" * 30, "10000000000"),
    "Connect-Protocol-Version": ("1", "2", "", "x"),
    "Content-Encoding": ("gzip", "br", "identity", "zstd", "x"),
    "Connect-Content-Encoding": ("gzip", "identity", "x"),
    "Connect-Accept-Encoding": ("gzip", "x", ""),
    "Accept-Encoding": ("gzip;q=0", "*;q=0", "x", "gzip, br"),
    "Keepalive-Ping-Interval": ("0", "-1", "x", "9" * 30, "1"),
    "Authorization": (
        "Basic",
        "Basic !!!",
        "Bearer x",
        "Basic " + base64.b64encode(b"root:").decode(),
        "Basic " + base64.b64encode(b"nobody-knows:").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"a\nb:" + b"x" * 5000).decode(),
    ),
    "X-Access-Token": ("", "wrong", "x" * 5000),
}
"""Headers of the protocol, with values that are wrong, or right and seldom."""


@st.composite
def heads(draw: st.DrawFn) -> Head:
    """A content type, usually one that is understood, and up to three other headers."""
    names = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=3, unique=True))
    kind = draw(st.sampled_from(TYPES[:2]) | st.sampled_from(TYPES))
    return {"Content-Type": kind, **{name: draw(st.sampled_from(HEADERS[name])) for name in names}}


@st.composite
def messages(draw: st.DrawFn, method: str) -> bytes:
    """What a method understands, that with one field wrong, or junk."""
    kind = draw(st.sampled_from(("right", "wrong", "junk", "bytes")))
    message = dict(MESSAGES[method])
    if kind == "junk":
        return draw(st.sampled_from(JUNK))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "wrong" and message:
        message[draw(st.sampled_from(sorted(message)))] = draw(st.sampled_from(VALUES))
    return json.dumps(message).encode()


@st.composite
def frames(draw: st.DrawFn, method: str) -> bytes:
    """Up to three frames, whose flags and lengths may lie."""
    flags = st.sampled_from((0, 0, 0, 1, 2, 3, 0x80, 0xFF))
    lies = st.sampled_from((0, 0, 0, 1, -1, 1000, 2**31))
    whole = b""
    for _ in range(draw(st.integers(0, 3))):
        data = draw(messages(method))
        whole += struct.pack(">BI", draw(flags), max(0, len(data) + draw(lies))) + data
    return whole[: draw(st.sampled_from((len(whole), len(whole), len(whole), 3, len(whole) // 2)))]


@dataclass(frozen=True)
class Request:
    method: str
    head: Head
    body: bytes
    missing: int
    """Bytes that are announced and never come: the client goes away instead."""


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method = draw(st.sampled_from(sorted(MESSAGES)))
    body = draw(frames(method) | messages(method))
    return Request(method, draw(heads()), body, draw(st.sampled_from((0, 0, 0, 0, 0, 1, 70000))))


@dataclass(frozen=True)
class Answer:
    """Its status is 0 if the connection was closed without one."""

    status: int
    kind: str
    body: bytes

    def check(self) -> None:
        """Raises AssertionError unless the Connect protocol knows such an answer."""
        if self.status == 200 and self.kind == "application/connect+json":
            check_frames(self.body)
        elif self.status == 200:
            json.loads(self.body)
        elif self.status == 415 and not self.body:
            pass  # the protocol's own refusal of a content type that a method has no use for
        elif self.status:
            assert self.kind == "application/json", self
            error = json.loads(self.body)
            assert error["code"] in CODES, error
            assert isinstance(error.get("message", ""), str)


def check_frames(data: bytes) -> None:
    """The frames that are whole are legal, and an error in the last one is of the protocol."""
    while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
        size = int.from_bytes(data[1:5], "big")
        message = json.loads(data[5 : 5 + size])
        assert data[0] in (0, 2)
        assert data[0] == 0 or message.get("error", {}).get("code", "unknown") in CODES, message
        data = data[5 + size :]


@dataclass(frozen=True)
class Wire:
    """The way to a sandbox's agent as bytes."""

    url: str
    sandbox: Sandbox

    def send(self, path: str, head: Head, body: bytes, missing: int = 0, method: str = "POST") -> Answer:
        """The answer to a request, or its first frame: some streams do not end."""
        parts = urlsplit(self.url)
        token = self.sandbox.connection_config.sandbox_headers["X-Access-Token"]
        own = {
            "E2b-Sandbox-Id": self.sandbox.sandbox_id,
            "E2b-Sandbox-Port": "49983",
            "X-Access-Token": token,
        }
        length = {"Content-Length": str(len(body) + missing), "Host": parts.netloc, "Connection": "close"}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in {**own, **length, **head}.items())]
        with closing(socket.create_connection((parts.hostname or "", parts.port or 0))) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            try:
                connection.sendall(body)
                if missing:
                    connection.shutdown(socket.SHUT_WR)
                return _answer(connection, method)
            except OSError:
                return Answer(0, "", b"")


def _answer(connection: socket.socket, method: str) -> Answer:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        stream = response.headers.get("content-type") == "application/connect+json"
        body = _first_frame(response) if stream else response.read()
    except (http.client.HTTPException, ConnectionError):
        return Answer(0, "", b"")
    return Answer(response.status, response.headers.get("content-type", ""), body)


def _first_frame(response: http.client.HTTPResponse) -> bytes:
    data = b""
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[1:5], "big"):
        if not (piece := response.read1(65536)):
            break
        data += piece
    return data


def file_requests() -> Iterator[tuple[str, str, Head, bytes]]:
    """Method, path, headers and body of requests about files."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\ndata\r\n--x--\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x",
        b"--x--\r\n",
        b"rubbish",
        b"--x\r\n\r\n",
        part % b"\xff",
        part % b"",
        part % (b"a" * 5000),
    ):
        yield "POST", "/files?path=/tmp/f", multipart, body
        yield "POST", "/files", multipart, body
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "x",
        "",
        TYPES[0],
    ):
        yield "POST", "/files?path=/tmp/f", {"Content-Type": kind}, part % b"f"
    octets = {"Content-Type": "application/octet-stream"}
    for encoding in ("gzip", "br", "x", "identity", "gzip, gzip"):
        yield "POST", "/files?path=/tmp/f", {**octets, "Content-Encoding": encoding}, b"\x1f\x8bno gzip"
    for name, value in (
        ("", "x"),
        ("a" * 300, "x"),
        ("a", "\xe9"),
        ("a", "x" * 5000),
        ("a", ""),
    ):
        yield "POST", "/files?path=/tmp/f", {**octets, f"X-Metadata-{name}": value}, b"data"
    for wanted in (
        "bytes=",
        "bytes=-",
        "bytes=9-1",
        "bytes=0-0,2-3",
        "bytes=" + "0-1," * 3000,
        "x=0-1",
        "bytes=-999",
        "bytes=99999-",
    ):
        yield "GET", "/files?path=/etc/passwd", {"Range": wanted}, b""
    for name in ("If-Range", "If-Modified-Since", "If-None-Match", "Accept-Encoding"):
        for value in ("", "x", "\xff", '"', "Thu, 99 Foo 9999 99:99:99 GMT", "gzip;q=x, *;q=0"):
            yield "GET", "/files?path=/etc/passwd", {name: value, "Range": "bytes=0-1"}, b""
    for query in (
        "",
        "path=",
        "path=%00",
        "path=%ff",
        "path=/",
        "path=~nobody-knows",
        "path=/dev/zero/x",
        "path=/proc/self/mem",
        "username=%00&path=/tmp/f",
        "username=none&path=/tmp/f",
        "path=/tmp/f&signature=x",
        "path=/tmp/f&signature=x&signature_expiration=x",
        "path=/tmp/f&signature_expiration=" + "9" * 400,
        "path=" + "x" * 5000,
        "path=/tmp/f/g/h&path=/tmp/i",
    ):
        yield "GET", f"/files?{query}", {}, b""
        yield "POST", f"/files?{query}", octets, b"data"
