"""What sandboxes use, as the official SDK tells it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from e2b import AsyncSandbox, Sandbox, SandboxMetrics, SandboxNotFoundException

from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]

MIB = 1 << 20
HOLD = "python3 -c 'import time; held = bytearray(200 << 20); print(len(held), flush=True); time.sleep(1000)'"


def wait(sandbox: Sandbox, wanted: Callable[[SandboxMetrics], bool]) -> SandboxMetrics:
    """The first measurement that is as wanted; a test that waits for ever is ended from outside."""
    while True:
        for metric in sandbox.get_metrics():
            assert 0 <= metric.cpu_used_pct <= 100
            assert 0 <= metric.mem_used <= metric.mem_total == 1024 * MIB
            assert 0 <= metric.mem_cache <= metric.mem_total
            assert 0 <= metric.disk_used <= metric.disk_total == 10240 * MIB
            assert metric.cpu_count == 2
            if wanted(metric):
                return metric
        time.sleep(0.3)


def test_a_sandbox_that_does_nothing(sandbox: Sandbox) -> None:
    metric = wait(sandbox, lambda _: True)
    assert metric.mem_used < 100 * MIB
    assert metric.disk_used < 10 * MIB
    assert abs(metric.timestamp - datetime.now(UTC)) < timedelta(seconds=30)


def test_what_it_does_shows(create: Callable[..., Sandbox]) -> None:
    sandbox = create(timeout=600)
    burning = [sandbox.commands.run("while :; do :; done", background=True, timeout=0) for _ in range(4)]
    # On a machine that does nothing else it is 100; tests share theirs.
    wait(sandbox, lambda metric: metric.cpu_used_pct > 35)
    for command in burning:
        command.kill()
    sandbox.commands.run(HOLD, background=True, timeout=0)
    wait(sandbox, lambda metric: metric.mem_used > 200 * MIB)
    sandbox.commands.run("head -c 100M /dev/urandom > written")
    assert wait(sandbox, lambda metric: metric.disk_used > 100 * MIB).disk_used < 110 * MIB


def test_a_file_in_memory_is_used_memory_and_a_read_file_is_cache(sandbox: Sandbox) -> None:
    sandbox.commands.run("head -c 100M /dev/zero > /dev/shm/held; head -c 150M /dev/zero > read")
    metric = wait(sandbox, lambda metric: metric.mem_used > 100 * MIB and metric.mem_cache > 100 * MIB)
    assert metric.mem_used < 200 * MIB


def test_a_range(sandbox: Sandbox) -> None:
    first = wait(sandbox, lambda _: True).timestamp
    assert Sandbox.get_metrics(sandbox.sandbox_id, end=first)[0].timestamp == first
    later = first + timedelta(seconds=1)
    while not (found := Sandbox.get_metrics(sandbox.sandbox_id, start=later)):
        time.sleep(0.3)
    assert all(metric.timestamp > first for metric in found)
    assert sandbox.get_metrics(start=datetime.now(UTC) + timedelta(hours=1)) == []
    assert sandbox.get_metrics(end=first - timedelta(hours=1)) == []


async def test_of_the_asynchronous_sdk(asandbox: AsyncSandbox) -> None:
    while not (found := await asandbox.get_metrics()):
        pass
    assert await AsyncSandbox.get_metrics(asandbox.sandbox_id, end=found[0].timestamp)
    assert found[0].disk_total == 10240 * MIB


def test_of_a_sandbox_that_is_gone(sandbox: Sandbox) -> None:
    sandbox.kill()
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_metrics()


def test_they_are_there_after_a_restart(sandbox: Sandbox, berm: Instance) -> None:
    before = wait(sandbox, lambda _: True)
    berm.berm("down")
    berm.berm("up")
    assert sandbox.get_metrics()[0] == before
