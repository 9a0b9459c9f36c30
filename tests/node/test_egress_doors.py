"""The doors of sandboxes: when there is one, and when there is none."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berm.launcher.firewall import PROXY_PORT
from berm.models import Egress
from berm.node.egress.doors import Doors

GATEWAY, ANOTHER = "127.104.0.1", "127.104.0.2"
NOT_OURS = "192.0.2.1"
NAMED = Egress(allow_out=("example.com",), deny_out=("0.0.0.0/0",))


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    doors = Doors()
    doors.start(tmp_path / "authority.pem")
    yield doors
    await doors.close_all()


def is_open(gateway: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((gateway, PROXY_PORT)) == 0


async def police(doors: Doors, gateway: str, egress: Egress = NAMED) -> None:
    async with doors.changing("one", gateway, egress):
        pass


async def test_a_door_is_there_while_names_are(doors: Doors) -> None:
    await police(doors, GATEWAY)
    assert is_open(GATEWAY)
    await police(doors, GATEWAY, Egress(allow_out=("1.1.1.1",)))
    assert not is_open(GATEWAY)


async def test_a_door_that_did_not_open_is_opened_by_the_next_change(doors: Doors) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="assign"):
            await police(doors, NOT_OURS)
    await police(doors, ANOTHER)
    assert is_open(ANOTHER)
