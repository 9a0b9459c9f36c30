"""A LocalNode over a real launcher, with a root of busybox and musl: no Python, no glibc, no bash inside."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from berm import ids
from berm.config import Config, load
from berm.errors import BermError, Code
from berm.models import Resources, SandboxSpec
from berm.node import daemon
from berm.node.local import LocalNode
from tests.images.small import busybox_rootfs
from tests.instance import Instance, end

pytestmark = pytest.mark.root
LAYER = "small"


@pytest.fixture
def machine(tmp_path: Path) -> Config:
    return load(
        {
            "BERM_HOME": str(tmp_path),
            "BERM_SUBNET": "10.218.0.0/20",
            "BERM_UID_BASE": str(0x58000000),
            "BERM_WARM_SLOTS": "2",
            "BERM_POOL_GB": "1",
        }
    )


@pytest.fixture
async def node(machine: Config) -> AsyncIterator[LocalNode]:
    node = LocalNode(machine)
    await node.start()
    busybox_rootfs(node.layer_path(LAYER))
    yield node
    await node.close()
    await daemon.tear_down(machine)


def spec(*layers: str) -> SandboxSpec:
    return SandboxSpec(
        sandbox_id=ids.sandbox_id(),
        layers=layers or (LAYER,),
        resources=Resources(memory_mb=256, disk_mb=64),
        allow_internet=False,
        env={"COLOUR": "green"},
        user="root",
        workdir="/",
        access_token=ids.access_token(),
    )


def storage(machine: Config) -> set[str]:
    """The sandboxes that hold files."""
    return {path.name for path in (machine.pool_dir / "sandboxes").glob("[!.]*")}


async def said(node: LocalNode, sandbox_id: str, script: str) -> list[str]:
    lines: list[str] = []
    assert await node.run(sandbox_id, ["/bin/sh", "-c", script], lines.append) == 0
    return lines


async def test_a_sandbox_runs_answers_and_leaves_nothing(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    running = await node.create(wanted)
    assert node.running() == {wanted.sandbox_id: running}
    assert await said(node, wanted.sandbox_id, "echo $COLOUR; id -u") == ["green", "0"]
    assert await node.run(wanted.sandbox_id, ["/bin/sh", "-c", "exit 3"], print) == 3
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
    node.layer_path("file").write_text("not a directory")
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


async def test_what_a_sandbox_wrote_becomes_a_layer(node: LocalNode) -> None:
    first = spec()
    await node.create(first)
    await said(node, first.sandbox_id, "echo kept > /etc/kept; rm /etc/group; chown 33:44 /etc/kept")
    layer = await node.commit(first.sandbox_id)
    assert (node.layer_path(layer) / "etc/kept").stat().st_uid == 33
    second = spec(LAYER, layer)
    await node.create(second)
    script = "cat /etc/kept; stat -c %u:%g /etc/kept; ls /etc/group 2>/dev/null || echo gone"
    assert await said(node, second.sandbox_id, script) == ["kept", "33:44", "gone"]


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


async def test_a_launcher_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = replace(load({"BERM_HOME": str(tmp_path)}), subnet="10.218.0.0/20", uid_base=-1, warm_slots=1)
    (tmp_path / "pool").write_text("in the way")
    with pytest.raises(BermError, match=r"the launcher did not start: .*exists"):
        await LocalNode(config).start()
