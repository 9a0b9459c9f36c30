"""Copies of what a sandbox wrote, where the file system shares blocks and where it does not."""

import os
from pathlib import Path

import pytest

from berm.config import Config
from berm.errors import BermError, Code
from berm.node import daemon, layers
from berm.node.local import LocalNode
from tests.node.sandboxes import LAYER, ran, refused, said, spec, unfinished

pytestmark = pytest.mark.root

READ = "cat /kept; stat -c '%u:%g %a %h' /kept; readlink /link; ls /etc/group 2>/dev/null || echo gone"
WRITE = "echo kept > /kept; chown 33:44 /kept; chmod 640 /kept; ln /kept /twin; ln -s /nowhere /link"
WRITTEN = ["kept", "33:44 640 2", "/nowhere", "gone"]


async def test_a_sandbox_begins_with_what_another_wrote(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    await node.create(wanted)
    await said(node, wanted.sandbox_id, f"{WRITE}; rm /etc/group")
    layer = await node.snapshot(wanted.sandbox_id)
    await said(node, wanted.sandbox_id, "echo later > /kept; mkdir /etc/group")
    assert await ran(node, spec(LAYER, written=layer.name), READ) == WRITTEN
    assert await ran(node, spec(LAYER, layer.name), READ) == WRITTEN
    assert [path.name for path in node.layer_path(layer.name).parent.iterdir()] == ["tree"]
    assert unfinished(machine) == set()


async def test_a_plain_pool_copies(tmp_path: Path) -> None:
    storage, pool = tmp_path / "storage", tmp_path / "pool"
    (pool / "layers").mkdir(parents=True)
    upper = storage / "rw/upper"
    upper.mkdir(parents=True)
    (upper / "file").write_text("kept")
    (upper / "twin").hardlink_to(upper / "file")
    (upper / "link").symlink_to("/etc/passwd")
    os.mknod(upper / "deleted", 0o020000, 0)
    os.setxattr(upper, "user.overlay.opaque", b"y")
    (storage / "log").write_text("said")
    async with layers.copied(pool, "copy") as target:
        await layers.copy(storage, target)
    assert [path.name for path in (pool / "layers/copy").iterdir()] == ["tree"]
    await layers.begin_from(pool, "copy", tmp_path / "branch")
    found = tmp_path / "branch/rw/upper"
    assert (found / "file").read_text() == "kept"
    assert (found / "twin").stat().st_nlink == 2
    assert (found / "link").is_symlink()
    assert (found / "deleted").is_char_device()
    assert os.getxattr(found, "user.overlay.opaque") == b"y"


async def test_a_sandbox_that_ended_has_no_snapshot(node: LocalNode, machine: Config) -> None:
    wanted = spec()
    await node.create(wanted)
    await node.kill(wanted.sandbox_id)
    with refused(Code.NOT_FOUND, "is not there"):
        await node.snapshot(wanted.sandbox_id)
    assert unfinished(machine) == set()


async def test_one_that_ends_while_it_is_stopped_leaves_nothing(
    node: LocalNode, machine: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = spec()
    await node.create(wanted)
    taken = layers.copy

    async def copy(storage: Path, target: Path) -> None:
        await node.kill(wanted.sandbox_id)
        await taken(storage, target)

    monkeypatch.setattr(layers, "copy", copy)
    with pytest.raises(BermError):
        await node.snapshot(wanted.sandbox_id)
    assert unfinished(machine) == set()
    assert node.running() == {}


async def test_one_that_a_snapshot_had_stopped_goes_on_after_a_crash(
    node: LocalNode, machine: Config
) -> None:
    wanted = spec(access_token=None)
    await node.create(wanted)
    client = await daemon.connect(machine, lambda: None)
    frozen = False
    while not frozen:
        frozen = (await client.call("freeze", sandbox_id=wanted.sandbox_id, frozen=True))[0]["frozen"]
    client.close()
    again = LocalNode(machine)
    await again.start()
    try:
        assert wanted.sandbox_id in again.running()
        assert await said(again, wanted.sandbox_id, "echo on") == ["on"]
    finally:
        await again.close()
