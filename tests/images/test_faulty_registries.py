"""Registries and images that fail, or mean harm: each ends soon, with a sentence, and leaves nothing."""

import asyncio
import contextlib
import json
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import configblob, skopeo
from berm.images import registry as images
from berm.images.process import ignore
from tests.images import handmade, oci
from tests.images.handmade import Fault, HandmadeRegistry, handmade_registry
from tests.images.oci import Descriptor, file, insecure, layer

pytestmark = pytest.mark.root

LAYER = layer([file("a", os.urandom(300_000))])
PARTS = ("manifest", "config", "layer")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[HandmadeRegistry]:
    with handmade_registry() as running, insecure(tmp_path / "home", running.address):
        yield running


def part(registry: HandmadeRegistry, name: str) -> str:
    """Serve an image as app:1; returns the digest of one of its parts."""
    described = oci.image(registry.store, [LAYER])
    registry.tag("1", described)
    manifest = json.loads(registry.store[str(described["digest"])])
    digests = {
        "tag": "1",
        "manifest": str(described["digest"]),
        "config": manifest["config"]["digest"],
        "layer": manifest["layers"][0]["digest"],
    }
    return str(digests[name])


async def refused(registry: HandmadeRegistry, directory: Path, name: str = "app:1") -> BermError:
    """The error of a pull, which has left nothing: no file, no process."""
    target = directory / "layers/image"
    with pytest.raises(BermError) as caught:
        await images.pull(f"{registry.address}/{name}", target, directory / "layers", ignore)
    assert list((directory / "layers").glob("*")) == []
    assert skopeos(registry) == []
    assert caught.value.hint
    assert len(caught.value.message) < 2000
    return caught.value


def skopeos(registry: HandmadeRegistry) -> list[str]:
    """The processes whose command line has the registry's address."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if registry.address.encode() in (line := path.read_bytes()):
                found.append(line.decode())
    return found


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (handmade.other_content, {Code.INVALID_ARGUMENT}),
        (handmade.hang_up_in_the_middle, {Code.UNAVAILABLE}),
        (handmade.status(500), {Code.UNAVAILABLE}),
        (handmade.status(404), {Code.NOT_FOUND, Code.UNAVAILABLE}),
        (handmade.instead(b""), {Code.INVALID_ARGUMENT}),
    ],
    ids=["other content", "hangs up", "500", "404", "empty"],
)
async def test_a_part_that_does_not_come(
    name: str, fault: Fault, codes: set[Code], registry: HandmadeRegistry, tmp_path: Path
) -> None:
    digest = part(registry, "manifest")
    registry.faults[part(registry, name)] = fault
    error = await refused(registry, tmp_path, f"app@{digest}")
    assert error.code in codes, error


@pytest.mark.parametrize("fault", [handmade.hang, handmade.stop_in_the_middle])
@pytest.mark.parametrize("name", ["tag", *PARTS])
async def test_a_registry_that_falls_silent(
    name: str, fault: Fault, registry: HandmadeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(skopeo, "IDLE_SECONDS", 1.0)
    digest = part(registry, "manifest")
    registry.faults[part(registry, name)] = fault
    error = await refused(registry, tmp_path, "app:1" if name == "tag" else f"app@{digest}")
    assert error.code is Code.UNAVAILABLE
    assert "1 s" in error.message
    assert registry.reached.is_set()


async def test_what_comes_slowly_is_waited_for(
    registry: HandmadeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than nothing may come."""
    monkeypatch.setattr(skopeo, "IDLE_SECONDS", 1.0)
    pieces = 8

    def slowly(answer: handmade.Answer) -> None:
        size = len(answer.content) // pieces + 1
        answer.send(answer.content[:size], len(answer.content))
        for begin in range(size, len(answer.content), size):
            registry.over.wait(0.4)
            answer.handler.wfile.write(answer.content[begin : begin + size])

    registry.faults[part(registry, "layer")] = slowly
    await images.pull(f"{registry.address}/app:1", tmp_path / "image", tmp_path / "work", ignore)
    assert (tmp_path / "image/a").stat().st_size == 300_000


async def test_a_manifest_that_is_not_what_its_digest_says(
    registry: HandmadeRegistry, tmp_path: Path
) -> None:
    """It is a good one, of another image."""
    digest = part(registry, "manifest")
    other = oci.image(registry.store, [layer([file("evil")])])
    registry.tag("2", other)
    registry.faults[digest] = handmade.instead(registry.store["2"])
    error = await refused(registry, tmp_path, f"app@{digest}")
    assert error.code is Code.INVALID_ARGUMENT
    assert "is not what its digest says" in error.message
    # The same between an index and the image in it.
    registry.tag("3", oci.index(registry.store, {"amd64": {**other, "digest": digest}}))
    assert "is not what its digest says" in (await refused(registry, tmp_path, "app:3")).message


FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)


@pytest.mark.parametrize("media_type", [*FOREIGN, "application/vnd.oci.image.layer.v1.tar+gzip"])
async def test_a_layer_from_elsewhere(media_type: str, registry: HandmadeRegistry, tmp_path: Path) -> None:
    """It is refused before anybody is asked for it."""
    urls = [f"http://{registry.address}/elsewhere"]
    config = oci.put(registry.store, b"{}", oci.OCI.config)
    foreign = {"mediaType": media_type, "digest": f"sha256:{'1' * 64}", "size": 5, "urls": urls}
    registry.tag("1", oci.manifest(registry.store, config, [foreign]))
    error = await refused(registry, tmp_path)
    assert error.code is Code.NOT_OFFERED
    assert "foreign layer" in error.message
    assert registry.asked == ["1"]


CONFIG = b'"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "../../x"}'
TAR = b'"mediaType": "application/vnd.oci.image.layer.v1.tar"'
MANIFESTS = {
    "no JSON": b"<html>",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "schema 1": b'{"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}',
    "both": b'{"schemaVersion": 2, "config": {"digest": "x"}, "layers": [], "manifests": []}',
    "neither": b'{"schemaVersion": 2}',
    "another type": b'{"schemaVersion": 2, "mediaType": "text/plain", "layers": []}',
    "an artifact": b'{"schemaVersion": 2, "config": {"mediaType": "x/y", "digest": "x"}, "layers": []}',
    "an unknown layer": b'{"schemaVersion": 2, %b, "layers": [{"mediaType": "x", "digest": "x"}]}' % CONFIG,
    "a path as digest": b'{"schemaVersion": 2, %b, "layers": [{%b, "digest": "../../x"}]}' % (CONFIG, TAR),
    "deep": b'{"schemaVersion": 2, "layers": ' + b"[" * 100_000,
    "many mistakes": b'{"schemaVersion": 2, "layers": [' + b"1," * 1_000_000 + b"1]}",
    "large": b'{"schemaVersion": 2, "x": "' + b"x" * 20_000_000 + b'"}',
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS.keys())
async def test_a_manifest_that_is_none(content: bytes, registry: HandmadeRegistry, tmp_path: Path) -> None:
    registry.tag("1", oci.put(registry.store, content, oci.OCI.manifest))
    error = await refused(registry, tmp_path)
    assert error.code in {Code.INVALID_ARGUMENT, Code.UNAVAILABLE, Code.TOO_LARGE}, error


CONFIGS = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "env is a mapping": b'{"config": {"Env": {"not": "a list"}}}',
    "NUL": b'{"config": {"WorkingDir": "/a\\u0000b"}}',
    "a lone surrogate": b'{"config": {"User": "\\ud800"}}',
    "a huge number": b'{"config": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1' + b"0" * 400 + b"}}}",
    "a negative number": b'{"config": {"Healthcheck": {"Test": ["CMD", "x"], "Timeout": -1}}}',
    "deep": b'{"config": ' + b"[" * 100_000,
    "many mistakes": b'{"config": {"Env": [' + b"1," * 400_000 + b"1]}}",
    "large": b'{"config": {"Env": ["A=' + b"x" * configblob.MAX_SIZE + b'"]}}',
    "enormous": b'{"config": {"Env": ["A=' + b"x" * 20_000_000 + b'"]}}',
}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS.keys())
async def test_a_configuration_that_is_none(
    content: bytes, registry: HandmadeRegistry, tmp_path: Path
) -> None:
    registry.tag("1", with_config(registry, content))
    error = await refused(registry, tmp_path)
    assert error.code in {Code.INVALID_ARGUMENT, Code.UNAVAILABLE, Code.TOO_LARGE}, error


def with_config(registry: HandmadeRegistry, content: bytes) -> Descriptor:
    config = oci.put(registry.store, content, oci.OCI.config)
    blob = oci.put(registry.store, LAYER, f"{oci.OCI.layer}")
    return oci.manifest(registry.store, config, [blob])


async def test_what_a_registry_says_is_no_control_sequence(
    registry: HandmadeRegistry, tmp_path: Path
) -> None:
    said = json.dumps({"errors": [{"code": "DENIED", "message": 'no \x1b[31m \\x1b " \u202e \0 way' * 500}]})
    part(registry, "layer")
    registry.faults["1"] = handmade.status(403, said.encode())
    error = await refused(registry, tmp_path)
    assert "\x1b" not in error.message


async def test_layers_that_are_not_what_the_configuration_says(
    registry: HandmadeRegistry, tmp_path: Path
) -> None:
    """The blob is what its digest says, but not what it is unpacked to."""
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}})
    registry.tag("1", with_config(registry, config.encode()))
    error = await refused(registry, tmp_path)
    assert error.code is Code.INVALID_ARGUMENT
    assert "cannot be unpacked" in error.message


@pytest.mark.parametrize("content", [b"this is no tar", LAYER[: len(LAYER) // 2]])
async def test_a_layer_that_is_no_tar(content: bytes, registry: HandmadeRegistry, tmp_path: Path) -> None:
    registry.tag("1", oci.image(registry.store, [content]))
    error = await refused(registry, tmp_path)
    assert error.code is Code.INVALID_ARGUMENT
    assert "cannot be unpacked" in error.message


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Path]:
    """A filesystem with 16 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    await asyncio.to_thread(subprocess.run, mount, check=True)
    yield place
    await asyncio.to_thread(subprocess.run, ["umount", str(place)], check=True)


@pytest.mark.parametrize("name", ["zeros", "a hole", "a large blob"])
async def test_an_image_that_does_not_fit(name: str, registry: HandmadeRegistry, small: Path) -> None:
    contents = {
        "zeros": lambda: layer([file("bomb", bytes(64 << 20))]),
        "a hole": lambda: sparse("bomb", 1 << 40),
        "a large blob": lambda: layer([file("bomb", os.urandom(24 << 20))]),
    }
    registry.tag("1", oci.image(registry.store, [contents[name]()]))
    error = await refused(registry, small)
    assert error.code is Code.NO_SPACE
    assert "room" in error.hint


def sparse(name: str, size: int) -> bytes:
    """A file that is a hole, in the format of GNU tar: a few bytes of archive."""
    info, _ = file(name)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    return layer([(info, b"0\n".ljust(tarfile.BLOCKSIZE, b"\0"))])


@pytest.mark.parametrize("name", PARTS)
async def test_cancelling_while_nothing_comes(name: str, registry: HandmadeRegistry, tmp_path: Path) -> None:
    digest = part(registry, "manifest")
    registry.faults[part(registry, name)] = handmade.stop_in_the_middle
    layers = tmp_path / "layers"
    task = asyncio.create_task(
        images.pull(f"{registry.address}/app@{digest}", layers / "image", layers, ignore)
    )
    await asyncio.to_thread(registry.reached.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(layers.glob("*")) == []
    assert skopeos(registry) == []
