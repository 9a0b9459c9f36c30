"""Run a command through one sandbox's agent: a server stream of the Connect protocol, in JSON.

Everything that the agent answers is the sandbox's word: sizes are bounded and shapes are checked.
"""

import base64
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

import httpx
from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from berm.errors import BermError, Code
from berm.images.lines import Lines
from berm.models import Endpoint

MAX_FRAME: Final = 4 * 1024 * 1024
"""Most bytes in one message from the agent."""

_MAX_ANSWER: Final = 64 * 1024
_HEAD: Final = struct.Struct(">BI")
_END_STREAM: Final = 0x02
_START: Final = "/process.Process/Start"


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Error(_Wire):
    code: str = "unknown"
    message: str = ""


class _Data(_Wire):
    stdout: Base64Bytes = b""
    stderr: Base64Bytes = b""


class _End(_Wire):
    exit_code: int = 0


class _Event(_Wire):
    data: _Data | None = None
    end: _End | None = None


class _Message(_Wire):
    """One frame: an event, or in the last frame perhaps an error."""

    event: _Event = _Event()
    error: _Error | None = None


async def run(
    endpoint: Endpoint, token: str, command: Sequence[str], user: str, output: Callable[[str], None]
) -> int:
    """Run a command and return its exit code, -1 if a signal ended it; both streams go to `output` by line.

    There is no limit on its time, and a cancelled call leaves the command running. Raises BermError:
    UNAVAILABLE if the agent is not there or goes away, INTERNAL if it refuses or breaks the protocol.
    """
    stdout, stderr = Lines(output), Lines(output)
    try:
        async with aclosing(_start(endpoint, token, command, user)) as messages:
            async for message in messages:
                if data := message.event.data:
                    stdout.feed(data.stdout)
                    stderr.feed(data.stderr)
                if end := message.event.end:
                    return end.exit_code
    except httpx.HTTPError as error:
        raise BermError(Code.UNAVAILABLE, f"the sandbox's agent went away: {error!r}") from error
    finally:
        stdout.close()
        stderr.close()
    raise _broken("the stream ended before the command did")


async def _start(
    endpoint: Endpoint, token: str, command: Sequence[str], user: str
) -> AsyncGenerator[_Message, None]:
    async with (
        httpx.AsyncClient(trust_env=False, verify=False, timeout=None) as client,  # noqa: S113, S501
        client.stream(
            "POST",
            f"http://{endpoint.host}:{endpoint.port}{_START}",
            headers=_headers(token, user),
            content=_request(command),
        ) as response,
    ):
        if response.status_code != 200:
            raise await _refused(response)
        async for message in _messages(response):
            yield message


def _headers(token: str, user: str) -> dict[str, str]:
    return {
        "Content-Type": "application/connect+json",
        "Connect-Protocol-Version": "1",
        "Accept-Encoding": "identity",
        "Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode(),
        "X-Access-Token": token,
    }


def _request(command: Sequence[str]) -> bytes:
    body = {"process": {"cmd": command[0], "args": list(command[1:])}, "stdin": False}
    data = json.dumps(body).encode()
    return _HEAD.pack(0, len(data)) + data


async def _refused(response: httpx.Response) -> BermError:
    said = bytearray()
    async for piece in response.aiter_raw():
        said += piece[: _MAX_ANSWER - len(said)]
        if len(said) == _MAX_ANSWER:
            break
    return _broken(f"it answered {response.status_code} {said[:200].decode(errors='replace')}")


async def _messages(response: httpx.Response) -> AsyncIterator[_Message]:
    frames = Frames()
    async for piece in response.aiter_raw():
        for flags, payload in frames.feed(piece):
            message = _parse(payload)
            if message.error:
                raise _broken(f"{message.error.code}: {message.error.message[:200]}")
            yield message
            if flags & _END_STREAM:
                return


def _parse(payload: bytes) -> _Message:
    try:
        return _Message.model_validate_json(payload)
    except ValidationError as error:
        raise _broken(f"a message of it cannot be read: {error.errors()[0]['msg'][:200]}") from None


def _broken(what: str) -> BermError:
    return BermError(Code.INTERNAL, f"the sandbox's agent did not run the command: {what}")


class Frames:
    """Makes Connect's frames, (flags, payload), of bytes as they come. Raises INTERNAL on one too large."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            flags, length = _HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise _broken(f"a message of it has {length} bytes, more than {MAX_FRAME}")
            if len(self._buffer) < (end := _HEAD.size + length):
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield flags, payload
