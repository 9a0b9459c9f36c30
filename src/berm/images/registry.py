"""Images from OCI registries, by skopeo and umoci.

Mirrors, credentials and registries without TLS are the machine's own settings: containers-registries.conf(5)
and containers-auth.json(5).
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_pascal

from berm.errors import BermError, Code
from berm.images import process
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.images.tree import scratch, staged

_INSPECT: Final = ("skopeo", "--command-timeout", "20s", "inspect")

_LOG_LINE = re.compile(r'time=\S+ level=\w+ msg=(".*")')
_CAUSES: Final = (
    ("manifest unknown", Code.NOT_FOUND, "check the image's name and tag"),
    ("name unknown", Code.NOT_FOUND, "check the image's name and tag"),
    ("invalid reference format", Code.INVALID_ARGUMENT, "write it as name, name:tag or name@sha256:digest"),
    ("unsupported digest", Code.INVALID_ARGUMENT, "write it as name@sha256: and 64 hex digits"),
    ("unauthorized", Code.PERMISSION_DENIED, "check the image's name, or log in with skopeo login"),
    ("resource is denied", Code.PERMISSION_DENIED, "check the image's name, or log in with skopeo login"),
)
"""What registries and skopeo say, and what it means; anything else is the network's or the registry's."""


class _Process(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal)

    env: list[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    cmd: list[str] | None = None


class _Image(BaseModel):
    config: _Process | None = None


async def inspect(reference: str) -> ImageConfig:
    """Ask the registry about an image, without its layers; the digest is of what the name means now.

    Raises BermError: NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED, or UNAVAILABLE within 20 s.
    """
    manifest = await process.read([*_INSPECT, "--raw", f"docker://{reference}"], _failed)
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    config = await process.read([*_INSPECT, "--config", f"docker://{pinned(reference, digest)}"], _failed)
    return _parse(reference, digest, config)


async def pull(reference: str, target: Path, work: Path, progress: Output) -> ImageConfig:
    """Make `target` the image's root filesystem, with its own user ids; `work` holds the blobs meanwhile.

    Every blob is checked against its digest. Raises what `inspect` raises, or INTERNAL when the image
    cannot be unpacked; then there is no `target`.
    """
    config = await inspect(reference)
    async with scratch(work) as blobs, staged(target) as tree:
        progress(f"Pulling {reference} at {config.digest}")
        copy = ["skopeo", "copy", f"docker://{pinned(reference, config.digest)}", f"oci:{blobs}:image"]
        await process.run(copy, _without_log(progress), _failed, blobs)
        progress("Unpacking the layers")
        await process.run(["umoci", "raw", "unpack", "--image", f"{blobs}:image", str(tree)])
    return config


def pinned(reference: str, digest: str) -> str:
    """The image by its digest alone: skopeo takes a tag or a digest, never both."""
    path, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}@{digest}"


def _parse(reference: str, digest: str, text: bytes) -> ImageConfig:
    try:
        found = _Image.model_validate_json(text).config or _Process()
    except ValidationError as error:
        raise BermError(
            Code.INVALID_ARGUMENT, f"image {reference} has a broken configuration: {error}"
        ) from None
    return ImageConfig(
        digest=digest,
        env=dict(item.split("=", 1) for item in found.env or () if "=" in item),
        user=found.user or "",
        workdir=found.working_dir or "",
        cmd=tuple(found.cmd or ()),
    )


def _without_log(progress: Output) -> Output:
    def output(line: str) -> None:
        if not _LOG_LINE.match(line):
            progress(line)

    return output


def _failed(command: Sequence[str], lines: Sequence[str]) -> BermError:
    said = lines[-1] if lines else "skopeo said nothing"
    if found := _LOG_LINE.match(said):
        said = json.loads(found[1])
    for words, code, hint in _CAUSES:
        if words in said:
            return BermError(code, said, hint)
    return BermError(Code.UNAVAILABLE, said, "check the network, the registry and registries.conf(5)")
