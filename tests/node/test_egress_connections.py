"""Connections through the proxy are bounded, for all sandboxes together and in time."""

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from berm.launcher.firewall import PROXY_PORT
from berm.models import Egress
from berm.node.egress import door
from berm.node.egress.connections import OF_SANDBOX, Connections
from berm.node.egress.doors import Doors
from berm.node.egress.judge import Asked

GATEWAYS = {"one": "127.104.1.2", "two": "127.104.1.3", "other": "127.104.1.4"}
TEAMS = {"one": "ours", "two": "ours", "other": "theirs"}


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (800, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_all_have_a_part_of_the_descriptors_and_a_team_a_part_of_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections = Connections()
    assert connections.most == 100
    for team in ("a", "b", "c"):
        assert [connections.take(team, 0) for _ in range(26)] == [True] * 25 + [False]
    assert [connections.take("d", 0) for _ in range(25)] == [True] * 25
    assert not connections.take("e", 0)
    connections.give_back("a")
    assert connections.take("e", 0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "of team a are reset: 25 are open through the proxy, 25 of them the team's" in caplog.text


def test_a_sandbox_has_a_bound_of_its_own() -> None:
    connections = Connections()
    assert connections.take("a", OF_SANDBOX - 1)
    assert not connections.take("a", OF_SANDBOX)


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    """Doors at which connections wait for a ClientHello; the firewall that redirects is in tests/sdk."""
    monkeypatch.setattr(door, "_asked", lambda _: Asked("203.0.113.7", 443))
    monkeypatch.setattr(door, "_HEAD_SECONDS", 3600)
    doors = Doors()
    doors.start(tmp_path / "authority.pem")
    for name, gateway in GATEWAYS.items():
        egress = Egress(allow_out=("example.com",), deny_out=("0.0.0.0/0",), team_id=TEAMS[name])
        async with doors.changing(name, gateway, egress):
            pass
    yield doors
    await doors.close_all()


async def test_further_connections_are_reset_and_leave_room_when_they_end(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connections, "most", 8)
    first = await connect("one")
    second = await connect("two")
    for name in ("one", "two"):
        await is_reset(await connect(name))
    third = await connect("other")
    await doors.close("one")
    await is_reset(first)
    fourth = await connect("two")
    await is_reset(await connect("two"))
    for client in (second, third, fourth):
        client.close()


@pytest.mark.usefixtures("doors")
async def test_a_connection_over_which_nothing_passes_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "IDLE_SECONDS", 0.1)
    await is_reset(await connect("one"))


async def connect(name: str) -> socket.socket:
    """A connection that a sandbox made, which the door has accepted."""
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (GATEWAYS[name], PROXY_PORT))
    await asyncio.sleep(0.1)
    return client


async def is_reset(client: socket.socket) -> None:
    with client, pytest.raises(ConnectionResetError):
        async with asyncio.timeout(60):
            await asyncio.get_running_loop().sock_recv(client, 1)
