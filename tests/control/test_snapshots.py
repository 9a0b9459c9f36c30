"""Snapshots and forks over a real database, with what may happen meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Lifecycle, OnTimeout, Principal, Running, Sandbox, SandboxSpec
from berm.store.paging import Slice
from berm.store.snapshots import Wanted
from tests.control.asking import listed, wanted
from tests.fakes import FakeNode
from tests.node.sandboxes import refused


@pytest.fixture
async def sandbox(control: Control, who: Principal) -> Sandbox:
    lifecycle = Lifecycle(OnTimeout.PAUSE, auto_resume=True)
    return await control.sandboxes.create(
        who, wanted(env={"A": "b"}, metadata={"k": "v"}, lifecycle=lifecycle)
    )


async def names(control: Control, who: Principal) -> list[str]:
    page = await control.snapshots.list(who, Wanted(), Slice())
    return [f"{snapshot.name}:{snapshot.tag}" for snapshot in page.items]


async def test_a_snapshot_is_a_template_on_the_same_layers(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    made = await control.snapshots.create(who, sandbox.sandbox_id, "kept:v1")
    template = await control.templates.resolve(who.team_id, "kept:v1")
    assert (template.template_id, template.layers) == (made.template_id, ("bottom", "top", "snapshot-1"))
    assert "snapshot-1" in node.settled
    # What the sandbox itself was given may be secret, and a template can be given to others.
    assert template.env == {"LANG": "C.UTF-8"}
    begun = await control.sandboxes.create(who, wanted("kept:v1"))
    spec = node.specs[begun.sandbox_id]
    assert (spec.layers, spec.written) == (("bottom", "top"), "snapshot-1")
    assert begun.layers == ("bottom", "top")


async def test_a_snapshot_is_not_collected_and_goes_when_it_is_deleted(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    made = await control.snapshots.create(who, sandbox.sandbox_id)
    await control.builds.collect()
    assert node.layer_names == {"snapshot-1"}
    assert await control.snapshots.delete(who, f"{made.name}:default")
    await control.builds.collect()
    assert node.layer_names == set()


async def test_one_of_several_goes_and_the_template_with_the_last(
    control: Control, who: Principal, sandbox: Sandbox
) -> None:
    for name in ("kept:v1", "kept:v2"):
        await control.snapshots.create(who, sandbox.sandbox_id, name)
    assert await control.snapshots.delete(who, "kept:v1")
    assert await names(control, who) == ["kept:v2"]
    with refused(Code.NOT_FOUND, "not found"):
        await control.snapshots.delete(who, "kept:v1")
    assert await control.snapshots.delete(who, "kept:v2")
    with refused(Code.NOT_FOUND, "not found"):
        await control.templates.get(who.team_id, "kept")


async def test_latest_means_the_default_tag(control: Control, who: Principal, sandbox: Sandbox) -> None:
    await control.snapshots.create(who, sandbox.sandbox_id, "kept")
    assert await control.snapshots.delete(who, "kept:latest")
    assert await names(control, who) == []


async def test_a_build_does_not_take_the_name_of_a_snapshot(
    control: Control, who: Principal, sandbox: Sandbox
) -> None:
    await control.snapshots.create(who, sandbox.sandbox_id, "kept")
    with refused(Code.CONFLICT, "'kept' is a snapshot"):
        await control.templates.begin(who.team_id, "kept")


async def test_templates_are_not_deleted_as_snapshots(control: Control, who: Principal) -> None:
    assert not await control.snapshots.delete(who, "base:default")


async def test_other_teams_see_none(control: Control, who: Principal, sandbox: Sandbox) -> None:
    stranger = Principal("other", "key")
    await control.snapshots.create(who, sandbox.sandbox_id, "kept")
    assert await names(control, stranger) == []
    with refused(Code.NOT_FOUND, "not found"):
        await control.snapshots.create(stranger, sandbox.sandbox_id)
    with refused(Code.NOT_FOUND, "not found"):
        await control.snapshots.fork(stranger, sandbox.sandbox_id, None, 1)
    with refused(Code.NOT_FOUND, "not found"):
        await control.snapshots.delete(stranger, "kept")


async def test_forks_are_like_their_origin_and_sandboxes_of_their_own(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    forks = await control.snapshots.fork(who, sandbox.sandbox_id, 30, 2)
    assert node.layer_names == set()
    for fork in forks:
        assert isinstance(fork, Sandbox)
        spec = node.specs[fork.sandbox_id]
        assert (spec.layers, spec.written) == (("bottom", "top"), "snapshot-1")
        assert spec.env == {**node.specs[sandbox.sandbox_id].env, "E2B_SANDBOX_ID": fork.sandbox_id}
        assert (fork.metadata, fork.lifecycle) == (sandbox.metadata, sandbox.lifecycle)
        assert fork.access_token == spec.access_token not in (None, sandbox.access_token)
        assert await control.sandboxes.get(who, fork.sandbox_id) == fork


class Cramped(FakeNode):
    """Has room for three sandboxes, and fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = [ConnectionError("what nobody foresaw")]

    async def create(self, spec: SandboxSpec) -> Running:
        if spec.written and self.failures:
            raise self.failures.pop()
        if len(self.running()) == 3:
            raise BermError(Code.UNAVAILABLE, "no room for another sandbox")
        return await super().create(spec)


class TestCramped:
    @pytest.fixture
    def node(self) -> FakeNode:
        return Cramped()

    async def test_each_fork_fails_for_itself(
        self, control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
    ) -> None:
        forks = await control.snapshots.fork(who, sandbox.sandbox_id, 30, 4)
        made = [fork.sandbox_id for fork in forks if isinstance(fork, Sandbox)]
        failed = {fork.code for fork in forks if isinstance(fork, BermError)}
        assert failed == {Code.INTERNAL, Code.UNAVAILABLE}
        assert set(await listed(control, who)) == {sandbox.sandbox_id, *made} == set(node.running())
        assert node.layer_names == set()


OTHERS: dict[str, Callable[[Control, Principal, str], Awaitable[object]]] = {
    "fork": lambda c, who, name: c.snapshots.fork(who, name, 60, 2),
    "snapshot": lambda c, who, name: c.snapshots.create(who, name),
    "pause": lambda c, who, name: c.sandboxes.pause(who, name),
    "connect": lambda c, who, name: c.sandboxes.connect(who, name, 60),
    "kill": lambda c, who, name: c.sandboxes.kill(who, name),
    "expire": lambda c, who, name: c.pauses.expire(name),
}


@pytest.mark.parametrize("first", ["fork", "snapshot"])
@pytest.mark.parametrize("second", OTHERS)
@pytest.mark.parametrize("reverse", [False, True])
async def test_what_happens_meanwhile_leaves_no_layer_and_no_stray(
    control: Control, who: Principal, sandbox: Sandbox, first: str, second: str, *, reverse: bool
) -> None:
    pair = (second, first) if reverse else (first, second)
    racing = (OTHERS[racer](control, who, sandbox.sandbox_id) for racer in pair)
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert all(isinstance(result, BermError) for result in results if isinstance(result, Exception)), results
    node = control.workshop.node
    snapshots = len(await names(control, who))
    await control.builds.collect()
    assert len(node.layers()) == snapshots
    recorded = set(await listed(control, who))
    assert recorded == node.running().keys() | node.paused().keys()
