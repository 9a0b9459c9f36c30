import asyncio

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.control.creation import KeyReusedError
from berm.errors import BermError, Code
from berm.models import Endpoint, Principal
from berm.store.database import Database
from berm.store.sandboxes import Once
from tests.control.asking import listed, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode, FullNode, HeldNode, StillbornNode, UnkillableNode
from tests.serving import make_template


async def test_a_new_sandbox_runs_with_what_was_asked_for(
    control: Control, node: FakeNode, who: Principal
) -> None:
    asked = wanted(env={"A": "b"}, metadata={"k": "v"}, allow_internet=False)
    sandbox = await control.sandboxes.create(who, asked)
    spec = node.specs[sandbox.sandbox_id]
    assert spec.env == {
        "LANG": "C.UTF-8",
        "A": "b",
        "E2B_SANDBOX": "true",
        "E2B_SANDBOX_ID": sandbox.sandbox_id,
        "E2B_TEMPLATE_ID": sandbox.template_id,
    }
    assert spec.layers == ("bottom", "top")
    assert spec.allow_internet is False
    assert spec.access_token == sandbox.access_token is not None
    assert (sandbox.end_at - sandbox.started_at).total_seconds() == 60
    assert await control.sandboxes.get(who, sandbox.sandbox_id) == sandbox


async def test_an_open_sandbox_has_no_token(control: Control, node: FakeNode, who: Principal) -> None:
    sandbox = await control.sandboxes.create(who, wanted(secure=False))
    assert node.specs[sandbox.sandbox_id].access_token is None


async def test_no_timeout_means_the_default(control: Control, config: Config, who: Principal) -> None:
    sandbox = await control.sandboxes.create(who, wanted(seconds=None))
    assert (sandbox.end_at - sandbox.started_at).total_seconds() == config.default_timeout


async def test_a_timeout_that_is_too_long_starts_nothing(
    control: Control, node: FakeNode, config: Config, who: Principal
) -> None:
    with pytest.raises(BermError, match="timeout is"):
        await control.sandboxes.create(who, wanted(seconds=config.max_timeout + 1))
    assert not node.specs


async def test_a_failed_start_leaves_nothing(start: Start) -> None:
    control = await start(FullNode())
    team = await control.keys.first_team()
    await make_template(control, team.team_id, "base")
    with pytest.raises(BermError) as caught:
        await control.sandboxes.create(Principal(team.team_id, "key"), wanted())
    assert caught.value.code is Code.UNAVAILABLE
    assert await listed(control, Principal(team.team_id, "key")) == []


async def test_a_sandbox_that_cannot_be_recorded_is_killed(
    control: Control, node: FakeNode, who: Principal
) -> None:
    other = Principal("no such team", "key")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await control.sandboxes.create(other, wanted())
    (sandbox_id,) = node.specs
    assert control.sandboxes.ingress(sandbox_id) is None
    await node.gone(sandbox_id)


async def test_a_caller_that_leaves_does_not_stop_the_start(start: Start) -> None:
    node = HeldNode()
    control = await start(node)
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    caller = asyncio.create_task(control.sandboxes.create(who, wanted()))
    await node.asked.acquire()
    assert await listed(control, who) == []
    caller.cancel()
    await node.let_go()
    await control.sandboxes.close()
    assert await listed(control, who) == list(node.running())
    assert len(node.running()) == 1


async def test_one_that_dies_while_starting_is_not_listed(start: Start) -> None:
    control = await start(StillbornNode())
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    await control.sandboxes.create(who, wanted())
    assert await listed(control, who) == []


async def test_of_two_kills_at_once_one_succeeds(control: Control, node: FakeNode, who: Principal) -> None:
    sandbox = await control.sandboxes.create(who, wanted())
    kills = [control.sandboxes.kill(who, sandbox.sandbox_id) for _ in range(2)]
    outcomes = await asyncio.gather(*kills, return_exceptions=True)
    assert sorted(isinstance(outcome, BermError) for outcome in outcomes) == [False, True]
    assert not node.running()


async def test_a_kill_that_fails_is_tried_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("berm.control.tasks.RETRY_AFTER", 0)
    node = UnkillableNode()
    control = await start(node)
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    sandbox = await control.sandboxes.create(who, wanted())
    with pytest.raises(BermError, match="launcher"):
        await control.sandboxes.kill(who, sandbox.sandbox_id)
    assert await listed(control, who) == []
    node.mended = True
    await node.gone(sandbox.sandbox_id)


async def test_killed_or_timed_out_at_the_same_time_it_ends(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted())
    changes = [
        control.sandboxes.set_timeout(who, sandbox.sandbox_id, 0),
        control.sandboxes.connect(who, sandbox.sandbox_id, 60),
        control.sandboxes.kill(who, sandbox.sandbox_id),
    ]
    for outcome in await asyncio.gather(*changes, return_exceptions=True):
        assert not isinstance(outcome, BaseException) or getattr(outcome, "code", None) is Code.NOT_FOUND
    await node.gone(sandbox.sandbox_id)
    assert await listed(control, who) == []


async def test_the_limit_counts_running_and_starting_sandboxes(config: Config, start: Start) -> None:
    node = HeldNode()
    control = await start(node)
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    tasks = [
        asyncio.create_task(control.sandboxes.create(who, wanted())) for _ in range(config.max_sandboxes)
    ]
    for _ in tasks:
        await node.asked.acquire()
    with pytest.raises(BermError, match="which is the limit") as caught:
        await control.sandboxes.create(who, wanted())
    assert caught.value.code is Code.RATE_LIMITED
    await node.let_go()
    sandboxes = await asyncio.gather(*tasks)
    await control.sandboxes.kill(who, sandboxes[0].sandbox_id)
    await control.sandboxes.create(who, wanted())


async def test_an_idempotency_key_makes_one_sandbox(control: Control, node: FakeNode, who: Principal) -> None:
    once = Once("key", "digest")
    creates = [control.sandboxes.create(who, wanted(), once) for _ in range(3)]
    made = await asyncio.gather(*creates)
    made.append(await control.sandboxes.create(who, wanted(), once))
    assert len({sandbox.sandbox_id for sandbox in made}) == len(node.specs) == 1


async def test_an_idempotency_key_outlives_a_restart(
    control: Control, start: Start, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted(), Once("key", "digest"))
    again = await start(node)
    assert await again.sandboxes.create(who, wanted(), Once("key", "digest")) == sandbox


async def test_an_idempotency_key_with_another_request_is_refused(control: Control, who: Principal) -> None:
    await control.sandboxes.create(who, wanted(), Once("key", "digest"))
    with pytest.raises(KeyReusedError, match="Idempotency-Key 'key'"):
        await control.sandboxes.create(who, wanted(), Once("key", "other"))


async def test_an_idempotency_key_of_a_failed_create_can_be_used_again(
    control: Control, who: Principal
) -> None:
    with pytest.raises(BermError, match="not found"):
        await control.sandboxes.create(who, wanted("none"), Once("key", "digest"))
    await control.sandboxes.create(who, wanted(), Once("key", "digest"))


async def test_endpoints_are_those_of_running_sandboxes(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox = await control.sandboxes.create(who, wanted())
    address = node.running()[sandbox.sandbox_id].address
    assert control.sandboxes.endpoint(sandbox.sandbox_id, 8080) == Endpoint(address, 8080)
    node.die(sandbox.sandbox_id)
    assert control.sandboxes.endpoint(sandbox.sandbox_id, 8080) is None


async def test_a_database_that_is_gone_is_reported(config: Config) -> None:
    control = Control.over(Database(f"sqlite:///{config.home / 'locked' / 'x.db'}"), FakeNode(), config)
    (config.home / "locked" / "x.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Exception, match="not a database"):
        await control.start()
    await control.close()
