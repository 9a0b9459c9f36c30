"""A client of one sandbox's agent: the Connect protocol with its JSON codec, and the file routes."""

import base64
import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpx

from berm.cli.client import JSON, Session, parsed, read_error, status_error, translated
from berm.errors import BermError, Code
from berm.models import AGENT_PORT

FRAME_LIMIT = 4 * 1024 * 1024
"""The longest frame accepted, in bytes; what is in it comes from inside the sandbox."""

_END = 0x02
_PREFIX = struct.Struct(">BI")
_PING_SECONDS = 50

_CODES = {
    "canceled": Code.UNAVAILABLE,
    "invalid_argument": Code.INVALID_ARGUMENT,
    "deadline_exceeded": Code.TIMED_OUT,
    "not_found": Code.NOT_FOUND,
    "already_exists": Code.CONFLICT,
    "permission_denied": Code.PERMISSION_DENIED,
    "resource_exhausted": Code.RATE_LIMITED,
    "failed_precondition": Code.CONFLICT,
    "aborted": Code.CONFLICT,
    "out_of_range": Code.INVALID_ARGUMENT,
    "unimplemented": Code.NOT_OFFERED,
    "unavailable": Code.UNAVAILABLE,
    "unauthenticated": Code.UNAUTHENTICATED,
}
"""Error codes of the Connect protocol (https://connectrpc.com/docs/protocol); others are INTERNAL."""


def frame(message: JSON) -> bytes:
    """One message of a stream: a flag byte, the length in four bytes, JSON."""
    body = json.dumps(message).encode()
    return _PREFIX.pack(0, len(body)) + body


class FrameParser:
    """Takes a stream's bytes as they come and gives its messages.

    Raises BermError for a frame over the limit, for one that is not JSON, and for the error that the
    last frame may carry.
    """

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self.ended = False
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[JSON]:
        self._buffer += data
        while (found := self._next()) is not None:
            flags, message = found
            if flags & _END:
                self._finish(message)
                return
            yield message

    def _next(self) -> tuple[int, JSON] | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        flags, length = _PREFIX.unpack_from(self._buffer)
        if length > self._limit:
            raise BermError(
                Code.TOO_LARGE, f"the sandbox sent a message of {length} bytes; {self._limit} is the most"
            )
        end = _PREFIX.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_PREFIX.size : end])
        del self._buffer[:end]
        return flags, _object(body)

    def _finish(self, message: JSON) -> None:
        self.ended = True
        error = message.get("error")
        if isinstance(error, dict):
            raise rpc_error(error)


def _object(body: bytes) -> JSON:
    value = parsed(body)
    if value is None:
        raise BermError(Code.INTERNAL, "the sandbox sent a message that is not a JSON object")
    return value


def rpc_error(body: JSON) -> BermError:
    """The error that `{"code", "message"}` of the Connect protocol stands for."""
    word = str(body.get("code", "unknown"))
    return BermError(_CODES.get(word, Code.INTERNAL), str(body.get("message") or word))


def _unary_error(response: httpx.Response) -> BermError:
    """Either the agent's own error, whose code is a word, or the gateway's, whose code is a number."""
    body = parsed(response.content) or {}
    return rpc_error(body) if isinstance(body.get("code"), str) else status_error(response)


class Agent(Session):
    """One sandbox's agent, acting as `user` there; an empty `user` is the template's default."""

    def __init__(self, url: str, sandbox_id: str, token: str | None, user: str = "") -> None:
        self.user = user
        headers = {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": str(AGENT_PORT)}
        if token:
            headers["X-Access-Token"] = token
        self._basic = (
            {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()} if user else {}
        )
        super().__init__(url, headers)

    def call(self, method: str, body: JSON) -> JSON:
        """A unary RPC; `method` is like `process.Process/SendInput`. Safe from several threads at once."""
        with translated(self.url):
            response = self._http.post(
                f"{self.url}/{method}", json=body, headers={"Connect-Protocol-Version": "1", **self._basic}
            )
        if response.is_error:
            raise _unary_error(response)
        return _object(response.content)

    def stream(self, method: str, body: JSON) -> Iterator[JSON]:
        """A server stream; the messages as they come. Raises UNAVAILABLE if it breaks off before its end."""
        headers = {
            "Content-Type": "application/connect+json",
            "Connect-Protocol-Version": "1",
            "Keepalive-Ping-Interval": str(_PING_SECONDS),
            **self._basic,
        }
        timeout = httpx.Timeout(60, read=3 * _PING_SECONDS)
        parser = FrameParser()
        with (
            translated(self.url),
            self._http.stream(
                "POST", f"{self.url}/{method}", content=frame(body), headers=headers, timeout=timeout
            ) as response,
        ):
            if response.is_error:
                raise read_error(response)
            for chunk in response.iter_raw():
                yield from parser.feed(chunk)
        if not parser.ended:
            raise BermError(Code.UNAVAILABLE, "the sandbox ended the stream early", "was the sandbox killed?")

    def _file_query(self, path: str) -> dict[str, str]:
        return {"path": path, **({"username": self.user} if self.user else {})}

    @contextmanager
    def read(self, path: str) -> Iterator[httpx.Response]:
        """A file of the sandbox as a response to iterate over."""
        with (
            translated(self.url),
            self._http.stream(
                "GET", f"{self.url}/files", params=self._file_query(path), timeout=None
            ) as response,
        ):
            if response.is_error:
                raise read_error(response)
            yield response

    def write(self, path: str, content: Iterable[bytes]) -> None:
        """Create or replace a file of the sandbox, and its parent directories."""
        with translated(self.url):
            response = self._http.post(
                f"{self.url}/files",
                params=self._file_query(path),
                content=content,
                headers={"Content-Type": "application/octet-stream"},
                timeout=None,
            )
        if response.is_error:
            raise status_error(response)
