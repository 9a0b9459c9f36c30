"""Pausing and resuming over a real database: who may, what is recorded, and what two at once end in."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from berm.control import tasks
from berm.control.control import Control
from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Egress, Lifecycle, Limits, OnTimeout, Principal, Sandbox, State
from berm.store import sandboxes as store
from tests.control.asking import listed, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode


@pytest.fixture
async def sandbox(control: Control, who: Principal) -> Sandbox:
    return await control.sandboxes.create(who, wanted())


async def sleeper(control: Control, who: Principal, **asked: object) -> Sandbox:
    """A paused sandbox that wakes up by requests."""
    lifecycle = Lifecycle(OnTimeout.PAUSE, auto_resume=True)
    made = await control.sandboxes.create(who, wanted(lifecycle=lifecycle, **asked))  # type: ignore[arg-type]
    await control.sandboxes.pause(who, made.sandbox_id)
    return made


@contextmanager
def refused(code: Code, words: str) -> Iterator[None]:
    with pytest.raises(BermError, match=words) as caught:
        yield
    assert caught.value.code is code


@pytest.mark.parametrize("memory", [True, False])
async def test_a_paused_sandbox_is_kept_and_goes_on(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox, memory: bool
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id, memory=memory)
    paused = await control.sandboxes.get(who, sandbox.sandbox_id)
    assert (paused.state, paused.generation, paused.keeps_memory) == (State.PAUSED, 1, memory)
    assert control.sandboxes.endpoint(sandbox.sandbox_id, 80) is None
    again, resumed = await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert resumed
    assert (again.state, again.access_token) == (State.RUNNING, sandbox.access_token)
    assert timedelta(seconds=25) < again.end_at - now() <= timedelta(seconds=30)
    assert control.sandboxes.endpoint(sandbox.sandbox_id, 80)
    # Without its processes it was started a second time, as the first time.
    spec = node.specs[sandbox.sandbox_id]
    assert (spec.generation, spec.env["E2B_SANDBOX_ID"]) == (0 if memory else 1, sandbox.sandbox_id)


async def test_a_resume_can_leave_the_processes_behind(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    await control.sandboxes.connect(who, sandbox.sandbox_id, 30, memory=False)
    assert node.specs[sandbox.sandbox_id].generation == 1


async def test_a_paused_sandbox_is_not_paused_again(
    control: Control, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    with refused(Code.CONFLICT, "paused already"):
        await control.sandboxes.pause(who, sandbox.sandbox_id)


async def test_one_that_does_not_answer_is_paused_only_if_that_is_no_matter(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    node.ill.add(sandbox.sandbox_id)
    with refused(Code.UNAVAILABLE, "does not answer"):
        await control.sandboxes.pause(who, sandbox.sandbox_id, only_well=True)
    assert (await control.sandboxes.get(who, sandbox.sandbox_id)).state is State.RUNNING
    await control.sandboxes.pause(who, sandbox.sandbox_id)


async def test_a_running_sandbox_is_not_resumed(control: Control, who: Principal, sandbox: Sandbox) -> None:
    with refused(Code.CONFLICT, "runs already"):
        await control.sandboxes.resume(who, sandbox.sandbox_id, 30)


@pytest.mark.parametrize("call", ["pause", "connect", "resume"])
async def test_the_sandboxes_of_others_are_not_there(control: Control, sandbox: Sandbox, call: str) -> None:
    stranger = Principal("other", "key")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "pause": lambda: control.sandboxes.pause(stranger, sandbox.sandbox_id),
        "connect": lambda: control.sandboxes.connect(stranger, sandbox.sandbox_id, 1),
        "resume": lambda: control.sandboxes.resume(stranger, sandbox.sandbox_id, 1),
    }
    with refused(Code.NOT_FOUND, "not found"):
        await calls[call]()


async def test_a_paused_sandbox_has_no_time_to_change(
    control: Control, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    with refused(Code.NOT_FOUND, "paused.*connect to it first"):
        await control.sandboxes.set_timeout(who, sandbox.sandbox_id, 99)
    with refused(Code.NOT_FOUND, "paused.*connect to it first"):
        await control.sandboxes.refresh(who, sandbox.sandbox_id, 99)


async def test_a_paused_sandbox_can_be_killed(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    await control.sandboxes.kill(who, sandbox.sandbox_id)
    assert (node.paused(), await listed(control, who)) == ({}, [])
    with refused(Code.NOT_FOUND, "not found"):
        await control.sandboxes.connect(who, sandbox.sandbox_id, 1)


async def test_older_files_are_never_resumed(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    for _ in range(2):
        await control.sandboxes.pause(who, sandbox.sandbox_id, memory=False)
        await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    await control.sandboxes.pause(who, sandbox.sandbox_id, memory=False)
    node.put_back(sandbox.sandbox_id, 2)
    with refused(Code.CONFLICT, "generation"):
        await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert (await control.sandboxes.get(who, sandbox.sandbox_id)).state is State.PAUSED


@pytest.mark.parametrize("memory", [True, False])
async def test_one_whose_time_is_over_is_paused_if_it_was_asked_for(
    control: Control, node: FakeNode, who: Principal, memory: bool
) -> None:
    lifecycle = Lifecycle(OnTimeout.PAUSE, keep_memory=memory)
    made = await control.sandboxes.create(who, wanted(seconds=0, lifecycle=lifecycle))
    while (found := await control.sandboxes.get(who, made.sandbox_id)).state is State.RUNNING:
        await asyncio.sleep(0)
    assert found.keeps_memory is memory
    assert node.paused()[made.sandbox_id].has_processes is memory


async def test_one_that_got_more_time_meanwhile_is_not_paused(control: Control, who: Principal) -> None:
    made = await control.sandboxes.create(who, wanted(lifecycle=Lifecycle(OnTimeout.PAUSE)))
    await control.pauses.expire(made.sandbox_id)
    assert (await control.sandboxes.get(who, made.sandbox_id)).state is State.RUNNING


async def test_a_request_wakes_a_sandbox_and_gives_it_five_minutes(control: Control, who: Principal) -> None:
    made = await sleeper(control, who)
    assert await control.sandboxes.wake(made.sandbox_id) is State.RUNNING
    found = await control.sandboxes.get(who, made.sandbox_id)
    assert timedelta(minutes=4) < found.end_at - now() <= timedelta(minutes=5)


async def test_a_request_wakes_a_sandbox_for_as_long_as_it_was_made(control: Control, who: Principal) -> None:
    made = await sleeper(control, who, seconds=3600)
    assert await control.sandboxes.wake(made.sandbox_id) is State.RUNNING
    assert (await control.sandboxes.get(who, made.sandbox_id)).end_at - now() > timedelta(minutes=50)


async def test_many_requests_at_once_wake_a_sandbox_once(control: Control, who: Principal) -> None:
    made = await sleeper(control, who)
    woken = await asyncio.gather(*(control.sandboxes.wake(made.sandbox_id) for _ in range(9)))
    assert State.RUNNING in woken
    assert (await control.sandboxes.get(who, made.sandbox_id)).generation == 1


async def test_requests_do_not_wake_one_without_processes(control: Control, who: Principal) -> None:
    lifecycle = Lifecycle(OnTimeout.PAUSE, auto_resume=True)
    made = await control.sandboxes.create(who, wanted(lifecycle=lifecycle))
    await control.sandboxes.pause(who, made.sandbox_id, memory=False)
    assert await control.sandboxes.wake(made.sandbox_id) is State.PAUSED


async def test_requests_do_not_wake_one_that_was_not_to_wake(
    control: Control, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    assert await control.sandboxes.wake(sandbox.sandbox_id) is State.PAUSED


async def test_after_a_restart_a_sandbox_still_wakes_up(
    start: Start, control: Control, node: FakeNode, who: Principal
) -> None:
    made = await sleeper(control, who)
    await control.reconciler.close()
    again = await start(node)
    assert await again.sandboxes.wake(made.sandbox_id) is State.RUNNING


async def test_after_a_restart_what_was_paused_and_not_recorded_is_paused(
    start: Start, control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    await control.reconciler.close()
    await node.pause(sandbox.sandbox_id, 1, memory=True)
    again = await start(node)
    found = await again.sandboxes.get(who, sandbox.sandbox_id)
    assert (found.state, found.generation) == (State.PAUSED, 1)
    assert (await again.sandboxes.connect(who, sandbox.sandbox_id, 9))[1]


async def test_after_a_restart_what_was_killed_is_removed_and_what_nobody_knows_stays(
    start: Start, control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    """It may be the wrong database."""
    await control.sandboxes.kill(who, sandbox.sandbox_id)
    await control.reconciler.close()
    node.put_back(sandbox.sandbox_id, 1)
    node.put_back("unknown", 1)
    await start(node)
    while sandbox.sandbox_id in node.paused():
        await asyncio.sleep(0)
    assert list(node.paused()) == ["unknown"]


def fail_once(monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> None:
    """Let the next call of this fail, as if the database or the launcher were away."""
    original = getattr(target, name)

    def fails(*_arguments: object, **_options: object) -> None:
        monkeypatch.setattr(target, name, original)
        raise BermError(Code.UNAVAILABLE, "away for a moment")

    monkeypatch.setattr(target, name, fails)


async def test_a_resume_that_is_not_recorded_is_finished_by_the_next(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    fail_once(monkeypatch, store, "resume")
    with refused(Code.UNAVAILABLE, "away"):
        await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert sandbox.sandbox_id in node.running()
    again, _ = await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert again.state is State.RUNNING
    # It was not begun anew, which would have ended it first.
    assert node.specs[sandbox.sandbox_id].generation == 0


async def test_a_pause_that_is_not_recorded_is_none(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, store, "pause")
    with refused(Code.UNAVAILABLE, "away"):
        await control.sandboxes.pause(who, sandbox.sandbox_id)
    assert sandbox.sandbox_id in node.running()
    assert not (await control.sandboxes.connect(who, sandbox.sandbox_id, 30))[1]


async def test_a_pause_without_memory_is_recorded_later(
    control: Control, who: Principal, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, store, "pause")
    with refused(Code.UNAVAILABLE, "away"):
        await control.sandboxes.pause(who, sandbox.sandbox_id, memory=False)
    while (await control.sandboxes.get(who, sandbox.sandbox_id)).state is State.RUNNING:
        await asyncio.sleep(0)
    assert (await control.sandboxes.connect(who, sandbox.sandbox_id, 30))[1]


async def test_a_resume_whose_network_fails_leaves_it_paused(
    control: Control, node: FakeNode, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(wanted(), egress=Egress(deny_out=("1.1.1.1",)))
    sandbox = await control.sandboxes.create(who, asked)
    await control.sandboxes.pause(who, sandbox.sandbox_id)
    fail_once(monkeypatch, node, "police")
    with refused(Code.UNAVAILABLE, "away"):
        await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert node.paused()[sandbox.sandbox_id].has_processes
    assert (await control.sandboxes.connect(who, sandbox.sandbox_id, 30))[1]


async def test_a_start_command_that_fails_and_is_not_recorded_locks_nothing(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox
) -> None:
    await control.sandboxes.pause(who, sandbox.sandbox_id, memory=False)
    node.put_back(sandbox.sandbox_id, 2)
    again, resumed = await control.sandboxes.connect(who, sandbox.sandbox_id, 30)
    assert (resumed, again.generation) == (True, 2)


async def test_an_extension_that_overtakes_a_pause_has_an_end(
    control: Control, node: FakeNode, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "RETRY_AFTER", 0.5)
    fail_once(monkeypatch, node, "pause")
    lifecycle = Lifecycle(OnTimeout.PAUSE)
    made = await control.sandboxes.create(who, wanted(seconds=0, lifecycle=lifecycle))
    await control.sandboxes.refresh(who, made.sandbox_id, 1)
    while made.sandbox_id not in node.paused():
        await asyncio.sleep(0.01)


async def test_a_timeout_that_meets_a_pause_is_told_the_truth(
    control: Control, node: FakeNode, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await control.sandboxes.create(who, wanted())
    pausing, go, original = asyncio.Event(), asyncio.Event(), node.pause

    async def slow(sandbox_id: str, generation: int, *, memory: bool) -> None:
        pausing.set()
        await go.wait()
        await original(sandbox_id, generation, memory=memory)

    monkeypatch.setattr(node, "pause", slow)
    pause = asyncio.create_task(control.sandboxes.pause(who, made.sandbox_id))
    await pausing.wait()
    timeout = asyncio.create_task(control.sandboxes.set_timeout(who, made.sandbox_id, 60))
    go.set()
    await pause
    with refused(Code.NOT_FOUND, "paused"):
        await timeout


async def test_waking_gives_no_more_than_the_team_may_have(control: Control, who: Principal) -> None:
    await control.teams.change_limits(who.team_id, lambda _: Limits(max_timeout=60))
    made = await sleeper(control, who)
    await control.sandboxes.wake(made.sandbox_id)
    assert (await control.sandboxes.get(who, made.sandbox_id)).end_at - now() <= timedelta(seconds=60)


async def test_a_paused_sandbox_with_memory_counts_for_its_team(control: Control, who: Principal) -> None:
    await control.teams.change_limits(who.team_id, lambda _: Limits(max_sandboxes=1))
    made = await control.sandboxes.create(who, wanted())
    await control.sandboxes.pause(who, made.sandbox_id)
    with refused(Code.RATE_LIMITED, "paused with memory"):
        await control.sandboxes.create(who, wanted())
    await control.sandboxes.connect(who, made.sandbox_id, 30)
    await control.sandboxes.pause(who, made.sandbox_id, memory=False)
    await control.sandboxes.create(who, wanted())


async def test_a_kill_during_which_the_launcher_ends_is_tried_again(
    control: Control, node: FakeNode, who: Principal, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = node.kill

    async def gone(_sandbox_id: str) -> bool:
        monkeypatch.setattr(node, "kill", original)
        raise ConnectionError("the launcher has ended")

    monkeypatch.setattr(node, "kill", gone)
    with pytest.raises(ConnectionError):
        await control.sandboxes.kill(who, sandbox.sandbox_id)
    await node.gone(sandbox.sandbox_id)


RACERS: dict[str, Callable[[Control, Principal, str], Awaitable[object]]] = {
    "pause": lambda c, who, name: c.sandboxes.pause(who, name),
    "pause without memory": lambda c, who, name: c.sandboxes.pause(who, name, memory=False),
    "connect": lambda c, who, name: c.sandboxes.connect(who, name, 60),
    "kill": lambda c, who, name: c.sandboxes.kill(who, name),
    "timeout": lambda c, who, name: c.sandboxes.set_timeout(who, name, 60),
    "expire": lambda c, who, name: c.pauses.expire(name),
}


@pytest.fixture(params=itertools.product(RACERS, RACERS), ids=" and ".join)
def racers(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("paused", [False, True])
async def test_two_at_once_end_in_a_legal_state(
    control: Control, who: Principal, sandbox: Sandbox, racers: tuple[str, str], paused: bool
) -> None:
    name = sandbox.sandbox_id
    if paused:
        await control.sandboxes.pause(who, name)
    racing = (RACERS[racer](control, who, name) for racer in racers)
    results = await asyncio.gather(*racing, return_exceptions=True)
    codes = {result.code for result in results if isinstance(result, BermError)}
    assert all(isinstance(result, BermError) for result in results if isinstance(result, Exception)), results
    assert codes <= {Code.NOT_FOUND, Code.CONFLICT}
    there = control.sandboxes.endpoint(name, 80) is not None
    if "kill" in racers:
        assert (there, await listed(control, who)) == (False, [])
    else:
        assert there == ((await control.sandboxes.get(who, name)).state is State.RUNNING)
