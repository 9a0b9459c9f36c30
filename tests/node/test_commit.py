import asyncio
import os
import stat
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from berm.config import Config
from berm.errors import BermError, Code
from berm.launcher import cgroup
from berm.models import Layer, Mount, Resources, SandboxSpec
from berm.node import daemon, layers, starting
from berm.node.interface import Command
from berm.node.layers import branch as prepared
from berm.node.local import LocalNode
from tests.instance import Instance, end
from tests.node.sandboxes import LAYER, layer_of, ran, refused, said, shell, spec, storage, unfinished

pytestmark = pytest.mark.root

Step = Callable[..., Coroutine[Any, Any, Any]]


async def committed(node: LocalNode, wanted: SandboxSpec, script: str) -> Layer:
    await node.create(wanted)
    await said(node, wanted.sandbox_id, script)
    return await node.commit(wanted.sandbox_id)


def groups(machine: Config) -> set[str]:
    """The control groups that there are, by slot."""
    return cgroup.detect(daemon.instance(machine.home)).names()


def held(machine: Config) -> set[str]:
    """The slots that have storage."""
    return {path.read_text() for path in (machine.pool_dir / "sandboxes").glob("*/slot")}


@pytest.mark.parametrize("kept", [True, False])
async def test_what_a_sandbox_wrote_becomes_a_layer(node: LocalNode, machine: Config, kept: bool) -> None:
    script = (
        "echo kept > /etc/kept; rm /etc/group; chown 33:44 /etc/kept; dd if=/dev/zero of=/z bs=1k count=50"
    )
    layer = await committed(node, spec(kept=kept), script)
    assert 50 << 10 < layer.size < 51 << 10
    assert (node.layer_path(layer.name) / "etc/kept").stat().st_uid == 33
    assert node.has_layer(layer.name)
    assert set(node.layers()) == {LAYER, layer.name}
    script = "cat /etc/kept; stat -c %u:%g /etc/kept; ls /etc/group 2>/dev/null || echo gone"
    assert await ran(node, spec(LAYER, layer.name), script) == ["kept", "33:44", "gone"]
    assert storage(machine) | unfinished(machine) == set()


async def test_a_layer_is_what_was_written_and_nothing_else(node: LocalNode) -> None:
    layer = await committed(node, spec(kept=True), "echo x > /written")
    home = node.layer_path(layer.name).parent
    assert sorted(path.name for path in home.iterdir()) == ["below", "tree"]
    names = {path.name for path in (home / "tree").iterdir()}
    assert names == {"written", "etc"}


UNCHANGED = {
    "nothing ran": None,
    "reading": "cat /etc/passwd /etc/hosts; ls -R /bin > /dev/null; : < /etc/group",
    "only memory": "echo x > /dev/shm/x; mkdir /dev/shm/y",
}


@pytest.mark.parametrize("name", UNCHANGED)
async def test_nothing_written_is_no_layer(node: LocalNode, machine: Config, name: str) -> None:
    wanted, script = spec(kept=True), UNCHANGED[name]
    await node.create(wanted)
    if script:
        await said(node, wanted.sandbox_id, script)
    assert await node.commit(wanted.sandbox_id) == Layer("", 0)
    assert set(node.layers()) == {LAYER}
    assert storage(machine) | unfinished(machine) == set()


CHANGED = {
    "a mode": "chmod 700 /etc",
    "an owner": "chown 5 /etc/hosts",
    "a time": "touch -d 2001-01-01 /etc/hosts",
    "a deletion": "rm /etc/group",
    "one of berm's files": "echo 127.0.0.1 own >> /etc/hosts",
    "a name": "mv /etc/hosts /etc/hosts2 && mv /etc/hosts2 /etc/hosts",
}


@pytest.mark.parametrize("name", CHANGED)
async def test_the_smallest_change_is_a_layer(node: LocalNode, name: str) -> None:
    assert (await committed(node, spec(kept=True), CHANGED[name])).name


async def test_all_that_a_file_is_comes_along(node: LocalNode) -> None:
    tree = node.layer_path(LAYER)
    (tree / "srv").mkdir()
    for name in ("marked", "whole/old", "linked"):
        (tree / "srv" / name).parent.mkdir(exist_ok=True)
        (tree / "srv" / name).write_text("old")
    os.setxattr(tree / "srv/marked", "user.colour", b"green")
    script = """
        cd /srv; chown 7:8 marked; chmod 4755 marked
        rm -r whole; mkdir whole; echo new > whole/new
        ln linked again; ln -s nowhere link; mkfifo pipe
        touch -d '2001-02-03 04:05:06' dated
        dd if=/dev/zero of=sparse bs=1 count=1 seek=100M
    """
    layer = await committed(node, spec(kept=True), script)
    made = node.layer_path(layer.name) / "srv"
    assert os.getxattr(made / "marked", "user.colour") == b"green"
    status = (made / "marked").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4755, 7, 8)
    assert (made / "linked").stat().st_ino == (made / "again").stat().st_ino
    assert (made / "dated").stat().st_mtime == 981173106
    assert layer.size < 1 << 20
    script = """
        cd /srv; ls whole; readlink link
        [ -p pipe ] && [ linked -ef again ] && cat again; echo; wc -c < sparse
    """
    assert await ran(node, spec(LAYER, layer.name), script) == ["new", "nowhere", "old", str((100 << 20) + 1)]


async def test_files_of_different_layers_are_different_files(node: LocalNode) -> None:
    """On btrfs each subvolume numbers its files for itself, and overlayfs shows the numbers as they are."""
    layers = [LAYER]
    for number in range(4):
        script = f"for i in $(seq 30); do echo {number}-$i > /own-{number}-$i; done"
        layers.append(await layer_of(node, script, *layers))
    script = """
        for i in $(seq 100); do echo upper > /upper-$i; done
        stat -c %d:%i /own-* /upper-* /bin/busybox /etc/passwd | sort | uniq -d
        cp /own-0-1 /own-3-1; cat /own-3-1
    """
    assert await ran(node, spec(*layers, kept=True), script) == ["0-1"]


async def test_the_limit_is_for_what_a_sandbox_writes_itself(node: LocalNode) -> None:
    fill = "dd if=/dev/urandom of=/{} bs=1M count=40 2>/dev/null && sync"
    first = await layer_of(node, fill.format("a"))
    second = await layer_of(node, fill.format("b"), LAYER, first)
    wanted = spec(LAYER, first, second, kept=True)
    await node.create(wanted)
    lines: list[str] = []
    command = shell("dd if=/dev/urandom of=/c bs=1M count=100")
    assert await node.run(wanted.sandbox_id, command, lines.append) == 1
    assert any("Disk quota exceeded" in line or "No space left" in line for line in lines)
    assert await said(node, wanted.sandbox_id, "rm /c; wc -c < /a; wc -c < /b") == [str(40 << 20)] * 2


async def test_what_still_writes_is_ended_first(node: LocalNode) -> None:
    wanted = spec(kept=True)
    await node.create(wanted)
    await node.begin(wanted.sandbox_id, shell("i=0; while :; do i=$((i+1)); echo $i > /count; done"))
    while not await said(node, wanted.sandbox_id, "cat /count 2>/dev/null || true"):
        pass
    layer = await node.commit(wanted.sandbox_id)
    count = node.layer_path(layer.name) / "count"
    before = count.read_text()
    await node.settle()
    assert count.read_text() == before
    assert node.running() == {}


async def test_an_ended_sandbox_cannot_be_kept_or_used(node: LocalNode) -> None:
    wanted = spec(kept=True)
    await node.create(wanted)
    await node.kill(wanted.sandbox_id)
    for call in (
        node.commit(wanted.sandbox_id),
        node.begin(wanted.sandbox_id, shell("true")),
        node.run(wanted.sandbox_id, shell("true"), print),
    ):
        with refused(Code.UNAVAILABLE, "has ended"):
            await call
    assert await node.kill(wanted.sandbox_id) is False


async def test_layers_are_dropped_whatever_they_are(node: LocalNode, machine: Config) -> None:
    plain = machine.pool_dir / "layers/plain/tree/deep"
    plain.mkdir(parents=True)
    made = await layer_of(node, "mkdir -p /a/b; chmod 0 /a; echo x > /f")
    await node.drop_layers(["plain", made, "never-there"])
    assert set(node.layers()) == {LAYER}
    assert not node.has_layer(made)
    assert unfinished(machine) == set()
    assert await ran(node, spec(), "echo well") == ["well"]


async def test_a_layer_outlives_the_one_below(node: LocalNode) -> None:
    first = await layer_of(node, "echo one > /one")
    second = await layer_of(node, "echo two > /two", LAYER, first)
    await node.drop_layers([first])
    assert (node.layer_path(second) / "two").read_text() == "two\n"
    third = await layer_of(node, "echo three > /three", LAYER, second)
    assert await ran(node, spec(LAYER, second, third), "cat /two /three") == ["two", "three"]


async def test_what_a_killed_server_left_is_swept(node: LocalNode, machine: Config) -> None:
    layers = machine.pool_dir / "layers"
    (layers / ".partial-x/tree").mkdir(parents=True)
    (layers / "pulled/.partial-y").mkdir(parents=True)
    (layers / "nothing").mkdir()
    (machine.pool_dir / "caches/.half").mkdir()
    prepared(machine.pool_dir, LAYER, machine.pool_dir / "branches" / "iabc")
    whole = await layer_of(node, "echo x > /x")
    other = LocalNode(machine)
    await other.start()
    await other.close()
    assert {path.name for path in layers.iterdir()} == {LAYER, whole}
    assert unfinished(machine) == set()


@pytest.mark.parametrize("moment", ["at once", "when it has ended"])
async def test_a_launcher_that_is_killed_meanwhile(node: LocalNode, machine: Config, moment: str) -> None:
    wanted = spec(kept=True)
    await node.create(wanted)
    await said(node, wanted.sandbox_id, "echo x > /x")
    launcher, over = Instance(machine.home, {}).launcher_pid(), node.ended()
    committing = asyncio.ensure_future(node.commit(wanted.sandbox_id))
    if moment == "when it has ended":
        await anext(over)
    end(launcher)
    try:
        assert (node.layer_path((await committing).name) / "x").read_text() == "x\n"
    except BermError as failure:
        assert failure.code in (Code.INTERNAL, Code.UNAVAILABLE)
    await node.kill(wanted.sandbox_id)
    assert await ran(node, spec(), "echo well") == ["well"]
    while storage(machine):
        await asyncio.sleep(0)
    assert node.running() == {}


STAGES = ("log", "upper", "rw")


@pytest.mark.parametrize("stage", range(len(STAGES) + 1))
async def test_half_kept_storage_is_swept_with_its_slot(node: LocalNode, machine: Config, stage: int) -> None:
    """What a launcher leaves that is killed at each point of `keep`."""
    wanted = spec(kept=True)
    await node.create(wanted)
    await said(node, wanted.sandbox_id, "echo x > /x")
    directory = machine.pool_dir / "sandboxes" / wanted.sandbox_id
    slot = (directory / "slot").read_text()
    await node.close()
    end(Instance(machine.home, {}).launcher_pid())
    end(Instance(machine.home, {}).init_pid(wanted.sandbox_id))
    steps = (
        (directory / "log").unlink,
        lambda: (directory / "rw/upper").rename(directory / "tree"),
        lambda: (directory / "rw").rename(directory / "rw.gone"),
    )
    for step in steps[:stage]:
        step()
    again = LocalNode(machine)
    await again.start()
    assert storage(machine) == set()
    assert await ran(again, spec(), "echo well") == ["well"]
    assert slot not in held(machine)
    await again.close()


async def test_a_sandbox_that_ends_meanwhile_is_told_at_once(node: LocalNode, machine: Config) -> None:
    wanted = spec(kept=True)
    await node.create(wanted)
    running = asyncio.ensure_future(node.run(wanted.sandbox_id, shell("echo on; sleep 1000"), print))
    await said(node, wanted.sandbox_id, "until ps | grep -q '[s]leep 1000'; do :; done")
    end(Instance(machine.home, {}).init_pid(wanted.sandbox_id))
    with refused(Code.UNAVAILABLE, "ended while the command ran"):
        await running
    await node.kill(wanted.sandbox_id)
    while storage(machine):
        await asyncio.sleep(0)


async def test_a_command_may_kill_all_that_it_can(node: LocalNode) -> None:
    wanted = spec(kept=True)
    await node.create(wanted)
    await node.begin(wanted.sandbox_id, shell("sleep 1000"))
    await node.run(wanted.sandbox_id, shell("echo x > /x; kill -9 -1; sleep 0; exit 0"), print)
    assert (await node.commit(wanted.sandbox_id)).name


async def test_a_command_that_forks_without_end(node: LocalNode, machine: Config) -> None:
    wanted = spec(kept=True, resources=Resources(memory_mb=256, disk_mb=64, pids=200))
    await node.create(wanted)
    await node.begin(wanted.sandbox_id, shell("bomb() { bomb | bomb & }; bomb"))
    try:
        await node.run(wanted.sandbox_id, shell("true"), print)
    except BermError as failure:
        assert failure.code is Code.UNAVAILABLE
        assert "limit of processes" in failure.message
    assert (await node.commit(wanted.sandbox_id)) == Layer("", 0)
    assert storage(machine) == set()


async def test_a_command_that_needs_too_much_memory(node: LocalNode) -> None:
    wanted = spec(kept=True, resources=Resources(memory_mb=64, disk_mb=64))
    await node.create(wanted)
    command = shell("dd if=/dev/zero of=/dev/null bs=200M count=1")
    assert await node.run(wanted.sandbox_id, command, print) != 0
    assert await said(node, wanted.sandbox_id, "echo well") == ["well"]


async def test_memory_that_no_command_holds_ends_in_a_sentence(node: LocalNode) -> None:
    """What fills the limit is a file in memory: the kernel kills one process after another for nothing."""
    wanted = spec(mounts=(Mount("/m", size_mb=500),), resources=Resources(memory_mb=64, disk_mb=64))
    await node.create(wanted)
    try:
        assert await node.run(wanted.sandbox_id, shell("dd if=/dev/zero of=/m/x bs=1M"), print) != 0
    except BermError as failure:
        assert failure.code is Code.UNAVAILABLE
        assert "ended while the command ran" in failure.message


USERS = {
    "root": ("0:0", "/root"),
    "0": ("0:0", "/root"),
    "1234": ("1234:0", "/"),
    "1234:77": ("1234:77", "/"),
    "root:staff": ("0:50", "/root"),
    "app": ("500:501", "/srv/app"),
    "app:staff": ("500:50", "/srv/app"),
    "500:0": ("500:0", "/srv/app"),
}


async def test_users_are_written_as_in_images(node: LocalNode) -> None:
    etc = node.layer_path(LAYER) / "etc"
    for name, line in (("passwd", "app:x:500:501::/srv/app:/bin/none\n"), ("group", "staff:x:50:\n")):
        with (etc / name).open("a") as file:
            file.write(line)
    wanted = spec()
    await node.create(wanted)
    for user, (ids, home) in USERS.items():
        lines: list[str] = []
        command = shell("echo $(id -u):$(id -g) $HOME $PWD", user=user, workdir="/tmp")
        assert await node.run(wanted.sandbox_id, command, lines.append) == 0
        assert lines == [f"{ids} {home} /tmp"], user


@pytest.mark.parametrize("user", ["nobody-here", "app", "root:nobody-here", "65535", "-1", "99999999999"])
async def test_a_user_who_is_not_there(node: LocalNode, user: str) -> None:
    wanted = spec()
    await node.create(wanted)
    with refused(Code.INVALID_ARGUMENT, f"^unauthenticated: invalid username: '{user}'$"):
        await node.run(wanted.sandbox_id, shell("true", user=user), print)


async def test_a_directory_or_program_that_is_not_there(node: LocalNode) -> None:
    wanted = spec()
    await node.create(wanted)
    with refused(Code.INVALID_ARGUMENT, "cwd '/nowhere' does not exist"):
        await node.run(wanted.sandbox_id, shell("true", workdir="/nowhere"), print)
    with refused(Code.INVALID_ARGUMENT, "command 'nothing' is not found"):
        await node.run(wanted.sandbox_id, Command(("nothing",)), print)


async def test_no_shell_comes_between(node: LocalNode) -> None:
    wanted = spec()
    await node.create(wanted)
    await said(node, wanted.sandbox_id, "mkdir -p /root; echo 'echo profile' > /etc/profile")
    lines: list[str] = []
    command = Command(("sh", "-c", 'echo "$0 $1 $A"; pwd', "$HOME", "*"), env={"A": "a b"}, workdir="/etc")
    assert await node.run(wanted.sandbox_id, command, lines.append) == 0
    assert lines == ["$HOME * a b", "/etc"]


@pytest.mark.parametrize("moment", ["before", "while", "after"])
@pytest.mark.parametrize("step", [starting.ask, starting.introduction, starting.ready, layers.remove])
async def test_a_creation_that_is_given_up_leaves_nothing(
    node: LocalNode, machine: Config, monkeypatch: pytest.MonkeyPatch, step: Step, moment: str
) -> None:
    """Around each of its steps, down to the last, when only what was prepared is put away."""

    async def given_up(*args: Any) -> Any:
        monkeypatch.undo()
        if moment == "before":
            creating.cancel()
        if moment == "while":
            asyncio.get_running_loop().call_soon(creating.cancel)
        try:
            return await step(*args)
        finally:
            if moment == "after":
                creating.cancel()

    monkeypatch.setattr(f"{step.__module__}.{step.__name__}", given_up)
    creating = asyncio.ensure_future(node.create(spec(kept=True)))

    with pytest.raises(asyncio.CancelledError):
        await creating
    assert storage(machine) | unfinished(machine) == set()
    assert node.running() == {}
