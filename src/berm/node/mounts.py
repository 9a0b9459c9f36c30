"""A sandbox's mounts: whether they can be, what the launcher is told of them, the directories they need."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from berm.errors import BermError, Code
from berm.launcher.spec import KERNEL, MAX_TREES, MountSpec, is_kernels
from berm.models import File, Mount, SandboxSpec

_SOURCE: Final = re.compile(r"(files/|volumes/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE_MB: Final = 1
_FILE_NAME: Final = "file"


def all_of(spec: SandboxSpec) -> list[Mount]:
    """The mounts of a sandbox, with those that its files need, in order."""
    lost = [file for file in spec.files if not _in_memory(file, spec.mounts)]
    return [*spec.mounts, *map(_alone, lost)]


def _in_memory(file: File, mounts: tuple[Mount, ...]) -> bool:
    path = PurePosixPath(file.path)
    over = [mount for mount in mounts if path.is_relative_to(mount.target)]
    return bool(over) and bool(over[-1].size_mb)


def _alone(file: File) -> Mount:
    size_mb = _FILE_MB + (len(file.content) >> 20)
    return Mount(file.path, size_mb=size_mb, path=_FILE_NAME)


def check(spec: SandboxSpec) -> None:
    """Raises BermError INVALID_ARGUMENT for a mount that cannot be, before anything is begun."""
    mounts = all_of(spec)
    for mount in mounts:
        for reason in _faults(mount):
            raise BermError(Code.INVALID_ARGUMENT, f"the mount at {mount.target!r}: {reason}")
    layers = {*spec.layers, *(name for mount in mounts for name in (*mount.layers, mount.directory))} - {""}
    if len(layers) > MAX_TREES:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"the sandbox needs {len(layers)} layers and directories, and {MAX_TREES} is the most",
            "build with fewer steps, or start from an image that was exported",
        )


def _faults(mount: Mount) -> Iterator[str]:
    """What is wrong with a mount."""
    parts = mount.target.split("/")
    if parts[0] or {"..", "."} & {*parts} or "\0" in mount.target + mount.path:
        yield "its target is not an absolute path without '..'"
    if not mount.target.strip("/") or is_kernels("/" + "/".join(filter(None, parts))):
        yield f"nothing can be mounted on /, {', '.join(KERNEL)} or in them"
    if mount.path.startswith("/") or ".." in mount.path.split("/"):
        yield f"the path {mount.path!r} in its content is not relative and without '..'"
    if [bool(mount.layers), bool(mount.directory), mount.size_mb > 0].count(True) != 1:
        yield "it has to be of layers, of a directory or of memory"
    if mount.directory and not _SOURCE.fullmatch(mount.directory):
        yield f"{mount.directory!r} is not the name of a directory"
    if mount.size_mb and "/" in mount.path:
        yield f"the file {mount.path!r} in memory has to be a plain name"


def prepare(pool: Path, spec: SandboxSpec) -> None:
    """Make the kept directories that are not there yet. Raises BermError NOT_FOUND for other content."""
    for mount in spec.mounts:
        for source in _sources(mount):
            path = pool / source
            if source.startswith("caches/"):
                _make(path, mount)
            elif not path.exists():
                raise BermError(
                    Code.NOT_FOUND, f"the mount at {mount.target!r}: there is no {source} on this machine"
                )


def _make(path: Path, mount: Mount) -> None:
    """Make a kept directory, which is there with its owner and mode or not at all."""
    if path.exists():
        return
    fresh = path.with_name(f".{uuid.uuid4().hex}")
    fresh.mkdir()
    os.chown(fresh, mount.uid, mount.gid)
    fresh.chmod(mount.mode)
    with suppress(OSError):  # another has made it meanwhile
        fresh.rename(path)
        return
    fresh.rmdir()


def _sources(mount: Mount) -> tuple[str, ...]:
    if mount.directory:
        kept = mount.directory
        return (kept if "/" in kept else f"caches/{kept}",)
    return tuple(f"layers/{name}" for name in mount.layers)


def to_wire(mount: Mount) -> MountSpec:
    return MountSpec(
        target=mount.target,
        path=mount.path,
        sources=_sources(mount),
        size_mb=mount.size_mb,
        read_only=mount.read_only,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
    )
