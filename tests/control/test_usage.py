import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.control.usage import Sampler, measurements
from berm.models import Principal, Resources, Usage
from berm.store.database import Database
from tests.control.asking import wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode

MIB = 1 << 20
FIRST = Usage(at=1000.0, cpu_seconds=1.0, memory=100 * MIB, cache=10 * MIB, disk=5 * MIB)
RESOURCES = Resources(cpu_count=2, memory_mb=512, disk_mb=1024)


def test_the_first_sample_only_tells_where_processor_time_began() -> None:
    assert measurements([], RESOURCES) == []
    assert measurements([FIRST], RESOURCES) == []
    [measured] = measurements([FIRST, replace(FIRST, at=1005.0, cpu_seconds=6.0)], RESOURCES)
    # Five seconds of the ten that two processors have in five.
    assert (measured.cpu_percent, measured.cpu_count, measured.at) == (50.0, 2, 1005.0)
    assert (measured.memory, measured.memory_total) == (100 * MIB, 512 * MIB)
    assert (measured.cache, measured.disk, measured.disk_total) == (10 * MIB, 5 * MIB, 1024 * MIB)


@pytest.mark.parametrize(
    ("cpu_seconds", "percent"), [(1.0, 0.0), (1000.0, 100.0), (0.5, 5.0)], ids=["idle", "too much", "anew"]
)
def test_nothing_is_out_of_range(cpu_seconds: float, percent: float) -> None:
    huge = Usage(1005.0, cpu_seconds, 1 << 50, 1 << 50, 1 << 50)
    [measured] = measurements([FIRST, huge], RESOURCES)
    assert measured.cpu_percent == percent
    assert (measured.memory, measured.disk) == (measured.memory_total, measured.disk_total)
    assert measured.cache == measured.memory_total


def test_two_samples_of_one_moment() -> None:
    assert measurements([FIRST, FIRST], RESOURCES)[0].cpu_percent == 0


def later(seconds: float) -> Usage:
    return replace(FIRST, at=FIRST.at + seconds, cpu_seconds=FIRST.cpu_seconds + seconds)


async def test_a_sandbox_is_sampled_soon_and_then_by_the_period(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox_id = (await control.sandboxes.create(who, wanted())).sandbox_id
    for seconds in (0, 1):
        node.usages[sandbox_id] = later(seconds)
        while control.usage.samples(sandbox_id)[-1:] != [later(seconds)]:
            await asyncio.sleep(0.01)
    node.usages[sandbox_id] = later(6)
    await control.usage.sample([sandbox_id])
    assert control.usage.samples(sandbox_id) == [later(0), later(1), later(6)]


async def test_samples_are_kept_over_a_restart(
    start: Start, control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox_id = (await control.sandboxes.create(who, wanted())).sandbox_id
    node.usages[sandbox_id] = FIRST
    await control.usage.sample([sandbox_id])
    await control.usage.close()
    assert (await start(node)).usage.samples(sandbox_id) == [FIRST]


async def test_of_a_sandbox_that_ended_nothing_is_kept(
    control: Control, node: FakeNode, who: Principal
) -> None:
    sandbox_id = (await control.sandboxes.create(who, wanted())).sandbox_id
    node.usages[sandbox_id] = FIRST
    await control.usage.sample([sandbox_id])
    await control.usage.sweep()
    assert control.usage.samples(sandbox_id) == [FIRST]
    await control.sandboxes.kill(who, sandbox_id)
    await control.usage.sweep()
    assert control.usage.samples(sandbox_id) == []


@pytest.mark.parametrize("memory", [True, False])
async def test_a_paused_sandbox_keeps_its_samples(
    control: Control, node: FakeNode, who: Principal, memory: bool
) -> None:
    sandbox_id = (await control.sandboxes.create(who, wanted())).sandbox_id
    node.usages[sandbox_id] = FIRST
    await control.usage.sample([sandbox_id])
    await control.sandboxes.pause(who, sandbox_id, memory=memory)
    await control.usage.sample([sandbox_id])
    await control.usage.sweep()
    assert control.usage.samples(sandbox_id) == [FIRST]


@pytest.mark.parametrize("content", ["no json\n", "{}\n", '{"sandbox": "i", "recent": 1}\n'])
async def test_a_file_that_cannot_be_read_is_no_obstacle(
    config: Config, node: FakeNode, database: Database, content: str
) -> None:
    file = config.home / "usage.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    sampler = Sampler(node, database, file)
    await sampler.start()
    await sampler.close()
    assert file.read_text() == ""
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_round_that_fails_is_not_the_last(
    control: Control, node: FakeNode, who: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = asyncio.Semaphore(0)

    async def failing(_ids: Collection[str]) -> Mapping[str, Usage]:
        rounds.release()
        raise OSError("no files left")

    monkeypatch.setattr(node, "usage", failing)
    await control.sandboxes.create(who, wanted())
    for _ in range(2):
        await rounds.acquire()
