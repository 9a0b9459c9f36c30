import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import registry as images
from berm.images.config import ImageConfig
from berm.images.process import ignore
from tests.images.oci import Registry, file, insecure, layer, symlink, tree_layer
from tests.images.small import busybox_rootfs

pytestmark = pytest.mark.root

CONFIG = {"Env": ["PATH=/bin", "A=b=c", "broken"], "User": "app:app", "WorkingDir": "/srv", "Cmd": ["sh"]}


async def pull(reference: str, directory: Path) -> tuple[Path, ImageConfig]:
    target = directory / "layers/image"
    config = await images.pull(reference, target, directory / "work", ignore)
    return target, config


async def refused(reference: str, directory: Path) -> BermError:
    """The error of a pull, which must have left nothing."""
    with pytest.raises(BermError) as caught:
        await pull(reference, directory)
    assert [path for path in directory.rglob("*") if not path.is_dir()] == []
    assert not (directory / "layers/image").exists()
    return caught.value


async def test_an_image_is_pulled_by_tag_and_by_digest(registry: Registry, tmp_path: Path) -> None:
    rootfs = busybox_rootfs(tmp_path / "rootfs")
    digest = registry.push("library/small:1", [tree_layer(rootfs)], CONFIG)
    expected = ImageConfig(digest, {"PATH": "/bin", "A": "b=c"}, "app:app", "/srv", ("sh",))
    for number, suffix in enumerate((":1", f"@{digest}")):
        tree, config = await pull(f"{registry.address}/library/small{suffix}", tmp_path / str(number))
        assert config == expected
        assert (tree / "bin/busybox").read_bytes() == (rootfs / "bin/busybox").read_bytes()
        assert os.readlink(tree / "bin/sh") == "busybox"  # noqa: PTH115 - the text, whatever it is
        assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777


async def test_progress_is_what_is_done_and_no_log(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/told:1", [layer([file("a")])])
    lines: list[str] = []
    await images.pull(f"{registry.address}/library/told:1", tmp_path / "image", tmp_path, lines.append)
    assert lines[0].startswith(f"Pulling {registry.address}/library/told:1 at sha256:")
    assert "Unpacking the layers" in lines
    assert not any("level=" in line for line in lines)


async def test_inspect_follows_a_moved_tag(registry: Registry) -> None:
    first = registry.push("library/moving:1", [layer([file("a")])])
    assert (await images.inspect(f"{registry.address}/library/moving:1")).digest == first
    second = registry.push("library/moving:1", [layer([file("b")])])
    assert (await images.inspect(f"{registry.address}/library/moving:1")).digest == second != first


async def test_user_ids_modes_and_attributes_are_kept(registry: Registry, tmp_path: Path) -> None:
    info, content = file("owned", b"x", 0o4755)
    info.uid, info.gid = 1234, 65000
    info.pax_headers = {"SCHILY.xattr.user.mark": "yes"}
    registry.push("library/owned:1", [layer([(info, content)])])
    tree, _ = await pull(f"{registry.address}/library/owned:1", tmp_path)
    found = (tree / "owned").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 65000, 0o4755)
    assert os.getxattr(tree / "owned", "user.mark") == b"yes"


async def test_whiteouts_are_applied(registry: Registry, tmp_path: Path) -> None:
    below = layer([file("dir/a"), file("dir/b"), file("kept"), file("other/c")])
    above = layer([file("dir/.wh.a"), file("other/.wh..wh..opq"), file("other/d")])
    registry.push("library/layers:1", [below, above])
    tree, _ = await pull(f"{registry.address}/library/layers:1", tmp_path)
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()) == [
        "dir/b",
        "kept",
        "other/d",
    ]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("library/missing:1", Code.NOT_FOUND),
        (f"library/missing@sha256:{'0' * 64}", Code.NOT_FOUND),
        ("library/missing@sha256:0000", Code.INVALID_ARGUMENT),
        ("library/Missing", Code.INVALID_ARGUMENT),
        ("library/missing:1 --help", Code.INVALID_ARGUMENT),
    ],
)
async def test_an_image_that_is_not_there(
    reference: str, code: Code, registry: Registry, tmp_path: Path
) -> None:
    error = await refused(f"{registry.address}/{reference}", tmp_path)
    assert error.code is code
    assert error.hint
    assert "level=" not in error.message


async def test_a_changed_blob_is_refused(registry: Registry, tmp_path: Path) -> None:
    digest = registry.push("library/changed:1", [layer([file("a", b"original")])])
    manifest = json.loads(registry.blob(digest).read_bytes())
    blob = registry.blob(manifest["layers"][0]["digest"])
    content = bytearray(blob.read_bytes())
    content[-20] ^= 1
    blob.write_bytes(content)
    error = await refused(f"{registry.address}/library/changed:1", tmp_path)
    assert "digest" in error.message.lower()


async def test_a_registry_that_hangs_up(tmp_path: Path) -> None:
    async with hanging_up() as address:
        with insecure(tmp_path, address), pytest.raises(BermError) as caught:
            await images.inspect(f"{address}/library/small:1")
    assert caught.value.code is Code.UNAVAILABLE
    assert address in caught.value.message


async def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(BermError, match="connection refused") as caught:
        await images.inspect(f"{address}/library/small:1")
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_broken_configuration_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/broken:1", [layer([file("a")])], {"Env": {"not": "a list"}})
    error = await refused(f"{registry.address}/library/broken:1", tmp_path)
    assert error.code in {Code.INVALID_ARGUMENT, Code.UNAVAILABLE}


ESCAPES = {
    "dots": [file("../../../outside", b"x")],
    "absolute": [file("/outside", b"x")],
    "through a symlink": [symlink("dir", "../../.."), file("dir/outside", b"x")],
    "through an absolute symlink": [symlink("dir", "OUTSIDE"), file("dir/outside", b"x")],
    "onto a symlink": [symlink("outside", "OUTSIDE/outside"), file("outside", b"x")],
    "whiteout": [symlink("dir", "OUTSIDE"), file("dir/.wh.victim")],
}


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_layer_stays_in_its_tree(name: str, registry: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "host"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    entries = [(info, content) for info, content in ESCAPES[name]]
    for info, _ in entries:
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
    registry.push(f"library/escape:{name.replace(' ', '-')}", [layer(entries)])
    with contextlib.suppress(BermError):
        await pull(f"{registry.address}/library/escape:{name.replace(' ', '-')}", tmp_path)
    assert {path.name for path in outside.iterdir()} == {"victim"}
    assert (outside / "victim").read_text() == "untouched"
    found = [path for path in tmp_path.rglob("outside") if path.is_file() and not path.is_symlink()]
    assert all(path.is_relative_to(tmp_path / "layers/image") for path in found)


async def test_cancelling_a_pull_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/cancelled:1", [layer([file("a", os.urandom(1 << 20))])])
    started = asyncio.Event()
    target = tmp_path / "layers/image"
    reference = f"{registry.address}/library/cancelled:1"
    work = images.pull(reference, target, tmp_path / "work", lambda _line: started.set())
    task = asyncio.create_task(work)
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path for path in tmp_path.rglob("*") if path.parent != tmp_path] == []


@contextlib.asynccontextmanager
async def hanging_up() -> AsyncIterator[str]:
    """A server that takes every connection and ends it."""

    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
