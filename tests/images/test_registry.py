import asyncio
import contextlib
import json
import os
import socket
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import registry as images
from berm.images.config import Healthcheck, ImageConfig
from berm.images.manifest import this_machine
from berm.images.process import ignore
from tests.images import oci
from tests.images.oci import DOCKER, OCI, Kind, Registry, Store, file, insecure, layer, symlink, tree_layer
from tests.images.small import busybox_rootfs

pytestmark = pytest.mark.root

ARCHITECTURE = this_machine()[0]
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


@pytest.mark.parametrize(
    ("kind", "compression"), [(OCI, "gzip"), (OCI, "zstd"), (OCI, ""), (DOCKER, "gzip"), (DOCKER, "")]
)
async def test_kinds_of_images(kind: Kind, compression: str, registry: Registry, tmp_path: Path) -> None:
    store: Store = {}
    layers = [layer([file("a", b"first")]), layer([file("a", b"second"), file("b")])]
    name = f"library/kinds:{kind is OCI}-{compression}"
    digest = registry.push_made(name, store, oci.image(store, layers, kind=kind, compression=compression))
    tree, config = await pull(f"{registry.address}/{name}", tmp_path)
    assert config.digest == digest
    assert (tree / "a").read_bytes() == b"second"
    assert (tree / "b").exists()


@pytest.mark.parametrize("kind", [OCI, DOCKER])
async def test_an_image_for_several_machines(kind: Kind, registry: Registry, tmp_path: Path) -> None:
    store: Store = {}
    names = ("s390x", "amd64", "arm64")
    made = {name: oci.image(store, [layer([file(name)])], kind=kind, architecture=name) for name in names}
    digest = registry.push_made("library/several:1", store, oci.index(store, made, kind))
    pushed = f"{registry.address}/library/several:1"
    for number, reference in enumerate(
        (pushed, f"{pushed}@{digest}", f"{pushed}@{made[ARCHITECTURE]['digest']}")
    ):
        tree, config = await pull(reference, tmp_path / str(number))
        assert [path.name for path in tree.iterdir()] == [ARCHITECTURE]
        assert config.digest == (reference.partition("@")[2] or digest)


async def test_an_image_for_other_machines(registry: Registry, tmp_path: Path) -> None:
    store: Store = {}
    other = oci.image(store, [layer([file("a")])], architecture="mips64")
    registry.push_made("library/other:1", store, other)
    registry.push_made("library/others:1", store, oci.index(store, {"mips64": other}))
    for name in ("other", "others"):
        error = await refused(f"{registry.address}/library/{name}:1", tmp_path)
        assert error.code is Code.NOT_FOUND
        assert f"nothing for linux/{ARCHITECTURE}" in error.message
        assert "linux/mips64" in error.message


async def test_what_only_docker_has_in_a_configuration(registry: Registry) -> None:
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 2}
    config = {"Shell": ["/bin/ash", "-c"], "OnBuild": ["RUN true"], "Healthcheck": check}
    registry.push("library/docker:1", [layer([file("a")])], config)
    found = await images.inspect(f"{registry.address}/library/docker:1")
    assert (found.shell, found.onbuild) == (("/bin/ash", "-c"), ("RUN true",))
    assert found.health == Healthcheck(("CMD-SHELL", "true"), interval=5_000_000_000, retries=2)


async def test_a_mirror_and_another_location(registry: Registry, tmp_path: Path) -> None:
    registry.push("mirrored/app:1", [layer([file("a")])])
    conf = f"""
[[registry]]
prefix = "moved.invalid/team"
location = "{registry.address}/mirrored"
insecure = true
[[registry]]
location = "gone.invalid"
[[registry.mirror]]
location = "{registry.address}/mirrored"
insecure = true
"""
    with insecure(tmp_path, more=conf):
        for number, reference in enumerate(("moved.invalid/team/app:1", "gone.invalid/app:1")):
            tree, _ = await pull(reference, tmp_path / str(number))
            assert (tree / "a").exists()


async def test_a_registry_without_tls_has_to_be_allowed(registry: Registry, tmp_path: Path) -> None:
    registry.push("library/plain:1", [layer([file("a")])])
    with insecure(tmp_path / "home"):
        error = await refused(f"{registry.address}/library/plain:1", tmp_path / "pulled")
    assert error.code is Code.UNAVAILABLE
    assert "HTTP response to HTTPS client" in error.message
    assert "registries.conf" in error.hint


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
        (f"library/missing@sha512:{'0' * 128}", Code.INVALID_ARGUMENT),
        (f"library/missing:1@sha256:{'0' * 64}", Code.NOT_FOUND),
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


async def test_devices_of_an_image_are_not_made(registry: Registry, tmp_path: Path) -> None:
    null = special("dev/null", tarfile.CHRTYPE, 1, 3)
    registry.push(
        "library/devices:1", [layer([null, special("dev/sda", tarfile.BLKTYPE, 8, 0), file("dev/a")])]
    )
    lines: list[str] = []
    await images.pull(f"{registry.address}/library/devices:1", tmp_path / "image", tmp_path, lines.append)
    assert [path.name for path in (tmp_path / "image/dev").iterdir()] == ["a"]
    assert "2 devices in /dev are left out: every sandbox has its own /dev" in lines


@pytest.mark.parametrize(
    ("number", "entry"),
    [
        (1, ("disk", tarfile.BLKTYPE, 8, 0)),
        (2, ("etc/hidden", tarfile.CHRTYPE, 0, 0)),
        (3, ("devices/mem", tarfile.CHRTYPE, 1, 1)),
    ],
)
async def test_devices_elsewhere_are_refused(
    number: int, entry: tuple[str, bytes, int, int], registry: Registry, tmp_path: Path
) -> None:
    registry.push(f"library/device:{number}", [layer([special(*entry)])])
    error = await refused(f"{registry.address}/library/device:{number}", tmp_path)
    assert error.code is Code.INVALID_ARGUMENT
    assert f"has a device, /{entry[0]}" in error.message


async def test_attributes_that_mean_something_to_the_kernel(registry: Registry, tmp_path: Path) -> None:
    """File capabilities are kept; what overlayfs would act upon is left out."""
    info, content = file("ping")
    info.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
    registry.push("library/capable:1", [layer([(info, content)])])
    tree, _ = await pull(f"{registry.address}/library/capable:1", tmp_path / "kept")
    assert os.getxattr(tree / "ping", "security.capability")[:4] == CAPABILITY[:4]

    info, content = file("redirected")
    info.pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc"}
    registry.push("library/redirected:1", [layer([(info, content)])])
    tree, _ = await pull(f"{registry.address}/library/redirected:1", tmp_path / "without")
    assert os.listxattr(tree / "redirected") == []


def special(name: str, kind: bytes, major: int, minor: int) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, major, minor
    return info, b""


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info, b""


# Version 2, with CAP_NET_RAW permitted and effective: linux/capability.h.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

ESCAPES = {
    "dots": [file("../../../outside", b"x")],
    "absolute": [file("/outside", b"x")],
    "through a symlink": [symlink("dir", "../../.."), file("dir/outside", b"x")],
    "through an absolute symlink": [symlink("dir", "OUTSIDE"), file("dir/outside", b"x")],
    "onto a symlink": [symlink("outside", "OUTSIDE/outside"), file("outside", b"x")],
    "whiteout": [symlink("dir", "OUTSIDE"), file("dir/.wh.victim")],
    "a hard link": [hard_link("link", "OUTSIDE/victim"), file("link", b"x")],
    "a hard link by dots": [hard_link("link", "../../host/victim"), file("link", b"x")],
    "a hard link through a symlink": [
        symlink("dir", "OUTSIDE"),
        hard_link("link", "dir/victim"),
        file("link", b"x"),
    ],
    "the root as a symlink": [symlink("/", "OUTSIDE"), file("outside", b"x")],
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
