"""What sandboxes use, as the official SDK tells it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2b import (
    AsyncSandbox,
    Sandbox,
    SandboxMetrics,
    SandboxNotFoundException,
    ServiceBusyException,
)

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
    wait(sandbox, lambda metric: metric.cpu_used_pct < 5)
    assert abs(metric.timestamp - datetime.now(UTC)) < timedelta(seconds=30)


def test_what_it_does_shows(create: Callable[..., Sandbox]) -> None:
    sandbox = create(timeout=600)
    burning = [sandbox.commands.run("while :; do :; done", background=True, timeout=0) for _ in range(4)]
    # On a machine that does nothing else it is 100; that of the tests may do a lot.
    wait(sandbox, lambda metric: metric.cpu_used_pct > 10)
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


def test_a_paused_sandbox_keeps_them(sandbox: Sandbox) -> None:
    wait(sandbox, lambda _: True)
    sandbox.pause()
    before = sandbox.get_metrics()
    assert before
    sandbox.connect()
    while sandbox.get_metrics() == before:
        time.sleep(0.3)
    assert sandbox.get_metrics()[: len(before)] == before


def test_a_machine_that_drains(sandbox: Sandbox, berm: Instance) -> None:
    admin = {"X-Admin-Token": (berm.home / "admin-token").read_text().strip()}
    with httpx.Client(base_url=berm.url, headers=admin) as client:
        [node] = client.get("/nodes").json()
        assert node["status"] == "ready"
        assert node["sandboxCount"] >= 1
        metrics = node["metrics"]
        assert metrics["allocatedCPU"] >= 2
        assert 0 < metrics["memoryUsedBytes"] < metrics["memoryTotalBytes"]
        assert {disk["mountPoint"] for disk in metrics["disks"]} >= {str(berm.pool)}
        try:
            client.post(f"/nodes/{node['id']}", json={"status": "draining"}).raise_for_status()
            with pytest.raises(ServiceBusyException, match="takes no new sandboxes"):
                Sandbox.create(retries=0)
            assert sandbox.commands.run("echo alive").stdout == "alive\n"
        finally:
            client.post(f"/nodes/{node['id']}", json={"status": "ready"}).raise_for_status()
