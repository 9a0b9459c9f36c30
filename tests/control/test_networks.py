"""The network of sandboxes in the records and on the node, when things go wrong between them."""

import asyncio
from dataclasses import replace

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.control.networks import Networks
from berm.errors import BermError, Code
from berm.models import Egress, Principal, Socks
from berm.store.database import Database
from tests.control.asking import wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode

ONE, OTHER = Egress(deny_out=("203.0.113.1/32",)), Egress(deny_out=("203.0.113.2/32",))
PROXY = Egress(proxy=Socks("proxy.example.com:1080", "walrus", "tusk"), rules={"a.com": {"X": "tusk"}})


class SlowNode(FakeNode):
    """Takes its time to change the firewall, counts who changes it at once, and may refuse to."""

    at_once, most = 0, 0
    refuses = False

    async def police(self, sandbox_id: str, egress: Egress) -> None:
        if self.refuses:
            raise BermError(Code.INTERNAL, "the firewall was not changed")
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        await super().police(sandbox_id, egress)
        self.at_once -= 1


@pytest.fixture
def node() -> FakeNode:
    return SlowNode()


async def made(control: Control, who: Principal, egress: Egress = ONE) -> str:
    return (await control.sandboxes.create(who, replace(wanted(), egress=egress))).sandbox_id


async def test_two_updates_at_once_end_in_one_of_the_two(
    control: Control, node: SlowNode, who: Principal
) -> None:
    sandbox_id = await made(control, who)
    updates = [control.networks.update(who, sandbox_id, egress, None) for egress in (ONE, OTHER) * 4]
    await asyncio.gather(*updates)
    assert node.most == 1
    found = await control.sandboxes.get(who, sandbox_id)
    assert found.egress == node.policed[-1][1]


async def test_the_node_knows_whose_it_is(control: Control, node: SlowNode, who: Principal) -> None:
    """By that it shares among teams what it does for sandboxes."""
    sandbox_id = await made(control, who)
    await control.networks.update(who, sandbox_id, OTHER, None)
    assert node.policed[-1][1].team_id == who.team_id
    found = await control.sandboxes.get(who, sandbox_id)
    assert found.egress.team_id == ""
    assert control.networks.in_force(found).team_id == who.team_id


async def test_what_the_firewall_refuses_is_not_recorded(
    control: Control, node: SlowNode, who: Principal, config: Config
) -> None:
    sandbox_id = await made(control, who)
    node.refuses = True
    with pytest.raises(BermError, match="the firewall was not changed"):
        await control.networks.update(who, sandbox_id, OTHER, None)
    assert (await control.sandboxes.get(who, sandbox_id)).egress == ONE


async def test_one_that_does_not_run_now_is_a_conflict(
    control: Control, node: SlowNode, who: Principal
) -> None:
    sandbox_id = await made(control, who)
    node._running.pop(sandbox_id)
    with pytest.raises(BermError, match="is not running now") as failure:
        await control.networks.update(who, sandbox_id, OTHER, None)
    assert failure.value.code is Code.CONFLICT
    assert (await control.sandboxes.get(who, sandbox_id)).egress == ONE


async def test_another_server_puts_in_force_what_is_recorded(
    start: Start, control: Control, node: SlowNode, who: Principal
) -> None:
    sandbox_id = await made(control, who, PROXY)
    await made(control, who, Egress())
    offline = await made(control, who)
    await control.networks.update(who, offline, ONE, allow_internet=False)
    node.policed.clear()
    await start(node)
    told = dict(node.policed)
    assert told.keys() == {sandbox_id, offline}
    assert told[sandbox_id] == PROXY
    assert told[offline].deny_out == ("203.0.113.1/32", "0.0.0.0/0")


async def test_under_another_key_what_is_sealed_stays_closed(
    start: Start, control: Control, node: SlowNode, who: Principal, config: Config
) -> None:
    await made(control, who, PROXY)
    readable = await made(control, who, ONE)
    node.policed.clear()
    config.networks_key_file.unlink()
    await start(node)
    assert node.policed == [(readable, ONE)]


async def test_the_owner_sees_all_but_the_password(control: Control, who: Principal) -> None:
    found = await control.sandboxes.get(who, await made(control, who, PROXY))
    assert found.egress.rules == PROXY.rules
    assert found.egress.proxy == Socks("proxy.example.com:1080", "walrus")


async def test_secrets_that_rules_name_are_those_of_the_team(control: Control, config: Config) -> None:
    async def secret(team_id: str, name: str) -> str:
        return f"{name} of {team_id}"

    database = Database(config.database)
    networks = Networks(database, FakeNode(), secret)
    egress = networks.checked("team-a", "sandbox-a", Egress(rules={"a.com": {"X": "${e2b.secrets.KEY}"}}))
    assert egress.secret
    assert await egress.secret("KEY") == "KEY of team-a"


async def test_a_sandbox_that_gets_rules_is_had_trust_them_first(
    control: Control, node: SlowNode, who: Principal
) -> None:
    sandbox_id = await made(control, who)
    found = await control.sandboxes.get(who, sandbox_id)
    node.refuses = True
    with pytest.raises(BermError, match="firewall"):
        await control.networks.update(who, sandbox_id, PROXY, None)
    assert node.trusting == [(sandbox_id, found.access_token)]
    node.refuses = False
    await control.networks.update(who, sandbox_id, ONE, None)
    assert len(node.trusting) == 1
