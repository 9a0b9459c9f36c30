import pytest

from berm.control.control import Control
from berm.errors import BermError
from berm.models import Principal, Resources, SandboxSpec
from berm.store.builds import Status
from tests.control.asking import listed, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode

STRAY = SandboxSpec("istray", ("layer",), Resources(), True, {}, "user", "", None)


async def test_a_sandbox_ends_when_its_time_is_over(control: Control, node: FakeNode, who: Principal) -> None:
    sandbox = await control.sandboxes.create(who, wanted(seconds=0))
    await node.gone(sandbox.sandbox_id)
    assert await listed(control, who) == []


async def test_the_earliest_end_comes_first_whatever_the_order_of_making(
    control: Control, node: FakeNode, who: Principal
) -> None:
    long = await control.sandboxes.create(who, wanted(seconds=3600))
    short = await control.sandboxes.create(who, wanted(seconds=0))
    await node.gone(short.sandbox_id)
    assert await listed(control, who) == [long.sandbox_id] == list(node.running())


async def test_a_shortened_sandbox_ends_at_its_new_time(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted(seconds=3600))
    await control.sandboxes.set_timeout(who, sandbox.sandbox_id, 0)
    await node.gone(sandbox.sandbox_id)


async def test_an_extended_sandbox_outlives_its_first_end(
    control: Control, node: FakeNode, who: Principal
) -> None:
    extended = await control.sandboxes.create(who, wanted(seconds=1))
    other = await control.sandboxes.create(who, wanted(seconds=1))
    await control.sandboxes.connect(who, extended.sandbox_id, 3600)
    await node.gone(other.sandbox_id)
    assert await listed(control, who) == [extended.sandbox_id] == list(node.running())


async def test_a_sandbox_that_dies_by_itself_is_ended(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted())
    node.die(sandbox.sandbox_id)
    while await listed(control, who):
        pass


async def test_after_a_restart_what_runs_is_adopted(
    start: Start, control: Control, node: FakeNode, who: Principal
) -> None:
    kept = await control.sandboxes.create(who, wanted(seconds=3600))
    died = await control.sandboxes.create(who, wanted(seconds=3600))
    await control.reconciler.close()
    node.die(died.sandbox_id)
    await node.create(STRAY)
    again = await start(node)
    assert await listed(again, who) == [kept.sandbox_id]
    await node.gone(STRAY.sandbox_id)
    assert list(node.running()) == [kept.sandbox_id]


async def test_after_a_restart_what_is_over_is_killed(
    start: Start, control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted(seconds=3600))
    await control.reconciler.close()
    await control.sandboxes.set_timeout(who, sandbox.sandbox_id, 0)
    await start(node)
    await node.gone(sandbox.sandbox_id)


async def test_a_build_that_a_restart_cut_short_has_failed(
    start: Start, control: Control, who: Principal
) -> None:
    build = await control.templates.begin(who.team_id, "cut")
    again = await start(FakeNode())
    failed = await again.templates.build(who.team_id, "cut", build.build_id)
    assert failed.status is Status.ERROR
    with pytest.raises(BermError, match="could not be made: the server stopped during the build"):
        await again.templates.resolve(who.team_id, "cut")
