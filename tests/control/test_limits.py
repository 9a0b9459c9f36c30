import asyncio
from dataclasses import replace

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.control.limits import Limiter
from berm.errors import BermError, Code
from berm.models import Limits, Principal
from tests.control.asking import second_team, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode, FullNode, HeldNode
from tests.serving import make_template


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(config: Config, clock: Clock) -> Limiter:
    return Limiter(FakeNode(), config, clock)


async def set_limits(control: Control, who: Principal, limits: Limits) -> None:
    await control.teams.change_limits(who.team_id, lambda _: limits)


async def create(control: Control, who: Principal, times: int) -> list[BermError]:
    """Create as many at the same time; the refusals."""
    calls = [control.sandboxes.create(who, wanted()) for _ in range(times)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in done if isinstance(result, BermError)]
    assert {error.code for error in refused} <= {Code.RATE_LIMITED}
    return refused


def admit(limiter: Limiter, team: str, times: int) -> int:
    """How many of as many are let in."""
    admitted = 0
    for number in range(times):
        try:
            with limiter.admit(team, f"{team}-{number}"):
                admitted += 1
        except BermError as error:
            assert error.code is Code.RATE_LIMITED
    return admitted


def test_no_second_has_more_than_the_rate(limiter: Limiter, clock: Clock) -> None:
    limiter.set("a", Limits(creation_rate=3))
    begun: list[float] = []
    for _ in range(200):
        clock.now += 1 / 16
        begun += [clock.now] * admit(limiter, "a", 2)
    assert len(begun) == 3 * 13
    for moment in begun:
        assert sum(moment <= other < moment + 1 for other in begun) <= 3


def test_a_refused_one_does_not_count_and_learns_when_to_come_back(limiter: Limiter, clock: Clock) -> None:
    limiter.set("a", Limits(creation_rate=2))
    assert admit(limiter, "a", 50) == 2
    with pytest.raises(BermError, match="2 sandboxes in the last second, and its limit is 2") as caught:
        limiter.admit("a", "x").__enter__()
    assert caught.value.retry_after == 1
    assert "berm team limits" in caught.value.hint
    clock.now += 1
    assert admit(limiter, "a", 50) == 2


def test_a_rate_that_is_lowered_holds_at_once(limiter: Limiter, clock: Clock) -> None:
    limiter.set("a", Limits(creation_rate=5))
    assert admit(limiter, "a", 5) == 5
    limiter.set("a", Limits(creation_rate=1))
    clock.now += 0.5
    assert admit(limiter, "a", 1) == 0
    clock.now += 0.5
    assert admit(limiter, "a", 2) == 1


def test_teams_do_not_use_up_each_others_rate(limiter: Limiter) -> None:
    limiter.set("a", Limits(creation_rate=1))
    assert (admit(limiter, "a", 3), admit(limiter, "b", 3)) == (1, 3)


def test_what_is_not_set_is_the_default_and_0_is_no_limit(config: Config) -> None:
    settings = replace(config, team_max_sandboxes=5, team_creation_rate=6, max_timeout=7)
    limiter = Limiter(FakeNode(), settings)
    assert limiter.in_force("unknown") == Limits(5, 6, 7)
    limiter.set("a", Limits(0, 0, 70))
    assert limiter.in_force("a") == Limits(0, 0, 70)
    assert limiter.longest("a") == 70


def test_sandboxes_that_have_ended_are_forgotten_without_a_limit(config: Config) -> None:
    limiter = Limiter(FakeNode(), config)
    admit(limiter, "a", 10_000)
    assert len(limiter._sandboxes["a"]) < 100


async def test_the_limit_of_running_sandboxes_is_exact(
    control: Control, node: FakeNode, who: Principal
) -> None:
    other = await second_team(control)
    await set_limits(control, who, Limits(max_sandboxes=3))
    refused = await create(control, who, 8)
    assert len(refused) == 5
    assert "3 sandboxes of the team run or are paused with memory, and its limit is 3" in refused[0].message
    assert await create(control, other, 2) == []
    ended, *_ = [spec.sandbox_id for spec in node.specs.values()]
    await control.sandboxes.kill(who, ended)
    assert len(await create(control, who, 2)) == 1


async def test_sandboxes_that_are_being_started_count(start: Start) -> None:
    node = HeldNode()
    control = await start(node)
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    await set_limits(control, who, Limits(max_sandboxes=2))
    held = [asyncio.create_task(control.sandboxes.create(who, wanted())) for _ in range(2)]
    for _ in held:
        await node.asked.acquire()
    assert len(await create(control, who, 1)) == 1
    await node.let_go()
    await asyncio.gather(*held)


async def test_a_start_that_failed_does_not_count(start: Start) -> None:
    control = await start(FullNode())
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    await set_limits(control, who, Limits(max_sandboxes=1))
    for _ in range(3):
        with pytest.raises(BermError, match="no room"):
            await control.sandboxes.create(who, wanted())


async def test_limits_and_counts_outlive_a_restart(
    control: Control, start: Start, node: FakeNode, who: Principal
) -> None:
    await set_limits(control, who, Limits(max_sandboxes=2))
    assert await create(control, who, 2) == []
    again = await start(node)
    assert len(await create(again, who, 1)) == 1


async def test_the_longest_timeout_is_the_teams_own(control: Control, config: Config, who: Principal) -> None:
    await set_limits(control, who, Limits(max_timeout=60))
    sandbox = await control.sandboxes.create(who, wanted(seconds=None))
    assert (sandbox.end_at - sandbox.started_at).total_seconds() == 60
    for call in (
        control.sandboxes.create(who, wanted(seconds=61)),
        control.sandboxes.set_timeout(who, sandbox.sandbox_id, 61),
        control.sandboxes.connect(who, sandbox.sandbox_id, 61),
    ):
        with pytest.raises(BermError, match="not between 0 and 60 seconds"):
            await call
    await set_limits(control, who, Limits(max_timeout=config.max_timeout * 2))
    await control.sandboxes.set_timeout(who, sandbox.sandbox_id, config.max_timeout * 2)
