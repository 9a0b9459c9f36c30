"""Manifests of images and indexes of several: which one is for this machine, and whether it can be used.

They are those of the OCI image specification and of Docker's schema 2; a registry may send anything.
"""

import hashlib
import platform
import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from berm.errors import BermError, Code

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

_OCI: Final = "application/vnd.oci.image"
_DOCKER: Final = "application/vnd.docker"
_INDEXES: Final = (f"{_OCI}.index.v1+json", f"{_DOCKER}.distribution.manifest.list.v2+json")
_MANIFESTS: Final = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.distribution.manifest.v2+json")
_CONFIGS: Final = (f"{_OCI}.config.v1+json", f"{_DOCKER}.container.image.v1+json")
_LAYERS: Final = (
    *(f"{_OCI}.layer.v1.tar{compression}" for compression in ("", "+gzip", "+zstd")),
    *(f"{_DOCKER}.image.rootfs.diff.tar{compression}" for compression in ("", ".gzip")),
)
_FOREIGN: Final = ("nondistributable", "foreign")
"""What the media types of layers have in them that lie on servers which the manifest names."""

_MACHINES: Final = {
    "x86_64": ("amd64", ("", "v1")),
    "aarch64": ("arm64", ("", "v8")),
    "armv7l": ("arm", ("v7", "v6", "v5", "")),
    "riscv64": ("riscv64", ("",)),
    "ppc64le": ("ppc64le", ("",)),
    "s390x": ("s390x", ("",)),
}
"""uname's names, what images call them, and the variants that run there, the best first."""

_SHOWN: Final = 10
"""Most platforms that an error names."""


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Platform(_Wire):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(_Wire):
    media_type: str = ""
    digest: str
    urls: Annotated[list[str], Field(fail_fast=True)] = []
    platform: Platform | None = None


_Descriptors = Annotated[list[Descriptor], Field(fail_fast=True)]


class Manifest(_Wire):
    """An index has `manifests`; the manifest of one image has `config` and `layers`."""

    schema_version: int
    media_type: str = ""
    manifests: _Descriptors | None = None
    config: Descriptor | None = None
    layers: _Descriptors | None = None


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def parse(reference: str, content: bytes) -> Manifest:
    """Raises BermError INVALID_ARGUMENT for what is no manifest or index of an image."""
    try:
        found = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise refused(reference, f"has a broken manifest: {first(error)}") from None
    if found.schema_version != 2:
        raise refused(reference, "has a manifest of Docker's schema 1", "push it again with a newer tool")
    if found.media_type not in ("", *(_MANIFESTS if found.manifests is None else _INDEXES)):
        raise refused(reference, f"has a manifest of the wrong type, {found.media_type!r}")
    # What is both would be read as one by some tools and as the other by others.
    if (found.manifests is None) == (found.layers is None):
        raise refused(reference, "has a manifest that is neither of an image nor of several")
    return found


def for_this_machine(reference: str, index: Sequence[Descriptor]) -> str:
    """The digest of the image for this machine. Raises BermError NOT_FOUND if there is none."""
    wanted, variants = this_machine()
    found = {
        one.platform.variant: one.digest
        for one in index
        if one.platform and (one.platform.os, one.platform.architecture) == ("linux", wanted)
    }
    for variant in variants:
        if variant in found:
            return _checked(reference, found[variant])
    others = [str(one.platform) for one in index if one.platform and one.platform.os != "unknown"]
    raise unfit(reference, ", ".join(others[:_SHOWN]) or "nothing")


def unfit(reference: str, others: str) -> BermError:
    """The error for an image that is for other machines."""
    message = f"image {reference} has nothing for linux/{this_machine()[0]}, which this machine is: {others}"
    return BermError(Code.NOT_FOUND, message, "choose an image that was made for it")


def this_machine() -> tuple[str, tuple[str, ...]]:
    """What images call this machine's architecture, and the variants of it that run here."""
    machine = platform.machine()
    return _MACHINES.get(machine, (machine, ("",)))


def check(reference: str, manifest: Manifest) -> None:
    """Raises BermError INVALID_ARGUMENT, NOT_OFFERED for an image that is not to be fetched."""
    kind = manifest.config.media_type if manifest.config else "nothing"
    if kind not in _CONFIGS:
        raise refused(reference, f"is not an image but {kind!r}")
    for layer in manifest.layers or ():
        _check_layer(reference, layer)


def _check_layer(reference: str, layer: Descriptor) -> None:
    # Whoever names the address decides what this machine asks for, and of whom.
    if layer.urls or any(word in layer.media_type for word in _FOREIGN):
        raise BermError(
            Code.NOT_OFFERED,
            f"image {reference} has a foreign layer ({layer.digest}), which lies outside its registry",
            "push it again with all its layers",
        )
    if layer.media_type not in _LAYERS:
        raise refused(reference, f"has a layer of an unknown type, {layer.media_type!r}")
    _checked(reference, layer.digest)


def _checked(reference: str, digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise refused(reference, f"has a digest that is none, {digest!r}")
    return digest


def refused(reference: str, why: str, hint: str = "") -> BermError:
    return BermError(
        Code.INVALID_ARGUMENT, f"image {reference} {why}", hint or "use another image, or push this one again"
    )


def first(error: ValidationError) -> str:
    """One line about what is wrong first: there may be as many mistakes as the other side likes."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"[:200]
