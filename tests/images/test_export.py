import asyncio
import io
import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from berm.errors import BermError, Code
from berm.images import export, process
from berm.images.config import Healthcheck, ImageConfig
from berm.images.export import Part
from berm.images.merged import View
from berm.images.registry import pull
from tests.images.layers import directory, file, hidden, link, random_layers, whiteout
from tests.images.oci import Registry
from tests.images.overlay import Tree, described

pytestmark = pytest.mark.root

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
CONFIG = ImageConfig(  # noqa: S604 - not that kind of shell
    env={"PATH": "/bin", "EMPTY": ""},
    user="node:staff",
    workdir="/app",
    cmd=("-c", "true"),
    entrypoint=("/bin/sh",),
    shell=("/bin/bash", "-c"),
    labels={"a": "b"},
    ports=("80/tcp",),
    volumes=("/data",),
    stop_signal="SIGINT",
    onbuild=("RUN true",),
    health=Healthcheck(("CMD", "true"), interval=5, retries=2),
)


def archive_of(
    parts: Sequence[Part], tmp_path: Path, notes: list[str] | None = None, config: ImageConfig = CONFIG
) -> Path:
    """The image as a file."""
    told = notes if notes is not None else []

    async def collect() -> bytes:
        work = tmp_path / "work"
        pieces = export.export(parts, config, work, name="v1", created=CREATED, notes=told.append)
        content = b"".join([piece async for piece in pieces])
        assert list(work.iterdir()) == []
        return content

    path = tmp_path / "image.tar"
    path.write_bytes(asyncio.run(collect()))
    return path


def unpacked(archive: Path, tmp_path: Path) -> Path:
    """What umoci makes of it."""
    layout, root = tmp_path / "layout", tmp_path / "root"
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{archive}:v1", f"oci:{layout}:v1"], check=True)
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{layout}:v1", str(root)], check=True)
    return root


def tree_of(layers: Sequence[Path], *, plain: bool = False) -> Tree:
    with View(layers, plain=plain) as view:
        return {
            entry.path: described(entry.status, _content(view, entry.path))
            for entry in view.walk(view.root())
            if entry.is_directory or entry.is_file or entry.is_link
        }


def _content(view: View, path: str) -> str:
    entry = view.find(path, follow=False)
    if entry.is_link:
        return view.readlink(entry)
    return view.read(entry, 1000).decode() if entry.is_file else ""


def parts_of(layers: Sequence[Path]) -> list[Part]:
    return [Part(f"RUN {layer.name}", layer) for layer in layers]


@pytest.mark.parametrize("seed", range(12))
def test_random_layers_are_unpacked_as_they_are_seen(tmp_path: Path, seed: int) -> None:
    # What an image redirects has no meaning elsewhere.
    layers = random_layers(tmp_path, seed, redirects=False)
    root = unpacked(archive_of(parts_of(layers), tmp_path), tmp_path)
    assert tree_of([root], plain=True) == tree_of(layers)


def test_whiteouts_and_opaque_directories(tmp_path: Path) -> None:
    one, two = directory(tmp_path / "one"), directory(tmp_path / "two")
    for name in ("gone", "hidden", "kept", "opaque/old", "file-now/x", "link-now/x"):
        file(one / "d" / name, name)
    whiteout(two / "d/gone")
    hidden(two / "d/hidden")
    directory(two / "d/opaque", opaque=b"y")
    file(two / "d/opaque/new", "new")
    file(two / "d/file-now", "file")
    link(two / "d/link-now", "/etc")
    archive = archive_of(parts_of([one, two]), tmp_path)
    root = unpacked(archive, tmp_path)
    assert tree_of([root], plain=True) == tree_of([one, two])
    assert {"d/.wh.gone", "d/.wh.hidden", "d/opaque/.wh..wh..opq"} <= set(members(archive, 1))


def test_a_bottom_layer_has_no_whiteouts(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    whiteout(one / "gone")
    file(directory(one / "d", opaque=b"y") / "f")
    assert members(archive_of(parts_of([one]), tmp_path), 0) == [".", "d", "d/f"]


def members(archive: Path, number: int) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(layer(archive, number))) as tar:
        return sorted(member.name for member in tar)


def layer(archive: Path, number: int) -> bytes:
    return blob(archive, manifest(archive)["layers"][number])


def manifest(archive: Path) -> Any:
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        assert index
        return json.loads(blob(archive, json.loads(index.read())["manifests"][0]))


def blob(archive: Path, descriptor: dict[str, Any]) -> bytes:
    with tarfile.open(archive) as tar:
        found = tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
        assert found
        content = found.read()
        assert len(content) == descriptor["size"]
        return content


def test_what_is_left_out(tmp_path: Path) -> None:
    one, two = directory(tmp_path / "one"), directory(tmp_path / "two")
    file(one / "etc/hosts", "of the image")
    for name in ("hosts", "hostname", "resolv.conf", "other"):
        file(two / "etc" / name, "of berm")
    os.mkfifo(two / "fifo")
    os.mknod(two / "null", 0o020666, os.makedev(1, 3))
    file(two / ".wh.trick")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(two / "socket"))
    notes: list[str] = []
    archive = archive_of(parts_of([one, two]), tmp_path, notes)
    assert members(archive, 0) == [".", "etc", "etc/hosts"]
    left_out = [".wh.fifo", ".wh.null", ".wh.socket"]
    assert members(archive, 1) == [".", *left_out, "etc", "etc/other"]
    assert sorted(note.split()[0] for note in notes) == ["/.wh.trick", "/fifo", "/null", "/socket"]


def test_attributes_and_hard_links(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    file(one / "a", "content", 0o4755, note=b"\0\xff", overlay__origin=b"x")
    os.setxattr(one / "a", "user.overlay.overlay.opaque", b"y")
    # As setcap(8) of cap_net_raw leaves it in a sandbox, which is a user namespace.
    capability = bytes.fromhex("01000003 00200000 00000000 00000000 00000000 00000000")
    os.setxattr(one / "a", "security.capability", capability)
    os.link(one / "a", one / "b")
    root = unpacked(archive_of(parts_of([one]), tmp_path), tmp_path)
    assert (root / "a").samefile(root / "b")
    assert sorted(os.listxattr(root / "a")) == ["security.capability", "user.note"]
    assert os.getxattr(root / "a", "user.note") == b"\0\xff"
    assert os.getxattr(root / "a", "security.capability")[:4] == bytes.fromhex("01000002")
    assert (root / "a").stat().st_mode & 0o7777 == 0o4755


def test_names_that_are_long_or_no_text(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    names = [os.fsdecode(b"\xff\xfe"), "n" * 255, "ü\n"]
    for name in names:
        file(one / ("d" * 200) / name, "x")
        link(one / f"l{name}"[:255], name)
    root = unpacked(archive_of(parts_of([one]), tmp_path), tmp_path)
    assert tree_of([root], plain=True) == tree_of([one])


def test_it_is_pushed_and_pulled(tmp_path: Path, registry: Registry) -> None:
    layers = [directory(tmp_path / "one"), directory(tmp_path / "two")]
    file(layers[0] / "a", "a")
    whiteout(layers[1] / "a")
    file(layers[1] / "b", "b")
    parts = [Part("ADD rootfs", layers[0]), Part("ENV A=b"), Part("RUN rm a", layers[1])]
    archive = archive_of(parts, tmp_path)
    reference = f"{registry.address}/exported:v1"
    command = ["skopeo", "copy", "-q", f"oci-archive:{archive}", f"docker://{reference}"]
    subprocess.run(command, check=True)
    asyncio.run(pull(reference, tmp_path / "root", tmp_path / "blobs", process.ignore))
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"b"}


def test_what_the_image_says_of_itself(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    archive = archive_of([Part("ADD rootfs", one), Part("ENV A=b")], tmp_path)
    answer = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci-archive:{archive}"], check=True, capture_output=True
    )
    found = json.loads(answer.stdout)
    assert (found["os"], found["created"]) == ("linux", "2026-01-02T00:00:00Z")
    assert [step["created_by"] for step in found["history"]] == ["ADD rootfs", "ENV A=b"]
    assert [step.get("empty_layer", False) for step in found["history"]] == [False, True]
    assert len(found["rootfs"]["diff_ids"]) == 1
    assert json.loads(blob(archive, manifest(archive)["config"]))["config"] == {
        "Env": ["PATH=/bin", "EMPTY="],
        "User": "node:staff",
        "WorkingDir": "/app",
        "Cmd": ["-c", "true"],
        "Entrypoint": ["/bin/sh"],
        "Shell": ["/bin/bash", "-c"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
        "OnBuild": ["RUN true"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 2},
    }


def test_an_empty_configuration(tmp_path: Path) -> None:
    archive = archive_of(parts_of([directory(tmp_path / "one")]), tmp_path, config=ImageConfig())
    assert json.loads(blob(archive, manifest(archive)["config"]))["config"] == {}


def test_equal_layers_have_equal_digests(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    file(one / "f", "x")
    first, second = (manifest(archive_of(parts_of([one]), tmp_path))["layers"] for _ in range(2))
    assert first == second


def test_an_image_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = directory(tmp_path / "one"), directory(tmp_path / "two")
    for path in (one / "f", two / "g"):
        file(path)
        os.truncate(path, 600)
    monkeypatch.setattr(export, "LARGEST", 1000)
    with pytest.raises(BermError, match=r"more than .* bytes \(at /g\)") as caught:
        archive_of(parts_of([one, two]), tmp_path)
    assert caught.value.code is Code.TOO_LARGE
    assert list((tmp_path / "work").iterdir()) == []


async def test_who_stops_reading_leaves_nothing(tmp_path: Path) -> None:
    one = directory(tmp_path / "one")
    file(one / "f", "x" * 100_000)
    pieces = export.export(parts_of([one]), CONFIG, tmp_path / "work")
    assert await anext(pieces)
    await pieces.aclose()
    assert list((tmp_path / "work").iterdir()) == []
