import asyncio
import base64
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from berm.errors import BermError, Code
from berm.models import Endpoint
from berm.node.agentclient import MAX_FRAME, Agents
from berm.node.interface import Command

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/connect+json\r\nconnection: close\r\n\r\n"


def frame(message: object, flags: int = 0) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def data(**streams: bytes) -> bytes:
    texts = {name: base64.b64encode(text).decode() for name, text in streams.items()}
    return frame({"event": {"data": texts}})


START = frame({"event": {"start": {"pid": 7}}})
END = frame({"event": {"end": {"exited": True, "status": "exit status 0"}}}) + frame({}, 2)


class FakeAgent:
    """Answers one request with the bytes it was given, whatever they are."""

    def __init__(self, *answer: bytes) -> None:
        self._answer = answer
        self.request = b""
        self.body: dict[str, object] = {}
        self.gone = asyncio.Event()

    @property
    def credentials(self) -> str:
        """What came in the header for basic authentication."""
        return base64.b64decode(self.request.partition(b"Basic ")[2].split(b"\r\n")[0]).decode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = await reader.readuntil(b"\r\n\r\n")
        _, length = struct.unpack(">BI", await reader.readexactly(5))
        self.body = json.loads(await reader.readexactly(length))
        with contextlib.suppress(OSError):
            for piece in self._answer:
                writer.write(piece)
                await writer.drain()
        writer.close()
        self.gone.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Endpoint]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            yield Endpoint(host, port)
            await self.gone.wait()


ECHO = Command(("/bin/echo", "a b"))


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    agents = Agents()
    yield agents
    await agents.close()


async def run(agent: FakeAgent, command: Command = ECHO) -> tuple[int, list[str]]:
    lines: list[str] = []
    agents = Agents()
    try:
        async with agent.listening() as endpoint:
            return await agents.run(endpoint, "secret", command, lines.append), lines
    finally:
        await agents.close()


async def test_output_and_exit_code() -> None:
    agent = FakeAgent(HEAD, START, data(stdout=b"one\ntw"), data(stdout=b"o\n", stderr=b"err"), END)
    assert await run(agent) == (0, ["one", "two", "err"])


async def test_what_is_asked_of_the_agent() -> None:
    agent = FakeAgent(HEAD, START, END)
    await run(agent)
    assert agent.request.startswith(b"POST /process.Process/Start HTTP/1.1\r\n")
    assert b"\r\nx-access-token: secret\r\n" in agent.request.lower()
    assert agent.credentials == "root:"
    assert agent.body == {"process": {"cmd": "/bin/echo", "args": ["a b"]}, "stdin": False}


async def test_user_directory_and_environment_are_asked_for() -> None:
    agent = FakeAgent(HEAD, START, END)
    await run(agent, Command(("id",), "1000:staff", "/srv", {"A": "1"}))
    assert agent.credentials == "1000:staff"
    assert agent.body["process"] == {"cmd": "id", "args": [], "cwd": "/srv", "envs": {"A": "1"}}


async def test_a_command_that_is_begun_is_not_waited_for(agents: Agents) -> None:
    agent = FakeAgent(HEAD, START)
    async with agent.listening() as endpoint:
        await agents.begin(endpoint, "", ECHO)


async def test_a_command_that_does_not_begin(agents: Agents) -> None:
    agent = FakeAgent(HEAD, *REFUSED)
    async with agent.listening() as endpoint:
        with pytest.raises(BermError, match="invalid username: 'x'"):
            await agents.begin(endpoint, "", ECHO)


@pytest.mark.parametrize("code", [3, -1])
async def test_exit_codes(code: int) -> None:
    agent = FakeAgent(HEAD, START, frame({"event": {"end": {"exitCode": code}}}), frame({}, 2))
    assert (await run(agent))[0] == code


async def test_frames_may_arrive_in_any_pieces() -> None:
    answer = START + frame({"event": {"keepalive": {}}}) + data(stdout=b"text") + END
    agent = FakeAgent(HEAD, *(answer[i : i + 1] for i in range(len(answer))))
    assert await run(agent) == (0, ["text"])


REFUSED = [frame({"error": {"code": "unauthenticated", "message": "invalid username: 'x'"}}, 2)]

WORDS = {
    "unauthenticated": Code.INVALID_ARGUMENT,
    "invalid_argument": Code.INVALID_ARGUMENT,
    "permission_denied": Code.INVALID_ARGUMENT,
    "resource_exhausted": Code.UNAVAILABLE,
    "internal": Code.INTERNAL,
    "of its own": Code.INTERNAL,
}


@pytest.mark.parametrize("code", WORDS)
async def test_the_agents_reasons(code: str) -> None:
    with pytest.raises(BermError, match=f"{code}: so it is") as caught:
        await run(FakeAgent(HEAD, frame({"error": {"code": code, "message": "so it is"}}, 2)))
    assert caught.value.code is WORDS[code]


BROKEN = {
    "refused": [HEAD.replace(b"200 OK", b"401 Unauthorized"), b'{"code":"unauthenticated","message":"no"}'],
    "endless refusal": [HEAD.replace(b"200 OK", b"500 Internal"), b"x" * (1 << 20)],
    "error in the stream": [HEAD, frame({"error": {"code": "not_found", "message": "no such program"}}, 2)],
    "ends early": [HEAD, START, frame({}, 2)],
    "cut in a frame": [HEAD, START, END[:9]],
    "a frame too large": [HEAD, struct.pack(">BI", 0, MAX_FRAME + 1)],
    "no json": [HEAD, frame(b"\xff\xfe")],
    "nested json": [HEAD, frame(b"[" * 100_000)],
    "json of another shape": [HEAD, frame({"event": ["end"]})],
    "an exit code of another type": [HEAD, frame({"event": {"end": {"exitCode": {}}}})],
    "data that is not base64": [HEAD, frame({"event": {"data": {"stdout": "*"}}})],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_hostile_agent_is_an_error(name: str) -> None:
    with pytest.raises(BermError) as caught:
        await run(FakeAgent(*BROKEN[name]))
    assert caught.value.code is Code.INTERNAL
    assert len(caught.value.message) < 500


async def test_the_words_of_a_refusal_are_kept() -> None:
    with pytest.raises(BermError, match="no such program"):
        await run(FakeAgent(*BROKEN["error in the stream"]))


CUT = HEAD.replace(b"close", b"close\r\ncontent-length: 9")


@pytest.mark.parametrize("answer", [[], [b"nonsense\r\n\r\n"], [CUT]])
async def test_an_agent_that_goes_away(answer: list[bytes]) -> None:
    with pytest.raises(BermError, match="went away") as caught:
        await run(FakeAgent(*answer))
    assert caught.value.code is Code.UNAVAILABLE


async def test_nobody_listens(agents: Agents) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = Endpoint(*taken.getsockname())
    with pytest.raises(BermError) as caught:
        await agents.run(endpoint, "", ECHO, lambda _line: None)
    assert caught.value.code is Code.UNAVAILABLE
