"""Variables that are set in a sandbox's agent: a real one, and ones that answer whatever they like."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from berm.errors import BermError
from berm.models import Endpoint
from berm.node.agentclient import Agents
from berm.node.trust import NAMES


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    agents = Agents()
    yield agents
    await agents.close()


@pytest.fixture
async def real() -> AsyncIterator[Endpoint]:
    config = json.dumps({"access_token": "secret", "env": {"SSL_CERT_FILE": "/mine", "A": "1"}})
    command = (sys.executable, "-m", "berm.agent", "--port", "0", "--config", config)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    yield Endpoint("127.0.0.1", int(await process.stdout.readline()))
    process.kill()
    await process.wait()


async def test_what_is_set_already_stays(agents: Agents, real: Endpoint) -> None:
    for _ in range(2):
        await agents.name(real, "secret", NAMES)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{real.port}") as client:
        known = (await client.get("/envs", headers={"X-Access-Token": "secret"})).json()
    assert known == {**NAMES, "SSL_CERT_FILE": "/mine", "A": "1"}


async def test_without_the_token_nothing_is_set(agents: Agents, real: Endpoint) -> None:
    with pytest.raises(BermError, match="401"):
        await agents.name(real, "wrong", NAMES)


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[[]]", b"7", b"[" * 500_000, b"\xff", b'"' + b"x" * (2 << 20) + b'"']
)
async def test_an_answer_that_is_no_environment_is_an_error(agents: Agents, body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(BermError, match="its environment cannot be read"):
            await agents.name(Endpoint(*server.sockets[0].getsockname()), "", NAMES)
