import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from berm.config import Config
from berm.errors import BermError, Code
from berm.node.local import LocalNode
from tests.instance import Instance, end
from tests.node.sandboxes import said, shell, spec, storage

pytestmark = pytest.mark.root


async def test_a_sandbox_runs_answers_and_leaves_nothing(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    running = await node.create(wanted)
    assert node.running() == {wanted.sandbox_id: running}
    assert await said(node, wanted.sandbox_id, "echo $COLOUR; id -u") == ["green", "0"]
    assert await node.run(wanted.sandbox_id, shell("exit 3"), print) == 3
    assert [line.level for line in await node.logs(wanted.sandbox_id)][:1] == ["info"]
    assert await node.kill(wanted.sandbox_id)
    assert not await node.kill(wanted.sandbox_id)
    assert node.running() == {}
    assert storage(machine) == set()


async def test_an_id_is_taken_once(node: LocalNode) -> None:
    wanted = spec()
    await node.create(wanted)
    with pytest.raises(BermError) as failure:
        await node.create(wanted)
    assert failure.value.code is Code.CONFLICT
    assert await said(node, wanted.sandbox_id, "echo alive") == ["alive"]


@pytest.mark.parametrize("layer", ["nowhere", "../../etc", "small/../small", ""])
async def test_a_layer_that_is_not_there_starts_nothing(node: LocalNode, machine: Config, layer: str) -> None:
    with pytest.raises(BermError, match="did not start"):
        await node.create(spec(layer))
    assert node.running() == {}
    assert storage(machine) == set()
    assert await node.create(spec())


async def test_a_root_that_cannot_be_entered_says_which_step_failed(node: LocalNode) -> None:
    (await node.new_layer("file")).write_text("not a directory")
    with pytest.raises(BermError, match="could not put the root together"):
        await node.create(spec("file"))


async def test_a_creation_that_is_given_up_leaves_nothing(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    creating = asyncio.ensure_future(node.create(wanted))
    while not storage(machine):
        await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    while storage(machine):
        await asyncio.sleep(0)
    assert node.running() == {}


async def test_everyone_who_watches_hears_of_an_end(node: LocalNode, machine: Config) -> None:
    watchers = [node.ended(), node.ended()]
    wanted = spec()
    await node.create(wanted)
    end(Instance(machine.home, {}).init_pid(wanted.sandbox_id))
    assert [await anext(watcher) for watcher in watchers] == [wanted.sandbox_id] * 2
    assert storage(machine) == set()


async def test_another_node_adopts_what_runs(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    running = await node.create(wanted)
    other = LocalNode(machine)
    await other.start()
    assert other.running() == {wanted.sandbox_id: running}
    over = other.ended()
    await node.kill(wanted.sandbox_id)
    assert await anext(over) == wanted.sandbox_id
    await other.close()


async def test_a_launcher_that_ended_is_started_again(node: LocalNode, machine: Config) -> None:
    before = spec()
    await node.create(before)
    end(Instance(machine.home, {}).launcher_pid())
    after = spec()
    await node.create(after)
    assert set(node.running()) == {before.sandbox_id, after.sandbox_id}
    assert await said(node, before.sandbox_id, "echo alive") == ["alive"]


async def test_a_launcher_that_cannot_start_says_why(machine: Config, tmp_path: Path) -> None:
    config = replace(machine, uid_base=-1, warm_slots=1)
    (tmp_path / "pool").write_text("in the way")
    with pytest.raises(BermError, match=r"the launcher did not start: .*exists"):
        await LocalNode(config).start()


async def test_what_a_sandbox_uses_is_told_while_it_runs(node: LocalNode) -> None:
    wanted = spec()
    await node.create(wanted)
    first = (await node.usage([wanted.sandbox_id, "unknown"]))[wanted.sandbox_id]
    await said(node, wanted.sandbox_id, "head -c 20000000 /dev/zero > /written")
    usage = await node.usage([wanted.sandbox_id])
    second = usage[wanted.sandbox_id]
    assert second.cpu_seconds > first.cpu_seconds > 0
    assert second.at > first.at
    assert 19_900_000 < second.disk - first.disk < 21_000_000
    assert 0 < second.memory < 100 << 20
    await node.kill(wanted.sandbox_id)
    assert await node.usage([wanted.sandbox_id]) == {}


async def test_the_end_of_a_log_outlives_its_sandbox(node: LocalNode) -> None:
    wanted = spec()
    await node.create(wanted)
    await said(node, wanted.sandbox_id, "echo last words")
    before = await node.logs(wanted.sandbox_id)
    assert "last words" in [line.message for line in before]
    await node.kill(wanted.sandbox_id)
    assert await node.logs(wanted.sandbox_id) == before
    assert await node.logs("unknown") == []
