"""Images from OCI registries, fetched by skopeo and unpacked by umoci."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images import configblob, manifest, process, sealed, skopeo
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.images.login import Login
from berm.images.tree import scratch, staged

__all__ = ["Image", "Login", "fetch", "inspect", "look", "pinned", "pull"]

_SEALED: Final = (sys.executable, "-I", "-S", str(Path(sealed.__file__)))
_DEVICES: Final = ("-xdev", "(", "-type", "b", "-o", "-type", "c", ")")
_FULL: Final = ("no space left on device", "disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Image:
    """What a reference meant when its registry was asked."""

    reference: str
    config: ImageConfig
    content: bytes
    """The configuration as the registry has it."""
    address: str
    """Of the image for this machine, by its own digest."""


async def inspect(reference: str, login: Login | None = None) -> ImageConfig:
    """Ask the registry about an image, without its layers; the digest is of what the name means now.

    Raises what `look` raises.
    """
    return (await look(reference, login)).config


async def look(reference: str, login: Login | None = None) -> Image:
    """Ask the registry what a name means, and whether that can be used.

    Raises BermError: NOT_FOUND also when the image is for other machines, INVALID_ARGUMENT, NOT_OFFERED
    for foreign layers, PERMISSION_DENIED, UNAVAILABLE; each question may take `skopeo.ANSWER_SECONDS`.
    """
    digest, found = await _manifest(reference, login)
    address = pinned(reference, digest)
    if found.manifests is not None:
        address = pinned(reference, manifest.for_this_machine(reference, found.manifests))
        _, found = await _manifest(address, login)
    manifest.check(reference, found)
    content = await skopeo.inspect(address, login, "--config", "--raw")
    return Image(reference, configblob.parse(reference, digest, content), content, address)


async def _manifest(reference: str, login: Login | None) -> tuple[str, manifest.Manifest]:
    """What a reference means, and its digest, which is the one in the reference if that has one."""
    content = await skopeo.inspect(_address(reference), login, "--raw")
    digest, wanted = manifest.digest_of(content), reference.partition("@")[2]
    if wanted not in ("", digest):
        raise manifest.refused(reference, f"is not what its digest says: its registry sent {digest}")
    return digest, manifest.parse(reference, content)


async def pull(
    reference: str, target: Path, work: Path, progress: Output, login: Login | None = None
) -> ImageConfig:
    """Make `target` an image's root filesystem. Raises what `look` and `fetch` raise."""
    image = await look(reference, login)
    await fetch(image, target, work, progress, login)
    return image.config


async def fetch(image: Image, target: Path, work: Path, progress: Output, login: Login | None = None) -> None:
    """Make `target` the image's root filesystem, with its own user ids; `work` holds the blobs meanwhile.

    Every blob is checked against its digest. Devices in /dev are left out: sandboxes have their own.
    Raises BermError: what `skopeo.copy` raises, INVALID_ARGUMENT when the image cannot be unpacked, or has
    devices elsewhere, NO_SPACE when it does not fit; then there is no `target`.
    """
    async with scratch(work) as blobs, staged(target) as tree:
        progress(f"Pulling {image.reference} at {image.config.digest}")
        await skopeo.copy(image.address, login, blobs, progress)
        progress("Unpacking the layers")
        await _unpack(image.reference, blobs, tree)
        await _without_devices(image.reference, tree, progress)


async def _unpack(reference: str, layout: Path, tree: Path) -> None:
    def failed(_command: Sequence[str], lines: Sequence[str]) -> BermError:
        said = " / ".join(lines)
        if any(words in said for words in _FULL):
            return BermError(
                Code.NO_SPACE, f"there is no space left to unpack image {reference}", skopeo.MORE_SPACE
            )
        return manifest.refused(reference, f"cannot be unpacked: {said}")

    tree.mkdir()  # noqa: ASYNC240 - one directory
    seal = [*_SEALED, str(tree), "+mknod,+setfcap"]
    await process.run(
        [*seal, "umoci", "raw", "unpack", "--image", f"{layout}:image", str(tree)], failed=failed
    )


async def _without_devices(reference: str, tree: Path, progress: Output) -> None:
    """One could be the host's disk, and one of numbers 0, 0 hides what is in the layers below it."""
    places = (await process.read(["find", str(tree), *_DEVICES, "-printf", r"%P\0"])).split(b"\0")[:-1]
    for place in places:
        if not place.startswith(b"dev/"):
            raise manifest.refused(reference, f"has a device, /{place.decode(errors='replace')}")
    if places:
        progress(f"{len(places)} devices in /dev are left out: every sandbox has its own /dev")
        await process.run(["find", str(tree / "dev"), *_DEVICES, "-delete"])


def pinned(reference: str, digest: str) -> str:
    """The image by its digest alone: skopeo takes a tag or a digest, never both."""
    path, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}@{digest}"


def _address(reference: str) -> str:
    """A reference as skopeo takes it. Raises BermError INVALID_ARGUMENT."""
    _, at, digest = reference.partition("@")
    if not at:
        return reference
    if not manifest.DIGEST.fullmatch(digest):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"image {reference} has a digest that is none",
            "write it as name@sha256: and 64 hex digits",
        )
    return pinned(reference, digest)
