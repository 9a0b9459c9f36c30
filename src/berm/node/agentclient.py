"""Run commands through the agents of sandboxes: a server stream of the Connect protocol, in JSON.

Everything that the agent answers is the sandbox's word: sizes are bounded and shapes are checked.
"""

import base64
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Final

import httpx
from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from berm.errors import BermError, Code
from berm.images.lines import Lines
from berm.models import Endpoint
from berm.node.interface import Command

MAX_FRAME: Final = 4 * 1024 * 1024
"""Most bytes in one message from the agent."""

_MAX_ANSWER: Final = 64 * 1024
_MAX_NAMES: Final = 1 << 20
_WELL_SECONDS: Final = 2
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


class _Start(_Wire):
    pid: int = 0


class _Event(_Wire):
    start: _Start | None = None
    data: _Data | None = None
    end: _End | None = None


class _Message(_Wire):
    """One frame: an event, or in the last frame perhaps an error."""

    event: _Event = _Event()
    error: _Error | None = None


class Agents:
    """The agents of one machine's sandboxes, reached by one HTTP client, which takes a while to make."""

    def __init__(self) -> None:
        # A sandbox ends with its last command here: there is no connection to keep.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(trust_env=False, verify=False, timeout=None, limits=limits)  # noqa: S113, S501

    async def close(self) -> None:
        await self._client.aclose()

    async def is_well(self, endpoint: Endpoint) -> bool:
        """Whether an agent says so within some seconds."""
        try:
            url = f"http://{endpoint.host}:{endpoint.port}/health"
            async with self._client.stream("GET", url, timeout=_WELL_SECONDS) as response:
                return response.is_success
        except httpx.HTTPError:
            return False

    async def run(
        self, endpoint: Endpoint, token: str, command: Command, output: Callable[[str], None]
    ) -> int:
        """Run a command, give `output` both its streams by line, return its exit code: -1 for a signal's end.

        There is no limit on its time, and a cancelled call leaves the command running. Raises BermError:
        UNAVAILABLE if the agent is not there, goes away or has no room for another process,
        INVALID_ARGUMENT with its words if it does not take the command, INTERNAL if it breaks the protocol.
        """
        stdout, stderr = Lines(output), Lines(output)
        try:
            async with aclosing(self._start(endpoint, token, command)) as messages:
                async for message in messages:
                    if data := message.event.data:
                        stdout.feed(data.stdout)
                        stderr.feed(data.stderr)
                    if end := message.event.end:
                        return end.exit_code
        finally:
            stdout.close()
            stderr.close()
        raise _broken("the stream ended before the command did")

    async def begin(self, endpoint: Endpoint, token: str, command: Command) -> None:
        """Start a command and leave it running, whatever it writes. Raises what `run` raises."""
        async with aclosing(self._start(endpoint, token, command)) as messages:
            async for message in messages:
                if message.event.start:
                    return
        raise _broken("the stream ended before the command began")

    async def name(self, endpoint: Endpoint, token: str, variables: Mapping[str, str]) -> None:
        """Have commands that start from now on find these in their environment; what is in it stays.

        Raises BermError UNAVAILABLE if the agent is not there, INTERNAL if it does not take them.
        """
        url, headers = f"http://{endpoint.host}:{endpoint.port}", {"X-Access-Token": token}
        try:
            async with self._client.stream("GET", f"{url}/envs", headers=headers) as response:
                known = _names(await _said(response, _MAX_NAMES))
            wanted = {name: value for name, value in variables.items() if name not in known}
            body = {"envVars": wanted}
            async with self._client.stream("POST", f"{url}/init", headers=headers, json=body) as response:
                if not response.is_success:
                    raise await _refused(response)
        except httpx.HTTPError as error:
            raise _gone(error) from error

    async def _start(
        self, endpoint: Endpoint, token: str, command: Command
    ) -> AsyncGenerator[_Message, None]:
        url = f"http://{endpoint.host}:{endpoint.port}{_START}"
        headers = _headers(token, command.user)
        try:
            async with self._client.stream(
                "POST", url, headers=headers, content=_request(command)
            ) as response:
                if response.status_code != 200:
                    raise await _refused(response)
                async for message in _messages(response):
                    yield message
        except httpx.HTTPError as error:
            raise _gone(error) from error


def _gone(error: httpx.HTTPError) -> BermError:
    return BermError(Code.UNAVAILABLE, f"the sandbox's agent went away: {error!r}")


def _headers(token: str, user: str) -> dict[str, str]:
    # The agent reads what follows the colon, where a password would be, as the group.
    credentials = user if ":" in user else f"{user}:"
    return {
        "Content-Type": "application/connect+json",
        "Connect-Protocol-Version": "1",
        "Accept-Encoding": "identity",
        "Authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
        "X-Access-Token": token,
    }


def _request(command: Command) -> bytes:
    process: dict[str, object] = {"cmd": command.argv[0], "args": list(command.argv[1:])}
    if command.workdir:
        process["cwd"] = command.workdir
    if command.env:
        process["envs"] = dict(command.env)
    data = json.dumps({"process": process, "stdin": False}).encode()
    return _HEAD.pack(0, len(data)) + data


def _names(said: bytes) -> set[str]:
    try:
        return set(json.loads(said))
    except (ValueError, TypeError, RecursionError):
        raise _broken("its environment cannot be read") from None


async def _said(response: httpx.Response, most: int) -> bytes:
    """The beginning of an answer, which has no end for all one knows."""
    said = bytearray()
    async for piece in response.aiter_raw():
        said += piece[: most - len(said)]
        if len(said) == most:
            break
    return bytes(said)


async def _refused(response: httpx.Response) -> BermError:
    said = await _said(response, _MAX_ANSWER)
    return _broken(f"it answered {response.status_code} {said[:200].decode(errors='replace')}")


async def _messages(response: httpx.Response) -> AsyncIterator[_Message]:
    frames = Frames()
    async for piece in response.aiter_raw():
        for flags, payload in frames.feed(piece):
            message = _parse(payload)
            if message.error:
                raise _told(message.error)
            yield message
            if flags & _END_STREAM:
                return


def _parse(payload: bytes) -> _Message:
    try:
        return _Message.model_validate_json(payload)
    except ValidationError as error:
        raise _broken(f"a message of it cannot be read: {error.errors()[0]['msg'][:200]}") from None


_CODES: Final = {
    "unauthenticated": Code.INVALID_ARGUMENT,
    "invalid_argument": Code.INVALID_ARGUMENT,
    "permission_denied": Code.INVALID_ARGUMENT,
    "failed_precondition": Code.INVALID_ARGUMENT,
    "resource_exhausted": Code.UNAVAILABLE,
}
"""What the agent says of a command that it does not start: of its user, directory, program, or of room."""


def _told(error: _Error) -> BermError:
    words = f"{error.code}: {error.message[:200]}"
    return BermError(_CODES[error.code], words) if error.code in _CODES else _broken(words)


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
