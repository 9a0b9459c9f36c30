"""Which ports are open to whom is known before a sandbox runs, after a restart, and not beyond its end."""

from dataclasses import replace

import pytest

from berm.control.control import Control
from berm.models import Ingress, Principal, Running, SandboxSpec
from tests.control.asking import listed, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode

PRIVATE = replace(wanted(), ingress=Ingress(mask_host="x", https_ports=(8443,)), private=True)


class LookingNode(FakeNode):
    """Remembers how a sandbox was reached when it began to run."""

    control: Control
    seen: Ingress | None = None

    async def create(self, spec: SandboxSpec) -> Running:
        running = await super().create(spec)
        self.seen = self.control.sandboxes.ingress(spec.sandbox_id)
        return running


@pytest.fixture
def node() -> LookingNode:
    return LookingNode()


async def test_ports_are_private_from_the_first_moment(
    control: Control, node: LookingNode, who: Principal
) -> None:
    node.control = control
    made = await control.sandboxes.create(who, PRIVATE)
    assert made.ingress.traffic_token
    assert node.seen == made.ingress
    assert "token" not in repr(made.ingress)


async def test_where_a_port_is_reached(control: Control, node: LookingNode, who: Principal) -> None:
    node.control = control
    made = await control.sandboxes.create(who, PRIVATE)
    for port, tls in ((8443, True), (8080, False)):
        endpoint = control.sandboxes.endpoint(made.sandbox_id, port)
        assert endpoint is not None
        assert (endpoint.port, endpoint.tls) == (port, tls)


async def test_they_stay_so_after_a_restart(
    start: Start, control: Control, node: LookingNode, who: Principal
) -> None:
    node.control = control
    made = await control.sandboxes.create(who, PRIVATE)
    again = await start(node)
    assert again.sandboxes.ingress(made.sandbox_id) == made.ingress
    assert again.sandboxes.is_access_token(made.sandbox_id, made.access_token or "")


async def test_nothing_is_known_of_a_sandbox_that_is_over(
    control: Control, node: LookingNode, who: Principal
) -> None:
    node.control = control
    killed, over, dead = [await control.sandboxes.create(who, PRIVATE) for _ in range(3)]
    await control.sandboxes.kill(who, killed.sandbox_id)
    await control.sandboxes.set_timeout(who, over.sandbox_id, 0)
    await node.gone(over.sandbox_id)
    node.die(dead.sandbox_id)
    for sandbox in (killed, over, dead):
        while control.sandboxes.ingress(sandbox.sandbox_id) is not None:
            await listed(control, who)
        assert control.sandboxes.endpoint(sandbox.sandbox_id, 80) is None
        assert not control.sandboxes.is_access_token(sandbox.sandbox_id, sandbox.access_token or "")
