"""Receiving file contents in place, in constant memory."""

import os
import stat
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from os.path import dirname
from typing import Self

from berm.agent import metadata
from berm.agent.errors import AgentError, Kind, from_os_error
from berm.agent.http import Request
from berm.agent.paths import make_directories
from berm.agent.users import User

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK
_MAX_INFLATED = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class Upload:
    """A file being written for a user: created or truncated, then given away, then written."""

    def __init__(self, path: str, user: User) -> None:
        """Raises AgentError."""
        self.path = path
        try:
            make_directories(dirname(path), user)
            self._fd = os.open(path, _FLAGS, 0o644)
        except OSError as error:
            raise from_os_error(error, path) from error
        try:
            self._take_over(user)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def write(self, data: bytes | memoryview) -> None:
        """Raises AgentError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise from_os_error(error, self.path) from error

    def finish(self, attributes: Mapping[str, str]) -> None:
        """Store the file's metadata, replacing what it had. Raises AgentError."""
        try:
            metadata.replace(self._fd, attributes)
        except OSError as error:
            raise from_os_error(error, self.path) from error

    def _take_over(self, user: User) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise AgentError(Kind.INVALID, f"path '{self.path}' is not a regular file")
        os.fchown(self._fd, user.uid, user.gid)


async def decoded(request: Request) -> AsyncIterator[bytes]:
    """The request's body without its Content-Encoding, in pieces of bounded size. Raises AgentError."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise AgentError(Kind.INVALID, f"content encoding '{encoding}' is neither identity nor gzip")
    inflater = Inflater() if encoding == "gzip" else None
    async for chunk in request.chunks():
        if inflater is None:
            yield chunk
            continue
        for piece in inflater.feed(chunk):
            yield piece
    if inflater:
        inflater.finish()


class Inflater:
    """Undoes gzip of one or more members (RFC 1952), never giving more than _MAX_INFLATED bytes at once."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises AgentError if `data` does not go on with what came before."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                yield self._member.decompress(data, _MAX_INFLATED)
            except zlib.error as error:
                raise AgentError(Kind.INVALID, f"the body is not gzip: {error}") from error
            data = self._member.unconsumed_tail or self._member.unused_data

    def finish(self) -> None:
        """Raises AgentError if the last member is not whole."""
        if not self._member.eof:
            raise AgentError(Kind.INVALID, "the gzip body ends early")
