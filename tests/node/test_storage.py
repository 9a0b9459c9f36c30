"""Copies as sandboxes see them."""

import gzip
from collections.abc import AsyncIterator

import pytest

from berm.images.process import ignore
from berm.models import Mount
from berm.node.interface import Copying
from berm.node.local import LocalNode
from berm.templates.plan import Base, Copy, Directory
from tests.images.tars import Member, file, symlink, tar
from tests.node.sandboxes import LAYER, layer_of, ran, spec

pytestmark = pytest.mark.root

HASH = "a" * 64
FILES = f"team-{HASH}"


async def body(*members: Member) -> AsyncIterator[bytes]:
    yield gzip.compress(tar(members))


async def copied(
    node: LocalNode, action: Copy | Directory, *layers: str, source: tuple[str, ...] = ()
) -> str:
    return (await node.copy(Copying(action, layers, source, FILES), ignore)).name


async def test_files_are_received_copied_and_used(node: LocalNode) -> None:
    await node.receive(FILES, body(file("app/run.sh", b"echo a\n", 0o755), symlink("app/l", "run.sh")))
    assert node.has_files(FILES)
    assert list(node.files()) == [FILES]
    copy = await copied(node, Copy(("app",), "/srv/app", files_hash=HASH, owner="0:100"), LAYER)
    script = "stat -c '%a %u %g' /srv/app/run.sh; cat /srv/app/l; ls /bin/sh"
    assert await ran(node, spec(LAYER, copy), script) == ["755 0 100", "echo a", "/bin/sh"]
    await node.drop_files([FILES])
    assert not node.has_files(FILES)


async def test_a_copy_goes_through_what_sandboxes_left(node: LocalNode) -> None:
    script = "mkdir -p /real /old/sub && echo x >/old/sub/f && ln -s /real /link"
    one = await layer_of(node, script, LAYER)
    two = await layer_of(node, "rm -r /old && mkdir /old && echo kept >/old/kept", LAYER, one)
    await node.receive(FILES, body(file("f", b"new\n")))
    chain = [LAYER, one, two]
    for target in ("/link/", "/old/sub/"):
        chain.append(await copied(node, Copy(("f",), target, files_hash=HASH), *chain))
    script = "cat /real/f; find /old -type f | sort"
    assert await ran(node, spec(*chain), script) == ["new", "/old/kept", "/old/sub/f"]


async def test_a_stage_is_copied_from(node: LocalNode) -> None:
    one = await layer_of(node, "mkdir /out && echo a >/out/a && echo b >/out/b && chown -R 7:8 /out", LAYER)
    two = await layer_of(node, "rm /out/a && ln -s /etc/shadow /out/l", LAYER, one)
    action = Copy(("out",), "/in", base=Base("stage", "0"))
    copy = await copied(node, action, LAYER, source=(LAYER, one, two))
    script = "cd /in; ls; cat b; readlink l; stat -c %u b"
    assert await ran(node, spec(LAYER, copy), script) == ["b", "l", "b", "/etc/shadow", "7"]


async def test_a_layer_on_a_copy(node: LocalNode) -> None:
    """What is copied can be changed, linked and removed as files of any other layer."""
    await node.receive(FILES, body(file("d/a", b"a\n"), file("d/b", b"b\n")))
    copy = await copied(node, Copy(("d",), "/d", files_hash=HASH), LAYER)
    top = await layer_of(node, "rm /d/a && echo more >>/d/b && mv /d /e && ln /e/b /e/c", LAYER, copy)
    assert await ran(node, spec(LAYER, copy, top), "ls -d /d 2>&1; ls /e; cat /e/c") == [
        "ls: /d: No such file or directory",
        "b",
        "c",
        "b",
        "more",
    ]


async def test_a_directory_is_made_once(node: LocalNode) -> None:
    made = await copied(node, Directory("/work/dir", "5:6"), LAYER)
    assert await copied(node, Directory("/work/dir", "5:6"), LAYER, made) == ""
    assert await ran(node, spec(LAYER, made), "stat -c '%u %g' /work /work/dir") == ["5 6", "5 6"]


async def test_received_files_are_mounted(node: LocalNode) -> None:
    await node.receive(FILES, body(file("sub/f", b"mounted\n")))
    mount = Mount("/src", directory=f"files/{FILES}", read_only=True)
    script = "cat /src/sub/f; stat -c %u /src/sub/f"
    assert await ran(node, spec(LAYER, mounts=(mount,)), script) == ["mounted", "0"]
