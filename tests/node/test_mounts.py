import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from berm.config import Config
from berm.errors import Code
from berm.launcher.pool import REST
from berm.models import File, Layer, Mount
from berm.node.interface import Command
from berm.node.local import LocalNode
from tests.instance import Instance
from tests.node.sandboxes import LAYER, layer_of, ran, refused, said, shell, spec, storage, unfinished
from tests.sdk.test_isolation import memory_of

pytestmark = pytest.mark.root


def uploaded(machine: Config, name: str) -> Path:
    """The tree of files that somebody sent."""
    tree = machine.pool_dir / "files" / name
    tree.mkdir(parents=True, exist_ok=True)
    return tree


async def made_layer(node: LocalNode, name: str, *links: tuple[str, str], **files: str) -> str:
    """A layer with files, and links from a name to a target."""
    tree = await node.new_layer(name)
    tree.mkdir()
    for file, content in files.items():
        (tree / file).write_text(content)
    for link, target in links:
        (tree / link).parent.mkdir(parents=True, exist_ok=True)
        (tree / link).symlink_to(target)
    return name


async def test_layers_are_seen_as_one_tree_that_cannot_be_written(node: LocalNode) -> None:
    lower = await layer_of(node, "mkdir /srv; echo low > /srv/a; echo low > /srv/b")
    upper = await layer_of(node, "rm /srv/a; echo up > /srv/b", LAYER, lower)
    both = Mount("/mnt/both", layers=(LAYER, lower, upper), path="srv", read_only=True)
    one = Mount("/mnt/one", layers=(lower,), read_only=True)
    script = """
        cat /mnt/both/* /mnt/one/srv/*; ls /mnt/both
        { touch /mnt/both/x || touch /mnt/one/x; } 2>&1 | grep -c Read-only
    """
    assert await ran(node, spec(mounts=(both, one)), script) == ["up", "low", "low", "b", "2"]


WRITTEN: Mapping[str, Mount] = {
    "a layer": Mount("/it", layers=("one",)),
    "layers": Mount("/it", layers=(LAYER, "one")),
    "received files": Mount("/it", directory="files/team-abc"),
}


@pytest.mark.parametrize("content", WRITTEN)
async def test_what_is_written_to_layers_and_received_files_is_lost(
    node: LocalNode, machine: Config, content: str
) -> None:
    await made_layer(node, "one", f="old", g="old")
    for name in "fg":
        (uploaded(machine, "team-abc") / name).write_text("old")
    trees = [node.layer_path("one"), machine.pool_dir / "files/team-abc"]
    for tree in trees:
        os.chown(tree, 33, 44)
        tree.chmod(0o750)
    wanted = spec(kept=True, mounts=(WRITTEN[content],))
    await node.create(wanted)
    script = (
        "stat -c '%a %u:%g' /it; echo new > /it/f; rm /it/g; mkdir /it/d; ls /it | tr '\\n' ' '; cat /it/f"
    )
    lines = await said(node, wanted.sandbox_id, script)
    layer = await node.commit(wanted.sandbox_id)

    assert lines[0] == "750 33:44"
    assert lines[-1].split()[-1] == "new"
    assert {"d", "f"} <= set(lines[-1].split())
    assert "g" not in lines[-1].split()
    assert layer == Layer("", 0)
    assert [sorted(path.name for path in tree.iterdir()) for tree in trees] == [["f", "g"]] * 2
    assert {(tree / name).read_text() for tree in trees for name in "fg"} == {"old"}
    assert await ran(node, spec(mounts=(WRITTEN[content],)), "cat /it/f; cat /it/g") == ["oldold"]


async def test_what_is_written_to_mounts_is_no_part_of_a_layer(node: LocalNode) -> None:
    """However much and however deep it is."""
    await made_layer(node, "one")
    wanted = spec(kept=True, mounts=(Mount("/it", layers=("one",)),))
    await node.create(wanted)
    script = (
        "echo x > /kept; cd /it; i=0; while [ $i -lt 1500 ]; do i=$((i+1)); mkdir d; cd d; done; echo x > f"
    )
    await said(node, wanted.sandbox_id, script)
    layer = await node.commit(wanted.sandbox_id)
    home = node.layer_path(layer.name).parent
    assert sorted(path.name for path in home.iterdir()) == ["below", "tree"]
    assert {path.name for path in (home / "tree").iterdir()} == {"etc", "kept"}


async def test_what_a_killed_server_left_beside_a_layer_is_swept(node: LocalNode, machine: Config) -> None:
    await made_layer(node, "one", f="content")
    rest = node.layer_path("one").parent / REST
    (rest / "m0/upper/d").mkdir(parents=True)
    again = LocalNode(machine)
    await again.start()
    await again.close()
    assert not rest.exists()
    assert (node.layer_path("one") / "f").read_text() == "content"


@pytest.mark.parametrize("path", ["d", "d/f"])
async def test_a_part_of_a_layer_is_written_to_as_the_whole_is(node: LocalNode, path: str) -> None:
    tree = await node.new_layer("one")
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_text("old\n")
    file = "/it" if path == "d/f" else "/it/f"
    script = f"cat {file}; echo new > {file}; cat {file}"
    assert await ran(node, spec(mounts=(Mount("/it", layers=("one",), path=path),)), script) == ["old", "new"]
    assert (tree / "d/f").read_text() == "old\n"


async def test_what_is_written_to_mounts_counts_for_the_limit(node: LocalNode) -> None:
    await made_layer(node, "one")
    lines = await ran(
        node, spec(mounts=(Mount("/it", layers=("one",)),)), "dd if=/dev/zero of=/it/f bs=1M || true"
    )
    assert "quota exceeded" in lines[0]


@pytest.mark.parametrize("kind", ["layers", "directory", "files"])
async def test_a_single_file(node: LocalNode, machine: Config, kind: str) -> None:
    (uploaded(machine, "team-abc") / "f").write_text("content")
    await made_layer(node, "one", f="content")
    await ran(node, spec(mounts=(Mount("/c", directory="c"),)), "printf content > /c/f")
    content = {
        "layers": Mount("/in/it", layers=("one",), path="f"),
        "directory": Mount("/in/it", directory="c", path="f"),
        "files": Mount("/in/it", directory="files/team-abc", path="f", read_only=True),
    }
    assert await ran(node, spec(mounts=(content[kind],)), "cat /in/it") == ["content"]


async def test_a_directory_is_kept_from_one_sandbox_to_the_next(node: LocalNode, machine: Config) -> None:
    cache = Mount("/var/cache/x", directory="cache", mode=0o750, uid=33, gid=44)
    script = "stat -c '%a %u:%g' /var/cache/x; echo kept > /var/cache/x/f; chown 5:6 /var/cache/x/f"
    assert await ran(node, spec(mounts=(cache,)), script) == ["750 33:44"]
    status = (machine.pool_dir / "caches/cache/f").stat()
    assert (status.st_uid, status.st_gid) == (5, 6)
    again = Mount("/other", directory="cache", read_only=True, mode=0o777)
    script = "cat /other/f; stat -c %a:%u /other; touch /other/g || true"
    lines = await ran(node, spec(mounts=(again,)), script)
    assert lines[:2] == ["kept", "750:33"]
    assert "Read-only" in lines[2]


async def test_memory_has_a_size_a_mode_and_an_owner(node: LocalNode) -> None:
    memory = Mount("/mem", size_mb=2, mode=0o1770, uid=7, gid=8)
    script = """
        stat -c '%a %u:%g' /mem
        dd if=/dev/zero of=/mem/f bs=1M count=3 2>/dev/null || stat -c %s /mem/f
    """
    assert await ran(node, spec(mounts=(memory,)), script) == ["1770 7:8", str(2 << 20)]


async def test_what_is_mounted_gives_no_rights(node: LocalNode, machine: Config) -> None:
    await made_layer(node, "one", f="")
    uploaded(machine, "team-abc")
    mounts = (
        Mount("/a", layers=("one",)),
        Mount("/b", layers=("one", LAYER)),
        Mount("/c", directory="c"),
        Mount("/d", directory="files/team-abc"),
        Mount("/e", size_mb=1),
        Mount("/f", size_mb=1, path="file"),
    )
    lines = await ran(node, spec(mounts=mounts), "grep -E ' /[a-f] ' /proc/mounts")
    assert len(lines) == len(mounts)
    assert all("nosuid,nodev" in line for line in lines)


async def test_mounts_are_made_in_their_order(node: LocalNode) -> None:
    await made_layer(node, "one", f="inner")
    mounts = (
        Mount("/a", size_mb=1),
        Mount("/a/b/c", layers=("one",)),
        Mount("/a/b/c/f", size_mb=1, path="x"),
    )
    assert await ran(node, spec(mounts=mounts), "ls /a /a/b /a/b/c; wc -c < /a/b/c/f") == [
        *("/a:", "b", "/a/b:", "c", "/a/b/c:", "f", "0")
    ]


ASTRAY: Mapping[str, tuple[str, str]] = {
    "to /proc": ("evil", "/proc"),
    "into /proc": ("evil", "/proc/sys/kernel"),
    "to /dev": ("evil", "../../dev"),
    "into /sys": ("evil", "/sys/fs"),
    "to the root": ("evil", "/proc/1/root"),
    "up to the root": ("evil", "../../../.."),
    "to nothing": ("evil", "/nowhere/at/all"),
    "to itself": ("evil", "evil"),
    "to a descriptor": ("evil", "/proc/self/fd/3"),
}


@pytest.mark.parametrize("name", ASTRAY)
async def test_a_target_that_leads_astray(node: LocalNode, machine: Config, name: str) -> None:
    hostile = await made_layer(node, "hostile", ASTRAY[name])
    with refused(Code.INVALID_ARGUMENT, "could not mount /evil"):
        await node.create(spec(LAYER, hostile, mounts=(Mount("/evil", size_mb=1),)))
    assert node.running() == {}
    assert storage(machine) == set()


@pytest.mark.parametrize("target", ["/evil/made", "/evil/deeply/made", "/evil"])
async def test_links_on_the_way_to_a_target_stay_inside(node: LocalNode, target: str) -> None:
    outside = Path("/berm-test-made")
    hostile = await made_layer(node, "hostile", ("evil", "../../../../berm-test-made"), f="inside")
    (node.layer_path(hostile) / "berm-test-made").mkdir()
    mounts = (Mount(target, layers=(hostile,)),)
    lines = await ran(node, spec(LAYER, hostile, mounts=mounts), f"cat {target}/f; echo; ls /berm-test-made")
    assert lines[0] == "inside"
    assert not outside.exists()


@pytest.mark.parametrize("target", ["/evil/x", "/evil/x/y"])
async def test_nothing_is_made_in_the_kernels_directories(node: LocalNode, target: str) -> None:
    hostile = await made_layer(node, "hostile", ("evil", "/dev/shm"))
    with refused(Code.INVALID_ARGUMENT, "it leads to /dev/shm"):
        await node.create(spec(LAYER, hostile, mounts=(Mount(target, size_mb=1),)))


OUTWARD = {
    "absolute": ("out", "/etc"),
    "upward": ("out", "../../../../../etc"),
    "by a process": ("out", "/proc/1/root/etc"),
    "by this process": ("out", "/proc/self/root/etc"),
}


@pytest.mark.parametrize("kind", ["layers", "several", "directory", "files"])
@pytest.mark.parametrize("name", OUTWARD)
async def test_a_path_in_a_content_leads_nowhere_else(
    node: LocalNode, machine: Config, kind: str, name: str
) -> None:
    link, target = OUTWARD[name]
    await made_layer(node, "hostile", (link, target))
    for tree in (uploaded(machine, "team-abc"), machine.pool_dir / "caches/c"):
        tree.mkdir(exist_ok=True)
        (tree / link).symlink_to(target)
    await made_layer(node, "empty")
    mounts = {
        "layers": Mount("/m", layers=("hostile",), path="out/passwd"),
        "several": Mount("/m", layers=("empty", "hostile"), path="out/passwd"),
        "directory": Mount("/m", directory="c", path="out/passwd"),
        "files": Mount("/m", directory="files/team-abc", path="out/passwd"),
    }
    with refused(Code.INVALID_ARGUMENT, r"could not mount /m \('out/passwd' of its content\)"):
        await node.create(spec(mounts=(mounts[kind],)))


async def test_a_link_within_a_content_is_followed_there(node: LocalNode) -> None:
    tree = node.layer_path(await made_layer(node, "one", ("link", "/etc/passwd")))
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("of the content\n")
    assert await ran(node, spec(mounts=(Mount("/m", layers=("one",), path="link"),)), "cat /m") == [
        "of the content"
    ]


WRONG = {
    "relative": (Mount("a", size_mb=1), "absolute"),
    "up": (Mount("/a/../proc", size_mb=1), "absolute"),
    "dot": (Mount("/./proc", size_mb=1), "absolute"),
    "empty": (Mount("", size_mb=1), "absolute|nothing can"),
    "nul": (Mount("/a\0b", size_mb=1), "absolute"),
    "root": (Mount("/", size_mb=1), "nothing can be mounted"),
    "slashes": (Mount("///", size_mb=1), "nothing can be mounted"),
    "proc": (Mount("/proc", size_mb=1), "nothing can be mounted"),
    "in dev": (Mount("//dev//shm", size_mb=1), "nothing can be mounted"),
    "in sys": (Mount("/sys/fs/cgroup", size_mb=1), "nothing can be mounted"),
    "path up": (Mount("/a", layers=(LAYER,), path="../x"), "not relative"),
    "path absolute": (Mount("/a", layers=(LAYER,), path="/etc"), "not relative"),
    "nothing": (Mount("/a"), "of layers, of a directory or of memory"),
    "two": (Mount("/a", directory="a", size_mb=1), "of layers, of a directory or of memory"),
    "negative": (Mount("/a", size_mb=-1), "of layers, of a directory or of memory"),
    "name": (Mount("/a", directory="../sandboxes"), "not the name of a directory"),
    "dot name": (Mount("/a", directory=".x"), "not the name of a directory"),
    "kind": (Mount("/a", directory="layers/small"), "not the name of a directory"),
    "memory path": (Mount("/a", size_mb=1, path="a/b"), "plain name"),
    "onto a file": (Mount("/etc/passwd", size_mb=1), "is a directory and what is there is no directory"),
    "under a file": (Mount("/etc/passwd/x", size_mb=1), "Not a directory"),
    "a file onto a directory": (Mount("/etc", size_mb=1, path="f"), "is no directory and what is there is a"),
    "no such path": (Mount("/a", layers=(LAYER,), path="no/such"), "No such file"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_mount_that_cannot_be(node: LocalNode, machine: Config, name: str) -> None:
    mount, words = WRONG[name]
    with refused(Code.INVALID_ARGUMENT, words):
        await node.create(spec(mounts=(mount,), kept=True))
    assert node.running() == {}
    assert storage(machine) | unfinished(machine) == set()


@pytest.mark.parametrize("mount", [Mount("/a", layers=("gone",)), Mount("/a", directory="files/team-x")])
async def test_content_that_is_not_there(node: LocalNode, machine: Config, mount: Mount) -> None:
    with refused(Code.NOT_FOUND, "the mount at '/a': there is no"):
        await node.create(spec(mounts=(mount,)))
    assert storage(machine) | unfinished(machine) == set()


async def test_more_layers_than_can_be_handed_over(node: LocalNode) -> None:
    with refused(Code.INVALID_ARGUMENT, "needs 301 layers and directories, and 200 is the most"):
        await node.create(spec(*(f"layer{number}" for number in range(301))))


async def test_a_hundred_layers_and_another_hundred_in_mounts(node: LocalNode, machine: Config) -> None:
    chain = [await made_layer(node, f"l{number:03d}", **{f"f{number}": ""}) for number in range(190)]
    mounts = (Mount("/one", layers=tuple(chain[:150])), Mount("/two", layers=tuple(chain[90:])))
    assert await ran(
        node, spec(LAYER, *chain[:100], mounts=mounts), "ls / | grep -c f; ls /one | wc -l; ls /two | wc -l"
    ) == ["100", "150", "100"]


async def test_a_file_lies_in_memory_whatever_is_mounted(node: LocalNode) -> None:
    files = (
        File("/root/.netrc", b"alone", 0o400, 3, 4),
        File("/run/secrets/deep/er", b"in memory"),
        File("/kept/token", b"over a directory", 0o600),
    )
    mounts = (Mount("/run/secrets", size_mb=1), Mount("/kept", directory="kept"))
    script = """
        cd /
        for f in root/.netrc run/secrets/deep/er kept/token; do cat $f; echo; stat -c '%a %u:%g' $f; done
        df -T /root/.netrc /run/secrets/deep/er /kept/token | grep -c tmpfs
    """
    assert await ran(node, spec(mounts=mounts, files=files), script) == [
        *("alone", "400 3:4", "in memory", "400 0:0", "over a directory", "600 0:0", "3")
    ]


async def test_a_file_that_a_link_would_lead_away(node: LocalNode, machine: Config) -> None:
    hostile = await made_layer(node, "hostile", ("root/.netrc", "/dev/shm/leak"), ("run/s", "/tmp"))
    files = (File("/root/.netrc", b"secret"),)
    with refused(Code.INVALID_ARGUMENT, r"could not mount /root/\.netrc"):
        await node.create(spec(LAYER, hostile, files=files))
    led = spec(LAYER, hostile, files=(File("/run/s/f", b"secret"),), kept=True)
    await node.create(led)
    await node.run(led.sandbox_id, shell("cat /tmp/f > /dev/null && touch /wrote"), print)
    layer = await node.commit(led.sandbox_id)
    assert b"secret" not in contents(node.layer_path(layer.name))
    assert storage(machine) == set()


def contents(tree: Path) -> bytes:
    """All that the files of a tree hold."""
    found = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    return b"".join(path.read_bytes() for path in found)


async def test_a_secret_is_nowhere_but_in_its_sandbox(node: LocalNode, machine: Config) -> None:
    secret = b"very-" + os.urandom(8).hex().encode()
    wanted = spec(files=(File("/run/secrets/token", secret),), kept=True)
    await node.create(wanted)
    # Not by its name: what a command writes is in the log.
    script = "sha256sum < /run/secrets/token; ps -o args; touch /done"
    lines = await said(node, wanted.sandbox_id, script)
    assert lines[0].split()[0] == hashlib.sha256(secret).hexdigest()
    assert secret.decode() not in "".join(lines[1:])
    launcher = memory_of(Instance(machine.home, {}).launcher_pid())
    assert b"berm.launcher" in launcher
    assert secret not in launcher
    assert secret.decode() not in str(await node.logs(wanted.sandbox_id))
    assert secret not in contents(machine.pool_dir / "sandboxes")
    layer = await node.commit(wanted.sandbox_id)
    tree = node.layer_path(layer.name)
    assert (tree / "done").exists()
    assert secret not in contents(tree)
    assert not (tree / "run/secrets").exists()


async def test_a_secret_of_many_megabytes(node: LocalNode) -> None:
    content = os.urandom(3 << 20)
    wanted = spec(files=(File("/token", content),))
    assert await ran(node, wanted, "wc -c < /token") == [str(3 << 20)]


async def test_what_was_made_for_mounts_is_not_kept(node: LocalNode) -> None:
    cache = Mount("/var/cache/deep/er", directory="c")
    binding = Mount("/opt/bound", layers=(LAYER,), path="etc/passwd")
    used = Mount("/opt/used/here", size_mb=1)
    wanted = spec(mounts=(cache, binding, used), files=(File("/root/.netrc", b"x"),), kept=True)
    await node.create(wanted)
    await node.run(wanted.sandbox_id, Command(("/bin/touch", "/opt/used/own")), print)
    tree = node.layer_path((await node.commit(wanted.sandbox_id)).name)
    names = {str(path.relative_to(tree)) for path in tree.rglob("*")} - {"etc"}
    written = {name for name in names if not name.startswith("etc/")}
    assert written == {"opt", "opt/used", "opt/used/own", "root", "var"}


async def test_nothing_but_mounts_is_nothing_written(node: LocalNode, machine: Config) -> None:
    wanted = spec(mounts=(Mount("/a/b", directory="c"),), files=(File("/c/d", b"x"),), kept=True)
    await node.create(wanted)
    await node.run(wanted.sandbox_id, shell("cat /c/d; echo x > /a/b/f"), print)
    assert await node.commit(wanted.sandbox_id) == Layer("", 0)
    assert storage(machine) | unfinished(machine) == set()


async def test_a_volume_is_written_by_all_who_have_it(node: LocalNode, machine: Config) -> None:
    await node.volumes.make("shared")
    volume = Mount("/new/deep", directory="volumes/shared")
    first, second = spec(mounts=(volume,)), spec(mounts=(volume,))
    for wanted in (first, second):
        await node.create(wanted)
    await said(node, first.sandbox_id, "echo first > /new/deep/a")
    assert await said(node, second.sandbox_id, "cat /new/deep/a; echo more >> /new/deep/a") == ["first"]
    for wanted in (first, second):
        await node.kill(wanted.sandbox_id)
    script = "cat /m/a; stat -c %u:%g:%a /m /m/a; touch /m/b"
    read_only = Mount("/m", directory="volumes/shared", read_only=True)
    with pytest.raises(AssertionError, match="Read-only"):
        await ran(node, spec(mounts=(read_only,)), script + " 2>&1")
    found = await ran(node, spec(mounts=(Mount("/m", directory="volumes/shared"),)), script)
    assert found == ["first", "more", "1000:1000:777", "0:0:644"]
    assert (machine.pool_dir / "volumes/shared/tree/b").stat().st_uid == 0


async def test_a_volume_that_is_not_there(node: LocalNode, machine: Config) -> None:
    with refused(Code.NOT_FOUND, "there is no volumes/none on this machine"):
        await node.create(spec(mounts=(Mount("/m", directory="volumes/none"),)))
    for name in ("volumes/../layers", "volumes/.partial-x", "volumes/a/tree"):
        with refused(Code.INVALID_ARGUMENT, "is not the name of a directory"):
            await node.create(spec(mounts=(Mount("/m", directory=name),)))
    assert storage(machine) == set()
