"""Sending file contents: ranges, conditions and gzip as in RFC 9110, in constant memory."""

import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from itertools import chain
from typing import Self

from berm.agent import http
from berm.agent.conditions import byte_range, choose_encoding, precondition
from berm.agent.errors import AgentError, Kind, from_os_error
from berm.agent.http import Headers, Request, Send

_CHUNK = 256 << 10
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_FASTEST = 1
_TYPE = [(b"content-type", b"application/octet-stream")]


class Content:
    """An open regular file; its size is 0 for those of /proc, which have some content all the same."""

    def __init__(self, path: str) -> None:
        """Raises AgentError."""
        try:
            self._fd = os.open(path, _FLAGS)
        except OSError as error:
            raise from_os_error(error, path) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            is_directory = stat.S_ISDIR(status.st_mode)
            raise AgentError(
                Kind.INVALID, f"path '{path}' is {'a directory' if is_directory else 'not a regular file'}"
            )
        self.path = path
        self.size = status.st_size
        self.modified = int(status.st_mtime)
        self.etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def seek(self, offset: int) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)

    def read(self, size: int) -> bytes:
        """Raises AgentError."""
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise from_os_error(error, self.path) from error


async def send_content(content: Content, request: Request, send: Send) -> None:
    """Answer a GET or HEAD. Raises AgentError before anything is sent, or when the file shrinks meanwhile."""
    encoding = choose_encoding(request.headers.get("accept-encoding", ""))
    validators = _validators(content)
    if status := precondition(request.headers, content.etag, content.modified):
        await http.empty(send, status, validators)
    elif content.size == 0:
        await _send_unsized(content, validators, send)
    elif (wanted := byte_range(request.headers, content.size, content.etag, content.modified)) is not None:
        await _send_range(content, wanted, validators, send)
    elif encoding == "gzip":
        await http.begin(send, 200, [*_TYPE, *validators, (b"content-encoding", b"gzip")])
        await _send_pieces(_deflated(content), send)
    else:
        await http.begin(send, 200, [*_TYPE, *validators, _length(content.size)])
        await _send_exactly(content, content.size, send)


def _validators(content: Content) -> list[tuple[bytes, bytes]]:
    return [
        (b"etag", content.etag.encode()),
        (b"last-modified", formatdate(content.modified, usegmt=True).encode()),
        (b"accept-ranges", b"bytes"),
        (b"vary", b"accept-encoding"),
    ]


def _length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


async def _send_unsized(content: Content, validators: Headers, send: Send) -> None:
    """Read to the end what has no size: an empty file, or one of /proc."""
    first = content.read(_CHUNK)
    length = [] if first else [_length(0)]
    await http.begin(send, 200, [*_TYPE, *validators, *length])
    await _send_pieces(chain([first], iter(lambda: content.read(_CHUNK), b"")), send)


async def _send_range(content: Content, wanted: range, validators: Headers, send: Send) -> None:
    if not wanted:
        unsatisfied = (b"content-range", f"bytes */{content.size}".encode())
        await http.empty(send, 416, [*validators, unsatisfied])
        return
    position = f"bytes {wanted.start}-{wanted.stop - 1}/{content.size}".encode()
    headers = [*_TYPE, *validators, (b"content-range", position), _length(len(wanted))]
    await http.begin(send, 206, headers)
    content.seek(wanted.start)
    await _send_exactly(content, len(wanted), send)


async def _send_exactly(content: Content, size: int, send: Send) -> None:
    while size:
        data = content.read(min(size, _CHUNK))
        if not data:
            raise AgentError(Kind.INTERNAL, f"path '{content.path}' became shorter while it was read")
        size -= len(data)
        await http.body(send, data, more=size > 0)


async def _send_pieces(pieces: Iterable[bytes], send: Send) -> None:
    for piece in pieces:
        if piece:
            await http.body(send, piece, more=True)
    await http.body(send, b"")


def _deflated(content: Content) -> Iterator[bytes]:
    compressor = zlib.compressobj(_FASTEST, wbits=16 + zlib.MAX_WBITS)
    while data := content.read(_CHUNK):
        yield compressor.compress(data)
    yield compressor.flush()
